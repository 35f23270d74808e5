"""Lesson 03: InfoNCE of one anchor and of a batch, who is pushed how hard, and the gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _anchor(rng: np.random.Generator, size: int) -> Arguments:
    similarities = rng.choice(np.arange(-9, 10), size, replace=False) / 10  # no two alike
    return float(similarities[0]), similarities[1:], a_temperature(rng)


def _batch(rng: np.random.Generator, size: int) -> Arguments:
    return rng.integers(-9, 10, (size, size)) / 10, a_temperature(rng)


def _cold(rng: np.random.Generator) -> Arguments:
    return np.array([[0.1, 0.9, 0.3], [-0.7, 0.2, 0.6], [0.8, -0.3, 0.4]]), 1e-3


def _rows_apart(rng: np.random.Generator) -> Arguments:
    return np.array([[0.9, 0.1], [0.0, -0.1]]), 1e-3


# --- the right answers, by another route: differences to the positive, and sums entry by entry


def _loss_of_anchor(positive: float, negatives: np.ndarray, temperature: float) -> float:
    return math.log1p(math.fsum(math.exp((s - positive) / temperature) for s in negatives))


def _hardness(positive: float, negatives: np.ndarray, temperature: float) -> np.ndarray:
    return np.array([1 / math.fsum(math.exp((other - s) / temperature) for other in negatives) for s in negatives])


def _info_nce(similarities: np.ndarray, temperature: float) -> float:
    differences = (similarities - np.diag(similarities)[:, None]) / temperature
    return math.fsum(np.logaddexp.reduce(row) for row in differences) / len(similarities)


def _gradient(similarities: np.ndarray, temperature: float) -> np.ndarray:
    n = len(similarities)
    gradient = np.zeros((n, n))
    for i, row in enumerate(similarities):
        mass = [math.exp((s - max(row)) / temperature) for s in row]
        for j in range(n):
            gradient[i, j] = (mass[j] / math.fsum(mass) - (i == j)) / (n * temperature)
    return gradient


# --- laws


def _of_the_order(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the order of the negatives plays no role"""
    positive, negatives, tau = arguments
    order = rng.permutation(len(negatives))
    before, after = answer(positive, negatives, tau), answer(positive, negatives[order], tau)
    if not np.allclose(after, before[order] if np.ndim(before) else before, rtol=1e-6, atol=1e-9):
        return "another order of the negatives gives other results"
    return None


