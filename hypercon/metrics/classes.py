"""How near an embedding keeps what belongs together: tolerance, its gap, and what all pairs have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hypercon.errors import InputError
from hypercon.metrics.rows import directions_of, pair_count
from hypercon.validation import check_flag, check_labels


def tolerance(z: Any, labels: Any, *, literal: bool = False) -> float:
    """The mean similarity of pairs of the same class: how close the embedding keeps what belongs together.

    Wang & Liu 2021, eq. 11, as their Table 1 reports it: the mean over same-class pairs (i != j), not over all pairs.
    A direction common to all embeddings raises it (`mean_similarity` says by how much), and all points in one place
    have tolerance 1. So it means little alone; see `tolerance_gap`.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    labels : array_like of int, (N,)
    literal : bool, default False
        Eq. 11 as printed: the mean over all pairs of the similarity times whether the classes agree. It cannot exceed
        the share of same-class pairs, which is about 0.1 for ten classes; Table 1 has 0.61.

    Returns
    -------
    float
        Between -1 and 1; ``literal`` is this times the share of same-class pairs.

    Raises
    ------
    InputError, DtypeError
        Bad embeddings or labels, or no two embeddings share a class.

    Examples
    --------
    >>> z = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> tolerance(z, [0, 0, 1]), round(tolerance(z, [0, 0, 1], literal=True), 4)
    (1.0, 0.3333)
    """
    literal = check_flag(literal, "literal")
    pairs = similarities_of_pairs(z, labels)
    return pairs.within / (pairs.same + pairs.other if literal else pairs.same)


def tolerance_gap(z: Any, labels: Any) -> float:
    """Mean similarity of same-class pairs minus that of other-class pairs.

    A direction common to all embeddings raises every similarity, and with it `tolerance`. What it adds to all alike
    cancels in the gap. What it takes does not: if it holds the share a of every embedding's squared length, the rest
    keeps 1 - a, and so does the gap, while tolerance goes from T to a + (1 - a) T.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    labels : array_like of int, (N,)

    Returns
    -------
    float
        Between -2 and 2; 0 where classes play no role. Balanced classes reach at most ``C / (C - 1)``, each in one
        place and these places as far apart as can be.

    Raises
    ------
    InputError, DtypeError
        As `tolerance`, or there is only one class.

    Examples
    --------
    >>> tolerance_gap(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), [0, 0, 1])
    1.0
    """
    pairs = similarities_of_pairs(z, labels)
    if pairs.other == 0:
        raise InputError(
            "labels: all embeddings are of one class, expected at least two classes for a gap between them"
        )
    return pairs.within / pairs.same - pairs.between / pairs.other


def tolerance_by_class(z: Any, labels: Any) -> dict[int, float]:
    """`tolerance` of each class: which are kept together, and which are torn apart.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    labels : array_like of int, (N,)

    Returns
    -------
    dict from int to float
        By label, in rising order; classes with a single member have no pair and are left out. Weighted by their numbers
        of pairs, their mean is `tolerance`.

    Raises
    ------
    InputError, DtypeError
        As `tolerance`.

    Examples
    --------
    >>> tolerance_by_class(np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), [4, 4, 2, 2, 9])
    {2: 0.0, 4: 1.0}
    """
    pairs = similarities_of_pairs(z, labels)
    return {
        int(c): float(total) / pair_count(int(count))
        for c, count, total in zip(pairs.classes, pairs.counts, pairs.by_class, strict=True)
        if count > 1
    }


def mean_similarity(z: Any) -> float:
    """The mean similarity of all pairs (i != j): what `tolerance` is where classes play no role.

    It is about the share of the embeddings' squared length that lies in a direction common to all: near 0 if they
    spread around the origin, near 1 in a narrow cone.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.

    Returns
    -------
    float
        Between ``-1 / (N - 1)`` and 1.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows.

    Examples
    --------
    >>> round(mean_similarity(np.eye(3) + 1), 4)
    0.8333
    """
    z = directions_of(z)
    return _sum_over_pairs(z) / pair_count(len(z))


class Pairs(NamedTuple):
    """Sums of similarities over ordered pairs i != j, and how many pairs each is over."""

    within: float  # over pairs of the same class
    between: float  # over pairs of two classes
    same: int
    other: int
    classes: np.ndarray  # (C,)
    counts: np.ndarray  # (C,) members
    by_class: np.ndarray  # (C,) over pairs of the class


def similarities_of_pairs(z: Any, labels: Any) -> Pairs:
    """Similarities added up within and between classes, in time linear in N; refused if no class has a pair."""
    z = directions_of(z)
    classes, index, counts = np.unique(check_labels(labels, len(z)), return_inverse=True, return_counts=True)
    # sums over classes instead of all pairs: |sum of a class|^2 is the sum of its pairs' similarities, self-pairs
    # included
    by_class = np.array([_sum_over_pairs(z[index == c]) for c in range(len(classes))])
    within = float(by_class.sum())
    same = sum(pair_count(int(count)) for count in counts)
    if same == 0:
        raise InputError("labels: no two embeddings share a class, expected at least one pair of the same class")
    other = pair_count(len(z)) - same
    return Pairs(within, _sum_over_pairs(z) - within, same, other, classes, counts, by_class)


def _sum_over_pairs(z: np.ndarray) -> float:
    total = z.sum(axis=0)
    return float(total @ total) - float(np.einsum("nd,nd->", z, z))
