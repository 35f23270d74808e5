"""Any sequence of building, reusing, cutting and sweeping graphs gives what a naive engine gives.

Each rule of the machine does one thing to both engines; after each, all values and all gradients are compared. The
machine is itself checked: it must catch faults planted into the naive engine, where they are easy to plant, and into
hypercon's.
"""

import contextlib
import importlib.util

import naive_engine
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import hypercon as hc

SHAPES = [(), (2,), (3, 1), (1, 2)]  # any two broadcast
DEEPEST = 8  # paths double at every reuse, and the naive engine walks them all

BRIEF = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # on a busy machine everything is
)

indices = st.integers(0, 10**6)
names = st.sampled_from(["add", "subtract", "multiply"])


class Hypercon:
    """The engine under test, called as the naive one is."""

    add, subtract, multiply, tanh = (staticmethod(f) for f in (hc.add, hc.subtract, hc.multiply, hc.tanh))
    no_grad = staticmethod(hc.no_grad)

    @staticmethod
    def Value(data, requires_grad):
        return hc.tensor(data, requires_grad=requires_grad)


class Machine(RuleBasedStateMachine):
    """Both engines side by side; `engine` is the one under test."""

    engine = Hypercon

    def __init__(self):
        super().__init__()
        self.pairs = []  # (value under test, naive value)
        self.depths = []

    def enter(self, tested, naive, depth):
        self.pairs.append((tested, naive))
        self.depths.append(depth)

    def pick(self, index, deepest=10**6):
        """A pair by number, the youngest by 0: what was just made is the most interesting."""
        allowed = [i for i, depth in enumerate(self.depths) if depth < deepest]
        i = allowed[-1 - index % len(allowed)]
        return (*self.pairs[i], self.depths[i])

    def combine(self, name, first, second):
        (x, x_naive, x_depth), (y, y_naive, y_depth) = self.pick(first, DEEPEST), self.pick(second, DEEPEST)
        tested = getattr(self.engine, name)(x, y)
        self.enter(tested, getattr(naive_engine, name)(x_naive, y_naive), 1 + max(x_depth, y_depth))

    @initialize(shape=st.sampled_from(SHAPES), seed=indices)
    def begin(self, shape, seed):
        self.new_leaf(shape, seed, requires_grad=True)

    @rule(shape=st.sampled_from(SHAPES), seed=indices, requires_grad=st.booleans())
    def new_leaf(self, shape, seed, requires_grad):
        data = np.random.default_rng(seed).uniform(-1, 1, shape)  # products stay small
        self.enter(self.engine.Value(data, requires_grad=requires_grad), naive_engine.Value(data, requires_grad), 0)

    @rule(name=names, first=indices, second=indices)
    def build(self, name, first, second):
        self.combine(name, first, second)

    @rule(name=names, index=indices)
    def use_twice(self, name, index):
        self.combine(name, index, index)

    @rule(index=indices)
    def bend(self, index):
        x, naive, depth = self.pick(index, DEEPEST)
        self.enter(self.engine.tanh(x), naive_engine.tanh(naive), depth + 1)

    @rule(name=names, first=indices, second=indices)
    def build_unrecorded(self, name, first, second):
        with self.engine.no_grad(), naive_engine.no_grad():
            self.combine(name, first, second)

    @rule(index=indices)
    def detach(self, index):
        x, naive, _ = self.pick(index)
        self.enter(x.detach(), naive.detach(), 0)

    @rule(index=indices, seed=indices, create_graph=st.booleans())
    def sweep(self, index, seed, create_graph):
        x, naive, _ = self.pick(index)
        g = np.random.default_rng(seed).uniform(-1, 1, x.data.shape)
        outcomes = []
        for value in (x, naive):
            try:
                value.backward(g, create_graph=create_graph)
                outcomes.append("swept")
            except RuntimeError:  # hypercon's GraphError is one
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1]

    @precondition(lambda self: any(naive.grad is not None for _, naive in self.pairs))
    @rule()
    def forget_gradients(self):
        for x, naive in self.pairs:
            x.grad = naive.grad = None

    @invariant()
    def both_engines_agree(self):
        for x, naive in self.pairs:
            np.testing.assert_allclose(x.data, naive.data, rtol=1e-12, atol=1e-12)
            assert x.requires_grad == naive.requires_grad
            assert (x.grad is None) == (naive.grad is None)
            if naive.grad is not None:
                got = x.grad if isinstance(x.grad, np.ndarray | np.generic) else x.grad.data
                assert got.shape == naive.grad.shape
                np.testing.assert_allclose(got, naive.grad, rtol=1e-9, atol=1e-9)


