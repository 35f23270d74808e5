"""The table: every primitive of the engine, its forward on raw arrays and its rules side by side.

The rules use the functions of this same file and plain operators, so they run on raw arrays and on tensors. Names and
arguments are NumPy's. Conventions where a derivative is a choice: ties in `max` share the gradient equally,
``relu'(0) = 0``, ``abs'(0) = 0``, `clip` passes the gradient inside the interval and on its ends, `norm` at 0 has
gradient 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hypercon.autograd.engine import Traced, primitive
from hypercon.backend import Array, xp
from hypercon.errors import InputError

Axis = int | tuple[int, ...] | None

# --- arithmetic


@primitive(lambda g, out, x, y: g, lambda g, out, x, y: g)
def add(x: Any, y: Any) -> Any:
    """x + y, elementwise with broadcasting."""
    return x + y


@primitive(lambda g, out, x, y: g, lambda g, out, x, y: -g)
def subtract(x: Any, y: Any) -> Any:
    """x - y, elementwise with broadcasting."""
    return x - y


@primitive(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
def multiply(x: Any, y: Any) -> Any:
    """x * y, elementwise with broadcasting."""
    return x * y


@primitive(lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
def divide(x: Any, y: Any) -> Any:
    """x / y, elementwise with broadcasting."""
    return x / y


@primitive(lambda g, out, x: -g)
def negative(x: Any) -> Any:
    """-x."""
    return -x


def _base_rule(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(raw(y)) == 0 and raw(y) != 0:
        return g * y * power(x, y - 1)
    # x ** 0 is constant: unguarded, its derivative at 0 would be 0 * inf
    return g * y * power(x, where(equal(x, 0) & equal(y, 0), 1.0, y - 1))


def _exponent_rule(g: Any, out: Any, x: Any, y: Any) -> Any:
    # exists where x > 0, and is taken as 0 at x = 0
    return g * out * log(where(greater(x, 0), x, 1.0))


@primitive(_base_rule, _exponent_rule)
def power(x: Any, y: Any) -> Any:
    """x ** y. The exponent's gradient needs x >= 0."""
    return x**y


# --- elementwise functions


@primitive(lambda g, out, x: g * out)
def exp(x: Any) -> Any:
    """e to the power x."""
    return xp(x).exp(x)


@primitive(lambda g, out, x: g / x)
def log(x: Any) -> Any:
    """Natural logarithm of x."""
    return xp(x).log(x)


@primitive(lambda g, out, x: g / (2 * out))
def sqrt(x: Any) -> Any:
    """Square root of x; its derivative at 0 is infinite (use `norm` for lengths)."""
    return xp(x).sqrt(x)


@primitive(lambda g, out, x: g * (1 - out * out))
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of x."""
    return xp(x).tanh(x)


@primitive(lambda g, out, x: g * out * (1 - out))
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow for any x."""
    m = xp(x)
    decay = m.exp(-m.abs(x))
    return m.where(x >= 0, 1 / (1 + decay), decay / (1 + decay))


@primitive(lambda g, out, x: g * sigmoid(x))
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), exact for large and for very negative x."""
    m = xp(x)
    return m.maximum(x, 0) + m.log1p(m.exp(-m.abs(x)))


@primitive(lambda g, out, x: g * greater(out, 0))
def relu(x: Any) -> Any:
    """max(x, 0); its derivative at 0 is 0."""
    return xp(x).maximum(x, 0)


@primitive(lambda g, out, x: g * sign(x))
def absolute(x: Any) -> Any:
    """The absolute value of x; its derivative at 0 is 0."""
    return xp(x).abs(x)


@primitive(lambda g, out, x, y: g * _share(x, y), lambda g, out, x, y: g * _share(y, x))
def maximum(x: Any, y: Any) -> Any:
    """The larger of x and y; where they tie, each gets half of the gradient."""
    return xp(x, y).maximum(x, y)


@primitive(lambda g, out, x, y: g * _share(y, x), lambda g, out, x, y: g * _share(x, y))
def minimum(x: Any, y: Any) -> Any:
    """The smaller of x and y; where they tie, each gets half of the gradient."""
    return xp(x, y).minimum(x, y)


@primitive(lambda g, out, x, *, lower, upper: g * (greater_equal(x, lower) & greater_equal(upper, x)))
def _clip(x: Any, *, lower: float, upper: float) -> Any:
    return xp(x).clip(x, lower, upper)


def clip(x: Any, lower: float, upper: float) -> Any:
    """x limited to [lower, upper]; the gradient passes inside and on the ends."""
    return _clip(x, lower=lower, upper=upper)


@primitive(None, lambda g, out, c, x, y: where(c, g, 0.0), lambda g, out, c, x, y: where(c, 0.0, g))
def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return xp(condition, x, y).where(condition, x, y)


# --- comparisons: their results are plain arrays, since nothing can be differentiated through them


def raw(x: Any) -> Any:
    """The array inside a tensor; anything else as it is."""
    return x.data if isinstance(x, Traced) else x


def greater(x: Any, y: Any) -> Array:
    """x > y as a boolean array."""
    return raw(x) > raw(y)


def greater_equal(x: Any, y: Any) -> Array:
    """x >= y as a boolean array."""
    return raw(x) >= raw(y)


def equal(x: Any, y: Any) -> Array:
    """x == y as a boolean array."""
    return raw(x) == raw(y)


def sign(x: Any) -> Array:
    """-1, 0 or 1 by the sign of x, as an array."""
    return xp(raw(x)).sign(raw(x))


def _share(x: Any, y: Any) -> Array:
    """1 where x > y, 1/2 where they tie, else 0, in the floats of the inputs."""
    x, y = raw(x), raw(y)
    return ((x > y) + 0.5 * (x == y)).astype(xp(x, y).result_type(x, y))


# --- reductions


def keepdims_shape(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape that reducing over ``axis`` leaves when the reduced axes are kept with length 1."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    reduced = {a % len(shape) for a in axes} if shape else set()
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def _spread(g: Any, x: Any, axis: Axis) -> Any:
    """A reduction's cotangent with the reduced axes back as length 1, ready to be broadcast against x."""
    return reshape(g, keepdims_shape(np.shape(raw(x)), axis))


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    kept = keepdims_shape(shape, axis)
    return int(np.prod([n for n, k in zip(shape, kept, strict=True) if k == 1], dtype=int))


