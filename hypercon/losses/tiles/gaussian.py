"""Uniformity: L = log mean_{i != j} exp(-t |z_i - z_j|^2), from tiles on and above the diagonal, in one sweep.

On the sphere the exponent is 2t (z_i . z_j - 1), elsewhere 2t z_i . z_j - t |z_i|^2 - t |z_j|^2. The one sum over all
pairs is the only normaliser, so the gradient is summed beside it and divided at the end: with E the exponentials,

    dL/dZ = 4t E Z / sum(E), and off the sphere less 4t diag(E 1) Z / sum(E)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.losses.tiles.blocks import (
    Found,
    contiguous,
    divide,
    fill_diagonal,
    in_one_place,
    run,
    shift,
    smallest_sum,
    triangle,
)
from hypercon.losses.tiles.scratch import scratch
from hypercon.memory import like as empty_like


def potential(z: np.ndarray, t: float, *, on_sphere: bool = True, gradient: bool = True, memory: Any = "auto") -> Found:
    """The logarithm of the mean Gaussian potential of (N, D) embeddings, and its derivatives by them (as anchors)."""
    (z,) = contiguous(z)
    if in_one_place(z):
        return Found(0.0, np.zeros_like(z) if gradient else None)
    if not on_sphere:
        z = z - z.mean(axis=0)  # no distance changes, and less cancels in the squares
    (count, dim), dtype = z.shape, z.dtype
    side, _, lanes, _ = divide(z, square=True, sums=gradient, memory=memory)
    tiles = triangle(count, side)
    lanes = min(lanes, len(tiles))
    scaled = z * dtype.type(2 * t)
    squares = None if on_sphere else np.vecdot(z, z) * dtype.type(t)
    totals, tops, ones = np.empty(len(tiles)), np.empty(len(tiles)), np.ones(side, dtype)
    by_z = empty_like(z) if gradient else None

    with scratch() as memories:
        spaces = memories.array("exponentials", (lanes, side, side), dtype)
        product = memories.array("product", (lanes if gradient else 0, side, dim), dtype)
        pushed = [by_z, *memories.array("pushed", (lanes - 1 if gradient else 0, count, dim), dtype)]
        sums = memories.array("down", (lanes, count), dtype)

        def exponents(i: int) -> np.ndarray:
            here, to = tiles[i]
            e = spaces[i % lanes][: here.stop - here.start, : to.stop - to.start]
            np.matmul(scaled[here], z[to].T, out=e)
            if squares is not None:
                e -= squares[here, None]
                e -= squares[to]
            return e

        def find_top(i: int) -> None:
            e = exponents(i)
            if tiles[i][0] == tiles[i][1]:
                fill_diagonal(e, 0, -math.inf)
            tops[i] = e.max()

        def sum_up(i: int, common: Any) -> None:
            lane, (here, to) = i % lanes, tiles[i]
            e = exponents(i)
            if here == to:
                fill_diagonal(e, 0, -math.inf)
            if common:
                e -= common
            np.exp(e, out=e)
            across = e @ ones[: e.shape[1]]
            totals[i] = across.sum(dtype=np.float64) * (1 if here == to else 2)
            if not gradient:
                return
            pushed[lane][here] += np.matmul(e, z[to], out=product[lane][: len(e)])
            if here != to:
                pushed[lane][to] += np.matmul(e.T, z[here], out=product[lane][: e.shape[1]])
            if squares is not None:
                sums[lane, here] += across
                if here != to:
                    sums[lane, to] += ones[: len(e)] @ e

        def sweep(common: Any) -> float:
            for part in pushed if gradient else ():
                part[...] = 0
            sums[...] = 0
            run(lambda i: sum_up(i, common), len(tiles), lanes)
            return float(totals.sum())

        total, common = 0.0, 0.0
        if on_sphere:
            common = dtype.type(shift(z, z, 2 * t))
            total = sweep(common)
        if total < smallest_sum(dtype):
            # all pairs are far apart for this t, or may be: the nearest pair is searched for, and sets the scale
            run(find_top, len(tiles), lanes)
            common = dtype.type(tops.max())
            total = sweep(common)
        for part in pushed[1:]:
            by_z += part
        if gradient and squares is not None:
            by_z -= z * sums.sum(axis=0)[:, None]
    if gradient:
        by_z *= dtype.type(4 * t / total)
    loss = math.log(total / (count * (count - 1))) + float(common) - (2 * t if on_sphere else 0)
    return Found(loss, by_z)
