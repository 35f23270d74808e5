"""Convolution and batch normalisation on the CPU, strip by strip over the cores.

The formulas are those of convolution.py and normalization.py; what differs is the order of the work. With the image
index last in memory, a run of output positions is one matrix with a channel in each row, so a strip needs no more than
its own columns, which stay in the cache, and its product is written where it belongs. Nothing of the size of all
columns ever exists. Sums over strips are taken in their order, so the number of threads changes no bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hypercon import memory, threads

COLUMNS = 4 * 2**20  # bytes of a strip's columns: fewer starve the product, more leave the cache
RUN = 2**18  # numbers that are normalised at a time: they stay in the cache
LONG = 2**10  # numbers of a channel, from which on its row is worth a call of its own

Offset = tuple[int, int]


def serve(array: Any, kernels: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
    """Whether a convolution goes in strips: on the CPU, if its columns are more than fill one.

    The shapes are those of the kernels, (K, C, kh, kw), and of the result, (N, K, H, W).
    """
    columns = math.prod(kernels[1:]) * outputs[0] * math.prod(outputs[2:])
    return type(array) is np.ndarray and columns * array.itemsize > COLUMNS


# --- layout


def image_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as a contiguous (C, H, W, N): without copying where a convolution left it."""
    turned = x.transpose(1, 2, 3, 0)
    if turned.flags.c_contiguous:
        return turned
    out = memory.empty(turned.shape, x.dtype)
    if turned.strides[1:3] == (0, 0):  # one value for a whole image: the few numbers are turned, then repeated
        turned = np.ascontiguousarray(turned[:, :1, :1])
    np.copyto(out, turned)
    return out


def image_first(x: np.ndarray) -> np.ndarray:
    """(C, H, W, N) shown as (N, C, H, W)."""
    return x.transpose(3, 0, 1, 2)


class Strip(NamedTuple):
    """A run of positions in (H, W, N) that is one run in memory."""

    rows: slice
    columns: slice
    images: slice

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns, images = (part.stop - part.start for part in self)
        return rows, columns, images

    def of(self, x: np.ndarray) -> np.ndarray:
        """The strip of a contiguous (C, H, W, N) as a matrix with a channel in each row: a view."""
        part = x[:, self.rows, self.columns, self.images]
        return part.reshape(len(part), math.prod(self.shape))


