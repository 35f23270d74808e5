"""Lesson 09: log-sums and gradients in tiles, a gradient cache for one layer, and gradients from several ranks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice, unit
from hypercon.coursework.assignments.draws import temperature as a_temperature
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _tiles(rng: np.random.Generator, size: int) -> Arguments:
    """The last tile is not full."""
    count = 2 * size + 1
    u, v = (unit(lattice(rng, (count, size + 1))).round(3) for _ in range(2))
    return u, v, a_temperature(rng), size


def _tiles_cold(rng: np.random.Generator) -> Arguments:
    u, v, _, tile = _tiles(rng, 2)
    return u, v, 1e-3, tile


def _anchors_apart(rng: np.random.Generator) -> Arguments:
    """The keys are near the first anchor, and the last one is opposite."""
    u = np.array([[1.0, 0.0], [0.6, 0.8], [-0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    return u, np.array([[1.0, 0.0], [0.8, 0.6], [0.96, 0.28], [0.8, -0.6], [0.6, -0.8]]), 1e-3, 2


def _slopes(rng: np.random.Generator, size: int) -> Arguments:
    u, v, tau, tile = _tiles(rng, size)
    return u, v, tau, _log_sums(u, v, tau, tile), tile


def _slopes_cold(rng: np.random.Generator) -> Arguments:
    u, v, tau, tile = _tiles_cold(rng)
    return u, v, tau, _log_sums(u, v, tau, tile), tile


def _layer(rng: np.random.Generator, size: int) -> Arguments:
    count = 2 * size + 1
    x, weights = lattice(rng, (count, 3)), lattice(rng, (3, 2)) / 2
    return x, weights, lattice(rng, (count, 2)), size


def _ranks(rng: np.random.Generator, size: int) -> Arguments:
    ranks, share = 2 + size % 3, 1 + size % 2
    count = ranks * share
    x1, x2 = lattice(rng, (count, 3)), lattice(rng, (count, 3))
    return x1, x2, lattice(rng, (ranks, share, 2)), lattice(rng, (ranks, count, 2))


# --- the right answers, by another route: row by row, by complex steps, and as one machine would


def _log_sums(u: np.ndarray, v: np.ndarray, temperature: float, tile: int) -> np.ndarray:
    return np.array([np.logaddexp.reduce([float(a @ b) / temperature for b in v]) for a in u])


def _slope(u: np.ndarray, v: np.ndarray, temperature: float, sums: np.ndarray, tile: int) -> np.ndarray:
    """The softmax through differences to each key, from which the log-sums cancel."""
    rows = []
    for i, a in enumerate(u):
        logits = v @ a / temperature
        shares = [math.exp(-float(np.logaddexp.reduce(logits - logit))) for logit in logits]
        rows.append(sum(share * key for share, key in zip(shares, v, strict=True)) - v[i])
    return np.array(rows) / (len(u) * temperature)


def _by_complex_steps(x: np.ndarray, weights: np.ndarray, slope: np.ndarray, piece: int) -> np.ndarray:
    gradient = np.zeros_like(weights)
    for place in np.ndindex(weights.shape):
        moved = weights.astype(complex)
        moved[place] += 1e-30j
        gradient[place] = (slope * np.tanh(x @ moved)).sum().imag / 1e-30
    return gradient


def _of_one_machine(x1: np.ndarray, x2: np.ndarray, du: np.ndarray, dv: np.ndarray) -> np.ndarray:
    """The chain rule for the mean of the ranks' losses, image by image."""
    gradient = np.zeros((x1.shape[1], du.shape[2]))
    for row, slope in zip(x1, du.reshape(len(x1), -1), strict=True):
        gradient += np.outer(row, slope)
    for losses in dv:
        for row, slope in zip(x2, losses, strict=True):
            gradient += np.outer(row, slope)
    return gradient / len(du)


# --- laws


