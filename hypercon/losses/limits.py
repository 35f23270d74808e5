"""Where InfoNCE goes as the temperature goes to 0 and to infinity."""

from __future__ import annotations

import math
from typing import Any

from hypercon.autograd import matmul, mean, relu, transpose, where
from hypercon.autograd import max as largest
from hypercon.losses.common import mean_where, one_hot, plain, views
from hypercon.temperature import check_temperatures


def triplet_limit(z1: Any, z2: Any, *, normalize: bool = True) -> Any:
    """What ``tau L`` of InfoNCE tends to as the temperature goes to 0: a triplet loss without margin.

    ``mean_i max(s_max - s_ii, 0)`` with s_max the largest negative similarity. Wang & Liu 2021, eq. 6, states the limit
    of L itself, where both sides grow without bound; ``tau L`` makes it exact, with an error of at most
    ``tau log N``. Only the nearest negative is pushed, and only while it is nearer than the positive.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        At least 0.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.eye(3)
    >>> triplet_limit(z, z), triplet_limit(z, z[::-1])  # all found; only the middle one found
    (0.0, 0.6666666666666666)
    """
    u, v = views(z1, z2, normalize)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    nearest = largest(where(positive, -math.inf, similarities), axis=1)
    return plain(mean(relu(nearest - mean_where(positive, similarities))))


def first_order_limit(z1: Any, z2: Any, *, temperature: Any, normalize: bool = True) -> Any:
    """What InfoNCE tends to as the temperature grows: its expansion to first order in ``1 / tau``.

    ``log N + (1 / (N tau)) mean_i ( -(N - 1) s_ii + sum_{k != i} s_ik )`` (Wang & Liu 2021, eq. 7, N counting the
    positive). The error falls as ``1 / tau^2``. Up to scale and offset it is `simple_loss`: no hardness is left.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> z = np.eye(3)
    >>> round(first_order_limit(z, z, temperature=100.0) - hc.info_nce(z, z, temperature=100.0), 6)
    -1.1e-05
    """
    u, v = views(z1, z2, normalize)
    tau = check_temperatures(temperature, u)
    similarities = matmul(u, transpose(v))
    count = u.shape[0]
    positive = one_hot(count, similarities)
    balance = mean_where(~positive, similarities) - mean_where(positive, similarities)
    return plain(math.log(count) + (count - 1) / count * mean(balance / tau))
