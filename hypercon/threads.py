"""Work in blocks over the cores: a pool of threads, with the BLAS library held to one thread while it runs.

NumPy lets go of the interpreter inside its loops and products, so blocks of a millisecond and more run truly in
parallel. Block i always falls to the same lane, so sums that are kept by lane and added in order have the same bits
whenever the number of lanes is the same.

How many threads: `set_threads` if it was called, else the environment variable ``HYPERCON_THREADS``, else
``OMP_NUM_THREADS`` as for other numeric libraries, else one for each core that this process may use. With one, no
thread is ever started.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from hypercon.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_chosen: int | None = None
_turn = threading.Lock()  # one caller's blocks at a time: two at once would be more busy threads than cores
_in_a_lane = threading.local()


def set_threads(count: int | None) -> None:
    """Use at most ``count`` threads from here on, in this process; 1 switches the pool off.

    Parameters
    ----------
    count : int or None
        None goes back to the environment's setting, or to one for each core.

    Raises
    ------
    InputError
        The count is no whole number from 1.

    Examples
    --------
    >>> from hypercon import threads
    >>> threads.set_threads(1)
    >>> threads.cores()
    1
    >>> threads.set_threads(None)
    """
    global _chosen
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise InputError(f"count got {count!r}, expected a whole number from 1, or None for one for each core")
    _chosen = count


def cores() -> int:
    """How many cores this library uses: all that this process may use, unless it was told otherwise."""
    return _chosen or _of_the_environment() or _available()


def lanes(blocks: int) -> int:
    """How many lanes `run` spreads so many blocks over; block i falls to lane ``i % lanes``."""
    return max(1, min(cores(), blocks))


def run(work: Callable[[int], None], blocks: int, over: int | None = None) -> None:
    """Call ``work(i)`` for every block ``i``, spread over ``over`` lanes, or as many as `lanes` says.

    On one lane the work stays in the caller's thread, and BLAS has its own threads; `run_small` is for work that gains
    nothing from them. Settings such as `numpy.errstate` hold in every lane as in the caller. An exception in any block
    is raised here once the others have stopped. Callers in several threads take turns. A run that starts inside
    another's block stays in that block's thread.
    """
    count = lanes(blocks) if over is None else over
    if count <= 1 or getattr(_in_a_lane, "now", False):
        for i in range(blocks):
            work(i)
        return

    def lane(first: int) -> None:
        _in_a_lane.now = True
        try:
            for i in range(first, blocks, count):
                work(i)
        finally:
            _in_a_lane.now = False

    with _turn, one_blas_thread():
        _keep_off_this_core()
        others = [_executor(cores()).submit(copy_context().run, lane, first) for first in range(1, count)]
        try:
            lane(0)
        finally:
            errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


def run_small(work: Callable[[int], None]) -> None:
    """Call ``work(0)`` in the caller's thread, with BLAS held to one thread.

    For products of a few hundred rows its own threads gain nothing on an idle machine, and on a busy one they wait for
    one another: a loss of 128 anchors takes 0.6 ms like this whatever else runs, and with two threads 0.6 or 60.
    """
    if getattr(_in_a_lane, "now", False):
        work(0)
    else:
        with _turn, one_blas_thread():
            work(0)


def _of_the_environment() -> int | None:
    if text := os.environ.get("HYPERCON_THREADS"):
        if not (text.isdecimal() and int(text)):
            raise InputError(f"HYPERCON_THREADS got {text!r}, expected a whole number from 1: set it anew, or unset it")
        return int(text)
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is for nested regions
    return int(text) if text.isdecimal() and int(text) else None


@functools.cache
def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.lru_cache(maxsize=1)  # after another count was chosen the former pool's threads end
def _executor(size: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # with the first large array: it takes a while to load

    _helpers.clear()
    return ThreadPoolExecutor(
        max(1, size - 1),
        thread_name_prefix="hypercon",
        initializer=lambda: _helpers.append(threading.get_native_id()),
    )


_helpers: list[int] = []  # the pool's threads, as the operating system numbers them
_kept_off: tuple[Any, ...] = ()  # of which core and which threads that was said last


def _keep_off_this_core() -> None:
    """Have the pool's threads run on any core but the caller's, who works too.

    Linux wakes a thread on the core of the one who wakes it, and takes milliseconds to see that both are busy there and
    another core idle: a product of 1024 x 784 and 784 x 512 took 9 ms on two lanes, as on one, and now takes 5.
    """
    global _kept_off
    here = (_this_core(), *_helpers)
    if here[0] is None or here == _kept_off:
        return
    elsewhere = os.sched_getaffinity(0) - {here[0]}
    if elsewhere:
        for helper in _helpers:
            with suppress(OSError):  # it has ended: the pool has another size now
                os.sched_setaffinity(helper, elsewhere)
        _kept_off = here


def _this_core() -> int | None:
    """The core that the calling thread runs on at the moment; None where that can't be told or helped."""
    ask = _core_teller()
    return ask() if ask else None


@functools.cache
def _core_teller() -> Callable[[], int] | None:
    import ctypes

    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


@functools.cache
def _blas_libraries() -> tuple[Any, ...]:
    # scanning the loaded libraries takes half a millisecond: once is enough
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


_callers_blas: list[int] = []  # the caller's settings while BLAS is held to one thread
_holders = 0  # how many hold it so: a training for all its steps, and each of its losses inside
_holding = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS library to one thread; when the last who does so lets go, it has back what it had."""
    global _holders
    with _holding:
        _holders += 1
        if _holders == 1:
            libraries = _blas_libraries()
            _callers_blas[:] = [library.get_num_threads() for library in libraries]
            _set_blas([1] * len(libraries))
    try:
        yield
    finally:
        with _holding:
            _holders = max(0, _holders - 1)
            if not _holders:
                _give_blas_back()


def _give_blas_back() -> None:
    if _callers_blas:
        _set_blas(_callers_blas)
        _callers_blas.clear()


def _set_blas(counts: list[int]) -> None:
    for library, count in zip(_blas_libraries(), counts, strict=True):
        # since 3.8, threadpoolctl lets the first thread that sets OpenBLAS alone set it, and ignores all others for as
        # long as that one lives: from another of the caller's threads nothing would happen here, and after a run here
        # nothing in the caller's own threads
        let_go = getattr(library, "clear_controlling_thread", lambda force: None)
        let_go(force=True)
        library.set_num_threads(count)
        let_go(force=True)


def _after_fork() -> None:
    """A forked child has the pool but none of its threads, and would wait for ever: it starts anew.

    Where another thread's blocks were running when it was forked, it also has their lock and their BLAS setting.
    """
    global _turn, _holding, _holders
    _turn, _holding, _holders = threading.Lock(), threading.Lock(), 0
    _executor.cache_clear()
    _helpers.clear()
    _in_a_lane.now = False
    _give_blas_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