@primitive(lambda g, out, x, *, axis, keepdims: broadcast_to(_spread(g, x, axis), x.shape))
def _sum(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return x.sum(axis=axis, keepdims=keepdims)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # NumPy's name, which hides the builtin in this file
    """The sum over one axis, several, or all."""
    return _sum(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over one axis, several, or all."""
    return sum(x, axis, keepdims) / _count(np.shape(raw(x)), axis)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The variance over one axis, several, or all, divided by the count (NumPy's default)."""
    centred = x - mean(x, axis, keepdims=True)
    return mean(centred * centred, axis, keepdims)


def _extreme_rule(g: Any, out: Any, x: Any, *, axis: Axis, keepdims: bool) -> Any:
    attained = equal(x, reshape(raw(out), keepdims_shape(x.shape, axis)))
    return _spread(g, x, axis) * (attained / attained.sum(axis=axis, keepdims=True))


@primitive(_extreme_rule)
def _max(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return x.max(axis=axis, keepdims=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest value; ties share the gradient equally."""
    return _max(x, axis=axis, keepdims=keepdims)


@primitive(_extreme_rule)
def _min(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return x.min(axis=axis, keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest value; ties share the gradient equally."""
    return _min(x, axis=axis, keepdims=keepdims)


def _stable_exponentials(x: Any, axis: Axis) -> tuple[Any, Any, Any]:
    """exp(x - shift), their sum, and the shift: each slice's maximum, or 0 where that is infinite."""
    m = xp(x)
    shift = x.max(axis=axis, keepdims=True)
    shift = m.where(m.isfinite(shift), shift, 0)
    e = m.exp(x - shift)
    return e, e.sum(axis=axis, keepdims=True), shift


@primitive(lambda g, out, x, *, axis, keepdims: _spread(g, x, axis) * softmax(x, axis))
def _logsumexp(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    _, total, shift = _stable_exponentials(x, axis)
    out = xp(x).log(_nonzero(total)) + where(equal(total, 0), -np.inf, shift)
    return out if keepdims else out.reshape(_sum(out, axis=axis, keepdims=False).shape)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), stable; entries of -inf count for nothing, and of nothing else it is -inf."""
    return _logsumexp(x, axis=axis, keepdims=keepdims)


@primitive(lambda g, out, x, *, axis: out * (g - sum(g * out, axis, keepdims=True)))
def _softmax(x: Any, *, axis: Axis) -> Any:
    e, total, _ = _stable_exponentials(x, axis)
    return e / _nonzero(total)


def softmax(x: Any, axis: Axis = -1) -> Any:
    """exp(x) divided by its sum over ``axis``, stable; entries of -inf get 0, even where there are no others."""
    return _softmax(x, axis=axis)


def log_softmax(x: Any, axis: Axis = -1) -> Any:
    """The logarithm of `softmax`, computed without taking it."""
    return x - logsumexp(x, axis, keepdims=True)


@primitive(lambda g, out, x, *, axis, keepdims: _spread(g, x, axis) * (x / _nonzero(_spread(out, x, axis))))
def _norm(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return xp(x).sqrt((x * x).sum(axis=axis, keepdims=keepdims))


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The Euclidean length over one axis, several, or all; its gradient at 0 is 0."""
    return _norm(x, axis=axis, keepdims=keepdims)


def _nonzero(x: Any) -> Any:
    return where(equal(x, 0), 1.0, x)


# --- products


@primitive(
    lambda g, out, x, y: _matmul(g, swap_last(y)),
    lambda g, out, x, y: _matmul(swap_last(x), g),
)
def _matmul(x: Any, y: Any) -> Any:
    return x @ y


def swap_last(x: Any) -> Any:
    """x with its last two axes exchanged: the transposes of a stack of matrices."""
    n = len(x.shape)
    return transpose(x, (*range(n - 2), n - 1, n - 2))


def matmul(x: Any, y: Any) -> Any:
    """The matrix product of vectors, matrices or stacks of matrices, as NumPy's ``@``."""
    x_vector, y_vector = np.ndim(raw(x)) == 1, np.ndim(raw(y)) == 1
    if x_vector:
        x = reshape(x, (1, -1))
    if y_vector:
        y = reshape(y, (-1, 1))
    out = _matmul(x, y)
    if y_vector:
        out = reshape(out, out.shape[:-1])
    if x_vector:
        out = reshape(out, out.shape[:-1] if y_vector else (*out.shape[:-2], out.shape[-1]))
    return out


# --- shape


@primitive(lambda g, out, x, *, shape: reshape(g, x.shape))
def _reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    return x.reshape(shape)


def reshape(x: Any, shape: int | Sequence[int]) -> Any:
    """x in another shape of the same size; one length may be -1."""
    return _reshape(x, shape=(shape,) if isinstance(shape, int) else tuple(shape))


@primitive(lambda g, out, x, *, axes: transpose(g, tuple(int(i) for i in np.argsort(axes))))
def _transpose(x: Any, *, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """x with its axes in the given order, or reversed."""
    n = len(x.shape)
    return _transpose(x, axes=tuple(a + n if a < 0 else a for a in axes) if axes is not None else tuple(range(n))[::-1])


@primitive(lambda g, out, x, *, shape: g)  # the engine sums what was copied
def _broadcast_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    return xp(x).broadcast_to(x, shape)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated along new axes and axes of length 1."""
    return _broadcast_to(x, shape=tuple(shape))


def _concatenate_rule(g: Any, out: Any, saved: None, *parts: Any, axis: int) -> tuple[Any, ...]:
    ends = np.cumsum([part.shape[axis] for part in parts])
    before = (slice(None),) * (axis % len(out.shape))
    return tuple(g[(*before, slice(int(e) - p.shape[axis], int(e)))] for p, e in zip(parts, ends, strict=True))


@primitive(fused=_concatenate_rule)
def _concatenate(*parts: Any, axis: int) -> Any:
    return xp(*parts).concatenate(parts, axis), None


def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts joined along an existing axis."""
    return _concatenate(*parts, axis=axis)


def stack(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts joined along a new axis."""
    n = len(parts[0].shape) + 1
    a = axis + n if axis < 0 else axis
    return concatenate([reshape(p, (*p.shape[:a], 1, *p.shape[a:])) for p in parts], a)


@primitive(lambda g, out, x, *, dtype: g)  # the engine gives a cotangent its input's dtype
def _cast(x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def astype(x: Any, dtype: Any) -> Any:
    """x in another floating dtype."""
    kind = np.dtype(dtype)
    if kind.kind != "f" and isinstance(x, Traced) and x.requires_grad:
        raise InputError(
            f"astype got {kind}, expected floats: a tensor in a graph cannot become {kind}; detach() it first"
        )
    return _cast(x, dtype=kind)


# --- picking and putting back: each is the other's derivative


@primitive(lambda g, out, x, *, index: _put(g, index=index, shape=x.shape))
def _take(x: Any, *, index: Any) -> Any:
    return x[index]


@primitive(lambda g, out, x, *, index, shape: _take(g, index=index))
def _put(x: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with x added at ``index``; a position named twice receives both."""
    m = xp(x)
    out = m.zeros(shape, x.dtype)
    if _is_basic(index):
        out[index] = x
    else:
        m.add.at(out, index, x)
    return out


def getitem(x: Any, index: Any) -> Any:
    """x[index], as NumPy indexes: integers, slices, integer and boolean arrays."""
    index = tuple(raw(i) for i in index) if isinstance(index, tuple) else raw(index)
    return _take(x, index=index)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, int | slice) for p in parts)


# --- the sphere


def _normalize_rule(g: Any, out: Any, x: Any, *, axis: int, eps: float) -> Any:
    # the radial part of g is removed: what remains is tangent to the sphere and shrinks with the length of x
    length = norm(x, axis, keepdims=True)
    radial = sum(g * out, axis, keepdims=True) * greater(length, eps)
    return (g - out * radial) / maximum(length, eps)


@primitive(_normalize_rule)
def _normalize(x: Any, *, axis: int, eps: float) -> Any:
    m = xp(x)
    return x / m.maximum(m.sqrt((x * x).sum(axis=axis, keepdims=True)), eps)


def normalize(x: Any, axis: int = -1, *, eps: float = 1e-12) -> Any:
    """Rows onto the unit sphere: x / max(norm(x), eps).

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
    >>> normalize(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    if not isinstance(x, Traced):
        x = xp(x).asarray(x)
    return _normalize(x, axis=axis, eps=eps)
