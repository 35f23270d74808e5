"""Lesson 04: how many negatives the temperature lets count, and what the loss becomes at both ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _negatives(rng: np.random.Generator, size: int) -> Arguments:
    return rng.choice(np.arange(-9, 10), size, replace=False) / 10, a_temperature(rng)


def _cold(rng: np.random.Generator) -> Arguments:
    return np.array([0.3, 0.9, -0.2]), 1e-3


def _tied(rng: np.random.Generator) -> Arguments:
    return np.array([0.9, 0.1, 0.9]), 1e-3


def _matrix(rng: np.random.Generator, size: int) -> Arguments:
    return (rng.integers(-9, 10, (size, size)) / 10,)


def _matrix_and_temperature(rng: np.random.Generator, size: int) -> Arguments:
    return rng.integers(-9, 10, (size, size)) / 10, float(rng.choice([5.0, 20.0, 100.0]))


def _satisfied(rng: np.random.Generator) -> Arguments:
    return (np.array([[0.9, 0.1, 0.2], [0.3, 0.1, -0.5], [0.2, 0.4, 0.5]]),)


# --- the right answers, by another route


def _shares(negatives: np.ndarray, temperature: float) -> list[float]:
    return [1 / math.fsum(math.exp(min((o - s) / temperature, 700)) for o in negatives) for s in negatives]


def _effective_negatives(negatives: np.ndarray, temperature: float) -> float:
    """The product of r to the power of -r."""
    return math.prod(r**-r for r in _shares(negatives, temperature) if r > 0)


def _entropy_slope(negatives: np.ndarray, temperature: float) -> float:
    """By Richardson's differences of the entropy: no formula of its derivative."""

    def entropy(tau: float) -> float:
        return math.log(_effective_negatives(negatives, tau))

    def central(h: float) -> float:
        return (entropy(temperature + h) - entropy(temperature - h)) / (2 * h)

    h = 2e-2 * temperature
    first, second, third = central(h), central(h / 2), central(h / 4)
    return (64 * third - 20 * second + first) / 45


def _cold_limit(similarities: np.ndarray) -> float:
    violations = [max(max(np.delete(row, i)) - row[i], 0.0) for i, row in enumerate(similarities)]
    return math.fsum(violations) / len(violations)


def _hot_limit(similarities: np.ndarray, temperature: float) -> float:
    """Sums over the whole matrix and its trace."""
    n = len(similarities)
    return math.log(n) + (math.fsum(similarities.ravel()) / n - float(np.trace(similarities))) / (n * temperature)


# --- laws


