"""The table, the page and the growth: made from figures that are known, so that what is printed can be."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import command, growth, report
from benchmarks.libraries import OWN
from hypercon import cli


def row(name, own=1.0, torch=2.0, jax=None, others=0.01, **more):
    seconds = {OWN: own, "torch": torch} | ({"jax": jax} if jax else {})
    errors = {OWN: {"loss": 1e-7, "gradients": 2e-6}, "torch": {"loss": 1e-7, "gradients": None}}
    entry = {"name": name, "reference": "float64", "errors": errors, "notes": []}
    return entry | {"seconds": seconds, "others": others} | more


RUN = [
    row("symmetric-256", own=1.0, torch=2.0, jax=0.5),
    row("symmetric-4096", own=0.2, torch=1.0, memory={OWN: 95 * 2**20, "torch": 271 * 2**20}),
    row("training", own=2.0, torch=4.0),
    {"name": "accuracy-one-way", "reference": "float64", "notes": [],
     "errors": {OWN: {"loss": 6e-7, "gradients": 3e-6}, "torch": {"loss": 1.0, "gradients": 0.6}}},
]  # fmt: skip
FIGURES = Path(__file__).parents[2] / "docs" / "benchmarks.json"
PART = {
    "machine": {"processor": "A Processor", "cores": 2, "system": "Linux x86_64"},
    "libraries": {
        OWN: {
            "versions": {"python": "3.11.7", "numpy": "2.4.6", OWN: "1.2"},
            "threads": "openblas 0.3.31, 2 thread(s)",
        },
        "torch": {"versions": {"python": "3.11.7", "numpy": "2.4.6", "torch": "2.13"}, "threads": "MKL, 2 thread(s)"},
    },
}
SIZES = [256, 512, 1024, 2048]
SERIES = {
    name: {"sizes": SIZES, "seconds": [1e-9 * n**2 for n in SIZES], "bytes": [1000 * n for n in SIZES]}
    for name in (*growth.LOSSES, "step over the batch", "step over the width")
}
RESULTS = {"comparison": PART | {"runs": [RUN]}, "growth": PART | {"series": SERIES}}


def test_the_table_shows_ratios_targets_and_whether_they_are_met():
    lines = report.table([RUN]).splitlines()
    assert lines[0].split("  ")[0] == "work"
    cells = {line.split("  ")[0]: line.split() for line in lines}
    assert cells["InfoNCE, symmetric, N = 256"][-6:] == ["0.50", "2.00", "0.75", "-", "-", "no"]
    assert cells["InfoNCE, symmetric, N = 4,096"][-6:] == ["0.20", "-", "0.22", "95", "271", "yes"]
    assert "not met: InfoNCE, symmetric, N = 256: 2 times JAX jit's time, target 1" in lines
    assert "training loop, 28x28x1, views included: images a second: hypercon 512, PyTorch 256" in lines


def test_what_misses_a_result_is_not_shown_as_zero():
    assert "PyTorch 1e-07 / no number" not in report.table([RUN])  # it is not an accuracy row
    entry = copy.deepcopy(RUN[3])
    entry["errors"]["torch"]["gradients"] = None
    assert "PyTorch 1e+00 / no number" in report.table([[entry]])


def test_of_several_runs_the_worst_is_shown():
    slower = copy.deepcopy(RUN)
    slower[1]["seconds"][OWN] = 0.3
    text = report.table([RUN, slower])
    assert "not met: InfoNCE, symmetric, N = 4,096: 0.3 times PyTorch's time, target 0.22" in text


def test_the_floor_stands_beside_the_target_where_it_was_measured():
    assert "floor" not in report.table([RUN]).splitlines()[0]
    known = copy.deepcopy(RUN)
    known[0]["floor"] = 0.6
    lines = report.table([known]).splitlines()
    cells = {line.split("  ")[0]: line.split() for line in lines}
    assert "target  floor" in lines[0]
    assert cells["InfoNCE, symmetric, N = 256"][-6:] == ["2.00", "0.75", "0.30", "-", "-", "no"]
    assert cells["InfoNCE, symmetric, N = 4,096"][-5:] == ["0.22", "-", "95", "271", "yes"]


def test_a_busy_machine_is_warned_of():
    assert "other processes" not in report.table([RUN])
    busy = copy.deepcopy(RUN)
    busy[0]["others"] = 0.4
    assert "busy during 1 of 3 rows (most in symmetric-256: 40% of the cores' time)" in report.table([busy])


def test_the_page_says_what_was_measured_with_what():
    text = report.page(RESULTS)
    assert "| InfoNCE, symmetric, N = 4,096 |" in text
    assert "A Processor, 2 core(s)" in text
    assert "PyTorch 2.13 (python 3.11.7, numpy 2.4.6): MKL, 2 thread(s)" in text
    assert "| NT-Xent | 256 to 2,048, fitted from 512 | size^2.00 | size^1.00 |" in text
    widths = {line.count("|") for line in text.split("## Measured with")[0].splitlines() if line.startswith("|")}
    assert len(widths) == 1  # a table whose lines have as many cells as its header
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith(("|", "- ", "<!--")))


def test_the_page_of_a_file_lies_beside_it(tmp_path, capsys):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(RESULTS))
    assert cli.main(["bench", "--page", str(path)]) == 0
    assert (tmp_path / "bench.md").read_text() == report.page(RESULTS, "bench")
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    assert "](bench.png)" in (tmp_path / "bench.md").read_text()


@pytest.mark.skipif(not FIGURES.exists(), reason="no figures have been committed")
def test_the_page_in_the_documentation_is_that_of_its_figures():
    text = report.page(json.loads(FIGURES.read_text()), FIGURES.stem)
    assert FIGURES.with_suffix(".md").read_text() == text, "make it anew: hypercon bench --page docs/benchmarks.json"


def test_a_page_needs_a_comparison(tmp_path, capsys):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"growth": RESULTS["growth"]}))
    assert cli.main(["bench", "--page", str(path)]) == 2
    assert "holds no comparison" in capsys.readouterr().err


def test_the_exponent_is_that_of_the_larger_half():
    sizes = [1, 2, 4, 8, 16, 32]
    assert growth.exponent(sizes, [100 + n**2 for n in sizes]) < 1.6
    assert growth.exponent(sizes, [5.0, 5.0, 5.0, 8**2, 16**2, 32**2]) == pytest.approx(2)
    assert growth.exponent(sizes, [None] * 6) is None
    assert growth.exponent([1, 2, 4, 8], [5.0, 2.0, 4.0, 8.0]) == pytest.approx(1)  # of four points three are fitted
    assert growth.exponent(sizes, [1, 2, 4, 8, 16, 0]) is None


def test_growth_is_measured_in_processes_of_their_own(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(growth, "COUNTS", [16, 32])
    monkeypatch.setattr(growth, "BATCHES", [4, 8])
    monkeypatch.setattr(growth, "WIDTHS", [2, 4])
    asked = []

    def measure(library, python, kind, settings, small, seconds):
        asked.append((kind, settings["count"]))
        return {"seconds": [1e-6 * settings["count"] ** 2], "bytes": None}

    monkeypatch.setattr(growth, "measure", measure)
    assert cli.main(["bench", "--growth", "--json", str(tmp_path / "bench.json")]) == 0
    assert ("info_nce", 32) in asked
    assert ("cnn_step", 16) in asked
    found = json.loads((tmp_path / "bench.json").read_text())["growth"]["series"]
    assert found["NT-Xent"] == {"sizes": [16, 32], "seconds": [1e-6 * 256, 1e-6 * 1024], "bytes": [None, None]}


def test_a_busy_machine_is_warned_of_where_growth_is_told():
    assert "Other processes" not in growth.sentences(RESULTS["growth"])
    assert "Other processes took 30% of the cores' time" in growth.sentences(RESULTS["growth"] | {"others": 0.3})


def test_growth_and_comparison_share_a_file(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"growth": RESULTS["growth"]}))
    assert command._kept(path).keys() == {"growth"}


def test_the_picture_has_four_panels_with_fits():
    axes = growth.figure(RESULTS["growth"]).axes
    assert len(axes) == 4
    assert axes[0].get_legend().get_texts()[0].get_text() == "InfoNCE, one way: size$^{2.00}$"
    assert all(ax.get_xscale() == ax.get_yscale() == "log" for ax in axes)
    drawn = axes[0].lines[5]
    np.testing.assert_allclose(drawn.get_ydata(), SERIES["NT-Xent"]["seconds"], rtol=1e-6)  # its own fit
