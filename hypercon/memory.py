"""Large arrays whose memory is kept when they die, for the next of the same size.

The operating system hands out memory page by page, cleared, at the first touch: writing to a fresh array of 50 MB takes
three times as long as writing to a used one, and a training step makes dozens, of the same sizes every time. `empty`
gives an ordinary NumPy array. Its memory belongs to a `_Lease`, which the array and every view of it hold; when the
last of them is gone, the memory goes back on the shelf. Nothing is ever written over that somebody can still read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEAST = 2**18  # bytes: below, NumPy's own allocator is as fast
KEPT = 512 * 2**20  # bytes that may lie on the shelf: about what a training step of a small network needs

_shelf: dict[int, list[np.ndarray]] = {}  # by size in bytes; the sizes that came back last stand last


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`: an array whose values are whatever its memory held before."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    try:  # popping and appending are atomic, so threads need no lock, and a fork can't find one held
        memory = _shelf[size].pop()
    except (KeyError, IndexError):
        memory = np.empty(size, np.uint8)
    return np.asarray(_Lease(memory)).view(dtype).reshape(shape)


def idle() -> int:
    """How many bytes lie on the shelf."""
    return sum(size * len(pieces) for size, pieces in list(_shelf.items()))


def clear() -> None:
    """Give everything on the shelf back to the operating system."""
    _shelf.clear()


class _Lease:
    """What arrays hold instead of the memory itself: NumPy keeps it alive as long as any view of the array."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        size = len(self.memory)
        pieces = _shelf.pop(size, [])
        pieces.append(self.memory)
        _shelf[size] = pieces
        for oldest in list(_shelf):
            if idle() <= KEPT:
                break
            _shelf.pop(oldest, None)
