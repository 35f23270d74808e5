"""Losses that judge every pair by itself, without a softmax over the batch."""

from __future__ import annotations

from typing import Any

from hypercon.autograd import matmul, mean, softplus, transpose, where
from hypercon.autograd import sum as total
from hypercon.losses.common import one_hot, plain, views
from hypercon.temperature import check_temperature
from hypercon.validation import check_number, check_positive


def siglip(z1: Any, z2: Any, *, scale: Any = 10.0, bias: Any = -10.0, normalize: bool = True) -> Any:
    """Sigmoid loss: is this pair a positive or not, for each of the N x N pairs.

    ``-(1/N) sum_ij log sigmoid( y_ij (scale s_ij + bias) )`` with y = 1 on the diagonal and -1 elsewhere (Zhai et al.
    2023, eq. 1). The sum is divided by N, not by the number of pairs.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    scale : float or Tensor, default 10.0
        The inverse temperature, positive. A tensor is learned; the authors learn its logarithm.
    bias : float or Tensor, default -10.0
        Offsets the many negatives at the start. A tensor is learned.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the scale is not positive, or the bias is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> round(siglip(np.eye(2), np.eye(2)), 4)  # log 2 for each positive, almost nothing for the negatives
    0.6932
    """
    scale, bias = check_temperature(scale, "scale"), check_number(bias, "bias")
    u, v = views(z1, z2, normalize)
    logits = matmul(u, transpose(v)) * scale + bias
    return plain(total(softplus(where(one_hot(u.shape[0], logits), -logits, logits))) / u.shape[0])


def spectral(z1: Any, z2: Any, *, mu: float = 1.0, normalize: bool = True) -> Any:
    """Spectral contrastive loss: a matrix factorisation of who is a view of whom.

    ``-2 mean_i s_ii + mean_{i != j} s_ij^2`` (HaoChen et al. 2021, eq. 6). Its minimiser spans the leading eigenvectors
    of the augmentation graph.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    mu : float, default 1.0
        With ``normalize``, the squared radius of the sphere that rows are put onto.
    normalize : bool, default True
        Put rows onto the sphere first.

    Returns
    -------
    float or Tensor

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; ``mu`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> spectral(np.eye(3), np.eye(3))
    -2.0
    """
    u, v = views(z1, z2, normalize)
    radius = check_positive(mu, "mu") if normalize else 1.0
    count = u.shape[0]
    similarities = matmul(u, transpose(v)) * radius
    squares = where(one_hot(count, similarities), 0.0, similarities * similarities)
    return plain(-2 * radius * mean(total(u * v, axis=1)) + total(squares) / (count * (count - 1)))
