"""Batch normalisation: its definition, its derivatives, and the fast rule against the recorded one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_table import standardise

import hypercon as hc
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
