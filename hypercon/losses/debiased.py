"""Other denominators: without the positive, or corrected for negatives that are none.

All three take both views as one set of 2N anchors with 2N - 2 negatives each, as NT-Xent does.
"""

from __future__ import annotations

import math
from typing import Any

from hypercon.autograd import concatenate, exp, log, logsumexp, matmul, maximum, mean, softmax, transpose, where
from hypercon.autograd import max as largest
from hypercon.autograd import sum as total
from hypercon.autograd.ops import raw
from hypercon.errors import InputError
from hypercon.losses.common import column, for_both_views, plain, stacked_masks, views
from hypercon.temperature import check_temperatures
from hypercon.validation import check_number, check_positive


def dcl(z1: Any, z2: Any, *, temperature: Any, sigma: float | None = None, normalize: bool = True) -> Any:
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator.

    ``mean_i ( -w_i s_ip / tau + log sum_{j != i, p} exp(s_ij / tau) )`` (Yeh et al. 2022, eq. 4 and 6). In NT-Xent
    pull and push are both multiplied by ``1 - P_ip`` and die when the positive wins; here they do not, which helps
    small batches.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    sigma : float, optional
        Given, positives are weighted (DCLW): ``w = 2 - N softmax(s_ii / sigma)`` over the batch, so that pairs already
        close count less; the paper takes 0.5. Default: no weights, ``w = 1``.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        Of either sign: there is no positive to bound it.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; ``sigma`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> round(dcl(np.eye(3), np.eye(3), temperature=1.0), 4)  # log 4 - 1
    0.3863
    """
    u, v = views(z1, z2, normalize)
    positives, negatives = _logits(u, v, for_both_views(check_temperatures(temperature, u)))
    if sigma is None:
        return plain(mean(logsumexp(negatives, axis=1) - positives))
    weights = 2 - u.shape[0] * softmax(total(u * v, axis=1) / check_positive(sigma, "sigma", "0.5"))
    return plain(mean(logsumexp(negatives, axis=1) - concatenate([weights, weights]) * positives))


def debiased(z1: Any, z2: Any, *, temperature: Any, class_prior: float = 0.1, normalize: bool = True) -> Any:
    """NT-Xent corrected for the share of negatives that are of the anchor's own class.

    ``mean_i -log( e^{s_ip / tau} / (e^{s_ip / tau} + G_i) )`` with
    ``G_i = max( (sum_k e^{s_ik / tau} - K tau+ e^{s_ip / tau}) / (1 - tau+), K e^{-1 / tau} )`` over K = 2N - 2
    negatives (Chuang et al. 2020, eq. 7 and 8).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    class_prior : float, default 0.1
        tau+, the probability that a negative is of the anchor's class, in [0, 1). 0 gives NT-Xent.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the prior is not in [0, 1).

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> z = np.eye(3)
    >>> round(debiased(z, z, temperature=1.0, class_prior=0.0) - hc.nt_xent(z, z, temperature=1.0), 12)
    0.0
    """
    return hcl(z1, z2, temperature=temperature, beta=0.0, class_prior=class_prior, normalize=normalize)


def hcl(
    z1: Any,
    z2: Any,
    *,
    temperature: Any,
    beta: float = 1.0,
    class_prior: float = 0.1,
    normalize: bool = True,
) -> Any:
    """The debiased loss with negatives weighted by their hardness once more.

    In `debiased`, ``sum_k e^{s_ik / tau}`` becomes ``sum_k w_k e^{s_ik / tau}`` with
    ``w_k = e^{beta s_ik / tau} / mean_k e^{beta s_ik / tau}`` (Robinson et al. 2021, eq. 4, as in the authors' code,
    which lets the gradient through the weights).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    beta : float, default 1.0
        How much harder negatives count, at least 0; 0 gives `debiased`.
    class_prior : float, default 0.1
        tau+, the probability that a negative is of the anchor's class, in [0, 1).
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; ``beta`` is negative, or the prior is not in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> hcl(z, z, temperature=0.5, beta=1.0) > hcl(z, z, temperature=0.5, beta=0.0)
    True
    """
    prior, beta = float(check_number(class_prior, "class_prior")), float(check_number(beta, "beta"))
    if not 0 <= prior < 1:
        raise InputError(f"class_prior got {prior:g}, expected a probability from 0 to below 1, such as 0.1")
    if beta < 0:
        raise InputError(f"beta got {beta:g}, expected 0 or more")
    u, v = views(z1, z2, normalize)
    tau = for_both_views(check_temperatures(temperature, u))
    positives, negatives = _logits(u, v, tau)
    count = 2 * u.shape[0] - 2
    # exponentials relative to the largest logit of the row: neither overflows nor loses all of them
    top = maximum(positives, largest(negatives, axis=1))
    hardened = (1 + beta) * negatives
    log_sum = logsumexp(hardened, axis=1) - (logsumexp(beta * negatives, axis=1) - math.log(count) if beta else 0.0)
    found = exp(positives - top)
    corrected = (exp(log_sum - top) - count * prior * found) / (1 - prior)
    least = count * exp(-1 / tau - top)
    return plain(mean(log(found + maximum(corrected, least)) - positives + top))


def _logits(u: Any, v: Any, tau: Any) -> tuple[Any, Any]:
    """For 2N stacked anchors: the positive's logit, (2N,), and those of the negatives, -inf elsewhere, (2N, 2N)."""
    z = concatenate([u, v])
    logits = matmul(z, transpose(z)) / column(tau)
    positive, itself = stacked_masks(u.shape[0], raw(z))
    return total(where(positive, logits, 0.0), axis=1), where(positive | itself, -math.inf, logits)
