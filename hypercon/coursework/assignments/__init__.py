"""The assignments by name, and those that a teacher declares in a file of their own."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from hypercon.coursework.assignments.a1_autograd import A1
from hypercon.coursework.assignments.a2_infonce import A2
from hypercon.coursework.assignments.a3_sphere import A3
from hypercon.coursework.assignments.a4_encoder import A4
from hypercon.coursework.assignments.a5_properties import A5
from hypercon.coursework.exercise import Assignment
from hypercon.errors import InputError

ASSIGNMENTS = {assignment.id: assignment for assignment in (A1, A2, A3, A4, A5)}

EXERCISES = {
    exercise.id: exercise
    for assignment in ASSIGNMENTS.values()
    if assignment.grader is None
    for exercise in assignment.exercises
}


def find(name: str) -> Assignment:
    """An assignment by its id, such as "a2", or by the file in which a teacher declares it as ``ASSIGNMENT``.

    That file is run, in this process: it is the teacher's own.

    Raises
    ------
    InputError
        There is no such assignment, or the file declares none.

    Examples
    --------
    >>> find("a2").title
    'InfoNCE and its gradient'
    """
    if name in ASSIGNMENTS:
        return ASSIGNMENTS[name]
    if not name.endswith(".py"):
        raise InputError(
            f"assignment got {name!r}, expected one of {', '.join(ASSIGNMENTS)}, or a .py file that declares one"
        )
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise InputError(f"assignment got {name}, which is not there") from None
    except Exception as error:  # whatever the file does wrong, its author shall read
        raise InputError(f"assignment got {name}, which cannot be run: {type(error).__name__}: {error}") from error
    declared = getattr(module, "ASSIGNMENT", None)
    if not isinstance(declared, Assignment):
        raise InputError(f"assignment got {name}, which declares no ASSIGNMENT = Assignment(...)")
    return replace(declared, folder=path.parent)
