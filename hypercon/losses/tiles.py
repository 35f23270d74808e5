"""The same softmax and its gradient, block by block: time without traffic, and memory linear in the batch.

A block of anchors meets all candidates at once. Its exponentials live in a scratch array that the next block writes
over, so nothing of size N x N ever exists; what remains are the losses and the gradients, which are sums over blocks.
All of it happens in the forward pass: the loss is a scalar, so the sweep back has only to multiply.

Blocks run on the cores' threads. Each thread adds up its own blocks in a fixed order, and the threads' sums are added
in a fixed order too: the same number of cores gives the same bits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hypercon import threads

FEW = 640  # up to so many anchors, one block with BLAS's own threads is as fast as any division
SCRATCH = 8 * 2**20  # bytes of one block's exponentials: more leaves the cache, less starves the products
MOST_ROWS, LEAST_ROWS = 256, 32


class OneWay(NamedTuple):
    """The mean loss of anchors among candidates, and its derivatives."""

    loss: float
    by_anchors: np.ndarray  # (A, D)
    by_candidates: np.ndarray  # (C, D)
    by_temperature: Any  # of the temperature's shape


def one_way(
    anchors: np.ndarray, candidates: np.ndarray, temperature: Any, *, shift: int = 0, not_itself: bool = False
) -> OneWay:
    """InfoNCE of every anchor: its positive is candidate ``i + shift`` (counted round), all others are negatives.

    With ``not_itself`` candidate i is none for anchor i. The formulas are those of infonce.py.
    """
    dtype = np.result_type(anchors, candidates)
    anchors, candidates = anchors.astype(dtype, copy=False), candidates.astype(dtype, copy=False)
    count, tau = len(anchors), dtype.type(np.asarray(temperature).item())
    positive = (np.arange(count) + shift) % len(candidates)
    queries = anchors / tau
    # where no similarity can overflow the exponential, no maximum has to be found and subtracted
    safe = _longest(queries) * _longest(candidates) < 0.9 * math.log(np.finfo(dtype).max)
    rows = _rows_in_a_block(count, len(candidates), dtype.itemsize)
    blocks = -(-count // rows)
    lanes = threads.lanes(blocks)
    scratch = [np.empty((rows, len(candidates)), dtype) for _ in range(lanes)]
    pushed = [np.zeros_like(candidates) for _ in range(lanes)]  # by the candidates, as negatives
    losses, by_anchors = np.empty(count, dtype), np.empty_like(anchors)
    pull = np.empty((count, 1), dtype)

    def block(i: int) -> None:
        here = slice(i * rows, min((i + 1) * rows, count))
        at = np.arange(here.start, here.stop)
        local = at - here.start
        e = scratch[i % lanes][: len(at)]
        np.matmul(queries[here], candidates.T, out=e)
        logit = e[local, positive[here]]
        e[local, positive[here]] = -np.inf
        if not_itself:
            e[local, at] = -np.inf
        top = np.zeros(len(at), dtype)
        if not safe:
            top = e.max(axis=1)
            e -= top[:, None]
        np.exp(e, out=e)
        total = e.sum(axis=1)
        lead = np.log(total) + top - logit
        decay = np.exp(-np.abs(lead))
        losses[here] = np.maximum(lead, 0) + np.log1p(decay)
        coupling = np.where(lead > 0, 1, decay) / (1 + decay)
        push = (coupling / (total * (tau * count)))[:, None]
        pull[here] = (coupling / (tau * count))[:, None]
        by_anchors[here] = e @ candidates
        by_anchors[here] *= push
        pushed[i % lanes] += e.T @ (anchors[here] * push)

    threads.run(block, blocks)
    by_anchors -= pull * candidates[positive]
    by_candidates = pushed[0]
    for part in pushed[1:]:
        by_candidates += part
    by_candidates[positive] -= pull * anchors
    # the loss depends on s / tau alone, so tau's derivative is that of all similarities growing together
    by_temperature = -np.einsum("ij,ij->", anchors, by_anchors) / temperature
    return OneWay(float(losses.mean(dtype=np.float64)), by_anchors, by_candidates, by_temperature)


def _longest(rows: np.ndarray) -> float:
    return math.sqrt(float(np.einsum("ij,ij->i", rows, rows).max()))


def _rows_in_a_block(anchors: int, candidates: int, itemsize: int) -> int:
    if anchors <= FEW:
        return anchors
    return min(MOST_ROWS, max(LEAST_ROWS, SCRATCH // (candidates * itemsize)))
