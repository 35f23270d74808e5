"""Lesson 05: alignment, the potential whose logarithm is uniformity, its floor, and where the logarithm stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice, permuting, rotating, unit, views
from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn: rows on the sphere


def _pairs(rng: np.random.Generator, size: int) -> Arguments:
    z1, z2 = views(rng, size)
    return unit(z1), unit(z2)


def _points(rng: np.random.Generator, size: int) -> Arguments:
    return unit(lattice(rng, (size, 3))), float(rng.choice([0.5, 1.5, 3.0]))


def _far(rng: np.random.Generator) -> Arguments:
    return np.array([[1.0, 0.0], [-0.6, 0.8], [-0.6, -0.8]]), 400.0


def _scale(rng: np.random.Generator, size: int) -> Arguments:
    return (float(rng.integers(1, 40 * size)) / 100,)


def _steep(rng: np.random.Generator) -> Arguments:
    return (2000.0,)


def _similarities(rng: np.random.Generator, size: int) -> Arguments:
    z = unit(lattice(rng, (size, 3)))
    return z @ z.T, a_temperature(rng)


# --- the right answers, by another route


def _alignment(z1: np.ndarray, z2: np.ndarray) -> float:
    return 2 - 2 * math.fsum(float(a @ b) for a, b in zip(z1, z2, strict=True)) / len(z1)


def _uniformity_loss(z: np.ndarray, t: float) -> float:
    """Pair by pair."""
    n = len(z)
    exponents = [-t * float(((z[i] - z[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j]
    return float(np.logaddexp.reduce(exponents)) - math.log(n * (n - 1))


def _sphere_floor(t: float) -> float:
    """By quadrature: on the sphere in three dimensions the similarity of two random points is uniform in [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    reach = min(2.0, 40 / t)  # of d^2 / 2; what lies farther has no weight
    heights = reach * (nodes + 1) / 2
    return math.log(math.fsum(weights * np.exp(-2 * t * heights)) * reach / 4)


def _both_logs(similarities: np.ndarray, temperature: float) -> tuple[float, float]:
    n = len(similarities)
    rows = [np.logaddexp.reduce(np.delete(row, i) / temperature) for i, row in enumerate(similarities)]
    return math.fsum(rows) / n - math.log(n - 1), float(np.logaddexp.reduce(rows)) - math.log(n * (n - 1))


# --- laws


def _symmetric(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the two views can be exchanged"""
    z1, z2 = arguments
    return None if np.allclose(answer(z1, z2), answer(z2, z1)) else "another order of the views gives another result"


def _nought_when_equal(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """0 when both views coincide"""
    found = float(answer(arguments[0], arguments[0]))
    return None if abs(found) < 1e-9 else f"views that coincide have {found:.6g}"


def _nought_when_collapsed(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """0 when all points coincide"""
    z, t = arguments
    found = float(answer(np.tile(z[:1], (len(z), 1)), t))
    return None if abs(found) < 1e-9 else f"points that coincide have {found:.6g}"


def _falls(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """it falls as t grows"""
    (t,) = arguments
    return None if float(answer(2 * t)) < float(answer(t)) else f"at {2 * t:g} it is not below that at {t:g}"


def _inside_is_lower(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the logarithm inside is never above the one outside"""
    inside, outside = answer(*arguments)
    return None if inside <= outside + 1e-9 else f"inside {float(inside):.6g}, outside {float(outside):.6g}"


# --- mistakes


def _potential(z: np.ndarray, t: float, square: bool = True) -> np.ndarray:
    squared = 2 - 2 * z @ z.T
    return np.exp(-t * (squared if square else np.sqrt(np.maximum(squared, 0))))


def _off_diagonal(x: np.ndarray) -> np.ndarray:
    return x[~np.eye(len(x), dtype=bool)]


EXERCISES = (
    Exercise(
        "05.1",
        "alignment",
        _pairs,
        _alignment,
        "For each pair, the squared length of the difference of its two rows; then the mean over pairs.",
        more_hints=("((z1 - z2) ** 2).sum(axis=1).mean()",),
        laws=(_symmetric, _nought_when_equal, permuting(0, 1)),
        mistakes={
            "the distance is not squared": lambda a, b: np.linalg.norm(a - b, axis=1).mean(),
            "the mean runs over dimensions too: sum over them": lambda a, b: ((a - b) ** 2).mean(),
            "a sum over pairs where a mean is meant": lambda a, b: ((a - b) ** 2).sum(),
            "that is the mean similarity": lambda a, b: (a * b).sum(axis=1).mean(),
            "all pairs are compared, not those of one instance": lambda a, b: (2 - 2 * a @ b.T).mean(),
        },
    ),
    Exercise(
        "05.2",
        "uniformity_loss",
        _points,
        _uniformity_loss,
        "On the sphere |x - y|^2 = 2 - 2 x.y. Take exp(-t d^2), leave out the diagonal, then mean, then log.",
        more_hints=(
            "At t = 400 every exp(-t d^2) is 0, its log -inf: subtract the largest exponent before, add it after.",
            "m = exponents.max(); np.log(np.exp(exponents - m).mean()) + m, exponents without the diagonal",
        ),
        extremes=(_far,),
        laws=(rotating(0), permuting(0), _nought_when_collapsed),
        mistakes={
            "each point is paired with itself: leave out the diagonal": lambda z, t: np.log(_potential(z, t).mean()),
            "the sign is wrong: that is the metric": lambda z, t: -_uniformity_loss(z, t),
            "the distance is not squared": lambda z, t: np.log(_off_diagonal(_potential(z, t, square=False)).mean()),
            "not stable: every potential is 0": lambda z, t: np.log(_off_diagonal(_potential(z, t)).mean()),
            "the logarithm comes before the mean": lambda z, t: np.log(_off_diagonal(_potential(z, t))).mean(),
            "t is missing": lambda z, t: _uniformity_loss(z, 1.0),
            "the logarithm is missing": lambda z, t: math.exp(_uniformity_loss(z, t)),
            "a sum over pairs where a mean is meant": lambda z, t: np.log(_off_diagonal(_potential(z, t)).sum()),
        },
    ),
    Exercise(
        "05.3",
        "sphere_floor",
        _scale,
        _sphere_floor,
        "The mean over s in [-1, 1] of exp(-t (2 - 2 s)): an integral that you can do by hand. Then its logarithm.",
        more_hints=(
            "The integral is (1 - exp(-4 t)) / (4 t).",
            "np.log1p(-np.exp(-4 * t)) - np.log(4 * t)",
        ),
        extremes=(_steep,),
        laws=(_falls,),
        mistakes={
            "the logarithm is missing": lambda t: math.exp(_sphere_floor(t)),
            "the mean over [-1, 1] has a factor 1/2": lambda t: _sphere_floor(t) + math.log(2),
            "2 t where 4 t is meant": lambda t: math.log((1 - math.exp(-2 * t)) / (2 * t)),
            "the sign is wrong: that is the metric's ceiling": lambda t: -_sphere_floor(t),
            "the lower end of the integral is missing": lambda t: -math.log(4 * t),
        },
    ),
    Exercise(
        "05.4",
        "both_logs",
        _similarities,
        _both_logs,
        "Leave out the diagonal. Inside: a log-mean-exp of each row, then the mean. Outside: one of all pairs.",
        more_hints=("inside = np.log(mean of each row of exp(s / tau)).mean(); outside = np.log(mean of all of them)",),
        outputs=2,
        laws=(_inside_is_lower,),
        mistakes={
            "the two are exchanged": lambda s, tau: _both_logs(s, tau)[::-1],
            "the diagonal is left in": lambda s, tau: (
                np.log(np.exp(s / tau).mean(axis=1)).mean(), np.log(np.exp(s / tau).mean())),
            "the temperature is missing": lambda s, tau: _both_logs(s, 1.0),
            "sums where means are meant": lambda s, tau: (
                _both_logs(s, tau)[0] + math.log(len(s) - 1),
                _both_logs(s, tau)[1] + math.log(len(s) * (len(s) - 1))),
        },
    ),
)  # fmt: skip