def test_hypercons_engine_agrees_with_a_naive_one_in_any_sequence_of_steps():
    run_state_machine_as_test(Machine, settings=BRIEF)


@pytest.mark.slow
def test_hypercons_engine_agrees_with_a_naive_one_in_many_sequences():
    run_state_machine_as_test(Machine, settings=settings(BRIEF, max_examples=1500, stateful_step_count=50))


# --- the machine catches what is wrong


def overwrites_on_diamonds(copy):
    """Of several paths of one sweep to a leaf, the last alone counts."""
    sweep, walk = copy.Value.backward, copy.Value.walk

    def backward(self, gradient, *, create_graph=False):
        for leaf in leaves(self):
            leaf.before = leaf.grad
        sweep(self, gradient, create_graph=create_graph)

    def walk_overwriting(self, g):
        if self.made_from:
            walk(self, g)
        else:
            self.grad = g if self.before is None else self.before + g

    copy.Value.backward, copy.Value.walk = backward, walk_overwriting


def forgets_earlier_sweeps(copy):
    sweep = copy.Value.backward

    def backward(self, gradient, *, create_graph=False):
        for leaf in leaves(self):
            leaf.grad = None
        sweep(self, gradient, create_graph=create_graph)

    copy.Value.backward = backward


def detaches_nothing(copy):
    copy.Value.detach = lambda self: self


def never_frees(copy):
    copy.Value.free = lambda self: None


def frees_what_is_to_be_kept(copy):
    sweep = copy.Value.backward
    copy.Value.backward = lambda self, gradient, *, create_graph=False: sweep(self, gradient)


def records_always(copy):
    copy.no_grad = contextlib.nullcontext


def takes_the_wrong_sign(copy):
    copy.subtract = lambda x, y: copy.made(x.data - y.data, (x, lambda g: g), (y, lambda g: g))


def averages_where_broadcasting_copied(copy):
    summed = copy.summed_to
    copy.summed_to = lambda shape, g: summed(shape, g) * (np.prod(shape) / np.prod(g.shape))


def shares_a_gradient(copy):
    """What one leaf's gradient is added to, changes another's."""

    def walk(self, g):
        for x, take_back in self.made_from:
            if x.requires_grad:
                x.walk(copy.summed_to(x.data.shape, take_back(g)))
        if not self.made_from:
            if self.grad is None:
                self.grad = g
            else:
                np.add(self.grad, g, out=self.grad)

    copy.Value.walk = walk


FAULTS = [
    overwrites_on_diamonds,
    forgets_earlier_sweeps,
    detaches_nothing,
    never_frees,
    frees_what_is_to_be_kept,
    records_always,
    takes_the_wrong_sign,
    averages_where_broadcasting_copied,
    shares_a_gradient,
]


def leaves(value):
    if not value.made_from:
        return [value]
    return [leaf for x, _ in value.made_from for leaf in leaves(x)]


def naive_copy():
    """The naive engine once more, as the one under test."""
    spec = importlib.util.spec_from_file_location("naive_copy", naive_engine.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MANY = 2000  # a fault ends the search, and what Hypothesis draws depends on what else is loaded: leave it no excuse


def run(tested, examples=BRIEF.max_examples):
    machine = type("Planted", (Machine,), {"engine": tested})
    run_state_machine_as_test(machine, settings=settings(BRIEF, phases=[Phase.generate], max_examples=examples))


def test_the_naive_engine_agrees_with_its_copy():
    run(naive_copy())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_machine_catches_a_fault_planted_into_an_engine(fault):
    copy = naive_copy()
    fault(copy)
    with pytest.raises(AssertionError):
        run(copy, MANY)


class LosesAPath(Hypercon):
    """Hypercon's own engine, where a value that is used twice by one operation receives one of its two gradients."""

    @staticmethod
    def multiply(x, y):
        return hc.multiply(x, y.detach() if y is x else y)


def test_the_machine_catches_a_path_lost_in_hypercons_engine():
    with pytest.raises(AssertionError):
        run(LosesAPath, MANY)
