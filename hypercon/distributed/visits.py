"""How the embeddings of every rank meet those of every other: gathered once, or passed round.

A loss looks at *keys* block by block, each block being one rank's rows. Beside a block lies room in which whoever sees
it may leave something for its owner, such as a gradient. Both ways show a rank the same blocks in the same order and
differ in what is held and what is sent:

    Gathered    all keys at once, N x D and room for as many; one gathering, and one sum of which each keeps its part
    Ring        one visiting block, N/W x D and its room; blocks and rooms go round, W - 1 or W steps for each tour
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypercon.backend import Array, xp
from hypercon.distributed.ranks import Ranks

# what a rank does with a block: its owner, the keys, the room beside them (changed in place), and what goes along
Work = Callable[[int, Array, Any, Any], None]


class Ring:
    """Blocks go from rank to rank, each with its room, until they are home."""

    def __init__(self, ranks: Ranks, keys: Array, rows: Sequence[int]) -> None:
        self.ranks, self.keys, self.rows = ranks, keys, rows

    def tour(self, work: Work, width: int | None = None, along: Array | None = None) -> Any:
        """Show every block to ``work``; the room of this rank's block, (rows, width), as all ranks have filled it.

        ``along`` holds a number for each of this rank's keys, (rows, 1), that goes with them.
        """
        ranks, rows, keys = self.ranks, self.rows, self.keys
        room = None if width is None else xp(keys).zeros((len(keys), width), keys.dtype)
        owner = ranks.rank
        for step in range(ranks.size):
            work(owner, keys, room, along)
            owner = (owner - 1) % ranks.size
            if room is not None and ranks.size > 1:
                room = ranks.pass_on(room, (rows[owner], room.shape[1]))
            if step < ranks.size - 1:  # nobody waits for keys after the last block
                keys = ranks.pass_on(keys, (rows[owner], keys.shape[1]))
                along = None if along is None else ranks.pass_on(along, (rows[owner], 1))
        return room


class Gathered:
    """Every rank holds all blocks from the start, and sums come back to their owners at the end."""

    def __init__(self, ranks: Ranks, keys: Array, rows: Sequence[int]) -> None:
        self.ranks, self.rows = ranks, rows
        self.keys = ranks.gather(keys, rows)

    def tour(self, work: Work, width: int | None = None, along: Array | None = None) -> Any:
        """As `Ring.tour`."""
        ranks, rows = self.ranks, self.rows
        m = xp(self.keys[0])
        room = None if width is None else m.zeros((sum(rows), width), self.keys[0].dtype)
        rooms = [None] * ranks.size if room is None else ranks.parts(room, rows)
        beside: list[Any] = [None] * ranks.size if along is None else ranks.gather(along, rows)
        for step in range(ranks.size):
            owner = (ranks.rank - step) % ranks.size
            work(owner, self.keys[owner], rooms[owner], beside[owner])
        return None if room is None else ranks.sum_parts(room, rows)
