"""Operations composed of the table's primitives; their derivatives need no rules of their own.

Names and arguments are NumPy's. `prod` and `einsum` are primitives here, whose rules are
themselves, applied to other operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hypercon.autograd.calls import composed
from hypercon.autograd.engine import primitive
from hypercon.autograd.ops import (
    Axis,
    broadcast_to,
    concatenate,
    getitem,
    keepdims_shape,
    logsumexp,
    put,
    raw,
    reshape,
    spread,
    transpose,
    where,
)
from hypercon.autograd.ops import sum as total
from hypercon.backend import xp
from hypercon.errors import DtypeError, InputError

# --- reductions


@composed
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over one axis, several, or all.

    Examples
    --------
    >>> mean([[1.0, 3.0], [5.0, 7.0]], axis=1)
    array([2., 6.])
    """
    return total(x, axis, keepdims) / _count(x, axis, "mean")


@composed
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The variance over one axis, several, or all, divided by the count (NumPy's default).

    Examples
    --------
    >>> float(var([1.0, 3.0]))
    1.0
    """
    centred = x - mean(x, axis, keepdims=True)
    return mean(centred * centred, axis, keepdims)


def _prod_rule(g: Any, out: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    # each factor's derivative is the product of the others. Dividing the whole by the factor would fail at 0, so the
    # others are multiplied: row i of the last axes holds all factors, with 1 in place of factor i
    kept = keepdims_shape(x.shape, axis)
    order = sorted(range(len(kept)), key=lambda i: kept[i] != x.shape[i])  # reduced axes last
    ordered = transpose(x, order)
    lined = reshape(ordered, (*[x.shape[i] for i in order if kept[i] == x.shape[i]], 1, -1))
    itself = xp(raw(x)).eye(lined.shape[-1], dtype=bool)
    others = reshape(prod(where(itself, 1.0, lined), axis=-1), ordered.shape)
    return spread(g, x, axis) * transpose(others, [order.index(i) for i in range(len(order))])


@primitive(_prod_rule)
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product over one axis, several, or all; its derivatives are exact where factors are 0.

    Examples
    --------
    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([3., 8.])
    """
    return xp(x).prod(x, axis=axis, keepdims=keepdims)


@composed
def log_softmax(x: Any, axis: Axis = -1) -> Any:
    """The logarithm of `softmax`, computed without taking it.

    Examples
    --------
    >>> log_softmax([1000.0, 0.0])
    array([    0., -1000.])
    """
    return x - logsumexp(x, axis, keepdims=True)


def _count(x: Any, axis: Axis, name: str) -> int:
    kept = keepdims_shape(x.shape, axis)
    count = int(np.prod([n for n, k in zip(x.shape, kept, strict=True) if k != n or n == 1], dtype=int))
    if 0 in x.shape:
        raise InputError(f"{name}() got shape {x.shape}, which holds no numbers: a mean needs at least one")
    return count


# --- axes


@composed
def expand_dims(x: Any, axis: int) -> Any:
    """x with a new axis of length 1.

    Examples
    --------
    >>> expand_dims([1.0, 2.0], axis=1).shape
    (2, 1)
    """
    at = _axis(axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


@composed
def squeeze(x: Any, axis: int | None = None) -> Any:
    """x without an axis of length 1, or without all of them.

    Examples
    --------
    >>> squeeze([[[1.0, 2.0]]]).shape
    (2,)
    """
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    at = _axis(axis, x.ndim)
    if x.shape[at] != 1:
        raise InputError(f"squeeze() got axis {axis} of shape {x.shape}, expected an axis of length 1")
    return reshape(x, (*x.shape[:at], *x.shape[at + 1 :]))


@composed
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged.

    Examples
    --------
    >>> swapaxes(np.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    order = list(range(x.ndim))
    a, b = _axis(axis1, x.ndim), _axis(axis2, x.ndim)
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


@composed
def flip(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x in reverse order along one axis, several, or all.

    Examples
    --------
    >>> flip([1.0, 2.0, 3.0])
    array([3., 2., 1.])
    """
    axes = range(x.ndim) if axis is None else [_axis(a, x.ndim) for a in ([axis] if isinstance(axis, int) else axis)]
    return getitem(x, tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim)))


@composed
def pad(x: Any, pad_width: Any) -> Any:
    """x with zeros around: ``pad_width`` is a number, or a pair (before, after) for each axis.

    Examples
    --------
    >>> pad([1.0, 2.0], 1)
    array([0., 1., 2., 0.])
    """
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    if any(w < 0 for pair in widths for w in pair):
        raise InputError(f"pad() got widths {pad_width}, expected 0 or more; cut with a slice instead")
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    return put(x, inside, tuple(before + n + after for (before, after), n in zip(widths, x.shape, strict=True)))


@composed
def stack(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts joined along a new axis.

    Examples
    --------
    >>> stack([np.zeros(3), np.ones(3)], axis=1).shape
    (3, 2)
    """
    return concatenate([expand_dims(part, axis) for part in parts], axis)


# --- parts of a matrix


@composed
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of the matrices that two axes span, as the last axis.

    Examples
    --------
    >>> diagonal(np.arange(9.0).reshape(3, 3), offset=1)
    array([1., 5.])
    """
    a, b = _axis(axis1, x.ndim), _axis(axis2, x.ndim)
    if a == b:
        raise InputError(f"diagonal() got axes {axis1} and {axis2}, expected two different ones")
    ordered = transpose(x, [*(i for i in range(x.ndim) if i not in (a, b)), a, b])
    rows, columns = ordered.shape[-2:]
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    at = xp(raw(x)).arange(count)
    return getitem(ordered, (..., at + max(0, -offset), at + max(0, offset)))


@composed
def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes: what lies above the k-th diagonal becomes 0.

    Examples
    --------
    >>> tril(np.ones((2, 2)))
    array([[1., 0.],
           [1., 1.]])
    """
    return where(_lower(x, k), x, 0.0)


@composed
def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes: what lies below the k-th diagonal becomes 0.

    Examples
    --------
    >>> triu(np.ones((2, 2)), k=1)
    array([[0., 1.],
           [0., 0.]])
    """
    return where(_lower(x, k - 1), 0.0, x)


def _lower(x: Any, k: int) -> Any:
    """Which entries of the last two axes lie on or below the k-th diagonal."""
    if x.ndim < 2:
        raise InputError(f"a triangle was asked of shape {x.shape}, expected at least two axes")
    rows, columns = (xp(raw(x)).arange(n) for n in x.shape[-2:])
    return columns <= rows[:, None] + k


# --- by value


@composed
def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """For every position the entry of x along ``axis`` that ``indices`` names there.

    Examples
    --------
    >>> take_along_axis([[10.0, 20.0], [30.0, 40.0]], np.array([[1], [0]]), axis=1)
    array([[20.],
           [30.]])
    """
    indices, at, m = raw(indices), _axis(axis, x.ndim), xp(raw(x))
    shape = getattr(indices, "shape", ())  # a number has none
    if len(shape) != x.ndim:
        raise InputError(
            f"take_along_axis() got indices of shape {shape}, expected as many axes as in {x.shape}, x's shape"
        )
    index = [reshape(m.arange(n), [-1 if j == i else 1 for j in range(x.ndim)]) for i, n in enumerate(x.shape)]
    index[at] = indices
    return getitem(x, tuple(index))


@composed
def sort(x: Any, axis: int = -1) -> Any:
    """x in ascending order along an axis, equal entries in the order they had; each gradient goes back to its entry.

    Examples
    --------
    >>> sort([3.0, 1.0, 2.0])
    array([1., 2., 3.])
    """
    return take_along_axis(x, xp(raw(x)).argsort(raw(x), axis=axis, kind="stable"), axis)


@composed
def top_k(x: Any, k: int, axis: int = -1) -> Any:
    """The ``k`` largest entries along an axis, largest first; of equal ones, those that come last are first.

    Examples
    --------
    >>> top_k([3.0, 1.0, 2.0], 2)
    array([3., 2.])
    """
    at = _axis(axis, x.ndim)
    if not 1 <= k <= x.shape[at]:
        raise InputError(f"top_k() got k = {k}, expected 1 to {x.shape[at]}, the length of axis {axis}")
    order = xp(raw(x)).argsort(raw(x), axis=at, kind="stable")
    return take_along_axis(x, order[(*[slice(None)] * at, slice(-1, -1 - k, -1))], at)


def _axis(axis: int, ndim: int) -> int:
    """An axis counted from the front."""
    if not -ndim <= axis < ndim:
        raise InputError(f"axis got {axis}, expected {-ndim} to {ndim - 1} for {ndim} axes")
    return axis % ndim


# --- products


def _einsum_rule(g: Any, out: Any, saved: None, *operands: Any, subscripts: str) -> tuple[Any, ...]:
    """The cotangent of one operand is the same contraction with the output's cotangent in that operand's place."""
    inputs, _, result = subscripts.partition("->")
    letters = inputs.split(",")
    cotangents = []
    for i, (own, x) in enumerate(zip(letters, operands, strict=True)):
        others = [(part, y) for j, (part, y) in enumerate(zip(letters, operands, strict=True)) if j != i]
        found = {letter for part, _ in [(result, g), *others] for letter in part}
        shared = "".join(letter for letter in own if letter in found)  # the rest was summed over in x alone
        contracted = ",".join([result, *(part for part, _ in others)]) + "->" + shared
        known = einsum(contracted, g, *(y for _, y in others))
        stretched = [n if letter in found else 1 for letter, n in zip(own, x.shape, strict=True)]
        cotangents.append(broadcast_to(reshape(known, stretched), x.shape))
    return tuple(cotangents)


@primitive(fused=_einsum_rule)
def _einsum(*operands: Any, subscripts: str) -> Any:
    return xp(*operands).einsum(subscripts, *operands), None


@composed
def einsum(subscripts: str, *operands: Any) -> Any:
    """Sums of products by Einstein's convention.

    Parameters
    ----------
    subscripts : str
        One letter an axis, such as ``"nd,md->nm"``. No ellipsis, and no letter twice in one operand (see `diagonal`).
    *operands : array or Tensor

    Examples
    --------
    >>> einsum("nd,md->nm", np.eye(2), np.ones((3, 2)))
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    if not isinstance(subscripts, str):
        raise DtypeError(f'einsum() got {type(subscripts).__name__} first, expected subscripts such as "nd,md->nm"')
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    if not arrow:
        result = "".join(sorted(letter for letter in set(inputs) - {","} if inputs.count(letter) == 1))
    if "." in subscripts or any(len(set(part)) < len(part) for part in inputs.split(",")):
        raise InputError(f"einsum() got {subscripts!r}, expected no ellipsis and no letter twice in one operand")
    return _einsum(*operands, subscripts=f"{inputs}->{result}")
