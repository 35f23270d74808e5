"""Which images make up each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hypercon.errors import InputError
from hypercon.validation import check_generator, check_whole


def batches(count: int, batch_size: int, *, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of the batches of one epoch: every instance at most once, in random order.

    Parameters
    ----------
    count : int
        How many instances there are.
    batch_size : int
        From 2 to ``count``. What remains after the last full batch is left out: the loss depends on the batch size.
    rng : numpy.random.Generator

    Yields
    ------
    ndarray of int, (batch_size,)

    Raises
    ------
    InputError, DtypeError
        The batch size does not lie between 2 and ``count``.

    Examples
    --------
    >>> [len(b) for b in batches(10, 4, rng=np.random.default_rng(0))]
    [4, 4]
    """
    count = check_whole(count, "count", least=2, why="a contrastive batch needs a negative")
    batch_size = check_batch_size(batch_size, count)
    order = check_generator(rng).permutation(count)
    return (order[start : start + batch_size] for start in range(0, count - batch_size + 1, batch_size))


def check_batch_size(batch_size: int, count: int) -> int:
    """Refuse a batch without a negative, and one larger than the data set."""
    size = check_whole(batch_size, "batch_size", least=2, why="a contrastive batch needs a negative")
    if size > count:
        raise InputError(f"batch_size got {size}, expected 2 to {count}, the number of images")
    return size
