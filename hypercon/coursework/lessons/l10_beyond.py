"""Lesson 10: SigLIP, Barlow Twins, the effective rank, and the supervised loss of one anchor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice
from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _pairs(rng: np.random.Generator, size: int) -> Arguments:
    return rng.integers(-9, 10, (size, size)) / 10, float(rng.choice([2.0, 5.0, 8.0])), float(rng.choice([-3.0, -1.0]))


def _sharp(rng: np.random.Generator) -> Arguments:
    return np.array([[0.5, 0.9], [-0.9, 1.0]]), 1000.0, -10.0


def _views(rng: np.random.Generator, size: int) -> Arguments:
    shape = (size + 2, size)
    return lattice(rng, shape), lattice(rng, shape), float(rng.choice([0.1, 0.3]))


def _matrix(rng: np.random.Generator, size: int) -> Arguments:
    """Columns of different lengths, and not centred."""
    return (lattice(rng, (size + 2, size)) * rng.choice([0.3, 1.0, 3.0], size) + 0.5,)


def _flat(rng: np.random.Generator) -> Arguments:
    """Only two of three dimensions are used."""
    return (lattice(rng, (5, 2)) @ np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),)


def _candidates(rng: np.random.Generator, size: int) -> Arguments:
    count = size + 2
    own = np.arange(count) < rng.integers(2, count)
    return rng.integers(-9, 10, count) / 10, rng.permutation(own), a_temperature(rng)


def _cold(rng: np.random.Generator) -> Arguments:
    return np.array([0.9, 0.5, -0.3]), np.array([True, True, False]), 1e-3


# --- the right answers, by another route


def _siglip(similarities: np.ndarray, scale: float, bias: float) -> float:
    """Pair by pair: the softplus of a logit and of its negative differ by the logit."""
    total = []
    for (i, j), s in np.ndenumerate(similarities):
        logit = scale * float(s) + bias
        cost = max(logit, 0) + math.log1p(math.exp(-abs(logit)))
        total.append(cost - logit if i == j else cost)
    return math.fsum(total) / len(similarities)


def _barlow(z1: np.ndarray, z2: np.ndarray, weight: float) -> float:
    """Column against column, by NumPy's correlation coefficients."""
    dim = z1.shape[1]
    both = np.corrcoef(z1, z2, rowvar=False)[:dim, dim:]
    return math.fsum((1 - both[d, e]) ** 2 if d == e else weight * both[d, e] ** 2 for d, e in np.ndindex(both.shape))


def _rank(z: np.ndarray) -> float:
    """By the eigenvalues of the smaller of the two Gram matrices."""
    gram = z.T @ z if z.shape[1] <= len(z) else z @ z.T
    values = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    values = values[values > 1e-6 * values.max()]
    return float(np.prod((values / values.sum()) ** (-values / values.sum())))


def _sup_con(similarities: np.ndarray, own: np.ndarray, temperature: float) -> float:
    losses = [np.logaddexp.reduce((similarities - s) / temperature) for s in similarities[own]]
    return math.fsum(losses) / len(losses)


# --- laws


