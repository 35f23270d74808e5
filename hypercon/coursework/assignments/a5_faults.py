"""What the tests of assignment 5 are tried on: losses that are right, and 40 that are wrong in one way each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Loss = Callable[[Array, Array, float], Any]


@dataclass(frozen=True)
class Fault:
    """A wrong loss. ``nature`` is what a student is told of one that was not found."""

    family: str
    nature: str
    loss: Loss


# --- pieces


def _unit(z: Array, axis: int = 1) -> Array:
    return z / np.linalg.norm(z, axis=axis, keepdims=True)


def _lse(x: Array, axis: int = 1) -> Array:
    return np.logaddexp.reduce(x, axis=axis)


def _logits(a: Array, b: Array, tau: float) -> Array:
    return _unit(a) @ _unit(b).T / tau


def _loss_of(logits: Array) -> Any:
    return (_lse(logits) - np.diag(logits)).mean()


def _probabilities(logits: Array) -> Array:
    return np.diag(np.exp(logits - _lse(logits)[:, None]))


def _others(logits: Array) -> Array:
    return np.where(np.eye(len(logits), dtype=bool), -np.inf, logits)


def _refuse(a: Array, b: Array, tau: float, finite: bool = True, warm: bool = True, matched: bool = True) -> None:
    """What every loss here refuses; a fault leaves one of these out."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or (matched and len(a) != len(b)) or not a.size * b.size:
        raise ValueError(f"two views of one shape (N, D) are expected, got {a.shape} and {b.shape}")
    if finite and not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("embeddings must be finite")
    if math.isnan(tau) or (warm and tau <= 0):
        raise ValueError(f"a temperature above 0 is expected, got {tau}")


def _checked(loss: Loss) -> Loss:
    def with_checks(a: Array, b: Array, tau: float) -> Any:
        _refuse(a, b, tau)
        return loss(a, b, tau)

    return with_checks


# --- right ones, by four routes: tests that ask for more than 1e-9 or so will fail one of them


def _in_rows(a: Array, b: Array, tau: float) -> float:
    total = 0.0
    for i, row in enumerate(_logits(a, b, tau)):
        total += float(_lse((row - row[i])[None])[0])
    return total / len(a)


def _by_softmax(a: Array, b: Array, tau: float) -> float:
    logits = _logits(a, b, tau)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - np.diag(shifted)).mean())


def _by_differences(a: Array, b: Array, tau: float) -> float:
    u, v = _unit(a), _unit(b)
    squared = ((u[:, None] - v[None]) ** 2).sum(axis=2)
    return float(_loss_of(-squared / (2 * tau)))


RIGHT: tuple[Loss, ...] = tuple(
    _checked(loss) for loss in (lambda a, b, tau: _loss_of(_logits(a, b, tau)), _in_rows, _by_softmax, _by_differences)
)


# --- wrong ones


def _naive(a: Array, b: Array, tau: float) -> Any:
    e = np.exp(_logits(a, b, tau))
    return -np.log(np.diag(e) / e.sum(axis=1)).mean()