def _of_the_tile(place: int) -> Any:
    def law(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
        """the size of the tile does not change the result"""
        other = list(arguments)
        for tile in (1, 3, 1000):
            other[place] = tile
            if not np.allclose(answer(*other), answer(*arguments), rtol=1e-6, atol=1e-9):
                return f"with tiles of {tile} rows the result is another"
        return None

    return law


def _of_the_order(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the order of the keys plays no role"""
    u, v, *others = arguments
    if not np.allclose(answer(u, v[::-1], *others), answer(*arguments), rtol=1e-6, atol=1e-9):
        return "another order of the keys gives other sums"
    return None


def _additive(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """what returns from two losses adds up"""
    x1, x2, du, dv = arguments
    parts = np.asarray(answer(x1, x2, du, 0 * dv)) + np.asarray(answer(x1, x2, 0 * du, dv))
    return None if np.allclose(parts, answer(*arguments)) else "the parts through anchors and keys do not add up"


# --- mistakes


def _merged_by_sum(u: np.ndarray, v: np.ndarray, tau: float, tile: int) -> np.ndarray:
    parts = [_log_sums(u, v[start : start + tile], tau, tile) for start in range(0, len(v), tile)]
    return np.asarray(sum(parts))


def _merged_by_max(u: np.ndarray, v: np.ndarray, tau: float, tile: int) -> np.ndarray:
    parts = [_log_sums(u, v[start : start + tile], tau, tile) for start in range(0, len(v), tile)]
    return np.asarray(np.max(parts, axis=0))


def _below_one_maximum(u: np.ndarray, v: np.ndarray, tau: float, tile: int) -> np.ndarray:
    total = np.full(len(u), -np.inf)
    for start in range(0, len(v), tile):
        logits = u @ v[start : start + tile].T / tau
        total = np.logaddexp(total, np.log(np.exp(logits - logits.max()).sum(axis=1)) + logits.max())
    return total


def _full_tiles(v: np.ndarray, tile: int) -> np.ndarray:
    return v[: len(v) // tile * tile]


def _last_tile(x: np.ndarray, tile: int) -> slice:
    return slice((len(x) - 1) // tile * tile, None)


def _normalised_by_tile(u: np.ndarray, v: np.ndarray, tau: float, sums: np.ndarray, tile: int) -> np.ndarray:
    total = -v
    for start in range(0, len(v), tile):
        keys = v[start : start + tile]
        total = total + np.exp(u @ keys.T / tau - _log_sums(u, keys, tau, tile)[:, None]) @ keys
    return np.asarray(total / (len(u) * tau))


def _without_derivative(x: np.ndarray, weights: np.ndarray, slope: np.ndarray, piece: int) -> np.ndarray:
    return np.asarray(x.T @ slope)


def _own_only(dv: np.ndarray) -> np.ndarray:
    ranks, count, _ = dv.shape
    share = count // ranks
    return np.concatenate([dv[r, r * share : (r + 1) * share] for r in range(ranks)])


def _put_together(x1: np.ndarray, x2: np.ndarray, du: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return np.asarray((x1.T @ du.reshape(len(x1), -1) + x2.T @ keys) / len(du))


EXERCISES = (
    Exercise(
        "09.1",
        "log_sums",
        _tiles,
        _log_sums,
        "Start with -inf for every anchor, and merge each tile's log-sum into it with np.logaddexp.",
        more_hints=(
            "for start in range(0, len(v), tile): v[start : start + tile] is a tile, and the last may be smaller.",
            "Within a tile: subtract the row's maximum before exp, and add it again after log.",
        ),
        extremes=(_tiles_cold, _anchors_apart),
        laws=(_of_the_tile(3), _of_the_order),
        mistakes={
            "log-sums are added, as if they were sums": _merged_by_sum,
            "only the largest tile counts": _merged_by_max,
            "the last tile, which is not full, is left out": lambda u, v, tau, tile: _log_sums(
                u, _full_tiles(v, tile), tau, tile
            ),
            "the temperature is missing": lambda u, v, tau, tile: _log_sums(u, v, 1.0, tile),
            "the logarithm is missing": lambda u, v, tau, tile: np.exp(_log_sums(u, v, tau, tile)),
            "not stable: one maximum for all anchors, where each needs its own": _below_one_maximum,
            "only the last tile counts": lambda u, v, tau, tile: _log_sums(u, v[_last_tile(v, tile)], tau, tile),
        },
    ),
    Exercise(
        "09.2",
        "anchors_gradient",
        _slopes,
        _slope,
        "Start with -v, and add exp(similarities / tau - sums) @ keys for each tile of keys.",
        more_hints=(
            "sums belong to anchors, which are the rows: sums[:, None].",
            "At the end divide by len(u) * temperature, once.",
        ),
        extremes=(_slopes_cold,),
        laws=(_of_the_tile(4),),
        mistakes={
            "the positive is not subtracted": lambda u, v, tau, sums, tile: (
                _slope(u, v, tau, sums, tile) + v / (len(u) * tau)
            ),
            "the positive is subtracted once for each tile": lambda u, v, tau, sums, tile: (
                _slope(u, v, tau, sums, tile) - (math.ceil(len(v) / tile) - 1) * v / (len(u) * tau)
            ),
            "the sign is wrong": lambda u, v, tau, sums, tile: -_slope(u, v, tau, sums, tile),
            "the 1/N of the mean is missing": lambda u, v, tau, sums, tile: len(u) * _slope(u, v, tau, sums, tile),
            "the 1/tau of the inner derivative is missing": lambda u, v, tau, sums, tile: (
                tau * _slope(u, v, tau, sums, tile)
            ),
            "each tile is normalised by itself: use the sums over all keys": _normalised_by_tile,
        },
        sizes=(2, 3, 4, 5, 7),
    ),
    Exercise(
        "09.3",
        "from_cache",
        _layer,
        _by_complex_steps,
        "For each piece: embed it again, and send its rows of slope backwards through tanh and the product.",
        more_hints=(
            "The derivative of tanh is 1 - z * z; through x @ W the gradient of W is x.T @ (gradient of x @ W).",
            "total += rows.T @ ((1 - z * z) * slope[start : start + piece])",
        ),
        laws=(_of_the_tile(3),),
        mistakes={
            "the derivative of tanh is missing": _without_derivative,
            "every piece takes the first rows of slope": lambda x, w, slope, piece: sum(
                _by_complex_steps(x[start : start + piece], w, slope[: len(x[start : start + piece])], piece)
                for start in range(0, len(x), piece)
            ),
            "pieces are averaged, not added": lambda x, w, slope, piece: (
                _by_complex_steps(x, w, slope, piece) / math.ceil(len(x) / piece)
            ),
            "the last piece alone is returned": lambda x, w, slope, piece: _by_complex_steps(
                x[_last_tile(x, piece)], w, slope[_last_tile(x, piece)], piece
            ),
            "1 - z where 1 - z * z is meant": lambda x, w, slope, piece: x.T @ ((1 - np.tanh(x @ w)) * slope),
            "the last piece, which is not full, is left out": lambda x, w, slope, piece: _by_complex_steps(
                _full_tiles(x, piece), w, _full_tiles(slope, piece), piece
            ),
        },
    ),
    Exercise(
        "09.4",
        "averaged_gradient",
        _ranks,
        _of_one_machine,
        "Rank r adds what flows through its anchors, du[r], and what all ranks' losses send to its keys.",
        more_hints=(
            "dv[q, mine] is what the loss of rank q sends to the keys of rank r: sum over q.",
            "Only once is something divided by the number of ranks: the weights' gradients, at the end.",
        ),
        laws=(_additive,),
        mistakes={
            "what returns to the keys is averaged over ranks: sum it, the weights' gradients are averaged already": (
                lambda x1, x2, du, dv: _put_together(x1, x2, du, dv.mean(axis=0))
            ),
            "the keys receive from their own rank's loss alone": lambda x1, x2, du, dv: _put_together(
                x1, x2, du, _own_only(dv)
            ),
            "the keys receive nothing, as from a queue": lambda x1, x2, du, dv: _put_together(
                x1, x2, du, 0 * dv.sum(axis=0)
            ),
            "the weights' gradients are summed over ranks, not averaged": lambda x1, x2, du, dv: (
                len(du) * _of_one_machine(x1, x2, du, dv)
            ),
            "the images of the two views are exchanged": lambda x1, x2, du, dv: _of_one_machine(x2, x1, du, dv),
        },
    ),
)
