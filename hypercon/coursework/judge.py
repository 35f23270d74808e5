"""One exercise judged: fresh inputs, smallest first, results compared with another route, then the laws.

A mark is 0 until every question has been answered rightly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from hypercon.coursework.exercise import Arguments, Exercise, Law, agree, as_results, nature


class StudentError(Exception):
    """What a student's function raised, or that it is not there."""


class Student(Protocol):
    """Where a student's functions are asked: a worker, or this process for one's own code."""

    def call(self, name: str, arguments: Arguments, outputs: int) -> tuple[Sequence[np.ndarray], Arguments]:
        """The results, and the inputs as they are afterwards."""


@dataclass(frozen=True)
class Outcome:
    """What became of an exercise. ``case`` shows the smallest input that failed: for students, not for class lists."""

    id: str
    name: str
    points: float
    score: float = 0.0
    reason: str = "not reached"
    case: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Full marks?"""
        return self.score == self.points


class _WrongError(Exception):
    def __init__(self, reason: str, case: str = ""):
        self.reason, self.case = reason, case


def examine(exercise: Exercise, student: Student, rng: np.random.Generator) -> Outcome:
    """Ask until something is wrong, or nothing is left to ask."""
    start = Outcome(exercise.id, exercise.name, exercise.points, hint=exercise.hint)
    try:
        for size in exercise.sizes:
            _check(exercise, student, exercise.arguments(rng, size))
        for extreme in exercise.extremes:
            _check(exercise, student, extreme(rng))
        if exercise.keeps_dtype:
            _check(exercise, student, tuple(map(_single, exercise.arguments(rng, exercise.sizes[0]))), single=True)
        for law in exercise.laws:
            arguments = exercise.arguments(rng, exercise.sizes[-1])
            broken = _broken(law, lambda *inputs: _ask(exercise, student, inputs), arguments, rng)
            if broken:
                raise _WrongError(f"breaks a law: {broken}", show(arguments))
    except _WrongError as failure:
        return replace(start, reason=failure.reason, case=failure.case)
    except StudentError as error:
        return replace(start, reason=str(error))
    return replace(start, score=exercise.points, reason="", hint="")


def _broken(law: Law, answer: Callable[..., Any], arguments: Arguments, rng: np.random.Generator) -> str | None:
    """Which law is broken. One that cannot even be asked, since an answer has another shape than the one before, is."""
    try:
        with np.errstate(all="ignore"):
            return law(answer, arguments, rng)
    except (ValueError, IndexError, TypeError) as error:
        return f"the results of two calls do not go together ({error})"


def _ask(exercise: Exercise, student: Student, arguments: Arguments) -> Any:
    results, _ = student.call(exercise.name, arguments, exercise.outputs)
    return results[0] if exercise.outputs == 1 else tuple(results)


def _check(exercise: Exercise, student: Student, arguments: Arguments, single: bool = False) -> None:
    results, after = student.call(exercise.name, _copied(arguments), exercise.outputs)
    shown = show(arguments)
    if not _unchanged(arguments, after):
        raise _WrongError("mutates its input: compute on a copy", shown)
    if exercise.accepts is not None:
        wrong = exercise.accepts(arguments, results)
        if wrong:
            raise _WrongError(wrong, f"{shown}\n  got {_shown(results)}")
        return
    assert exercise.expected is not None
    expected = as_results(exercise.expected(*map(_double, arguments)), exercise.outputs)
    tolerance = 1e-4 if single else exercise.tolerance
    if not agree(results, expected, tolerance):
        reason = nature(exercise, tuple(map(_double, arguments)), results, expected)
        raise _WrongError(reason, f"{shown}\n  got      {_shown(results)}\n  expected {_shown(expected)}")
    if single and any(result.dtype != np.float32 for result in results):
        raise _WrongError("wrong dtype: float32 inputs gave float64 results, expected float32", shown)


def _copied(arguments: Arguments) -> Arguments:
    return tuple(value.copy() if isinstance(value, np.ndarray) else value for value in arguments)


def _unchanged(before: Arguments, after: Arguments) -> bool:
    """Bit for bit. The inputs afterwards are as the worker reports them: a report can lower a mark, never raise one."""
    return len(before) == len(after) and all(
        np.array_equal(np.asarray(b), np.asarray(a), equal_nan=np.asarray(b).dtype.kind == "f")
        for b, a in zip(before, after, strict=True)
    )


def _single(value: Any) -> Any:
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _double(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def show(arguments: Arguments) -> str:
    """Inputs as a student can paste them."""
    return "  with " + ", ".join(map(_shown_one, arguments))


def _shown(results: Sequence[np.ndarray]) -> str:
    return ", ".join(_shown_one(np.asarray(result)) for result in results)


def _shown_one(value: Any) -> str:
    if isinstance(value, np.ndarray):
        with np.printoptions(precision=6, threshold=40, edgeitems=3):
            return " ".join(repr(value).split())
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else repr(value)


@dataclass(frozen=True)
class InThisProcess:
    """One's own functions, asked directly: for notebooks."""

    functions: dict[str, Callable[..., Any]]

    def call(self, name: str, arguments: Arguments, outputs: int) -> tuple[Sequence[np.ndarray], Arguments]:
        """As `Student.call`."""
        from hypercon.coursework.inside.serve import as_plain

        try:
            value = self.functions[name](*arguments)
            results = [as_plain(part) for part in (value if outputs > 1 else (value,))]
        except NotImplementedError as error:
            raise StudentError(f"not done yet: {error}") from None
        except Exception as error:
            raise StudentError(f"it raised {type(error).__name__}: {error}") from error
        if len(results) != outputs:
            raise StudentError(f"expected {outputs} results as a tuple, got {len(results)}")
        return results, arguments
