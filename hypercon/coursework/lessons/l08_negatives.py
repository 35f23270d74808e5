"""Lesson 08: shares of a hard loss, the debiased loss of one anchor, hardened shares, and the decoupled loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import POSITIVES_AHEAD, ROWS_APART
from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _ranked(rng: np.random.Generator, size: int) -> Arguments:
    """No two similarities are alike."""
    count = size + 2
    similarities = rng.permutation(count * count).reshape(count, count) / (count * count) * 2 - 1
    return similarities.round(3), a_temperature(rng), int(rng.integers(1, count - 2))


def _ranked_cold(rng: np.random.Generator) -> Arguments:
    return _ranked(rng, 3)[0], 1e-3, 2


def _ranked_apart(rng: np.random.Generator) -> Arguments:
    return ROWS_APART, 1e-3, 2


def _ranked_ahead(rng: np.random.Generator) -> Arguments:
    return POSITIVES_AHEAD, 1e-3, 2


def _anchor(rng: np.random.Generator, size: int) -> Arguments:
    """In every other case the positive is so far ahead that the correction meets its bound."""
    if size % 2:
        return 0.9, rng.integers(-9, -5, size) / 10, 0.5, 0.2
    negatives = rng.integers(-9, 10, size) / 10
    return float(rng.integers(0, 10)) / 10, negatives, a_temperature(rng), float(rng.choice([0.05, 0.1, 0.2]))


def _negatives(rng: np.random.Generator, size: int) -> Arguments:
    negatives = rng.choice(np.arange(-9, 10), size, replace=False) / 10
    return negatives, a_temperature(rng), float(rng.choice([0.5, 2.0, 3.0]))


def _negatives_cold(rng: np.random.Generator) -> Arguments:
    return np.array([0.9, 0.8999, 0.2]), 1e-3, 2.0


def _batch(rng: np.random.Generator, size: int) -> Arguments:
    count = size + 1
    return rng.integers(-9, 10, (count, count)) / 10, a_temperature(rng)


def _cold(rng: np.random.Generator) -> Arguments:
    return np.array([[0.1, 0.9, 0.3], [-0.7, 0.2, 0.6], [0.8, -0.3, 0.4]]), 1e-3


def _rows_apart(rng: np.random.Generator) -> Arguments:
    return ROWS_APART, 1e-3


def _positives_ahead(rng: np.random.Generator) -> Arguments:
    return POSITIVES_AHEAD, 1e-3


# --- the right answers, by another route: entry by entry


def _hard_shares(similarities: np.ndarray, temperature: float, k: int) -> np.ndarray:
    shares = np.zeros_like(similarities)
    for i, row in enumerate(similarities):
        kept = sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j])[:k]
        for j in kept:
            shares[i, j] = math.exp(-float(np.logaddexp.reduce((row[kept] - row[j]) / temperature)))
    return shares


def _debiased(positive: float, negatives: np.ndarray, temperature: float, prior: float) -> float:
    """As a mixture: each negative's excess over the expected false ones, relative to the positive."""
    ratios = [math.exp((s - positive) / temperature) for s in negatives]
    true = math.fsum((ratio - prior) / (1 - prior) for ratio in ratios)
    return math.log1p(max(true, len(ratios) * math.exp((-1 - positive) / temperature)))


def _hardened(negatives: np.ndarray, temperature: float, beta: float) -> np.ndarray:
    """Through odds of pairs, which the mean of the weights cannot touch."""
    odds = (1 + beta) * (negatives[None] - negatives[:, None]) / temperature
    return np.asarray(np.exp(-np.logaddexp.reduce(odds, axis=1)))


def _decoupled(similarities: np.ndarray, temperature: float) -> float:
    total = []
    for i, row in enumerate(similarities):
        total.append(np.logaddexp.reduce((np.delete(row, i) - row[i]) / temperature))
    return math.fsum(total) / len(total)


# --- laws


