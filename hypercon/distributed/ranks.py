"""What the processes of a job can say to one another.

A *rank* is one of W processes, numbered from 0, that run the same program on different data. All that the losses need
is made here from a single step, `pass_on`: hand an array to the next rank, take one from the rank before. What goes
round a ring in this way uses every connection at once and moves as few bytes as possible: (W - 1) / W of the whole for
a gathering or for a sum of which each rank keeps its part, and twice that for a sum that all keep.

`Ranks` itself is a job of one. Other jobs define `pass_on`, and may replace what is built on it by better.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from hypercon.backend import Array, xp


class Ranks:
    """The ranks of a job, seen from one of them; this class is a job of one rank.

    Every method but `parts` is called by all ranks, in the same order. Results that all ranks get are the same on all
    of them, to the last bit.

    Attributes
    ----------
    rank : int
        Which one this is, from 0.
    size : int
        W, how many there are.

    Examples
    --------
    >>> import numpy as np
    >>> alone = Ranks()
    >>> alone.sum(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    rank = 0
    size = 1

    def pass_on(self, array: Array, shape: tuple[int, ...]) -> Array:
        """Give ``array`` to the next rank, and take from the rank before what it gives, which has this ``shape``.

        Both have one dtype. The last rank gives to the first. What is taken belongs to the taker alone.
        """
        return array

    def gather(self, array: Array, rows: Sequence[int]) -> list[Array]:
        """The arrays of all ranks, in their order, of which rank r's has ``rows[r]`` rows."""
        found: list[Array] = [array] * self.size
        for step in range(1, self.size):
            owner = (self.rank - step) % self.size
            array = self.pass_on(array, (rows[owner], *array.shape[1:]))
            found[owner] = array
        return found

    def sum_parts(self, array: Array, rows: Sequence[int]) -> Array:
        """The sum of all ranks' arrays, of which rank r gets the r-th part alone, with ``rows[r]`` rows."""
        mine = self.parts(array, rows)
        partial = mine[(self.rank - 1) % self.size]
        for step in range(1, self.size):
            part = mine[(self.rank - 1 - step) % self.size]
            partial = self.pass_on(partial, part.shape)
            partial = partial + part
        return partial

    def sum(self, array: Array) -> Array:
        """The sum of all ranks' arrays of one shape, for all of them."""
        flat = array.reshape(-1)
        rows = even(flat.size, self.size)
        return xp(array).concatenate(self.gather(self.sum_parts(flat, rows), rows)).reshape(array.shape)

    def any(self, flag: bool) -> bool:
        """Whether it is so on some rank: what all then do alike."""
        return any(bool(told[0]) for told in self.gather(np.array([float(flag)]), [1] * self.size))

    def parts(self, array: Array, rows: Sequence[int]) -> list[Array]:
        """The array in parts of so many rows, as views."""
        ends = list(accumulate(rows))
        return [array[end - count : end] for end, count in zip(ends, rows, strict=True)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank} of {self.size})"


def even(count: int, size: int) -> list[int]:
    """How many of ``count`` things each of ``size`` ranks has: as equally as possible, the first ones one more.

    Examples
    --------
    >>> even(10, 4)
    [3, 3, 2, 2]
    """
    least, more = divmod(count, size)
    return [least + (rank < more) for rank in range(size)]
