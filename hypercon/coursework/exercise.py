"""What an exercise is: a few declarations, by which the judge draws arguments, compares, names mistakes and hints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]
Draw = Callable[[np.random.Generator, int], Arguments]
Law = Callable[[Callable[..., Any], Arguments, np.random.Generator], str | None]


SIZES = (2, 3, 4, 5, 7, 10)


@dataclass(frozen=True)
class Exercise:
    """One function that a student writes.

    Attributes
    ----------
    id, name : str
        Such as "2.3" and the function's name.
    arguments : callable
        ``arguments(rng, size)`` draws the inputs; ``size`` grows from case to case, so that the first that fails is
        small.
    expected : callable or None
        The right results by another route than a student would take. None where many answers are right.
    hint : str
    outputs : int
        How many results; several come as a tuple.
    accepts : callable or None
        ``accepts(arguments, results)`` says what is wrong with the results, or None: without ``expected``.
    extremes : sequence of callable
        ``extreme(rng)`` draws inputs on which a careless formula overflows or divides by zero.
    laws : sequence of callable
        ``law(answer, arguments, rng)`` asks for further answers and says which law they break, or None. Its
        docstring is the law in one line, as a student reads it.
    mistakes : mapping
        From the mistake's nature to a function that makes it: results that agree with it name it.
    keeps_dtype : bool
        float32 in, float32 out.
    tolerance : float
        Largest error, relative to the largest entry.
    sizes : sequence of int
        Of the cases, smallest first.
    points : float
    more_hints : sequence of str
        What is said after ``hint`` to one who tries again and again.
    adapt : callable or None
        Makes a function of arrays from what is handed in, where that is something else: an operation, a loss.
    """

    id: str
    name: str
    arguments: Draw
    expected: Callable[..., Any] | None
    hint: str
    outputs: int = 1
    accepts: Callable[[Arguments, Sequence[np.ndarray]], str | None] | None = None
    extremes: Sequence[Callable[[np.random.Generator], Arguments]] = ()
    laws: Sequence[Law] = ()
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    keeps_dtype: bool = False
    tolerance: float = 1e-6
    sizes: Sequence[int] = SIZES
    points: float = 1.0
    more_hints: Sequence[str] = ()
    adapt: Callable[[Any], Callable[..., Any]] | None = None


@dataclass(frozen=True)
class Limits:
    """What a worker may use."""

    seconds_per_call: float = 5.0
    seconds: float = 60.0
    cpu_seconds: int = 30
    memory: int = 1 << 30
    file_size: int = 1 << 20


@dataclass(frozen=True)
class Assignment:
    """Exercises that are handed in as one file, and what of hypercon they may use."""

    id: str
    title: str
    exercises: tuple[Exercise, ...]
    allows: tuple[str, ...] = ()
    limits: Limits = Limits()
    grader: Callable[..., Any] | None = None  # instead of calls: `a5_properties`

    @property
    def file(self) -> str:
        """What a submission is called."""
        return f"{self.id}.py"

    @property
    def points(self) -> float:
        """The most that can be had."""
        return sum(exercise.points for exercise in self.exercises)


def as_results(value: Any, outputs: int) -> list[np.ndarray]:
    """What a function of the judge's returned, as a list of arrays."""
    return [np.asarray(part) for part in (value if outputs > 1 else (value,))]


def agree(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> bool:
    """Are all results of the right shape and within ``tolerance`` of the largest expected entry?"""
    return all(_agrees(g, e, tolerance) for g, e in zip(got, expected, strict=True))


def _agrees(got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if got.shape != expected.shape:
        return False
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))  # also equal infinities
    with np.errstate(invalid="ignore"):
        close = np.abs(got - expected) <= tolerance * max(_largest(expected), 1e-12)
    return bool((same | close).all())


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def nature(exercise: Exercise, arguments: Arguments, got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """The nature of a mistake, from what it does to the numbers."""
    for name, wrong in exercise.mistakes.items():
        with np.errstate(all="ignore"):
            would = as_results(wrong(*arguments), exercise.outputs)
        if agree(got, would, 1e-5) and not agree(would, expected, exercise.tolerance):
            return name
    for g, e in zip(got, expected, strict=True):
        if np.isfinite(e).all() and not np.isfinite(g).all():
            return "not stable: a result is nan or infinite where the right one is finite"
    for g, e in zip(got, expected, strict=True):
        if g.shape != e.shape:
            turned = " (the axes are exchanged)" if g.shape == e.shape[::-1] else ""
            return f"wrong shape or axis: got {g.shape}, expected {e.shape}{turned}"
    if agree([-g for g in map(np.asarray, got)], expected, 1e-5):
        return "the sign is wrong"
    return _factor(arguments, got, expected) or "the values are wrong"


def _factor(arguments: Arguments, got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str | None:
    """Results that are the right ones times something known."""
    flat = [np.concatenate([np.ravel(part).astype(np.float64) for part in parts]) for parts in (got, expected)]
    scale = float(flat[1] @ flat[1])
    ratio = float(flat[0] @ flat[1]) / scale if scale else math.nan
    if not (math.isfinite(ratio) and ratio and agree([flat[0]], [ratio * flat[1]], 1e-5)):
        return None
    count = len(arguments[0]) if np.ndim(arguments[0]) else 0
    known: dict[str, float] = {
        "missing 1/N: a sum where a mean is meant": count,
        "missing 1/(N - 1)": count - 1,
        "a factor 2": 2,
    }
    known |= {f"missing temperature or scale {value:g}": value for value in arguments if isinstance(value, float)}
    for name, factor in known.items():
        if factor and (math.isclose(ratio, factor, rel_tol=1e-5) or math.isclose(ratio, 1 / factor, rel_tol=1e-5)):
            return name
    return f"off by the constant factor {ratio:.4g}"