def _cuts(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """each anchor pushes k negatives, and its shares sum to 1"""
    *_, k = arguments
    shares = np.asarray(answer(*arguments))
    if not np.allclose(shares.sum(axis=1), 1, atol=1e-9):
        return "the shares of an anchor do not sum to 1"
    return None if ((shares > 0).sum(axis=1) == k).all() else f"not every anchor pushes exactly {k} negatives"


def _all_is_plain(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """with all negatives kept the positives still play no role"""
    similarities, tau, _ = arguments
    moved = similarities - 0.5 * np.eye(len(similarities))
    if not np.allclose(answer(similarities, tau, len(moved) - 1), answer(moved, tau, len(moved) - 1), atol=1e-9):
        return "another diagonal changes the shares"
    return None


def _without_prior(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """with a prior of 0 it is InfoNCE"""
    positive, negatives, tau, _ = arguments
    plain = math.log1p(math.fsum(math.exp((s - positive) / tau) for s in negatives))
    got = float(answer(positive, negatives, tau, 0.0))
    return None if math.isclose(got, plain, rel_tol=1e-6, abs_tol=1e-9) else f"it is {got:.4g}, InfoNCE {plain:.4g}"


def _of_the_order(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the order of the negatives plays no role"""
    positive, negatives, *others = arguments
    if not np.allclose(answer(positive, negatives[::-1], *others), answer(*arguments), rtol=1e-6, atol=1e-9):
        return "another order of the negatives gives another loss"
    return None


def _second_temperature(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the shares sum to 1, and harden with beta"""
    negatives, tau, beta = arguments
    plain, hard = (np.asarray(answer(negatives, tau, b)) for b in (0.0, beta))
    if not math.isclose(float(hard.sum()), 1, abs_tol=1e-9):
        return f"the shares sum to {float(hard.sum()):.4g}"
    nearest = int(negatives.argmax())
    return None if hard[nearest] > plain[nearest] else "the nearest negative has no larger share than with beta = 0"


def _of_the_shift(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a number added to all similarities changes nothing"""
    similarities, tau = arguments
    if not np.allclose(answer(similarities + 0.25, tau), answer(*arguments), rtol=1e-6, atol=1e-9):
        return "0.25 added to all similarities changes the loss"
    return None


def _of_the_positive(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """it falls in proportion as the positives rise"""
    similarities, tau = arguments
    higher = similarities + 0.1 * np.eye(len(similarities))
    fall = float(answer(similarities, tau)) - float(answer(higher, tau))
    if not math.isclose(fall, 0.1 / tau, rel_tol=1e-6):
        return "positives higher by 0.1 do not lower it by 0.1 / tau"
    return None


# --- mistakes


def _own(matrix: np.ndarray) -> np.ndarray:
    return np.eye(len(matrix), dtype=bool)


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)))


def _cut_after_softmax(similarities: np.ndarray, tau: float, k: int) -> np.ndarray:
    shares = _softmax(np.where(_own(similarities), -np.inf, similarities) / tau)
    return np.where(_hard_shares(similarities, tau, k) > 0, shares, 0.0)


def _with_positive(similarities: np.ndarray, tau: float, k: int) -> np.ndarray:
    cut = -np.sort(-similarities, axis=1)[:, k - 1 : k]
    return _softmax(np.where(similarities >= cut, similarities, -np.inf) / tau)


def _below(similarities: np.ndarray, tau: float, maximum: Any, kept: np.ndarray) -> np.ndarray:
    """Each kept entry's exp, relative to a maximum."""
    return np.where(kept, np.exp((similarities - maximum) / tau), 0.0)


def _hard_shares_below(similarities: np.ndarray, tau: float, k: int, maximum: Any) -> np.ndarray:
    mass = _below(similarities, tau, maximum, _hard_shares(similarities, 1.0, k) > 0)
    return mass / mass.sum(axis=1, keepdims=True)


def _decoupled_below(similarities: np.ndarray, tau: float, maximum: np.ndarray) -> Any:
    mass = _below(similarities, tau, maximum[:, None], ~_own(similarities))
    return (np.log(mass.sum(axis=1)) + (maximum - np.diag(similarities)) / tau).mean()


def _largest_negative(similarities: np.ndarray) -> np.ndarray:
    """Of the whole matrix, for every row."""
    return np.full(len(similarities), similarities[~_own(similarities)].max())


def _with_mass(positive: float, negatives: np.ndarray, tau: float, mass: float) -> float:
    least = len(negatives) * math.exp(-1 / tau)
    return math.log(math.exp(positive / tau) + max(mass, least)) - positive / tau


def _sum(negatives: np.ndarray, tau: float) -> float:
    return float(np.exp(negatives / tau).sum())


def _unbounded(positive: float, negatives: np.ndarray, tau: float, prior: float) -> Any:
    found = math.exp(positive / tau)
    mass = (_sum(negatives, tau) - len(negatives) * prior * found) / (1 - prior)
    return np.log(found + mass) - positive / tau


def _negatives_only(similarities: np.ndarray, tau: float) -> np.ndarray:
    return np.asarray(np.logaddexp.reduce(np.where(_own(similarities), -np.inf, similarities / tau), axis=1))


EXERCISES = (
    Exercise(
        "08.1",
        "hard_shares",
        _ranked,
        _hard_shares,
        "Set the diagonal and everything below each row's k-th largest negative to minus infinity; then a softmax.",
        more_hints=(
            "-np.sort(-negatives, axis=1)[:, k - 1] is the k-th largest of each row.",
            "Take the diagonal out before you look for the k-th largest, or the positive takes a place.",
            "At 0.001 exp overflows: subtract each row's maximum first, taken after the positives are left out.",
        ),
        extremes=(_ranked_cold, _ranked_apart, _ranked_ahead),
        laws=(_cuts, _all_is_plain),
        mistakes={
            "the softmax is taken before the cut: the shares no longer sum to 1": _cut_after_softmax,
            "the positive takes one of the k places": _with_positive,
            "the k least similar are kept": lambda s, tau, k: _hard_shares(-s, -tau, k),
            "k + 1 negatives are kept": lambda s, tau, k: _hard_shares(s, tau, k + 1),
            "nothing is cut": lambda s, tau, k: _softmax(np.where(_own(s), -np.inf, s) / tau),
            "all that are kept weigh the same: that is the simple loss": lambda s, tau, k: (
                (_hard_shares(s, tau, k) > 0) / k
            ),
            "the temperature is missing": lambda s, tau, k: _hard_shares(s, 1.0, k),
            "columns are ranked, not rows": lambda s, tau, k: _hard_shares(s.T, tau, k).T,
            "not stable: the row's maximum is its positive: leave that out before you take it": lambda s, tau, k: (
                _hard_shares_below(s, tau, k, s.max(axis=1, keepdims=True))
            ),
            "not stable: one maximum for the whole matrix, where each row needs its own": lambda s, tau, k: (
                _hard_shares_below(s, tau, k, _largest_negative(s)[:, None])
            ),
        },
    ),
    Exercise(
        "08.2",
        "debiased",
        _anchor,
        _debiased,
        "Compute G as the formula reads, then log(exp(positive / tau) + G) - positive / tau.",
        more_hints=(
            "Of K negatives, K * prior are expected to be false; each of those counts exp(positive / tau).",
            "G is max((sum - K * prior * found) / (1 - prior), K * exp(-1 / tau)) with found = exp(positive / tau).",
        ),
        laws=(_without_prior, _of_the_order),
        mistakes={
            "the least value of G is missing": _unbounded,
            "the division by 1 - prior is missing": lambda p, n, tau, prior: _with_mass(
                p, n, tau, _sum(n, tau) - len(n) * prior * math.exp(p / tau)
            ),
            "the number of negatives is missing: prior counts once": lambda p, n, tau, prior: _with_mass(
                p, n, tau, (_sum(n, tau) - prior * math.exp(p / tau)) / (1 - prior)
            ),
            "nothing is subtracted: that is InfoNCE": lambda p, n, tau, prior: _with_mass(p, n, tau, _sum(n, tau)),
            "the temperature is missing": lambda p, n, tau, prior: _debiased(p, n, 1.0, prior),
            "the sign is wrong": lambda p, n, tau, prior: -_debiased(p, n, tau, prior),
        },
        sizes=(2, 4, 3, 6, 8, 7),
    ),
    Exercise(
        "08.3",
        "hardened_shares",
        _negatives,
        _hardened,
        "w_k times exp(s_k / tau), divided by the sum of these products.",
        more_hints=(
            "The mean in w_k is the same for every k. What does it do to shares?",
            "exp(beta s / tau) exp(s / tau) = exp((1 + beta) s / tau): one softmax, with the maximum subtracted.",
        ),
        extremes=(_negatives_cold,),
        laws=(_second_temperature,),
        mistakes={
            "the weights alone, without exp(s / tau)": lambda s, tau, beta: _hardened(s, tau, beta - 1),
            "the weights are missing": lambda s, tau, beta: _hardened(s, tau, 0.0),
            "the temperature is missing in the weights": lambda s, tau, beta: _softmax(s / tau + beta * s),
            "the products are not divided by their sum": lambda s, tau, beta: (
                np.exp((1 + beta) * s / tau) / np.exp(beta * s / tau).mean()
            ),
            "beta softens where it should harden": lambda s, tau, beta: _softmax(s / (tau * (1 + beta))),
        },
    ),
    Exercise(
        "08.4",
        "decoupled",
        _batch,
        _decoupled,
        "The log of the sum of exp over the negatives of each row, less the positive, both over the temperature.",
        more_hints=(
            "np.where(np.eye(N, dtype=bool), -np.inf, logits) leaves the positives out of the sum.",
            "Subtract each row's largest negative before exp, and add it again after log.",
        ),
        extremes=(_cold, _rows_apart, _positives_ahead),
        laws=(_of_the_positive, _of_the_shift),
        mistakes={
            "the positive is in the denominator: that is InfoNCE": lambda s, tau: np.mean(
                np.logaddexp.reduce(s / tau, axis=1) - np.diag(s) / tau
            ),
            "the temperature is missing": lambda s, tau: _decoupled(s, 1.0),
            "a sum over anchors where a mean is meant": lambda s, tau: len(s) * _decoupled(s, tau),
            "the positive is not subtracted": lambda s, tau: _negatives_only(s, tau).mean(),
            "the positive is not divided by the temperature": lambda s, tau: (
                _negatives_only(s, tau) - np.diag(s)
            ).mean(),
            "the sign is wrong": lambda s, tau: -_decoupled(s, tau),
            "negatives are averaged, not summed": lambda s, tau: _decoupled(s, tau) - math.log(len(s) - 1),
            "not stable: the row's maximum is its positive: leave that out before you take it": lambda s, tau: (
                _decoupled_below(s, tau, s.max(axis=1))
            ),
            "not stable: one maximum for the whole matrix, where each row needs its own": lambda s, tau: (
                _decoupled_below(s, tau, _largest_negative(s))
            ),
        },
    ),
)
