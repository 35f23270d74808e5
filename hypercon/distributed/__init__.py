"""Training over several processes: the loss of the global batch, with exact gradients. docs/scaling.md counts its cost.

    ranks        what processes can say to one another, all of it made from one step of a ring
    in_threads   threads that stand for processes, to learn and to test with
    mpi          the processes of mpiexec
    visits       how every rank's embeddings meet every other's: gathered, or passed round
    tours        what anchors and keys find out about one another, tile by tile
    losses       InfoNCE and NT-Xent of the global batch
    statistics   batch normalisation by the global batch's mean and variance
    gradients    whose images are whose, and the sum of gradients over ranks
    beginning    what is made sure of before ranks train
    traffic      bytes and operations, counted and as formulas
    executors    many independent trainings, over the processes of a machine or of a cluster

Start with `ranks_of_this_job`, and give what it returns to `hypercon.fit`.
"""

from hypercon.distributed.beginning import check_can_share, check_ranks
from hypercon.distributed.executors import executor
from hypercon.distributed.gradients import check_alike, share, sum_gradients
from hypercon.distributed.in_threads import run_in_threads
from hypercon.distributed.losses import info_nce, nt_xent
from hypercon.distributed.mpi import ranks_of_this_job, together
from hypercon.distributed.ranks import Ranks
from hypercon.distributed.statistics import synchronised

__all__ = [
    "Ranks",
    "check_alike",
    "check_can_share",
    "check_ranks",
    "executor",
    "info_nce",
    "nt_xent",
    "ranks_of_this_job",
    "run_in_threads",
    "share",
    "sum_gradients",
    "synchronised",
    "together",
]
