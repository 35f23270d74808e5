"""What hardness is worth: losses that weigh all negatives alike, and losses that look at the hardest only.

Wang & Liu 2021, sections 3.1, 3.3 and 4.3: the simple loss has no temperature and no hardness; cutting away all but the
hardest negatives gives either loss that property back, whatever the temperature.
"""

from __future__ import annotations

import math
from typing import Any

from hypercon.autograd import matmul, mean, primitive, transpose, where
from hypercon.autograd import sum as total
from hypercon.autograd.ops import raw
from hypercon.backend import Array, xp
from hypercon.errors import InputError
from hypercon.losses import tiles
from hypercon.losses.common import mean_where, one_hot, plain, times, views, wants_gradient
from hypercon.losses.infonce import by_temperature, slope, take_apart
from hypercon.temperature import check_temperatures
from hypercon.validation import check_memory, check_positive, check_whole


def simple_loss(z1: Any, z2: Any, *, weight: float | None = None, normalize: bool = True) -> Any:
    """The loss without hardness: minus the positive similarity, plus the mean of the negative ones.

    ``mean_i ( -s_ii + lambda sum_{j != i} s_ij )`` (Wang & Liu 2021, eq. 3). Every negative is pushed alike, whatever
    its similarity.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    weight : float, optional
        lambda. Default ``1 / (N - 1)``, which makes this the limit of `hypercon.info_nce` for a large temperature, up
        to a factor; the paper does not say which it used.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    float or Tensor
        Between -2 and 2 on the sphere at the default weight.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the weight is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> simple_loss(np.eye(3), np.eye(3))
    -1.0
    """
    u, v = views(z1, z2, normalize)
    similarities = matmul(u, transpose(v))
    count = u.shape[0]
    factor = 1 / (count - 1) if weight is None else check_positive(weight, "weight")
    positive = one_hot(count, similarities)
    return plain(mean(total(where(positive, -similarities, factor * similarities), axis=1)))


def hard_simple(
    z1: Any,
    z2: Any,
    *,
    k: int | None = None,
    alpha: float | None = None,
    normalize: bool = True,
    memory: Any = "auto",
) -> Any:
    """The simple loss on the hardest negatives alone: minus the positive, plus the mean of the ``k`` nearest negatives.

    Wang & Liu 2021, section 4.3. Cutting gives the loss the hardness that it lacks.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    k : int, optional
        How many negatives an anchor keeps. Those that tie with the k-th are kept as well.
    alpha : float, optional
        Instead of ``k``: the share that is kept, in (0, 1]; ``k = ceil(alpha (N - 1))``.
    normalize : bool, default True
        Put rows onto the unit sphere first.
    memory : "auto" or int, default "auto"
        Bytes of working memory, as in `hypercon.info_nce`.

    Returns
    -------
    float or Tensor

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; neither or both of ``k`` and ``alpha`` are given, or there are not so many negatives.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> round(hard_simple(z, z, k=1), 4)
    -0.2667
    """
    memory = check_memory(memory)
    u, v = views(z1, z2, normalize)
    k = how_many(u.shape[0] - 1, k, alpha)
    return plain(_hard_simple(u, v, k=k, gradient=wants_gradient(u, v), memory=memory))


