"""A claim of a paper as something that runs: what is measured, and the rule that judges it, written before the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypercon.experiments.papers.recipe import Recipe

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
    dots : bool or tuple of str
        Draw points instead of lines, for all curves or for these.
    spreads : mapping of str to array_like
        Half the length of the bar at each point of a curve: the standard deviation over seeds.
    title : str
    """

    x: str
    y: str
    curves: Mapping[str, tuple[Any, Any]]
    levels: Mapping[str, float] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    dots: bool | tuple[str, ...] = False
    spreads: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Cloud:
    """A picture of many things at once: points whose colour is a third number."""

    x: str
    y: str
    at: tuple[Any, Any]
    colour: Any
    meaning: str
    title: str = ""


@dataclass(frozen=True)
class Scene:
    """Embeddings in the plane, (N, 2), coloured by class where ``labels`` are known."""

    title: str
    points: Any
    labels: Any = None


Drawing = Panel | Cloud | Scene


@dataclass(frozen=True)
class Measured:
    """What a claim's measurement found: ``values`` go into its record, ``panel``, or several, into its picture."""

    values: dict[str, Any]
    panel: Drawing | tuple[Drawing, ...]

    @property
    def panels(self) -> tuple[Drawing, ...]:
        """All parts of the picture, from left to right."""
        return self.panel if isinstance(self.panel, tuple) else (self.panel,)


def _no_reason(values: dict[str, Any]) -> str:
    return ""


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
        From a generator, or from the `Encoders` that a trained claim looks at, to what was found.
    judge : callable
        From the values found to one of `VERDICTS`: the rule, as it is applied.
    recipes : tuple of Recipe
        What has to be trained. Without any a claim is ``"exact"``, settled by arithmetic.
    labels : bool
        Whether it cannot be measured without labels.
    reported : str
        The paper's own value, where there is one.
    why : callable
        From the values found to a line that says, as far as is known, why it holds in a range only or not at all.
    """

    id: str
    source: str
    sentence: str
    rule: str
    measure: Callable[[Any], Measured]
    judge: Callable[[dict[str, Any]], str]
    recipes: tuple[Recipe, ...] = ()
    labels: bool = False
    reported: str = ""
    why: Callable[[dict[str, Any]], str] = _no_reason

    @property
    def kind(self) -> str:
        """``"trained"`` or ``"exact"``."""
        return "trained" if self.recipes else "exact"


Measure = Callable[[Any], Measured]


def claims_to(into: list[Claim], paper: str) -> Callable[..., Callable[[Measure], Claim]]:
    """A decorator that makes claims of a paper from their measurements, and adds them to a list. Without a paper each
    names its own."""

    def claim(
        name: str,
        where: str,
        sentence: str,
        *,
        rule: str,
        judge: Callable[[dict[str, Any]], str],
        recipes: Sequence[Recipe] = (),
        **more: Any,
    ) -> Callable[[Measure], Claim]:
        def make(measure: Measure) -> Claim:
            source = f"{paper}, {where}" if paper else where
            made = Claim(name, source, sentence, rule, measure, judge, tuple(dict.fromkeys(recipes)), **more)
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


def outcome(record: dict[str, Any]) -> str:
    """The verdict, or why there is none."""
    return str(record.get("verdict") or record.get("error") or record["skipped"])


# --- values over several seeds


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """One measure of one recipe: its mean, its standard deviation and every seed's value."""
    seeds = [float(f"{value:.6g}") for value in values]
    return {
        "mean": float(f"{np.mean(seeds):.6g}"),
        "spread": float(f"{np.std(seeds, ddof=1):.3g}") if len(seeds) > 1 else 0.0,
        "seeds": seeds,
    }


def clearly_more(a: Mapping[str, Any] | float, b: Mapping[str, Any] | float, by: float = 0.0) -> bool:
    """Whether one measure lies above another, or above a number, by more than chance: over seeds, the mean of the
    differences is more than twice its standard error above ``by``. One seed alone decides by the difference itself."""
    high, low = (value["seeds"] if isinstance(value, Mapping) else value for value in (a, b))
    differences = np.atleast_1d(np.subtract(high, low) - by)
    error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return bool(differences.mean() > 2 * error and differences.mean() > 0)


def ordered_over(leaves: Mapping[str, Any], rises: bool) -> list[str] | None:
    """The longest stretch of settings over which a measure clearly rises, or falls, at every step: its two ends, or
    None where it does at no step. Of equal stretches the first."""
    names = list(leaves)
    best = first = 0, 0
    for i in range(1, len(names)):
        low, high = (leaves[names[i - 1]], leaves[names[i]]) if rises else (leaves[names[i]], leaves[names[i - 1]])
        first = (first[0], i) if clearly_more(high, low) else (i, i)
        best = max(best, first, key=lambda ends: ends[1] - ends[0])
    return [names[best[0]], names[best[1]]] if best[1] > best[0] else None


def judge_order(name: str) -> Callable[[dict[str, Any]], str]:
    """The rule for a measure that should be ordered over several settings: it holds if ``values["range"]`` has both
    ends of ``values[name]``, and in a range if it spans three settings at least."""

    def judge(values: dict[str, Any]) -> str:
        names, span = list(values[name]), values["range"]
        if span is None:
            return REFUTED
        steps = names.index(span[1]) - names.index(span[0])
        return HOLDS if steps == len(names) - 1 else RANGE if steps > 1 else REFUTED

    return judge


def rank_correlation(x: Any, y: Any) -> float:
    """Spearman's correlation: that of the ranks, ties sharing theirs."""

    def ranks(values: Any) -> np.ndarray:
        array = np.asarray(values, dtype=float)
        return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])

    a, b = ranks(x), ranks(y)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
