"""What all tiled losses share: what they return, how a batch is divided, and how exponentials stay within range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hypercon import threads
from hypercon.errors import InputError

FEW = 192  # up to so many anchors and candidates, one block in the caller's thread is faster than the pool
ROWS, LEAST_ROWS = 256, 16  # more rows leave the cache, fewer starve the products
BLOCK = 2**22  # entries of a block of whole rows, unless that leaves fewer than 64 rows
SIDE = 512  # of square tiles where they are many, else half of it
WIDTH = 2048  # columns at a time


class Found(NamedTuple):
    """A mean loss and its derivatives, None where they were not asked for."""

    loss: float
    by_anchors: Any = None  # (A, D)
    by_candidates: Any = None  # (C, D)
    by_temperature: Any = None  # of the temperature's shape
    by_positives: Any = None  # (A, D), where positives are given apart from candidates


def contiguous(*arrays: np.ndarray) -> list[np.ndarray]:
    """Embeddings as products like them: row by row in memory, in one dtype of at least single precision."""
    dtype = np.result_type(*arrays, np.float32)
    return [np.ascontiguousarray(rows, dtype) for rows in arrays]


# --- how a batch is divided


def budget(memory: Any) -> int:
    """Bytes of working memory that a call may use. ``"auto"`` is 256 MiB, and 64 MiB for each core beyond four."""
    return 2**26 * max(4, threads.cores()) if memory == "auto" else memory


def check_fits(needed: int, memory: Any, rows: np.ndarray) -> None:
    """Refuse a batch whose smallest blocks, on one thread, need more than the budget."""
    if needed > budget(memory):
        raise InputError(
            f"memory got {budget(memory)} bytes, expected at least {needed} for embeddings of shape {rows.shape} and "
            f"{rows.dtype}: allow more, or take a smaller batch"
        )


def rows_and_lanes(
    anchors: np.ndarray, candidates: np.ndarray, *, matrices: int, sums: bool, memory: Any
) -> tuple[int, int]:
    """How many anchors meet all candidates at a time, and over how many lanes their blocks are spread.

    A block holds so many ``matrices`` of a row for each anchor; ``sums`` says that each lane keeps sums for all
    candidates, the first in the result itself. Where memory is short, blocks shrink first and then the lanes.
    """
    (count, dim), size, itemsize = anchors.shape, len(candidates), anchors.itemsize
    a_row = (matrices * size + dim) * itemsize
    a_product = columns_at_a_time(size) * dim * itemsize if sums else 0
    a_sum = size * dim * itemsize if sums else 0
    rows = _rows(count, size)
    least = min(rows, LEAST_ROWS)
    check_fits(least * a_row + a_product, memory, anchors)

    def fitting(lanes: int) -> int:
        return ((budget(memory) - (lanes - 1) * a_sum) // lanes - a_product) // a_row

    lanes = threads.lanes(-(-count // rows))
    while lanes > 1 and fitting(lanes) < least:
        lanes -= 1
    return min(rows, fitting(lanes)), lanes


def _rows(count: int, size: int) -> int:
    if count * size <= FEW * FEW:
        return count
    return min(rows_at_a_time(count), max(64, BLOCK // size))


class Division(NamedTuple):
    """Tiles of a square matrix, for a loss that sweeps over them twice."""

    rows: int
    width: int
    lanes: int
    kept: int  # bytes that are left in the budget for exponentials kept between the sweeps


def divide(embeddings: np.ndarray, *, square: bool, sums: bool, memory: Any) -> Division:
    """Tiles of the similarities of (N, D) embeddings: strips of rows, or a ``square`` of which few lie in a row.

    A lane needs one tile and another for its weights, products of both with embeddings, and sums for all embeddings
    (the first lane's are the result). Where memory is short, tiles shrink first and then the lanes.
    """
    (count, dim), itemsize = embeddings.shape, embeddings.itemsize
    rows = width = count
    if count > FEW and square:
        rows = width = min(count, SIDE if count > 16 * SIDE else SIDE // 2)
    elif count > FEW:
        rows, width = rows_at_a_time(count), columns_at_a_time(count)
    a_sum = count * (dim + 1) * itemsize if sums else count * itemsize

    def needed(lanes: int) -> int:
        a_lane = (2 * rows * width + (rows + max(rows, width)) * dim) * itemsize
        return lanes * a_lane + (lanes - 1) * a_sum

    while needed(1) > budget(memory) and max(rows, width) > LEAST_ROWS:
        if square:
            rows = width = -(-width // 2)
        elif width >= rows:
            width = -(-width // 2)
        else:
            rows = -(-rows // 2)
    check_fits(needed(1), memory, embeddings)
    lanes = threads.lanes(-(-count // rows))
    while lanes > 1 and needed(lanes) > budget(memory):
        lanes -= 1
    return Division(rows, width, lanes, budget(memory) - needed(lanes))


def triangle(count: int, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles on and above the diagonal, in an order that leaves lanes with even work.

    A tile above the diagonal costs more than one on it, so they are dealt out one kind after the other; and where two
    strips have only one such tile, as two views of a small batch have, it is cut in half.
    """
    strips = _strips(0, count, side)
    above = [(here, to) for i, here in enumerate(strips) for to in strips[i + 1 :]]
    if len(above) == 1:
        ((here, to),) = above
        above = [(half, to) for half in _strips(here.start, here.stop, -(-side // 2))]
    return [(strip, strip) for strip in strips] + above


def _strips(start: int, stop: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


def rows_at_a_time(count: int) -> int:
    """Rows of a block: enough blocks to keep the cores busy, each of enough rows for the products."""
    return min(ROWS, max(ROWS // 2, -(-count // (2 * threads.cores()))))


def columns_at_a_time(size: int) -> int:
    """Columns of a block that are multiplied, exponentiated and summed before the next."""
    return min(WIDTH, size)


def run(work: Callable[[int], None], blocks: int, lanes: int) -> None:
    """Do all blocks; where one is all, in the caller's thread."""
    if blocks == 1:
        threads.run_small(work)
    else:
        threads.run(work, blocks, lanes)


# --- exponentials within range


def shift(anchors: np.ndarray, candidates: np.ndarray, inverse: Any) -> float:
    """The least c >= 0 for which no sum of exp(a_i . b_j / tau - c) over candidates can overflow, embeddings included.

    No product is larger than the longest anchor times the longest candidate, so no maximum has to be searched: on the
    sphere c = 0 down to a temperature of about 1/75 in float32. Never 1 / tau itself: at 0.01 that would lose 862 of
    1,024 rows of random pairs to underflow.
    """
    longest = math.sqrt(_squares(candidates).max())
    squares = _squares(anchors)
    largest = math.sqrt((squares * inverse**2).max() if np.ndim(inverse) else squares.max() * inverse**2) * longest
    return shift_for(largest, max(longest, math.sqrt(squares.max())), len(candidates), anchors.dtype)


def shift_for(largest: float, longest: float, candidates: int, dtype: Any) -> float:
    """The same where the ``largest`` product there can be and the ``longest`` embedding are known."""
    room = math.log(np.finfo(dtype).max) - math.log(candidates) - 2.0
    room -= math.log(max(1.0, longest))  # what the exponentials are multiplied with next
    return max(0.0, largest - room)


def smallest_sum(dtype: Any) -> float:
    """A sum of exponentials below this has lost digits to underflow, and its row must be shifted by its own maximum."""
    limits = np.finfo(dtype)
    return float(limits.tiny / limits.eps)


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.vecdot(rows, rows)


# --- one row's loss


def settle(negatives: np.ndarray, shifted_by: Any, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses and couplings from the sums of exp(s - c) over negatives, c, and the positives' logits.

    ``L_i = softplus(lead_i)`` and ``1 - P_ii = sigmoid(lead_i)`` with ``lead = log(sum) + c - positive``, in float64:
    the negatives were summed apart, so nothing cancels when the positive wins by far.
    """
    lead = np.log(negatives, dtype=np.float64) + shifted_by - positives
    decay = np.exp(-np.abs(lead))
    return np.maximum(lead, 0) + np.log1p(decay), np.where(lead > 0, 1, decay) / (1 + decay)


# --- pairs that are left out


def fill_diagonal(tile: np.ndarray, offset: int, value: float) -> None:
    """Write ``value`` where the column is the row plus ``offset``, as far as that lies in the tile."""
    diagonal = tile.diagonal(offset)
    diagonal.flags.writeable = True  # a view, handed out for reading; positions in two arrays cost five times as much
    diagonal[...] = value


# --- symmetry


def in_one_place(*arrays: np.ndarray) -> bool:
    """Whether in each array all rows are one and the same."""
    return all(bool((rows[:, 0] == rows[0, 0]).all()) and bool((rows == rows[0]).all()) for rows in arrays)


def chance(candidates: int, *inputs: Any, gradient: bool) -> Found:
    """What follows where all embeddings are in one place: the loss is chance and its gradient 0, both exactly."""
    return Found(math.log(candidates), *(np.zeros_like(x) if gradient and x is not None else None for x in inputs))
