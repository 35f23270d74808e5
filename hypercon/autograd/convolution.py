"""Convolution and pooling of images: shapes are (N, C, H, W), as in PyTorch.

In memory the image index comes last: results are stored as (C, H, W, N) and shown as (N, C, H, W). Unfolding an image
into columns is then a handful of copies with long contiguous runs, and a channel is a row for whatever follows (batch
normalisation reads it at full speed). Other layouts are accepted and give the same numbers, only slower.

A convolution is bilinear, so three operations close under differentiation: `conv2d`, its adjoint in the image and its
adjoint in the kernel. Each one's derivative is the other two, which gives every order. All three are written here as
one product with the columns of the whole batch; where those are large, the CPU goes strip by strip (strips.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.autograd import strips
from hypercon.autograd.calls import composed
from hypercon.autograd.engine import primitive
from hypercon.autograd.functions import mean
from hypercon.autograd.ops import max as max_over
from hypercon.autograd.ops import reshape
from hypercon.backend import Array, xp
from hypercon.errors import InputError


@primitive(
    lambda g, out, x, w, *, stride, padding: _conv_image(g, w, size=x.shape[2:], stride=stride, padding=padding),
    lambda g, out, x, w, *, stride, padding: _conv_kernel(g, x, size=w.shape[2:], stride=stride, padding=padding),
)
def _conv2d(x: Any, w: Any, *, stride: int, padding: int) -> Any:
    n, kernels = x.shape[0], w.shape[0]
    height, width = _out_size(x.shape[2:], w.shape[2:], stride, padding)
    if strips.serve(x, w.shape, (n, kernels, height, width)):
        return strips.convolved(x, w, (height, width), stride, padding)
    columns = _columns(_padded(x, padding), w.shape[2:], (height, width), stride)
    return (_kernel_rows(w) @ columns).reshape(kernels, height, width, n).transpose(3, 0, 1, 2)


@primitive(
    lambda g, out, y, w, *, size, stride, padding: _conv2d(g, w, stride=stride, padding=padding),
    lambda g, out, y, w, *, size, stride, padding: _conv_kernel(y, g, size=w.shape[2:], stride=stride, padding=padding),
)
def _conv_image(y: Any, w: Any, *, size: tuple[int, int], stride: int, padding: int) -> Any:
    """The adjoint of ``x -> conv2d(x, w)``: the columns of each output position are added back where they came from."""
    m = xp(y)
    n, kernels, height, width = y.shape
    channels, kh, kw = w.shape[1:]
    if strips.serve(y, w.shape, y.shape):
        return strips.by_image(y, w, size, stride, padding)
    outputs = m.ascontiguousarray(y.transpose(1, 2, 3, 0)).reshape(kernels, -1)
    columns = (_kernel_rows(w).T @ outputs).reshape(kh, kw, channels, height, width, n)
    padded = m.zeros((channels, size[0] + 2 * padding, size[1] + 2 * padding, n), columns.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, i : i + stride * height : stride, j : j + stride * width : stride] += columns[i, j]
    return padded[:, padding : padding + size[0], padding : padding + size[1]].transpose(3, 0, 1, 2)


@primitive(
    lambda g, out, y, x, *, size, stride, padding: _conv2d(x, g, stride=stride, padding=padding),
    lambda g, out, y, x, *, size, stride, padding: _conv_image(y, g, size=x.shape[2:], stride=stride, padding=padding),
)
def _conv_kernel(y: Any, x: Any, *, size: tuple[int, int], stride: int, padding: int) -> Any:
    """The adjoint of ``w -> conv2d(x, w)``: outputs against the columns they were made from, summed over images."""
    kernels, channels = y.shape[1], x.shape[1]
    if strips.serve(x, (kernels, channels, *size), y.shape):
        return strips.by_kernel(y, x, size, stride, padding)
    columns = _columns(_padded(x, padding), size, y.shape[2:], stride)
    outputs = xp(y).ascontiguousarray(y.transpose(1, 2, 3, 0)).reshape(kernels, -1)
    return (outputs @ columns.T).reshape(kernels, *size, channels).transpose(0, 3, 1, 2)


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


def _padded(x: Array, padding: int) -> Array:
    """Images as (C, H + 2 padding, W + 2 padding, n), with zeros around."""
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
