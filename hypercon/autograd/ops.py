"""The table: every primitive of the engine, its forward on raw arrays and its rules side by side.

A rule takes ``g``, the cotangent of the output, to the cotangent of one input; ``out`` is the output. The rules use the
functions of this same file and plain operators, so they run on raw arrays and on tensors. Names and arguments are
NumPy's. What is made of these is in functions.py.

Conventions where a derivative is a choice: ties in `max`, `min`, `maximum` and `minimum` share the gradient equally;
``relu'(0) = 0``; ``absolute'(0) = 0``; `clip` passes the gradient inside the interval and on its ends; `norm` at 0 has
gradient 0; ``x ** 0`` is constant, at 0 too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypercon.autograd.calls import composed
from hypercon.autograd.engine import Traced, primitive
from hypercon.autograd.products import product
from hypercon.backend import Array, index_beside, xp
from hypercon.errors import DtypeError

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
    if isinstance(y, int | float) and y != 0:
        return g * y * power(x, y - 1)
    # x ** 0 is constant: unguarded, its derivative at 0 would be 0 * inf
    return g * y * power(x, where((x == 0) & (y == 0), 1.0, y - 1))


def _exponent_rule(g: Any, out: Any, x: Any, y: Any) -> Any:
    # exists where x > 0, and is taken as 0 at x = 0
    if isinstance(x, int | float):
        return g * out * (math.log(x) if x > 0 else 0.0)
    return g * out * log(where(x > 0, x, 1.0))


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


@primitive(lambda g, out, x: g * (out > 0))
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


@primitive(lambda g, out, x, a_min, a_max: g * ((x >= a_min) & (x <= a_max)))
def clip(x: Any, a_min: float, a_max: float) -> Any:
    """x limited to [a_min, a_max]; the gradient passes inside and on the ends."""
    return xp(x).clip(x, a_min, a_max)


@primitive(None, lambda g, out, c, x, y: where(c, g, 0.0), lambda g, out, c, x, y: where(c, 0.0, g))
def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return xp(condition, x, y).where(condition, x, y)


def raw(x: Any) -> Any:
    """The array inside a tensor; anything else as it is. Comparing tensors gives plain arrays too."""
    return x.data if isinstance(x, Traced) else x


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


def spread(g: Any, x: Any, axis: Axis) -> Any:
    """A reduction's cotangent with the reduced axes back as length 1, ready to be broadcast against x."""
    return reshape(g, keepdims_shape(x.shape, axis))


@primitive(lambda g, out, x, axis, keepdims: broadcast_to(spread(g, x, axis), x.shape))
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:  # hides the builtin in this file
    """The sum over one axis, several, or all."""
    return xp(x).sum(x, axis=axis, keepdims=keepdims)


def _extreme_rule(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    attained = x == reshape(raw(out), keepdims_shape(x.shape, axis))
    return spread(g, x, axis) * (attained / attained.sum(axis=axis, keepdims=True))


@primitive(_extreme_rule)
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest value; ties share the gradient equally."""
    return xp(x).max(x, axis=axis, keepdims=keepdims)


@primitive(_extreme_rule)
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest value; ties share the gradient equally."""
    return xp(x).min(x, axis=axis, keepdims=keepdims)


def _stable_exponentials(x: Any, axis: Axis) -> tuple[Any, Any, Any]:
    """exp(x - shift), their sum, and the shift: each slice's maximum, or 0 where that is infinite."""
    m = xp(x)
    shift = m.max(x, axis=axis, keepdims=True)
    shift = m.where(m.isfinite(shift), shift, 0)
    e = m.exp(x - shift)
    return e, m.sum(e, axis=axis, keepdims=True), shift


@primitive(lambda g, out, x, axis, keepdims: spread(g, x, axis) * softmax(x, axis))
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), stable; entries of -inf count for nothing, and of nothing else it is -inf."""
    _, total, shift = _stable_exponentials(x, axis)
    out = xp(x).log(_nonzero(total)) + where(total == 0, -np.inf, shift)
    return out if keepdims else out.reshape(sum(out, axis).shape)


@primitive(lambda g, out, x, axis: out * (g - sum(g * out, axis, keepdims=True)))
def softmax(x: Any, axis: Axis = -1) -> Any:
    """exp(x) divided by its sum over ``axis``, stable; entries of -inf get 0, even where there are no others."""
    e, total, _ = _stable_exponentials(x, axis)
    return e / _nonzero(total)


@primitive(lambda g, out, x, axis, keepdims: spread(g, x, axis) * (x / _nonzero(spread(out, x, axis))))
def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The Euclidean length over one axis, several, or all; its gradient at 0 is 0."""
    m = xp(x)
    return m.sqrt(m.sum(x * x, axis=axis, keepdims=keepdims))


