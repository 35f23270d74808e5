"""Inputs of a contrastive loss: drawn small first, with awkward ones among them, and made smaller when they fail.

It needs no Hypothesis, so that a loss can be checked wherever NumPy runs. `hypercon.testing.strategies` draws the same
edges for those who have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

SIMPLE_TEMPERATURES = (1.0, 0.5, 2.0, 0.2, 0.1)


@dataclass(frozen=True, eq=False)
class Case:
    """Two views of a batch and a temperature: what a loss is called with."""

    z1: np.ndarray  # (N, D)
    z2: np.ndarray  # (N, D)
    temperature: float

    @property
    def count(self) -> int:
        return len(self.z1)

    def with_views(self, z1: np.ndarray, z2: np.ndarray, temperature: float | None = None) -> Case:
        return Case(z1, z2, self.temperature if temperature is None else temperature)

    def __str__(self) -> str:
        rows = (np.array2string(z, separator=", ", threshold=60, precision=17) for z in (self.z1, self.z2))
        z1, z2 = (text.replace("\n", "\n     ") for text in rows)
        return f"z1 = {z1}\nz2 = {z2}\ntemperature = {self.temperature:.17g}"


def unit(z: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths."""
    return np.asarray(z / np.sqrt((z * z).sum(axis=1, keepdims=True)))


# --- edges: each takes two views of at least two instances and returns two views


def tied(z1: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two candidates of the first anchor are equally similar: two negatives, or its positive and its only negative."""
    z2 = z2.copy()
    z2[1] = z2[2 if len(z2) > 2 else 0]
    return z1, z2


def duplicated(z1: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One instance is in the batch twice."""
    z1, z2 = z1.copy(), z2.copy()
    z1[1], z2[1] = z1[0], z2[0]
    return z1, z2


def opposed(z1: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A negative of the first anchor is its antipode, and its positive is itself."""
    z2 = z2.copy()
    z2[0], z2[1] = z1[0], -z1[0]
    return z1, z2


def with_single_negative(z1: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest batch: each anchor has one negative in the other view."""
    return z1[:2], z2[:2]


EDGES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "ties": tied,
    "duplicates": duplicated,
    "antipodes": opposed,
    "single negative": with_single_negative,
}


# --- drawing

SIZES = ((2, 2), (2, 3), (3, 2), (3, 4), (4, 3), (5, 2), (6, 5), (8, 4))  # (N, D), in the order in which they are tried


def draw_cases(rng: np.random.Generator, how_many: int) -> Iterator[Case]:
    """Ordinary cases first; then every third has an edge."""
    edges = list(EDGES.values())
    for i in range(how_many):
        n, d = SIZES[i % len(SIZES)]
        z1 = rng.normal(size=(n, d))
        # related, unrelated and equal views: the positive leads, does not lead, and cannot lead by more
        z2 = (z1 + 0.5 * rng.normal(size=(n, d)), rng.normal(size=(n, d)), z1.copy())[i % 3]
        if i % 3 == 1:
            z1, z2 = edges[i // 3 % len(edges)](z1, z2)
        temperature = float(np.exp(rng.uniform(np.log(0.05), np.log(5.0)))) if i % 2 else float(rng.choice([1.0, 0.2]))
        yield Case(z1, z2, temperature)


# --- shrinking


def shrink(case: Case, fails: Callable[[Case], bool], *, tries: int = 400) -> Case:
    """The simplest case that is found to fail still.

    Simpler means, in this order: fewer instances, fewer dimensions, equal views, a plain temperature, rounder numbers.
    Every step is one of these, so it ends; ``tries`` bounds how often ``fails`` is asked.
    """
    left = tries
    improved = True
    while improved:
        improved = False
        for simpler in _simpler(case):
            if left == 0:
                return case
            left -= 1
            if fails(simpler):
                case, improved = simpler, True
                break
    return case


def _simpler(case: Case) -> Iterator[Case]:
    """Cases one step simpler, the largest steps first."""
    n, d = case.z1.shape
    candidates = [case.with_views(case.z1[:k], case.z2[:k]) for k in (2, n // 2) if 2 <= k < n]
    if n > 2:
        candidates += [case.with_views(np.delete(case.z1, i, 0), np.delete(case.z2, i, 0)) for i in range(n)]
    if d > 1:
        candidates += [case.with_views(np.delete(case.z1, k, 1), np.delete(case.z2, k, 1)) for k in range(d)]
    if not np.array_equal(case.z1, case.z2):
        candidates += [case.with_views(case.z1, case.z1.copy()), case.with_views(case.z2.copy(), case.z2)]
    if case.temperature in SIMPLE_TEMPERATURES:
        plainer = SIMPLE_TEMPERATURES[: SIMPLE_TEMPERATURES.index(case.temperature)]
    else:
        plainer = SIMPLE_TEMPERATURES
    candidates += [replace(case, temperature=temperature) for temperature in plainer]
    candidates += _rounder(case)
    yield from (c for c in candidates if c.z1.any(axis=1).all() and c.z2.any(axis=1).all())  # no row without direction


def _rounder(case: Case) -> Iterator[Case]:
    both = np.stack([case.z1, case.z2])
    for decimals in (0, 1, 2):
        rounded = np.round(both, decimals)
        if not np.array_equal(rounded, both):
            yield case.with_views(rounded[0], rounded[1])
    for index in np.ndindex(both.shape):
        number = float(both[index])
        for plainer in (0.0, 1.0, -1.0, float(np.round(number)), float(np.round(number, 1))):
            if _digits(plainer) < _digits(number):
                changed = both.copy()
                changed[index] = plainer
                yield case.with_views(changed[0], changed[1])


def _digits(number: float) -> int:
    """How much there is to read in a number."""
    if number in (0.0, 1.0, -1.0):
        return (0.0, 1.0, -1.0).index(number)
    return 2 + len(f"{abs(number):.17g}")
