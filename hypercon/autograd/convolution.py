"""Convolution and pooling of images: shapes are (N, C, H, W), as in PyTorch.

In memory the image index comes last: results are stored as (C, H, W, N) and shown as (N, C, H, W). Unfolding an image
into columns is then a handful of copies with long contiguous runs, and a channel is a row for whatever follows (batch
normalisation reads it at full speed). Other layouts are accepted and give the same numbers, only slower.

A convolution is bilinear, so three operations close under differentiation: `conv2d`, its adjoint in the image and its
adjoint in the kernel. Each one's derivative is the other two, which gives every order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon import threads
from hypercon.autograd.calls import composed
from hypercon.autograd.engine import primitive
from hypercon.autograd.functions import mean
from hypercon.autograd.ops import max as max_over
from hypercon.autograd.ops import reshape
from hypercon.backend import Array, xp
from hypercon.errors import InputError

BLOCK = 64  # images in one block: its columns stay near the cache, its runs stay long


@primitive(
    lambda g, out, x, w, *, stride, padding: _conv_image(g, w, size=x.shape[2:], stride=stride, padding=padding),
    lambda g, out, x, w, *, stride, padding: _conv_kernel(g, x, size=w.shape[2:], stride=stride, padding=padding),
)
def _conv2d(x: Any, w: Any, *, stride: int, padding: int) -> Any:
    n, kernels = x.shape[0], w.shape[0]
    height, width = _out_size(x.shape[2:], w.shape[2:], stride, padding)
    y = _image_last(xp(x), (n, kernels, height, width), xp(x).result_type(x, w))
    rows = _kernel_rows(w)

    def block(images: slice) -> None:
        columns = _columns(_padded(x[images], padding), w.shape[2:], (height, width), stride)
        y[images] = (rows @ columns).reshape(kernels, height, width, -1).transpose(3, 0, 1, 2)

    _in_blocks(block, x)
    return y


@primitive(
    lambda g, out, y, w, *, size, stride, padding: _conv2d(g, w, stride=stride, padding=padding),
    lambda g, out, y, w, *, size, stride, padding: _conv_kernel(y, g, size=w.shape[2:], stride=stride, padding=padding),
)
def _conv_image(y: Any, w: Any, *, size: tuple[int, int], stride: int, padding: int) -> Any:
    """The adjoint of ``x -> conv2d(x, w)``: the columns of each output position are added back where they came from."""
    m = xp(y)
    n, kernels, height, width = y.shape
    channels, kh, kw = w.shape[1:]
    x = _image_last(m, (n, channels, *size), m.result_type(y, w))
    columns_from = _kernel_rows(w).T

    def block(images: slice) -> None:
        part = m.ascontiguousarray(y[images].transpose(1, 2, 3, 0)).reshape(kernels, -1)
        columns = (columns_from @ part).reshape(kh, kw, channels, height, width, -1)
        padded = m.zeros((channels, size[0] + 2 * padding, size[1] + 2 * padding, columns.shape[-1]), x.dtype)
        for i in range(kh):
            for j in range(kw):
                padded[:, i : i + stride * height : stride, j : j + stride * width : stride] += columns[i, j]
        x[images] = padded[:, padding : padding + size[0], padding : padding + size[1]].transpose(3, 0, 1, 2)

    _in_blocks(block, y)
    return x


@primitive(
    lambda g, out, y, x, *, size, stride, padding: _conv2d(x, g, stride=stride, padding=padding),
    lambda g, out, y, x, *, size, stride, padding: _conv_image(y, g, size=x.shape[2:], stride=stride, padding=padding),
)
def _conv_kernel(y: Any, x: Any, *, size: tuple[int, int], stride: int, padding: int) -> Any:
    """The adjoint of ``w -> conv2d(x, w)``: outputs against the columns they were made from, summed over images."""
    m = xp(x)
    kernels, (height, width), channels = y.shape[1], y.shape[2:], x.shape[1]
    parts: list[Array] = [None] * len(_blocks(x))

    def block(images: slice) -> None:
        columns = _columns(_padded(x[images], padding), size, (height, width), stride)
        part = m.ascontiguousarray(y[images].transpose(1, 2, 3, 0)).reshape(kernels, -1)
        parts[images.start // BLOCK] = part @ columns.T

    _in_blocks(block, x)
    total = parts[0]
    for part in parts[1:]:  # in the order of the blocks, whichever thread made them
        total = total + part
    return total.reshape(kernels, *size, channels).transpose(0, 3, 1, 2)


@composed
def conv2d(x: Any, w: Any, *, stride: int = 1, padding: int = 0) -> Any:
    """Cross-correlate images with kernels, as every deep learning library's convolution does.

    Parameters
    ----------
    x : array or Tensor, (N, C, H, W)
        Images.
    w : array or Tensor, (K, C, kh, kw)
        Kernels.
    stride : int, default 1
        Step between windows, in both directions.
    padding : int, default 0
        Zeros added on each side.

    Returns
    -------
    array or Tensor, (N, K, (H + 2 padding - kh) // stride + 1, (W + 2 padding - kw) // stride + 1)

    Raises
    ------
    InputError
        The channels differ, an array does not have four axes, or the kernel is larger than the padded image.

    Examples
    --------
    >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1)[0, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    xs, ws = x.shape, w.shape if hasattr(w, "shape") else np.shape(w)
    if len(xs) != 4 or len(ws) != 4 or xs[1] != ws[1]:
        raise InputError(
            f"conv2d got images {xs} and kernels {ws}, expected (N, C, H, W) and (K, C, kh, kw) with one C"
        )
    if stride < 1 or padding < 0:
        raise InputError(f"conv2d got stride {stride} and padding {padding}, expected stride >= 1 and padding >= 0")
    if min(_out_size(xs[2:], ws[2:], stride, padding)) < 1:
        raise InputError(
            f"conv2d got kernels of {ws[2]}x{ws[3]} for images of {xs[2]}x{xs[3]} with padding {padding}: "
            f"the kernel does not fit; use a smaller kernel or more padding"
        )
    return _conv2d(x, w, stride=stride, padding=padding)


@composed
def max_pool2d(x: Any, size: int) -> Any:
    """The largest value of each ``size`` x ``size`` tile; rows and columns left over at the edge are dropped.

    Parameters
    ----------
    x : array or Tensor, (N, C, H, W)
    size : int

    Returns
    -------
    array or Tensor, (N, C, H // size, W // size)

    Examples
    --------
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return max_over(_tiles(x, size, "max_pool2d"), axis=(3, 5))


@composed
def avg_pool2d(x: Any, size: int) -> Any:
    """The mean of each ``size`` x ``size`` tile; rows and columns left over at the edge are dropped.

    Parameters
    ----------
    x : array or Tensor, (N, C, H, W)
    size : int

    Returns
    -------
    array or Tensor, (N, C, H // size, W // size)

    Examples
    --------
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return mean(_tiles(x, size, "avg_pool2d"), axis=(3, 5))


def _tiles(x: Any, size: int, name: str) -> Any:
    """Images cut into tiles: (N, C, rows, size, columns, size)."""
    if x.ndim != 4:
        raise InputError(f"{name}() got shape {x.shape}, expected images, (N, C, H, W)")
    n, c, h, w = x.shape
    if not 1 <= size <= min(h, w):
        raise InputError(f"{name}() got size {size} for images of {h}x{w}, expected 1 to {min(h, w)}")
    rows, columns = h // size, w // size
    return reshape(x[:, :, : rows * size, : columns * size], (n, c, rows, size, columns, size))


# --- layout


def _out_size(image: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int) -> tuple[int, int]:
    height, width = ((a + 2 * padding - k) // stride + 1 for a, k in zip(image, kernel, strict=True))
    return height, width


def _image_last(m: Any, shape: tuple[int, int, int, int], dtype: Any) -> Array:
    """An empty (N, C, H, W) array that lies in memory as (C, H, W, N)."""
    n, *rest = shape
    return m.empty((*rest, n), dtype).transpose(3, 0, 1, 2)


def _padded(x: Array, padding: int) -> Array:
    """A block of images as (C, H + 2 padding, W + 2 padding, n), with zeros around."""
    n, c, h, w = x.shape
    out = xp(x).zeros((c, h + 2 * padding, w + 2 * padding, n), x.dtype)
    out[:, padding : padding + h, padding : padding + w] = x.transpose(1, 2, 3, 0)
    return out


def _columns(padded: Array, kernel: tuple[int, int], out: tuple[int, int], stride: int) -> Array:
    """im2col: one column for every output position of every image, (kh kw C, height width n)."""
    channels, n = padded.shape[0], padded.shape[-1]
    columns = xp(padded).empty((*kernel, channels, *out, n), padded.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            columns[i, j] = padded[:, i : i + stride * out[0] : stride, j : j + stride * out[1] : stride]
    return columns.reshape(kernel[0] * kernel[1] * channels, -1)


def _kernel_rows(w: Array) -> Array:
    """The kernels as rows in the order of the columns, (K, kh kw C)."""
    return xp(w).ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(w.shape[0], -1)


def _blocks(x: Array) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, max(x.shape[0], 1), BLOCK)]  # no images: an empty block


def _in_blocks(work: Callable[[slice], None], x: Array) -> None:
    """Blocks of images over the cores; on a GPU too, one after the other."""
    blocks = _blocks(x)
    if xp(x) is np:
        threads.run(lambda i: work(blocks[i]), len(blocks))
    else:
        for images in blocks:
            work(images)
