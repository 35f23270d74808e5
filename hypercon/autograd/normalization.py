"""Normalisation: vectors onto the sphere, channels by the batch, features by the row.

Each is one operation: batch normalisation as many small ones would cost more than the convolutions around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon import memory
from hypercon.autograd import ops, strips
from hypercon.autograd.calls import composed
from hypercon.autograd.engine import primitive
from hypercon.autograd.functions import mean
from hypercon.backend import Array, xp


def _normalize_rule(g: Any, out: Any, saved: Any, x: Any, axis: int, eps: float) -> tuple[Any]:
    # the radial part of g is removed: what remains is tangent to the sphere and shrinks with the length of x
    if saved is not None:
        dx = memory.copy(out)
        dx *= _dots(g, out, axis) * -(saved > eps).astype(saved.dtype)
        dx += g
        dx /= xp(x).maximum(saved, eps)
        return (dx,)
    length = ops.norm(x, axis, keepdims=True)
    radial = ops.sum(g * out, axis, keepdims=True) * (length > eps)  # below eps, x is only scaled
    return ((g - out * radial) / ops.maximum(length, eps),)


@primitive(fused=_normalize_rule)
def normalize(x: Any, axis: int = -1, eps: float = 1e-12) -> Any:
    """Vectors onto the unit sphere: x / max(norm(x), eps).

    Parameters
    ----------
    x : array_like or Tensor, (..., D)
    axis : int, default -1
        The axis along which a vector lies.
    eps : float, default 1e-12
        Shorter vectors are divided by ``eps``; a vector of zeros stays zeros.

    Returns
    -------
    array or Tensor
        Of the shape of x, with unit vectors along ``axis``. Its gradient is tangent to the sphere,
        ``(I - z z^T) g / norm(x)``: scaling x changes nothing, and longer vectors take smaller steps.

    Examples
    --------
    >>> normalize([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    m = xp(x)
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)  # squares of small integers do not fit their own type
    length = m.sqrt(_dots(x, x, axis))
    if m is np and not (np.isfinite(length).all() and length.all()):
        # a square overflows or vanishes where its root does not: what is measured is in units of the largest entry
        unit = m.maximum(m.max(m.abs(x), axis=axis, keepdims=True), np.finfo(x.dtype).tiny)
        length = unit * m.sqrt(_dots(x / unit, x / unit, axis))
    out = memory.copy(x)
    out /= m.maximum(length, eps)
    return out, length


def _dots(x: Array, y: Array, axis: int) -> Array:
    """The dot products of the vectors along ``axis``, which stays: without an array of the size of x in between."""
    m = xp(x)
    if axis in (-1, len(x.shape) - 1):
        return m.einsum("...i,...i->...", x, y)[..., None]
    found = m.einsum("...i,...i->...", m.moveaxis(x, axis, -1), m.moveaxis(y, axis, -1))
    return m.moveaxis(found[..., None], -1, axis)


@composed
def layer_norm(x: Any, gamma: Any = 1.0, beta: Any = 0.0, *, eps: float = 1e-5) -> Any:
    """Standardise every vector of the last axis, then scale and shift it (Ba et al. 2016, eq. 4).

    Parameters
    ----------
    x : array_like or Tensor, (..., D)
    gamma, beta : array_like or Tensor, (D,), or float
    eps : float, default 1e-5

    Returns
    -------
    array or Tensor
        Of the shape of x.

    Examples
    --------
    >>> layer_norm([[1.0, 3.0]], eps=0.0)
    array([[-1.,  1.]])
    """
    centred = x - mean(x, -1, keepdims=True)
    return centred * (mean(centred * centred, -1, keepdims=True) + eps) ** -0.5 * gamma + beta


def channel_moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (divided by the count) of each channel of a raw (N, C, ...) array, both shaped (C,)."""
    if strips.serve_channels(x):
        return strips.moments(x)
    rows = _channel_rows(x)
    mean = rows.mean(axis=1)
    centred = rows - mean[:, None]
    return mean, xp(x).einsum("ij,ij->i", centred, centred) / rows.shape[1]


def _rule(
    g: Any, out: Any, saved: Any, x: Any, gamma: Any, beta: Any, *, eps: float, moments: Any, relu: bool
) -> tuple[Any, Any, Any]:
    """The mean, and the component along the standardised values, are projected out of the cotangent."""
    if saved is not None and _goes_in_strips(x, gamma, beta):
        mean_of_x, scale = saved
        return strips.by_normalized(g, out, x, mean_of_x, scale, gamma, relu)
    if relu:
        g = g * (out > 0)
    if saved is not None:
        standard, scale = saved
        return _array_rule(g, standard, scale, gamma)
    shape, axes = _channel_shape(x), (0, *range(2, len(x.shape)))
    centred = x - mean(x, axes, keepdims=True)
    scale = (mean(centred * centred, axes, keepdims=True) + eps) ** -0.5
    standard = centred * scale
    projected = g - mean(g, axes, keepdims=True) - standard * mean(g * standard, axes, keepdims=True)
    return projected * (_as_channel(gamma, shape) * scale), ops.sum(g * standard, axes), ops.sum(g, axes)


def _array_rule(g: Array, standard: Array, scale: Array, gamma: Any) -> tuple[Array, Array, Array]:
    """The same on raw arrays, a channel a row, with one array of the batch's size made instead of six."""
    rows = _channel_rows(g)
    g_sum = rows.sum(axis=1)
    g_dot = xp(g).einsum("ij,ij->i", rows, standard)
    dx = standard * (-g_dot / rows.shape[1])[:, None]
    dx += rows
    dx -= (g_sum / rows.shape[1])[:, None]
    dx *= (gamma * scale)[:, None]
    return _as_images(dx, g.shape), g_dot, g_sum


@primitive(fused=_rule)
def batch_norm(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, moments: Any = None, relu: bool = False) -> Any:
    """Standardise each channel by the batch's own mean and variance, then scale and shift it.

    ``gamma * (x - mean) / sqrt(var + eps) + beta`` (Ioffe & Szegedy 2015, Algorithm 1).

    Parameters
    ----------
    x : array or Tensor, (N, C, ...)
    gamma, beta : array or Tensor, (C,), or float
    eps : float, default 1e-5
    moments : pair of arrays, (C,) each, optional
        Mean and variance of this very x, if the caller has them already.
    relu : bool, default False
        Cut the result off at 0, as `relu` would: in one go, which spares writing and reading it once more.

    Returns
    -------
    array or Tensor
        Of the shape of x.

    Examples
    --------
    >>> import numpy as np
    >>> batch_norm(np.array([[1.0], [3.0]]), 1.0, 0.0, eps=0.0)
    array([[-1.],
           [ 1.]])
    """
    mean, var = channel_moments(x) if moments is None else moments
    scale = (var + eps) ** -0.5
    if _goes_in_strips(x, gamma, beta):
        return strips.normalized(x, mean, scale, gamma, beta, relu), (mean, scale)
    standard = _channel_rows(x) - mean[:, None]
    standard *= scale[:, None]
    out = standard if _is_number(gamma, 1.0) else standard * _as_channel(gamma, (-1, 1))
    if not _is_number(beta, 0.0):
        out = out + _as_channel(beta, (-1, 1))
    if relu:
        out = xp(out).maximum(out, 0)
    return _as_images(out, x.shape), (standard, scale)


def _goes_in_strips(x: Array, gamma: Any, beta: Any) -> bool:
    """Whether the CPU takes it channel by channel: long rows, and scale and shift in the dtype of x."""
    return strips.serve_channels(x) and all(isinstance(a, int | float) or a.dtype == x.dtype for a in (gamma, beta))


def _channel_rows(x: Array) -> Array:
    """(N, C, ...) as (C, count): a view where the images come last in memory, as convolutions leave them."""
    return xp(x).moveaxis(x, 0, -1).reshape(x.shape[1], -1)


def _as_images(rows: Array, shape: tuple[int, ...]) -> Array:
    return xp(rows).moveaxis(rows.reshape(*shape[1:], shape[0]), -1, 0)


def _channel_shape(x: Any) -> tuple[int, ...]:
    return (1, -1, *([1] * (len(x.shape) - 2)))


def _as_channel(value: Any, shape: tuple[int, ...]) -> Any:
    return value if isinstance(value, int | float) else ops.reshape(value, shape)


def _is_number(value: Any, number: float) -> bool:
    return isinstance(value, int | float) and value == number
