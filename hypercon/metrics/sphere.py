"""How embeddings lie on the sphere: uniformity with its exact floor, alignment, tolerance and its gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hypercon.autograd import logsumexp
from hypercon.autograd.ops import raw
from hypercon.backend import to_host
from hypercon.errors import InputError
from hypercon.losses import alignment_loss, uniformity_loss
from hypercon.metrics.rows import directions_of
from hypercon.validation import as_array, check_labels, check_positive, check_whole


def uniformity(z: Any, t: float = 2.0) -> Any:
    """How evenly embeddings cover the sphere: higher is more uniform.

    ``-log mean_{i != j} exp(-t |z_i - z_j|^2)``, the negative of the uniformity loss of Wang & Isola 2020 (section
    4.1.2), as Wang & Liu 2021 plot it. On the sphere the kernel is ``exp(2t s)`` up to a constant: that of a
    contrastive loss with temperature ``1 / (2t)``. So ``t`` is a scale, and a number without its ``t`` says little.

    Parameters
    ----------
    z : array_like or Tensor, (N, D)
        Embeddings; rows are put onto the sphere.
    t : float, default 2.0
        The kernel's sharpness, positive.

    Returns
    -------
    float or Tensor
        Between 0 (all in one point) and about ``-uniformity_floor(D, t)``; it may exceed that slightly, because pairs
        of an embedding with itself are left out.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows, or ``t`` is not positive.

    Examples
    --------
    >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(uniformity(square), 4)
    4.3963
    """
    return -uniformity_loss(z, t=t)


def uniformity_floor(dim: int, t: float = 2.0) -> float:
    """The exact minimum of the uniformity loss over all distributions on the sphere: that of the uniform one.

    ``-2t + log 0F1(; D/2; t^2)`` (Wang & Isola 2020, Corollary 1). `uniformity` reports the negative of the loss, so
    ``-uniformity_floor`` is the most it approaches with many points.

    Parameters
    ----------
    dim : int
        D, the number of dimensions of the embeddings, at least 2.
    t : float, default 2.0

    Returns
    -------
    float
        At most 0.

    Raises
    ------
    InputError
        ``dim`` is less than 2, or ``t`` is not positive.

    Examples
    --------
    >>> round(uniformity_floor(128), 4), round(uniformity_floor(3, t=1.0), 4)
    (-3.9375, -1.4048)
    """
    dim = check_whole(dim, "dim", least=2, why="a sphere in one dimension is two points")
    t = check_positive(t, "t")
    # the logarithm of the power series 0F1(; b; t^2) = sum_k t^2k / (k! (b)_k), from the terms around its largest one:
    # the others are less than rounding, and for a large t there would be very many
    b = dim / 2
    largest = max(0.0, math.hypot((b - 1) / 2, t) - (b + 1) / 2)  # where a term equals the next: t^2 = (k + 1) (b + k)
    reach = 15 * math.sqrt(largest + 1) + 60
    k = np.arange(max(0, int(largest - reach)), int(largest + reach), dtype=np.float64)
    first = 2 * k[0] * math.log(t) - math.lgamma(k[0] + 1) - math.lgamma(b + k[0]) + math.lgamma(b)
    steps = 2 * math.log(t) - np.log((k[1:]) * (b + k[1:] - 1))
    return float(-2 * t + logsumexp(first + np.concatenate([[0.0], np.cumsum(steps)])))


def uniformity_spectrum(z: Any, ts: Sequence[float]) -> np.ndarray:
    """`uniformity` at several sharpnesses: which scale of the distribution is even, and which is not.

    Parameters
    ----------
    z : array_like, (N, D)
    ts : sequence of float

    Returns
    -------
    ndarray, (len(ts),)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> uniformity_spectrum(rng.normal(size=(50, 3)), [1.0, 2.0]).round(2)
    array([1.32, 1.93])
    """
    if not isinstance(ts, list | tuple | np.ndarray) or as_array(ts, "ts").ndim != 1:
        raise InputError(f"ts got {type(ts).__name__}, expected several numbers such as [1.0, 2.0]")
    return np.array([float(uniformity(to_host(raw(z)), t)) for t in ts])


def alignment(z1: Any, z2: Any, alpha: float = 2.0) -> Any:
    """The mean distance of positive pairs to the power ``alpha``: lower is better aligned.

    ``mean_i |z1_i - z2_i|^alpha`` on the sphere (Wang & Isola 2020, section 4.1.1).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Two views; rows are put onto the sphere.
    alpha : float, default 2.0

    Returns
    -------
    float or Tensor
        Between 0 and ``2 ** alpha``.

    Raises
    ------
    InputError, DtypeError
        The views are not (N, D) of one shape with finite, non-zero rows, or ``alpha`` is not positive.

    Examples
    --------
    >>> alignment(np.eye(2), np.eye(2)[::-1])
    2.0
    """
    return alignment_loss(z1, z2, alpha=alpha)


def tolerance(z: Any, labels: Any) -> float:
    """The mean similarity of pairs of the same class: how close the embedding keeps what belongs together.

    Wang & Liu 2021, eq. 11, as their Table 1 reports it: the mean over same-class pairs (i != j), not over all pairs.
    All points in one place have tolerance 1, so it means little alone; see `tolerance_gap`.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    labels : array_like of int, (N,)

    Returns
    -------
    float
        Between -1 and 1.

    Raises
    ------
    InputError, DtypeError
        Bad embeddings or labels, or no two embeddings share a class.

    Examples
    --------
    >>> tolerance(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), [0, 0, 1])
    1.0
    """
    return _class_similarities(z, labels)[0]


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
        Between -2 and 2; 0 where classes play no role.

    Raises
    ------
    InputError, DtypeError
        As `tolerance`, or there is only one class.

    Examples
    --------
    >>> tolerance_gap(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), [0, 0, 1])
    1.0
    """
    same, other = _class_similarities(z, labels)
    if math.isnan(other):
        raise InputError(
            "labels: all embeddings are of one class, expected at least two classes for a gap between them"
        )
    return same - other


def _class_similarities(z: Any, labels: Any) -> tuple[float, float]:
    """Mean similarity of same-class pairs and of other-class pairs (nan where there are none)."""
    z = directions_of(z)
    classes = check_labels(labels, len(z))
    # sums over classes instead of all pairs: |sum of a class|^2 is the sum of its pairs' similarities, self-pairs
    # included
    names, index = np.unique(classes, return_inverse=True)
    counts = np.bincount(index)
    sums = np.zeros((len(names), z.shape[1]))
    np.add.at(sums, index, z)
    lengths = float((z * z).sum())
    within = float((sums * sums).sum()) - lengths
    everything = float(z.sum(axis=0) @ z.sum(axis=0)) - lengths
    same_pairs = int((counts * (counts - 1)).sum())
    other_pairs = len(z) * (len(z) - 1) - same_pairs
    if same_pairs == 0:
        raise InputError("labels: no two embeddings share a class, expected at least one pair of the same class")
    return within / same_pairs, (everything - within) / other_pairs if other_pairs else math.nan
