"""What an exercise is: a few declarations. The judge draws arguments from them, compares, names and hints by them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]
Draw = Callable[[np.random.Generator, int], Arguments]
Law = Callable[[Callable[..., Any], Arguments, np.random.Generator], str | None]


SIZES = (2, 3, 4, 5, 7, 10)


class Case(tuple[Any, ...]):
    """Arguments of a call, with what the judge alone knows of them: ``known`` is never sent."""

    known: Any = None

    @classmethod
    def of(cls, arguments: Arguments, known: Any) -> Case:
        """These arguments, and this."""
        case = cls(arguments)
        case.known = known
        return case


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
        ``accepts(arguments, results)`` says what is wrong with the results, or None; where there is no
        ``expected``.
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
        Largest error, relative to the largest entry; the default leaves room for float32.
    sizes : sequence of int
        Of the cases, smallest first.
    points : float
    more_hints : sequence of str
        What is said after ``hint`` to one who tries again and again.
    seconds : float
        Of computing that `check` allows for all questions together, and twice as long of waiting. The limits of a
        grader are the assignment's.
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
    tolerance: float = 1e-5
    sizes: Sequence[int] = SIZES
    points: float = 1.0
    more_hints: Sequence[str] = ()
    seconds: float = 0.7
    adapt: Callable[[Any], Callable[..., Any]] | None = None

    @property
    def parameters(self) -> list[str]:
        """What the arguments are called; nothing where many answers are right."""
        return [] if self.expected is None else list(inspect.signature(self.expected).parameters)


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
    """Exercises that are handed in as one file, and what it may use besides NumPy: "hypothesis", or nothing."""

    id: str
    title: str
    exercises: tuple[Exercise, ...]
    allows: tuple[str, ...] = ()
    limits: Limits = Limits()
    grader: Callable[..., Any] | None = None  # instead of calls: `a5_properties`
    folder: Path | None = None  # where the source lies, of an assignment that is not hypercon's own

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


_UNSTABLE = "not stable"


def nature(
    exercise: Exercise,
    arguments: Arguments,
    got: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    extreme: bool = False,
) -> str:
    """The nature of a mistake, from what it does to the numbers. Whoever fails only where the inputs are extreme has
    the right formula in the wrong form.
    """
    got = [part.astype(np.float64) for part in got]  # truth values have no sign, and bytes wrap around
    overflows = any(
        g.shape == e.shape and np.isfinite(e).all() and not np.isfinite(g).all()
        for g, e in zip(got, expected, strict=True)
    )
    precision = min(1e-5, 0.01 * _distance(got, expected))
    for name, wrong in exercise.mistakes.items():
        if (extreme or overflows) and not name.startswith(_UNSTABLE):  # any formula may overflow there
            continue
        try:
            with np.errstate(all="ignore"):
                would = as_results(wrong(*arguments), exercise.outputs)
        except (ArithmeticError, IndexError, TypeError, ValueError):  # it cannot be made with these arguments
            continue
        if agree(got, would, precision) and not agree(would, expected, exercise.tolerance):
            return name
    if overflows:
        return f"{_UNSTABLE}: a result is nan or infinite where the right one is finite"
    if extreme:
        return f"{_UNSTABLE}: wrong where numbers are very large or very small"
    for g, e in zip(got, expected, strict=True):
        if g.shape != e.shape:
            turned = " (the axes are exchanged)" if g.shape == e.shape[::-1] else ""
            return f"wrong shape or axis: got {g.shape}, expected {e.shape}{turned}"
    if agree([-g for g in got], expected, 1e-5):
        return "the sign is wrong"
    if agree(got, expected, 1e-3):
        return "nearly right: a small number is added somewhere, or a step is taken in low precision"
    if agree([g.T for g in got], expected, 1e-5):
        return "the axes are exchanged: a transpose too many or too few"
    return _factor(exercise, arguments, got, expected) or "the values are wrong"


def _factor(
    exercise: Exercise, arguments: Arguments, got: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> str | None:
    """Results that are the right ones times something known, or divided by it."""
    flat = [np.concatenate([np.ravel(part).astype(np.float64) for part in parts]) for parts in (got, expected)]
    if not all(np.isfinite(values).all() for values in flat):
        return None
    scale = float(flat[1] @ flat[1])
    ratio = float(flat[0] @ flat[1]) / scale if scale else math.nan
    if not (math.isfinite(ratio) and ratio and agree([flat[0]], [ratio * flat[1]], 1e-5)):
        return None
    count = len(arguments[0]) if np.ndim(arguments[0]) else 0
    known: list[tuple[float, str, str]] = [  # the factor; what it is called if there is too much of it, and too little
        (count, "missing 1/N: a sum where a mean is meant", "divided by N once too often"),
        (count - 1, "missing 1/(N - 1)", "divided by N - 1 once too often"),
        (2, "twice what is right", "half of what is right"),
    ]
    for name, value in zip(exercise.parameters, arguments, strict=False):
        if isinstance(value, float):
            known.append((value, f"missing {name}: not divided by it", f"divided by {name} once too often"))
    names = [too_large for factor, too_large, _ in known if factor and math.isclose(ratio, factor, rel_tol=1e-5)]
    names += [too_small for factor, _, too_small in known if factor and math.isclose(ratio, 1 / factor, rel_tol=1e-5)]
    if names:  # several where N is 2
        return ", or ".join(names)
    return f"off by the constant factor {ratio:.4g}" if flat[0].size > 1 else None


def _distance(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest error, relative to the largest entry; infinite where it has no meaning."""
    if any(g.shape != e.shape or not np.isfinite(e).all() for g, e in zip(got, expected, strict=True)):
        return math.inf
    return max(_largest(g - e) / max(_largest(e), 1e-12) for g, e in zip(got, expected, strict=True))
