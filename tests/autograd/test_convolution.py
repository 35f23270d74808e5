"""Convolution against its definition, as adjoints, strip by strip as in one piece, and the same on any threads."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_table import correlate, of_tiles
from threadpoolctl import threadpool_limits

import hypercon as hc
from hypercon import memory, threads
from hypercon.autograd import strips
from hypercon.autograd.convolution import _conv2d, _conv_image, _conv_kernel
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


# --- strip by strip on the CPU, in one piece elsewhere


def in_one_piece(operation, *inputs, **how):
    """What a GPU would compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "serve", lambda *_: False)
        return operation(*inputs, **how)


def with_strips_of(numbers, operation, *inputs, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "serve", lambda *_: True)
        patch.setattr(strips, "COLUMNS", 8 * numbers)
        return operation(*inputs, **how)


layouts = st.permutations(range(4))


def laid_out(x, order):
    """The same values, with the axes in memory in another order."""
    return x.transpose(order).copy().transpose(np.argsort(order))


@given(problems(), st.integers(1, 500), layouts)
def test_strips_of_any_size_and_layouts_of_any_order_give_what_one_piece_gives(problem, size, order):
    x, w, how = problem
    y = numbers(*hc.conv2d(x, w, **how).shape, seed=2)
    for operation, inputs, settings in [
        (_conv2d, (x, w), how),
        (_conv_image, (y, w), {**how, "size": x.shape[2:]}),
        (_conv_kernel, (y, x), {**how, "size": w.shape[2:]}),
    ]:
        expected = in_one_piece(operation, *inputs, **settings)
        found = with_strips_of(size, operation, *[laid_out(z, order) for z in inputs], **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@given(problems(), st.integers(1, 100))
def test_in_strips_its_derivatives_agree_with_differences(problem, size):
    x, w, how = problem
    with_strips_of(size, gradcheck, lambda x, w: hc.conv2d(x, w, **how), x, w, order=2, directions=1)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.integers(1, 400))
def test_strips_cover_every_position_once_and_are_runs_in_memory(height, width, images, most):
    x = np.zeros((2, height, width, images))
    cut = strips.strips(x.shape[1:], most)
    for strip in cut:
        part = strip.of(x)
        assert np.shares_memory(part, x)
        part += 1
    assert (x == 1).all()
    sizes = [np.prod(strip.shape) for strip in cut]
    assert max(sizes) <= most
    assert len(cut) == 1 or max(sizes) > most / 8


KERNEL_OFFSETS, PHASES, GATHERED = strips._kernel_offsets, strips._phases, strips.gathered
AS_ROWS, STRIPS = strips._as_rows, strips.strips


def exchanged(phases):
    """Each phase with the entries of the next."""
    return [(first, taps) for (first, _), (_, taps) in zip(phases, phases[1:] + phases[:1], strict=True)]


FAULTS = {
    "the columns are those one row further down": (
        "_kernel_offsets",
        lambda *how: [(i + 1, j) for i, j in KERNEL_OFFSETS(*how)],
    ),
    "a phase meets the entries of the next": ("_phases", lambda *how: exchanged(PHASES(*how))),
    "outside the image is not zero": ("gathered", lambda *how: GATHERED(*how) + 0.001),
    "the kernels stand upside down": ("_as_rows", lambda w, dtype: AS_ROWS(w[:, :, ::-1], dtype)),
    "a strip is lost": ("strips", lambda *how: STRIPS(*how)[:-1]),
}


def check_strips(x, w, **how):
    def results(x, w):
        leaves = [hc.tensor(z, requires_grad=True) for z in (x, w)]
        y = hc.conv2d(*leaves, **how)
        y.backward(numbers(*y.shape))
        return [y.data, *(leaf.grad.data for leaf in leaves)]

    for got, wanted in zip(with_strips_of(20, results, x, w), in_one_piece(results, x, w), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


def test_the_right_strips_pass():
    check_strips(numbers(3, 2, 5, 4), numbers(2, 2, 3, 2, seed=1), stride=2, padding=1)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_planted_in_the_strips_is_caught(fault, monkeypatch):
    monkeypatch.setattr(strips, *FAULTS[fault])
    with pytest.raises(AssertionError):
        check_strips(numbers(3, 2, 5, 4), numbers(2, 2, 3, 2, seed=1), stride=2, padding=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_number_of_threads_changes_no_bit(monkeypatch, stride):
    x, w = numbers(67, 3, 6, 5).astype(np.float32), numbers(4, 3, 3, 3).astype(np.float32)
    monkeypatch.setattr(strips, "COLUMNS", 2**14)

    def results(count):
        monkeypatch.setattr(threads, "cores", lambda: count)
        leaves = [hc.tensor(z, requires_grad=True) for z in (x, w)]
        y = hc.conv2d(*leaves, stride=stride, padding=1)
        y.backward(numbers(*y.shape))
        return [y.data, *(leaf.grad.data for leaf in leaves)]

    with threadpool_limits(1, "blas"):
        alone = results(1)
        for count, _ in itertools.product((2, 3, 8), range(2)):
            for result, expected in zip(results(count), alone, strict=True):
                np.testing.assert_array_equal(result, expected)


def test_an_image_that_needs_no_gradient_costs_none(monkeypatch):
    monkeypatch.setattr(strips, "serve", lambda *_: True)
    monkeypatch.setattr(strips, "by_image", None)
    w = hc.tensor(numbers(2, 1, 2, 2), requires_grad=True)
    hc.conv2d(hc.tensor(numbers(3, 1, 4, 4)), w).sum().backward()
    assert w.grad.shape == w.shape


def test_results_are_written_over_nothing_that_can_still_be_read(monkeypatch):
    monkeypatch.setattr(memory, "LEAST", 0)
    monkeypatch.setattr(strips, "serve", lambda *_: True)
    x, w = numbers(5, 2, 6, 6), numbers(3, 2, 3, 3)
    kept = [hc.conv2d(x * i, w)[:, ::2] for i in range(6)]
    for i, part in enumerate(kept):
        np.testing.assert_allclose(part, i * kept[1], rtol=1e-12)


@pytest.mark.parametrize("in_strips", [False, True])
def test_no_images_give_no_outputs_and_no_gradient(in_strips, monkeypatch):
    monkeypatch.setattr(strips, "serve", lambda *_: in_strips)
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
