"""NT-Xent: 2N embeddings that are anchors and candidates at once, so the matrix of similarities is symmetric.

Only tiles on and above the diagonal are made; each exponential serves its row and its column, and

    dL/dZ = G Z,  G_ij = E_ij (w_i + w_j) / (2 tau N), G_i,p(i) = -(c_i + c_p(i)) / (2 tau N),  w = coupling / sum

takes one product where an engine that meets Z Z^T as a product of two matrices takes two. As with both directions of
InfoNCE, the sums come first, and exponentials are kept in between as far as the memory budget allows.
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
    triangle,
)
from hypercon.losses.tiles.one_direction import one_way
from hypercon.losses.tiles.scratch import scratch
from hypercon.memory import like as empty_like


def stacked(z: np.ndarray, temperature: Any, *, gradient: bool = True, memory: Any = "auto") -> Found:
    """NT-Xent of two views, one above the other, (2N, D), and its derivatives by ``z`` (as anchors) and temperature.

    With a temperature for each anchor, (2N,), the matrix is symmetric no more, and the whole of it is computed. So it
    is where a temperature is so low that a row vanishes beside the rest.
    """
    (z,) = contiguous(z)
    tau = np.asarray(temperature, np.float64)
    if in_one_place(z):
        return chance(len(z) - 1, z, None, tau, gradient=gradient)
    found = None if tau.ndim else _triangle(z, tau, gradient, memory)
    return found or _square(z, tau, gradient, memory)


def _triangle(z: np.ndarray, tau: np.ndarray, gradient: bool, memory: Any) -> Found | None:
    """From the tiles on and above the diagonal; None where a sum of exponentials vanishes."""
    (count, dim), dtype, half = z.shape, z.dtype, len(z) // 2
    side, _, lanes, spare = divide(z, square=True, sums=gradient, memory=memory)
    tiles = triangle(count, side)
    lanes = min(lanes, len(tiles))
    kept = min(len(tiles), spare // (side * side * dtype.itemsize)) if gradient else 0
    common, inverse = dtype.type(shift(z, z, 1 / tau)), dtype.type(1 / tau)
    scaled_z = z * inverse
    positive = np.vecdot(scaled_z[:half], z[half:])
    positive = np.concatenate([positive, positive])
    ones = np.ones(side, dtype)

    with scratch() as memories:
        store = memories.array("kept", (kept, side, side), dtype)
        spaces = memories.array("exponentials", (lanes if kept < len(tiles) else 0, side, side), dtype)
        sums = memories.array("down", (lanes, count), dtype)
        sums[...] = 0

        def exponentials(i: int, here: slice, to: slice) -> np.ndarray:
            """exp(S - common) of one tile, zero where an embedding meets itself or its positive."""
            space = store[i] if i < kept else spaces[i % lanes]
            e = space[: here.stop - here.start, : to.stop - to.start]
            np.matmul(scaled_z[here], z[to].T, out=e)
            if common:
                e -= common
            np.exp(e, out=e)
            for diagonal in (0, half, -half):
                fill_diagonal(e, here.start + diagonal - to.start, 0.0)
            return e

        def sum_up(i: int) -> None:
            here, to = tiles[i]
            e = exponentials(i, here, to)
            sums[i % lanes, here] += e @ ones[: e.shape[1]]
            if here != to:
                sums[i % lanes, to] += ones[: len(e)] @ e

        run(sum_up, len(tiles), lanes)
        total = sums.sum(axis=0)
        if total.min() < smallest_sum(dtype):
            return None
        losses, coupling = settle(total, common, positive)
        loss = float(losses.mean())
        if not gradient:
            return Found(loss)

        share = 1 / (float(tau) * count)
        weight = (coupling / total * share).astype(dtype)
        pull = ((coupling + np.roll(coupling, half)) * share).astype(dtype)[:, None]
        weights = memories.array("weights", (lanes, side, side), dtype)
        product = memories.array("product", (lanes, side, dim), dtype)
        by_z = empty_like(z)
        by_z[...] = 0
        others = memories.array("pushed", (lanes - 1, count, dim), dtype)
        others[...] = 0
        pushed = [by_z, *others]

        def find_gradients(i: int) -> None:
            lane, (here, to) = i % lanes, tiles[i]
            height, width = here.stop - here.start, to.stop - to.start
            e = store[i][:height, :width] if i < kept else exponentials(i, here, to)
            w = np.add(weight[here, None], weight[to], out=weights[lane][:height, :width])
            w *= e
            pushed[lane][here] += np.matmul(w, z[to], out=product[lane][:height])
            if here != to:
                pushed[lane][to] += np.matmul(w.T, z[here], out=product[lane][:width])

        run(find_gradients, len(tiles), lanes)
        for part in pushed[1:]:
            by_z += part
    by_z[:half] -= pull[:half] * z[half:]
    by_z[half:] -= pull[half:] * z[:half]
    # every similarity is met twice in z . dL/dz, once from either end
    return Found(loss, by_z, None, -np.vecdot(z, by_z).sum(dtype=np.float64) / (2 * tau))


def _square(z: np.ndarray, tau: np.ndarray, gradient: bool, memory: Any) -> Found:
    """From the whole matrix, as 2N anchors among 2N candidates."""
    found = one_way(z, z, tau, offset=len(z) // 2, not_itself=True, gradient=gradient, memory=memory)
    if not gradient:
        return found
    by_z = found.by_anchors
    by_z += found.by_candidates
    return Found(found.loss, by_z, None, found.by_temperature)
