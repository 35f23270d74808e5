"""The mean of both directions, from one exponential for each pair.

Row i of the matrix E = exp(U V^T / tau) serves anchor u_i, column j serves anchor v_j, and both sums must be known
before any gradient. So there are two sweeps: the first finds the sums, the second the gradients, from

    dL/dS_ij = E_ij (w_i + w'_j) / (2 tau N)    off the diagonal, w = coupling / sum of the row, w' of the column
    dL/dS_ii = -(c_i + c'_i) / (2 tau N)

Between them exponentials are kept for as many rows as the memory budget holds, and made again for the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.losses.tiles.blocks import (
    Found,
    chance,
    contiguous,
    divide,
    fill_diagonal,
    in_one_place,
    run,
    settle,
    shift,
    smallest_sum,
)
from hypercon.losses.tiles.one_direction import one_way
from hypercon.losses.tiles.scratch import scratch
from hypercon.memory import like as empty_like


def both_ways(u: np.ndarray, v: np.ndarray, temperature: Any, *, gradient: bool = True, memory: Any = "auto") -> Found:
    """InfoNCE from ``u`` to ``v`` and back, (N, D) each, and its derivatives.

    A temperature of shape (N,) belongs to the instances: row i and column i. Then each pair has two exponentials, and
    each direction is computed by itself. So it is where a temperature is so low that a row vanishes beside the rest.
    """
    u, v = contiguous(u, v)
    tau = np.asarray(temperature, np.float64)
    if in_one_place(u, v):
        return chance(len(u), u, v, tau, gradient=gradient)
    found = None if tau.ndim else _together(u, v, tau, gradient, memory)
    return found or _apart(u, v, tau, gradient, memory)


def _together(u: np.ndarray, v: np.ndarray, tau: np.ndarray, gradient: bool, memory: Any) -> Found | None:
    """Both directions from the same exponentials; None where a sum of them vanishes."""
    (count, dim), dtype = u.shape, u.dtype
    rows, width, lanes, spare = divide(u, square=False, sums=gradient, memory=memory)
    blocks = -(-count // rows)
    kept = min(blocks, spare // (rows * count * dtype.itemsize)) if gradient else 0
    common, inverse = dtype.type(shift(u, v, 1 / tau)), dtype.type(1 / tau)
    ones = np.ones(max(rows, width), dtype)
    across, positive = np.zeros(count, dtype), np.empty(count, dtype)

    with scratch() as memories:
        store = memories.array("kept", (kept * rows, count), dtype)
        tiles = memories.array("exponentials", (lanes if kept < blocks else 0, rows, width), dtype)
        small = memories.array("small", (lanes, rows, dim), dtype)
        down = memories.array("down", (lanes, count), dtype)
        down[...] = 0

        def scale(i: int) -> tuple[int, slice, np.ndarray]:
            """The lane and the rows of a block, and its anchors divided by the temperature."""
            here = slice(i * rows, min((i + 1) * rows, count))
            scaled = np.multiply(u[here], inverse, out=small[i % lanes][: here.stop - here.start])
            return i % lanes, here, scaled

        def exponentials(i: int, here: slice, to: slice, scaled: np.ndarray) -> np.ndarray:
            """exp(S - common) of a block of rows and of columns, zero on the diagonal."""
            e = store[here, to] if i < kept else tiles[i % lanes][: len(scaled), : to.stop - to.start]
            np.matmul(scaled, v[to].T, out=e)
            if common:
                e -= common
            np.exp(e, out=e)
            fill_diagonal(e, here.start - to.start, 0.0)
            return e

        def sum_up(i: int) -> None:
            lane, here, scaled = scale(i)
            positive[here] = np.vecdot(scaled, v[here])
            for j in range(0, count, width):
                to = slice(j, min(j + width, count))
                e = exponentials(i, here, to, scaled)
                # products with ones are several times as fast as sum(), and add in blocks, so as exactly
                across[here] += e @ ones[: e.shape[1]]
                down[lane, to] += ones[: len(e)] @ e

        run(sum_up, blocks, lanes)
        below = down.sum(axis=0)
        if min(across.min(), below.min()) < smallest_sum(dtype):
            return None
        there, there_coupling = settle(across, common, positive)
        back, back_coupling = settle(below, common, positive)
        loss = float(there.mean() + back.mean()) / 2
        if not gradient:
            return Found(loss)

        share = 1 / (2 * float(tau) * count)
        of_row = (there_coupling / across * share).astype(dtype)[:, None]
        of_column = (back_coupling / below * share).astype(dtype)
        pull = ((there_coupling + back_coupling) * share).astype(dtype)[:, None]
        weights = memories.array("weights", (lanes, rows, width), dtype)
        product = memories.array("product", (lanes, max(rows, width), dim), dtype)
        by_u, by_v, along = empty_like(u), empty_like(v), np.empty(count)
        pushed = [by_v, *memories.array("pushed", (lanes - 1, count, dim), dtype)]

        def find_gradients(i: int) -> None:
            lane, here, scaled = scale(i)
            mine = by_u[here]
            for j in range(0, count, width):
                to = slice(j, min(j + width, count))
                e = store[here, to] if i < kept else exponentials(i, here, to, scaled)
                w = np.add(of_row[here], of_column[to], out=weights[lane][: len(e), : e.shape[1]])
                w *= e
                if j == 0:
                    np.matmul(w, v[to], out=mine)
                else:
                    mine += np.matmul(w, v[to], out=product[lane][: len(e)])
                if i < lanes:
                    np.matmul(w.T, u[here], out=pushed[lane][to])
                else:
                    pushed[lane][to] += np.matmul(w.T, u[here], out=product[lane][: e.shape[1]])
            mine -= np.multiply(v[here], pull[here], out=scaled)
            pushed[lane][here] -= np.multiply(u[here], pull[here], out=scaled)
            along[here] = np.vecdot(u[here], mine)

        run(find_gradients, blocks, lanes)
        for part in pushed[1:]:
            by_v += part
    return Found(loss, by_u, by_v, -along.sum() / tau)


def _apart(u: np.ndarray, v: np.ndarray, tau: np.ndarray, gradient: bool, memory: Any) -> Found:
    """Each direction by itself."""
    there = one_way(u, v, tau, gradient=gradient, memory=memory)
    back = one_way(v, u, tau, gradient=gradient, memory=memory)
    loss = (there.loss + back.loss) / 2
    if not gradient:
        return Found(loss)
    by_u, by_v = there.by_anchors, there.by_candidates
    by_u += back.by_candidates
    by_v += back.by_anchors
    return Found(loss, by_u / 2, by_v / 2, (there.by_temperature + back.by_temperature) / 2)
