"""Assignment 2: InfoNCE from a naive to a stable form, its gradient, and two variants that the library lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.coursework.assignments import draws
from hypercon.coursework.assignments.draws import lattice, unit, views
from hypercon.coursework.exercise import Assignment, Exercise


def _loss(z1: np.ndarray, z2: np.ndarray, temperature: Any, weights: np.ndarray | None = None) -> float:
    """Row by row, as the mean of ``log(1 + sum of w exp(difference))``; temperatures may be one for each anchor."""
    temperatures = np.broadcast_to(temperature, len(z1))
    s = unit(z1) @ unit(z2).T
    each = []
    for i, row in enumerate(s):
        logits = (row - row[i]) / temperatures[i]
        with np.errstate(divide="ignore"):
            logits = logits + (0 if weights is None else np.log(np.where(np.arange(len(row)) == i, 1.0, weights[i])))
        each.append(np.logaddexp.reduce(logits))
    return math.fsum(each) / len(each)


def _slopes(f: Callable[..., Any], *inputs: np.ndarray) -> list[np.ndarray]:
    """Complex steps, entry by entry: gradients to rounding for which no rule was written down."""
    step = 1e-30
    gradients = []
    for place, x in enumerate(inputs):
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            moved = [y.astype(complex) for y in inputs]
            moved[place][index] += 1j * step
            gradient[index] = f(*moved).imag / step
        gradients.append(gradient)
    return gradients


def _smooth(z1: np.ndarray, z2: np.ndarray, tau: Any) -> Any:
    """The loss as its definition reads, for complex numbers: no modulus, no maximum."""
    u, v = (z / np.sqrt((z * z).sum(axis=1, keepdims=True)) for z in (z1, z2))
    logits = (u @ v.T) / np.reshape(tau, (-1, 1))
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def _temperature_slope(z1: np.ndarray, z2: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    return _slopes(lambda moved: _smooth(z1, z2, moved), temperatures)[0]


def _gradient(z1: np.ndarray, z2: np.ndarray, temperature: float) -> list[np.ndarray]:
    return _slopes(lambda a, b: _smooth(a, b, temperature), z1, z2)


def _weighted_slope(similarities: np.ndarray, temperature: float, weights: np.ndarray) -> np.ndarray:
    """By entries: dL/ds_ij is the share of candidate j, less 1 for the positive."""
    n = len(similarities)
    gradient = np.zeros((n, n))
    for i, row in enumerate(similarities):
        mass = [(1.0 if i == j else weights[i, j]) * math.exp((row[j] - max(row)) / temperature) for j in range(n)]
        for j in range(n):
            gradient[i, j] = (mass[j] / math.fsum(mass) - (i == j)) / (n * temperature)
    return gradient


def _analytic(
    z1: np.ndarray,
    z2: np.ndarray,
    tau: float,
    axis: int = 1,
    tangent: bool = True,
    own: float = 1.0,
    transposed: bool = True,
) -> Any:
    """The gradient by its formula, with the places where mistakes are made."""
    u, v = unit(z1), unit(z2)
    logits = u @ v.T / tau
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=axis, keepdims=True))
    slope = (p - own * np.eye(len(u))) / (len(u) * tau)

    def through(g: np.ndarray, w: np.ndarray, z: np.ndarray) -> np.ndarray:
        return (g - w * (w * g).sum(axis=1, keepdims=True)) / np.linalg.norm(z, axis=1, keepdims=True) if tangent else g

    return through(slope @ v, u, z1), through((slope.T if transposed else slope) @ u, v, z2)


# --- what is drawn


def _pair(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return (*views(rng, size), draws.temperature(rng))


def _close(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Every anchor is like another one's positive, and as unlike a third one's: exp overflows and vanishes in a row."""
    z1 = lattice(rng, (2, 5))
    z1 = np.concatenate([z1, -z1])
    return z1, z1[[1, 2, 3, 0]] * rng.uniform(0.5, 2, (4, 1))


def _cold(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*_close(rng), 1e-3)


