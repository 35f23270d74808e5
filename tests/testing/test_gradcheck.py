"""The checker itself: it passes what is right and catches every fault planted into every rule."""

import functools
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from op_table import HIDDEN_ROWS, ROWS

import hypercon as hc
from hypercon.autograd.engine import Primitive, Traced
from hypercon.autograd.ops import raw
from hypercon.errors import DtypeError, GraphError, InputError
from hypercon.testing import GradientError, gradcheck

# --- every rule of every primitive, with every fault

FAULTS = {
    "times 1.001": lambda cotangent: cotangent * 1.001,
    "negated": lambda cotangent: -cotangent,
    "zero": lambda cotangent: cotangent * 0.0,
}

HARMLESS = {("add", "both", "swapped"): "the two rules of a sum are the same"}


def nodes_of(row):
    """The values that a call of the row makes."""
    stack, nodes = [row.call(*[hc.tensor(x, requires_grad=True) for x in row.inputs()])], []
    while stack:
        value = stack.pop()
        if value.primitive is not None:
            nodes.append(value)
            stack += [x for x in value.inputs if isinstance(x, Traced)]
    return nodes


@functools.cache
def rules_of(row):
    """(primitive, number of the input) for every rule that a sweep through the row applies."""
    applied = [
        (node.primitive, i)
        for node in nodes_of(row)
        for i, x in enumerate(node.inputs)
        if isinstance(x, Traced) and x.requires_grad
    ]
    return list(dict.fromkeys(applied))  # each once, in the order of the graph


@contextmanager
def planted(primitive, i, fault, when=lambda saved: True):
    """``fault`` in the rule of input ``i``; of a fused rule only where ``when`` holds of what the forward saved."""
    rules, fused = primitive.rules, primitive.fused

    def wrong_rule(*args, **statics):
        return fault(rules[i](*args, **statics))

    def wrong_fused(g, out, saved, *inputs, **statics):
        cotangents = list(fused(g, out, saved, *inputs, **statics))
        if when(saved):
            cotangents[i] = fault(cotangents[i])
        return cotangents

    if fused:
        primitive.fused = wrong_fused
    else:
        primitive.rules = (*rules[:i], wrong_rule, *rules[i + 1 :])
    try:
        yield
    finally:
        primitive.rules, primitive.fused = rules, fused


@contextmanager
def swapped(primitive):
    """The rules of two inputs in each other's place."""
    rules, fused = primitive.rules, primitive.fused

    def wrong_fused(*args, **statics):
        first, second = fused(*args, **statics)
        return second, first

    if fused:
        primitive.fused = wrong_fused
    else:
        *front, first, second = rules
        primitive.rules = (*front, second, first)
    try:
        yield
    finally:
        primitive.rules, primitive.fused = rules, fused


def escapes(row, errors):
    try:
        gradcheck(row.call, *row.inputs())
    except errors:
        return False
    return True


def mutants_of(row):
    """(primitive, input, name of the fault, the fault planted) for everything that can be wrong about a row."""
    rules = rules_of(row)
    for primitive, i in rules:
        for name, fault in FAULTS.items():
            yield primitive, i, name, planted(primitive, i, fault)
    for primitive in dict.fromkeys(primitive for primitive, _ in rules):
        if sum(other is primitive for other, _ in rules) == 2:
            yield primitive, "both", "swapped", swapped(primitive)


@pytest.mark.parametrize("row", ROWS + HIDDEN_ROWS, ids=str)
def test_no_planted_fault_escapes(row):
    escaped = []
    for primitive, i, name, mutant in mutants_of(row):
        with mutant:
            mutant_name = row.name, primitive.name.strip("_"), i, name
            errors = GradientError if name != "swapped" else (GradientError, GraphError, ValueError)  # or it cannot run
            if escapes(row, errors) != (mutant_name[1:] in HARMLESS):
                escaped.append(mutant_name)
    assert escaped == []


def test_no_primitive_is_left_out():
    modules = [module for name, module in sys.modules.items() if name.startswith("hypercon.autograd.")]
    registered = {getattr(value, "primitive", None) for module in modules for value in vars(module).values()}
    registered = {primitive for primitive in registered if isinstance(primitive, Primitive)}
    rules = {(primitive, i) for primitive in registered for i, rule in enumerate(primitive.rules) if rule is not None}
    rules |= {(primitive, 0) for primitive in registered if primitive.fused}
    planted_into = {rule for row in ROWS + HIDDEN_ROWS for rule in rules_of(row)}
    assert {(primitive.name, i) for primitive, i in rules - planted_into} == set()


@pytest.mark.parametrize("row", [row for row in ROWS if row.name == "batch_norm"], ids=str)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(
    "when", [lambda saved: saved is None, lambda saved: saved is not None], ids=["recorded", "fast"]
)
def test_a_fault_in_one_of_the_two_ways_of_a_fused_rule_does_not_escape(row, fault, when):
    for primitive, i in rules_of(row):
        with planted(primitive, i, fault, when), pytest.raises(GradientError):
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
