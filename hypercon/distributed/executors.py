"""Many trainings that do not know of one another: a sweep of temperatures, seeds of an experiment, claims of a paper.

They need no ranks, only workers. On one machine these are processes, on a cluster those of ``mpi4py.futures``; both are
executors of ``concurrent.futures``, so the code that hands out the work is the same.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hypercon.distributed.mpi import started_processes
from hypercon.errors import InputError
from hypercon.threads import cores, set_threads
from hypercon.validation import check_whole

if TYPE_CHECKING:
    from concurrent.futures import Executor


@contextmanager
def executor(workers: int | None = None, *, threads_each: int = 1) -> Iterator[Executor]:
    """Workers for independent tasks: processes of this machine, or of a cluster where the program runs on one.

    Parameters
    ----------
    workers : int, optional
        Processes of this machine; default, one for each core. On a cluster there are as many as ``mpiexec`` started,
        less the one that hands out the work.
    threads_each : int, default 1
        Threads that each process computes with, so that they do not take one another's cores.

    Yields
    ------
    concurrent.futures.Executor
        Its ``map`` and ``submit`` take functions of a module, and arguments that can be pickled.

    Raises
    ------
    InputError, DtypeError
        A number is no whole number from 1, or several processes run this program without ``mpi4py.futures``.

    Notes
    -----
    On a cluster, start the program under ``python -m mpi4py.futures``: ``mpiexec -n 17 python -m mpi4py.futures
    sweep.py`` runs ``sweep.py`` once, with 16 workers.

    Examples
    --------
    >>> with executor(workers=2) as pool:
    ...     list(pool.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    threads_each = check_whole(threads_each, "threads_each", least=1)
    pool: Any
    if "mpi4py.futures" in sys.modules:  # loaded by `python -m mpi4py.futures` before the program that it runs
        pool = sys.modules["mpi4py.futures"].MPIPoolExecutor(initializer=set_threads, initargs=(threads_each,))
    elif started_processes() > 1:
        raise InputError(
            f"{started_processes()} processes run this program, and each would do all of the work: start it with "
            f"mpiexec -n {started_processes()} python -m mpi4py.futures"
        )
    else:
        import multiprocessing  # with the first pool: it takes a while to load
        from concurrent.futures import ProcessPoolExecutor

        workers = max(1, cores() // threads_each) if workers is None else check_whole(workers, "workers", least=1)
        # a fresh process each: a forked one would have the pool of threads of this one, and none of its threads
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_become_worker, initargs=(threads_each,)
        )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # what has begun is finished, what waits is not begun


def _become_worker(threads_each: int) -> None:
    """No end at an interrupt: the process that started this one lets it finish what it has begun. Where that one is
    killed, this one ends too; it would wait for work for ever."""
    import multiprocessing

    set_threads(threads_each)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
