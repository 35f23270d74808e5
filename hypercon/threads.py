"""Work in blocks over the cores: a pool of threads, with the BLAS library held to one thread while it runs.

NumPy lets go of the interpreter inside its loops and products, so blocks of a millisecond and more run truly in
parallel. Block i always falls to the same lane, and callers add up partial results by block and in order, so the result
does not depend on timing, nor on the number of threads.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


@functools.cache
def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lanes(blocks: int) -> int:
    """How many lanes `run` spreads so many blocks over; block i falls to lane ``i % lanes``."""
    return max(1, min(cores(), blocks))


def run(work: Callable[[int], None], blocks: int) -> None:
    """Call ``work(i)`` for every block ``i``, spread over the cores.

    An exception in any block is raised here once the others have stopped. ``work`` must not call `run` itself.
    """
    count = lanes(blocks)
    if count <= 1:
        for i in range(blocks):
            work(i)
        return

    def lane(first: int) -> None:
        for i in range(first, blocks, count):
            work(i)

    with one_blas_thread():
        others = [_executor().submit(lane, first) for first in range(1, count)]
        try:
            lane(0)
        finally:
            errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


@functools.cache
def _executor() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # with the first large array: it takes a while to load

    return ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="hypercon")


if hasattr(os, "register_at_fork"):  # a forked child has the pool but none of its threads, and would wait for ever
    os.register_at_fork(after_in_child=_executor.cache_clear)


@functools.cache
def _blas_libraries() -> tuple[Any, ...]:
    # scanning the loaded libraries takes half a millisecond: once is enough
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS library to one thread, and give it back what it had; one may stand inside another."""
    libraries = _blas_libraries()
    before = [library.get_num_threads() for library in libraries]
    for library in libraries:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, count in zip(libraries, before, strict=True):
            library.set_num_threads(count)
