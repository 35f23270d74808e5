"""Lesson 07: the push on the own class, uniformity at every scale, tolerance beside its gap, and a centred head."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, tensor
from hypercon.coursework.assignments.draws import POSITIVES_AHEAD, ROWS_APART, lattice, unit
from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _labelled_similarities(rng: np.random.Generator, size: int) -> Arguments:
    count = size + 1
    return rng.integers(-9, 10, (count, count)) / 10, rng.integers(0, 2, count), a_temperature(rng)


def _cold(rng: np.random.Generator) -> Arguments:
    return rng.permutation(np.arange(16)).reshape(4, 4) / 16, np.array([0, 1, 0, 1]), 1e-3


def _rows_apart(rng: np.random.Generator) -> Arguments:
    return ROWS_APART, np.array([0, 1, 0, 1]), 1e-3


def _positives_ahead(rng: np.random.Generator) -> Arguments:
    return POSITIVES_AHEAD, np.array([0, 1, 0, 1]), 1e-3


def _rows(rng: np.random.Generator, size: int) -> Arguments:
    return lattice(rng, (size, size + 1)), rng.choice([0.5, 1.0, 2.0, 4.0, 7.0], 3, replace=False)


def _sharp(rng: np.random.Generator) -> Arguments:
    return lattice(rng, (4, 3)), np.array([1.0, 2000.0])


def _labelled(rng: np.random.Generator, size: int) -> Arguments:
    labels = np.concatenate([[0, 0, 1], rng.integers(0, 3, size)])
    return lattice(rng, (len(labels), 4)), rng.permutation(labels)


def _batch(rng: np.random.Generator, size: int) -> Arguments:
    return (lattice(rng, (size, size + 1)),)


def _constant_column(rng: np.random.Generator) -> Arguments:
    h = lattice(rng, (4, 3))
    h[:, 1] = 2.0
    return (h,)


# --- the right answers, by another route: pair by pair


def _own_share(similarities: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    shares = []
    for i, row in enumerate(similarities):
        others = [j for j in range(len(row)) if j != i]
        peak = max(row[others])
        mass = {j: math.exp((row[j] - peak) / temperature) for j in others}
        own = math.fsum(mass[j] for j in others if labels[j] == labels[i])
        shares.append(own / math.fsum(mass.values()))
    return np.array(shares)


def _spectrum(z: np.ndarray, ts: np.ndarray) -> np.ndarray:
    u = unit(z)
    distances = np.array([math.fsum((a - b) ** 2) for i, a in enumerate(u) for b in u[:i]])
    return np.array([math.log(len(distances)) - np.logaddexp.reduce(-t * distances) for t in ts])


def _tolerance_and_gap(z: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """By sums over classes: |sum of a class|^2 holds its pairs, and its members with themselves."""
    u = unit(z)
    sums = [(u[labels == c].sum(axis=0), int((labels == c).sum())) for c in np.unique(labels)]
    pairs = sum(n * (n - 1) for _, n in sums)
    within = sum(float(s @ s) - n for s, n in sums)
    all_pairs, everything = len(u) * (len(u) - 1), float(u.sum(axis=0) @ u.sum(axis=0)) - len(u)
    return within / pairs, within / pairs - (everything - within) / (all_pairs - pairs)


def _standardised(h: np.ndarray) -> np.ndarray:
    columns = []
    for column in h.T:
        mean = math.fsum(column) / len(column)
        variance = math.fsum((x - mean) ** 2 for x in column) / len(column)
        columns.append([(x - mean) / math.sqrt(variance + 1e-5) for x in column])
    return np.array(columns).T


# --- laws


def _of_the_shift(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a number added to all similarities changes nothing"""
    similarities, labels, tau = arguments
    if not np.allclose(answer(similarities + 0.25, labels, tau), answer(*arguments), rtol=1e-6, atol=1e-9):
        return "0.25 added to all similarities changes the shares"
    return None