def _apart(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The candidates are near the first anchor, and the second is opposite: one maximum cannot serve both rows."""
    first = lattice(rng, (1, 5))
    return np.concatenate([first, -first, lattice(rng, (2, 5))]), first + 0.02 * lattice(rng, (4, 5))


def _apart_cold(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*_apart(rng), 1e-3)


def _per_sample(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return (*views(rng, size), rng.choice([0.2, 0.3, 0.5, 0.7, 0.9, 1.3], size, replace=size > 6))


def _per_sample_cold(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*_close(rng), np.array([1e-3, 0.5, 1e-3, 0.2]))


def _weighted(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return (*_pair(rng, size), rng.integers(0, 9, (size, size)) / 4 + 0.25 * np.eye(size))


def _weighted_cold(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*_close(rng), 1e-3, rng.integers(1, 9, (4, 4)) / 4)


def _weighted_apart(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*_apart(rng), 1e-3, rng.integers(1, 9, (4, 4)) / 4)


def _similarities(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    z1, z2, tau, weights = _weighted(rng, size)
    return unit(z1) @ unit(z2).T, tau, weights


def _similarities_cold(rng: np.random.Generator) -> tuple[Any, ...]:
    z1, z2, tau, weights = _weighted_cold(rng)
    return unit(z1) @ unit(z2).T, tau, weights


def _similarities_apart(rng: np.random.Generator) -> tuple[Any, ...]:
    return draws.ROWS_APART, 1e-3, rng.integers(1, 9, (4, 4)) / 4


def _rows(z1: np.ndarray, z2: np.ndarray, tau: Any) -> np.ndarray:
    return unit(z1) @ unit(z2).T / tau


def _without_diagonal(x: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(x), dtype=bool), -np.inf, x)


def _shares(x: np.ndarray) -> np.ndarray:
    return x / x.sum(axis=1, keepdims=True)


def _cross_entropy(logits: np.ndarray, axis: int = 1) -> Any:
    return (np.logaddexp.reduce(logits, axis=axis) - np.diag(logits)).mean()


def _floored(small: float) -> Callable[..., Any]:
    def wrong(a: np.ndarray, b: np.ndarray, tau: float) -> Any:
        logits = _rows(a, b, tau)
        return -np.log(np.exp(np.diag(logits) - np.logaddexp.reduce(logits, axis=1)) + small).mean()

    return wrong


_LOSS_MISTAKES: dict[str, Callable[..., Any]] = {
    "missing temperature": lambda a, b, tau: _loss(a, b, 1.0),
    "the temperature multiplies where it should divide": lambda a, b, tau: _loss(a, b, 1 / tau),
    "rows are not normalised": lambda a, b, tau: _cross_entropy(a @ b.T / tau),
    "only the first view is normalised": lambda a, b, tau: _cross_entropy(unit(a) @ b.T / tau),
    "columns are normalised: the wrong axis": lambda a, b, tau: _cross_entropy(unit(a.T).T @ unit(b.T).T.T / tau),
    "the candidates run along the wrong axis": lambda a, b, tau: _cross_entropy(_rows(a, b, tau), axis=0),
    "missing 1/N: a sum where a mean is meant": lambda a, b, tau: len(a) * _loss(a, b, tau),
    "the positive is missing in the denominator": lambda a, b, tau: (
        np.logaddexp.reduce(_without_diagonal(_rows(a, b, tau)), axis=1) - np.diag(_rows(a, b, tau))).mean(),
    "the logarithm of the positive is not subtracted": lambda a, b, tau: (
        np.logaddexp.reduce(_rows(a, b, tau), axis=1).mean()),
    "the mean is taken before the logarithm": lambda a, b, tau: -np.log(np.exp(
        np.diag(_rows(a, b, tau)) - np.logaddexp.reduce(_rows(a, b, tau), axis=1)).mean()),
    "the loss is made symmetric": lambda a, b, tau: (_loss(a, b, tau) + _loss(b, a, tau)) / 2,
    "the denominator is a mean, not a sum": lambda a, b, tau: _loss(a, b, tau) - np.log(len(a)),
    "the sign is wrong": lambda a, b, tau: -_loss(a, b, tau),
    **{f"a small number, {e:g}, is added inside the logarithm": _floored(e) for e in (1e-3, 1e-4, 1e-5, 1e-6)},
}  # fmt: skip

_GRADIENT_MISTAKES: dict[str, Callable[..., Any]] = {
    "the sign is wrong": lambda a, b, tau: tuple(-g for g in _analytic(a, b, tau)),
    "missing 1/N": lambda a, b, tau: tuple(len(a) * g for g in _analytic(a, b, tau)),
    "missing temperature: the slope is divided by it once more": lambda a, b, tau: tuple(
        tau * g for g in _analytic(a, b, tau)),
    "missing temperature in the softmax": lambda a, b, tau: tuple(g / tau for g in _analytic(a, b, 1.0)),
    "missing temperature everywhere": lambda a, b, tau: _analytic(a, b, 1.0),
    "the softmax runs along the wrong axis": lambda a, b, tau: _analytic(a, b, tau, axis=0),
    "the gradient does not go through the normalisation": lambda a, b, tau: _analytic(a, b, tau, tangent=False),
    "the positive's 1 is missing": lambda a, b, tau: _analytic(a, b, tau, own=0.0),
    "the two gradients are exchanged": lambda a, b, tau: _analytic(a, b, tau)[::-1],
    "the second gradient uses the slope without its transpose": lambda a, b, tau: (
        _analytic(a, b, tau, transposed=False)),
    "the projection is there but the division by the length is missing": lambda a, b, tau: tuple(
        g * np.linalg.norm(z, axis=1, keepdims=True) for g, z in zip(_analytic(a, b, tau), (a, b), strict=True)),
}  # fmt: skip

_LAWS = (draws.permuting(0, 1), draws.rotating(0, 1), draws.scaling(0, 1))
_TAU = "Divide row i by its own temperature; the rest is as before."

A2 = Assignment(
    "a2",
    "InfoNCE and its gradient",
    (
        Exercise(
            "2.1", "info_nce_naive", _pair, _loss, "One anchor at a time: its positive over the sum of all candidates.",
            mistakes=_LOSS_MISTAKES, laws=_LAWS,
        ),
        Exercise(
            "2.2", "info_nce", _pair, _loss, "Subtract each row's largest logit before exp, and add it back after log.",
            extremes=(_cold, _apart_cold), mistakes=_LOSS_MISTAKES, laws=_LAWS,
        ),
        Exercise(
            "2.3", "info_nce_gradient", _pair, _gradient,
            "dL/dS = (P - I) / (N tau); then through S = U V^T, then through the normalisation.", 2, keeps_dtype=True,
            mistakes=_GRADIENT_MISTAKES, laws=(draws.tangent(2), draws.permuting(0, 1, moves=True)),
        ),
        Exercise(
            "2.4", "info_nce_per_sample", _per_sample, _loss, _TAU, extremes=(_per_sample_cold,),
            laws=(draws.permuting(0, 1, 2), draws.rotating(0, 1)),
            mistakes={
                "the temperatures divide columns: the wrong axis": lambda a, b, t: _cross_entropy(_rows(a, b, t)),
                "missing temperature": lambda a, b, t: _loss(a, b, 1.0),
                "one mean temperature for all": lambda a, b, t: _loss(a, b, t.mean()),
                "only the first temperature is used": lambda a, b, t: _loss(a, b, t[0]),
                "the temperatures multiply where they should divide": lambda a, b, t: _loss(a, b, 1 / t),
                "missing 1/N: a sum where a mean is meant": lambda a, b, t: len(a) * _loss(a, b, t),
            },
        ),
        Exercise(
            "2.5", "temperature_gradient", _per_sample, _temperature_slope,
            "dL/dtau_i = (s_ii - sum_j p_ij s_ij) / (N tau_i^2).", keeps_dtype=True,
            laws=(draws.permuting(0, 1, 2, moves=True),),
            mistakes={
                "missing temperature: divided by tau instead of its square": lambda a, b, t: (
                    t * _temperature_slope(a, b, t)),
                "missing temperature: not divided by its square": lambda a, b, t: (
                    t * t * _temperature_slope(a, b, t)),
            },
        ),
        Exercise(
            "2.6", "info_nce_weighted", _weighted, _loss,
            "The weight multiplies exp, so its logarithm is added to the logit; the positive's weight is 1.",
            extremes=(_weighted_cold, _weighted_apart), laws=(draws.rotating(0, 1),),
            mistakes={
                "the diagonal is not masked: the positive is weighted too": lambda a, b, tau, w: (
                    np.log((w * np.exp(_rows(a, b, tau))).sum(axis=1)) - np.diag(_rows(a, b, tau))).mean(),
                "the weights are not used": lambda a, b, tau, w: _loss(a, b, tau),
                "the weights are transposed: the wrong axis": lambda a, b, tau, w: _loss(a, b, tau, w.T),
                "missing temperature": lambda a, b, tau, w: _loss(a, b, 1.0, w),
                "missing 1/N: a sum where a mean is meant": lambda a, b, tau, w: len(a) * _loss(a, b, tau, w),
                "the weights multiply the logits instead of exp": lambda a, b, tau, w: _cross_entropy(
                    np.where(np.eye(len(a), dtype=bool), 1.0, w) * _rows(a, b, tau)),
            },
        ),
        Exercise(
            "2.7", "weighted_gradient", _similarities, _weighted_slope,
            "The weighted shares of a row, less 1 on the diagonal, over N tau.",
            extremes=(_similarities_cold, _similarities_apart), keeps_dtype=True,
            mistakes={
                "the weights are not used": lambda s, tau, w: _weighted_slope(s, tau, np.ones_like(w)),
                "the positive's 1 is missing": lambda s, tau, w: (
                    _weighted_slope(s, tau, w) + np.eye(len(s)) / (len(s) * tau)),
                "the weights are transposed: the wrong axis": lambda s, tau, w: _weighted_slope(s, tau, w.T),
                "missing temperature in the softmax": lambda s, tau, w: _weighted_slope(s, 1.0, w) / tau,
                "the diagonal is not masked: the positive is weighted too": lambda s, tau, w: (
                    _shares(w * np.exp(s / tau)) - np.eye(len(s))) / (len(s) * tau),
            },
        ),
    ),
)  # fmt: skip
