"""What a loss costs over ranks: memory beside the formula of `traffic`, and with one rank time beside one process.

    HYPERCON_THREADS=1 OMP_NUM_THREADS=1 mpiexec -n 4 python tests/benchmarks/over_ranks.py

Rows are each rank's, so the global batch grows with the ranks: weak scaling. Memory is what NumPy holds at the peak of
a step, tiles and gradients included; MPI's buffers are not in it. Time is the processor's, so that other work on the
machine counts less.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import hypercon as hc
from hypercon.distributed import ranks_of_this_job
from hypercon.distributed.traffic import cost_of_loss

LOSSES = ("info_nce", "both ways", "nt_xent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2048, help="of each rank (default: 2048)")
    parser.add_argument("--dim", type=int, default=128, help="of an embedding (default: 128)")
    parser.add_argument("--repeat", type=int, default=5, help="timings, of which the median counts (default: 5)")
    arguments = parser.parse_args()
    ranks = ranks_of_this_job()
    count = arguments.rows * ranks.size
    z = np.random.default_rng(ranks.rank).standard_normal((2, arguments.rows, arguments.dim)).astype(np.float32)
    lines = [f"N = {count:,}, {ranks.size} rank(s) of {arguments.rows:,} rows, D = {arguments.dim}, float32"]
    lines.append("loss        way     MiB sent  others' MiB, at most  peak MiB     ms   x one process's loss")
    for name in LOSSES:
        for way in ("gather", "ring"):
            cost = cost_of_loss(
                count, arguments.dim, ranks.size, way=way, symmetric=name == "both ways", stacked=name == "nt_xent"
            )
            over, alone = step(name, z, ranks=ranks, way=way), step(name, z)
            times = np.array([[clocked(over), clocked(alone)] for _ in range(arguments.repeat)])
            milliseconds, ratio = np.median(times[:, 0]) * 1e3, np.median(times[:, 0] / times[:, 1])
            line = f"{name:<10}  {way:<6}  {cost.bytes / 2**20:8.1f}  {cost.held / 2**20:19.1f}  {peak(over):8.1f}"
            lines.append(f"{line}  {milliseconds:5.0f}" + (f"  {ratio:21.1f}" if ranks.size == 1 else ""))
    if ranks.rank == 0:
        print("\n".join(lines))


def step(name: str, z: np.ndarray, **over) -> Callable[[], None]:
    """Forward and back, over ranks or in this process alone."""
    room = hc.distributed if over else hc
    options = {"temperature": 0.2} | over | ({"symmetric": True} if name == "both ways" else {})
    loss = room.nt_xent if name == "nt_xent" else room.info_nce

    def run() -> None:
        loss(*(hc.tensor(view, requires_grad=True) for view in z), **options).backward()

    return run


def clocked(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def peak(run: Callable[[], None]) -> float:
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


if __name__ == "__main__":
    main()
