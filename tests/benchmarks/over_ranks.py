"""What a loss costs over ranks: memory and time, gathered and in a ring, beside the formulas of `traffic`.

    mpiexec -n 4 python tests/benchmarks/over_ranks.py --rows 4096

Rows are each rank's, so the global batch grows with the ranks: weak scaling. Memory is the growth of NumPy's own during
the call, above embeddings and gradients; MPI's buffers are not in it. Run it with HYPERCON_THREADS=1 and
OMP_NUM_THREADS=1 where there are no more cores than ranks.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np

import hypercon as hc
from hypercon.distributed import ranks_of_this_job
from hypercon.distributed.traffic import cost_of_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2048, help="of each rank (default: 2048)")
    parser.add_argument("--dim", type=int, default=128, help="of an embedding (default: 128)")
    parser.add_argument("--repeat", type=int, default=3, help="timings, of which the median counts (default: 3)")
    arguments = parser.parse_args()
    ranks = ranks_of_this_job()
    count = arguments.rows * ranks.size
    rng = np.random.default_rng(ranks.rank)
    z1, z2 = rng.standard_normal((2, arguments.rows, arguments.dim)).astype(np.float32)
    if ranks.rank == 0:
        print(f"N = {count:,}, {ranks.size} rank(s) of {arguments.rows:,} rows, D = {arguments.dim}, float32")
        print("loss        way     MiB sent  MiB held (formula)  ms, forward and back")
    for name, symmetric in (("info_nce", False), ("both ways", True), ("nt_xent", False)):
        for way in ("gather", "ring"):
            cost = cost_of_loss(
                count, arguments.dim, ranks.size, way=way, symmetric=symmetric, stacked=name == "nt_xent"
            )
            held, seconds = measure(name, z1, z2, ranks, way, arguments.repeat)
            figures = [cost.bytes / 2**20, held / 2**20, cost.held / 2**20, seconds * 1e3]
            if ranks.rank == 0:
                print("{:<10}  {:<6}  {:8.1f}  {:8.1f} {:9.1f}  {:20.0f}".format(name, way, *figures))


def measure(name, z1, z2, ranks, way, repeat) -> tuple[float, float]:
    """Bytes above embeddings, gradients and tiles at the peak, and the median time."""

    def step() -> None:
        a, b = hc.tensor(z1, requires_grad=True), hc.tensor(z2, requires_grad=True)
        if name == "nt_xent":
            value = hc.distributed.nt_xent(a, b, temperature=0.2, ranks=ranks, way=way)
        else:
            both = name == "both ways"
            value = hc.distributed.info_nce(a, b, temperature=0.2, ranks=ranks, way=way, symmetric=both)
        value.backward()

    step()
    times = []
    for _ in range(repeat):
        ranks.sum(np.zeros(1))
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, float(np.median(times))


if __name__ == "__main__":
    main()