def strips(shape: tuple[int, int, int], most: int) -> list[Strip]:
    """(height, width, images) cut into runs of about ``most`` positions."""
    height, width, images = shape
    if 0 in shape:
        return []
    most = max(most, 1)
    at_once = (max(1, most // (width * images)), max(1, most // images), most)
    rows = _cut(height, at_once[0])
    columns = _cut(width, at_once[1] if at_once[0] == 1 else width)
    pieces = _cut(images, at_once[2] if at_once[1] == 1 else images)
    return [Strip(*part) for part in itertools.product(rows, columns, pieces)]


def _cut(length: int, most: int) -> list[slice]:
    """``length`` in equal parts of at most ``most``, but for rounding."""
    count = -(-length // min(most, length))
    ends = [length * i // count for i in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def gathered(x: np.ndarray, strip: Strip, offsets: Sequence[Offset], stride: int, out: np.ndarray) -> np.ndarray:
    """im2col of one strip: for each offset the channels that lie there from its positions, rows (offset, channel).

    Position (r, c) and offset (i, j) read ``x[:, stride * r + i, stride * c + j]``, or zero outside the image.
    """
    blocks = out[: len(offsets) * len(x) * math.prod(strip.shape)].reshape(len(offsets), len(x), *strip.shape)
    for block, (down, right) in zip(blocks, offsets, strict=True):
        inside, read = [slice(None)], [slice(None)]
        for axis, (run, offset) in enumerate(((strip.rows, down), (strip.columns, right)), start=1):
            first, last = _inside(run, offset, stride, x.shape[axis])
            inside.append(slice(first, last))
            start = stride * (run.start + first) + offset
            read.append(slice(start, start + stride * (last - first - 1) + 1, stride))
        rows, columns = inside[1:]
        if rows.start >= rows.stop or columns.start >= columns.stop:
            block[...] = 0
            continue
        block[:, : rows.start] = 0
        block[:, rows.stop :] = 0
        block[:, rows, : columns.start] = 0
        block[:, rows, columns.stop :] = 0
        block[tuple(inside)] = x[(*read, strip.images)]
    return blocks.reshape(len(offsets) * len(x), math.prod(strip.shape))


def _inside(run: slice, offset: int, stride: int, length: int) -> tuple[int, int]:
    """Which part of a run reads inside an axis of that length: first, and one behind the last."""
    first = max(run.start, -(offset // stride))
    last = min(run.stop, (length - 1 - offset) // stride + 1)
    return first - run.start, last - run.start


def _kernel_offsets(kernel: tuple[int, int], padding: int) -> list[Offset]:
    return [(i - padding, j - padding) for i in range(kernel[0]) for j in range(kernel[1])]


def _over_strips(shape: tuple[int, int, int], rows: int, dtype: Any) -> tuple[list[Strip], int]:
    """Strips whose columns, ``rows`` numbers each, fill `COLUMNS`; and how many numbers the longest has."""
    found = strips(shape, COLUMNS // (max(rows, 1) * np.dtype(dtype).itemsize))
    return found, rows * max((math.prod(strip.shape) for strip in found), default=0)


# --- convolution and its two adjoints


def convolved(x: np.ndarray, w: np.ndarray, out: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """Images with kernels: each strip of the result is the kernels times the columns that it is made from."""
    dtype = np.result_type(x, w)
    x, kernels = image_last(x.astype(dtype, copy=False)), _as_rows(w, dtype)
    y = memory.empty((len(kernels), *out, x.shape[-1]), dtype)
    offsets = _kernel_offsets(w.shape[2:], padding)
    todo, longest = _over_strips(y.shape[1:], kernels.shape[1], dtype)

    def work(i: int) -> None:
        columns = gathered(x, todo[i], offsets, stride, memory.empty((longest,), dtype))
        np.matmul(kernels, columns, out=todo[i].of(y))

    threads.run(work, len(todo))
    return image_first(y)


def by_kernel(y: np.ndarray, x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """The adjoint in the kernels: outputs against the columns that they were made from, summed over strips."""
    dtype = np.result_type(x, y)
    x, y = image_last(x.astype(dtype, copy=False)), image_last(y.astype(dtype, copy=False))
    offsets = _kernel_offsets(kernel, padding)
    rows = len(offsets) * len(x)
    todo, longest = _over_strips(y.shape[1:], rows, dtype)
    parts = memory.empty((len(todo), len(y), rows), dtype)

    def work(i: int) -> None:
        columns = gathered(x, todo[i], offsets, stride, memory.empty((longest,), dtype))
        np.matmul(todo[i].of(y), columns.T, out=parts[i])

    threads.run(work, len(todo))
    return parts.sum(axis=0).reshape(len(y), *kernel, len(x)).transpose(0, 3, 1, 2)


def by_image(y: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """The adjoint in the images: each pixel gathers from the outputs that it went into.

    Pixels whose places differ by a multiple of the stride met the same entries of the kernel: they are one phase. A
    pixel of phase (a, b), number (q, r) of it, sums over outputs (q + i, r + j) for a few offsets (i, j), and what lies
    at an offset is gathered once for all phases.
    """
    dtype = np.result_type(y, w)
    y = image_last(y.astype(dtype, copy=False))
    channels, images = w.shape[1], y.shape[-1]
    x = memory.empty((channels, *size, images), dtype)
    phases = [_phases(length, k, stride, padding) for length, k in zip(size, w.shape[2:], strict=True)]
    rows, columns = (sorted({offset for _, taps in axis for _, offset in taps}) for axis in phases)
    offsets = list(itertools.product(rows, columns))
    products = []
    for (top, down), (left, right) in itertools.product(*phases):
        taken = {(i, j): w[:, :, a, b] for a, i in down for b, j in right}
        if not taken:
            x[:, top::stride, left::stride] = 0
            continue
        # one product with the offsets from the first to the last that it needs; those between count for nothing
        at = [offsets.index(offset) for offset in taken]
        first, last = min(at), max(at) + 1
        entries = np.zeros((channels, last - first, len(y)), dtype)
        for offset, entry in taken.items():
            entries[:, offsets.index(offset) - first] = entry.T
        products.append((top, left, slice(first * len(y), last * len(y)), entries.reshape(channels, -1)))
    whole = (-(-size[0] // stride), -(-size[1] // stride), images)
    todo, longest = _over_strips(whole, len(offsets) * len(y), dtype)

    def work(i: int) -> None:
        strip = todo[i]
        found = gathered(y, strip, offsets, 1, memory.empty((longest,), dtype))
        for top, left, needed, entries in products:
            if stride == 1:
                np.matmul(entries, found[needed], out=strip.of(x))
                continue
            mine = x[:, top::stride, left::stride][:, strip.rows, strip.columns, strip.images]
            part = memory.empty((channels, found.shape[1]), dtype)
            part = np.matmul(entries, found[needed], out=part).reshape(channels, *strip.shape)
            np.copyto(mine, part[:, : mine.shape[1], : mine.shape[2]])  # the last of a phase may lie outside

    threads.run(work, len(todo))
    return image_first(x)


def _phases(length: int, kernel: int, stride: int, padding: int) -> list[tuple[int, list[Offset]]]:
    """For one axis: each phase's first pixel, and its kernel's entries with the offset of the output that each met."""
    found = []
    for first in range(min(stride, length)):
        # output r met pixel p through entry t where stride * r + t - padding = p
        taps = [(t, (first + padding - t) // stride) for t in range(kernel) if (first + padding - t) % stride == 0]
        found.append((first, taps))
    return found


def _as_rows(w: np.ndarray, dtype: Any) -> np.ndarray:
    """The kernels as rows in the order of the columns, (K, kh kw C)."""
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1), dtype).reshape(len(w), math.prod(w.shape[1:]))


# --- batch normalisation of images, with or without a ReLU behind it


def serve_channels(x: Any) -> bool:
    """Whether the channels of ``x`` are worked on here: images on the CPU, each channel one long row in memory."""
    if type(x) is not np.ndarray or x.ndim != 4 or x.size < LONG * x.shape[1]:
        return False
    return bool(x.transpose(1, 2, 3, 0).flags.c_contiguous)


def _channel_rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) with a channel in each row, (C, H W N)."""
    return image_last(x).reshape(x.shape[1], -1)


class _Part(NamedTuple):
    """Some of the numbers of some channels, and room of the same size to work in."""

    channels: slice
    place: tuple[slice, slice]
    room: np.ndarray

    def centred(self, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return np.subtract(rows[self.place], mean[self.channels, None], out=self.room)


def _over_channels(work: Callable[[slice, list[_Part]], None], rows: np.ndarray) -> None:
    """Call ``work(channels, parts)`` for every group of channels; each part has about `RUN` numbers."""
    columns = _cut(rows.shape[1], RUN)
    groups = _cut(len(rows), max(1, RUN // rows.shape[1]))

    def group(i: int) -> None:
        channels = groups[i]
        room = memory.empty((channels.stop - channels.start, min(rows.shape[1], RUN)), rows.dtype)
        work(channels, [_Part(channels, (channels, part), room[:, : part.stop - part.start]) for part in columns])

    threads.run(group, len(groups))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel, (C,) each."""
    rows = _channel_rows(x)
    ones, count = _ones(rows), rows.shape[1]
    mean, var = np.empty((2, len(rows)), x.dtype)

    def work(channels: slice, parts: list[_Part]) -> None:
        mean[channels] = sum(_dots(rows[part.place], ones) for part in parts) / count
        var[channels] = sum(_dots(centred := part.centred(rows, mean), centred) for part in parts) / count

    _over_channels(work, rows)
    return mean, var


def normalized(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, gamma: Any, beta: Any, relu: bool) -> np.ndarray:
    """``gamma * (x - mean) * scale + beta``, cut off at 0 with ``relu``; all but x are (C,), or numbers."""
    rows = _channel_rows(x)
    out, zeros = memory.empty(rows.shape, x.dtype), 0 * _ones(rows)
    gain = gamma * scale
    shift = (beta - gain * mean).astype(x.dtype)  # taken off afterwards, the mean costs no pass of its own

    def work(channels: slice, parts: list[_Part]) -> None:
        for part in parts:
            mine = out[part.place]
            np.multiply(rows[part.place], gain[channels, None], out=mine)
            mine += shift[channels, None]
            if relu:  # NumPy compares with an array three times as fast as with one number
                np.maximum(mine, zeros[: mine.shape[1]], out=mine)

    _over_channels(work, rows)
    return _as_images(out, x.shape)


def by_normalized(
    g: np.ndarray, out: np.ndarray, x: np.ndarray, mean: np.ndarray, scale: np.ndarray, gamma: Any, relu: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cotangents of x, gamma and beta from that of `normalized`'s result ``out``.

    What the ReLU let pass loses its mean and its component along the standardised values; those two sums over a channel
    are also the cotangents of beta and gamma.
    """
    cotangents, results, rows = _channel_rows(g), _channel_rows(out), _channel_rows(x)
    dx, ones, count, gain = memory.empty(rows.shape, x.dtype), _ones(rows), rows.shape[1], gamma * scale
    by_gamma, by_beta = np.empty((2, len(rows)), x.dtype)
    passed = dx if relu else cotangents

    def work(channels: slice, parts: list[_Part]) -> None:
        total: Any = 0.0
        along: Any = 0.0
        for part in parts:
            if relu:
                np.multiply(cotangents[part.place], results[part.place] > 0, out=dx[part.place])
            total += _dots(passed[part.place], ones)
            along += _dots(passed[part.place], part.centred(rows, mean))
        by_beta[channels], by_gamma[channels] = total, along * scale[channels]
        share = by_gamma[channels] * scale[channels] * gain[channels] / count
        rest = share * mean[channels] - by_beta[channels] * gain[channels] / count
        for part in parts:
            mine = dx[part.place]
            np.multiply(passed[part.place], gain[channels, None], out=mine)
            mine -= np.multiply(rows[part.place], share[:, None], out=part.room)
            mine += rest[:, None]

    _over_channels(work, rows)
    return _as_images(dx, x.shape), by_gamma, by_beta


def _ones(rows: np.ndarray) -> np.ndarray:
    """For the sums of parts of rows: a dot product with ones takes half the time of sum()."""
    return np.ones(min(rows.shape[1], RUN), rows.dtype)


def _dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.vecdot(x, y[..., : x.shape[1]]).astype(np.float64)  # parts of a row are added up without rounding


def _as_images(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return image_first(rows.reshape(*shape[1:], shape[0]))
