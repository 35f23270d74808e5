"""Batch normalisation: its definition, its derivatives, and the fast rule against the recorded one."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from op_table import standardise

import hypercon as hc
from hypercon import threads
from hypercon.autograd import strips
from hypercon.autograd.normalization import channel_moments
from hypercon.testing import gradcheck


@st.composite
def batches(draw):
    """A batch of vectors, signals or images, with a scale and a shift for each channel."""
    shape = draw(st.tuples(st.integers(2, 4), st.integers(1, 3))) + draw(st.sampled_from([(), (3,), (2, 3)]))
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=shape[1]), rng.normal(size=shape[1])


@given(batches())
def test_batch_norm_is_its_definition(batch):
    np.testing.assert_allclose(hc.batch_norm(*batch, eps=0.1), standardise(*batch, eps=0.1), rtol=1e-10, atol=1e-12)


@given(batches())
def test_its_derivatives_agree_with_differences(batch):
    gradcheck(lambda *inputs: hc.batch_norm(*inputs, eps=0.1), *batch, order=2, directions=1)


@given(batches())
def test_the_array_rule_equals_the_recorded_rule(batch):
    def gradients(create_graph):
        leaves = [hc.tensor(x, requires_grad=True) for x in batch]
        out = hc.batch_norm(*leaves)
        out.backward(np.random.default_rng(1).normal(size=out.shape), create_graph=create_graph)
        return [leaf.grad.data for leaf in leaves]

    for fast, recorded in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_allclose(fast, recorded, rtol=1e-9, atol=1e-9)


@given(batches())
def test_channels_come_out_with_mean_0_and_variance_1(batch):
    mean, var = channel_moments(hc.batch_norm(batch[0], 1.0, 0.0, eps=1e-12))
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    np.testing.assert_allclose(var, 1, atol=1e-6)


@given(batches())
def test_the_gradient_by_the_batch_sums_to_0_in_each_channel(batch):
    x = hc.tensor(batch[0], requires_grad=True)
    (hc.batch_norm(x, 1.0, 0.0) ** 3).sum().backward()
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(x.grad.data.sum(axis=axes), 0, atol=1e-8 * np.abs(x.grad.data).max())


def test_moments_known_already_change_nothing():
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(hc.batch_norm(x, 1.0, 0.0, moments=channel_moments(x)), hc.batch_norm(x, 1.0, 0.0))


@pytest.mark.parametrize("kind", [int, float, np.float32, lambda v: np.full(3, v)])
def test_scale_and_shift_may_be_numbers(kind):
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(hc.batch_norm(x, kind(2), kind(1)), standardise(x, 2, 1), rtol=1e-12)
    np.testing.assert_allclose(hc.batch_norm(x, kind(1), kind(0)), standardise(x, 1, 0), rtol=1e-12)


def test_a_constant_channel_comes_out_as_its_shift():
    assert hc.batch_norm(np.full((3, 1), 7.0), 2.0, 5.0).tolist() == [[5.0]] * 3


# --- channel by channel on the CPU


@st.composite
def image_batches(draw):
    """Images that lie in memory with each channel in one row, as convolutions leave them."""
    height, width, count, channels = (draw(st.integers(1, n)) for n in (3, 4, 5, 3))
    assume(height * width * count > 1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(channels, height, width, count)).transpose(3, 0, 1, 2)
    numbers = draw(st.booleans())
    return (x, 1.0, 0.0) if numbers else (x, rng.normal(size=channels), rng.normal(size=channels))


def in_strips(run, operation, *inputs, **settings):
    """With runs of so many numbers; of none, as the formulas read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "LONG", 1 if run else np.inf)
        patch.setattr(strips, "RUN", run)
        return operation(*inputs, **settings)


def value_and_gradients(x, gamma, beta, relu):
    leaves = [hc.tensor(z, requires_grad=True) for z in (x, gamma, beta)]
    scale, shift = (leaf if leaf.ndim else float(leaf) for leaf in leaves[1:])
    out = hc.batch_norm(leaves[0], scale, shift, eps=0.1, relu=relu)
    out.backward(np.random.default_rng(1).normal(size=out.shape))
    return [out.data, *(leaf.grad.data for leaf in leaves if leaf.grad is not None)]


def check_runs(batch, relu, run):
    for results, arguments in ((value_and_gradients, (*batch, relu)), (channel_moments, batch[:1])):
        found, wanted = (in_strips(length, results, *arguments) for length in (run, 0))
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@given(image_batches(), st.booleans(), st.integers(1, 40))
def test_runs_of_any_length_give_what_the_formulas_give(batch, relu, run):
    check_runs(batch, relu, run)


@given(image_batches(), st.integers(1, 40))
def test_in_runs_its_derivatives_agree_with_differences(batch, run):
    x, *channels = batch
    inputs = [x, *(c for c in channels if np.ndim(c))]

    def call(x, *given):
        return hc.batch_norm(x, *(given or channels), eps=0.1)

    in_strips(run, gradcheck, call, *inputs, order=2, directions=1)


@given(image_batches())
def test_with_a_relu_it_is_the_two_one_after_the_other(batch):
    def apart(x, gamma, beta, relu):
        leaves = [hc.tensor(z, requires_grad=True) for z in (x, gamma, beta)]
        scale, shift = (leaf if leaf.ndim else float(leaf) for leaf in leaves[1:])
        out = hc.relu(hc.batch_norm(leaves[0], scale, shift, eps=0.1))
        out.backward(np.random.default_rng(1).normal(size=out.shape))
        return [out.data, *(leaf.grad.data for leaf in leaves if leaf.grad is not None)]

    for got, wanted in zip(value_and_gradients(*batch, True), apart(*batch, True), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("moments", 0),
        ("moments", 1),
        ("normalized", None),
        ("by_normalized", 0),
        ("by_normalized", 1),
        ("by_normalized", 2),
    ],
)
def test_a_fault_planted_in_the_runs_is_caught(name, which, monkeypatch):
    right = getattr(strips, name)

    def wrong(*args):
        found = right(*args)
        return found * 1.001 if which is None else tuple(z * 1.001 if i == which else z for i, z in enumerate(found))

    monkeypatch.setattr(strips, name, wrong)
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).transpose(3, 0, 1, 2)
    with pytest.raises(AssertionError):
        check_runs((x, np.array([1.0, -0.5]), np.array([0.3, 0.2])), True, 5)


def test_the_number_of_threads_changes_no_bit_of_it(monkeypatch):
    x = np.random.default_rng(0).normal(size=(7, 5, 4, 6)).astype(np.float32).transpose(3, 0, 1, 2)
    gamma, beta = np.random.default_rng(1).normal(size=(2, 7)).astype(np.float32)

    def results(count):
        monkeypatch.setattr(threads, "cores", lambda: count)
        return in_strips(9, value_and_gradients, x, gamma, beta, True)

    alone = results(1)
    for count in (2, 3, 8):
        for got, wanted in zip(results(count), alone, strict=True):
            np.testing.assert_array_equal(got, wanted)
