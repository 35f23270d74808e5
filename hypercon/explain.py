"""The loss laid open: what each negative weighs, how strongly anchors are pulled and pushed, where chance and floor
lie.

Everything here is computed in closed form on plain arrays; `Explanation.verify` holds it against autograd and against
finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypercon.autograd import normalize as onto_sphere
from hypercon.autograd import value_and_grad
from hypercon.autograd.ops import raw
from hypercon.backend import to_host
from hypercon.errors import InputError
from hypercon.losses.common import stacked_masks
from hypercon.losses.infonce import chance, check_loss_name, floor, from_definition, slope, take_apart
from hypercon.temperature import check_temperature
from hypercon.validation import check_flag, check_labels, check_views


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A contrastive loss on one batch, taken apart. Made by `explain`.

    With A anchors, C candidates and embeddings in D dimensions. For ``info_nce`` the anchors are the N rows of ``z1``
    and the candidates the N rows of ``z2``. For ``nt_xent`` both are the 2N stacked rows, ``z1`` first.

    Attributes
    ----------
    loss : float
        The mean over anchors.
    per_anchor : ndarray, (A,)
    chance : float
        The loss when all embeddings coincide: log of the number of candidates.
    floor : float
        What no batch of this size on the sphere can go below (0 with ``normalize=False``: there is no such bound).
    information : float
        ``log N - loss`` in nats: a lower bound on the mutual information of the views (van den Oord et al. 2018, eq.
        5). For ``nt_xent`` the logarithm is that of its 2N - 1 candidates.
    similarities : ndarray, (A, C)
    probabilities : ndarray, (A, C)
        P, the softmax over positive and negatives (Wang & Liu 2021, eq. 2). Rows sum to 1.
    hardness : ndarray, (A, C)
        r, the softmax over the negatives alone (Wang & Liu 2021, eq. 5): the share of the push that each receives. Rows
        sum to 1; the positive has 0.
    entropy : ndarray, (A,)
        Of r, in nats. It falls strictly as the temperature falls.
    effective_negatives : ndarray, (A,)
        ``exp(entropy)``: how many equally weighted negatives would push as diffusely.
    coupling : ndarray, (A,)
        ``1 - P`` of the positive: the factor before pull and push alike.
    grad_similarities : ndarray, (A, C)
        Derivative of ``loss`` by every similarity (Wang & Liu 2021, eq. 4). Rows sum to 0.
    grad_z1, grad_z2 : ndarray, (N, D)
        Derivative of ``loss`` by the embeddings as given, through the normalisation.
    pull, push : ndarray, (A, D)
        The two parts of what an anchor feels in its own row, as forces (minus the gradient, before the normalisation is
        differentiated): towards its positive, and away from its negatives.
    grad_temperature : float
        Derivative of ``loss`` by the temperature.
    false_negative_share : ndarray, (A,) or None
        With labels: the share of the push that falls on candidates of the anchor's own class.
    temperature : float
    kind : str
        The name of the loss.
    """

    loss: float
    per_anchor: np.ndarray
    chance: float
    floor: float
    information: float
    similarities: np.ndarray
    probabilities: np.ndarray
    hardness: np.ndarray
    entropy: np.ndarray
    effective_negatives: np.ndarray
    coupling: np.ndarray
    grad_similarities: np.ndarray
    grad_z1: np.ndarray
    grad_z2: np.ndarray
    pull: np.ndarray
    push: np.ndarray
    grad_temperature: float
    false_negative_share: np.ndarray | None
    temperature: float
    kind: str
    _inputs: tuple[np.ndarray, np.ndarray]
    _on_sphere: bool

    def __repr__(self) -> str:
        lines = [
            f"{self.kind} at temperature {self.temperature:g}: "
            f"{len(self.per_anchor)} anchors, {self.negatives} negatives each",
            f"  loss                 {self.loss:.4f}   between floor {self.floor:.4f} and chance {self.chance:.4f}",
            f"  information          {self.information:.4f}   nats at least",
            f"  effective negatives  {self.effective_negatives.mean():.1f} of {self.negatives}",
            f"  coupling             {self.coupling.mean():.4f}   1 = the positive is not found yet, 0 = done",
        ]
        if self.false_negative_share is not None:
            lines.append(
                f"  false negatives      {self.false_negative_share.mean():.1%} of the push falls on the own class"
            )
        return "\n".join(lines)

    @property
    def negatives(self) -> int:
        """How many negatives each anchor has."""
        return round(math.exp(self.chance)) - 1

    def hardest(self, anchor: int, k: int = 5) -> list[tuple[int, float, float]]:
        """The ``k`` negatives that an anchor pushes most.

        Parameters
        ----------
        anchor : int
            Row of ``hardness``.
        k : int, default 5

        Returns
        -------
        list of (candidate, similarity, weight)
            Hardest first; the weight is r.

        Raises
        ------
        InputError
            There is no such anchor, or not that many negatives.
        """
        if not -len(self.hardness) <= anchor < len(self.hardness):
            raise InputError(f"anchor got {anchor}, expected 0 to {len(self.hardness) - 1}")
        if not 1 <= k <= self.negatives:
            raise InputError(f"k got {k}, expected 1 to {self.negatives}, the number of negatives")
        similarities, weights = self.similarities[anchor], self.hardness[anchor]
        # by similarity: at a small temperature most weights round to 0, as the positive's is. An anchor's own row and
        # its positive are those that stand for its own instance
        count = len(self._inputs[0])
        own = np.arange(len(similarities)) % count == anchor % count
        order = np.argsort(np.where(own, math.inf, -similarities), kind="stable")[:k]
        return [(int(j), float(similarities[j]), float(weights[j])) for j in order]

    def verify(self) -> dict[str, float]:
        """Compare the closed-form gradients with autograd's and with finite differences, in float64.

        Autograd differentiates the loss as its definition reads, operation by operation; it does not know the formula.

        Returns
        -------
        dict
            ``"formula_autograd"``, ``"formula_differences"``, ``"autograd_differences"``: the largest absolute
            difference between the two, over ``grad_z1``, ``grad_z2`` and ``grad_temperature``, divided by the largest
            entry of the gradient. Differences are Richardson-extrapolated along 8 random directions, each divided by
            the gradient's length. Every embedding is measured in its own length and the temperature in itself, so
            that no unit outweighs another. A gradient less than a hundredth of the forces it is the balance of (all
            embeddings in one place, or every positive far ahead) is not divided by itself but by that hundredth:
            differences show no more of it.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> errors = explain(rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), temperature=0.3).verify()
        >>> max(errors.values()) < 1e-8
        True
        """
        z1, z2 = (z.astype(np.float64) for z in self._inputs)
        point = [z1, z2, np.asarray(self.temperature)]
        units = [_lengths(z1, self._on_sphere), _lengths(z2, self._on_sphere), point[2]]

        def f(a: Any, b: Any, tau: Any) -> Any:
            return from_definition(a, b, temperature=tau, loss=self.kind, normalize=self._on_sphere)

        again = explain(z1, z2, temperature=self.temperature, loss=self.kind, normalize=self._on_sphere)
        formula = _flat([again.grad_z1, again.grad_z2, again.grad_temperature], units)
        autograd = _flat(value_and_grad(f, argnums=(0, 1, 2))(*point)[1], units)
        logits = max(np.abs(again.similarities).max() / self.temperature, np.finfo(float).tiny)
        smallest = 1e-2 * logits / len(again.similarities)
        largest, length = max(np.abs(formula).max(), smallest), max(np.linalg.norm(formula), smallest)
        step = 2e-3 / max(1.0, logits)  # small against the logits, of which the loss is a smooth function
        rng = np.random.default_rng(0)
        errors = []
        for _ in range(8):
            d = [rng.standard_normal(p.shape) / math.sqrt(p.shape[-1] if p.shape else 1) for p in point]
            slope = _richardson(f, point, [part * unit for part, unit in zip(d, units, strict=True)], step)
            flat = _flat(d)
            errors.append([abs(g @ flat - slope) / (length * np.linalg.norm(flat)) for g in (formula, autograd)])
        by_formula, by_autograd = np.max(errors, axis=0)
        return {
            "formula_autograd": float(np.abs(formula - autograd).max() / largest),
            "formula_differences": float(by_formula),
            "autograd_differences": float(by_autograd),
        }


