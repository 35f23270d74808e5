"""How near the two views of an instance are: alignment, over the batch and for each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.losses import alignment_loss
from hypercon.metrics.rows import pair_of_views
from hypercon.validation import check_labels, check_positive


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


def alignment_by_class(z1: Any, z2: Any, labels: Any, alpha: float = 2.0) -> dict[int, float]:
    """`alignment` of the members of each class: whose views the encoder keeps together, and whose it does not.

    Parameters
    ----------
    z1, z2 : array_like, (N, D)
        Two views; rows are put onto the sphere.
    labels : array_like of int, (N,)
    alpha : float, default 2.0

    Returns
    -------
    dict from int to float
        By label, in rising order. Weighted by the sizes of the classes, their mean is `alignment`.

    Raises
    ------
    InputError, DtypeError
        As `alignment`, or bad labels.

    Examples
    --------
    >>> alignment_by_class(np.eye(2), [[1.0, 0.0], [0.0, -1.0]], [7, 3])
    {3: 4.0, 7: 0.0}
    """
    alpha = check_positive(alpha, "alpha")
    u, v = pair_of_views(z1, z2)
    distances = np.linalg.norm(u - v, axis=1) ** alpha
    labels = check_labels(labels, len(u))
    return {int(c): float(distances[labels == c].mean()) for c in np.unique(labels)}
