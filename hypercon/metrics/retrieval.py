"""Two views as a question and its answers: how often an instance finds itself, and whom it pushes away instead.

Everything here is computed in blocks of rows, so that no (N, N) matrix is held.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hypercon import threads
from hypercon.metrics.rows import pair_of_views

BLOCK = 2**19  # similarities that one thread holds at a time


def contrastive_accuracy(z1: Any, z2: Any) -> float:
    """How often the second view of an instance is the one nearest to its first: the task that the loss sets.

    Parameters
    ----------
    z1, z2 : array_like, (N, D)
        Embeddings of two views; row i of both is the same instance. Rows are put onto the sphere.

    Returns
    -------
    float
        Between 0 and 1; ``1 / N`` by chance. Of n candidates equally near one counts as ``1 / n`` found.

    Raises
    ------
    InputError, DtypeError
        The views are not (N, D) of one shape with finite, non-zero rows.

    Examples
    --------
    >>> z = np.eye(4)
    >>> contrastive_accuracy(z, z), contrastive_accuracy(z, z[[1, 0, 2, 3]]), contrastive_accuracy(z, np.ones((4, 4)))
    (1.0, 0.5, 0.25)
    """
    u, v = pair_of_views(z1, z2)
    found = np.empty(len(u))

    def judge(rows: slice, similarities: np.ndarray) -> None:
        own = similarities[np.arange(len(similarities)), np.arange(rows.start, rows.stop)][:, None]
        # products of the same rows differ in their last digits from block to block
        near = 4 * np.finfo(similarities.dtype).eps
        ahead = (similarities > own + near).any(axis=1)
        found[rows] = np.where(ahead, 0.0, 1 / (abs(similarities - own) <= near).sum(axis=1))

    over_rows(u, v, judge)
    return float(found.mean())


class Push(NamedTuple):
    """What pushes each anchor, (N,) each."""

    effective_negatives: np.ndarray  # exp of the entropy of the hardness weights
    on_own_class: np.ndarray | None  # share of the push that falls on the anchor's class
    own_class: np.ndarray | None  # share of the negatives that are of the anchor's class


def push(u: np.ndarray, v: np.ndarray, temperature: float, labels: np.ndarray | None) -> Push:
    """`hypercon.explain`'s hardness weights of InfoNCE, summed up row by row without holding them.

    ``u`` and ``v`` are checked views on the sphere.
    """
    effective, own = np.empty(len(u)), None if labels is None else np.empty(len(u))

    def weigh(rows: slice, similarities: np.ndarray) -> None:
        here = np.arange(len(similarities))
        similarities[here, here + rows.start] = -np.inf
        similarities -= similarities.max(axis=1, keepdims=True)
        similarities /= temperature
        weights = np.exp(similarities)
        sums = weights.sum(axis=1)
        similarities[here, here + rows.start] = 0  # its weight is 0, and 0 times -inf would be nan
        effective[rows] = np.exp(np.log(sums) - np.einsum("ij,ij->i", weights, similarities) / sums)
        if own is not None and labels is not None:
            same = labels[rows, None] == labels
            own[rows] = np.einsum("ij,ij->i", weights, same) / sums

    over_rows(u, v, weigh)
    if labels is None:
        return Push(effective, None, None)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return Push(effective, own, (counts[index] - 1) / (len(u) - 1))


def over_rows(u: np.ndarray, v: np.ndarray, work: Any) -> None:
    """Call ``work(rows, similarities)`` for blocks of rows of ``u v^T``, over the cores."""
    size = max(1, BLOCK // len(v))

    def block(i: int) -> None:
        rows = slice(i * size, min((i + 1) * size, len(u)))
        work(rows, u[rows] @ v.T)

    threads.run(block, -(-len(u) // size))
