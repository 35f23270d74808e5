"""What this rank's anchors and all ranks' keys find out about one another, tile by tile: a tour for each question.

A tile of similarities is made, used and forgotten (Cheng et al. 2024, Inf-CL). With a shift c, one number for all pairs
or one for each anchor, E_ij = exp(s_ij / tau - c), and zero where key j is no negative of anchor i.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.backend import Array, xp
from hypercon.distributed.visits import Gathered, Ring
from hypercon.losses.tiles.blocks import ROWS, WIDTH

Shift = Any  # a float, or an array (A, 1)


class Tours:
    """Anchors (A, D) at home, and keys that visit them.

    Parameters
    ----------
    visits : Ring or Gathered
        Of the keys; this rank's own block has a key for each anchor.
    anchors : array, (A, D)
    tau : float
    left_out : sequence of int
        Key ``i + offset`` of the own block is no negative of anchor i, for each of these offsets: its positive, and
        itself.
    """

    def __init__(self, visits: Ring | Gathered, anchors: Array, tau: float, left_out: tuple[int, ...]) -> None:
        self.visits, self.anchors, self.scaled = visits, anchors, anchors / tau
        self.left_out, self.home = left_out, visits.ranks.rank

    def sums(self, shift: Shift, *, both: bool) -> tuple[Array, Any]:
        """The sum of E over the keys of each anchor, (A, 1), and for ``both`` over the anchors of each key."""
        m, dtype = xp(self.anchors), self.anchors.dtype
        across = m.zeros((len(self.anchors), 1), dtype)

        def work(owner: int, keys: Array, down: Any, along: Any) -> None:
            for here, to in _tiles(len(self.anchors), len(keys)):
                e = self._exponentials(owner, keys, here, to, shift)
                across[here] += e @ m.ones((e.shape[1], 1), dtype)  # as exact as sum(), and several times as fast
                if both:
                    down[to] += e.T @ m.ones((e.shape[0], 1), dtype)

        return across, self.visits.tour(work, 1 if both else None)

    def maxima(self) -> Array:
        """The largest logit of each anchor's negatives, (A, 1)."""
        m = xp(self.anchors)
        top = m.zeros((len(self.anchors), 1), self.anchors.dtype) - math.inf

        def work(owner: int, keys: Array, room: Any, along: Any) -> None:
            for here, to in _tiles(len(self.anchors), len(keys)):
                logits = self._logits(owner, keys, here, to)
                top[here] = m.maximum(top[here], m.max(logits, axis=1, keepdims=True))

        self.visits.tour(work)
        return top

    def pushes(self, shift: Shift, push: Array, along: Any, *, on_keys: bool) -> tuple[Array, Any]:
        """``sum_j W_ij b_j`` for each anchor, (A, D), and for keys ``sum_i W_ij a_i``; W_ij = E_ij (push_i + along_j).

        ``push`` is a column beside the anchors; ``along`` one beside the own keys, which goes with them, or None.
        """
        by_anchors = xp(self.anchors).zeros_like(self.anchors)

        def work(owner: int, keys: Array, by_keys: Any, along: Any) -> None:
            for here, to in _tiles(len(self.anchors), len(keys)):
                weights = self._exponentials(owner, keys, here, to, shift)
                weights *= push[here] if along is None else push[here] + along[to].T
                by_anchors[here] += weights @ keys[to]
                if on_keys:
                    by_keys[to] += weights.T @ self.anchors[here]

        return by_anchors, self.visits.tour(work, self.anchors.shape[1] if on_keys else None, along)

    def _exponentials(self, owner: int, keys: Array, here: slice, to: slice, shift: Shift) -> Array:
        logits = self._logits(owner, keys, here, to)
        if not isinstance(shift, float):
            logits -= shift[here]
        elif shift:
            logits -= shift
        return np.exp(logits, out=logits) if isinstance(logits, np.ndarray) else xp(logits).exp(logits)

    def _logits(self, owner: int, keys: Array, here: slice, to: slice) -> Array:
        """s / tau of a tile, minus infinity where a key is no negative."""
        logits = self.scaled[here] @ keys[to].T
        if owner != self.home:
            return logits
        m = xp(logits)
        between = m.arange(to.start, to.stop)[None, :] - m.arange(here.start, here.stop)[:, None]
        none = between == self.left_out[0]
        for offset in self.left_out[1:]:
            none = none | (between == offset)
        return m.where(none, -math.inf, logits)


def _tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(i, min(i + ROWS, height)), slice(j, min(j + WIDTH, width)))
        for i in range(0, height, ROWS)
        for j in range(0, width, WIDTH)
    ]