def _nonzero(x: Any) -> Any:
    return where(x == 0, 1.0, x)


# --- products


def _left_rule(g: Any, out: Any, x: Any, y: Any) -> Any:
    if len(y.shape) == 1:  # every row of x met the vector y
        return reshape(g, (*out.shape, 1)) * y
    return matmul(_as_row(g) if len(x.shape) == 1 else g, _swap_last(y))


def _right_rule(g: Any, out: Any, x: Any, y: Any) -> Any:
    if len(y.shape) == 1:
        return reshape(g, (*out.shape, 1)) * x  # the engine sums over the rows
    if len(x.shape) == 1:
        return reshape(x, (-1, 1)) * _as_row(g)
    return matmul(_swap_last(x), g)


def _as_row(g: Any) -> Any:
    return reshape(g, (*g.shape[:-1], 1, g.shape[-1]))


@primitive(_left_rule, _right_rule)
def matmul(x: Any, y: Any) -> Any:
    """The matrix product of vectors, matrices or stacks of matrices, as NumPy's ``@``."""
    return product(x, y)


def _swap_last(x: Any) -> Any:
    n = len(x.shape)
    return transpose(x, (*range(n - 2), n - 1, n - 2))


# --- shape


@primitive(lambda g, out, x, shape: reshape(g, x.shape))
def reshape(x: Any, shape: int | Sequence[int]) -> Any:
    """x in another shape of the same size; one length may be -1."""
    return x.reshape(shape)


@primitive(lambda g, out, x, axes: transpose(g, None if axes is None else _undone(axes)))
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """x with its axes in the given order, or reversed."""
    return x.transpose(axes)


def _undone(axes: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that puts them back."""
    return tuple(np.argsort([a % len(axes) for a in axes]).tolist())


@primitive(lambda g, out, x, shape: g)  # the engine sums what was copied
def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """x repeated along new axes and axes of length 1."""
    return xp(x).broadcast_to(x, shape)


def _concatenate_rule(g: Any, out: Any, saved: None, *parts: Any, axis: int) -> tuple[Any, ...]:
    ends = np.cumsum([part.shape[axis] for part in parts])
    before = (slice(None),) * (axis % len(out.shape))
    return tuple(g[(*before, slice(int(e) - p.shape[axis], int(e)))] for p, e in zip(parts, ends, strict=True))


@primitive(fused=_concatenate_rule)
def _concatenate(*parts: Any, axis: int) -> Any:
    return xp(*parts).concatenate(parts, axis), None


@composed
def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts joined along an existing axis."""
    return _concatenate(*parts, axis=axis)


@primitive(lambda g, out, x, dtype: g)  # the engine gives a cotangent its input's dtype
def _astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


@composed
def astype(x: Any, dtype: Any) -> Any:
    """x in another dtype of real numbers; a tensor in a graph stays a tensor of floats."""
    if np.dtype(dtype).kind not in "biuf":
        raise DtypeError(f"astype() got {np.dtype(dtype)}, expected real numbers, such as float or int")
    if np.dtype(dtype).kind != "f" and isinstance(x, Traced) and x.requires_grad:
        raise DtypeError(f"astype() got {np.dtype(dtype)}, expected floats for a tensor in a graph: detach() it first")
    return _astype(x, dtype)


# --- picking and putting back: each is the other's derivative


@primitive(lambda g, out, x, index: put(g, index, x.shape))
def _getitem(x: Any, index: Any) -> Any:
    return x[index]


@primitive(lambda g, out, x, index, shape: _getitem(g, index))
def put(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with x added at ``index``; a position named twice receives both."""
    m = xp(x)
    out = m.zeros(shape, x.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(p is None or p is Ellipsis or isinstance(p, int | slice) for p in parts):
        out[index] = x
    else:
        m.add.at(out, index, x)
    return out


@composed
def getitem(x: Any, index: Any) -> Any:
    """x[index], as NumPy indexes: integers, slices, integer and boolean arrays."""
    index = tuple(raw(i) for i in index) if isinstance(index, tuple) else raw(index)
    return _getitem(x, index_beside(raw(x), index))
