"""An encoder's embeddings judged at a glance: every measure beside the best it can be and what it is without learning.

The thresholds stand here, each with its reason. A reading is made of numbers that the table shows, never of more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hypercon.errors import InputError
from hypercon.losses import chance as chance_of
from hypercon.losses import floor as floor_of
from hypercon.losses import info_nce
from hypercon.metrics.classes import mean_similarity, similarities_of_pairs
from hypercon.metrics.probes import knn_accuracy
from hypercon.metrics.rank import effective_rank
from hypercon.metrics.retrieval import contrastive_accuracy, push
from hypercon.metrics.rows import pair_of_views
from hypercon.metrics.uniformity import uniformity, uniformity_floor, uniformity_noise
from hypercon.temperature import check_temperature
from hypercon.validation import check_labels

COLLAPSED = 0.05  # of the most uniformity: pairs at about 18 degrees from each other
CONCENTRATED = 0.6  # of the most: useful encoders have 75 % at temperature 1, the simple loss 43 % (Wang & Liu, tab. 1)
UNEVEN = 0.9  # of the most, where noise does not explain the rest: no fault, classes are such unevenness
NOISES = 5  # standard deviations that random points practically never leave
FEW_DIMENSIONS = 0.5  # of the effective rank that as many random points have in as many dimensions
COMMON = 0.1  # of the squared length in one direction that all embeddings share
AT_CHANCE = 0.98  # of the loss of embeddings that all are equal
UNALIGNED = 0.9  # of the distance between views of different instances
BARELY = 1.5  # times the accuracy of guessing
NEIGHBOURS = 5


@dataclass(frozen=True)
class Reading:
    """One line of a `Diagnosis`.

    Attributes
    ----------
    name : str
    value : float
    best : float or None
        The best that is possible: a floor or a ceiling.
    chance : float or None
        Its value where nothing is learned; of which kind, ``compared`` says.
    compared : str
        What ``chance`` is: "equal embeddings", "views of different instances", ...
    says : str
        The reading in plain words.
    alarm : bool
        Whether the reading is one to act on.
    """

    name: str
    value: float
    best: float | None
    chance: float | None
    compared: str
    says: str
    alarm: bool = False


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; prints as a table. ``d["uniformity"]`` is one `Reading`, iteration gives all of them.

    Attributes
    ----------
    readings : tuple of Reading
    count, dim : int
        N and D.
    temperature : float or None
    """

    readings: tuple[Reading, ...]
    count: int
    dim: int
    temperature: float | None

    @property
    def alarms(self) -> list[str]:
        """The readings to act on, in words; empty where there are none."""
        return [reading.says for reading in self.readings if reading.alarm]

    def __iter__(self) -> Iterator[Reading]:
        return iter(self.readings)

    def __getitem__(self, name: str) -> Reading:
        for reading in self.readings:
            if reading.name == name:
                return reading
        raise InputError(f"{name!r} was not measured, expected one of: {', '.join(r.name for r in self.readings)}")

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and texts that JSON can hold."""
        return asdict(self) | {"alarms": self.alarms}

    def __repr__(self) -> str:
        at = "" if self.temperature is None else f" at temperature {self.temperature:g}"
        lines = [
            f"{self.count} instances, two views each, in {self.dim} dimensions{at}",
            f"{'':24}{'value':>9}{'best':>9}{'chance':>9}",
        ]
        for r in self.readings:
            best, chance = (f"{'':>9}" if x is None else f"{_digits(x):>9}" for x in (r.best, r.chance))
            mark = "! " if r.alarm else "  "
            lines.append(f"{r.name:24}{_digits(r.value):>9}{best}{chance}  {mark}{r.says}".rstrip())
        return "\n".join(lines)


def diagnose(z1: Any, z2: Any, labels: Any = None, temperature: Any = None) -> Diagnosis:
    """Embeddings of two views, judged: each measure beside the best possible, chance, and what it means in plain words.

    Measured are `alignment`, `contrastive_accuracy`, `uniformity`, the direction that all embeddings share
    (`mean_similarity`) and `effective_rank`, centred; with ``temperature`` also the InfoNCE loss, its bound on mutual
    information, the effective number of negatives and uniformity at that loss's own scale ``t = 1 / (2 tau)``; with
    ``labels`` tolerance, its gap, the accuracy of nearest neighbours (each embedding judged by the others) and, with
    both, the share of the push that falls on an anchor's own class.

    Uniformity, rank, tolerance and neighbours are those of the first view. An alarm is raised

    - "collapsed": uniformity at t = 2 is less than 5 % of the most;
    - "concentrated": it is less than 60 % of the most, and by more than 5 times `uniformity_noise`;
    - "dimensionally collapsed": the effective rank is less than half of what as many random points have;
    - "a common direction": mean similarity above 0.1;
    - "at chance": the loss is at least 98 % of that of equal embeddings;
    - "not aligned": positives are at 90 % or more of the distance of views of different instances;
    - neighbours or views found less than 1.5 times as often as by guessing.

    Parameters
    ----------
    z1, z2 : array_like, (N, D)
        Embeddings of two views; row i of both is the same instance. Rows are put onto the sphere.
    labels : array_like of int, (N,), optional
    temperature : float or temperature object, optional
        That of the loss the encoder was trained with.

    Returns
    -------
    Diagnosis
        Prints as a table; `Diagnosis.to_dict` is for files, ``alarms`` for programs.

    Raises
    ------
    InputError, DtypeError
        Bad views, labels or temperature; D is less than 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(500, 16)) @ np.diag([1.0] * 4 + [0.01] * 12)  # four dimensions of sixteen
    >>> found = diagnose(z, z + 0.1 * rng.normal(size=z.shape) * z.std(axis=0), temperature=0.2)
    >>> found
    500 instances, two views each, in 16 dimensions at temperature 0.2
                                value     best   chance
    alignment                   0.014    0.000    2.000    positives are near
    contrastive accuracy        0.866    1.000    0.002    of the second views is found
    uniformity                  2.417    3.513    0.000    uneven: 69% of the most, at t = 2
    common direction            0.000                      no direction shared by all
    effective rank              4.910   16.000   15.942  ! dimensionally collapsed: 5 of 16
    loss                        3.546    1.465    6.215    57% of chance
    information                 2.669    4.749    0.000    nats at least
    effective negatives       133.908           499.000    negatives share the push
    uniformity at its scale     2.727    4.250    0.000    uneven: 64% of the most, at t = 2.5
    >>> found.alarms
    ['dimensionally collapsed: 5 of 16']
    """
    u, v = pair_of_views(z1, z2)
    count, dim = u.shape
    if dim < 2:
        raise InputError(f"z1 got shape {u.shape}, expected at least 2 dimensions: in one the sphere is two points")
    known = None if labels is None else check_labels(labels, count)
    tau = None if temperature is None else float(check_temperature(temperature))
    readings = [
        _alignment(u, v),
        _found(u, v),
        _evenness("uniformity", u, 2.0),
        _common(u),
        _dimensions(u),
        *(() if tau is None else _loss(u, v, tau)),
        *(() if known is None else _classes(u, known)),
        *(() if tau is None else _push(u, v, tau, known)),
        *(() if tau is None else [_evenness("uniformity at its scale", u, 1 / (2 * tau), alarming=False)]),
    ]
    return Diagnosis(tuple(readings), count, dim, tau)


def _alignment(u: np.ndarray, v: np.ndarray) -> Reading:
    count = len(u)
    own = float(np.einsum("nd,nd->", u, v))
    distance = 2 - 2 * own / count
    others = 2 - 2 * (float(u.sum(axis=0) @ v.sum(axis=0)) - own) / (count * (count - 1))
    bad = distance > UNALIGNED * others and others > 1e-9
    says = "not aligned: positives are hardly nearer than other instances" if bad else "positives are near"
    return Reading("alignment", max(distance, 0.0), 0.0, others, "views of different instances", says, bad)


def _found(u: np.ndarray, v: np.ndarray) -> Reading:
    share, chance = contrastive_accuracy(u, v), 1 / len(u)
    bad = share < BARELY * chance
    says = "instances are not told apart" if bad else "of the second views is found"
    return Reading("contrastive accuracy", share, 1.0, chance, "guessing", says, bad)


def _evenness(name: str, u: np.ndarray, t: float, alarming: bool = True) -> Reading:
    count, dim = u.shape
    value, even, noise = abs(float(uniformity(u, t))), -uniformity_floor(dim, t), uniformity_noise(dim, count, t)
    # so few points can stand as the corners of a regular simplex, all |x - y|^2 = 2N / (N - 1): further apart than
    # uniform ones, against which they are still judged, for random points are no fault
    simplex = count <= dim + 1
    best = 2 * t * count / (count - 1) if simplex else even
    share, whole = value / even, "what uniform points have" if simplex else "the most"
    if share < COLLAPSED:
        says, bad = "collapsed: all embeddings nearly in one place", True
    elif noise > 0.5:
        says, bad = f"{count} points are too few for this scale, t = {t:.3g}", False
    elif share < UNEVEN and even - value > NOISES * noise:
        bad = share < CONCENTRATED and alarming
        says = f"{'concentrated' if bad else 'uneven'}: {share:.0%} of {whole}, at t = {t:.3g}"
    else:
        says, bad = f"even, at t = {t:.3g}", False
    return Reading(name, value, best, 0.0, "equal embeddings", says, bad)


def _common(u: np.ndarray) -> Reading:
    shared = mean_similarity(u)
    bad = shared > COMMON
    says = f"a common direction holds {shared:.0%} of the squared length" if bad else "no direction shared by all"
    return Reading("common direction", shared, None, None, "", says, bad)


def _dimensions(u: np.ndarray) -> Reading:
    count, dim = u.shape
    rank = effective_rank(u, centred=True)
    # what as many points have without any collapse is less than D, and has no simple formula: it is measured
    random = effective_rank(np.random.default_rng(0).normal(size=u.shape), centred=True)
    bad = rank < FEW_DIMENSIONS * random
    says = f"dimensionally collapsed: {rank:.0f} of {dim}" if bad else f"{rank:.0f} of {dim} dimensions filled"
    return Reading("effective rank", rank, float(min(count - 1, dim)), random, "random points", says, bad)


def _loss(u: np.ndarray, v: np.ndarray, tau: float) -> tuple[Reading, Reading]:
    count = len(u)
    loss = float(info_nce(u, v, temperature=tau))
    least, chance = floor_of("info_nce", count, tau), chance_of("info_nce", count)
    bad = loss >= AT_CHANCE * chance
    if bad:
        says = "at chance" if loss <= chance * (2 - AT_CHANCE) else "above chance: negatives are nearer than positives"
    else:
        says = f"{loss / chance:.0%} of chance"
    shown = chance - loss
    bound = "nats at least" if shown > 0 else "none shown"
    return (
        Reading("loss", loss, least, chance, "equal embeddings", says, bad),
        Reading("information", shown, chance - least, 0.0, "equal embeddings", bound),
    )


def _classes(u: np.ndarray, labels: np.ndarray) -> list[Reading]:
    pairs = similarities_of_pairs(u, labels)
    kept, anyone = pairs.within / pairs.same, (pairs.within + pairs.between) / (pairs.same + pairs.other)
    readings = [Reading("tolerance", kept, 1.0, anyone, "classes play no role", "within classes")]
    if pairs.other:
        gap, share = kept - pairs.between / pairs.other, float(pairs.counts.max()) / len(u)
        k = min(NEIGHBOURS, len(u) - 1)
        right = knn_accuracy(u, labels, k=k)
        lost = right < BARELY * share and right < (1 + share) / 2
        readings += [
            Reading("tolerance gap", gap, None, 0.0, "classes play no role", "within less between classes"),
            Reading(
                "neighbours",
                right,
                1.0,
                share,
                "the largest class",
                "of no use: hardly better than guessing" if lost else f"right by the {k} nearest others",
                lost,
            ),
        ]
    return readings


def _push(u: np.ndarray, v: np.ndarray, tau: float, labels: np.ndarray | None) -> list[Reading]:
    found = push(u, v, tau, labels)
    effective = float(found.effective_negatives.mean())
    readings = [
        Reading("effective negatives", effective, None, len(u) - 1.0, "equal weights", "negatives share the push")
    ]
    if found.on_own_class is not None and found.own_class is not None:
        share, rate = float(found.on_own_class.mean()), float(found.own_class.mean())
        readings.append(
            Reading("push on own class", share, 0.0, rate, "equal weights", "of the push falls on the anchor's class")
        )
    return readings


def _digits(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}" if abs(value) < 1000 else f"{value:.0f}"  # never -0.000
