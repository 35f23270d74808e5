"""Working memory, kept from call to call: a fresh large array costs a page fault for every 4 KiB of it.

At a batch of 256 that was a third of the whole loss. What is kept afterwards is bounded by `KEPT`, and is nobody's
result: gradients are always arrays of their own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

KEPT = 160 * 2**20  # bytes that may lie idle between calls: all that NT-Xent needs for two views of 4,096

# one that is free, if any: a thread that finds none makes its own. Popping and appending are atomic, so no lock is
# needed, and none can be held by another thread at the moment of a fork
_idle: deque[Scratch] = deque(maxlen=1)


class Scratch:
    """Arrays by name, with whatever values the last user left in them."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of that shape; what had the same name before is written over."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or memory.nbytes < size:
            self._memory[name] = memory = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)

    def shrink(self, most: int) -> None:
        """Let the largest arrays go until no more than so many bytes are left."""
        left = sum(memory.nbytes for memory in self._memory.values())
        for name in sorted(self._memory, key=lambda name: -self._memory[name].nbytes):
            if left <= most:
                break
            left -= self._memory.pop(name).nbytes


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Working memory for one call, which no other has at the same time."""
    try:
        mine = _idle.pop()
    except IndexError:
        mine = Scratch()
    try:
        yield mine
    finally:
        mine.shrink(KEPT)
        _idle.append(mine)