def _one_maximum(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    logits = logits - logits.max()
    return (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()


def _lost_axis(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    peak = logits.max(axis=1)
    return (np.log(np.exp(logits - peak).sum(axis=1)) + peak - np.diag(logits)).mean()


def _positive_twice(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    return (_lse(np.column_stack([logits, np.diag(logits)])) - np.diag(logits)).mean()


def _hardest(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    return np.logaddexp(0, _others(logits).max(axis=1) - np.diag(logits)).mean()


def _without(place: int) -> Loss:
    """One candidate is left out, unless it is the positive."""

    def loss(a: Array, b: Array, tau: float) -> Any:
        logits = _logits(a, b, tau)
        kept = logits.copy()
        kept[:, place] = -np.inf
        np.fill_diagonal(kept, np.diag(logits))
        return (_lse(kept) - np.diag(logits)).mean()

    return loss


def _first_rows(a: Array, b: Array, tau: float) -> Any:
    return _loss_of(_logits(a[:3], b[:3], tau))


def _same_view(a: Array, b: Array, tau: float) -> Any:
    """Negatives from the anchor's own view."""
    own = np.where(np.eye(len(a), dtype=bool), _logits(a, b, tau), _logits(a, a, tau))
    return _loss_of(own)


def _positive_without_temperature(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    return (_lse(logits) - tau * np.diag(logits)).mean()


def _centred(a: Array, b: Array, tau: float) -> Any:
    return (
        _loss_of(_logits(a - a.mean(axis=0), b - b.mean(axis=0), tau)) if len(a) > 2 else _loss_of(_logits(a, b, tau))
    )


def _smoothed(a: Array, b: Array, tau: float) -> Any:
    logits = _logits(a, b, tau)
    return (_lse(logits) - 0.9 * np.diag(logits) - 0.1 * logits.mean(axis=1)).mean()


def _capped(a: Array, b: Array, tau: float) -> Any:
    return min(_loss_of(_logits(a, b, tau)), 10.0)


def _in_half(a: Array, b: Array, tau: float) -> Any:
    return float(_loss_of(_logits(a.astype(np.float16), b.astype(np.float16), tau)))


_ALL: tuple[tuple[str, str, Loss], ...] = (
    ("sphere", "rows are not normalised", lambda a, b, t: _loss_of(a @ b.T / t)),
    ("sphere", "only the first view is normalised", lambda a, b, t: _loss_of(_unit(a) @ b.T / t)),
    ("sphere", "only the second view is normalised", lambda a, b, t: _loss_of(a @ _unit(b).T / t)),
    ("sphere", "columns are normalised", lambda a, b, t: _loss_of(_unit(a, 0) @ _unit(b, 0).T / t)),
    ("sphere", "the square root is missing in the length", lambda a, b, t: _loss_of(
        (a / (a * a).sum(axis=1, keepdims=True)) @ (b / (b * b).sum(axis=1, keepdims=True)).T / t)),
    ("sphere", "rows are divided by the sum of their moduli", lambda a, b, t: _loss_of(
        (a / np.abs(a).sum(axis=1, keepdims=True)) @ (b / np.abs(b).sum(axis=1, keepdims=True)).T / t)),
    ("sphere", "the modulus of the cosine is taken", lambda a, b, t: _loss_of(np.abs(_logits(a, b, t)))),
    ("sphere", "batches are centred before they are compared", _centred),
    ("temperature", "the temperature is missing", lambda a, b, t: _loss_of(_logits(a, b, 1.0))),
    ("temperature", "the temperature multiplies where it should divide", lambda a, b, t: _loss_of(
        _logits(a, b, 1 / t))),
    ("temperature", "the temperature is squared", lambda a, b, t: _loss_of(_logits(a, b, t * t))),
    ("temperature", "temperatures below 0.1 are taken for 0.1", lambda a, b, t: _loss_of(_logits(a, b, max(t, 0.1)))),
    ("temperature", "temperatures above 1 are taken for 1", lambda a, b, t: _loss_of(_logits(a, b, min(t, 1.0)))),
    ("temperature", "the loss is multiplied by the temperature", lambda a, b, t: t * _loss_of(_logits(a, b, t))),
    ("temperature", "the positive is not divided by the temperature", _positive_without_temperature),
    ("temperature", "a temperature of 0 or below is not refused", lambda a, b, t: _loss_of(
        _logits(a, b, abs(t) or 1.0))),
    ("candidates", "the positive is missing in the denominator", lambda a, b, t: (
        _lse(_others(_logits(a, b, t))) - np.diag(_logits(a, b, t))).mean() if len(a) > 1 else 0.0),
    ("candidates", "the positive counts twice in the denominator", _positive_twice),
    ("candidates", "only the hardest negative counts", _hardest),
    ("candidates", "the last candidate is left out", _without(-1)),
    ("candidates", "the first candidate is left out", _without(0)),
    ("candidates", "negatives come from the anchor's own view", _same_view),
    ("candidates", "the candidates run along the wrong axis", lambda a, b, t: _loss_of(_logits(b, a, t))),
    ("candidates", "the positive is the next row", lambda a, b, t: _loss_of(_logits(a, np.roll(b, 1, axis=0), t))),
    ("mean", "the sign is wrong", lambda a, b, t: -_loss_of(_logits(a, b, t))),
    ("mean", "a sum where a mean is meant", lambda a, b, t: len(a) * _loss_of(_logits(a, b, t))),
    ("mean", "divided by N - 1", lambda a, b, t: _loss_of(_logits(a, b, t)) * len(a) / max(len(a) - 1, 1)),
    ("mean", "the mean is taken before the logarithm", lambda a, b, t: -np.log(
        _probabilities(_logits(a, b, t)).mean())),
    ("mean", "the logarithm is missing", lambda a, b, t: 1 - _probabilities(_logits(a, b, t)).mean()),
    ("mean", "the denominator is a mean, not a sum", lambda a, b, t: _loss_of(_logits(a, b, t)) - np.log(len(a))),
    ("mean", "the loss is made symmetric in the views", lambda a, b, t: (
        _loss_of(_logits(a, b, t)) + _loss_of(_logits(b, a, t))) / 2),
    ("mean", "only the first three instances count", _first_rows),
    ("numbers", "exp overflows at small temperatures", _naive),
    ("numbers", "one maximum for all rows: small rows vanish", _one_maximum),
    ("numbers", "the maximum is subtracted along the wrong axis", _lost_axis),
    ("numbers", "1e-3 is added inside the logarithm", lambda a, b, t: -np.log(
        _probabilities(_logits(a, b, t)) + 1e-3).mean()),
    ("numbers", "losses above 10 are taken for 10", _capped),
    ("numbers", "labels are smoothed by a tenth", _smoothed),
    ("numbers", "computed in half precision", _in_half),
    ("numbers", "embeddings that are nan are not refused", lambda a, b, t: _loss_of(
        _logits(np.nan_to_num(a, nan=1.0), np.nan_to_num(b, nan=1.0), t))),
)  # fmt: skip

_LENIENT = {
    "a temperature of 0 or below is not refused": {"warm": False},
    "embeddings that are nan are not refused": {"finite": False},
}


def _with_checks(nature: str, loss: Loss) -> Loss:
    lenient = _LENIENT.get(nature, {})

    def checked(a: Array, b: Array, tau: float) -> Any:
        _refuse(a, b, tau, **lenient)
        return loss(a, b, tau)

    return checked


FAULTS = tuple(Fault(family, nature, _with_checks(nature, loss)) for family, nature, loss in _ALL)
