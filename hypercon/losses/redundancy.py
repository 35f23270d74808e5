"""Losses on the dimensions instead of the instances: make views agree, and keep dimensions from repeating each other.

Embeddings are not put onto the sphere here; each dimension is looked at over the batch.
"""

from __future__ import annotations

from typing import Any

from hypercon.autograd import matmul, mean, relu, transpose, var, where
from hypercon.autograd import sum as total
from hypercon.losses.common import one_hot, plain, views
from hypercon.validation import check_positive


def barlow_twins(z1: Any, z2: Any, *, weight: float = 5e-3, eps: float = 1e-5) -> Any:
    """Make the cross-correlation of two views the identity matrix.

    ``sum_d (1 - C_dd)^2 + weight sum_{d != e} C_de^2`` with C the correlation of dimension d of one view with
    dimension e of the other over the batch (Zbontar et al. 2021, eq. 1 and 2).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    weight : float, default 5e-3
        lambda, of the entries off the diagonal.
    eps : float, default 1e-5
        Added to each variance, as batch normalisation does.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        The views are not (N, D) of one shape with finite rows, or the weight is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(barlow_twins(z, z), 6), round(barlow_twins(z, -z), 4)
    (0.0, 7.9999)
    """
    weight, eps = check_positive(weight, "weight", "5e-3"), check_positive(eps, "eps", "1e-5")
    u, v = views(z1, z2, False)
    count, dim = u.shape
    correlation = matmul(transpose(_standardised(u, eps)), _standardised(v, eps)) / count
    on_diagonal = one_hot(dim, correlation)
    return plain(total(where(on_diagonal, (1 - correlation) ** 2, weight * correlation**2)))


def vicreg(
    z1: Any,
    z2: Any,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
) -> Any:
    """Variance, invariance and covariance: views agree, dimensions stay alive, and do not repeat each other.

    ``invariance MSE(z1, z2) + variance (v(z1) + v(z2)) + covariance (c(z1) + c(z2))`` with
    ``v(z) = mean_d max(0, 1 - sqrt(var_d + eps))`` and ``c(z) = sum_{d != e} Cov_de^2 / D`` (Bardes et al. 2022, eq. 1
    to 6). The MSE is over rows: ``mean_i |z1_i - z2_i|^2``. The authors' code averages it over dimensions too and
    halves v; libraries differ in both.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    invariance, variance, covariance : float
        Weights of the three parts.
    eps : float, default 1e-4
        Added to each variance before its root.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        The views are not (N, D) of one shape with finite rows, or a weight is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> vicreg(z, z)
    0.0
    """
    weights = [
        check_positive(value, name, "25")
        for value, name in [(invariance, "invariance"), (variance, "variance"), (covariance, "covariance")]
    ]
    eps = check_positive(eps, "eps", "1e-4")
    u, v = views(z1, z2, False)
    parts = [
        mean(total((u - v) ** 2, axis=1)),
        _collapse(u, eps) + _collapse(v, eps),
        _repetition(u) + _repetition(v),
    ]
    return plain(weights[0] * parts[0] + weights[1] * parts[1] + weights[2] * parts[2])


def _standardised(z: Any, eps: float) -> Any:
    return (z - mean(z, 0, keepdims=True)) / (var(z, 0, keepdims=True) + eps) ** 0.5


def _collapse(z: Any, eps: float) -> Any:
    """How far the dimensions' standard deviations lie below 1, on average; variances divide by N - 1."""
    count = z.shape[0]
    return mean(relu(1 - (var(z, 0) * (count / (count - 1)) + eps) ** 0.5))


def _repetition(z: Any) -> Any:
    """The squared covariances of different dimensions, summed, for each dimension."""
    centred = z - mean(z, 0, keepdims=True)
    matrix = matmul(transpose(centred), centred) / (z.shape[0] - 1)
    return total(where(one_hot(z.shape[1], matrix), 0.0, matrix**2)) / z.shape[1]
