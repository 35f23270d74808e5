"""What the losses share: checked views on the sphere, and the masks that say which pair is what."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.autograd import Tensor, concatenate, normalize, reshape, where
from hypercon.autograd import sum as total
from hypercon.autograd.ops import raw
from hypercon.autograd.recording import is_recording
from hypercon.backend import Array, read, xp
from hypercon.validation import check_flag, check_views


def views(z1: Any, z2: Any, on_sphere: Any) -> tuple[Any, Any]:
    """Two checked views of one batch, on the sphere where that is asked."""
    on_sphere = check_flag(on_sphere, "normalize")
    z1, z2 = check_views(z1, z2, directions=on_sphere)
    return (onto_sphere(z1), onto_sphere(z2)) if on_sphere else (z1, z2)


def onto_sphere(z: Any) -> Any:
    """Checked rows at unit length, however short they were: none of them is zero."""
    return normalize(z, eps=float(np.finfo(z.dtype).tiny))


def one_hot(count: int, like: Any) -> Array:
    """Row i's positive is column i: a boolean (N, N) array on the device of ``like``."""
    return xp(raw(like)).eye(count, dtype=bool)


def stacked_masks(count: int, like: Any) -> tuple[Array, Array]:
    """For 2N stacked embeddings: where each one's positive is, and itself, which is no candidate.

    Both are boolean (2N, 2N) arrays.
    """
    itself = one_hot(2 * count, like)
    return xp(itself).roll(itself, count, axis=1), itself


def mean_where(mask: Array, values: Any) -> Any:
    """For every row the mean of the entries that the mask marks, (A,)."""
    return total(where(mask, values, 0.0), axis=1) / mask.sum(axis=1).astype(values.dtype)


def column(temperature: Any) -> Any:
    """A temperature as it divides a matrix of similarities: one number, or one for each anchor's row, (A, 1)."""
    return reshape(temperature, (-1, 1)) if getattr(raw(temperature), "ndim", 0) else temperature


def for_both_views(temperature: Any) -> Any:
    """The temperature of 2N stacked anchors from that of N instances."""
    return concatenate([temperature, temperature]) if getattr(raw(temperature), "ndim", 0) else temperature


def wants_gradient(*inputs: Any) -> bool:
    """Whether a derivative by one of the inputs may be asked for later."""
    return is_recording() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


def times(g: Any, parts: Any) -> tuple[Any, ...]:
    """The gradients that a forward left behind, times the cotangent: mostly 1, and then they are taken as they are."""
    return tuple(parts) if g == 1 else tuple(None if part is None else part * g for part in parts)


def plain(value: Any) -> Any:
    """A loss as its caller gets it: a tensor if it was computed from one, else a float."""
    return value if isinstance(value, Tensor) else float(read(value))
