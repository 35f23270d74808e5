"""Assignment 3: the sphere and its measures. Expected values are sums over pairs, quadratures and complex steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.coursework.assignments import draws
from hypercon.coursework.assignments.draws import lattice, unit
from hypercon.coursework.exercise import Assignment, Exercise


def _batch(rng: np.random.Generator, size: int) -> tuple[np.ndarray]:
    return (lattice(rng, (size, size + 1)),)


def _of_length(factor: float) -> Callable[[np.random.Generator], Any]:
    return lambda rng: (lattice(rng, (3, 4)) * factor,)


def _normalized(x: np.ndarray) -> np.ndarray:
    """``math.hypot`` neither overflows nor underflows."""
    return np.array([[value / math.hypot(*row) for value in row] for row in x])


def _with_cotangent(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return lattice(rng, (size, size + 1)), lattice(rng, (size, size + 1))


def _normalized_slope(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    gradient = np.zeros_like(x)
    for i, j in np.ndindex(x.shape):
        moved = x[i].astype(complex)
        moved[j] += 1e-30j
        gradient[i, j] = (g[i] @ (moved / np.sqrt((moved * moved).sum()))).imag / 1e-30
    return gradient


def _lengths(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=1, keepdims=True)


# --- measures


def _pairs(z: np.ndarray) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]


def _with_sharpness(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return lattice(rng, (size, size + 1)), float(rng.choice([0.5, 1.5, 3.0]))


def _sharp(rng: np.random.Generator) -> tuple[Any, ...]:
    """Rows almost at right angles: every exponential vanishes."""
    return rng.permutation(np.eye(4)) * rng.uniform(0.5, 2, (4, 1)) + 0.01 * lattice(rng, (4, 4)), 2000.0


def _uniformity(z: np.ndarray, t: float) -> float:
    u = unit(z)
    exponents = [-t * math.fsum((u[i] - u[j]) ** 2) for i, j in _pairs(z)]
    return -float(np.logaddexp.reduce(exponents)) + math.log(len(exponents))


def _kernel(z: np.ndarray, t: float, squared: bool = True) -> np.ndarray:
    u = unit(z)
    distances = np.linalg.norm(u[:, None] - u[None], axis=2)
    return np.exp(-t * (distances**2 if squared else distances))


def _off(x: np.ndarray) -> np.ndarray:
    return x[~np.eye(len(x), dtype=bool)]


def _sphere(rng: np.random.Generator, size: int) -> tuple[int, float]:
    return size, float(rng.choice([0.5, 1.5, 2.5, 4.0]))


def _floor(dim: int, t: float) -> float:
    """-log of the kernel's mean over two uniform points: the angle between them has density sin^(D - 2)."""
    node, weight = np.polynomial.legendre.leggauss(100)
    angle = (node + 1) * np.pi / 2
    density = weight * np.sin(angle) ** (dim - 2)
    return -math.log((density * np.exp(-t * (2 - 2 * np.cos(angle)))).sum() / density.sum())


