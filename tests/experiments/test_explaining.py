"""hypercon explain: a page from a saved encoder, one line for what cannot be."""

import numpy as np
import pytest

import hypercon as hc
from hypercon.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An encoder that was not trained, with the notes of one that was."""
    path = tmp_path_factory.mktemp("encoder") / "encoder.npz"
    encoder = hc.nn.mlp((1, 8, 8), widths=(16,), dim=8, rng=np.random.default_rng(0))
    hc.nn.save_encoder(path, encoder, {"settings": {"data": "digits", "loss": "nt_xent"}, "temperature": 0.07})
    return path


def test_the_page_is_of_what_the_encoder_was_trained_with(checkpoint, tmp_path, capsys):
    assert main(["explain", str(checkpoint), "--count", "20", "--out", str(tmp_path / "page.html")]) == 0
    assert "nt_xent at temperature 0.07: 40 anchors, 38 negatives each" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert "temperature 0.07" in page
    assert "data:image/png" in page


def test_what_is_asked_for_comes_first(checkpoint, tmp_path, capsys):
    asked = ["--temperature", "0.5", "--loss", "info_nce", "--index", "30", "--count", "10"]
    assert main(["explain", str(checkpoint), *asked, "--out", str(tmp_path / "page.html")]) == 0
    assert "info_nce at temperature 0.5: 31 anchors" in capsys.readouterr().out
    assert "#30" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--index", "500"], "hypercon explain: --index got 500, expected 0 to 499"),
        (["--index", "-1"], "--index got -1, expected at least 0"),
        (["--temperature", "0"], "--temperature got 0, expected a positive finite number"),
        (["--loss", "triplet"], "--loss got 'triplet', expected one of"),
        (["--data", "fashion-mini"], "expected (N, 1, 8, 8)"),
        (["--data", "none.npz"], "none.npz"),
        (["--count", "1"], "--count got 1, expected at least 2"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line_and_leaves_no_file(checkpoint, tmp_path, capsys, asked, message):
    assert main(["explain", str(checkpoint), *asked, "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_encoder_or_say_too_little(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("no encoder")
    assert main(["explain", str(tmp_path / "text.npz")]) == 2
    assert main(["explain", str(tmp_path / "missing.npz")]) == 2
    hc.nn.save_encoder(tmp_path / "bare.npz", hc.nn.mlp((1, 8, 8), rng=np.random.default_rng(0)))
    assert main(["explain", str(tmp_path / "bare.npz")]) == 2
    assert "does not say what it was trained with: such as digits" in capsys.readouterr().err