def _between_one_and_all(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """between 1 and the number of negatives"""
    count, found = len(arguments[0]), float(answer(*arguments))
    return None if 1 - 1e-9 <= found <= count + 1e-9 else f"{found:.6g} of {count} negatives"


def _all_when_equal(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """equal similarities: all of them count"""
    count = len(arguments[0])
    found = float(answer(np.full(count, 0.4), arguments[1]))
    return None if math.isclose(found, count, rel_tol=1e-9) else f"{count} equal negatives count as {found:.6g}"


def _never_negative(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """never negative: entropy rises with the temperature"""
    found = float(answer(*arguments))
    return None if found >= 0 else f"the slope is {found:.6g}"


def _of_the_shift(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a number added to all similarities changes nothing"""
    first, *others = arguments
    if not np.allclose(answer(*arguments), answer(first + 0.25, *others), rtol=1e-6, atol=1e-9):
        return "0.25 added to all similarities changes the result: only differences count"
    return None


# --- mistakes


def _softmax(s: np.ndarray, tau: float) -> np.ndarray:
    return np.exp(s / tau - np.logaddexp.reduce(s / tau))


def _entropy(s: np.ndarray, tau: float) -> float:
    return math.log(_effective_negatives(s, tau))


def _variance(s: np.ndarray, tau: float) -> float:
    r = _softmax(s, tau)
    return float(r @ s**2 - (r @ s) ** 2)


def _others(s: np.ndarray) -> np.ndarray:
    return s[~np.eye(len(s), dtype=bool)].reshape(len(s), -1)


EXERCISES = (
    Exercise(
        "04.1",
        "effective_negatives",
        _negatives,
        _effective_negatives,
        "Shares as in 03.2, their entropy -sum r log r, and exp of that.",
        more_hints=(
            "At 0.001, exp(0.9 / 0.001) overflows: subtract the largest first. A share of 0 adds 0, not nan.",
            "log r is (s - s.max()) / tau - log(sum), which is finite where log(r) is not. Sum r * log r with that.",
        ),
        extremes=(_cold, _tied),
        laws=(_between_one_and_all, _all_when_equal, _of_the_shift),
        mistakes={
            "the temperature is missing": lambda s, tau: _effective_negatives(s, 1.0),
            "the temperature multiplies where it should divide": lambda s, tau: _effective_negatives(s, 1 / tau),
            "that is the entropy: take exp of it": _entropy,
            "the sign of the entropy is wrong": lambda s, tau: math.exp(-_entropy(s, tau)),
            "entropy in bits, but exp to base e": lambda s, tau: math.exp(_entropy(s, tau) / math.log(2)),
            "that is 1 / sum r^2, another measure": lambda s, tau: 1 / (_softmax(s, tau) ** 2).sum(),
        },
    ),
    Exercise(
        "04.2",
        "entropy_slope",
        _negatives,
        _entropy_slope,
        "With b = 1 / tau, dH/db = -b Var, the variance of s under r. Then db/dtau = -1 / tau^2.",
        more_hints=("The variance is sum r s^2 - (sum r s)^2, with r as weights.", "variance / temperature**3"),
        laws=(_never_negative, _of_the_shift),
        mistakes={
            "the sign is wrong": lambda s, tau: -_variance(s, tau) / tau**3,
            "all negatives are weighted alike: r is missing in the variance": lambda s, tau: s.var() / tau**3,
            "a power of the temperature is missing: tau^2 for tau^3": lambda s, tau: _variance(s, tau) / tau**2,
            "that is the slope by 1 / tau": lambda s, tau: -_variance(s, tau) / tau,
            "the square of the mean is not subtracted": lambda s, tau: float(_softmax(s, tau) @ s**2) / tau**3,
            "the temperature is missing in the shares": lambda s, tau: _variance(s, 1.0) / tau**3,
        },
    ),
    Exercise(
        "04.3",
        "cold_limit",
        _matrix,
        _cold_limit,
        "Of each row only the largest negative matters, and only if it is above the positive.",
        more_hints=(
            "The diagonal is no negative: put -inf there before the maximum.",
            "np.maximum(hardest - np.diag(similarities), 0).mean()",
        ),
        extremes=(_satisfied,),
        laws=(_of_the_shift,),
        mistakes={
            "the 0 is missing: a positive that leads counts 0": lambda s: (_others(s).max(axis=1) - np.diag(s)).mean(),
            "the sign is wrong": lambda s: -_cold_limit(s),
            "a sum over anchors where a mean is meant": lambda s: len(s) * _cold_limit(s),
            "the largest of each column, not of each row": lambda s: _cold_limit(s.T),
            "all negatives count, not only the hardest": lambda s: np.maximum(
                _others(s) - np.diag(s)[:, None], 0
            ).mean(),
        },
    ),
    Exercise(
        "04.4",
        "hot_limit",
        _matrix_and_temperature,
        _hot_limit,
        "log N, plus (the mean of the row - its positive) / tau, averaged over rows. The mean is over all N.",
        more_hints=("np.log(N) + (similarities.mean(axis=1) - np.diag(similarities)).mean() / temperature",),
        tolerance=1e-9,
        laws=(_of_the_shift,),
        mistakes={
            "log N is missing": lambda s, tau: _hot_limit(s, tau) - math.log(len(s)),
            "the mean is over the negatives alone": lambda s, tau: (
                math.log(len(s)) + (_others(s).mean() - np.diag(s).mean()) / tau
            ),
            "the sign is wrong": lambda s, tau: 2 * math.log(len(s)) - _hot_limit(s, tau),
            "the temperature multiplies where it should divide": lambda s, tau: _hot_limit(s, 1 / tau),
            "that is the loss itself": lambda s, tau: (
                np.logaddexp.reduce(s / tau, axis=1).mean() - np.diag(s).mean() / tau
            ),
        },
    ),
)
