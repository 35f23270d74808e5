"""A claim of a paper as something that runs: what is measured, and the rule that judges it, written before the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HOLDS = "holds"
RANGE = "holds in a range"
REFUTED = "does not hold here"
INCONSISTENT = "the paper's text is inconsistent"
VERDICTS = (HOLDS, RANGE, REFUTED, INCONSISTENT)


@dataclass(frozen=True)
class Panel:
    """A picture in numbers: curves over one axis, and levels to hold them against.

    Attributes
    ----------
    x, y : str
        What the axes show.
    curves : mapping of str to (array_like, array_like)
        Each by name: where, as numbers or names, and how much.
    levels : mapping of str to float
        Horizontal lines.
    log_x, log_y : bool
    dots : bool
        Draw points instead of lines.
    """

    x: str
    y: str
    curves: Mapping[str, tuple[Any, Any]]
    levels: Mapping[str, float] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Measured:
    """What a claim's measurement found: ``values`` go into its record, ``panel`` into its picture."""

    values: dict[str, Any]
    panel: Panel


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, how it is measured, and the rule that its verdict is computed from.

    Attributes
    ----------
    id : str
        What `hypercon reproduce` calls it.
    source : str
        Paper, and equation or figure.
    sentence : str
        What is claimed.
    rule : str
        In words, when it holds.
    measure : callable
        From a generator to what was found.
    judge : callable
        From the values found to one of `VERDICTS`: the rule, as it is applied.
    kind : str
        ``"exact"`` claims are settled by arithmetic, ``"trained"`` ones by training encoders.
    """

    id: str
    source: str
    sentence: str
    rule: str
    measure: Callable[[np.random.Generator], Measured]
    judge: Callable[[dict[str, Any]], str]
    kind: str = "exact"


Measure = Callable[[np.random.Generator], Measured]


def claims_to(into: list[Claim], paper: str) -> Callable[..., Callable[[Measure], Claim]]:
    """A decorator that makes claims of a paper from their measurements, and adds them to a list. Without a paper each
    names its own."""

    def claim(
        name: str, where: str, sentence: str, *, rule: str, judge: Callable[[dict[str, Any]], str]
    ) -> Callable[[Measure], Claim]:
        def make(measure: Measure) -> Claim:
            made = Claim(name, f"{paper}, {where}" if paper else where, sentence, rule, measure, judge)
            into.append(made)
            return made

        return make

    return claim


def holds_if(condition: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], str]:
    """The plainest rule: it holds, or it does not."""
    return lambda values: HOLDS if condition(values) else REFUTED


def inconsistent_if(condition: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], str]:
    """A rule for a sentence that contradicts another of the same paper."""
    return lambda values: INCONSISTENT if condition(values) else HOLDS


def unit_rows(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Independent points, uniform on the sphere, (count, dim)."""
    z = rng.standard_normal((count, dim))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def two_views(rng: np.random.Generator, count: int, dim: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Points on the sphere and neighbours of theirs, two (count, dim)."""
    z = unit_rows(rng, count, dim)
    near = z + noise * rng.standard_normal(z.shape) / np.sqrt(dim)
    return z, near / np.linalg.norm(near, axis=1, keepdims=True)
