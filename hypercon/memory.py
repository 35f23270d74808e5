"""Arrays whose memory is kept when they die, for the next of the same size.

The operating system hands out memory page by page, cleared, at the first touch, and takes it back as soon as it can:
writing to a fresh array of 128 KiB can take 90 microseconds where writing to a used one takes 6, and a loss or a
training step makes dozens, of the same sizes every time. `empty` gives an ordinary NumPy array, a view of a piece of
memory that lies on the shelf. Whoever holds the array, or any view of it, holds a reference to the piece; a piece that
nobody but the shelf refers to is free. Nothing is ever written over that somebody can still read.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import Any

import numpy as np

from hypercon.backend import Array, xp

LEAST = 2**15  # bytes: below, NumPy's own allocator is as fast
LOOKS = 32  # at so many pieces before a new one is made: more are in use only where somebody collects results
KEPT = 512 * 2**20  # bytes of all pieces on the shelf: about what a training step of a small network needs

# by size in bytes; the sizes that needed a new piece last stand last. A thread takes a piece off, looks at it and puts
# it back, each of which is atomic: no lock is needed, and a fork can't find one held
_shelf: dict[int, deque[np.ndarray]] = {}


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As `numpy.empty`: an array whose values are whatever its memory held before."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    pieces = _shelf.get(size)
    for _ in range(min(LOOKS, len(pieces or ()))):
        try:
            piece = pieces.popleft()  # type: ignore[union-attr]
        except IndexError:  # another thread is looking at it
            break
        if sys.getrefcount(piece) == _NOBODY:
            array = np.ndarray(shape, dtype, piece)
            pieces.append(piece)  # type: ignore[union-attr]
            return array
        pieces.append(piece)  # type: ignore[union-attr]
    return _fresh(shape, dtype, size)


def like(array: Array) -> Array:
    """As `numpy.empty_like`, row by row in memory. A device's array is left to its own library."""
    new = empty if xp(array) is np else xp(array).empty
    return new(array.shape, array.dtype)


def copy(array: Array) -> Array:
    """The same values in an array that shares memory with no other."""
    new = like(array)
    new[...] = array
    return new


def idle() -> int:
    """How many bytes lie on the shelf and are in nobody's hands."""
    return sum(size * _free(pieces) for size, pieces in list(_shelf.items()))


def clear() -> None:
    """Give everything on the shelf back to the operating system; what is still in use goes when its users do."""
    _shelf.clear()


def _fresh(shape: tuple[int, ...], dtype: Any, size: int) -> np.ndarray:
    """An array of new memory, for which the shelf makes room: free pieces go first, of the oldest sizes.

    Then pieces in use are forgotten. They die with the last of their arrays, as any memory does.
    """
    if size > KEPT:
        return np.empty(shape, dtype)
    pieces = _shelf.pop(size, None) or deque()
    held = size * (len(pieces) + 1) + sum(other * len(those) for other, those in list(_shelf.items()))
    for forget in (_free, len):
        for other in list(_shelf):
            if held <= KEPT:
                break
            those = _shelf.get(other, deque())
            if forget(those):
                held -= other * len(those)
                _shelf.pop(other, None)
    while pieces and held > KEPT:
        pieces.popleft()
        held -= size
    _shelf[size] = pieces
    piece = np.empty(size, np.uint8)
    array = np.ndarray(shape, dtype, piece)
    pieces.append(piece)
    return array


def _free(pieces: deque[np.ndarray]) -> int:
    """How many of these pieces only the shelf refers to."""
    free = 0
    for piece in tuple(pieces):
        free += sys.getrefcount(piece) == _NOBODY + 2  # beside this hand, the shelf and the tuple
    return free


def _count_nobody() -> int:
    """What `sys.getrefcount` says of a piece that a function here has in its hand and nobody else has."""
    pieces = deque([np.empty(0, np.uint8)])
    piece = pieces.popleft()
    return sys.getrefcount(piece)


_NOBODY = _count_nobody()
