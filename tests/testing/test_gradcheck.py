"""The checker itself: it passes what is right and catches every fault planted into every rule."""

import sys

import numpy as np
import pytest
from faulty_rules import (
    ALL_ROWS,
    applications_of,
    caught,
    changes_nothing,
    faults_for,
    hurried,
    met,
    never_summed,
    planted,
    rows_of,
    shortened,
    sources,
    spoiled,
)
from op_table import HIDDEN_ROWS, LOSS_ROWS, ROWS

import hypercon as hc
from hypercon.autograd.engine import Primitive
from hypercon.autograd.ops import raw
from hypercon.errors import DtypeError, InputError
from hypercon.testing import GradientError, gradcheck

# --- every rule of every primitive, with every fault

HARMLESS = {
    ("add", "swapped"): "both rules of a sum are g -> g",
    ("sum", "transposed"): "over axes that are summed, the gradient is one number repeated: their order says nothing",
    ("sum", "wrong axis"): "likewise: what is constant along an axis stays what it is when it is rolled along it",
    ("einsum", "wrong axis"): "likewise along a letter that one operand alone has and the result has not: it is summed",
    ("normalize", "wrong axis"): "vectors shorter than eps are divided by eps, whichever axis they lie along",
    ("divide", "wrong axis"): "in var the mean's cotangent is -2/n sum(x - mean) = 0, and 0 rolled is 0",
}
"""Changes of a rule's answer that are no faults: primitive and kind, with the reason."""

EQUIVALENT = {
    ("_swap_last", "n - 1 -> -1"): "of n axes, number -1 is number n - 1",
    ("_dots", "len(x.shape) - 1 -> len(x.shape)"): "the last axis may also go the way of the others, which is slower",
    ("_dots", "len(x.shape) - 1 -> -1"): "likewise",
    ("_exponents", "matmul(z, transpose(z)) - 1 -> matmul(z, transpose(z))"): "a rule takes their softmax, which one "
    "number added to all does not change",
    ("_swap_last", "n - 2 -> -2"): "of n axes, number -2 is number n - 2",
}
"""Rules with something left out that are as right as before: function and change, with the reason."""


def slope_at_a_tie(call, *points):
    return [g.tolist() for g in hc.grad(lambda *xs: call(*xs).sum(), tuple(range(len(points))))(*map(np.array, points))]


NOT_SMOOTH = {
    ("_share", "(x > y) + 0.5 * (x == y) -> x > y"): lambda: slope_at_a_tie(hc.maximum, [1.0], [1.0]) == [[0.5], [0.5]],
    ("_share", "0.5 * (x == y) -> x == y"): lambda: slope_at_a_tie(hc.maximum, [1.0], [1.0]) == [[0.5], [0.5]],
    ("_extreme_rule", "attained / attained.sum(axis=axis, keepdims=True) -> attained"): lambda: (
        slope_at_a_tie(hc.max, [1.0, 1.0]) == [[0.5, 0.5]]
    ),
}
"""Faults where no difference quotient is of use, at ties: what does see each of them."""


@pytest.mark.parametrize("row", HIDDEN_ROWS + LOSS_ROWS, ids=str)
def test_the_right_rules_pass(row):
    gradcheck(row.call, *row.inputs())


@pytest.mark.parametrize("row", ALL_ROWS, ids=str)
def test_no_planted_fault_escapes(row):
    escaped = [mutant for mutant in spoiled(row) if not caught(row, mutant)]
    assert [str(mutant) for mutant in escaped if mutant.kind not in HARMLESS] == []
    assert [str(mutant) for mutant in escaped if not changes_nothing(row, mutant)] == []