def _of_names(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the names of the classes play no role"""
    first, labels, *others = arguments
    named = answer(first, 7 - labels, *others)
    return None if np.allclose(named, answer(*arguments)) else "other numbers for the same classes change the result"


def _without_the_positive(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the positives play no role"""
    similarities, labels, tau = arguments
    moved = np.where(np.eye(len(labels), dtype=bool), -0.95, similarities)
    if not np.allclose(answer(moved, labels, tau), answer(*arguments), rtol=1e-6, atol=1e-9):
        return "another diagonal changes the shares"
    return None


def _rising(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """it rises with t, from 0"""
    values = np.asarray(answer(arguments[0], np.array([1e-9, 0.5, 1.0, 2.0, 4.0])))
    return (
        None
        if abs(values[0]) < 1e-6 and (np.diff(values) > 0).all()
        else "at t = 0, 0.5, 1, 2, 4 it does not rise from 0"
    )


def _of_lengths(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the lengths of the rows play no role"""
    z, *others = arguments
    longer = z * rng.uniform(0.5, 3, (len(z), 1))
    if not np.allclose(np.asarray(answer(longer, *others)), np.asarray(answer(*arguments)), rtol=1e-6, atol=1e-9):
        return "longer rows change the result: put them onto the sphere"
    return None


def _gap_of_chance(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """embeddings all in one place have tolerance 1 and gap 0"""
    z, labels = arguments
    tolerance, gap = (float(x) for x in answer(np.tile(z[:1], (len(z), 1)), labels))
    if math.isclose(tolerance, 1, abs_tol=1e-9) and math.isclose(gap, 0, abs_tol=1e-9):
        return None
    return f"with all rows alike they are {tolerance:.4g} and {gap:.4g}"


def _centred(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """every column has mean 0"""
    means = np.abs(np.asarray(answer(*arguments)).mean(axis=0))
    return None if (means < 1e-9).all() else f"a column has the mean {means.max():.4g}"


def _of_the_offset(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a row added to all rows changes nothing"""
    (h,) = arguments
    moved = answer(h + rng.integers(-9, 10, h.shape[1]))
    return None if np.allclose(moved, answer(h), atol=1e-6) else "an offset common to all rows is not removed"


# --- mistakes


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _distances(z: np.ndarray) -> np.ndarray:
    return np.linalg.norm(z[:, None] - z[None], axis=2)


def _weights(similarities: np.ndarray, tau: float, axis: int = 1) -> np.ndarray:
    masked = np.where(np.eye(len(similarities), dtype=bool), -np.inf, similarities / tau)
    return np.asarray(np.exp(masked - np.logaddexp.reduce(masked, axis=axis, keepdims=True)))


def _weights_below(similarities: np.ndarray, tau: float, maximum: Any) -> np.ndarray:
    mass = np.where(np.eye(len(similarities), dtype=bool), 0.0, np.exp((similarities - maximum) / tau))
    return mass / mass.sum(axis=1, keepdims=True)


def _spectrum_below_one_maximum(z: np.ndarray, ts: np.ndarray) -> np.ndarray:
    exponents = -np.outer(ts, _off_diagonal(_distances(unit(z))) ** 2)
    return -(np.log(np.exp(exponents - exponents.max()).mean(axis=1)) + exponents.max())


def _same(labels: np.ndarray) -> np.ndarray:
    return labels[:, None] == labels[None]


def _with_positive(similarities: np.ndarray, tau: float) -> np.ndarray:
    return np.exp(similarities / tau - np.logaddexp.reduce(similarities / tau, axis=1, keepdims=True))


def _tolerances(z: np.ndarray, labels: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    s = unit(z) @ unit(z).T
    return s[same].mean(), s[same].mean() - s[~_same(labels)].mean()


def _as_printed(z: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    s, same, other = unit(z) @ unit(z).T, _same(labels), ~np.eye(len(z), dtype=bool)
    within = (s * same)[other].mean()
    return within, within - (s * ~same)[other].mean()


def _gap_to_all(z: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    within = _tolerance_and_gap(z, labels)[0]
    return within, within - _off_diagonal(unit(z) @ unit(z).T).mean()


def _mean(h: Any, axis: Any = 0) -> Any:
    """Of arrays and of tensors."""
    return h.mean(axis=axis, keepdims=True)


def _variance(h: Any, axis: Any = 0) -> Any:
    return _mean((h - _mean(h, axis)) ** 2, axis)


def _of_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Asked with a tensor, as a layer is, and answered with its data."""

    def answer(h: np.ndarray) -> Any:
        value = function(tensor(h))
        return value.data if isinstance(value, Tensor) else value

    return answer


EXERCISES = (
    Exercise(
        "07.1",
        "own_class_share",
        _labelled_similarities,
        _own_share,
        "The weights of lesson 03 for every row, without the diagonal; then the sum over labels equal to the anchor's.",
        more_hints=(
            "np.where(np.eye(N, dtype=bool), -np.inf, similarities / temperature) leaves the positives out.",
            "labels[:, None] == labels is True where two images share a class.",
            "At 0.001 exp overflows: subtract each row's maximum first, taken after the positives are left out.",
        ),
        extremes=(_cold, _rows_apart, _positives_ahead),
        laws=(_without_the_positive, _of_the_shift, _of_names),
        mistakes={
            "the positive is counted among its own class": lambda s, y, tau: (_with_positive(s, tau) * _same(y)).sum(1),
            "the positive is in the denominator: that is P, not r": lambda s, y, tau: (
                _with_positive(s, tau) * _same(y) * ~np.eye(len(y), dtype=bool)
            ).sum(1),
            "the temperature is missing": lambda s, y, tau: _own_share(s, y, 1.0),
            "the share of the other classes": lambda s, y, tau: 1 - _own_share(s, y, tau),
            "the number of negatives is counted, not their weight": lambda s, y, tau: (
                (_same(y).sum(1) - 1) / (len(y) - 1)
            ),
            "the weights run down the columns": lambda s, y, tau: _own_share(s.T, y, tau),
            "a mean where the sum over the class is meant": lambda s, y, tau: (_weights(s, tau) * _same(y)).mean(1),
            "not stable: the row's maximum is its positive: leave that out before you take it": lambda s, y, tau: (
                _weights_below(s, tau, s.max(axis=1, keepdims=True)) * _same(y)
            ).sum(1),
            "not stable: one maximum for the whole matrix, where each row needs its own": lambda s, y, tau: (
                _weights_below(s, tau, _off_diagonal(s).max()) * _same(y)
            ).sum(1),
        },
    ),
    Exercise(
        "07.2",
        "spectrum",
        _rows,
        _spectrum,
        "Squared distances on the sphere are 2 - 2 s. Take the pairs i != j, and -log of the mean of exp(-t d^2).",
        more_hints=(
            "(2 - 2 * z @ z.T)[~np.eye(len(z), dtype=bool)] are the squared distances of pairs of two different rows.",
            "At t = 2000 every exp is 0: take the largest exponent out first, and add it again after log.",
        ),
        extremes=(_sharp,),
        laws=(_rising, _of_lengths),
        mistakes={
            "pairs of a row with itself are counted": lambda z, ts: np.array(
                [-np.log(np.exp(-t * _distances(unit(z)) ** 2).mean()) for t in ts]
            ),
            "the distance is not squared": lambda z, ts: np.array(
                [-np.log(np.exp(-t * _off_diagonal(_distances(unit(z)))).mean()) for t in ts]
            ),
            "rows are not put onto the sphere": lambda z, ts: np.array(
                [-np.log(np.exp(-t * _off_diagonal(_distances(z)) ** 2).mean()) for t in ts]
            ),
            "the sign is that of the loss": lambda z, ts: -_spectrum(z, ts),
            "a sum over pairs where a mean is meant": lambda z, ts: _spectrum(z, ts) - math.log(len(z) * (len(z) - 1)),
            "not stable: one maximum for all t, where each needs its own": _spectrum_below_one_maximum,
            "the log stands inside the mean": lambda z, ts: np.array(
                [t * (_off_diagonal(_distances(unit(z))) ** 2).mean() for t in ts]
            ),
        },
    ),
    Exercise(
        "07.3",
        "tolerance_and_gap",
        _labelled,
        _tolerance_and_gap,
        "Two masks: pairs of one class without the diagonal, and pairs of two classes. Means over each.",
        outputs=2,
        more_hints=(
            "same = labels[:, None] == labels; the diagonal of it is True, and is no pair.",
            "within = s[same & ~np.eye(N, dtype=bool)].mean(); the gap is within - s[~same].mean()",
        ),
        laws=(_gap_of_chance, _of_lengths, _of_names),
        mistakes={
            "every embedding is paired with itself": lambda z, y: _tolerances(z, y, _same(y)),
            "a mean over all pairs, with zeros where classes differ (equation 11 as printed)": _as_printed,
            "the rows are not put onto the sphere": lambda z, y: (
                (z @ z.T)[_same(y) & ~np.eye(len(z), dtype=bool)].mean(),
                (z @ z.T)[_same(y) & ~np.eye(len(z), dtype=bool)].mean() - (z @ z.T)[~_same(y)].mean(),
            ),
            "the gap is to the mean over all pairs, not over pairs of two classes": _gap_to_all,
            "the gap has the wrong sign": lambda z, y: (_tolerance_and_gap(z, y)[0], -_tolerance_and_gap(z, y)[1]),
            "the second is the mean between classes: subtract it": lambda z, y: (
                _tolerance_and_gap(z, y)[0],
                _tolerance_and_gap(z, y)[0] - _tolerance_and_gap(z, y)[1],
            ),
        },
    ),
    Exercise(
        "07.4",
        "standardised",
        _batch,
        _standardised,
        "h - h.mean(axis=0) has columns with mean 0. Its variance is the mean of its squares.",
        more_hints=(
            "The 1e-5 stands under the root, with the variance.",
            "(centred * centred).mean(axis=0) + 1e-5, to the power 0.5, works for arrays and for tensors.",
        ),
        extremes=(_constant_column,),
        laws=(_centred, _of_the_offset),
        mistakes={
            "rows are standardised, not columns": lambda h: (h - _mean(h, 1)) / (_variance(h, 1) + 1e-5) ** 0.5,
            "it is not divided by the root of the variance": lambda h: h - _mean(h),
            "divided by the variance, not by its root": lambda h: (h - _mean(h)) / (_variance(h) + 1e-5),
            "the mean is not subtracted": lambda h: h / (_variance(h) + 1e-5) ** 0.5,
            "the variance is divided by N - 1": lambda h: (
                (h - _mean(h)) / (_variance(h) * h.shape[0] / (h.shape[0] - 1) + 1e-5) ** 0.5
            ),
            "1e-5 stands outside the root": lambda h: (h - _mean(h)) / (_variance(h) ** 0.5 + 1e-5),
            "one mean for all columns": lambda h: (h - _mean(h, (0, 1))) / (_variance(h, (0, 1)) + 1e-5) ** 0.5,
        },
        adapt=_of_tensors,
        tolerance=1e-7,
    ),
)
