"""The suite's own logic: wrong results are not timed, failures are one line, ratios and targets are what they say."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hypercon as hc
from benchmarks import machine, processes, rows, suite, work
from benchmarks.libraries import LIBRARIES, OWN, PEERS, Library
from benchmarks.processes import Process, WorkerError
from benchmarks.rows import ROWS, Row
from benchmarks.suite import Suite, compare, judge, ratio, rotated, unmet, worst
from hypercon import cli

PLAIN = Path(__file__).parent / "plain.py"
TINY = Row(
    name="tiny",
    group="tiny",
    label="InfoNCE, N = 32",
    work="info_nce",
    settings={"count": 32, "dim": 8, "temperature": 0.1, "symmetric": False},
    small={"count": 4},
    targets={"torch": 1e9},
)


def plain(name="plain", fault=None):
    return Library(name, PLAIN, "plain", "plain NumPy", options={"fault": fault} if fault else {})


@pytest.fixture
def run(monkeypatch):
    """A row in hypercon and some peers: its entry, and what was said."""
    monkeypatch.setattr(suite, "ROUND_SECONDS", 0.001)
    monkeypatch.setattr(suite, "REST", 0.0)

    def run(*peers, row=TINY):
        said = []
        with Suite([LIBRARIES[OWN], *peers], python=None, rounds=2, say=said.append) as measured:
            (entry,) = measured.run([row])
        return entry, said

    return run


def test_a_tiny_row_from_end_to_end(run):
    entry, said = run(plain(), row=replace(TINY, memory=True))
    assert entry["reference"] == "float64"
    assert entry["errors"]["plain"]["loss"] < 1e-6
    assert entry["errors"][OWN]["gradients"] < 1e-4
    assert entry["seconds"].keys() == {OWN, "plain"}
    assert all(len(turns) == 2 and min(turns) > 0 for turns in entry["rounds"].values())
    assert ratio(entry, "plain") == entry["seconds"][OWN] / entry["seconds"]["plain"]
    assert entry["notes"] == []
    if sys.platform == "linux":
        assert entry["memory"].keys() == {OWN, "plain"}
    assert any("relative error of loss / gradients against float64: hypercon" in line for line in said)
    json.dumps(entry, allow_nan=False)


def test_peers_with_wrong_results_are_not_timed(run):
    faults = ["loss", "z1", "z2", "nan", "shape", "forgets"]
    entry, said = run(plain(), *(plain(fault, fault) for fault in faults))
    assert entry["seconds"].keys() == {OWN, "plain"}
    assert len(entry["notes"]) == len(faults)
    for fault, note in zip(faults, entry["notes"], strict=True):
        assert note.startswith(f"{fault} is not timed: relative error against float64")
        assert f"tiny: {note}" in said
    json.dumps(entry, allow_nan=False)


def test_when_hypercon_is_wrong_nobody_is_timed(run, monkeypatch):
    monkeypatch.setitem(LIBRARIES, OWN, plain(OWN, "z1"))
    entry, _ = run(plain())
    assert "seconds" not in entry
    assert any(note.startswith("hypercon is not timed") for note in entry["notes"])


def test_peers_that_fail_are_a_line_each_and_the_others_go_on(run):
    entry, said = run(plain(), plain("a", "raises"), plain("b", "dies"), plain("c", "dies later"))
    assert entry["notes"] == [
        "a: ValueError: cannot do that",
        "b: its process ended with status 3 (out of luck)",
        "c: its process ended with status 3",
    ]
    assert entry["seconds"].keys() == {OWN, "plain"}
    assert all("\n" not in line for line in said)


def test_a_peer_that_hangs_is_given_up(run, monkeypatch):
    monkeypatch.setattr(suite, "TIMEOUT", 2.0)
    entry, _ = run(plain("faulty", "hangs"))
    assert entry["notes"] == ["faulty: gave no answer within 2 s (prepare)"]


def test_peers_that_are_not_there_are_left_out_with_the_line_that_helps(run):
    entry, said = run(plain("absent", "not installed"), plain("broken", "does not start"), plain())
    assert entry["seconds"].keys() == {OWN, "plain"}
    assert "absent is not installed, and is left out: python -m pip install plain" in said
    assert "broken is left out: RuntimeError: no usable devices" in said


def test_a_peer_that_computes_in_another_precision_is_told_of(run):
    entry, _ = run(plain("wide", "float64"))
    assert entry["notes"] == ["wide computes in float64, not float32"]


def test_a_row_that_measures_accuracy_times_nothing(run):
    accuracy = Row("accuracy", "accuracy", "accuracy", "info_nce", TINY.settings, error_target=1e-5)
    entry, _ = run(plain("faulty", "loss"), row=accuracy)
    assert "seconds" not in entry
    assert entry["errors"]["faulty"]["loss"] == pytest.approx(1e-3, rel=0.1)
    assert unmet(accuracy, [entry]) == []


def test_peers_do_not_bring_hypercon_into_their_process():
    with processes.started(plain(), None) as process:
        versions = process.description["versions"]
    assert versions["plain"] == "unknown"
    code = "import sys; from benchmarks import worker; print(any(name.startswith('hypercon') for name in sys.modules))"
    environment = {"PYTHONPATH": str(PLAIN.parents[1])}
    ran = processes.subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.stdout.strip() == "False", ran.stderr


def test_an_interpreter_that_does_not_start_is_a_failure():
    with pytest.raises(WorkerError, match="/nowhere/python does not start"):
        Process(plain(), "/nowhere/python")


def test_a_closed_process_is_gone():
    process = Process(plain(), sys.executable)
    process.close()
    assert process._process.poll() is not None


# --- comparing


LOSS = {"loss": np.array(2.0), "z1": np.array([1.0, -4.0])}


def test_errors_are_relative_to_the_largest_entry():
    found = {OWN: {"loss": np.array(2.002), "z1": np.array([1.004, -4.0])}}
    errors, reference = compare(found, LOSS)
    assert reference == "float64"
    assert errors[OWN]["loss"] == pytest.approx(1e-3)
    assert errors[OWN]["gradients"] == pytest.approx(1e-3)


def test_without_an_answer_the_first_peer_is_the_reference():
    found = {OWN: LOSS, "torch": LOSS, "jax": {"loss": np.array(2.0), "z1": np.array([1.0, 4.0])}}
    errors, reference = compare(found, None)
    assert reference == "torch"
    assert errors[OWN] == {"loss": 0, "gradients": 0}
    right, refused = judge(TINY, errors, reference)
    assert right == [OWN, "torch"]
    assert refused[0].startswith("jax is not timed")
    errors[OWN]["loss"] = 1.0  # and nobody can tell whether hypercon or PyTorch is wrong
    assert judge(TINY, errors, reference)[0] == []


def test_alone_there_is_nothing_to_compare_with():
    errors, reference = compare({OWN: LOSS}, None)
    assert (errors, reference) == ({}, None)
    assert judge(TINY, errors, reference) == ([OWN], [])


@pytest.mark.parametrize("kind", work.ANSWERS)
def test_the_plain_answers_are_what_autograd_finds(kind):
    """Held against hypercon's engine on the definition, at a small size and in float64."""
    settings = {
        "info_nce": {"count": 20, "dim": 4, "temperature": 0.3, "symmetric": True},
        "nt_xent": {"count": 20, "dim": 4, "temperature": 0.3},
        "uniformity": {"count": 300, "dim": 4, "t": 2.0},  # more than a block
        "mlp_step": {"count": 20, "widths": (6, 5, 4), "temperature": 0.3, "rate": 0.1, "momentum": 0.9},
        "chain": {"operations": 6},
    }[kind]
    inputs = {name: value.astype(np.float64) for name, value in work.draw(kind, settings).items()}
    tensors = {name: hc.tensor(value, requires_grad=True) for name, value in inputs.items()}

    def on_sphere(z):
        return z / ((z * z).sum(axis=1, keepdims=True)) ** 0.5

    def cross_entropy(logits):
        return -hc.log_softmax(logits, axis=1)[np.arange(len(inputs["z1"])), np.arange(len(inputs["z1"]))].mean()

    def nt_xent(z1, z2):
        z = on_sphere(hc.concatenate([z1, z2]))
        count = z.shape[0]
        logits = hc.where(np.eye(count, dtype=bool), -math.inf, z @ z.T / settings["temperature"])
        return -hc.log_softmax(logits, axis=1)[np.arange(count), (np.arange(count) + count // 2) % count].mean()

    def definition():
        if kind == "info_nce":
            logits = on_sphere(tensors["z1"]) @ on_sphere(tensors["z2"]).T / settings["temperature"]
            return (cross_entropy(logits) + cross_entropy(logits.T)) / 2
        if kind == "nt_xent":
            return nt_xent(tensors["z1"], tensors["z2"])
        if kind == "uniformity":
            u = on_sphere(tensors["z"])
            kernel = hc.exp(2 * settings["t"] * (u @ u.T - 1))
            count = u.shape[0]
            return hc.log((kernel.sum() - count) / (count * (count - 1)))
        if kind == "mlp_step":
            x, w0, b0, w1, b1 = tensors.values()
            z = hc.relu(x @ w0 + b0) @ w1 + b1
            return nt_xent(z[:10], z[10:])
        y = tensors["x"]
        for _ in range(3):
            y = y * 1.001 + tensors["x"]
        return y.sum()

    loss = definition()
    loss.backward()
    answer = work.answer(kind, inputs, settings)
    np.testing.assert_allclose(answer["loss"], float(loss), rtol=1e-12)
    scale = -settings["rate"] if kind == "mlp_step" else 1
    for name in answer.keys() - {"loss"}:
        np.testing.assert_allclose(answer[name], scale * tensors[name].grad.numpy(), atol=1e-12, err_msg=name)


# --- arithmetic


def entry(own=None, torch=None, memory=None, error=1e-7):
    found = {"name": "symmetric-16384", "errors": {OWN: {"loss": error, "gradients": error}}, "notes": []}
    if own:
        found["seconds"] = {OWN: own, "torch": torch}
    if memory:
        found["memory"] = memory
    return found


def test_a_ratio_below_one_means_that_hypercon_is_faster():
    assert ratio(entry(0.5, 2.0), "torch") == 0.25
    assert ratio(entry(0.5, 2.0), "jax") is None
    assert ratio(entry(), "torch") is None


def test_the_worst_of_several_runs_counts():
    runs = [entry(0.5, 2.0), entry(0.6, 2.0), entry(0.4, 2.0)]
    assert worst(runs, lambda e: ratio(e, "torch")) == 0.3
    assert worst([*runs, entry()], lambda e: ratio(e, "torch")) is None


def test_a_target_is_met_or_told_with_its_figure():
    row = next(row for row in ROWS if row.name == "symmetric-16384")
    good = entry(0.2, 1.0, {OWN: 10, "torch": 130})
    assert unmet(row, [good]) == []
    assert unmet(row, [good, entry(0.3, 1.0, {OWN: 10, "torch": 100})]) == [
        "0.3 times PyTorch's time, target 0.22",
        "0.1 times PyTorch's memory, target 0.0833",
    ]
    assert unmet(row, [entry()]) is None


def test_a_limit_of_memory_is_in_mebibytes():
    row = next(row for row in ROWS if row.name == "uniformity-50000")
    assert unmet(row, [{"memory": {OWN: 150 * 2**20}}]) == []
    assert unmet(row, [{"memory": {OWN: 300 * 2**20}}]) == ["300 MiB, target 200"]


def test_accuracy_has_a_target_of_its_own():
    row = next(row for row in ROWS if row.name == "accuracy-one-way")
    assert unmet(row, [entry(error=1e-6)]) == []
    assert unmet(row, [entry(error=0.5)]) == ["relative error 0.5, target 1e-05"]


def test_everyone_is_first_in_turn():
    assert [rotated(["a", "b", "c"], i) for i in range(3)] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]


def test_the_work_of_others_is_seen_and_ones_own_is_not(monkeypatch):
    readings = iter([(100.0, 10.0, 0.0), (118.0, 18.0, 10.0)])  # busy, own, clock
    monkeypatch.setattr(machine.Meter, "_read", lambda self: next(readings))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    with machine.Meter([]) as meter:
        pass
    assert meter.others == pytest.approx(0.5)


# --- rows and the command


def test_rows_have_names_of_their_own_and_known_work_and_peers():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.work in work.INPUTS
        assert row.targets.keys() <= set(PEERS)
        assert not row.memory or row.small


def test_rows_are_chosen_by_name_or_group():
    names = [row.name for row in rows.select(["symmetric", "chain"], large=False)]
    assert names == ["symmetric-256", "symmetric-1024", "symmetric-4096", "chain"]
    assert "symmetric-16384" in [row.name for row in rows.select(["symmetric"], large=True)]
    assert [row.name for row in rows.select(["symmetric-16384"], large=False)] == ["symmetric-16384"]
    assert not any(row.large for row in rows.select(None, large=False))
    assert rows.select(None, large=True) == ROWS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--peers", "pytorch"], "--peers got 'pytorch'"),
        (["--only", "softmax"], "--only got 'softmax'"),
        (["--rounds", "0"], "--rounds got 0"),
        (["--repeat", "0"], "--repeat got 0"),
        (["--python", "/nowhere/python"], "--python got '/nowhere/python'"),
        (["--json", "/nowhere/at/all.json"], "--json got"),
        (["--page", "/nowhere/at/all.json"], "--page got"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(arguments, told, capsys):
    assert cli.main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error


def test_a_file_of_something_else_is_not_written_over(tmp_path, capsys):
    for text in ("no json", "[1]", '{"precious": 1}'):
        path = tmp_path / "mine.json"
        path.write_text(text)
        assert cli.main(["bench", "--peers", "none", "--json", str(path)]) == 2
        assert "no JSON file of hypercon bench" in capsys.readouterr().err
        assert path.read_text() == text


def test_without_the_source_it_says_where_benchmarks_are(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli.upkeep, "__file__", str(tmp_path / "hypercon" / "cli" / "upkeep.py"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench"]) == 2
    assert "the benchmarks come with the source" in capsys.readouterr().err


def test_the_command_prints_the_table_and_writes_the_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(suite, "ROUND_SECONDS", 0.001)
    path = tmp_path / "bench.json"
    asked = ["bench", "--peers", "none", "--only", "chain", "accuracy-one-way", "--rounds", "1", "--json", str(path)]
    assert cli.main(asked) == 0
    printed = capsys.readouterr()
    assert "1,000 operations on 8 numbers" in printed.out
    assert "accuracy, InfoNCE" in printed.out
    assert "openblas" in printed.err or "BLAS" in printed.err
    found = json.loads(path.read_text())["comparison"]
    assert found["machine"]["cores"] >= 1
    assert found["libraries"][OWN]["versions"]["hypercon"]
    assert [entry["name"] for entry in found["runs"][0]] == ["chain", "accuracy-one-way"]


def test_an_interrupt_ends_the_workers_and_is_one_line(monkeypatch, capsys):
    started = []
    original = Process.__init__

    def remember(self, *arguments):
        original(self, *arguments)
        started.append(self)

    def interrupt(self, row):
        raise KeyboardInterrupt

    monkeypatch.setattr(Process, "__init__", remember)
    monkeypatch.setattr(Suite, "_row", interrupt)
    assert cli.main(["bench", "--peers", "none", "--only", "chain"]) == 130
    assert capsys.readouterr().err.endswith("\nhypercon bench: interrupted\n")
    assert started
    assert all(process._process.poll() is not None for process in started)
