"""Chunks: the whole batch's loss and gradients with the activations of some rows; what batch statistics change."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hypercon as hc
from hypercon import gradient_cache
from hypercon.errors import DtypeError, InputError
from hypercon.gradient_cache import backward_in_chunks


class LayerNorm(hc.nn.Module):
    """Standardises every row by itself."""

    def __call__(self, x):
        return hc.layer_norm(x)


def encoder_of_rows(rng):
    """An encoder in float64 that treats every row by itself."""
    made = hc.nn.Sequential(
        hc.nn.Linear(6, 9, rng=rng), LayerNorm(), hc.nn.ReLU(), hc.nn.Linear(9, 5, rng=rng), hc.nn.Normalize()
    )
    return in_float64(made)


def in_float64(module):
    for parameter in module.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return module


def at_once(encoder, views, loss):
    value = loss(*[encoder(hc.tensor(view)) for view in views])
    value.backward()
    return float(value)


def taken(parameters):
    """Their gradients, which are then forgotten."""
    gradients = [parameter.grad.data for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


LOSSES = {
    "info_nce": lambda tau: lambda z1, z2: hc.info_nce(z1, z2, temperature=tau),
    "both ways": lambda tau: lambda z1, z2: hc.info_nce(z1, z2, temperature=tau, symmetric=True),
    "nt_xent": lambda tau: lambda z1, z2: hc.nt_xent(z1, z2, temperature=tau),
    "align_uniform": lambda tau: lambda z1, z2: hc.losses.align_uniform(z1, z2) * tau,
}


def largest_difference(count, chunk_size, name, seed):
    """Between chunks and the whole batch, of the loss and of every parameter's gradient, the temperature's included."""
    rng = np.random.default_rng(seed)
    encoder, views = encoder_of_rows(rng), rng.random((2, count, 6))
    temperature = hc.tensor(0.3, requires_grad=True)
    parameters = [*encoder.parameters(), temperature]
    loss = LOSSES[name](temperature)
    whole = at_once(encoder, views, loss)
    expected = taken(parameters)
    value = backward_in_chunks(encoder, list(views), loss=loss, chunk_size=chunk_size)
    got = taken(parameters)
    return max([abs(value - whole)] + [np.abs(g - e).max() for g, e in zip(got, expected, strict=True)])


@given(
    count=st.integers(2, 24),
    chunk_size=st.integers(1, 30),
    name=st.sampled_from(sorted(LOSSES)),
    seed=st.integers(0, 99),
)
def test_loss_and_every_gradient_are_those_of_the_whole_batch(count, chunk_size, name, seed):
    assert largest_difference(count, chunk_size, name, seed) < 1e-12


def the_loss_of_each_chunk(encoder, views, *, loss, chunk_size):
    """Gradient accumulation: every chunk has its own negatives. The fault that chunks are meant to avoid."""
    total = 0.0
    for start in range(0, len(views[0]), chunk_size):
        value = loss(*[encoder(hc.tensor(view[start : start + chunk_size])) for view in views])
        value.backward()
        total += float(value)
    return total


def test_the_comparison_catches_accumulation_and_a_shifted_cache(monkeypatch):
    assert largest_difference(12, 4, "info_nce", 0) < 1e-12
    monkeypatch.setitem(globals(), "backward_in_chunks", the_loss_of_each_chunk)
    assert largest_difference(12, 4, "info_nce", 0) > 1e-3
    monkeypatch.undo()
    joined = gradient_cache._joined
    monkeypatch.setattr(gradient_cache, "_joined", lambda parts: joined(parts[::-1]))
    assert largest_difference(12, 4, "info_nce", 0) > 1e-3


def test_a_cnn_without_batch_statistics_is_the_same_in_float32():
    rng = np.random.default_rng(0)
    encoder = hc.nn.cnn((1, 12, 12), widths=(4, 8), strides=(2, 2), dim=8, rng=rng)
    views = rng.random((2, 40, 1, 12, 12), dtype=np.float32)
    encoder(hc.tensor(views[0]))  # statistics that are not those of the start
    encoder.eval()
    whole = at_once(encoder, views, LOSSES["nt_xent"](0.2))
    expected = taken(encoder.parameters())
    before = encoder.state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = backward_in_chunks(encoder, views, loss=LOSSES["nt_xent"](0.2), chunk_size=7)
    assert value == pytest.approx(whole, abs=1e-5)
    for got, gradient in zip(taken(encoder.parameters()), expected, strict=True):
        np.testing.assert_allclose(got, gradient, atol=2e-5)
    assert all((encoder.state()[path] == array).all() for path, array in before.items())


def test_batch_statistics_are_warned_of_and_the_gradient_is_that_of_normalising_in_chunks():
    rng = np.random.default_rng(0)
    encoder = in_float64(hc.nn.mlp((1, 3, 3), widths=(7,), dim=4, rng=rng))
    views = rng.random((2, 12, 1, 3, 3))
    loss = LOSSES["info_nce"](0.2)
    start = encoder.state()

    in_chunks = [hc.concatenate([encoder(hc.tensor(view[i : i + 6])) for i in (0, 6)]) for view in views]
    expected_value = loss(*in_chunks)
    expected_value.backward()
    expected, state = taken(encoder.parameters()), encoder.state()
    whole = at_once(encoder, views, loss)
    taken(encoder.parameters())
    assert abs(whole - float(expected_value)) > 1e-3, "chunks normalise otherwise than the whole batch"

    encoder.load_state(start)
    with pytest.warns(UserWarning, match="BatchNorm layer.*in training mode, backbone.layers.2 first"):
        value = backward_in_chunks(encoder, views, loss=loss, chunk_size=6)
    assert value == pytest.approx(float(expected_value), abs=1e-12)
    for got, gradient in zip(taken(encoder.parameters()), expected, strict=True):
        np.testing.assert_allclose(got, gradient, atol=1e-12)
    for path, array in encoder.state().items():
        np.testing.assert_array_equal(array, state[path], err_msg="every chunk's statistics are counted once")


def test_frozen_parts_and_views_that_a_loss_leaves_out_take_no_part():
    rng = np.random.default_rng(0)
    encoder, views = encoder_of_rows(rng), rng.random((2, 8, 6))
    frozen = encoder.parameters()[0]
    frozen.requires_grad = False
    backward_in_chunks(encoder, views, loss=lambda z1, z2: hc.losses.uniformity_loss(z1), chunk_size=3)
    assert frozen.grad is None
    assert encoder.parameters()[2].grad is not None


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"chunk_size": 0}, InputError, "chunk_size got 0, expected at least 1"),
        ({"views": []}, InputError, "views got none"),
        ({"views": [np.ones((4, 6), int)]}, DtypeError, r"views\[0\] got int64, expected floats"),
        ({"views": [np.ones((0, 6))]}, InputError, r"views\[0\] got shape \(0, 6\)"),
        ({"encoder": np.tanh}, DtypeError, "encoder got ufunc"),
        ({"loss": lambda z1, z2: z1}, DtypeError, r"loss gave shape \(4, 5\), expected a scalar tensor"),
    ],
)
def test_bad_calls_are_refused(changed, error, message):
    rng = np.random.default_rng(0)
    good = {
        "encoder": encoder_of_rows(rng),
        "views": rng.random((2, 4, 6)),
        "loss": LOSSES["nt_xent"](1.0),
        "chunk_size": 2,
    }
    with pytest.raises(error, match=message):
        backward_in_chunks(**(good | changed))