@pytest.mark.parametrize("kind", HARMLESS, ids=", ".join)
def test_what_is_called_harmless_is_met_and_changes_nothing(kind):
    mutants = ((row, mutant) for row in ALL_ROWS for mutant in spoiled(row) if mutant.kind == kind)
    assert any(changes_nothing(row, mutant) for row, mutant in mutants)


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_nothing_can_be_left_out_of_a_rule_unseen(source):
    rows = rows_of(source)
    escaped = [mutant for mutant in shortened(source) if not met(mutant, rows)]
    known = {place for place in EQUIVALENT | NOT_SMOOTH if place[0] == source.name}
    assert {(source.name, mutant.fault) for mutant in escaped} == known
    for mutant in escaped:
        place = source.name, mutant.fault
        if place in EQUIVALENT:
            assert all(changes_nothing(row, mutant) for row in rows), place
        else:
            assert NOT_SMOOTH[place]()
            with mutant.plant(), np.errstate(all="ignore"):
                assert not NOT_SMOOTH[place](), place


def test_an_engine_that_does_not_sum_what_was_copied_is_caught_by_the_shape():
    with never_summed(), pytest.raises(GradientError, match=r"input 1 has shape \(2, 3\), expected its own \(3,\)"):
        gradcheck(hc.multiply, np.ones((2, 3)), np.ones(3))


def test_no_primitive_is_left_out():
    # the primitives of several ranks are held to those of one process, in tests/distributed
    names = [name for name in sys.modules if name.startswith("hypercon.") and "distributed" not in name]
    modules = [sys.modules[name] for name in names]
    registered = {getattr(value, "primitive", None) for module in modules for value in vars(module).values()}
    registered = {primitive for primitive in registered if isinstance(primitive, Primitive)}
    rules = {(primitive, i) for primitive in registered for i, rule in enumerate(primitive.rules) if rule is not None}
    rules |= {(primitive, 0) for primitive in registered if primitive.fused}
    planted_into = {rule for row in ALL_ROWS for rule in applications_of(row)}
    assert {(primitive.name, i) for primitive, i in rules - planted_into} == set()
    assert {primitive.name for primitive in registered} <= {made.name for s in sources() for made in s.primitives}


@pytest.mark.parametrize("row", [row for row in ROWS if row.name == "batch_norm"], ids=str)
@pytest.mark.parametrize(
    "when", [lambda saved: saved is None, lambda saved: saved is not None], ids=["recorded", "fast"]
)
def test_a_fault_in_one_of_the_two_ways_of_a_fused_rule_does_not_escape(row, when):
    for (primitive, i), uses in applications_of(row).items():
        for fault in faults_for(uses).values():
            with hurried(row), planted(primitive, i, fault, when), pytest.raises(GradientError):
                gradcheck(row.call, *row.inputs())


# --- faults that weaker checkers let pass

BLIND_SPOTS = {
    "a softmax without gradient": (
        lambda g, out, x: g * 0,
        lambda x: hc.softmax(x),
    ),
    "a softmax over the wrong axis": (
        lambda g, out, x: hc.softmax(x, 0) * (g - hc.sum(g * hc.softmax(x, 0), 0, keepdims=True)),
        lambda x: hc.softmax(x),
    ),
    "a normalisation without its projection": (
        lambda g, out, x: g / hc.norm(x, -1, keepdims=True),
        lambda x: hc.normalize(x),
    ),
    "a mean not divided by the count": (
        lambda g, out, x: hc.broadcast_to(g, x.shape),
        lambda x: hc.mean(x),
    ),
    "an error of one in a million": (
        lambda g, out, x: g * out * (1 + 1e-6),
        lambda x: hc.exp(x),
    ),
}


@pytest.mark.parametrize(("rule", "forward"), BLIND_SPOTS.values(), ids=BLIND_SPOTS)
def test_a_fault_that_ones_or_loose_tolerances_cannot_see_is_seen(rule, forward):
    wrong = hc.primitive(rule)(forward)
    with pytest.raises(GradientError, match="order 1"):
        gradcheck(wrong, np.random.default_rng(0).normal(size=(3, 3)))


