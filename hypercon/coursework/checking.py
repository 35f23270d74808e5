"""`check`: one's own function held against an exercise of a lesson, property by property, in this process.

It is for the person who writes the function: quick, with the smallest input that fails and a hint. It keeps nobody
from cheating himself; what is graded goes through the judge and its worker.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import io
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hypercon.autograd import Tensor
from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.assignments import EXERCISES as ASSIGNED
from hypercon.coursework.check_report import Property, Report
from hypercon.coursework.exercise import Arguments, Exercise
from hypercon.coursework.judge import EXTREMES, VALUES, StudentError, WrongError, questions, show
from hypercon.coursework.lessons import EXERCISES
from hypercon.coursework.time_limit import TimeUpError, at_most
from hypercon.errors import DtypeError, InputError, UnfinishedError

_failures: dict[str, int] = {}  # of attempts that got a hint, since the last that was right


class SlipError(StudentError):
    """No answer, for a reason that has nothing to do with the formula: a hint would be wasted on it."""


def check(id: str, function: Callable[..., Any], *, seed: int = 0) -> Report:
    """Hold a function against an exercise of a lesson or of an assignment.

    Parameters
    ----------
    id : str
        Of the exercise: two digits for a lesson's, such as "03.2", and one for an assignment's, such as "2.3".
    function : callable
        What you wrote.
    seed : int, default 0
        Of the inputs that are drawn.

    Returns
    -------
    Report
        Whether each property holds, the smallest input that fails with what was got and what was expected, and, where
        the answer is wrong, one hint: a further one after each further attempt. In a script it is printed as well.

    Raises
    ------
    UnfinishedError
        The function raises NotImplementedError, as the stubs of the lessons do.
    InputError, DtypeError
        There is no such exercise, the id is an assignment's and the function one of a lesson, or what was passed is no
        function.

    Examples
    --------
    >>> from hypercon.coursework import check
    >>> def hardness(similarities, temperature):
    ...     return similarities / similarities.sum()
    >>> check("03.2", hardness)
    03.2 hardness: ... properties hold
    ...
    """
    exercise = _find(id, function)
    if not callable(function):
        raise DtypeError(f'check("{id}", ...) got {type(function).__name__}, expected the function {exercise.name}')
    report = examined(exercise, function, np.random.default_rng(seed))
    _failures[id] = 0 if report else _failures.get(id, 0) + bool(report.hint)
    if not (hasattr(sys, "ps1") or hasattr(builtins, "get_ipython")):  # there it is shown as the result
        print(report)
    return report


def _find(id: str, function: Callable[..., Any]) -> Exercise:
    if not isinstance(id, str):
        raise DtypeError(f'check got {id!r} first, expected the id of an exercise, such as check("03.2", function)')
    of_lesson = EXERCISES.get("0" + id)  # 3.1 is another exercise than 03.1
    if of_lesson is not None and getattr(function, "__name__", "") == of_lesson.name:
        raise InputError(
            f'check got "{id}", which is of an assignment, for {of_lesson.name}: did you mean "{of_lesson.id}"?'
        )
    if id in ASSIGNED:
        return ASSIGNED[id]
    for assignment in ASSIGNMENTS.values():
        if id in [exercise.id for exercise in assignment.exercises]:
            raise InputError(f"{id} is not about one function: say `hypercon check {assignment.file}` in a terminal")
    if id not in EXERCISES:
        lesson = [known for known in EXERCISES if known.split(".")[0] == id.split(".")[0].zfill(2)]
        raise InputError(f"there is no exercise {id!r}: those of its lesson are {', '.join(lesson)}" if lesson else
                         f"there is no exercise {id!r}: expected one of {', '.join(EXERCISES)}")  # fmt: skip
    return EXERCISES[id]


def examined(exercise: Exercise, function: Callable[..., Any], rng: np.random.Generator) -> Report:
    """Every property asked, until the function cannot be asked any further."""
    student = _Learner(exercise, function)
    found: list[Property] = []
    case = ""
    stopped = hinted = False
    for name, ask in questions(exercise, student, rng):
        if stopped:
            found.append(Property(name, None))
            continue
        if name == EXTREMES and not found[0].holds:
            found.append(Property(name, None, f"first {VALUES}, above"))
            continue
        try:
            ask()
            found.append(Property(name, True))
        except WrongError as wrong:
            found.append(Property(name, False, wrong.reason))
            case = case or wrong.case(student.names)
            hinted = True
        except StudentError as error:
            found.append(Property(name, False, str(error)))
            case = case or student.case()
            stopped = True
            hinted = hinted or not isinstance(error, SlipError)
    if student.mutated is None:
        found.append(Property(_INPUTS, None if stopped else True))
    else:
        found.append(Property(_INPUTS, False, "it writes into them: compute on a copy"))
        case = case or show(student.mutated, student.names)
    notes = (f"printed: {student.printed!r} (not part of the answer)",) if student.printed else ()
    return Report(exercise.id, exercise.name, tuple(found), case, _hint(exercise) if hinted else "", notes)


_INPUTS = "its inputs are as they were"


def _hint(exercise: Exercise) -> str:
    hints = [exercise.hint, *exercise.more_hints]
    place = min(_failures.get(exercise.id, 0), len(hints) - 1)
    more = " (for the next, check again)" if place + 1 < len(hints) else ""
    return f"hint {place + 1} of {len(hints)}: {hints[place]}{more}"


class _Learner:
    """One's own function, asked in this process: with copies, without its prints, and for a limited time."""

    def __init__(self, exercise: Exercise, function: Callable[..., Any]) -> None:
        self._exercise = exercise
        self._function = function
        self._ask = function if exercise.adapt is None else exercise.adapt(function)
        self._left = exercise.seconds
        self._last: Arguments = ()
        self.names: Sequence[str] = ()
        self.mutated: Arguments | None = None
        self.printed = ""

    def case(self) -> str:
        """The arguments of the call that led to no answer."""
        return show(self._last, self.names) if self._last else ""

    def call(self, name: str, arguments: Arguments, outputs: int) -> tuple[Sequence[np.ndarray], Arguments]:
        """As `hypercon.coursework.judge.Student.call`."""
        if not self._last:
            self._check_arity(arguments)
        self._last = arguments
        given = tuple(np.array(value) if isinstance(value, np.ndarray) else value for value in arguments)
        value = self._answer(given)
        if self.mutated is None and not all(map(_same, arguments, given)):
            self.mutated = arguments
        parts = value if outputs > 1 and isinstance(value, tuple) else (value,)
        if len(parts) != outputs:
            got = f"{len(parts)} results" if isinstance(value, tuple) else _called(value)
            raise SlipError(f"it returned {got}, expected {outputs} results as a tuple: `return a, b`")
        return [self._as_array(part) for part in parts], arguments

    def _answer(self, given: Arguments) -> Any:
        printed = io.StringIO()
        start = time.process_time()
        try:
            with contextlib.redirect_stdout(printed), np.errstate(all="ignore"), at_most(self._left):
                return self._ask(*given)
        except TimeUpError:
            computed = time.process_time() - start > self._left / 2
            when = f"after {self._exercise.seconds:g} s of computing" if computed else "while it waited, not computing"
            raise SlipError(f"it was stopped {when}: is there a loop that never ends?") from None
        except NotImplementedError as error:
            raise UnfinishedError(
                f"{self._exercise.id} is not done yet: {error or f'write {self._exercise.name}'}, then run this again"
            ) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, which would end the notebook
            said = f": {error}" if str(error) else ""
            of_numbers = isinstance(error, ArithmeticError | ValueError | IndexError | RecursionError)
            kind = StudentError if of_numbers else SlipError
            raise kind(f"it raised {type(error).__name__}{said}{_line(error, self._function)}") from error
        finally:
            self._left -= time.process_time() - start
            self.printed = self.printed or printed.getvalue().strip()[:60]

    def _check_arity(self, arguments: Arguments) -> None:
        """Do so many arguments fit? Their names are then the function's own."""
        try:
            signature = inspect.signature(self._function)
        except (TypeError, ValueError):  # of functions written in C nothing is known
            return
        meant = self._exercise.parameters
        names = meant if self._exercise.adapt is not None else list(signature.parameters)
        expected = f"{len(arguments)} argument{'s' if len(arguments) > 1 else ''}" + (
            f" ({', '.join(meant)})" if meant else ""
        )
        if self._exercise.adapt is None:
            try:
                signature.bind(*arguments)
            except TypeError:
                raise SlipError(
                    f"it takes {signature}, expected {expected}: mend the line that begins with def"
                ) from None
        self.names = names if len(names) == len(arguments) else ()

    def _as_array(self, value: Any) -> np.ndarray:
        if value is None:
            raise SlipError(
                "it prints and returns None: write `return` in the place of print"
                if self.printed
                else "it returned None: end it with `return ...`"
            )
        if isinstance(value, Tensor):
            raise SlipError("it returned a Tensor, expected a NumPy array: return its .data")
        if isinstance(value, list | tuple):
            raise SlipError(f"it returned {_called(value)}, expected an array: return np.array(...) of it")
        array = np.array(value, subok=False) if isinstance(value, np.ndarray | np.generic | int | float) else None
        if array is None or array.dtype.kind not in "fiub":
            raise SlipError(f"it returned {_called(value)}, expected numbers: a NumPy array or a float")
        return array


def _same(before: Any, after: Any) -> bool:
    equal_nan = isinstance(before, np.ndarray) and before.dtype.kind == "f"
    return not isinstance(before, np.ndarray) or np.array_equal(before, after, equal_nan=equal_nan)


def _called(value: Any) -> str:
    if value is None:
        return "None"
    return f"an array of dtype {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _line(error: BaseException, function: Callable[..., Any]) -> str:
    """Where in the function it was raised."""
    code = getattr(function, "__code__", None)
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code is code:
            line = trace.tb_lineno - code.co_firstlineno + 1
        trace = trace.tb_next
    return f" (in line {line} of {function.__name__})" if line else ""
