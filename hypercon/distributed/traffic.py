"""What a step over ranks costs, counted and as formulas: bytes that leave a rank, and operations that it makes.

The counts are of what `Ranks.pass_on` really hands over. MPI's own collectives may move more (a tree for a short
message) but not fewer bytes than the rings counted here.
"""

from __future__ import annotations

from typing import NamedTuple

from hypercon.backend import Array
from hypercon.distributed.ranks import Ranks


class CountingRanks(Ranks):
    """Ranks that count what they hand on.

    Attributes
    ----------
    messages, bytes : int
        That have left this rank.

    Examples
    --------
    >>> import numpy as np
    >>> from hypercon.distributed import run_in_threads
    >>> def on_a_rank(ranks):
    ...     counting = CountingRanks(ranks)
    ...     counting.sum(np.zeros(8))
    ...     return counting.messages, counting.bytes
    >>> run_in_threads(2, on_a_rank)  # half of 64 bytes to sum, and half to tell
    [(2, 64), (2, 64)]
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.rank, self.size = ranks, ranks.rank, ranks.size
        self.messages = self.bytes = 0

    def pass_on(self, array: Array, shape: tuple[int, ...]) -> Array:
        self.messages += 1
        self.bytes += array.nbytes
        return self.ranks.pass_on(array, shape)


class Cost(NamedTuple):
    """Of one step, for one rank."""

    bytes: float  # that leave it
    operations: float  # multiplications and additions of products of matrices; exponentials are `pairs`
    pairs: float  # similarities that it makes, each with its exponential
    held: float  # bytes of others' embeddings and of what is collected for them, at most


def cost_of_loss(
    count: int, dim: int, size: int, *, way: str, symmetric: bool = False, stacked: bool = False, itemsize: int = 4
) -> Cost:
    """The cost of a loss with its gradient, for each of ``size`` ranks with equal shares.

    Parameters
    ----------
    count : int
        N, instances of the global batch.
    dim : int
        D.
    size : int
        W, ranks.
    way : {"gather", "ring"}
    symmetric : bool
        Both directions of InfoNCE.
    stacked : bool
        NT-Xent: 2N rows.
    itemsize : int, default 4
        Bytes of a number.

    Returns
    -------
    Cost

    Examples
    --------
    >>> cost = cost_of_loss(65_536, 128, 64, way="ring")
    >>> round(cost.bytes / 2**20, 1), round(cost.held / 2**20, 2)
    (95.0, 1.5)
    """
    n, w = (2 * count if stacked else count) / size, size
    block, column = n * dim * itemsize, n * itemsize
    there = w - 1
    # of the two tours: keys, the sums of the columns, gradients, and the columns' weights
    keys = there * block if way == "gather" else 2 * there * block
    gradients = 0.0 if stacked else _rooms(way, w) * block
    columns = (_rooms(way, w) + there) * column if symmetric else there * column if stacked else 0.0
    numbers = there * 8 * (6 + 1) + (there / w) * 8 * 2  # rows and lengths, the flag, and the sum of losses
    pairs = 2 * n * n * w
    products = (3 if stacked else 4) * 2 * n * n * w * dim  # similarities twice, the push on anchors, and on keys
    held = (1 if stacked else 2) * w * block if way == "gather" else (2 if stacked else 3) * block
    return Cost(keys + gradients + columns + numbers, products, pairs, held)


def _rooms(way: str, size: int) -> float:
    """How often what is collected for a block is handed on: round the ring and home, or once in parts."""
    if size == 1:
        return 0.0
    return size - 1 if way == "gather" else size


def bytes_of_sum(numbers: int, size: int, itemsize: int = 4) -> float:
    """Bytes that leave a rank when the gradients of so many parameters are summed over ``size`` ranks."""
    return 2 * numbers * itemsize * (size - 1) / size


def bytes_of_statistics(channels: int, size: int, itemsize: int = 4) -> float:
    """Bytes that leave a rank for one layer of synchronised batch normalisation, forward and back."""
    return (size - 1) * (2 * channels + 1) * 8 + bytes_of_sum(2 * channels, size, itemsize)
