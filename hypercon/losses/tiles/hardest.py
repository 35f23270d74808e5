"""The hardest negatives of every anchor: the k-th largest similarity is a threshold, and all that reach it are kept.

The simple loss on them is ``L_i = mean_{s_ij >= cut_i} s_ij - s_ii``; its gradient is a matrix of zeros and ones times
the embeddings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.losses.tiles.blocks import Found, chance, contiguous, fill_diagonal, in_one_place, rows_and_lanes, run
from hypercon.losses.tiles.scratch import scratch
from hypercon.memory import like as empty_like


def cut(similarities: np.ndarray, k: int, room: np.ndarray) -> np.ndarray:
    """The k-th largest of every row, (A, 1). What is no negative must be -inf; ``room`` is written over."""
    room[...] = similarities
    at = similarities.shape[1] - k
    room.partition(at, axis=1)
    return room[:, at : at + 1]


def nearest(
    anchors: np.ndarray, candidates: np.ndarray, k: int, *, gradient: bool = True, memory: Any = "auto"
) -> Found:
    """The mean similarity of each anchor's k hardest negatives, less that of its positive, (N, D) and (N, D)."""
    anchors, candidates = contiguous(anchors, candidates)
    (count, dim), dtype = anchors.shape, anchors.dtype
    if in_one_place(anchors, candidates):
        return chance(1, anchors, candidates, gradient=gradient)  # all similarities are one: what is left is log 1

    rows, lanes = rows_and_lanes(anchors, candidates, matrices=2, sums=gradient, memory=memory)
    losses = np.empty(count)
    by_anchors, by_candidates = (empty_like(anchors), np.zeros_like(candidates)) if gradient else (None, None)
    ones = np.ones(count, dtype)

    with scratch() as memories:
        similarities = memories.array("exponentials", (lanes, rows, count), dtype)
        chosen = memories.array("sorted", (lanes, rows, count), dtype)
        product = memories.array("product", (lanes if gradient else 0, count, dim), dtype)
        others = memories.array("pushed", (lanes - 1 if gradient else 0, count, dim), dtype)
        others[...] = 0
        pushed = [by_candidates, *others]

        def block(i: int) -> None:
            lane, here = i % lanes, slice(i * rows, min((i + 1) * rows, count))
            a, own = anchors[here], candidates[here]
            s, hard = similarities[lane][: len(a)], chosen[lane][: len(a)]
            np.matmul(a, candidates.T, out=s)
            fill_diagonal(s, here.start, -math.inf)
            np.greater_equal(s, cut(s, k, hard), out=hard)
            fill_diagonal(s, here.start, 0.0)
            share = 1 / (hard @ ones)
            losses[here] = np.vecdot(hard, s) * share - np.vecdot(a, own)
            if by_anchors is not None:
                share /= count
                by_anchors[here] = (hard @ candidates) * share[:, None] - own / count
                pushed[lane] += np.matmul(hard.T, a * share[:, None], out=product[lane])
                pushed[lane][here] -= a / count

        run(block, -(-count // rows), lanes)
        if by_candidates is not None:
            for part in pushed[1:]:
                by_candidates += part
    return Found(float(losses.mean()), by_anchors, by_candidates)
