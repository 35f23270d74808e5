"""The properties of a loss: right losses have all, every planted fault lacks one, and failures come small and clear."""

import functools
import json
import subprocess
import sys

import faulty_losses
import numpy as np
import pytest
from faulty_losses import PLANTED

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.losses import infonce
from hypercon.testing import LossPropertyError, check_contrastive_loss
from hypercon.testing.contrastive import definition
from hypercon.testing.contrastive.cases import Case, draw_cases, shrink
from hypercon.testing.contrastive.definition import Meant
from hypercon.testing.contrastive.laws import LAWS

NUMBERS = [law.number for law in LAWS]

# --- what is right passes

PLAIN = {"normalize": False}
NT_XENT = {"kind": "nt_xent"}

RIGHT = {
    "info_nce": (hc.info_nce, {}),
    "info_nce, both directions": (functools.partial(hc.info_nce, symmetric=True), {"symmetric": True}),
    "info_nce of dot products": (functools.partial(hc.info_nce, normalize=False), PLAIN),
    "nt_xent": (hc.nt_xent, NT_XENT),
    "nt_xent of dot products": (functools.partial(hc.nt_xent, normalize=False), {**NT_XENT, **PLAIN}),
    "composed from operations": (faulty_losses.composed, {}),
    "nt_xent from its definition": (functools.partial(infonce.from_definition, loss="nt_xent"), NT_XENT),
    "NumPy, in loops": (faulty_losses.info_nce_in_loops, {}),
    "NumPy": (faulty_losses.info_nce, {"gradient": faulty_losses.info_nce_gradient}),
    "NumPy NT-Xent": (faulty_losses.nt_xent, {**NT_XENT, "gradient": faulty_losses.nt_xent_gradient}),
}


@pytest.mark.parametrize(("loss", "settings"), RIGHT.values(), ids=RIGHT)
def test_a_right_loss_passes(loss, settings):
    check_contrastive_loss(loss, cases=8, **settings).raise_if_failed()


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", ["NumPy", "NumPy NT-Xent"])
def test_a_right_loss_passes_whatever_is_drawn(name, seed):
    loss, settings = RIGHT[name]
    check_contrastive_loss(loss, rng=seed, **settings).raise_if_failed()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "settings"), RIGHT.values(), ids=RIGHT)
def test_a_right_loss_passes_in_many_draws(loss, settings, seed):
    check_contrastive_loss(loss, rng=100 + seed, cases=32, **settings).raise_if_failed()


# --- what is wrong does not


