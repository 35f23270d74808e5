"""hypercon train and hypercon plot: what a run's folder holds, going on after a stop, and every mistake in a line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

import hypercon as hc
from hypercon import cli, runs
from hypercon.errors import InputError, RunError
from hypercon.experiments.explaining import explain_checkpoint
from hypercon.runs import picture
from hypercon.runs.picture import compare, labels_of
from hypercon.runs.settings import Settings, decide, describe, settings_from
from hypercon.runs.watching import warnings_about

SMALL = {"data": "digits", "temperature": 0.2, "widths": (16,), "dim": 8, "epochs": 3, "batch_size": 128}
ARGUMENTS = ["--data", "digits", "--temperature", "0.2", "--widths", "16", "--dim", "8", "--epochs", "3"]
ARGUMENTS += ["--batch-size", "128"]


def command(*arguments):
    return cli.main([*map(str, arguments)])


@pytest.fixture(autouse=True)
def small_picture(request, monkeypatch):
    """Most tests do not look at the picture, and draw a sixth of it."""
    if "drawn" not in request.node.name:
        monkeypatch.setattr(picture, "_PANELS", picture._PANELS[:1])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, that a test may read but not change."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    runs.train(folder, SMALL, measure_every=2)
    return folder


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


# --- the folder


def test_a_run_leaves_its_settings_its_history_a_picture_an_encoder_and_checkpoints(finished):
    names = sorted(path.name for path in finished.iterdir() if path.name != "tensorboard")
    assert names == ["checkpoints", "config.json", "diagnosis.json", "encoder.npz", "history.jsonl", "progress.png"]
    config = json.loads((finished / "config.json").read_text())
    assert config["schema"] == 1
    assert config["settings"]["widths"] == [16]
    assert config["settings"]["rate"] == 2e-3
    records = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    measured = {"uniformity", "alignment", "effective_rank", "tolerance_gap", "knn"}
    assert [measured <= record.keys() for record in records] == [True, True, True]  # the first, every 2nd, the last
    assert records == runs.read_run(finished).epochs


def test_every_n_epochs_is_every_n_epochs(out):
    run = runs.train(out, SMALL | {"epochs": 8, "batch_size": 1200}, measure_every=3)
    assert [record["epoch"] for record in run.epochs if "uniformity" in record] == [1, 3, 6, 8]


def test_the_encoder_that_is_left_can_be_explained(finished, tmp_path):
    page = tmp_path / "page.html"
    found = explain_checkpoint(finished / "encoder.npz", page)
    assert found.temperature == 0.2
    assert page.exists()


def test_what_is_measured_is_what_the_metrics_give(finished):
    encoder, _ = hc.nn.load_encoder(finished / "encoder.npz")
    z = encoder.embed(hc.data.load("digits", "test").images)[1]
    last = runs.read_run(finished).epochs[-1]
    assert last["uniformity"] == pytest.approx(hc.metrics.uniformity(z), rel=1e-6)
    assert last["effective_rank"] == pytest.approx(hc.metrics.effective_rank(z, centred=True), rel=1e-6)


def test_the_diagnosis_is_that_of_the_held_out_images_and_its_alarms_are_in_the_history(finished):
    found = json.loads((finished / "diagnosis.json").read_text())
    last = runs.read_run(finished).epochs[-1]
    assert found["temperature"] == 0.2
    assert found["count"] == len(hc.data.load("digits", "test"))
    assert found["alarms"] == last["alarms"]
    values = {reading["name"]: reading["value"] for reading in found["readings"]}
    assert values["alignment"] == pytest.approx(last["alignment"], rel=1e-5)
    assert {"loss", "neighbours", "contrastive accuracy"} <= values.keys()


def test_measuring_changes_no_bit_of_the_training(tmp_path):
    for name, every in (("often", 1), ("seldom", 3)):
        runs.train(tmp_path / name, SMALL, measure_every=every)
    one, other = (hc.nn.load_encoder(tmp_path / name / "encoder.npz")[0].state() for name in ("often", "seldom"))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_images_without_labels_are_measured_by_what_needs_none(out, tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.random.default_rng(0).random((60, 8, 8)))
    run = runs.train(out, SMALL | {"data": str(path), "batch_size": 16, "epochs": 1})
    assert "uniformity" in run.epochs[-1]
    assert "knn" not in run.epochs[-1]
    assert (out / "progress.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": "learned:0.1", "loss": "nt_xent", "optimizer": "sgd", "schedule": "constant", "warmup": 1},
        {"temperature": "cosine:0.1:0.5:7", "encoder": "cnn", "widths": (4,), "strides": (1,), "weight_decay": 0.1},
    ],
)
def test_every_kind_of_setting_trains_and_comes_back_from_its_file(settings, out):
    run = runs.train(out, SMALL | settings)
    assert runs.read_run(out).settings == run.settings
    assert len({record["temperature"] for record in run.epochs}) == 3  # it moved
    assert settings_from(describe(run.settings)) == run.settings


def test_tensorboard_gets_every_number_where_it_is_installed(out, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def close(self):
            written.append(("closed", self.folder))

    module = types.ModuleType("tensorboard.summary")
    module.Writer = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "tensorboard.summary", module)
    runs.train(out, SMALL)
    assert {("loss", 10), ("loss", 20), ("loss", 30), ("knn", 10), ("knn", 30)} <= set(written)
    assert written[-1] == ("closed", str(out / "tensorboard"))


# --- going on


def bits(out):
    return {name: value.tobytes() for name, value in hc.nn.load_encoder(out / "encoder.npz")[0].state().items()}


def told(out):
    records = runs.read_run(out).epochs
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupt_keeps_the_run_and_says_how_to_go_on_and_nothing_is_lost(number, status, out, tmp_path):
    arguments = [*ARGUMENTS[:8], "--epochs", "40", "--batch-size", "128", "--measure-every", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hypercon", "train", *arguments, "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    while not (out / "history.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == status, error
    assert f"go on with: hypercon train --resume --out {out}" in error
    assert "Traceback" not in error
    assert not (out / "encoder.npz").exists()
    assert command("train", "--resume", "--out", out, "--measure-every", 20) == 0
    assert command("train", *arguments, "--out", tmp_path / "whole") == 0
    assert bits(out) == bits(tmp_path / "whole")
    assert told(out) == told(tmp_path / "whole")


def test_resume_starts_a_run_where_there_is_none_and_takes_up_a_finished_one(out):
    assert command("train", *ARGUMENTS, "--resume", "--out", out) == 0
    before = bits(out)
    (out / "encoder.npz").unlink()
    assert command("train", "--resume", "--out", out) == 0
    assert bits(out) == before


def test_a_run_at_a_constant_rate_may_get_more_epochs(out, tmp_path):
    constant = SMALL | {"schedule": "constant"}
    runs.train(out, constant | {"epochs": 1})
    runs.train(out, {"epochs": 3}, resume=True)
    runs.train(tmp_path / "whole", constant)
    assert bits(out) == bits(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0.5"], "--temperature got 0.5, 0.2 there"),
        (["--epochs", "9"], "--epochs got 9, 3 there"),
        (["--data", "fashion-mini"], "--data got fashion-mini, digits there"),
        (["--widths", "8", "8", "--seed", "1"], "--widths got 8 8, 16 there; seed got 1, 0 there"),
    ],
)
def test_going_on_with_other_arguments_says_which_differ(arguments, message, finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert command("train", "--resume", "--out", finished, *arguments) == 2
    assert message in one_line(capsys)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_images_that_have_changed_are_said_to_have(out, tmp_path, capsys):
    path = tmp_path / "images.npz"
    for seed in (0, 1):
        np.savez(path, images=np.random.default_rng(seed).random((60, 8, 8)))
        arguments = ["--data", path, "--temperature", 0.2, "--epochs", 1, "--batch-size", 16, "--resume", "--out", out]
        status = command("train", *arguments)
    assert status == 2
    assert "the images have changed" in capsys.readouterr().err.splitlines()[-1]


# --- what is refused


def test_a_folder_with_a_run_is_not_written_over(finished, capsys):
    assert command("train", *ARGUMENTS, "--out", finished) == 2
    assert "--out got" in (error := one_line(capsys))
    assert "which holds a run: go on with it by --resume" in error


def test_a_folder_that_another_run_works_in_is_refused(finished, capsys):
    code = (
        "import sys, time; from pathlib import Path; from hypercon.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(finished)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert command("train", "--resume", "--out", finished) == 2
    holder.kill()
    holder.communicate()
    assert f"which process {holder.pid} on" in one_line(capsys)
    (finished / ".lock").unlink()


@pytest.fixture
def started(finished, out):
    """A copy of a finished run, that a test may change."""
    return shutil.copytree(finished, out)


def test_a_checkpoint_of_another_architecture_is_one_line(started, capsys):
    config = json.loads((started / "config.json").read_text())
    config["settings"]["widths"] = [16, 16]
    (started / "config.json").write_text(json.dumps(config))
    assert command("train", "--resume", "--out", started) == 2
    assert "is of a training with other arguments (encoder widths [16] there, [16, 16] now)" in one_line(capsys)


def test_a_checkpoint_of_a_future_schema_is_one_line(started, capsys):
    (path,) = (started / "checkpoints").glob("*.npz")
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["header"] = np.array(str(arrays["header"]).replace('"schema": 1', '"schema": 2'))
    np.savez(path, **arrays)
    assert command("train", "--resume", "--out", started) == 2
    assert "schema 2, expected 1: written by another version of hypercon; go on with that one" in one_line(capsys)


def test_checkpoints_that_are_all_damaged_are_one_line(started, capsys):
    for path in (started / "checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    assert command("train", "--resume", "--out", started) == 2
    assert "no checkpoint in" in one_line(capsys)


_BAD = {
    "no temperature": ([], "temperature got none, expected a number such as 0.2"),
    "a word": (["--temperature", "warm"], "--temperature got 'warm', expected a number such as 0.2, learned:0.07"),
    "learned from nothing": (["--temperature", "learned:"], "--temperature got 'learned:'"),
    "learned from beyond": (["--temperature", "learned:1000"], "initial got 1000"),
    "cosine": (["--temperature", "cosine:1:0.1:100"], "lowest got 1, expected at most 0.1"),
    "a temperature of 0": (["--temperature", "0"], "--temperature got 0"),
    "no loss": (["--temperature", "1", "--loss", "hinge"], "--loss got 'hinge'"),
    "no encoder": (["--temperature", "1", "--encoder", "vit"], "--encoder got 'vit', expected one of mlp, cnn"),
    "no optimiser": (["--temperature", "1", "--optimizer", "lion"], "--optimizer got 'lion'"),
    "no schedule": (["--temperature", "1", "--schedule", "step"], "--schedule got 'step'"),
    "a rate of 0": (["--temperature", "1", "--rate", "0"], "--rate got 0"),
    "momentum of 1": (["--temperature", "1", "--momentum", "1"], "--momentum got 1"),
    "decay below 0": (["--temperature", "1", "--weight-decay", "-1"], "--weight-decay got -1"),
    "warm-up for ever": (["--temperature", "1", "--warmup", "20"], "--warmup got 20 epochs of 20"),
    "no epochs": (["--temperature", "1", "--epochs", "0"], "--epochs got 0"),
    "batch of one": (["--temperature", "1", "--batch-size", "1"], "--batch-size got 1"),
    "a batch larger than all": (["--temperature", "1", "--batch-size", "5000"], "--batch-size got 5000"),
    "strides of an mlp": (["--temperature", "1", "--strides", "2"], "--strides are of a cnn"),
    "strides for others": (["--temperature", "1", "--encoder", "cnn", "--strides", "2"], "--strides got 1 numbers"),
    "one dimension": (["--temperature", "1", "--dim", "1"], "--dim got 1"),
    "a window of 2": (["--temperature", "1", "--window", "2"], "--window got 2"),
    "a negative seed": (["--temperature", "1", "--seed", "-1"], "--seed got -1"),
    "no device": (["--temperature", "1", "--device", "tpu"], "--device got 'tpu'"),
    "no measuring": (["--temperature", "1", "--measure-every", "0"], "--measure-every got 0"),
    "no time": (["--temperature", "1", "--checkpoint-every", "-1"], "--checkpoint-every got -1"),
    "no folder": (["--temperature", "1", "--out", ""], "--out got ''"),
    "no data": (["--temperature", "1", "--data", "absent.npz"], "--data absent.npz: no such file"),
}


@pytest.mark.parametrize("case", _BAD)
def test_a_bad_argument_is_one_line_and_nothing_is_written(case, out, capsys):
    arguments, message = _BAD[case]
    assert command("train", "--data", "digits", "--out", out, *arguments) == 2
    assert message in one_line(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config.json: not JSON"),
        (b"[1]", "config.json: not the settings of a run"),
        (b'{"schema": 2, "settings": {}}', "config.json: schema 2, expected 1: written by another version"),
        (b'{"schema": 1, "settings": []}', "config.json: settings of another form"),
        (b'{"schema": 1, "settings": {"hat": 1}}', "config.json: settings of another form"),
        (b"[" * 100_000, "config.json: not JSON"),
    ],
)
def test_settings_that_cannot_be_read_are_one_line(content, message, out, capsys):
    out.mkdir()
    (out / "config.json").write_bytes(content)
    assert command("train", "--resume", "--out", out) == 2
    assert message in one_line(capsys)
    assert command("plot", out) == 2
    assert message in one_line(capsys)


def test_a_setting_that_there_is_not_is_named(out):
    with pytest.raises(InputError, match="hat is no setting of a run"):
        runs.train(out, SMALL | {"hat": 1})


def test_going_on_where_no_run_is_says_so(out, capsys):
    assert command("train", "--resume", "--out", out) == 2
    error = one_line(capsys)
    assert error.startswith(f"hypercon train: --out got {str(out)!r}, which holds no run to go on with")
    assert "give --temperature" in error
    assert not out.exists()


def test_a_last_line_of_the_history_that_is_cut_short_is_left_out(started, tmp_path, capsys):
    path, epochs = started / "history.jsonl", runs.read_run(started).epochs
    path.write_bytes(path.read_bytes()[:-40])
    assert runs.read_run(started).epochs == epochs[:2]
    assert command("plot", started, "--out", tmp_path / "cut.png") == 0
    assert f"{started}: epoch 2: " in capsys.readouterr().out


@pytest.mark.parametrize("cut", [b'{"epoch": 2, "st\n', b"[]\n", b'{"epoch": 3}\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_another_line_that_is_damaged_is_named_by_its_number(cut, started, capsys):
    lines = (started / "history.jsonl").read_bytes().splitlines(keepends=True)
    (started / "history.jsonl").write_bytes(lines[0] + cut + lines[2])
    assert command("plot", started) == 2
    assert "history.jsonl: line 2 is no record of epoch 2: the file is damaged" in one_line(capsys)


def test_a_picture_of_another_kind_is_refused(finished, tmp_path, capsys):
    assert command("plot", finished, "--out", tmp_path / "cmp.xyz") == 2
    assert "cmp.xyz', expected a name that ends in .png" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_run_is_explained_by_its_encoder_and_a_checkpoint_is_called_one(started, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert command("explain", started, "--count", 20, "--out", page) == 0
    capsys.readouterr()
    (checkpoint,) = (started / "checkpoints").glob("*.npz")
    page.unlink()
    assert command("explain", checkpoint, "--out", page) == 2
    assert "it is a checkpoint of a training: the encoder is in encoder.npz" in one_line(capsys)
    (started / "encoder.npz").unlink()
    assert command("explain", started, "--out", page) == 2
    assert "a folder without encoder.npz, which hypercon train writes when it ends" in one_line(capsys)
    assert not page.exists()


# --- what is noticed early


def records(losses, **last):
    found = [{"epoch": i + 1, "loss": loss, "temperature": 0.2} for i, loss in enumerate(losses)]
    found[-1] |= last
    return found


DECIDED = decide(Settings(**SMALL), hc.data.load("digits"))
CHANCE = hc.losses.chance("info_nce", 128)


def test_three_epochs_at_chance_are_told_of_and_two_are_not():
    assert warnings_about(records([CHANCE, CHANCE]), DECIDED) == []
    assert warnings_about(records([CHANCE, CHANCE - 1, CHANCE]), DECIDED) == []
    (warning,) = warnings_about(records([1.0, CHANCE, CHANCE - 0.01, CHANCE]), DECIDED)
    assert warning.startswith(f"at chance for 3 epochs (loss {CHANCE:.3f}, chance {CHANCE:.3f})")


def test_embeddings_in_a_few_dimensions_are_told_of():
    wide = decide(Settings(**SMALL | {"dim": 128}), hc.data.load("digits"))
    assert warnings_about(records([1.0], effective_rank=60.0), wide) == []
    (warning,) = warnings_about(records([1.0], effective_rank=5.2), wide)
    assert warning.startswith("dimensionally collapsed: 5 of 128 dimensions are filled")


def test_a_run_that_learns_nothing_says_so_once_and_keeps_it_in_its_history(out, tmp_path):
    said, path = [], tmp_path / "grey.npz"
    np.savez(path, images=np.full((60, 8, 8), 0.5))  # whose views tell nothing of the image that they are of
    run = runs.train(out, SMALL | {"data": str(path), "batch_size": 16, "epochs": 6}, say=said.append)
    kept = [bool(record.get("warnings")) for record in run.epochs]
    assert kept == [False, False, True, True, True, True]
    assert len([line for line in said if "at chance for 3 epochs" in line]) == 1


def test_a_run_that_learns_is_not_warned_of(finished):
    assert not any(record.get("warnings") for record in runs.read_run(finished).epochs)


# --- comparing


def test_runs_are_drawn_beside_each_other_and_named_by_what_differs(finished, out, tmp_path, capsys):
    runs.train(out, SMALL | {"temperature": 1.0, "epochs": 2})
    both = tmp_path / "both.png"
    assert command("plot", finished, out, "--out", both) == 0
    assert both.read_bytes()[:4] == b"\x89PNG"
    assert labels_of([runs.read_run(finished), runs.read_run(out)]) == [
        "finished, temperature 0.2, epochs 3",
        "run, temperature 1.0, epochs 2",
    ]
    assert f"{out}: epoch 2: loss" in capsys.readouterr().out


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert command("plot", tmp_path) == 2
    assert "holds no run: hypercon train makes one" in one_line(capsys)


def test_a_run_before_its_first_epoch_cannot_be_drawn(finished, out, tmp_path):
    out.mkdir()
    (out / "config.json").write_bytes((finished / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"no epoch is finished in .*: nothing to draw yet"):
        compare([out], tmp_path / "none.png")
    with pytest.raises(InputError, match="17 folders, expected 1 to 16"):
        compare([out] * 17, tmp_path / "none.png")


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]\n", b'{"epoch": 2}\n', b'{"epoch": 1, "step": "x"}\n', b"\xff\n", b'{"epoch": 1}\n', b"[" * 9999],
)
def test_a_damaged_history_is_refused(content, finished, out):
    out.mkdir()
    (out / "config.json").write_bytes((finished / "config.json").read_bytes())
    (out / "history.jsonl").write_bytes(content)
    with pytest.raises(RunError, match=r"history.jsonl: line 1 is no record of epoch 1: the file is damaged"):
        runs.read_run(out)
