"""How evenly embeddings cover the sphere: uniformity in both estimators, its exact floor, its spectrum over scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercon.autograd import logsumexp, softplus
from hypercon.autograd.ops import raw
from hypercon.backend import to_host
from hypercon.errors import InputError
from hypercon.losses import uniformity_loss
from hypercon.losses.common import plain
from hypercon.metrics.rows import pair_count, rows_of
from hypercon.palette import CURVES, FAINT, INK
from hypercon.temperature import check_temperature
from hypercon.validation import (
    as_array,
    check_embeddings,
    check_flag,
    check_labels,
    check_number,
    check_positive,
    check_whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARPNESSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def uniformity(z: Any, t: float = 2.0, *, self_pairs: bool = False) -> Any:
    """How evenly embeddings cover the sphere: higher is more uniform.

    ``-log mean_{i != j} exp(-t |z_i - z_j|^2)``, the negative of the uniformity loss of Wang & Isola 2020 (section
    4.1.2), as Wang & Liu 2021 plot it. On the sphere the kernel is ``exp(2t s)`` up to a constant: that of a
    contrastive loss with temperature ``1 / (2t)``. So ``t`` is a scale, and a number without its ``t`` says little.

    Parameters
    ----------
    z : array_like or Tensor, (N, D)
        Embeddings; rows are put onto the sphere.
    t : float, default 2.0
        The kernel's sharpness, positive.
    self_pairs : bool, default False
        Count pairs of an embedding with itself: the mean over all (i, j), which is the potential energy of the batch as
        a distribution (appendix A.1.1). `with_self_pairs` converts.

    Returns
    -------
    float or Tensor
        At least 0 (all in one place). With self-pairs at most ``-uniformity_floor(D, t)``, and at most ``log N``.
        Without, at most ``4t``: the mean over i != j is right on average, so a batch may lie above minus the floor. By
        how much `uniformity_noise` says. For a large t it is far: the kernel then sees at most the nearest neighbour,
        and the number is about t times the least squared distance.

    Raises
    ------
    InputError, DtypeError
        The embeddings are not (N, D) with finite, non-zero rows, or ``t`` is not positive.

    Examples
    --------
    >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(uniformity(square), 4), round(uniformity(square, self_pairs=True), 4), round(-uniformity_floor(2), 4)
    (4.3963, 1.35, 1.575)
    """
    with_self = check_flag(self_pairs, "self_pairs")
    if not with_self:
        return -uniformity_loss(z, t=t)
    z = check_embeddings(z, "z")
    return plain(_with_self_pairs(-uniformity_loss(z, t=t), z.shape[0]))


def with_self_pairs(uniformity: float, count: int) -> float:
    """What `uniformity` would be with the pairs of an embedding with itself.

    ``B exp(-U1) = 1 + (B - 1) exp(-U2)`` for a batch of B (Wang & Isola 2020, appendix A.1.1), U1 with and U2 without
    self-pairs. U1 depends on B far more than on the encoder: never compare it across batch sizes.

    Parameters
    ----------
    uniformity : float
        U2, without self-pairs.
    count : int
        B, at least 2.

    Returns
    -------
    float
        U1, less than ``log B``.

    Raises
    ------
    InputError, DtypeError
        ``uniformity`` is not finite or ``count`` less than 2.

    Examples
    --------
    >>> [round(with_self_pairs(3.94, count), 2) for count in (8, 128, 2048)]  # the same encoder
    [1.95, 3.61, 3.92]
    """
    value = float(check_number(uniformity, "uniformity"))
    return float(_with_self_pairs(value, check_whole(count, "count", least=2, why="one embedding alone has no pair")))


def without_self_pairs(uniformity: float, count: int) -> float:
    """What `uniformity` would be without the pairs of an embedding with itself: `with_self_pairs` undone.

    Parameters
    ----------
    uniformity : float
        U1, with self-pairs, less than ``log B``.
    count : int
        B, at least 2.

    Returns
    -------
    float
        U2. The nearer U1 is to ``log B``, the fewer of its digits are left in U2.

    Raises
    ------
    InputError, DtypeError
        ``uniformity`` is not less than ``log B``, or ``count`` less than 2.

    Examples
    --------
    >>> round(without_self_pairs(with_self_pairs(3.94, 128), 128), 12)
    3.94
    """
    value = float(check_number(uniformity, "uniformity"))
    count = check_whole(count, "count", least=2, why="one embedding alone has no pair")
    most = math.log(count)
    if value >= most:
        raise InputError(
            f"uniformity got {value:g}, expected less than log({count}) = {most:g}, which no batch of {count} reaches "
            "with self-pairs: was it computed without them?"
        )
    return float(math.log(count - 1) - math.log(math.expm1(most - value)))


def _with_self_pairs(value: Any, count: int) -> Any:
    return math.log(count) - softplus(math.log(count - 1) - value)


def uniformity_by_class(z: Any, labels: Any, t: float = 2.0) -> dict[int, float]:
    """`uniformity` of the members of each class among themselves: which class fills a region, which a point.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    labels : array_like of int, (N,)
    t : float, default 2.0

    Returns
    -------
    dict from int to float
        By label, in rising order; classes with a single member have no pair and are left out.

    Raises
    ------
    InputError, DtypeError
        As `uniformity`; bad labels, or no two embeddings share a class.

    Examples
    --------
    >>> z = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0]])
    >>> {label: round(value, 4) for label, value in uniformity_by_class(z, [0, 0, 1, 1, 2]).items()}
    {0: 0.0, 1: 8.0}
    """
    z = rows_of(z)
    labels = check_labels(labels, len(z))
    members = {int(c): labels == c for c in np.unique(labels)}
    found = {c: abs(float(uniformity(z[mask], t))) for c, mask in members.items() if mask.sum() > 1}  # never -0.0
    if not found:
        raise InputError("labels: no two embeddings share a class, expected at least one pair of the same class")
    return found


def uniformity_floor(dim: int, t: float = 2.0) -> float:
    """The exact minimum of the uniformity loss over all distributions on the sphere: that of the uniform one.

    ``-2t + log 0F1(; D/2; t^2)`` (Wang & Isola 2020, Corollary 1). `uniformity` reports the negative of the loss, so
    ``-uniformity_floor`` is the most it approaches with many points.

    Parameters
    ----------
    dim : int
        D, the number of dimensions of the embeddings, at least 2.
    t : float, default 2.0

    Returns
    -------
    float
        At most 0.

    Raises
    ------
    InputError
        ``dim`` is less than 2, or ``t`` is not positive.

    Examples
    --------
    >>> round(uniformity_floor(128), 4), round(uniformity_floor(3, t=1.0), 4)
    (-3.9375, -1.4048)
    """
    dim = check_whole(dim, "dim", least=2, why="a sphere in one dimension is two points")
    t = check_positive(t, "t")
    # the logarithm of the power series 0F1(; b; t^2) = sum_k t^2k / (k! (b)_k), from the terms around its largest one:
    # the others are less than rounding, and for a large t there would be very many
    b = dim / 2
    largest = max(0.0, math.hypot((b - 1) / 2, t) - (b + 1) / 2)  # where a term equals the next: t^2 = (k + 1) (b + k)
    reach = 15 * math.sqrt(largest + 1) + 60
    k = np.arange(max(0, int(largest - reach)), int(largest + reach), dtype=np.float64)
    first = 2 * k[0] * math.log(t) - math.lgamma(k[0] + 1) - math.lgamma(b + k[0]) + math.lgamma(b)
    steps = 2 * math.log(t) - np.log((k[1:]) * (b + k[1:] - 1))
    return float(-2 * t + logsumexp(first + np.concatenate([[0.0], np.cumsum(steps)])))


def uniformity_noise(dim: int, count: int, t: float = 2.0) -> float:
    """How far `uniformity` of ``count`` random points falls from minus its floor: the standard deviation.

    ``sqrt( 2 / (N (N - 1)) (exp(F(2t) - 2 F(t)) - 1) )`` with F the floor. For points drawn from the uniform
    distribution the kernels of different pairs are uncorrelated, and the kernel's square is the kernel at 2t, so this
    is exactly the standard deviation of their mean relative to it. It is that of the logarithm while it is small. From
    about 1 on, N points are too few for the scale t: the mean rests on a handful of pairs.

    Parameters
    ----------
    dim : int
        D, at least 2.
    count : int
        N, at least 2.
    t : float, default 2.0

    Returns
    -------
    float
        Positive, and ``inf`` where it exceeds every float.

    Raises
    ------
    InputError, DtypeError
        As `uniformity_floor`, or ``count`` is less than 2.

    Examples
    --------
    >>> [round(uniformity_noise(64, 500, t), 4) for t in (2.0, 8.0, 16.0)]
    [0.0015, 0.0149, 0.3692]
    """
    count = check_whole(count, "count", least=2, why="one embedding alone has no pair")
    spread = uniformity_floor(dim, 2 * check_positive(t, "t")) - 2 * uniformity_floor(dim, t)
    if spread > 700:
        return math.inf
    return math.sqrt(2 / pair_count(count) * math.expm1(max(spread, 0.0)))


def uniformity_spectrum(z: Any, ts: Sequence[float]) -> np.ndarray:
    """`uniformity` at several sharpnesses: which scale of the distribution is even, and which is not.

    `spectrum_against_floor` gives the same with the most that is possible beside it.

    Parameters
    ----------
    z : array_like, (N, D)
    ts : sequence of float

    Returns
    -------
    ndarray, (len(ts),)

    Raises
    ------
    InputError, DtypeError
        As `uniformity`, or ``ts`` is no sequence of numbers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> uniformity_spectrum(rng.normal(size=(50, 3)), [1.0, 2.0]).round(2)
    array([1.32, 1.93])
    """
    if not isinstance(ts, list | tuple | np.ndarray) or as_array(ts, "ts").ndim != 1 or len(ts) == 0:
        raise InputError(f"ts got {type(ts).__name__}, expected several numbers such as [1.0, 2.0]")
    return np.array([float(uniformity(to_host(raw(z)), t)) for t in ts])


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """`uniformity` over sharpnesses, beside what uniform points would have. Made by `spectrum_against_floor`.

    Attributes
    ----------
    ts : ndarray, (T,)
        Sharpnesses, rising.
    uniformity : ndarray, (T,)
    most : ndarray, (T,)
        Minus the floor: what the uniform distribution has.
    gap : ndarray, (T,)
        ``most - uniformity``: 0 where the embeddings are as even as random points at that scale.
    noise : ndarray, (T,)
        `uniformity_noise`: how large a gap, of either sign, random points would show.
    marked : float or None
        The sharpness ``1 / (2 tau)`` whose kernel is that of the contrastive loss at the temperature given.
    count, dim : int
        N and D.
    """

    ts: np.ndarray
    uniformity: np.ndarray
    most: np.ndarray
    gap: np.ndarray
    noise: np.ndarray
    marked: float | None
    count: int
    dim: int

    def __repr__(self) -> str:
        lines = [
            f"uniformity of {self.count} embeddings in {self.dim} dimensions",
            f"{'t':>8}{'uniformity':>12}{'most':>9}{'gap':>9}{'noise':>9}",
        ]
        for t, value, most, gap, noise in zip(self.ts, self.uniformity, self.most, self.gap, self.noise, strict=True):
            mark = f"   temperature {1 / (2 * t):.3g}" if t == self.marked else ""
            lines.append(f"{t:>8.3g}{value:>12.3f}{most:>9.3f}{gap:>9.3f}{noise:>9.2g}{mark}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Uniformity over the sharpness beside the most that is possible, with the temperature's own scale marked.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure  # takes longer to import than everything else together

        figure = Figure(figsize=(6, 4), dpi=100, facecolor="white", layout="constrained")
        ax = figure.add_subplot()
        ax.plot(self.ts, self.most, color=FAINT, label="the most: minus the floor")
        ax.fill_between(self.ts, self.uniformity, self.most, color=FAINT, alpha=0.25, linewidth=0)
        ax.plot(self.ts, self.uniformity, color=CURVES[0], marker="o", label=f"{self.count} embeddings")
        if self.marked is not None:
            ax.axvline(self.marked, color=INK, linestyle="--", linewidth=1)
            ax.annotate(
                f"temperature {1 / (2 * self.marked):.3g}", (self.marked, 0.03), xycoords=("data", "axes fraction"),
                xytext=(4, 0), textcoords="offset points", color=INK,
            )  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("t, the kernel's sharpness")
        ax.set_ylabel(f"uniformity in {self.dim} dimensions")
        ax.legend(frameon=False, loc="upper left")
        ax.spines[["top", "right"]].set_visible(False)
        return figure


def spectrum_against_floor(z: Any, ts: Sequence[float] = SHARPNESSES, *, temperature: Any = None) -> Spectrum:
    """`uniformity_spectrum` beside the most that each sharpness allows, with the one of a temperature marked.

    Parameters
    ----------
    z : array_like, (N, D)
        Embeddings; rows are put onto the sphere.
    ts : sequence of float, default (0.5, 1, 2, 4, 8, 16)
    temperature : float, optional
        tau of a contrastive loss: ``t = 1 / (2 tau)`` is added and marked.

    Returns
    -------
    Spectrum
        Prints as a table.

    Raises
    ------
    InputError, DtypeError
        As `uniformity_spectrum`, or the temperature is not positive.

    Examples
    --------
    >>> angles = np.linspace(0, np.pi, 100)  # half a circle
    >>> spectrum_against_floor(np.stack([np.cos(angles), np.sin(angles)], axis=1), [2.0, 8.0], temperature=0.2)
    uniformity of 100 embeddings in 2 dimensions
           t  uniformity     most      gap    noise
           2       1.055    1.575    0.520    0.022
         2.5       1.160    1.695    0.536    0.024   temperature 0.2
           8       1.725    2.297    0.572    0.035
    """
    z = check_embeddings(z, "z")
    marked = None if temperature is None else 1 / (2 * float(check_temperature(temperature)))
    values = dict(zip(ts, uniformity_spectrum(z, ts), strict=True))
    if marked is not None and marked not in values:
        values[marked] = uniformity_spectrum(z, [marked])[0]
    count, dim = z.shape
    sharpnesses = np.array(sorted(values), dtype=float)
    found = np.array([values[t] for t in sharpnesses])
    most = np.array([-uniformity_floor(dim, t) for t in sharpnesses])
    noise = np.array([uniformity_noise(dim, count, t) for t in sharpnesses])
    return Spectrum(sharpnesses, found, most, most - found, noise, marked, count, dim)
