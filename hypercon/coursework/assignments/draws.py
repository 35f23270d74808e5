"""Inputs that several assignments draw, and laws that several losses obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# Similarities that a temperature of 0.001 drives apart: exp(-0.75 / 0.001) is 0. The maximum of one row cannot serve
# another, and a positive that is far ahead, as all are after training, cannot serve where it is left out.
ROWS_APART = np.array([[-0.5, 0.9, 0.3, 0.2], [0.0, -0.5, -0.1, -0.2], [0.8, 0.1, -0.5, 0.4], [-0.3, -0.1, 0.0, -0.5]])
POSITIVES_AHEAD = np.array([[0.9, 0.1, 0.0, -0.1], [0.1, 0.9, -0.1, 0.0], [0.1, -0.2, 1.0, 0.0], [-0.1, 0.1, 0.0, 0.9]])


def unit(x: np.ndarray) -> np.ndarray:
    """Rows on the sphere."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def views(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two views of ``size`` instances, in a dimension that is not their number; entries with one decimal."""
    shape = (size, size + 1)
    return lattice(rng, shape), lattice(rng, shape)


def lattice(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers with two decimals, none near 0: readable, and never a row of zeros."""
    return rng.choice([-1.0, 1.0], shape) * rng.integers(10, 200, shape) / 100


def temperature(rng: np.random.Generator) -> float:
    """Far from 1, so that one that is left out shows."""
    return float(rng.choice([0.2, 0.3, 0.45, 0.7]))


def permuting(*places: int, moves: bool = False) -> Callable[..., str | None]:
    """The law that the order of the batch plays no role; with ``moves``, that results are ordered along."""

    def law(answer: Any, arguments: tuple[Any, ...], rng: np.random.Generator) -> str | None:
        """the order of the batch plays no role"""
        order = rng.permutation(len(arguments[places[0]]))
        moved = tuple(a[order] if i in places else a for i, a in enumerate(arguments))
        before, after = answer(*arguments), answer(*moved)
        for b, a in zip(_several(before), _several(after), strict=True):
            if not _alike(a, b[order] if moves else b):
                return "another order of the batch gives other results"
        return None

    return law


def rotating(*places: int) -> Callable[..., str | None]:
    """The law that a common rotation of all embeddings changes nothing."""

    def law(answer: Any, arguments: tuple[Any, ...], rng: np.random.Generator) -> str | None:
        """a rotation of all embeddings changes nothing"""
        turn = np.linalg.qr(rng.normal(size=(arguments[places[0]].shape[1],) * 2))[0]
        moved = tuple(a @ turn if i in places else a for i, a in enumerate(arguments))
        if not _alike(answer(*moved), answer(*arguments)):
            return "a rotation of all embeddings changes the result"
        return None

    return law


def scaling(*places: int) -> Callable[..., str | None]:
    """The law that the lengths of rows, before they are put onto the sphere, change nothing."""

    def law(answer: Any, arguments: tuple[Any, ...], rng: np.random.Generator) -> str | None:
        """the lengths of the rows change nothing"""
        moved = tuple(a * rng.uniform(0.5, 3, (len(a), 1)) if i in places else a for i, a in enumerate(arguments))
        if not _alike(answer(*moved), answer(*arguments)):
            return "the lengths of the rows change the result: normalise them"
        return None

    return law


def tangent(results: int) -> Callable[..., str | None]:
    """The law that a gradient through the normalisation stands at right angles to its row. One result belongs to the
    last input, several to the first ones."""

    def law(answer: Any, arguments: tuple[Any, ...], rng: np.random.Generator) -> str | None:
        """the gradient is tangent to the sphere"""
        rows = arguments[-1:] if results == 1 else arguments[:results]
        for gradient, x in zip(_several(answer(*arguments)), rows, strict=True):
            along = np.asarray(gradient) * x
            if not _alike(along.sum(axis=1) + np.abs(along).sum(axis=1), np.abs(along).sum(axis=1)):
                return "a gradient is not tangent to the sphere"
        return None

    return law


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _alike(a: Any, b: Any) -> bool:
    """Equal to four digits of the largest entry: whoever breaks a law does it in the first."""
    return np.allclose(a, b, rtol=0, atol=1e-9 + 1e-4 * float(np.abs(b).max(initial=0)))