def hard_info_nce(
    z1: Any,
    z2: Any,
    *,
    temperature: Any,
    k: int | None = None,
    alpha: float | None = None,
    normalize: bool = True,
    memory: Any = "auto",
) -> Any:
    """InfoNCE with the hardest negatives alone in the denominator.

    ``mean_i -log( e^{s_ii / tau} / (e^{s_ii / tau} + sum_{s_ik >= s_alpha} e^{s_ik / tau}) )`` (Wang & Liu 2021, eq.
    9). The cut follows the similarities and carries no gradient.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each instance.
    k : int, optional
        How many negatives an anchor keeps. Those that tie with the k-th are kept as well.
    alpha : float, optional
        Instead of ``k``: the share that is kept, in (0, 1]; ``k = ceil(alpha (N - 1))``. 1 keeps all: InfoNCE itself.
    normalize : bool, default True
        Put rows onto the unit sphere first.
    memory : "auto" or int, default "auto"
        Bytes of working memory, as in `hypercon.info_nce`.

    Returns
    -------
    float or Tensor
        At least 0, and never more than `hypercon.info_nce` of the same views.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; neither or both of ``k`` and ``alpha`` are given, or there are not so many negatives.

    Examples
    --------
    >>> import numpy as np
    >>> round(hard_info_nce(np.eye(3), np.eye(3), temperature=1.0, alpha=1.0), 4)
    0.5514
    """
    memory = check_memory(memory)
    u, v = views(z1, z2, normalize)
    tau = check_temperatures(temperature, u)
    k = how_many(u.shape[0] - 1, k, alpha)
    return plain(_hard_info_nce(u, v, tau, k=k, gradient=wants_gradient(u, v, tau), memory=memory))


# --- both as fused primitives: in blocks on the CPU, as written here on a GPU and for further derivatives


def _hard_simple_rule(g: Any, out: Any, saved: Any, u: Any, v: Any, *, k: int, **division: Any) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    hard = hardest(similarities, positive, k)
    share = hard.sum(axis=1, keepdims=True).astype(similarities.dtype)
    ds = (hard / share - positive) * (g / u.shape[0])
    return matmul(ds, v), matmul(transpose(ds), u)


@primitive(fused=_hard_simple_rule)
def _hard_simple(u: Any, v: Any, *, k: int, gradient: bool = True, memory: Any = "auto") -> tuple[Any, Any]:
    if tiles.serve(u):
        found = tiles.nearest(u, v, k, gradient=gradient, memory=memory)
        return u.dtype.type(found.loss), (found.by_anchors, found.by_candidates)
    similarities = u @ v.T
    positive = one_hot(u.shape[0], similarities)
    hard = hardest(similarities, positive, k)
    return (mean_where(hard, similarities) - mean_where(positive, similarities)).mean(), None


def _hard_info_nce_rule(
    g: Any, out: Any, saved: Any, u: Any, v: Any, temperature: Any, *, k: int, **division: Any
) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    easy = ~hardest(similarities, positive, k) & ~positive
    ds = slope(take_apart(similarities, temperature, positive, easy), positive, temperature) * (g / u.shape[0])
    return matmul(ds, v), matmul(transpose(ds), u), by_temperature(ds, similarities, temperature)


@primitive(fused=_hard_info_nce_rule)
def _hard_info_nce(
    u: Any, v: Any, temperature: Any, *, k: int, gradient: bool = True, memory: Any = "auto"
) -> tuple[Any, Any]:
    if tiles.serve(u):
        found = tiles.one_way(u, v, temperature, k=k, gradient=gradient, memory=memory)
        return u.dtype.type(found.loss), found[1:4]
    similarities = u @ v.T
    positive = one_hot(u.shape[0], similarities)
    easy = ~hardest(similarities, positive, k) & ~positive
    return take_apart(similarities, temperature, positive, easy).loss.mean(), None


def hardest(similarities: Any, positive: Array, k: int) -> Array:
    """Which candidates are among the k hardest negatives of their anchor, or tie with the k-th, (A, C)."""
    m = xp(raw(similarities))
    only_negatives = m.where(positive, -math.inf, raw(similarities))
    cut = m.sort(only_negatives, axis=1)[:, -k][:, None]
    return (only_negatives >= cut) & ~positive


def how_many(negatives: int, k: int | None, alpha: float | None) -> int:
    """How many of so many negatives are kept."""
    if (k is None) == (alpha is None):
        raise InputError("k and alpha got both or neither, expected one: how many negatives are kept, or which share")
    if alpha is not None:
        if check_positive(alpha, "alpha", "0.1") > 1:
            raise InputError(f"alpha got {alpha:g}, expected a share of the negatives, above 0 and at most 1")
        k = math.ceil(alpha * negatives)
    k = check_whole(k, "k", least=1)
    if k > negatives:
        raise InputError(f"k got {k}, expected 1 to {negatives}, the number of negatives")
    return k
