"""Labels as positives: the loss that has no dilemma, because it is told who belongs together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.autograd import concatenate, log_softmax, matmul, mean, transpose, where
from hypercon.autograd.ops import raw
from hypercon.backend import device_of, to_device
from hypercon.losses.common import column, for_both_views, mean_where, plain, stacked_masks, views
from hypercon.temperature import check_temperatures
from hypercon.validation import check_labels, check_positive


def sup_con(
    z1: Any,
    z2: Any,
    labels: Any,
    *,
    temperature: Any,
    base_temperature: float | None = None,
    normalize: bool = True,
) -> Any:
    """Supervised contrastive loss: every embedding of the anchor's class, in either view, is a positive.

    ``mean_i -1/|P(i)| sum_{p in P(i)} log( e^{s_ip / tau} / sum_{a != i} e^{s_ia / tau} )`` over the 2N anchors (Khosla
    et al. 2020, eq. 2, L_out). With all labels different it is `hypercon.nt_xent`.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    labels : array_like of int, (N,)
        Classes of the instances.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    base_temperature : float, optional
        Given, the loss is multiplied by ``tau / base_temperature``, as the authors' code does (with 0.07). It changes
        the scale of the loss and of its gradient, nothing else; a loss of equal embeddings is then no longer
        ``log(2N - 1)``.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the labels have another length or are no whole numbers.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> z = np.eye(3)
    >>> round(sup_con(z, z, [0, 1, 2], temperature=1.0) - hc.nt_xent(z, z, temperature=1.0), 12)
    0.0
    """
    u, v = views(z1, z2, normalize)
    tau = for_both_views(check_temperatures(temperature, u))
    scale = 1.0 if base_temperature is None else tau / check_positive(base_temperature, "base_temperature", "0.07")
    classes = np.tile(check_labels(labels, u.shape[0]), 2)
    z = concatenate([u, v])
    _, itself = stacked_masks(u.shape[0], z)
    positive = to_device(classes[:, None] == classes[None, :], device_of(raw(z))) & ~itself
    log_p = log_softmax(where(itself, -math.inf, matmul(z, transpose(z)) / column(tau)), axis=1)
    return plain(-mean(scale * mean_where(positive, log_p)))