def _labelled(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    count = size + 2
    labels = rng.permutation(np.concatenate([[0, 0, 1], rng.integers(0, 3, count - 3)]))
    return lattice(rng, (3, 4))[labels] + lattice(rng, (count, 4)) / 2, labels  # near their kind, as embeddings are


def _tolerance(z: np.ndarray, labels: np.ndarray) -> float:
    u = unit(z)
    same = [float(u[i] @ u[j]) for i, j in _pairs(z) if labels[i] == labels[j]]
    return math.fsum(same) / len(same)


def _same(labels: np.ndarray) -> np.ndarray:
    return labels[:, None] == labels[None]


def _cosines(z: np.ndarray) -> np.ndarray:
    return unit(z) @ unit(z).T


# --- weights of the negatives


def _similarities(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return rng.integers(-99, 100, (size + 1, size + 1)) / 100, draws.temperature(rng)


def _cold(rng: np.random.Generator) -> tuple[Any, ...]:
    """Similarities of rows that are cosines as far apart as they can be: some weights vanish in every row."""
    return rng.permuted(np.tile([-0.95, -0.9, 0.3, 0.9, 0.95], (5, 1)), axis=1), 1e-3


def _rows_apart(rng: np.random.Generator) -> tuple[Any, ...]:
    return draws.ROWS_APART, 1e-3


def _positives_ahead(rng: np.random.Generator) -> tuple[Any, ...]:
    return draws.POSITIVES_AHEAD, 1e-3


def _plain(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return (rng.integers(-99, 100, (size + 1, size + 1)) / 100,)


def _entropy_of(logits: np.ndarray) -> np.ndarray:
    """log of the mass less the mean logit, row by row."""
    values = []
    for row in logits:
        kept = row[np.isfinite(row)]
        mass = np.logaddexp.reduce(kept)
        values.append(mass - float(np.exp(kept - mass) @ kept))
    return np.array(values)


def _masked(s: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(s), dtype=bool), -np.inf, s)


def _limits(s: np.ndarray) -> tuple[float, float]:
    """Wang & Liu 2021, equations 8 and 5: the hardest negative alone, and all alike."""
    rows = [([v for j, v in enumerate(row) if j != i], row[i]) for i, row in enumerate(s)]
    hardest = math.fsum(max(0.0, max(others) - own) for others, own in rows) / len(rows)
    alike = math.fsum(math.fsum(others) / len(others) - own for others, own in rows) / len(rows)
    return hardest, alike


A3 = Assignment(
    "a3",
    "The sphere and its measures",
    (
        Exercise(
            "3.1", "normalize", _batch, _normalized,
            "Divide by the largest entry first: then no square overflows or vanishes.", keeps_dtype=True,
            extremes=(_of_length(1e200), _of_length(1e-200)), laws=(draws.scaling(0),),
            mistakes={
                "columns are normalised: the wrong axis": lambda x: x / np.linalg.norm(x, axis=0, keepdims=True),
                "the whole array is normalised: the axis is missing": lambda x: x / np.linalg.norm(x),
                "the square root is missing": lambda x: x / _lengths(x) ** 2,
                "rows are divided by the sum of their moduli": lambda x: x / np.abs(x).sum(axis=1, keepdims=True),
                "rows are divided by their largest entry": lambda x: x / np.abs(x).max(axis=1, keepdims=True),
                "a mean square where a sum is meant": lambda x: x / np.sqrt((x * x).mean(axis=1, keepdims=True)),
            },
        ),
        Exercise(
            "3.2", "normalize_gradient", _with_cotangent, _normalized_slope,
            "Take from g what points along the row, and divide by the row's length.", keeps_dtype=True,
            laws=(draws.tangent(1), draws.permuting(0, 1, moves=True)),
            mistakes={
                "the projection is missing": lambda g, x: g / _lengths(x),
                "the division by the length is missing": lambda g, x: _normalized_slope(g, x) * _lengths(x),
                "divided by the squared length": lambda g, x: _normalized_slope(g, x) / _lengths(x),
                "the row is not normalised in the projection": lambda g, x: (
                    g - x * (x * g).sum(axis=1, keepdims=True)) / _lengths(x),
                "the projection has the wrong sign": lambda g, x: (
                    g + unit(x) * (unit(x) * g).sum(axis=1, keepdims=True)) / _lengths(x),
                "the projection sums along the wrong axis": lambda g, x: (
                    g - unit(x) * (unit(x) * g).sum(axis=0, keepdims=True)) / _lengths(x),
            },
        ),
        Exercise(
            "3.3", "uniformity", _with_sharpness, _uniformity,
            "Pairs of different embeddings only; add exponentials by their logarithms.", extremes=(_sharp,),
            laws=(draws.permuting(0), draws.rotating(0), draws.scaling(0)),
            mistakes={
                "the sign is wrong": lambda z, t: -_uniformity(z, t),
                "the diagonal is not masked": lambda z, t: -np.log(_kernel(z, t).mean()),
                "missing 1/N: a sum over pairs where a mean is meant": lambda z, t: -np.log(_off(_kernel(z, t)).sum()),
                "the diagonal is masked but counted in the mean": lambda z, t: -np.log(
                    _off(_kernel(z, t)).sum() / len(z) ** 2),
                "distances are not squared": lambda z, t: -np.log(_off(_kernel(z, t, squared=False)).mean()),
                "the logarithm is taken before the mean": lambda z, t: -np.log(_off(_kernel(z, t))).mean(),
                "the logarithm is missing": lambda z, t: _off(_kernel(z, t)).mean(),
                "t is missing": lambda z, t: _uniformity(z, 1.0),
                "t divides where it should multiply": lambda z, t: _uniformity(z, 1 / t),
                "rows are not normalised": lambda z, t: -np.log(_off(
                    np.exp(-t * ((z[:, None] - z[None]) ** 2).sum(axis=2))).mean()),
            },
        ),
        Exercise(
            "3.4", "uniformity_bound", _sphere, _floor,
            "Integrate over the angle between two points, whose density is sin^(D - 2).", sizes=(2, 3, 4, 8, 16, 64),
            mistakes={
                "the sign is wrong": lambda dim, t: -_floor(dim, t),
                "the density has the power D - 1: a dimension too many": lambda dim, t: _floor(dim + 1, t),
                "the density has the power D - 3: a dimension too few": lambda dim, t: _floor(max(dim - 1, 2), t),
                "the density is missing": lambda dim, t: _floor(2, t),
                "t is missing": lambda dim, t: _floor(dim, 1.0),
            },
        ),
        Exercise(
            "3.5", "tolerance", _labelled, _tolerance,
            "The mean over pairs that share a class, no embedding with itself.",
            laws=(draws.permuting(0, 1), draws.rotating(0), draws.scaling(0)),
            mistakes={
                "the diagonal is not masked": lambda z, c: _cosines(z)[_same(c)].mean(),
                "the mean runs over all pairs": lambda z, c: _off(_cosines(z) * _same(c)).mean(),
                "the mean runs over all entries": lambda z, c: (_cosines(z) * _same(c)).mean(),
                "classes play no role": lambda z, c: _off(_cosines(z)).mean(),
                "pairs of other classes are taken": lambda z, c: _cosines(z)[~_same(c)].mean(),
                "a sum where a mean is meant": lambda z, c: _off(_cosines(z) * _same(c)).sum(),
                "rows are not normalised": lambda z, c: (z @ z.T)[_same(c) & ~np.eye(len(z), dtype=bool)].mean(),
                "the gap to other classes is given": lambda z, c: _tolerance(z, c) - _cosines(z)[~_same(c)].mean(),
            },
        ),
        Exercise(
            "3.6", "weights_entropy", _similarities,
            lambda similarities, temperature: _entropy_of(_masked(similarities) / temperature),
            "The weights are a softmax over the negatives; 0 log 0 is 0.",
            extremes=(_cold, _rows_apart, _positives_ahead), keeps_dtype=True,
            mistakes={
                "the sign is wrong": lambda s, tau: -_entropy_of(_masked(s) / tau),
                "the diagonal is not masked": lambda s, tau: _entropy_of(s / tau),
                "missing temperature": lambda s, tau: _entropy_of(_masked(s)),
                "the temperature multiplies where it should divide": lambda s, tau: _entropy_of(_masked(s) * tau),
                "the softmax runs along the wrong axis": lambda s, tau: _entropy_of(_masked(s).T / tau),
                "the entropy is in bits": lambda s, tau: _entropy_of(_masked(s) / tau) / np.log(2),
                "the effective number, not the entropy": lambda s, tau: np.exp(_entropy_of(_masked(s) / tau)),
                "one mean for all anchors": lambda s, tau: _entropy_of(_masked(s) / tau).mean(),
            },
        ),
        Exercise(
            "3.7", "temperature_limits", _plain, _limits,
            "Cold: only the largest negative counts, if it beats the positive. Hot: all negatives alike.", 2,
            mistakes={
                "the two limits are exchanged": lambda s: _limits(s)[::-1],
                "the sign is wrong": lambda s: tuple(-v for v in _limits(s)),
                "the diagonal is not masked in the maximum": lambda s: (
                    (s.max(axis=1) - np.diag(s)).mean(), (s.mean(axis=1) - np.diag(s)).mean()),
                "the hinge at 0 is missing": lambda s: (
                    (_masked(s).max(axis=1) - np.diag(s)).mean(), _limits(s)[1]),
                "the candidates run along the wrong axis": lambda s: _limits(s.T),
                "the mean counts the positive: 1/N where 1/(N - 1) is meant": lambda s: (
                    _limits(s)[0], ((s.sum(axis=1) - np.diag(s)) / len(s) - np.diag(s)).mean()),
                "the diagonal is not masked in the mean": lambda s: (
                    _limits(s)[0], (s.mean(axis=1) - np.diag(s)).mean()),
                "a sum over negatives where a mean is meant": lambda s: (
                    _limits(s)[0], (s.sum(axis=1) - 2 * np.diag(s)).mean()),
            },
        ),
    ),
)  # fmt: skip
