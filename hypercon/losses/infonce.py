"""InfoNCE and NT-Xent: softmax over similarities, with the gradient in closed form.

Each anchor i has one positive and K negatives among its candidates. With similarities s and temperature tau,

    L_i = -log( exp(s_i+ / tau) / (exp(s_i+ / tau) + sum_k exp(s_ik / tau)) )            Wang & Liu 2021, eq. 1

What this file computes, forward and backward, are the two factors of its gradient (Wang & Liu 2021, eq. 4 and 5):

    hardness   r_ik = exp(s_ik / tau) / sum_k' exp(s_ik' / tau)      who is pushed: a softmax over the negatives alone
    coupling   c_i  = 1 - P_i+  = sigmoid((lse_neg_i - s_i+) / tau)  how much at all: it dies when the positive wins
    dL_i/ds_ik = c_i r_ik / tau                   dL_i/ds_i+ = -c_i / tau

The loss itself is softplus of the same argument, so nothing cancels when the positive wins by far.

On the CPU the fused primitives leave the arithmetic to tiles/, which never holds the N x N similarities. A GPU takes
the formulas as they stand here, and so do the rules when they are recorded for a further derivative.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from hypercon.autograd import (
    concatenate,
    log_softmax,
    logsumexp,
    matmul,
    mean,
    primitive,
    sigmoid,
    softmax,
    softplus,
    transpose,
    where,
)
from hypercon.autograd import sum as total
from hypercon.autograd.ops import raw
from hypercon.backend import Array, xp
from hypercon.errors import InputError
from hypercon.losses import tiles
from hypercon.losses.common import (
    column,
    for_both_views,
    one_hot,
    plain,
    stacked_masks,
    times,
    views,
    wants_gradient,
)
from hypercon.temperature import check_temperature, check_temperatures
from hypercon.validation import check_flag, check_memory, check_whole

NAMES = ("info_nce", "nt_xent")


class Anchors(NamedTuple):
    """A softmax over similarities taken apart, one row for each anchor. Arrays, or tensors where a gradient follows."""

    loss: Any  # (A,)
    hardness: Any  # (A, C), rows sum to 1, zero at the positive and at what is excluded
    coupling: Any  # (A, 1), 1 - P of the positive


def take_apart(similarities: Any, temperature: Any, positive: Array, excluded: Array | None) -> Anchors:
    """The loss of each anchor and the two factors of its gradient.

    ``similarities`` is (A, C); ``positive`` is a boolean (A, C) array with one True a row; ``excluded`` marks pairs
    that are no candidates at all, such as an embedding with itself. ``temperature`` is one number, or (A,).
    """
    not_negative = positive if excluded is None else positive | excluded
    # masked before the maximum is taken: a self-similarity as the maximum would underflow all the rest
    logits = similarities / column(temperature)
    negatives = where(not_negative, -math.inf, logits)
    positives = total(where(positive, logits, 0.0), axis=1, keepdims=True)
    lead = logsumexp(negatives, axis=1, keepdims=True) - positives
    return Anchors(softplus(lead)[:, 0], softmax(negatives, axis=1), sigmoid(lead))


def slope(anchors: Anchors, positive: Array, temperature: Any) -> Any:
    """dL_i/ds_ij for every anchor and candidate, (A, C): the whole gradient in one line."""
    return anchors.coupling * (anchors.hardness - positive) / column(temperature)


def by_temperature(ds: Any, similarities: Any, temperature: Any) -> Any:
    """The derivative by tau, of its shape: the loss depends on s / tau alone, so it is that of a row's similarities
    growing together."""
    by_row = -total(ds * similarities, axis=1) / temperature
    return by_row if getattr(raw(temperature), "ndim", 0) else total(by_row)


# --- the losses as fused primitives


def _info_nce_rule(
    g: Any, out: Any, saved: Any, u: Any, v: Any, temperature: Any, *, symmetric: bool, **division: Any
) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    ds = slope(take_apart(similarities, temperature, positive, None), positive, temperature) * (g / u.shape[0])
    by_tau = by_temperature(ds, similarities, temperature)
    if symmetric:
        turned = transpose(similarities)
        back = slope(take_apart(turned, temperature, positive, None), positive, temperature) * (g / u.shape[0])
        by_tau = (by_tau + by_temperature(back, turned, temperature)) / 2
        ds = (ds + transpose(back)) / 2
    return matmul(ds, v), matmul(transpose(ds), u), by_tau


@primitive(fused=_info_nce_rule)
def _info_nce(
    u: Any, v: Any, temperature: Any, *, symmetric: bool, gradient: bool = True, memory: Any = "auto"
) -> tuple[Any, Any]:
    if tiles.serve(u):
        search = tiles.both_ways if symmetric else tiles.one_way
        found = search(u, v, temperature, gradient=gradient, memory=memory)
        return u.dtype.type(found.loss), found[1:4]
    similarities = u @ v.T
    positive = one_hot(u.shape[0], similarities)
    ways = [similarities, similarities.T] if symmetric else [similarities]
    return sum(take_apart(s, temperature, positive, None).loss.mean() for s in ways) / len(ways), None


def _nt_xent_rule(g: Any, out: Any, saved: Any, z: Any, temperature: Any, **division: Any) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    similarities = matmul(z, transpose(z))
    positive, itself = stacked_masks(z.shape[0] // 2, similarities)
    ds = slope(take_apart(similarities, temperature, positive, itself), positive, temperature) * (g / z.shape[0])
    # every embedding is an anchor and a candidate: both roles pull on it
    return matmul(ds + transpose(ds), z), by_temperature(ds, similarities, temperature)


@primitive(fused=_nt_xent_rule)
def _nt_xent(z: Any, temperature: Any, *, gradient: bool = True, memory: Any = "auto") -> tuple[Any, Any]:
    if tiles.serve(z):
        found = tiles.stacked(z, temperature, gradient=gradient, memory=memory)
        return z.dtype.type(found.loss), (found.by_anchors, found.by_temperature)
    similarities = z @ z.T
    masks = stacked_masks(z.shape[0] // 2, similarities)
    return take_apart(similarities, temperature, *masks).loss.mean(), None


def _beside_rule(
    g: Any, out: Any, saved: Any, anchors: Any, positives: Any, keys: Any, temperature: Any, **division: Any
) -> tuple[Any, ...]:
    if saved is not None:
        return times(g, saved)
    logits, positive = _positive_first(anchors, positives, keys)
    ds = slope(take_apart(logits, temperature, positive, None), positive, temperature) * (g / anchors.shape[0])
    by_positive, by_keys = ds[:, :1], ds[:, 1:]
    return (
        by_positive * positives + matmul(by_keys, keys),
        by_positive * anchors,
        matmul(transpose(by_keys), anchors),
        by_temperature(ds, logits, temperature),
    )


@primitive(fused=_beside_rule)
def info_nce_beside(
    anchors: Any, positives: Any, keys: Any, temperature: Any, *, gradient: bool, fixed: bool, memory: Any = "auto"
) -> tuple[Any, Any]:
    """InfoNCE of anchors whose positives stand apart from the negatives: row i of ``positives``, and all ``keys``.

    For losses with a queue (He et al. 2020, eq. 1): (A, D), (A, D) and (K, D), already on the sphere. ``gradient`` says
    whether one may be asked for, ``fixed`` that none will be by the keys.
    """
    if tiles.serve(anchors):
        found = tiles.one_way(
            anchors, keys, temperature, positives=positives, gradient=gradient, fixed=fixed, memory=memory
        )
        saved = found.by_anchors, found.by_positives, found.by_candidates, found.by_temperature
        return anchors.dtype.type(found.loss), saved
    logits, positive = _positive_first(anchors, positives, keys)
    return take_apart(logits, temperature, positive, None).loss.mean(), None


def _positive_first(anchors: Any, positives: Any, keys: Any) -> tuple[Any, Array]:
    """The similarities of an anchor with its positive and then with all keys, (A, 1 + K), and where the positive is."""
    own = total(anchors * positives, axis=1, keepdims=True)
    logits = concatenate([own, matmul(anchors, transpose(keys))], axis=1)
    m = xp(raw(logits))
    return logits, m.broadcast_to(m.arange(logits.shape[1]) == 0, logits.shape)


# --- what users call


def info_nce(
    z1: Any, z2: Any, *, temperature: Any, symmetric: bool = False, normalize: bool = True, memory: Any = "auto"
) -> Any:
    """InfoNCE between two views of a batch: row i of ``z1`` looks for row i of ``z2`` among all rows of ``z2``.

    ``mean_i -log( exp(s_ii / tau) / sum_j exp(s_ij / tau) )`` (Wang & Liu 2021, eq. 1; van den Oord et al. 2018, eq.
    4).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0. There is no default: it decides what is learned. A vector has one for each instance, as an anchor. See
        `hypercon.LearnedTemperature` and `hypercon.CosineTemperature`.
    symmetric : bool, default False
        The mean of both directions, as CLIP takes it.
    normalize : bool, default True
        Put rows onto the unit sphere first. False takes plain dot products.
    memory : "auto" or int, default "auto"
        Bytes of working memory on the CPU, beside embeddings and gradients. It decides how many similarities are held
        at a time, never what the result is. "auto" is 256 MiB, and 64 MiB more for each core beyond four.

    Returns
    -------
    float or Tensor
        The mean over anchors; a tensor if any input is one. At least 0; ``log N`` when all embeddings coincide.

    Raises
    ------
    InputError
        The shapes differ or are not (N, D) with N >= 2, a row is zero or not finite, the temperature is not positive,
        the memory is no number of bytes or does not suffice for the smallest blocks of this batch.
    DtypeError
        An input is not made of real numbers.

    See Also
    --------
    nt_xent : both views as one set of 2N anchors.
    hypercon.explain : the same loss laid open.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.eye(3)
    >>> round(info_nce(z, z, temperature=1.0), 4)  # log(1 + 2 exp(-1))
    0.5514
    """
    u, v = views(z1, z2, normalize)
    tau = check_temperatures(temperature, u)
    symmetric, memory = check_flag(symmetric, "symmetric"), check_memory(memory)
    return plain(_info_nce(u, v, tau, symmetric=symmetric, gradient=wants_gradient(u, v, tau), memory=memory))


def nt_xent(z1: Any, z2: Any, *, temperature: Any, normalize: bool = True, memory: Any = "auto") -> Any:
    """NT-Xent, SimCLR's loss: both views stacked, each of the 2N embeddings looks for its partner among the 2N - 1
    others.

    ``mean_i -log( exp(s_ip / tau) / sum_{j != i} exp(s_ij / tau) )`` (Chen et al. 2020, eq. 1). It differs from
    `info_nce` in its negatives: they come from both views.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0. There is no default: it decides what is learned. A vector has one for each instance, as an anchor. See
        `hypercon.LearnedTemperature` and `hypercon.CosineTemperature`.
    normalize : bool, default True
        Put rows onto the unit sphere first. False takes plain dot products.
    memory : "auto" or int, default "auto"
        Bytes of working memory on the CPU, beside embeddings and gradients. It decides how many similarities are held
        at a time, never what the result is. "auto" is 256 MiB, and 64 MiB more for each core beyond four.

    Returns
    -------
    float or Tensor
        The mean over 2N anchors; a tensor if any input is one. ``log(2N - 1)`` when all embeddings coincide.

    Raises
    ------
    InputError, DtypeError
        As `info_nce`.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.eye(3)
    >>> round(nt_xent(z, z, temperature=1.0), 4)  # log(1 + 4 exp(-1))
    0.9048
    """
    u, v = views(z1, z2, normalize)
    tau, memory = for_both_views(check_temperatures(temperature, u)), check_memory(memory)
    z = concatenate([u, v])
    return plain(_nt_xent(z, tau, gradient=wants_gradient(z, tau), memory=memory))


def from_definition(z1: Any, z2: Any, *, temperature: Any, loss: str = "info_nce", normalize: bool = True) -> Any:
    """The same losses as their definition reads, for the engine to differentiate step by step.

    Slower and no more accurate than the fused ones; it is what `hypercon.Explanation.verify` and the tests hold them
    against. Parameters as `info_nce`, with the name of the ``loss``.
    """
    u, v = views(z1, z2, normalize)
    tau = check_temperatures(temperature, u)
    if loss == "info_nce":
        log_p = log_softmax(matmul(u, transpose(v)) / column(tau), axis=1)
        return plain(-mean(total(where(one_hot(u.shape[0], u), log_p, 0.0), axis=1)))
    z = concatenate([u, v])
    positive, itself = stacked_masks(u.shape[0], z)
    log_p = log_softmax(where(itself, -math.inf, matmul(z, transpose(z)) / column(for_both_views(tau))), axis=1)
    return plain(-mean(total(where(positive, log_p, 0.0), axis=1)))


def chance(loss: str, count: int) -> float:
    """The value of a loss when all embeddings coincide: the logarithm of the number of candidates.

    Parameters
    ----------
    loss : {"info_nce", "nt_xent"}
    count : int
        N, the number of instances in the batch, at least 2.

    Returns
    -------
    float

    Raises
    ------
    InputError
        The loss has another name, or ``count`` is less than 2.

    Examples
    --------
    >>> round(chance("info_nce", 256), 3)
    5.545
    """
    return math.log(1 + _negatives(loss, count))


def floor(loss: str, count: int, temperature: float) -> float:
    """A value that no batch of ``count`` instances on the sphere can go below.

    ``log(1 + K exp(-(N / (N - 1)) / tau))`` with K negatives an anchor: the loss of perfectly aligned views on a
    regular simplex, whose similarities are all ``-1 / (N - 1)``. The simplex needs D >= N - 1 dimensions; with fewer,
    the bound still holds and is not reached.

    Parameters
    ----------
    loss : {"info_nce", "nt_xent"}
    count : int
        N, the number of instances in the batch, at least 2.
    temperature : float

    Returns
    -------
    float

    Raises
    ------
    InputError, DtypeError
        As `chance`, or the temperature is not positive.

    Examples
    --------
    >>> round(floor("info_nce", 3, 1.0), 4)  # log(1 + 2 exp(-3/2))
    0.369
    """
    return simplex(_negatives(loss, count), count, float(check_temperature(temperature)))


def simplex(negatives: int, count: int, temperature: float) -> float:
    """The loss of an anchor with so many negatives on a regular simplex of ``count`` points, its views aligned."""
    return math.log1p(negatives * math.exp(-count / (count - 1) / temperature))


def _negatives(loss: str, count: int) -> int:
    check_loss_name(loss)
    count = check_whole(count, "count", least=2, why="a contrastive loss needs a negative")
    return count - 1 if loss == "info_nce" else 2 * count - 2


def check_loss_name(loss: str) -> None:
    """Refuse a name that is no loss of this room."""
    if not isinstance(loss, str) or loss not in NAMES:
        raise InputError(f"loss got {loss!r}, expected one of {', '.join(NAMES)}")