def test_a_rule_that_is_right_once_but_cannot_be_differentiated_is_caught_at_order_2():
    frozen = hc.primitive(lambda g, out, x: g * np.exp(raw(x)))(lambda x: np.exp(x))
    gradcheck(frozen, [0.5, -1.0], order=1)
    with pytest.raises(GradientError, match="order 2"):
        gradcheck(frozen, [0.5, -1.0], order=2)


# --- what is right passes


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_right_gradient_passes_at_any_scale_of_its_values(scale):
    gradcheck(lambda x: hc.logsumexp(x * x, axis=0) * scale, np.random.default_rng(0).normal(size=(3, 2)), order=3)


def test_a_constant_function_passes():
    gradcheck(lambda x: x * 0.0 + 1.0, [1.0, 2.0])
    gradcheck(lambda x: hc.tensor([1.0]), [1.0, 2.0])


def test_inputs_may_be_lists_integers_float32_or_empty():
    gradcheck(lambda x, y: x * y, [1, 2], np.float32(0.5))
    gradcheck(lambda x, y: hc.exp(x).sum() + y, np.ones((0, 3)), 1.0)


def test_inputs_are_left_as_they_were():
    x = np.array([1.0, 2.0])
    x.flags.writeable = False
    gradcheck(hc.exp, x)


def test_the_callers_generator_is_drawn_from():
    rng = np.random.default_rng(0)
    gradcheck(hc.exp, [1.0], rng=rng)
    assert rng.bit_generator.state != np.random.default_rng(0).bit_generator.state


# --- what a failure says


def test_a_failure_tells_the_numbers_the_worst_entry_the_shapes_and_the_seed():
    wrong = hc.primitive(lambda g, out, x: g * out * np.array([1, 2, 1]))(lambda x: np.exp(x))
    said = (
        r"order 1: the gradient says .* but differences say .*"
        r"worst at input 0\[1\]: .* against .*inputs \(3,\), output \(3,\), seed 7"
    )
    with pytest.raises(GradientError, match=said):
        gradcheck(wrong, [0.1, 0.2, 0.3], rng=7)


@pytest.mark.parametrize(
    ("f", "point", "said"),
    [
        (lambda x: hc.sqrt(x * x), [1.0, 0.0], r"worst at input 0\[1\]: nan against"),
        (lambda x: hc.tanh(x) * np.nan, [0.5], r"worst at input 0\[0\]: nan against nan"),
        (lambda x: hc.sum(x) + np.nan, np.ones(0), "no input has entries"),
        (lambda x: hc.sum(x) + np.nan, np.ones(2001), "not searched for in so large an input"),
    ],
    ids=["one nan", "all nan", "no entries", "many entries"],
)
def test_a_failure_names_an_entry_or_says_why_not(f, point, said):
    with np.errstate(all="ignore"), pytest.raises(GradientError, match=said) as raised:
        gradcheck(f, point)
    assert "; ;" not in str(raised.value)


def test_a_failure_is_an_assertion_and_the_same_every_time():
    wrong = hc.primitive(lambda g, out, x: g)(lambda x: np.exp(x))
    messages = set()
    for _ in range(2):
        with pytest.raises(AssertionError) as raised:
            gradcheck(wrong, [0.1, 0.2])
        messages.add(str(raised.value))
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda: gradcheck(hc.exp, [1.0], order=0), InputError, "order got 0, expected at least 1"),
        (lambda: gradcheck(hc.exp, [1.0], directions=0), InputError, "directions got 0, expected at least 1"),
        (lambda: gradcheck(hc.exp, [np.nan]), InputError, "input 0 is not finite"),
        (lambda: gradcheck(lambda x: x.data, [1.0]), DtypeError, "returned ndarray, expected a tensor"),
    ],
)
def test_what_cannot_be_checked_is_refused(ask, error, said):
    with pytest.raises(error, match=said):
        ask()