def explain(
    z1: Any, z2: Any, *, temperature: Any, labels: Any = None, loss: str = "info_nce", normalize: bool = True
) -> Explanation:
    """Lay a contrastive loss open: every weight, force and derivative that it has on a batch.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance.
    temperature : float
        tau > 0.
    labels : array_like of int, (N,), optional
        Classes of the instances, to see how much of the push falls on the anchor's own class.
    loss : {"info_nce", "nt_xent"}
        Which loss.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the loss has another name, or the labels another length.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(64, 8))
    >>> explain(z, z + 0.5 * rng.normal(size=z.shape), temperature=0.1)
    info_nce at temperature 0.1: 64 anchors, 63 negatives each
      loss                 0.6121   between floor 0.0024 and chance 4.1589
      information          3.5468   nats at least
      effective negatives  7.3 of 63
      coupling             0.3742   1 = the positive is not found yet, 0 = done
    """
    check_loss_name(loss)
    normalize = check_flag(normalize, "normalize")
    tau = float(raw(check_temperature(temperature)))
    z1, z2 = (to_host(raw(z)) for z in check_views(z1, z2, directions=normalize))
    count = len(z1)
    u, v = (onto_sphere(z1), onto_sphere(z2)) if normalize else (z1, z2)
    if loss == "info_nce":
        anchors_at, candidates, positive, itself = u, v, np.eye(count, dtype=bool), None
    else:
        anchors_at = candidates = np.concatenate([u, v])
        positive, itself = stacked_masks(count, u)
    similarities = anchors_at @ candidates.T
    parts = take_apart(similarities, tau, positive, itself)
    ds = slope(parts, positive, tau) / len(similarities)
    by_anchor, by_candidate = ds @ candidates, ds.T @ anchors_at
    by_u, by_v = (by_anchor, by_candidate) if loss == "info_nce" else np.split(by_anchor + by_candidate, 2)
    strength = parts.coupling / (tau * len(similarities))
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(parts.hardness > 0, -np.log(parts.hardness), 0.0)
    entropy = (parts.hardness * surprise).sum(axis=1)
    value = float(parts.loss.mean())
    return Explanation(
        loss=value,
        per_anchor=parts.loss,
        chance=chance(loss, count),
        floor=floor(loss, count, tau) if normalize else 0.0,
        information=chance(loss, count) - value,
        similarities=similarities,
        # the positive's is exp(-loss) and not 1 - coupling, of which nothing is left where it is very unlikely
        probabilities=parts.coupling * parts.hardness + np.exp(-parts.loss)[:, None] * positive,
        hardness=parts.hardness,
        entropy=entropy,
        effective_negatives=np.exp(entropy),
        coupling=parts.coupling[:, 0],
        grad_similarities=ds,
        grad_z1=_through_normalization(by_u, u, z1) if normalize else by_u,
        grad_z2=_through_normalization(by_v, v, z2) if normalize else by_v,
        pull=strength * (positive @ candidates),
        push=-strength * (parts.hardness @ candidates),
        grad_temperature=-float((ds * similarities).sum()) / tau,
        false_negative_share=None if labels is None else _false_negative_share(parts.hardness, labels, count),
        temperature=tau,
        kind=loss,
        _inputs=(z1, z2),
        _on_sphere=normalize,
    )


