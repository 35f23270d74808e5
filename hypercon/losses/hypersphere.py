"""Alignment and uniformity as losses of their own, and together (Wang & Isola 2020)."""

from __future__ import annotations

import math
from typing import Any

from hypercon.autograd import logsumexp, matmul, mean, norm, primitive, reshape, softmax, transpose, where
from hypercon.autograd import sum as total
from hypercon.losses import tiles
from hypercon.losses.common import one_hot, onto_sphere, plain, times, views, wants_gradient
from hypercon.validation import check_embeddings, check_flag, check_memory, check_positive


def alignment_loss(z1: Any, z2: Any, *, alpha: float = 2.0, normalize: bool = True) -> Any:
    """The mean distance of positive pairs to the power ``alpha``: 0 when both views coincide.

    ``mean_i |z1_i - z2_i|^alpha`` (Wang & Isola 2020, section 4.1.1). Alone it is minimised by a constant encoder.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    alpha : float, default 2.0
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        Between 0 and ``2 ** alpha`` on the sphere.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; ``alpha`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> alignment_loss(np.eye(2), np.eye(2)[::-1])
    2.0
    """
    alpha = check_positive(alpha, "alpha")
    u, v = views(z1, z2, normalize)
    offset = u - v
    # a length has a derivative where two views coincide; the root of its square has none
    return plain(mean(total(offset * offset, axis=1) if alpha == 2 else norm(offset, axis=1) ** alpha))


def uniformity_loss(z: Any, *, t: float = 2.0, normalize: bool = True, memory: Any = "auto") -> Any:
    """The logarithm of the mean Gaussian potential of all pairs: the lower, the more evenly the points are spread.

    ``log mean_{i != j} exp(-t |z_i - z_j|^2)`` (Wang & Isola 2020, section 4.1.2), as a stable log-mean-exp. Pairs of
    an embedding with itself are left out, as in the authors' code.

    Parameters
    ----------
    z : array_like or Tensor, (N, D)
    t : float, default 2.0
        The kernel's sharpness, positive.
    normalize : bool, default True
        Put rows onto the unit sphere first. Without, distances may have any size and the loss any negative value.
    memory : "auto" or int, default "auto"
        Bytes of working memory, as in `hypercon.info_nce`.

    Returns
    -------
    float or Tensor
        At most 0: all points in one place.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows, or ``t`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(uniformity_loss(square), 4)
    -4.3963
    """
    t, on_sphere, memory = check_positive(t, "t"), check_flag(normalize, "normalize"), check_memory(memory)
    z = check_embeddings(z, "z", directions=on_sphere)
    z = onto_sphere(z) if on_sphere else z
    return plain(_uniformity(z, t=t, on_sphere=on_sphere, gradient=wants_gradient(z), memory=memory))


def _uniformity_rule(
    g: Any, out: Any, saved: Any, z: Any, *, t: float, on_sphere: bool, **division: Any
) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    weights = softmax(reshape(_exponents(z, t, on_sphere), (1, -1)), axis=1)
    weights = reshape(weights, (z.shape[0], z.shape[0])) * g
    if on_sphere:
        return (4 * t * matmul(weights, z),)
    return (4 * t * (matmul(weights, z) - total(weights, axis=1, keepdims=True) * z),)


@primitive(fused=_uniformity_rule)
def _uniformity(z: Any, *, t: float, on_sphere: bool, gradient: bool = True, memory: Any = "auto") -> tuple[Any, Any]:
    if tiles.serve(z):
        found = tiles.potential(z, t, on_sphere=on_sphere, gradient=gradient, memory=memory)
        return z.dtype.type(found.loss), (found.by_anchors,)
    count = z.shape[0]
    return logsumexp(_exponents(z, t, on_sphere)) - math.log(count * (count - 1)), None


def _exponents(z: Any, t: float, on_sphere: bool) -> Any:
    """-t |z_i - z_j|^2 for all pairs, (N, N), and -inf for an embedding with itself."""
    if on_sphere:
        exponents = 2 * t * (matmul(z, transpose(z)) - 1)  # |x - y|^2 = 2 - 2s there
    else:
        squares = total(z * z, axis=1, keepdims=True)
        exponents = -t * (squares + transpose(squares) - 2 * matmul(z, transpose(z)))
    return where(one_hot(z.shape[0], exponents), -math.inf, exponents)


def align_uniform(
    z1: Any,
    z2: Any,
    *,
    align_weight: float = 1.0,
    uniform_weight: float = 1.0,
    alpha: float = 2.0,
    t: float = 2.0,
    normalize: bool = True,
) -> Any:
    """Alignment of the positives plus uniformity of each view.

    ``w_a L_align + w_u (L_uniform(z1) + L_uniform(z2)) / 2`` (Wang & Isola 2020, section 5.1). Pairs across the views
    do not enter uniformity: they are drawn from another distribution.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    align_weight, uniform_weight : float, default 1.0
    alpha : float, default 2.0
        Of `alignment_loss`.
    t : float, default 2.0
        Of `uniformity_loss`.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor

    Raises
    ------
    InputError, DtypeError
        As the two parts; a weight is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> align_uniform(np.eye(2), np.eye(2))
    -4.0
    """
    align_weight = check_positive(align_weight, "align_weight")
    uniform_weight = check_positive(uniform_weight, "uniform_weight")
    u, v = views(z1, z2, normalize)
    aligned = alignment_loss(u, v, alpha=alpha, normalize=False)
    spread = uniformity_loss(u, t=t, normalize=normalize) + uniformity_loss(v, t=t, normalize=normalize)
    return plain(align_weight * aligned + uniform_weight * spread / 2)