def _pair_by_pair(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """pairs do not know each other: what two entries add, they add together"""
    similarities, scale, bias = arguments

    def moved(*places: tuple[int, int]) -> float:
        changed = similarities.copy()
        for place in places:
            changed[place] += 0.1
        return float(answer(changed, scale, bias)) - float(answer(similarities, scale, bias))

    together = moved((0, 0), (0, 1))
    return (
        None if math.isclose(together, moved((0, 0)) + moved((0, 1)), abs_tol=1e-9) else "a pair changes another's part"
    )


def _of_units(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """a column's mean and length play no role"""
    z1, z2, weight = arguments
    moved = z1 * rng.uniform(0.5, 2, z1.shape[1]) + rng.integers(-5, 6, z1.shape[1])
    if not np.allclose(answer(moved, z2, weight), answer(*arguments), rtol=1e-6):
        return "columns of another mean or length change the result"
    return None


def _of_the_turn(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """neither a rotation nor a common factor changes it"""
    (z,) = arguments
    turn = np.linalg.qr(rng.normal(size=(z.shape[1],) * 2))[0]
    return (
        None if np.allclose(answer(3 * z @ turn), answer(z), rtol=1e-6) else "rotated and enlarged, z has another rank"
    )


def _even(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """k equal directions have rank k"""
    for k in (1, 2, 5):
        if not math.isclose(float(answer(np.eye(k))), k, rel_tol=1e-9):
            return f"for np.eye({k}) it is {float(answer(np.eye(k))):.4g}"
    return None


def _one_positive(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """with one candidate of the own class it is InfoNCE"""
    similarities, _, tau = arguments
    plain = float(np.logaddexp.reduce(similarities / tau) - similarities[0] / tau)
    got = float(answer(similarities, np.arange(len(similarities)) == 0, tau))
    return None if math.isclose(got, plain, rel_tol=1e-6, abs_tol=1e-9) else f"it is {got:.4g}, InfoNCE {plain:.4g}"


# --- mistakes


def _columns(z: np.ndarray, ddof: int = 0) -> np.ndarray:
    return np.asarray((z - z.mean(axis=0)) / z.std(axis=0, ddof=ddof))


def _towards_identity(correlation: np.ndarray, weight: float) -> float:
    own = np.eye(len(correlation), dtype=bool)
    return float(((1 - correlation[own]) ** 2).sum() + weight * (correlation[~own] ** 2).sum())


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 1e-15]
    return float(-(shares * np.log(shares)).sum())


def _values(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.svd(z, compute_uv=False))


def _log_mass(similarities: np.ndarray, tau: float) -> float:
    return float(np.logaddexp.reduce(similarities / tau))


EXERCISES = (
    Exercise(
        "10.1",
        "siglip",
        _pairs,
        _siglip,
        "-log sigmoid(x) is log(1 + exp(-x)). x is plus the logit on the diagonal, and minus the logit elsewhere.",
        more_hints=(
            "signs = 2 * np.eye(N) - 1 holds all y.",
            "np.logaddexp(0, -x) is log(1 + exp(-x)) without an overflow.",
        ),
        extremes=(_sharp,),
        laws=(_pair_by_pair,),
        mistakes={
            "the sum is divided by the number of pairs, not by N": lambda s, a, b: _siglip(s, a, b) / len(s),
            "the sum is not divided by N": lambda s, a, b: len(s) * _siglip(s, a, b),
            "all pairs are taken for negatives": lambda s, a, b: np.logaddexp(0, a * s + b).sum() / len(s),
            "the negatives are left out": lambda s, a, b: np.logaddexp(0, -a * np.diag(s) - b).mean(),
            "the signs are exchanged": lambda s, a, b: _siglip(-s, a, -b),
            "the bias is missing": lambda s, a, b: _siglip(s, a, 0.0),
            "the bias takes part in no sign: it stands inside the brackets with y": lambda s, a, b: (
                np.logaddexp(0, -((2 * np.eye(len(s)) - 1) * a * s + b)).sum() / len(s)
            ),
        },
    ),
    Exercise(
        "10.2",
        "barlow_twins",
        _views,
        _barlow,
        "Standardise the columns of both views; then C = a.T @ b / N.",
        more_hints=(
            "z.std(axis=0) divides by N, as it should here.",
            "own = np.eye(D, dtype=bool): (1 - C[own]) ** 2 summed, plus weight times the sum of C[~own] ** 2.",
        ),
        laws=(_of_units,),
        mistakes={
            "rows are correlated, not columns": lambda z1, z2, w: (
                _towards_identity(_columns(z1.T).T @ _columns(z2.T) / z1.shape[1], w) if z1.shape[1] > 1 else 0.0
            ),
            "the columns are not centred": lambda z1, z2, w: _towards_identity(
                (z1 / z1.std(axis=0)).T @ (z2 / z2.std(axis=0)) / len(z1), w
            ),
            "deviations are divided by N - 1": lambda z1, z2, w: _towards_identity(
                _columns(z1, 1).T @ _columns(z2, 1) / len(z1), w
            ),
            "the correlations are not divided by N": lambda z1, z2, w: _towards_identity(
                _columns(z1).T @ _columns(z2), w
            ),
            "the weight stands before the diagonal": lambda z1, z2, w: w * _barlow(z1, z2, 1 / w),
            "each view is correlated with itself": lambda z1, z2, w: _barlow(z1, z1, w),
            "what is off the diagonal is left out": lambda z1, z2, w: _barlow(z1, z2, 0.0),
        },
        sizes=(2, 3, 4, 6, 8),
    ),
    Exercise(
        "10.3",
        "effective_rank",
        _matrix,
        _rank,
        "np.linalg.svd(z, compute_uv=False) are the singular values; divide them by their sum.",
        more_hints=(
            "0 log 0 is 0, but NumPy says nan: leave shares of 0 out.",
            "np.exp(-(shares * np.log(shares)).sum())",
        ),
        extremes=(_flat,),
        laws=(_even, _of_the_turn),
        mistakes={
            "the entropy, without exp": lambda z: _entropy(_values(z) / _values(z).sum()),
            "shares of the squares, not of the singular values": lambda z: math.exp(
                _entropy(_values(z) ** 2 / (_values(z) ** 2).sum())
            ),
            "the number of singular values that are not 0": lambda z: float(np.linalg.matrix_rank(z)),
            "z is centred first": lambda z: _rank(z - z.mean(axis=0)),
            "rows are put onto the sphere first": lambda z: _rank(z / np.linalg.norm(z, axis=1, keepdims=True)),
            "the logarithm is to base 2": lambda z: math.exp(_entropy(_values(z) / _values(z).sum()) / math.log(2)),
            "the sign of the entropy is wrong": lambda z: 1 / _rank(z),
        },
        sizes=(2, 3, 4, 6, 8),
    ),
    Exercise(
        "10.4",
        "sup_con",
        _candidates,
        _sup_con,
        "One log-sum-exp over all candidates; then the mean of it less s / tau over the candidates of the own class.",
        more_hints=(
            "logits[own] are the candidates of the own class, if own is an array of True and False.",
            "Subtract the largest logit before exp, and add it again after log.",
        ),
        extremes=(_cold,),
        laws=(_one_positive,),
        mistakes={
            "the mean stands inside the logarithm": lambda s, own, tau: (
                _log_mass(s, tau) - _log_mass(s[own], tau) + math.log(own.sum())
            ),
            "the sum over the own class stands inside the logarithm": lambda s, own, tau: (
                _log_mass(s, tau) - _log_mass(s[own], tau)
            ),
            "a sum over the own class where a mean is meant": lambda s, own, tau: own.sum() * _sup_con(s, own, tau),
            "the own class is missing in the denominator": lambda s, own, tau: (
                _log_mass(s[~own], tau) - (s[own] / tau).mean()
            ),
            "the temperature is missing": lambda s, own, tau: _sup_con(s, own, 1.0),
            "the other classes are taken for the own": lambda s, own, tau: _sup_con(s, ~own, tau),
            "the sign is wrong": lambda s, own, tau: -_sup_con(s, own, tau),
        },
    ),
)
