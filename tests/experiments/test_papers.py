"""The claims of the papers: each exact one is measured here, and its verdict is that of the documentation."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from hypercon.cli import main
from hypercon.errors import InputError
from hypercon.experiments.papers import CLAIMS, run
from hypercon.experiments.papers.claim import (
    HOLDS,
    INCONSISTENT,
    REFUTED,
    VERDICTS,
    Claim,
    Measured,
    Panel,
    holds_if,
    inconsistent_if,
)
from hypercon.experiments.papers.page import document

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = {record["id"]: record for record in json.loads((DOCS / "reproductions.json").read_text())}
EXACT = [name for name, made in CLAIMS.items() if made.kind == "exact"]
PANEL = Panel("x", "y", {"line": ([0, 1], [0, 1])})


def made(measure, judge=lambda values: HOLDS, name="mine"):
    return Claim(name, "a paper", "a <b>sentence</b>", "a rule", measure, judge)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_exact_claim_has_the_verdict_that_the_documentation_prints(name, seed):
    record, measured = run.examine(CLAIMS[name], seed)
    assert record["verdict"] == RECORDS[name]["verdict"]
    assert all(len(x) == len(y) for x, y in measured.panel.curves.values())


def test_the_page_in_the_documentation_is_that_of_its_records():
    assert RECORDS.keys() == CLAIMS.keys()
    pictures = {path.stem for path in (DOCS / "reproductions").glob("*.png")}
    assert (DOCS / "reproductions.md").read_text() == document(list(RECORDS.values()), pictures)


def test_every_claim_says_where_it_stands_and_by_which_rule_it_is_judged():
    for claim in CLAIMS.values():
        assert claim.sentence.endswith((".", ".)")), claim.id
        assert claim.rule, claim.id
        assert not re.search(r"(figure|table|section) \w+ of ", claim.source), claim.id  # the paper comes first
        assert any(year in claim.source for year in ("20", "finite", "gradient")), claim.id


# --- a verdict can be the other one


FAULTS = {  # what would have been measured had the claim been wrong
    "wl-eq4": {"largest_difference": 1e-3},
    "wl-eq4-balance": {"largest_deviation": 0.1},
    "wl-eq5": {"largest_difference": 1e-3, "largest_sum_error": 0.0},
    "wl-entropy": {"rises": False, "slope_error": 0.0, "share_of_log_k": 1.0},
    "wl-fig3": {"falls": True, "on_the_tenth": {"0.07": 0.1, "1": 0.1}},
    "wl-eq6": {"within_bound": True, "excess_at_smallest": 0.1},
    "wl-eq7": {"error_times_tau_squared": [1.0, 10.0]},
    "wl-eq3": {"spread_simple": 0.1, "spread_info_nce": 1000.0},
    "wl-eq8": {"push_below_the_cut": 1e-9, "sum_error": 0.0, "rises": True, "difference_at_1": 0.0},
    "wl-fig1": {"largest_change_of_loss": 0.0, "tolerance_before": 0.5, "tolerance_after": 0.5},
    "wi-zero-mean": {"mean_product": 0.0, "uniformity_loss": -1.5, "floor": -1.575},
    "wi-theorem1": {"spread_ratio": 4.0, "bias_ratio": 1.0},
    "collapse": {"largest_error": 0.0, "largest_gradient": 1e-3},
    "accumulation": {"relative_error_of_4": 1e-9, "loss_of_4": 0.3, "loss_of_1": 0.3},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_measurement_that_speaks_against_a_claim_refutes_it(name):
    assert CLAIMS[name].judge(FAULTS[name]) == REFUTED


def test_text_that_agrees_with_itself_is_not_called_inconsistent():
    assert inconsistent_if(lambda v: v["a"] > 1)({"a": 0}) == HOLDS
    assert inconsistent_if(lambda v: v["a"] > 1)({"a": 2}) == INCONSISTENT
    assert CLAIMS["wl-eq11"].judge({"reported_for_10_classes": 0.05, "most_as_printed": 0.1}) == HOLDS


def test_the_judge_sees_what_is_recorded():
    record, _ = run.examine(made(lambda rng: Measured({"a": (1, 2)}, PANEL), holds_if(lambda v: v["a"] == [1, 2])))
    assert record["verdict"] == HOLDS
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.examine(made(lambda rng: Measured({"a": math.nan}, PANEL)))


def test_every_claim_draws_its_own_numbers_whatever_else_runs():
    seen = []
    draw = made(lambda rng: seen.append(rng.random()) or Measured({}, PANEL))
    for claim, seed in ((draw, 0), (draw, 0), (draw, 1), (made(draw.measure, name="other"), 0)):
        run.examine(claim, seed)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


# --- running


def test_a_run_leaves_records_pictures_and_a_page(tmp_path):
    records = run.run(run.choose(["wl-eq5", "wl-eq6"]), tmp_path / "out", seed=3)
    assert [record["id"] for record in records] == ["wl-eq5", "wl-eq6"]
    assert json.loads((tmp_path / "out" / "wl-eq5.json").read_text()) == records[0]
    assert json.loads((tmp_path / "out" / "records.json").read_text()) == records
    assert (tmp_path / "out" / "wl-eq6.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<article") == page.count("data:image/png") == 2
    assert 'src="http' not in page


def test_a_second_call_keeps_what_an_earlier_one_found_in_the_page(tmp_path):
    (later,) = run.run(run.choose(["wl-eq6"]), tmp_path, seed=3)
    (earlier,) = returned = run.run(run.choose(["wl-eq5"]), tmp_path)
    assert [record["id"] for record in returned] == ["wl-eq5"]
    assert json.loads((tmp_path / "records.json").read_text()) == [earlier, later]  # in the order of the papers
    page = (tmp_path / "report.html").read_text()
    assert page.count("<article") == page.count("data:image/png") == 2
    (again,) = run.run(run.choose(["wl-eq5"]), tmp_path, seed=1)
    assert json.loads((tmp_path / "records.json").read_text()) == [again, later]  # one of each claim, the newest


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"{",
        lambda record: b"[]",
        lambda record: json.dumps(record | {"schema": 0}).encode(),
        lambda record: json.dumps(record | {"rule": "another"}).encode(),
        lambda record: json.dumps(record | {"values": {}}).encode(),
        lambda record: json.dumps(record | {"seed": None}).encode(),
        lambda record: json.dumps({key: value for key, value in record.items() if key != "verdict"}).encode(),
    ],
)
def test_what_is_no_record_of_today_is_not_in_the_page(damage, tmp_path):
    (record,) = run.run(run.choose(["wl-eq6"]), tmp_path)
    (tmp_path / "wl-eq6.json").write_bytes(damage(record))
    run.run(run.choose(["wl-eq5"]), tmp_path)
    assert [kept["id"] for kept in json.loads((tmp_path / "records.json").read_text())] == ["wl-eq5"]
    assert (tmp_path / "report.html").read_text().count("<article") == 1


def test_a_claim_that_cannot_be_measured_is_said_and_the_rest_goes_on(tmp_path):
    def fails(rng):
        raise InputError("no <labels>")

    records = run.run([made(fails), CLAIMS["wl-eq6"]], tmp_path)
    assert records[0]["error"] == "could not be measured: no <labels>"
    assert records[1]["verdict"] == HOLDS
    page = (tmp_path / "report.html").read_text()
    assert "no &lt;labels&gt;" in page
    assert "a &lt;b&gt;sentence" in page
    assert "could not be measured" in run.table(records)


def test_kinds_and_ids_choose_in_the_order_of_the_papers():
    assert [claim.id for claim in run.choose(["all"])] == list(CLAIMS)
    assert run.choose(["exact"]) == [claim for claim in CLAIMS.values() if claim.kind == "exact"]
    with pytest.raises(InputError, match="no claim is called 'wl-eq44', perhaps wl-eq4"):
        run.choose(["wl-eq44"])
    with pytest.raises(InputError, match="no claim is called 'zzz': "):
        run.choose(["zzz"])


def test_the_command_lists_runs_and_refuses(tmp_path, capsys):
    assert main(["reproduce", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CLAIMS)
    assert "wl-fig9" in listed
    assert "trained, 17 encoders, about 85 s a seed" in listed
    assert "trained, 3 encoders, about 15 s a seed" in listed
    assert main(["reproduce", "--list", "wl-eq4", "dcl-small-batch"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[::2]] == ["wl-eq4", "dcl-small-batch"]
    assert main(["reproduce", "--list", "nonsense"]) == 2
    assert "no claim is called 'nonsense'" in capsys.readouterr().err
    assert main(["reproduce", "wl-eq11", "--out", str(tmp_path)]) == 0  # a claim that does not hold is a result
    assert f"1 {INCONSISTENT}" in capsys.readouterr().out
    assert main(["reproduce", "nonsense"]) == 2
    assert "hypercon reproduce: no claim is called 'nonsense'" in capsys.readouterr().err
    assert main(["reproduce", "wl-eq6", "--seed", "-1"]) == 2
    (tmp_path / "file").write_text("")
    assert main(["reproduce", "wl-eq6", "--out", str(tmp_path / "file")]) == 2
    assert "a folder that cannot be written to" in capsys.readouterr().err


def test_verdicts_are_the_four_words_of_the_report():
    assert len(VERDICTS) == 4
    assert {record["verdict"] for record in RECORDS.values()} <= set(VERDICTS)
    assert np.isfinite([record["seconds"] for record in RECORDS.values()]).all()
