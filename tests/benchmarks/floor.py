"""The least that a piece of work can take in NumPy on this machine: its products and exponentials, and nothing else.

Both are counted from the formulas and divided by the rates that NumPy reaches here, measured beside the row on as many
threads as hypercon uses. What a library takes beyond that is traffic, bookkeeping and waiting. A target below the floor
cannot be met without another exponential, other products or compiled code.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple


class Arithmetic(NamedTuple):
    """What cannot be left out."""

    products: float  # floating-point operations in matrix products: two for each multiplication
    exponentials: float


class Rates(NamedTuple):
    """What a machine does in a second."""

    products: float
    exponentials: float


def floor(kind: str, settings: dict[str, Any], rates: Rates) -> float | None:
    """Seconds; None for work that is something else than products and exponentials."""
    if kind not in _COUNTS:
        return None
    counted = _COUNTS[kind](**settings)
    return counted.products / rates.products + counted.exponentials / rates.exponentials


def _info_nce(*, count: int, dim: int, **_: Any) -> Arithmetic:
    # similarities, and the gradients of both views; both directions can share their exponentials
    return Arithmetic(6 * count**2 * dim, count**2)


def _symmetric_matrix(count: int, dim: int) -> Arithmetic:
    # half of the similarities and of the exponentials, and the gradient of one set of points
    return Arithmetic(3 * count**2 * dim, count**2 / 2)


def _nt_xent(*, count: int, dim: int, **_: Any) -> Arithmetic:
    return _symmetric_matrix(2 * count, dim)


def _uniformity(*, count: int, dim: int, **_: Any) -> Arithmetic:
    return _symmetric_matrix(count, dim)


def _mlp_step(*, count: int, widths: tuple[int, ...], **_: Any) -> Arithmetic:
    # a layer's outputs, and the gradients of its weights and, but for the first, of its inputs
    layers = sum((4 if i == 0 else 6) * count * a * b for i, (a, b) in enumerate(pairwise(widths)))
    loss = _symmetric_matrix(count, widths[-1])
    return Arithmetic(layers + loss.products, loss.exponentials)


def _cnn_step(*, count: int, side: int, channels: int, kernels: tuple[int, ...], dim: int, **_: Any) -> Arithmetic:
    total, before = 0.0, channels
    for i, width in enumerate(kernels):
        side = side if i == 0 else -(-side // 2)  # strides 1, 2, 2
        total += (4 if i == 0 else 6) * count * side**2 * 9 * before * width
        before = width
    loss = _symmetric_matrix(count, dim)
    return Arithmetic(total + 6 * count * before * dim + loss.products, loss.exponentials)


_COUNTS: dict[str, Callable[..., Arithmetic]] = {
    "info_nce": _info_nce,
    "nt_xent": _nt_xent,
    "uniformity": _uniformity,
    "mlp_step": _mlp_step,
    "cnn_step": _cnn_step,
}