@pytest.mark.parametrize("fault", PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_lacks_the_properties_named(fault):
    named = fault.caught_by.split()
    report = check_contrastive_loss(fault.loss, only=named, **fault.settings)
    assert sorted(result.number for result in report.failures) == sorted(named)
    for result in report.failures:
        assert result.counterexample.z1.shape == result.counterexample.z2.shape


def test_every_property_catches_a_planted_fault():
    catching = {number for fault in PLANTED.values() for number in fault.caught_by.split()}
    assert catching == set(NUMBERS)


def test_the_whole_list_is_there_each_with_a_sentence_and_a_source():
    assert ["P0", *(f"P{i}" for i in range(15, 31))] == NUMBERS
    assert len({law.name for law in LAWS}) == len(LAWS)
    for law in LAWS:
        assert law.statement.endswith(".")
        assert law.source


# --- the definition that losses are held against


@pytest.mark.parametrize("normalize", [True, False], ids=["sphere", "plain"])
@pytest.mark.parametrize(("kind", "symmetric"), [("info_nce", False), ("info_nce", True), ("nt_xent", False)])
def test_the_definition_agrees_with_the_library_which_shares_no_code_with_it(kind, symmetric, normalize):
    meant = Meant(kind, symmetric, normalize)
    settings = {"symmetric": True} if symmetric else {}
    loss = functools.partial(getattr(hc, kind), normalize=normalize, **settings)
    for case in draw_cases(np.random.default_rng(0), 16):
        value, gradients = hc.value_and_grad(lambda a, b, t: loss(a, b, temperature=t), (0, 1, 2))(
            case.z1, case.z2, np.asarray(case.temperature)
        )
        np.testing.assert_allclose(definition.value(meant, case), value, rtol=1e-11, atol=1e-12)
        for got, expected in zip(definition.gradients(meant, case), gradients, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12 / case.temperature**2)


# --- drawing and shrinking


def test_drawn_cases_have_edges_and_grow():
    cases = list(draw_cases(np.random.default_rng(0), 32))
    assert cases[0].z1.shape == (2, 2)
    assert any(np.array_equal(c.z1[0], c.z1[1]) for c in cases), "duplicates"
    assert any(np.array_equal(c.z2[1], -c.z1[0]) for c in cases), "antipodes"
    assert any(
        len(c.z2) > 2 and np.array_equal(c.z2[1], c.z2[2]) and not np.array_equal(c.z1[1], c.z1[2]) for c in cases
    )
    assert any(np.array_equal(c.z1, c.z2) for c in cases), "equal views"
    assert all(c.z1.shape == c.z2.shape and 0.05 <= c.temperature <= 5 for c in cases)


def test_shrinking_ends_at_the_smallest_case_that_fails():
    rng = np.random.default_rng(0)
    case = Case(rng.normal(size=(7, 5)), rng.normal(size=(7, 5)), 0.3781)
    small = shrink(case, lambda c: len(c.z1) >= 3 and (c.z1 > 0.7).any() and c.temperature < 0.9)
    assert small.z1.shape == (3, 1)
    assert set(np.unique([small.z1, small.z2])) == {1.0}
    assert small.temperature == 0.5


def test_shrinking_asks_no_more_often_than_told_and_keeps_what_failed():
    rng, asked = np.random.default_rng(0), []
    case = Case(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 0.5)
    assert shrink(case, lambda c: asked.append(c), tries=17) is case
    assert len(asked) == 17


def test_a_failure_is_shrunk_to_two_instances_and_plain_numbers():
    report = check_contrastive_loss(faulty_losses.unstable, only=["stability"])
    assert report["stability"].counterexample.z1.shape[0] == 2
    result = check_contrastive_loss(PLANTED["positive not counted"].loss, only=["P23"])["P23"]
    case = result.counterexample
    assert (case.z1.tolist(), case.z2.tolist(), case.temperature) == ([[1.0], [1.0]], [[1.0], [1.0]], 1.0)
    assert (float(result.got), float(result.expected)) == pytest.approx((0.0, np.log(2)))


def test_a_counterexample_gives_what_the_report_says():
    for fault in ("squared distances", "not normalised", "labels shifted by one"):
        loss = PLANTED[fault].loss
        for result in check_contrastive_loss(loss).failures:
            case = result.counterexample
            if np.ndim(result.got) == 0 and "slope" not in result.what:
                again = loss(case.z1, case.z2, temperature=case.temperature)
                np.testing.assert_allclose(again, result.got, rtol=1e-12, err_msg=result.what)


def test_the_same_seed_gives_the_same_report():
    loss = PLANTED["squared distances"].loss
    first, second = (check_contrastive_loss(loss, rng=5, cases=6) for _ in range(2))
    assert str(first) == str(second)
    assert first["P23"].seed == 5
    assert check_contrastive_loss(loss, rng=np.random.default_rng(5), cases=6)["P23"].seed is None


# --- where gradients come from


def test_without_a_gradient_its_properties_are_skipped_and_it_is_said_why():
    report = check_contrastive_loss(faulty_losses.info_nce, cases=2)
    assert report.gradients == "nowhere"
    assert report["P24"].status == "skipped"
    assert "no gradient was given, and the loss returned DtypeError" in report["P24"].reason
    assert report["P17"].reason.startswith("values only")
    assert report["P28"].reason == ""


def test_gradients_are_taken_by_autograd_or_from_the_function_given():
    assert check_contrastive_loss(hc.info_nce, only="P0", cases=1).gradients == "autograd"
    by_hand = check_contrastive_loss(
        faulty_losses.info_nce, gradient=faulty_losses.info_nce_gradient, only="P0", cases=1
    )
    assert by_hand.gradients == "the function given"


def test_a_loss_that_detaches_its_gradient_is_said_to_have_none():
    report = check_contrastive_loss(lambda a, b, *, temperature: hc.tensor(0.0), only="P16", cases=1)
    assert "a Tensor that autograd cannot follow" in report["P16"].reason


def test_second_order_and_the_temperature_can_be_left_out():
    assert check_contrastive_loss(faulty_losses.once_differentiable, order=1, only="P23").passed
    assert check_contrastive_loss(faulty_losses.temperature_cut_off, learned_temperature=False, only="P27").passed


# --- the report


def test_a_loss_that_raises_is_reported_with_what_it_said():
    def broken(z1, z2, *, temperature):
        raise KeyError("no such view")

    report = check_contrastive_loss(broken, cases=2)
    assert "the loss raised KeyError: 'no such view'" in report["P23"].what
    assert not report.passed


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda z: None, "the loss returned None, expected one real number"),
        (lambda z: z, r"the loss returned an array of shape \(., .\), expected one real number"),
        (lambda z: "low", "the loss returned 'low', expected"),
        (lambda z: 1j, "the loss returned 1j, expected"),
    ],
)
def test_what_is_no_number_is_reported(returned, said):
    report = check_contrastive_loss(lambda z1, z2, *, temperature: returned(z1), only="P0", cases=1)
    with pytest.raises(LossPropertyError, match=said):
        report.raise_if_failed()


