"""Anchors among candidates, in one sweep: L_i = log(1 + r_i / p_i), r_i = sum_k exp(s_ik / tau), p_i = exp(s_i+ / tau).

A block of anchors meets all candidates at once, so its sums are known before its gradients are asked for and nothing is
computed twice. With E the block's exponentials, positives taken out, c_i = r_i / (r_i + p_i), and w_i = c_i / r_i,

    dL/dA = (diag(w) E B - diag(c) B+) / (tau A)
    dL/dB = E^T diag(w) A / (tau A), less c_i a_i / (tau A) at each positive

The softmax itself is never formed: scaling the small operands saves two passes over the large one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.losses.tiles.blocks import (
    Found,
    chance,
    columns_at_a_time,
    contiguous,
    fill_diagonal,
    in_one_place,
    rows_and_lanes,
    run,
    settle,
    shift,
    smallest_sum,
)
from hypercon.losses.tiles.hardest import cut
from hypercon.losses.tiles.scratch import scratch
from hypercon.memory import like as empty_like


def one_way(
    anchors: np.ndarray,
    candidates: np.ndarray,
    temperature: Any,
    *,
    positives: np.ndarray | None = None,
    offset: int = 0,
    not_itself: bool = False,
    k: int | None = None,
    gradient: bool = True,
    fixed: bool = False,
    memory: Any = "auto",
) -> Found:
    """InfoNCE of every anchor, and its derivatives.

    Parameters
    ----------
    anchors, candidates : array, (A, D) and (C, D)
    temperature : float or array, () or (A,)
        One for all, or each anchor's own.
    positives : array, (A, D), optional
        Each anchor's positive where they are no candidates: then all candidates are negatives. Default: the positive is
        candidate ``i + offset``, counted round, and all others are negatives.
    not_itself : bool
        Candidate i is none for anchor i.
    k : int, optional
        The k hardest negatives alone, and what ties with the k-th.
    gradient, fixed : bool
        Whether derivatives are wanted; ``fixed`` candidates have none.
    memory : "auto" or int
        Bytes of working memory.
    """
    anchors, candidates = contiguous(anchors, candidates)
    dtype, count, (size, dim) = anchors.dtype, len(anchors), candidates.shape
    tau = np.asarray(temperature, np.float64)
    if in_one_place(anchors, candidates) and (positives is None or bool((positives == candidates[0]).all())):
        return chance(
            size - not_itself + (positives is not None), anchors, candidates, tau, positives, gradient=gradient
        )

    # one for each anchor, or one for all, which NumPy multiplies with faster
    inverse = (1 / tau).astype(dtype)[:, None] if tau.ndim else dtype.type(1 / tau)
    common, least = shift(anchors, candidates, 1 / tau), smallest_sum(dtype)
    pushes = gradient and not fixed
    rows, lanes = rows_and_lanes(anchors, candidates, matrices=1 if k is None else 2, sums=pushes, memory=memory)
    width = columns_at_a_time(size)
    ones = np.ones(width, dtype)
    losses = np.empty(count)
    along = np.empty(count)  # a_i . dL/da_i: what the temperature's derivative is made of
    by_anchors = empty_like(anchors) if gradient else None
    by_candidates = empty_like(candidates) if pushes else None
    by_positives = empty_like(anchors) if gradient and positives is not None else None
    left_out = [] if positives is not None else [offset, offset - size]
    if not_itself:
        left_out.append(0)

    with scratch() as memories:
        exponentials = memories.array("exponentials", (lanes, rows, size), dtype)
        sortable = memories.array("sorted", (lanes, rows, size if k is not None else 0), dtype)
        small = memories.array("small", (lanes, rows, dim), dtype)
        product = memories.array("product", (lanes if pushes else 0, width, dim), dtype)
        pushed = [by_candidates, *memories.array("pushed", (lanes - 1 if pushes else 0, size, dim), dtype)]

        def block(i: int) -> None:
            lane, here = i % lanes, slice(i * rows, min((i + 1) * rows, count))
            at = _round(here, offset, size)
            a = anchors[here]
            own = candidates[at] if positives is None else positives[here]
            e, scaled = exponentials[lane][: len(a)], small[lane][: len(a)]
            np.multiply(a, of(here), out=scaled)
            positive = np.vecdot(scaled, own)
            top: Any = common
            total = None
            if k is None:
                total = exponentiate(scaled, e, here.start)
            if total is None or total.min() < least:
                top, total = exponentiate_exactly(a, e, here, sortable[lane][: len(a)])
            losses[here], coupling = settle(total, top, positive)
            if by_anchors is None:
                return
            pull = coupling / (count * (tau[here] if tau.ndim else tau))
            push = (pull / total).astype(dtype)[:, None]
            pull = pull.astype(dtype)[:, None]
            out = by_anchors[here]
            np.matmul(e, candidates, out=out)
            out *= push
            out -= np.multiply(own, pull, out=scaled)
            along[here] = np.vecdot(a, out)
            if by_positives is not None:
                np.multiply(a, -pull, out=by_positives[here])
            if pushes:
                push_candidates(e, np.multiply(a, push, out=scaled), lane, first=i < lanes)
            if pushes and positives is None:
                pushed[lane][at] -= np.multiply(a, pull, out=scaled)

        def of(here: slice) -> Any:
            return inverse[here] if tau.ndim else inverse

        def exponentiate(scaled: np.ndarray, e: np.ndarray, start: int) -> np.ndarray:
            """Fill ``e`` with exp(s / tau - common), zero where no negative is; the sums of its rows."""
            total = np.zeros(len(e), dtype)
            for j in range(0, size, width):
                part = e[:, j : j + width]
                np.matmul(scaled, candidates[j : j + width].T, out=part)
                if common:
                    part -= dtype.type(common)
                np.exp(part, out=part)
                for diagonal in left_out:
                    fill_diagonal(part, start + diagonal - j, 0.0)
                # a product with ones is several times as fast as sum(), and adds in blocks, so as exactly
                total += part @ ones[: part.shape[1]]
            return total

        def exponentiate_exactly(
            a: np.ndarray, e: np.ndarray, here: slice, room: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            """The same with each row's own maximum for the shift, which is returned as well, and with the cut at k."""
            np.matmul(a, candidates.T, out=e)
            for diagonal in left_out:
                fill_diagonal(e, here.start + diagonal, -math.inf)
            if k is not None:
                # the cut follows the similarities: scaled ones are rounded anew, and would tear ties apart
                easy = e < cut(e, k, room)
                np.copyto(e, -math.inf, where=easy)
            e *= of(here)
            top = e.max(axis=1)
            e -= top[:, None]
            np.exp(e, out=e)
            return top, e.sum(axis=1)

        def push_candidates(e: np.ndarray, weighted: np.ndarray, lane: int, first: bool) -> None:
            for j in range(0, size, width):
                to = pushed[lane][j : j + width]
                if first:
                    np.matmul(e[:, j : j + width].T, weighted, out=to)
                else:
                    to += np.matmul(e[:, j : j + width].T, weighted, out=product[lane][: len(to)])

        run(block, -(-count // rows), lanes)
        if pushes:
            for part in pushed[1:]:
                by_candidates += part
    # the loss depends on s / tau alone, so tau's derivative is that of all similarities growing together
    by_temperature = -(along if tau.ndim else along.sum()) / tau if gradient else None
    return Found(float(losses.mean()), by_anchors, by_candidates, by_temperature, by_positives)


def _round(here: slice, offset: int, size: int) -> Any:
    """Where the positives of these anchors stand, counted round."""
    first = (here.start + offset) % size
    last = first + here.stop - here.start
    return slice(first, last) if last <= size else np.arange(first, last) % size
