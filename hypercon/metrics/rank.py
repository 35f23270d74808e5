"""How many dimensions an embedding fills: what uniformity of pairs does not see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.metrics.rows import directions_of, rows_of
from hypercon.validation import check_flag


def effective_rank(z: Any, *, normalize: bool = True, centred: bool = False) -> float:
    """The number of dimensions that an embedding fills evenly, as a continuous measure.

    ``exp(-sum_k p_k log p_k)`` with ``p_k`` the k-th singular value's share of their sum (Roy & Vetterli 2007; RankMe,
    Garrido et al. 2023, eq. 1, without its small constant). It needs no labels, and sees the collapse of dimensions
    that `uniformity` hardly notices.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings, or features of any layer.
    normalize : bool, default True
        Put rows onto the unit sphere first. False takes features as they are.
    centred : bool, default False
        Subtract the mean of the rows first. RankMe does not; with a direction common to all embeddings, which counts
        as one large dimension, the centred value is higher.

    Returns
    -------
    float
        From 1 to ``min(N, D)``, which few points never reach: N random points give less. 1 too where, centred, nothing
        is left.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows.

    Examples
    --------
    >>> round(effective_rank(np.eye(5)), 4), round(effective_rank(np.array([[1.0, 1.0], [2.0, 2.0]])), 4)
    (5.0, 1.0)
    """
    on_sphere = check_flag(normalize, "normalize")
    rows = directions_of(z) if on_sphere else rows_of(z, directions=False)
    if check_flag(centred, "centred"):
        rows = rows - rows.mean(axis=0)
    values = np.linalg.svd(rows, compute_uv=False)
    if values[0] <= np.finfo(np.float64).eps * math.sqrt(len(rows)):
        return 1.0
    shares = values / values.sum()
    shares = shares[shares > np.finfo(np.float64).eps]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def wasserstein_uniformity(z: Any) -> float:
    """The distance of an embedding's mean and covariance from those of the uniform distribution on the sphere: lower
    is more uniform.

    The 2-Wasserstein distance between Gaussians, ``sqrt( |mu|^2 + 1 + tr Sigma - (2 / sqrt D) tr Sigma^(1/2) )`` (Fang
    et al. 2024, eq. 6), where the uniform distribution has mean 0 and covariance I / D. Unlike `uniformity` it notices
    dimensions that are empty or copies of others.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.

    Returns
    -------
    float
        From 0, for mean and covariance of the uniform distribution, to ``sqrt(2)``, for a single point.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows.

    Examples
    --------
    >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(wasserstein_uniformity(square), 6), round(wasserstein_uniformity(np.ones((3, 2))), 4)
    (0.0, 1.4142)
    """
    rows = directions_of(z)
    mean = rows.mean(axis=0)
    # the roots of the covariance's eigenvalues are the singular values of the centred rows over sqrt(N)
    deviations = np.linalg.svd(rows - mean, compute_uv=False) / math.sqrt(len(rows))
    square = (mean**2).sum() + 1 + (deviations**2).sum() - 2 / math.sqrt(rows.shape[1]) * deviations.sum()
    return math.sqrt(max(0.0, float(square)))
