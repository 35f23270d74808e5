"""The loss laid open: what each negative weighs, how strongly anchors are pulled and pushed, where chance and floor
lie.

Everything here is computed in closed form on plain arrays; `Explanation.verify` holds it against autograd and against
finite differences. Each loss is a softmax over the negatives of an anchor (who is pushed), a coupling (how much at all)
and a scale, so one line is the gradient of all: ``coupling (hardness - positive) scale``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercon import threads
from hypercon.autograd import logsumexp, matmul, mean, softplus, transpose, value_and_grad, where
from hypercon.autograd.ops import raw
from hypercon.backend import to_host
from hypercon.errors import InputError
from hypercon.files import atomic
from hypercon.losses.common import mean_where, one_hot, onto_sphere, stacked_masks, views
from hypercon.losses.debiased import dcl
from hypercon.losses.hard import hardest, how_many
from hypercon.losses.infonce import NAMES, Anchors, from_definition, simplex, take_apart
from hypercon.temperature import check_temperature
from hypercon.validation import as_array, check_flag, check_labels, check_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("info_nce", "nt_xent", "hard_info_nce", "hard_simple", "dcl")
STACKED = ("nt_xent", "dcl")  # both views are anchors, and candidates of each other
BLOCK = 2**18  # similarities that one thread takes apart at a time for the page


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A contrastive loss on one batch, taken apart. Made by `explain`.

    With A anchors, C candidates and embeddings in D dimensions. For ``nt_xent`` and ``dcl`` both are the 2N stacked
    rows, ``z1`` first. For the other losses the anchors are the N rows of ``z1`` and the candidates the N rows of
    ``z2``.

    Attributes
    ----------
    loss : float
        The mean over anchors.
    per_anchor : ndarray, (A,)
    chance : float
        The loss when all embeddings coincide: log of the number of candidates, of that of negatives for ``dcl``, and 0
        for ``hard_simple``.
    floor : float
        What no batch of this size on the sphere can go below. With ``normalize=False`` no more is known than 0, or
        minus infinity for the two losses that may be negative, ``dcl`` and ``hard_simple``.
    information : float or None
        ``log N - loss`` in nats: a lower bound on the mutual information of the views (van den Oord et al. 2018, eq.
        5). For ``nt_xent`` the logarithm is that of its 2N - 1 candidates. None for the losses that bound none.
    similarities : ndarray, (A, C)
    probabilities : ndarray, (A, C)
        P, the softmax over positive and negatives (Wang & Liu 2021, eq. 2). Rows sum to 1. For ``dcl`` and
        ``hard_simple``, which have no positive there, it is ``hardness``.
    hardness : ndarray, (A, C)
        r, the softmax over the negatives alone (Wang & Liu 2021, eq. 5): the share of the push that each receives. Rows
        sum to 1; the positive has 0, and so have negatives that a hard loss leaves out (eq. 8).
    entropy : ndarray, (A,)
        Of r, in nats. It falls strictly as the temperature falls.
    effective_negatives : ndarray, (A,)
        ``exp(entropy)``: how many equally weighted negatives would push as diffusely.
    coupling : ndarray, (A,)
        ``1 - P`` of the positive: the factor before pull and push alike. 1 for ``dcl`` and ``hard_simple``.
    grad_similarities : ndarray, (A, C)
        Derivative of ``loss`` by every similarity (Wang & Liu 2021, eq. 4). Rows sum to 0.
    grad_z1, grad_z2 : ndarray, (N, D)
        Derivative of ``loss`` by the embeddings as given, through the normalisation. Explained from similarities alone,
        ``grad_z1`` is ``grad_similarities`` and ``grad_z2`` means nothing.
    pull, push : ndarray, (A, D)
        The two parts of what an anchor feels in its own row, as forces (minus the gradient, before the normalisation is
        differentiated): towards its positive, and away from its negatives.
    grad_temperature : float
        Derivative of ``loss`` by the temperature.
    false_negative_share : ndarray, (A,) or None
        With labels: the share of the push that falls on candidates of the anchor's own class.
    base_rate : ndarray, (A,) or None
        With labels: the share of negatives that are of the anchor's own class; what a push without preference would
        give them.
    labels : ndarray of int, (A,), or None
        The anchors' classes, which are those of the candidates as well.
    positives : ndarray of int, (A,)
        Which candidate is the anchor's positive.
    negatives : int
        How many negatives each anchor has.
    temperature : float
    kind : str
        The name of the loss.
    """

    loss: float
    per_anchor: np.ndarray
    chance: float
    floor: float
    information: float | None
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
    base_rate: np.ndarray | None
    labels: np.ndarray | None
    positives: np.ndarray
    negatives: int
    temperature: float
    kind: str
    _inputs: tuple[np.ndarray, np.ndarray]
    _settings: dict[str, Any]

    def __repr__(self) -> str:
        lines = [
            f"{self.kind} at temperature {self.temperature:g}: "
            f"{len(self.per_anchor)} anchors, {self.negatives} negatives each",
            f"  loss                 {self.loss:.4f}   {self._where()}",
            f"  effective negatives  {self.effective_negatives.mean():.1f} of {self.negatives}",
            f"  coupling             {self.coupling.mean():.4f}   1 = the positive is not found yet, 0 = done",
        ]
        if self.information is not None:
            lines.insert(2, f"  information          {self.information:.4f}   nats at least")
        if self.false_negative_share is not None and self.base_rate is not None:
            lines.append(
                f"  false negatives      {self.false_negative_share.mean():.1%} of the push falls on the own class, "
                f"which is {self.base_rate.mean():.1%} of the negatives"
            )
        return "\n".join(lines)

    def _where(self) -> str:
        """Where the loss lies beside its floor and chance."""
        if self.loss > self.chance + 1e-9 * (1 + abs(self.chance)):
            return f"above chance {self.chance:.4f}: negatives are nearer than positives (floor {self.floor:.4f})"
        return f"between floor {self.floor:.4f} and chance {self.chance:.4f}"

    @property
    def is_negative(self) -> np.ndarray:
        """Which candidates are negatives of which anchor, (A, C): not its positive, and not itself."""
        return self._negatives_of(np.arange(len(self.positives)))

    def _negatives_of(self, anchors: np.ndarray) -> np.ndarray:
        positives = self.positives[anchors]
        itself = anchors if self.kind in STACKED else positives
        columns = np.arange(self.similarities.shape[1])
        return (columns != positives[:, None]) & (columns != itself[:, None])

    def _hardest_first(self, anchor: int) -> np.ndarray:
        """An anchor's negatives by similarity: at a small temperature most weights round to 0."""
        negatives = np.flatnonzero(self._negatives_of(np.array([anchor]))[0])
        return negatives[np.argsort(-self.similarities[anchor, negatives], kind="stable")]

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
        anchor = self._anchor(anchor)
        if not 1 <= k <= self.negatives:
            raise InputError(f"k got {k}, expected 1 to {self.negatives}, the number of negatives")
        similarities, weights = self.similarities[anchor], self.hardness[anchor]
        return [(int(j), float(similarities[j]), float(weights[j])) for j in self._hardest_first(anchor)[:k]]

    def at(self, temperature: float) -> Explanation:
        """The same batch and loss at another temperature.

        Raises
        ------
        InputError, DtypeError
            The temperature is not positive.
        """
        labels = None if self.labels is None else self.labels[: len(self._inputs[0])]
        return explain(*self._inputs, temperature=temperature, labels=labels, loss=self.kind, **self._settings)

    def _over(self, temperatures: Sequence[float]) -> dict[str, list[float]]:
        """Means over the batch at other temperatures, by the names of the attributes: without forces and gradients."""
        kept = self._kept()
        pushed = self.is_negative if kept is None else kept
        positive = np.arange(self.similarities.shape[1]) == self.positives[:, None]
        left_out = ~(positive | pushed)
        most = int(pushed.sum(axis=1).max())
        own = None if self.labels is None else self.labels[:, None] == self.labels
        size = max(1, BLOCK // self.similarities.shape[1])
        blocks = [slice(first, first + size) for first in range(0, len(self.similarities), size)]
        sums: list[dict[str, float]] = [{} for _ in blocks]
        found: dict[str, list[float]] = {}
        for tau in temperatures:

            def block(i: int, tau: float = tau) -> None:
                sums[i] = self._sums_of(blocks[i], tau, positive[blocks[i]], left_out[blocks[i]], own)

            threads.run(block, len(blocks))
            means = {name: sum(part[name] for part in sums) / len(self.similarities) for name in sums[0]}
            means["floor"] = _bounds(self.kind, len(self._inputs[0]), most, tau)[1]
            for name, mean_of_all in means.items():
                found.setdefault(name, []).append(float(mean_of_all))
        return found

    def _sums_of(
        self, rows: slice, tau: float, positive: np.ndarray, left_out: np.ndarray, own: np.ndarray | None
    ) -> dict[str, float]:
        """Some anchors' part of the means over the batch."""
        parts, _ = _parts(self.kind, self.similarities[rows], tau, positive, left_out)
        entropy = _entropy(parts.hardness)
        sums = {
            "loss": parts.loss.sum(),
            "entropy": entropy.sum(),
            "effective_negatives": np.exp(entropy).sum(),
            "coupling": parts.coupling.sum(),
        }
        if own is not None:
            sums["false_negative_share"] = (parts.hardness * own[rows]).sum()
        return {name: float(value) for name, value in sums.items()}

    def _kept(self) -> np.ndarray | None:
        """The negatives that a hard loss keeps, (A, C)."""
        if not self.kind.startswith("hard"):
            return None
        positive = ~self.is_negative  # one direction: what is no negative is the positive
        return ~(_easy(self.similarities, positive, self._settings["k"], self._settings["alpha"]) | positive)

    def plot(self, anchor: int = 0) -> Figure:
        """The matrices and the weights as a picture; embeddings in 2 or 3 dimensions also with their forces.

        Parameters
        ----------
        anchor : int, default 0
            Whose weights are drawn.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            There is no such anchor.

        Examples
        --------
        >>> z = np.random.default_rng(0).normal(size=(16, 3))
        >>> figure = explain(z, z + 0.1, temperature=0.2).plot()
        >>> len(figure.axes) >= 4
        True
        """
        from hypercon.explain.picture import figure  # matplotlib is loaded by those who draw

        return figure(self, self._anchor(anchor))

    def to_html(
        self, path: str | Path, *, anchor: int = 0, images: Any = None, classes: Sequence[str] | None = None
    ) -> None:
        """Write one page, complete in itself, on which the temperature can be moved.

        Parameters
        ----------
        path : path-like
        anchor : int, default 0
            Whose negatives are shown first; the page offers some others.
        images : array_like, (N, H, W) or (N, C, H, W), optional
            In [0, 1]: the instances as pictures, to show an anchor beside its hardest negatives.
        classes : sequence of str, optional
            Names for the labels.

        Raises
        ------
        InputError
            There is no such anchor, the images do not fit the batch, or the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> z = np.random.default_rng(0).normal(size=(16, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "page.html"
        ...     explain(z, z + 0.1, temperature=0.2).to_html(path)
        ...     "temperature 0.2" in path.read_text()
        True
        """
        from hypercon.explain.page import page

        text = page(self, anchor=self._anchor(anchor), images=images, classes=classes)
        with atomic(path) as stream:
            stream.write(text.encode())

    def _repr_html_(self) -> str:
        from hypercon.explain.page import fragment

        return fragment(self, anchor=0, images=None, classes=None)

    def _anchor(self, anchor: int) -> int:
        if not isinstance(anchor, int | np.integer) or not -len(self.hardness) <= anchor < len(self.hardness):
            raise InputError(f"anchor got {anchor!r}, expected 0 to {len(self.hardness) - 1}")
        return int(anchor) % len(self.hardness)

    def verify(self) -> dict[str, float]:
        """Compare the closed-form gradients with autograd's and with finite differences, in float64.

        Autograd differentiates the loss as its definition reads, operation by operation; it does not know the formula.
        The cut of a hard loss carries no gradient: the negatives that are kept here are kept at every point of a
        difference, which would otherwise step over a jump of the slope wherever two negatives change places.

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
        on_sphere = self._settings["normalize"]
        units = [_lengths(z1, on_sphere), _lengths(z2, on_sphere), point[2]]

        def f(a: Any, b: Any, tau: Any) -> Any:
            return _definition(a, b, tau, self.kind, kept, on_sphere)

        again = explain(z1, z2, temperature=self.temperature, loss=self.kind, **self._settings)
        kept = again._kept()
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
    z1: Any,
    z2: Any,
    *,
    temperature: Any,
    labels: Any = None,
    loss: str = "info_nce",
    k: int | None = None,
    alpha: float | None = None,
    normalize: bool = True,
) -> Explanation:
    """Lay a contrastive loss open: every weight, force and derivative that it has on a batch.

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (N, D)
        Embeddings of two views; row i of both is the same instance. Arrays of other libraries are taken through NumPy's
        or the DLPack protocol.
    temperature : float
        tau > 0. ``hard_simple`` has none: its value changes nothing there.
    labels : array_like of int, (N,), optional
        Classes of the instances, to see how much of the push falls on the anchor's own class.
    loss : {"info_nce", "nt_xent", "hard_info_nce", "hard_simple", "dcl"}
        Which loss.
    k, alpha : int or float, optional
        Of the hard losses: how many negatives an anchor keeps, or which share of them.
    normalize : bool, default True
        Put rows onto the unit sphere first.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; the loss has another name, the labels another length, or ``k`` does not fit the loss.

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
    if not isinstance(loss, str) or loss not in KINDS:
        raise InputError(f"loss got {loss!r}, expected one of {', '.join(KINDS)}")
    if not loss.startswith("hard") and not k is alpha is None:
        raise InputError(f"k and alpha are for the hard losses, and {loss} keeps all negatives: leave them out")
    normalize = check_flag(normalize, "normalize")
    tau = float(raw(check_temperature(temperature)))
    z1, z2 = (to_host(raw(z)) for z in check_views(z1, z2, directions=normalize))
    count = len(z1)
    u, v = (onto_sphere(z1), onto_sphere(z2)) if normalize else (z1, z2)
    stacked = loss in STACKED
    anchors_at, candidates = (np.concatenate([u, v]),) * 2 if stacked else (u, v)
    positive, itself = _masks(count, u, stacked)
    similarities = anchors_at @ candidates.T
    left_out = _easy(similarities, positive, k, alpha) if loss.startswith("hard") else itself
    parts, scale = _parts(loss, similarities, tau, positive, left_out)
    ds = parts.coupling * (parts.hardness - positive) * scale / len(similarities)
    by_anchor, by_candidate = ds @ candidates, ds.T @ anchors_at
    by_u, by_v = np.split(by_anchor + by_candidate, 2) if stacked else (by_anchor, by_candidate)
    strength = parts.coupling * scale / len(similarities)
    entropy = _entropy(parts.hardness)
    value = float(parts.loss.mean())
    negatives = similarities.shape[1] - 1 - stacked
    pushed = int((~(positive | left_out)).sum(axis=1).max())
    chance, floor = _bounds(loss, count, pushed, tau)
    probabilities = parts.hardness
    if loss not in ("dcl", "hard_simple"):
        # the positive's is exp(-loss) and not 1 - coupling, of which nothing is left where it is very unlikely
        probabilities = parts.coupling * parts.hardness + np.exp(-parts.loss)[:, None] * positive
    classes = None if labels is None else np.tile(check_labels(labels, count), len(similarities) // count)
    share, rate = _own_class(parts.hardness, classes, ~(positive | itself))
    return Explanation(
        loss=value,
        per_anchor=parts.loss,
        chance=chance,
        floor=floor if normalize else (0.0 if loss not in ("dcl", "hard_simple") else -math.inf),
        information=chance - value if loss in ("info_nce", "nt_xent") else None,
        similarities=similarities,
        probabilities=probabilities,
        hardness=parts.hardness,
        entropy=entropy,
        effective_negatives=np.exp(entropy),
        coupling=parts.coupling[:, 0],
        grad_similarities=ds,
        grad_z1=_through_normalization(by_u, u, z1) if normalize else by_u,
        grad_z2=_through_normalization(by_v, v, z2) if normalize else by_v,
        pull=strength * (positive @ candidates),
        push=-strength * (parts.hardness @ candidates),
        grad_temperature=0.0 if loss == "hard_simple" else -float((ds * similarities).sum()) / tau,
        false_negative_share=share,
        base_rate=rate,
        labels=classes,
        positives=positive.argmax(axis=1),
        negatives=negatives,
        temperature=tau,
        kind=loss,
        _inputs=(z1, z2),
        _settings={"k": k, "alpha": alpha, "normalize": normalize},
    )


def explain_similarities(
    similarities: Any, *, temperature: Any, labels: Any = None, loss: str = "info_nce", k: int | None = None,
    alpha: float | None = None,
) -> Explanation:  # fmt: skip
    """Lay a loss open that is known by its similarities alone.

    Parameters
    ----------
    similarities : array_like, (N, N)
        Of every anchor, a row, with every candidate, a column; the positives are on the diagonal.
    temperature : float
    labels : array_like of int, (N,), optional
    loss : {"info_nce", "hard_info_nce", "hard_simple"}
        One of the losses with N candidates.
    k, alpha : int or float, optional
        As `explain`.

    Returns
    -------
    Explanation
        Forces and gradients are those of the similarities; the floor is that of plain products.

    Raises
    ------
    InputError, DtypeError
        The similarities are no square matrix of finite numbers, or the loss stacks both views.

    Examples
    --------
    >>> e = explain_similarities([[0.9, 0.1], [0.5, 0.8]], temperature=0.2)
    >>> e.hardness.tolist(), e.per_anchor.round(4).tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [0.0181, 0.2014])
    """
    matrix = as_array(raw(similarities), "similarities")
    shape = matrix.shape
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(
            f"similarities got shape {shape}, expected (N, N): anchors are rows, positives on the diagonal"
        )
    if loss in STACKED:
        raise InputError(f"loss got {loss!r}, which stacks both views: give embeddings to explain")
    # products with the identity are the matrix itself
    identity = np.eye(shape[0])
    return explain(
        matrix, identity, temperature=temperature, labels=labels, loss=loss, k=k, alpha=alpha, normalize=False
    )


# --- what each loss is made of


def _parts(
    loss: str,
    similarities: np.ndarray,
    tau: float,
    positive: np.ndarray,
    left_out: np.ndarray,
) -> tuple[Anchors, float]:
    """A loss taken apart, and the factor before its gradient by similarities. ``left_out`` is neither positive nor
    pushed."""
    ones = np.ones((len(similarities), 1), similarities.dtype)
    if loss == "hard_simple":
        pushed = ~(positive | left_out)
        even = pushed / pushed.sum(axis=1, keepdims=True).astype(similarities.dtype)
        return Anchors((even * similarities).sum(axis=1) - similarities[positive], even, ones), 1.0
    parts = take_apart(similarities, tau, positive, left_out)
    if loss == "dcl":
        negatives = np.where(positive | left_out, -math.inf, similarities / tau)
        parts = Anchors(logsumexp(negatives, axis=1) - similarities[positive] / tau, parts.hardness, ones)
    return parts, 1 / tau


def _easy(similarities: Any, positive: np.ndarray, k: int | None, alpha: float | None) -> np.ndarray:
    """Which negatives a hard loss leaves out."""
    return ~hardest(similarities, positive, how_many(similarities.shape[1] - 1, k, alpha)) & ~positive


def _entropy(hardness: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(hardness > 0, -np.log(hardness), 0.0)
    return (hardness * surprise).sum(axis=1)


def _bounds(loss: str, count: int, pushed: int, tau: float) -> tuple[float, float]:
    """Chance, and what no batch of ``count`` instances on the sphere goes below: the loss of a regular simplex."""
    apart = count / (count - 1)
    if loss == "hard_simple":
        return 0.0, -apart
    if loss == "dcl":
        return math.log(pushed), math.log(pushed) - apart / tau
    return math.log1p(pushed), simplex(pushed, count, tau)


def _definition(z1: Any, z2: Any, tau: Any, loss: str, kept: np.ndarray | None, normalize: bool) -> Any:
    """The loss as its definition reads, for the engine to differentiate step by step; a hard one with the negatives
    that it keeps."""
    if loss in NAMES:
        return from_definition(z1, z2, temperature=tau, loss=loss, normalize=normalize)
    if loss == "dcl":
        return dcl(z1, z2, temperature=tau, normalize=normalize)
    u, v = views(z1, z2, normalize)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    own = mean_where(positive, similarities)
    if loss == "hard_simple":
        return mean(mean_where(kept, similarities) - own)
    negatives = where(kept, similarities / tau, -math.inf)
    return mean(softplus(logsumexp(negatives, axis=1) - own / tau))


def _masks(count: int, like: Any, stacked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each anchor's positive is, and itself, which is no candidate."""
    if stacked:
        return stacked_masks(count, like)
    return one_hot(count, like), np.zeros((count, count), dtype=bool)


def _through_normalization(g: np.ndarray, unit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(I - u u^T) g / |z| for every row: the tangent part, smaller for longer embeddings."""
    tangent = g - unit * (g * unit).sum(axis=1, keepdims=True)
    return tangent / np.linalg.norm(z, axis=1, keepdims=True)


def _own_class(
    hardness: np.ndarray, classes: np.ndarray | None, negative: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The share of the push on the anchor's own class, and the share of negatives that are of it."""
    if classes is None:
        return None, None
    own = classes[:, None] == classes[None, :]
    return (hardness * own).sum(axis=1), (negative & own).sum(axis=1) / negative.sum(axis=1)


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