def _through_normalization(g: np.ndarray, unit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(I - u u^T) g / |z| for every row: the tangent part, smaller for longer embeddings."""
    tangent = g - unit * (g * unit).sum(axis=1, keepdims=True)
    return tangent / np.linalg.norm(z, axis=1, keepdims=True)


def _false_negative_share(hardness: np.ndarray, labels: Any, count: int) -> np.ndarray:
    classes = check_labels(labels, count)
    classes = np.tile(classes, len(hardness) // count)
    return (hardness * (classes[:, None] == classes[None, :])).sum(axis=1)


def _lengths(z: np.ndarray, each: bool) -> np.ndarray:
    """The length of each row, (N, 1), or their quadratic mean where rows may be zero."""
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    return lengths if each else np.full_like(lengths, math.sqrt((lengths**2).mean()))


def _flat(arrays: Any, units: Any = (1.0, 1.0, 1.0)) -> np.ndarray:
    return np.concatenate([np.ravel(a * unit) for a, unit in zip(arrays, units, strict=True)])


def _richardson(f: Callable[..., Any], point: list[np.ndarray], direction: list[np.ndarray], h: float) -> float:
    """The slope of f along a direction, from four values: central differences at h and h / 2, their h^2 terms
    cancelled."""

    def central(h: float) -> float:
        ahead = f(*(p + h * d for p, d in zip(point, direction, strict=True)))
        behind = f(*(p - h * d for p, d in zip(point, direction, strict=True)))
        return float(ahead - behind) / (2 * h)

    return (4 * central(h / 2) - central(h)) / 3