def _of_the_shift(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a number added to all similarities changes nothing"""
    *similarities, tau = arguments
    moved = answer(*(s + 0.25 for s in similarities), tau)
    if not np.allclose(answer(*arguments), moved, rtol=1e-6, atol=1e-9):
        return "0.25 added to all similarities changes the result: only differences count"
    return None


def _shares(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the shares sum to 1"""
    total = float(np.sum(answer(*arguments)))
    return None if math.isclose(total, 1, abs_tol=1e-9) else f"the shares sum to {total:.6g}"


def _without_the_positive(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the positive plays no role"""
    positive, *others = arguments
    if not np.allclose(answer(positive, *others), answer(positive - 0.5, *others), rtol=1e-6, atol=1e-9):
        return "another similarity of the positive gives other shares"
    return None


def _balanced(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """pull and push of every anchor balance: rows sum to 0"""
    rows = np.abs(np.asarray(answer(*arguments)).sum(axis=-1))
    worst = int(rows.argmax()) if rows.ndim else 0
    return None if (rows < 1e-9).all() else f"row {worst} sums to {rows.flat[worst]:.3g} in absolute value"


# --- mistakes


def _softmax(s: np.ndarray, tau: float, axis: int = 1) -> np.ndarray:
    return np.exp(s / tau - np.logaddexp.reduce(s / tau, axis=axis, keepdims=True))


def _below_one_maximum(s: np.ndarray, tau: float) -> np.ndarray:
    """Each entry's exp, relative to the largest of all rows."""
    return np.exp((s - s.max()) / tau)


def _among_negatives(s: np.ndarray, tau: float) -> np.ndarray:
    return _softmax(np.where(np.eye(len(s), dtype=bool), -np.inf, s), tau)


EXERCISES = (
    Exercise(
        "03.1",
        "loss_of_anchor",
        _anchor,
        _loss_of_anchor,
        "Divide each similarity by the temperature, take exp, and divide the positive's by the sum of all.",
        more_hints=(
            "The sum in the denominator has the positive in it.",
            "-log(exp(positive / tau) / (exp(positive / tau) + np.exp(negatives / tau).sum()))",
        ),
        laws=(_of_the_order, _of_the_shift),
        mistakes={
            "the positive is missing in the denominator": lambda p, n, tau: np.log(np.exp(n / tau).sum()) - p / tau,
            "the temperature is missing": lambda p, n, tau: _loss_of_anchor(p, n, 1.0),
            "the temperature multiplies where it should divide": lambda p, n, tau: _loss_of_anchor(p, n, 1 / tau),
            "the logarithm is missing": lambda p, n, tau: math.exp(-_loss_of_anchor(p, n, tau)),
            "the sign is wrong": lambda p, n, tau: -_loss_of_anchor(p, n, tau),
            "the negatives are averaged, not summed": lambda p, n, tau: math.log1p(np.exp((n - p) / tau).mean()),
        },
    ),
    Exercise(
        "03.2",
        "hardness",
        _anchor,
        _hardness,
        "It is a softmax, and the softmax runs over the negatives alone.",
        more_hints=("np.exp(negatives / temperature), divided by its own sum.",),
        laws=(_shares, _without_the_positive, _of_the_order),
        mistakes={
            "the positive is in the denominator: that is P, not r": lambda p, n, tau: (
                np.exp(n / tau) / (np.exp(n / tau).sum() + np.exp(p / tau))
            ),
            "the temperature is missing": lambda p, n, tau: _hardness(p, n, 1.0),
            "the temperature multiplies where it should divide": lambda p, n, tau: _hardness(p, n, 1 / tau),
            "it is not divided by the sum": lambda p, n, tau: np.exp(n / tau),
            "the exponential is missing": lambda p, n, tau: n / n.sum(),
            "the sign in the exponent is wrong": lambda p, n, tau: _hardness(p, -n, tau),
        },
    ),
    Exercise(
        "03.3",
        "info_nce",
        _batch,
        _info_nce,
        "Row i is anchor i; its positive stands on the diagonal. The mean over anchors of log(sum(exp)) - positive.",
        more_hints=(
            "exp overflows at 710. A number subtracted from a whole row changes nothing in the end: which one is good?",
            "Subtract each row's maximum before exp, and add it again after log.",
        ),
        extremes=(_cold, _rows_apart),
        laws=(_of_the_shift,),
        mistakes={
            "the temperature is missing": lambda s, tau: _info_nce(s, 1.0),
            "the softmax runs down the columns": lambda s, tau: _info_nce(s.T, tau),
            "a sum over anchors where a mean is meant": lambda s, tau: len(s) * _info_nce(s, tau),
            "the positive is missing in the denominator": lambda s, tau: np.mean(
                np.logaddexp.reduce(np.where(np.eye(len(s), dtype=bool), -np.inf, s / tau), axis=1) - np.diag(s) / tau
            ),
            "the positive is not subtracted": lambda s, tau: np.logaddexp.reduce(s / tau, axis=1).mean(),
            "the maximum is not added back": lambda s, tau: _info_nce(s, tau) - (s.max(axis=1) / tau).mean(),
            "not stable: one maximum for the whole matrix, where each row needs its own": lambda s, tau: np.mean(
                np.log(_below_one_maximum(s, tau).sum(axis=1)) + (s.max() - np.diag(s)) / tau
            ),
            "not stable: exp overflows": lambda s, tau: (
                -np.log(np.exp(np.diag(s) / tau) / np.exp(s / tau).sum(axis=1)).mean()
            ),
        },
    ),
    Exercise(
        "03.4",
        "gradient",
        _batch,
        _gradient,
        "P - 1 on the diagonal and P elsewhere, P being the softmax of the row. Two factors are left.",
        more_hints=(
            "One factor is the inner derivative of s / tau, the other that of the mean over N anchors.",
            "(P - np.eye(N)) / (N * temperature), with P computed as stably as in 03.3",
        ),
        extremes=(_cold, _rows_apart),
        laws=(_balanced, _of_the_shift),
        mistakes={
            "the sign is wrong": lambda s, tau: -_gradient(s, tau),
            "the 1/N of the mean is missing": lambda s, tau: len(s) * _gradient(s, tau),
            "the 1/tau of the inner derivative is missing": lambda s, tau: tau * _gradient(s, tau),
            "the temperature is missing in the softmax": lambda s, tau: _gradient(s, 1.0) / tau,
            "the positive's 1 is missing": lambda s, tau: _softmax(s, tau) / (len(s) * tau),
            "the softmax runs down the columns": lambda s, tau: (_softmax(s, tau, 0) - np.eye(len(s))) / (len(s) * tau),
            "not stable: one maximum for the whole matrix, where each row needs its own": lambda s, tau: (
                (_below_one_maximum(s, tau) / _below_one_maximum(s, tau).sum(axis=1, keepdims=True) - np.eye(len(s)))
                / (len(s) * tau)
            ),
            "r where P is meant: the coupling is missing": lambda s, tau: (
                (_among_negatives(s, tau) - np.eye(len(s))) / (len(s) * tau)
            ),
        },
    ),
)