def test_a_report_is_a_table_a_sequence_and_plain_data():
    report = check_contrastive_loss(PLANTED["log of the mean"].loss, cases=3)
    text = str(report)
    assert "P19  chance             FAILED" in text
    assert "expected" in text
    assert "temperature = 1" in text
    assert [result.number for result in report] == NUMBERS
    assert len(report) == len(NUMBERS)
    assert report["chance"] is report["P19"]
    with pytest.raises(KeyError, match="'P99' is none of P0, P15"):
        report["P99"]
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["passed"] is False
    assert told["results"][5]["counterexample"]["temperature"] == 1.0


def test_nan_and_infinity_are_written_as_strings():
    report = check_contrastive_loss(faulty_losses.unstable, only="P25")
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["results"][0]["got"] in ("nan", "inf")


def test_a_passed_report_raises_nothing():
    report = check_contrastive_loss(hc.info_nce, only="P19", cases=1)
    report.raise_if_failed()
    assert report.passed
    assert "P19  chance             ok" in repr(report)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"kind": "infonce"}, InputError, "kind got 'infonce', expected 'info_nce' or 'nt_xent'"),
        ({"kind": "nt_xent", "symmetric": True}, InputError, "symmetric got True with kind='nt_xent'"),
        ({"only": ["P1"]}, InputError, r"only got 'P1', expected some of P0 \(pure\)"),
        ({"order": 3}, InputError, "order got 3, expected 1 or 2"),
        ({"cases": 0}, InputError, "cases got 0, expected at least 1"),
        ({"gradient": 1.0}, DtypeError, "gradient got float, expected a function"),
        ({"f": "loss"}, DtypeError, "f got str, expected a function"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, error, said):
    with pytest.raises(error, match=said):
        check_contrastive_loss(**{"f": hc.info_nce, **settings})


# --- without Hypothesis

WITHOUT_HYPOTHESIS = """
import sys
sys.modules["hypothesis"] = None
import hypercon as hc
from hypercon.testing import check_contrastive_loss
print(check_contrastive_loss(hc.info_nce, only=["P19"], cases=2).passed)
try:
    hc.testing.strategies
except ImportError as error:
    print(error)
"""


def test_it_runs_without_hypothesis_and_the_strategies_say_how_to_get_it():
    ran = subprocess.run([sys.executable, "-c", WITHOUT_HYPOTHESIS], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        "True",
        'hypercon.testing.strategies needs Hypothesis, which is not installed: pip install "hypercon[test]"',
    ]
