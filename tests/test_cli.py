"""The command line: what it answers, and that every mistake is one line with status 2."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hypercon import cli


@pytest.fixture
def images(tmp_path):
    """A file of 80 images of two classes that differ at a glance."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = rng.uniform(0, 0.4, (80, 8, 8)) + 0.5 * labels[:, None, None]
    path = tmp_path / "images.npz"
    np.savez(path, images=pixels, labels=labels)
    return path


def dilemma(*arguments):
    return cli.main(["dilemma", "--batch-size", "16", "--epochs", "1", *map(str, arguments)])


def test_without_a_command_it_shows_its_help(capsys):
    assert cli.main([]) == 0
    assert "hypercon dilemma --quick" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["dilemma", "--help"], ["bench", "--help"], ["config", "--help"], ["--version"]]
)
def test_help_and_version_exit_with_zero(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name", "message"),
    [
        (["train", "--resume", "b"], " train", "unrecognized arguments: b: the run's folder goes after --out"),
        (["train", "-q"], " train", "unrecognized arguments: -q"),
        (["reproduce", "x", "-q"], " reproduce", "unrecognized arguments: -q"),
        (["--loud"], "", "unrecognized arguments: --loud"),
        (["data"], " data", "the following arguments are required: list|get|path"),
        (["course"], " course", "the following arguments are required: list|release"),
    ],
)
def test_a_mistake_names_the_command_and_what_it_takes(arguments, name, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"hypercon{name}: {message} (see hypercon{name} --help)\n"


def test_the_module_runs_as_the_command_does():
    ran = subprocess.run([sys.executable, "-m", "hypercon", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("hypercon ")


def test_a_run_writes_results_picture_and_checkpoints(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert dilemma("--data", images, "--out", out, "--temperatures", 0.1, 1) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "dilemma.png",
        "encoder-tau-0.1.npz",
        "encoder-tau-1.npz",
        "results.json",
    ]
    assert [run["temperature"] for run in json.loads((out / "results.json").read_text())["runs"]] == [0.1, 1.0]
    printed = capsys.readouterr().out
    assert "tolerance gap" in printed
    assert "uniformity, t = 5 " in printed  # 1 / (2 * 0.1)


def test_repeat_writes_a_table_over_seeds(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert dilemma("--data", images, "--out", out, "--temperatures", 0.1, 1, "--repeat", 2, "--seed", 3) == 0
    assert "of 2 seeds" in (out / "seeds.md").read_text()
    assert (out / "seed-3" / "results.json").exists()
    assert (out / "seed-4" / "dilemma.png").exists()


def test_results_of_other_settings_stay_as_they_are_until_overwriting_is_asked_for(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert dilemma("--data", images, "--out", out, "--temperatures", 0.1) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert dilemma("--data", images, "--out", out, "--temperatures", 0.1, "--seed", 1) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("hypercon dilemma: --out got ")
    assert "seed 0 there, 1 now" in error
    assert "choose another --out, or --overwrite" in error
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert dilemma("--data", images, "--out", out, "--temperatures", 0.2, "--seed", 1, "--overwrite") == 0
    assert not (out / "encoder-tau-0.1.npz").exists()
    assert json.loads((out / "results.json").read_text())["settings"]["seed"] == 1


def test_the_help_says_what_a_file_of_images_holds(capsys):
    with pytest.raises(SystemExit):
        cli.main(["dilemma", "--help"])
    shown = capsys.readouterr().out
    for words in ("(N, H, W) or (N, H, W, C)", "uint8 from 0 to 255, or floats from 0 to 1", "test_images", "(M,)"):
        assert words in shown


def _save(**arrays):
    def write(path):
        np.savez(path, **arrays)

    return write


_GOOD = np.zeros((80, 8, 8), np.uint8)
_BAD_FILES = {
    "no such file": (None, "no such file"),
    "not an archive": (lambda path: path.write_bytes(b"no archive"), "not an .npz file"),
    "pickled": (_save(images=np.array([{}, {}], dtype=object)), "holds Python objects"),
    "wrong shape": (_save(images=np.zeros((80, 8))), "has shape (80, 8)"),
    "nan pixels": (_save(images=np.full((80, 8, 8), np.nan)), "nan"),
    "one class": (_save(images=_GOOD, labels=np.zeros(80, int)), "one class"),
    "fewer images than a batch": (_save(images=_GOOD[:10]), "9 training images"),
}


@pytest.mark.parametrize("case", _BAD_FILES)
def test_a_bad_file_is_one_line_about_data_and_nothing_is_written(case, tmp_path, capsys):
    write, message = _BAD_FILES[case]
    path, out = tmp_path / "bad.npz", tmp_path / "out"
    if write:
        write(path)
    assert dilemma("--data", path, "--out", out) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "--data" in error or "--batch-size" in error
    assert not out.exists()


_BAD_OPTIONS = {
    "unknown data set": (["--data", "mnist-3d"], "--data got 'mnist-3d'"),
    "temperature zero": (["--temperatures", "0"], "--temperatures got 0"),
    "temperature negative": (["--temperatures", "-1"], "--temperatures got -1"),
    "temperature nan": (["--temperatures", "nan"], "--temperatures got nan"),
    "a temperature twice": (["--temperatures", "0.2", "0.2"], "each once"),
    "batch of one": (["--batch-size", "1"], "--batch-size got 1"),
    "no epochs": (["--epochs", "0"], "--epochs got 0"),
    "negative seed": (["--seed", "-1"], "--seed got -1"),
    "unknown loss": (["--loss", "hinge"], "--loss got 'hinge'"),
    "no window": (["--window", "0"], "--window got 0"),
    "unknown device": (["--device", "tpu"], "--device got 'tpu'"),
    "no repeats": (["--repeat", "0"], "--repeat got 0"),
    "no folder": (["--out", ""], "--out got '', expected the name of a folder"),
    "quick with other data": (["--quick", "--data", "fashion-mini"], "--quick"),
}


@pytest.mark.parametrize("case", _BAD_OPTIONS)
def test_a_bad_option_is_one_line_that_names_it(case, tmp_path, capsys):
    options, message = _BAD_OPTIONS[case]
    assert cli.main(["dilemma", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_temperature_of_words_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["dilemma", "--temperatures", "warm"])
    assert exit_.value.code == 2
    assert "--temperatures" in capsys.readouterr().err


def test_an_out_folder_that_is_a_file_is_refused(images, tmp_path, capsys):
    (tmp_path / "out").write_text("in the way")
    assert dilemma("--data", images, "--out", tmp_path / "out") == 2
    assert "--out got" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_said_so(images, tmp_path, capsys):
    try:
        import cupy

        if cupy.cuda.is_available():
            pytest.skip("a GPU answers")
    except ImportError:
        pass
    assert dilemma("--data", images, "--device", "cuda", "--out", tmp_path / "out") == 2
    assert '--device got "cuda"' in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_finished_and_the_same_command_goes_on_from_there(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "hypercon", "dilemma", "--quick", "--epochs", "6", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "80"})
    first = out / "encoder-tau-0.07.npz"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert first.exists()
    assert "kept: " in error
    assert "Traceback" not in error
    assert not [path for path in out.iterdir() if path.suffix == ".part"]
    assert "temperature 0.07:" in error  # progress was shown
    assert "step/s" in error
    kept = first.read_bytes()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"temperature 0.07: taken up from {first}" in again.stderr
    assert first.read_bytes() == kept
    assert (out / "results.json").exists()
