"""Threads that stand for ranks: one process, no MPI, the same algebra.

Slower than one thread alone, and exactly what several processes compute. So a lesson can show what a rank holds, and a
test can compare any number of ranks with one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hypercon.backend import Array, xp
from hypercon.distributed.ranks import Ranks
from hypercon.errors import RankError
from hypercon.threads import one_blas_thread
from hypercon.validation import check_whole

if TYPE_CHECKING:
    import queue

T = TypeVar("T")


class ThreadRanks(Ranks):
    """One of the ranks that `run_in_threads` starts."""

    def __init__(self, rank: int, mailboxes: list[queue.SimpleQueue[Any]]) -> None:
        self.rank, self.size = rank, len(mailboxes)
        self._mailboxes = mailboxes

    def pass_on(self, array: Array, shape: tuple[int, ...]) -> Array:
        self._mailboxes[(self.rank + 1) % self.size].put(xp(array).array(array, copy=True))
        got = self._mailboxes[self.rank].get()
        if isinstance(got, Ended):
            raise RankError(f"rank {got.rank} has ended while rank {self.rank} waited: see that one's error")
        if got.shape != shape or got.dtype != array.dtype:
            raise RankError(
                f"rank {self.rank} got {got.dtype} {got.shape}, expected {array.dtype} {shape}: "
                f"the ranks do not run the same program"
            )
        return got


class Ended:
    """What lies in the mailboxes after a rank has ended by an error."""

    def __init__(self, rank: int) -> None:
        self.rank = rank


def run_in_threads(size: int, work: Callable[[Ranks], T]) -> list[T]:
    """Run ``work`` once for each of ``size`` ranks, in threads, and return what they returned.

    Parameters
    ----------
    size : int
        W.
    work : callable
        Takes its `Ranks`. What several ranks change, such as a module's gradients, must be each rank's own.

    Returns
    -------
    list
        In the order of ranks.

    Raises
    ------
    Exception
        That of the rank which failed first; the others end when they next wait for one another.

    Examples
    --------
    >>> import numpy as np
    >>> run_in_threads(3, lambda ranks: ranks.sum(np.array([ranks.rank])).item())
    [3, 3, 3]
    """
    import queue  # with the first ranks: it takes a while to load

    size = check_whole(size, "size", least=1)
    mailboxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(size)]
    results: list[Any] = [None] * size
    errors: list[tuple[int, BaseException]] = []

    def one(rank: int) -> None:
        try:
            results[rank] = work(ThreadRanks(rank, mailboxes) if size > 1 else Ranks())
        except BaseException as error:
            errors.append((rank, error))
            for mailbox in mailboxes:
                mailbox.put(Ended(rank))

    threads = [threading.Thread(target=one, args=(rank,), name=f"rank {rank}") for rank in range(size)]
    with one_blas_thread():  # each rank's products would otherwise wait for the cores that the others use
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        rank, error = errors[0]
        error.add_note(f"on rank {rank} of {size}")
        raise error
    return results
