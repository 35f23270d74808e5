"""Convolution against its definition, as a pair of adjoints, and the same on any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_table import correlate, of_tiles
from threadpoolctl import threadpool_limits

import hypercon as hc
from hypercon import threads
from hypercon.autograd.convolution import BLOCK, _conv_image, _conv_kernel
from hypercon.errors import InputError
from hypercon.testing import gradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def problems(draw):
    """Images, kernels that fit, stride and padding."""
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    image = [draw(st.integers(max(1, k - 2 * padding), 6)) for k in kernel]
    n, c, k = (draw(st.integers(1, 3)) for _ in range(3))
    return numbers(n, c, *image), numbers(k, c, *kernel, seed=1), {"stride": stride, "padding": padding}


@given(problems())
def test_convolution_is_its_definition(problem):
    x, w, how = problem
    np.testing.assert_allclose(hc.conv2d(x, w, **how), correlate(x, w, **how), rtol=1e-12, atol=1e-12)


@given(problems())
def test_its_adjoints_are_adjoint(problem):
    x, w, how = problem
    y = numbers(*hc.conv2d(x, w, **how).shape, seed=2)
    inner = (hc.conv2d(x, w, **how) * y).sum()
    assert (x * _conv_image(y, w, size=x.shape[2:], **how)).sum() == pytest.approx(inner, rel=1e-12, abs=1e-12)
    assert (w * _conv_kernel(y, x, size=w.shape[2:], **how)).sum() == pytest.approx(inner, rel=1e-12, abs=1e-12)


@given(problems())
def test_its_derivatives_agree_with_differences(problem):
    x, w, how = problem
    gradcheck(lambda x, w: hc.conv2d(x, w, **how), x, w, order=2, directions=1)


# --- blocks of images


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_the_edge_of_a_block_shows_nowhere(count):
    x, w = hc.tensor(numbers(count, 1, 3, 3), requires_grad=True), hc.tensor(numbers(2, 1, 2, 2), requires_grad=True)
    y = hc.conv2d(x, w)
    np.testing.assert_allclose(y.data, correlate(x.data, w.data), rtol=1e-12, atol=1e-12)
    cotangent = numbers(*y.shape, seed=1)
    y.backward(cotangent)
    windows = np.lib.stride_tricks.sliding_window_view(x.data, (2, 2), axis=(2, 3))
    np.testing.assert_allclose(w.grad.data, np.einsum("ncijab,nkij->kcab", windows, cotangent), rtol=1e-11, atol=1e-11)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    x, w = numbers(5 * BLOCK + 7, 3, 6, 6).astype(np.float32), numbers(4, 3, 3, 3).astype(np.float32)

    def results(count):
        monkeypatch.setattr(threads, "cores", lambda: count)
        leaves = [hc.tensor(z, requires_grad=True) for z in (x, w)]
        y = hc.conv2d(*leaves, padding=1)
        y.backward(numbers(*y.shape))
        return [y.data, *(leaf.grad.data for leaf in leaves)]

    with threadpool_limits(1, "blas"):
        alone = results(1)
        for count in (2, 3, 8):
            for result, expected in zip(results(count), alone, strict=True):
                np.testing.assert_array_equal(result, expected)


def test_no_images_give_no_outputs_and_no_gradient():
    w = hc.tensor(numbers(2, 1, 2, 2), requires_grad=True)
    y = hc.conv2d(np.ones((0, 1, 3, 3)), w)
    y.sum().backward()
    assert y.shape == (0, 2, 2, 2)
    np.testing.assert_array_equal(w.grad.data, np.zeros((2, 1, 2, 2)))


# --- dtypes


@pytest.mark.parametrize(
    ("image", "kernel", "result"),
    [
        (np.float32, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float64, np.float32, np.float64),
        (np.uint8, np.float32, np.float32),
    ],
)
def test_dtypes_combine_as_in_numpy(image, kernel, result):
    x, w = np.arange(9).reshape(1, 1, 3, 3).astype(image), np.full((1, 1, 2, 2), 0.5, kernel)
    y = hc.conv2d(x, w)
    assert y.dtype == result
    np.testing.assert_allclose(y, correlate(x.astype(float), w), rtol=1e-6)


def test_each_gradient_has_its_inputs_dtype():
    x = hc.tensor(numbers(2, 1, 3, 3).astype(np.float32), requires_grad=True)
    w = hc.tensor(numbers(1, 1, 2, 2), requires_grad=True)
    hc.conv2d(x, w).sum().backward()
    assert (x.grad.dtype, w.grad.dtype) == (np.float32, np.float64)


# --- pooling


@given(st.integers(1, 3), st.integers(3, 7), st.integers(3, 7))
def test_max_pool2d_takes_the_largest_of_each_whole_tile(size, height, width):
    x = numbers(2, 3, height, width)
    np.testing.assert_array_equal(hc.max_pool2d(x, size), of_tiles(np.max, x, size))


def test_max_pool2d_sends_the_gradient_to_the_largest_and_drops_the_edge():
    x = hc.tensor(np.arange(9.0).reshape(1, 1, 3, 3), requires_grad=True)
    hc.max_pool2d(x, 2).sum().backward()
    assert x.grad.data[0, 0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


# --- bad input


@pytest.mark.parametrize(
    ("x", "w", "how", "said"),
    [
        ((1, 2, 3, 3), (1, 3, 2, 2), {}, r"\(1, 2, 3, 3\) and kernels \(1, 3, 2, 2\).*one C"),
        ((2, 3, 3), (1, 2, 2, 2), {}, r"expected \(N, C, H, W\)"),
        ((1, 1, 3, 3), (1, 1), {}, r"\(K, C, kh, kw\)"),
        ((1, 1, 3, 3), (1, 1, 4, 1), {}, "kernels of 4x1 for images of 3x3.*more padding"),
        ((1, 1, 3, 3), (1, 1, 2, 2), {"stride": 0}, "stride 0"),
        ((1, 1, 3, 3), (1, 1, 2, 2), {"padding": -1}, "padding -1"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_shapes(x, w, how, said):
    with pytest.raises(InputError, match=said):
        hc.conv2d(np.ones(x), hc.tensor(np.ones(w)), **how)


@pytest.mark.parametrize("size", [0, 4])
def test_a_tile_that_does_not_fit_is_refused(size):
    with pytest.raises(InputError, match="images of 3x5, expected 1 to 3"):
        hc.max_pool2d(np.ones((1, 1, 3, 5)), size)
