"""Files of exercises, checked where they were written: each exercise by `check`, in this process, for their author."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.assignments.a5_faults import FAULTS
from hypercon.coursework.assignments.a5_properties import LocalTests, judged
from hypercon.coursework.check_report import Report
from hypercon.coursework.checking import examined
from hypercon.coursework.exercise import Assignment, Exercise
from hypercon.coursework.inside.serve import set_hypothesis, uses
from hypercon.coursework.judge import Outcome
from hypercon.coursework.lessons import EXERCISES as LESSONS
from hypercon.coursework.submissions import read
from hypercon.errors import InputError, UnfinishedError

TRIED = 3  # of every eight faults: the others are for the grader


@dataclass(frozen=True)
class Checked:
    """What became of one exercise: whether all of it holds, and the lines that say so."""

    id: str
    holds: bool
    text: str


def find_files(path: str | Path) -> list[Path]:
    """The assignments that a path stands for: itself, or those in a folder.

    Raises
    ------
    InputError
        There is none.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / assignment.file for assignment in ASSIGNMENTS.values() if (path / assignment.file).exists()]
        if not found:
            for notebook in sorted(path.glob("*.ipynb")):
                _refuse_lesson(notebook)
            files = ", ".join(assignment.file for assignment in ASSIGNMENTS.values())
            raise InputError(f"{path} has no assignment in it, expected one of {files}")
        return found
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return [path]


def check_file(path: Path, only: Sequence[str] = (), assignment: Assignment | None = None) -> list[Checked]:
    """Every exercise of a file, or those named; its name says of which assignment, if nothing else does.

    Raises
    ------
    InputError
        The file cannot be read or run, or belongs to no assignment, or there is no such exercise.
    """
    assignment = assignment or _assignment_of(path)
    exercises = [exercise for exercise in assignment.exercises if not only or exercise.id in only]
    unknown = set(only) - {exercise.id for exercise in assignment.exercises}
    if unknown:
        ids = ", ".join(exercise.id for exercise in assignment.exercises)
        raise InputError(f"exercise got {min(unknown)}, expected one of {ids}")
    if assignment.grader is not None:
        return _check_tests(assignment, path, exercises)
    names = _run(path)
    return [_check_one(exercise, names) for exercise in exercises]


def absent_when_graded(path: Path, assignment: Assignment | None = None) -> list[str]:
    """The packages and modules that a file imports and that its grader does not have. Raises as `check_file`."""
    assignment = assignment or _assignment_of(path)
    there = {"numpy", *assignment.allows, *sys.stdlib_module_names}
    return [name for name in uses(_source(path)) if name not in there and not name.endswith("()")]


def _assignment_of(path: Path) -> Assignment:
    """By the beginning of its name: a2.py, a2-final.py."""
    _refuse_lesson(path)
    for assignment in ASSIGNMENTS.values():
        if path.suffix in (".py", ".ipynb") and path.stem[: len(assignment.id)].lower() == assignment.id:
            return assignment
    likely = _likely(path)
    if likely is not None:
        raise InputError(f"{path.name} has the functions of assignment {likely.id}: call it {likely.file}")
    raise InputError(
        f"{path.name} belongs to no assignment: expected {', '.join(a.file for a in ASSIGNMENTS.values())}, "
        "or --tasks with the file that your teacher gave you"
    )


def _refuse_lesson(path: Path) -> None:
    exercise = LESSONS.get(f"{path.stem.split('_')[0]}.1")
    if exercise is not None:
        raise InputError(
            f'{path.name} is a lesson, which is checked in its notebook: check("{exercise.id}", {exercise.name})'
        )


def _run(path: Path) -> dict[str, Any]:
    """The names that a file defines."""
    source = _source(path)
    names: dict[str, Any] = {"__name__": path.stem}
    try:
        exec(compile(source, str(path), "exec"), names)
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: not Python ({error.msg})") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a file that ends the program has no functions to check
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {error}{_line(error, path)}") from None
    return names


def _line(error: BaseException, path: Path) -> str:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _likely(path: Path) -> Assignment | None:
    """The assignment most of whose functions a file defines, whatever it is called."""
    submission = read(path, path.name, path.stem)
    try:
        statements = ast.parse(submission.source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    defined = {statement.name for statement in statements if isinstance(statement, ast.FunctionDef)}
    shared = {a.id: len(defined & {exercise.name for exercise in a.exercises}) for a in ASSIGNMENTS.values()}
    most = max(shared, key=lambda identity: shared[identity])
    return ASSIGNMENTS[most] if shared[most] else None


def _source(path: Path) -> bytes:
    submission = read(path, path.with_suffix(".py").name, path.stem)
    if submission.reason:
        raise InputError(f"{path}: {submission.reason}")
    return submission.source


def _check_one(exercise: Exercise, names: dict[str, Any]) -> Checked:
    function = names.get(exercise.name)
    if not callable(function):
        return Checked(exercise.id, False, f"{exercise.id} {exercise.name}: there is no function of this name")
    try:
        report: Report = examined(exercise, function, np.random.default_rng(0))
    except UnfinishedError:
        return Checked(exercise.id, False, f"{exercise.id} {exercise.name}: not done yet")
    return Checked(exercise.id, bool(report), repr(report).splitlines()[0] if report else repr(report))


def _check_tests(assignment: Assignment, path: Path, exercises: Sequence[Exercise]) -> list[Checked]:
    """A student's tests, tried on what is right and on some of what is wrong."""
    if importlib.util.find_spec("hypothesis") is None:
        raise InputError('this assignment needs Hypothesis, which is not here: pip install "hypercon[test]"')
    families = [[fault for fault in FAULTS if fault.family == exercise.name][:TRIED] for exercise in exercises]
    faults = [fault for family in families for fault in family]
    with hypothesis_as_graded():
        outcomes = judged(assignment, LocalTests(_run(path)), np.random.default_rng(0), faults)
    ids = {exercise.id for exercise in exercises}
    return [Checked(outcome.id, outcome.passed, _told(outcome)) for outcome in outcomes if outcome.id in ids]


@contextmanager
def hypothesis_as_graded() -> Iterator[None]:
    """Hypothesis draws as it does for the judge, and afterwards as it did before."""
    import hypothesis  # half a second, for the one assignment that needs it

    before = hypothesis.settings.default
    set_hypothesis()
    try:
        yield
    finally:
        hypothesis.settings.register_profile("before", before)
        hypothesis.settings.load_profile("before")


def _told(outcome: Outcome) -> str:
    if outcome.passed:
        return f"{outcome.id} {outcome.name}: all {TRIED} faults that were tried are found"
    return f"{outcome.id} {outcome.name}: {outcome.reason}\nhint: {outcome.hint}"
