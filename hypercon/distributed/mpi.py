"""The ranks of ``mpiexec``: MPI's own collectives in the place of the ring's, and a job that ends as one.

Each process is a rank. mpi4py is loaded only where a launcher has set its mark in the environment, so a program that is
started plainly pays nothing. On a GPU, arrays go through the host's memory unless ``cuda_aware`` says that this MPI
takes them where they lie.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hypercon.backend import Array, device_of, to_device, to_host, xp
from hypercon.distributed.ranks import Ranks
from hypercon.errors import HyperconError, InputError

# how launchers tell a process the size of its job: MPICH, Open MPI, Slurm's srun
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
PATIENCE = 5.0  # seconds in which ranks that fail for one reason have all failed
FAILED = 2  # the status of a job that one rank has ended, as of any bad input at the command line


class MpiRanks(Ranks):
    """The ranks of an MPI communicator.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm, optional
        Default: a copy of ``MPI.COMM_WORLD``, so that messages of others are never mistaken for these.
    cuda_aware : bool, default False
        Whether arrays of a GPU may be handed to MPI as they are.
    """

    def __init__(self, communicator: Any = None, *, cuda_aware: bool = False) -> None:
        from mpi4py import MPI

        self.mpi = MPI
        self.comm = MPI.COMM_WORLD.Dup() if communicator is None else communicator
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.cuda_aware = cuda_aware
        self._alarm = self.comm.Dup()  # for `together`, whatever the ranks were saying to one another

    def pass_on(self, array: Array, shape: tuple[int, ...]) -> Array:
        sent, taken = self._ready(array), self._room(array, shape)
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        self.comm.Sendrecv(sent, dest=after, recvbuf=taken, source=before)
        return self._back(taken, array)

    def gather(self, array: Array, rows: Sequence[int]) -> list[Array]:
        sent, taken = self._ready(array), self._room(array, (sum(rows), *array.shape[1:]))
        width = int(np.prod(array.shape[1:], dtype=int))
        self.comm.Allgatherv(sent, [taken, [count * width for count in rows]])
        return self.parts(self._back(taken, array), rows)

    def sum_parts(self, array: Array, rows: Sequence[int]) -> Array:
        sent, taken = self._ready(array), self._room(array, (rows[self.rank], *array.shape[1:]))
        width = int(np.prod(array.shape[1:], dtype=int))
        self.comm.Reduce_scatter(sent, taken, [count * width for count in rows], op=self.mpi.SUM)
        return self._back(taken, array)

    def sum(self, array: Array) -> Array:
        sent, taken = self._ready(array), self._room(array, array.shape)
        self.comm.Allreduce(sent, taken, op=self.mpi.SUM)
        return self._back(taken, array)

    def _ready(self, array: Array) -> Any:
        """What MPI can send: rows one after the other in the host's memory, or on a device that has finished them."""
        if isinstance(array, np.ndarray) or not self.cuda_aware:
            return np.ascontiguousarray(to_host(array))
        import cupy

        cupy.cuda.get_current_stream().synchronize()
        return cupy.ascontiguousarray(array)

    def _room(self, array: Array, shape: tuple[int, ...]) -> Any:
        return (xp(array) if self.cuda_aware else np).empty(shape, array.dtype)

    def _back(self, taken: Any, array: Array) -> Array:
        return taken if isinstance(array, np.ndarray) else to_device(taken, device_of(array))


@functools.cache
def ranks_of_this_job() -> Ranks:
    """The ranks that ``mpiexec`` has started, of which this process is one; one alone where nothing has.

    Returns
    -------
    Ranks

    Raises
    ------
    InputError
        The program was started as several processes and mpi4py is not installed, or belongs to another MPI than the
        launcher and takes each process for a job of its own.

    Examples
    --------
    >>> ranks_of_this_job()
    Ranks(rank 0 of 1)
    """
    started = started_processes()
    if started == 1:
        return Ranks()
    try:
        ranks = MpiRanks()
    except ImportError as error:
        raise InputError(
            f"{started} processes were started, and mpi4py cannot be loaded ({error}): "
            f'pip install "hypercon[mpi]", and where the machine has no MPI also mpich'
        ) from None
    if ranks.size == 1:
        raise InputError(
            f"{started} processes were started, and mpi4py takes each for a job of one: use the mpiexec of the MPI "
            f"that mpi4py loads, {ranks.mpi.Get_library_version().splitlines()[0].strip()}"
        )
    return ranks


def started_processes() -> int:
    """How many processes run this program, as far as a launcher has told them."""
    return max((int(os.environ[name]) for name in _SIZES if os.environ.get(name, "").isdecimal()), default=1)


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Let an error on any rank end the whole job, with one message.

    A rank that stops by itself leaves the others waiting for it for ever. Inside this block, an error that all ranks
    run into, such as a wrong argument, is raised on rank 0 alone, and the others end quietly with the same status. An
    error on some ranks is told by each of them, and ends all. (A process that is killed tells nothing; its launcher
    ends the others.)

    Parameters
    ----------
    ranks : Ranks

    Raises
    ------
    SystemExit
        On the other ranks, where all have failed.

    Examples
    --------
    >>> with together(ranks_of_this_job()):
    ...     pass
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(ranks, MpiRanks) or (isinstance(error, SystemExit) and not error.code):
            raise
        if not _all_failed(ranks):
            _tell(ranks, error)
            ranks.comm.Abort(FAILED)
        if ranks.rank == 0:
            raise
        raise SystemExit(FAILED) from None


def _all_failed(ranks: MpiRanks) -> bool:
    """Whether every other rank comes here too before patience ends."""
    request, end = ranks._alarm.Ibarrier(), time.monotonic() + PATIENCE
    while not request.Test():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _tell(ranks: MpiRanks, error: BaseException) -> None:
    import traceback

    if isinstance(error, HyperconError):
        lines = [str(error)]
    else:  # no error raised on purpose: whoever mends it needs to see where
        lines = ["".join(traceback.format_exception(error))]
    where = f"rank {ranks.rank} of {ranks.size}"
    print(f"hypercon: {where} failed, and the job ends: {lines[0]}", file=sys.stderr, flush=True)
