"""One exercise judged: fresh inputs, smallest first, results compared with another route, then the laws.

A mark is 0 until every question has been answered rightly.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
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


class WrongError(Exception):
    """An answer that is wrong: why, to which arguments, what was got, and what was expected where that is one thing."""

    def __init__(
        self,
        reason: str,
        arguments: Arguments,
        got: Sequence[np.ndarray] | None = None,
        expected: Sequence[np.ndarray] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.arguments, self.got, self.expected = reason, arguments, got, expected

    def case(self, names: Sequence[str] = ()) -> str:
        """The arguments, under ``names`` where there are some, and the results below them."""
        lines = [show(self.arguments, names)]
        if self.got is not None:
            lines.append(f"  got      {shown(self.got)}")
        if self.expected is not None:
            lines.append(f"  expected {shown(self.expected)}")
        return "\n".join(lines)


Question = Callable[[], None]
VALUES, EXTREMES = "the right values", "the right values on extreme inputs"


def examine(exercise: Exercise, student: Student, rng: np.random.Generator) -> Outcome:
    """Ask until something is wrong, or nothing is left to ask."""
    start = Outcome(exercise.id, exercise.name, exercise.points, hint=exercise.hint)
    try:
        for _, ask in questions(exercise, student, rng):
            ask()
    except WrongError as wrong:
        return replace(start, reason=wrong.reason, case=wrong.case())
    except StudentError as error:
        return replace(start, reason=str(error))
    return replace(start, score=exercise.points, reason="", hint="")


def questions(exercise: Exercise, student: Student, rng: np.random.Generator) -> Iterator[tuple[str, Question]]:
    """What an exercise asks, property by property: its name, and a question that raises where the answer is wrong."""

    def values() -> None:
        for size in exercise.sizes:
            _check(exercise, student, exercise.arguments(rng, size))

    def extremes() -> None:
        for extreme in exercise.extremes:
            _check(exercise, student, extreme(rng), extreme=True)

    def single() -> None:
        _check(exercise, student, tuple(map(_single, exercise.arguments(rng, exercise.sizes[0]))), single=True)

    def holds(law: Law) -> None:
        arguments = exercise.arguments(rng, exercise.sizes[-1])
        broken = _broken(law, lambda *inputs: _ask(exercise, student, inputs), arguments, rng)
        if broken:
            raise WrongError(f"breaks a law: {broken}", arguments)

    yield VALUES, values
    if exercise.extremes:
        yield EXTREMES, extremes
    if exercise.keeps_dtype:
        yield "float32 in, float32 out", single
    for law in exercise.laws:
        yield inspect.getdoc(law) or "a law of its own", partial(holds, law)


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


def _check(
    exercise: Exercise, student: Student, arguments: Arguments, single: bool = False, extreme: bool = False
) -> None:
    results, after = student.call(exercise.name, _copied(arguments), exercise.outputs)
    if not _unchanged(arguments, after):
        raise WrongError("mutates its input: compute on a copy", arguments)
    if exercise.accepts is not None:
        wrong = exercise.accepts(arguments, results)
        if wrong:
            raise WrongError(wrong, arguments, results)
        return
    assert exercise.expected is not None
    expected = as_results(exercise.expected(*map(_double, arguments)), exercise.outputs)
    tolerance = 1e-4 if single else exercise.tolerance
    if not agree(results, expected, tolerance):
        reason = nature(exercise, tuple(map(_double, arguments)), results, expected, extreme)
        raise WrongError(reason, arguments, results, expected)
    if single and any(result.dtype != np.float32 for result in results):
        raise WrongError("wrong dtype: float32 inputs gave float64 results, expected float32", arguments)


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


def show(arguments: Arguments, names: Sequence[str] = ()) -> str:
    """Inputs as a student can paste them."""
    called = [f"{name}=" for name in names] or [""] * len(arguments)
    return "  with " + ", ".join(name + _shown_one(value) for name, value in zip(called, arguments, strict=True))


def shown(results: Sequence[np.ndarray]) -> str:
    """Results in one line."""
    return ", ".join(_shown_one(np.asarray(result)) for result in results)


def _shown_one(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
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
