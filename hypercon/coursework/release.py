"""The student's edition of an assignment, written only where nothing of the solution is left in it.

An assignment's source is one script with its solutions between fences. Whatever a student may see besides the prose and
the stubs is marked ``# GIVEN``; so a function that lost its fence is seen at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hypercon.coursework.assignments import ASSIGNMENTS, find
from hypercon.coursework.editions import BEGIN, END, with_solutions, without_solutions
from hypercon.coursework.exercise import Assignment
from hypercon.errors import DataError, InputError
from hypercon.files import atomic

GIVEN = "# GIVEN"
_SHORTEST = 12  # a line with fewer characters, spaces apart, says nothing


class LeakError(DataError):
    """A student's edition would show some of a solution."""


def folder() -> Path:
    """Where the sources lie: in the wheel, or in a checkout."""
    package = Path(__file__).parents[1]
    for place in (package / "tutorials", package.parent / "tutorials"):
        if (place / "coursework").is_dir():
            return place / "coursework"
    raise InputError("the assignments are not here: install hypercon from its wheel, or in a checkout")


def source(assignment: Assignment) -> str:
    """An assignment's source, with its fences."""
    path = (assignment.folder or folder()) / assignment.file
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}, the source of {assignment.id}, cannot be read ({error.strerror})") from None


def solution(assignment: Assignment) -> str:
    """The edition for teachers: it earns full marks."""
    return with_solutions(source(assignment))


def student_edition(assignment: Assignment, text: str | None = None) -> str:
    """The edition for students, of the assignment's source or of ``text``.

    Raises
    ------
    LeakError
        It would show some of a solution; the message says where.
    DataError
        A fence has no other end.
    """
    text = source(assignment) if text is None else text
    ids = {exercise.name: exercise.id for exercise in assignment.exercises}
    edition = without_solutions(text, ids)
    found = list(leaks(assignment, text, edition))
    if found:
        raise LeakError(f"{assignment.file} is not released, a solution would leak: {found[0]}")
    return edition


def release(out: str | Path, identities: Sequence[str] = (), *, overwrite: bool = False) -> list[Path]:
    """Write the students' editions of some assignments, or of all, with a page that says how to work on them.

    Parameters
    ----------
    out : path-like
        A folder, which is made if need be.
    identities : sequence of str
        Such as "a2", or files that declare others. All of hypercon's if there are none.
    overwrite : bool, default False
        Replace files that are there.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    InputError
        There is no such assignment, or a file of that name is there and differs.
    LeakError
        A solution would leak. Then nothing is written.
    """
    chosen = {identity: find(identity) for identity in identities or ASSIGNMENTS}
    texts = {assignment.file: student_edition(assignment) for assignment in chosen.values()}
    texts["README.md"] = page(chosen)
    paths = {Path(out) / name: text for name, text in texts.items()}
    for path, text in paths.items():
        if path.exists() and not overwrite and path.read_bytes() != text.encode():
            raise InputError(f"{path} is there already, and differs: give another folder, or --overwrite")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out got {out}, which cannot be made ({error.strerror}): choose another folder") from None
    for path, text in paths.items():
        with atomic(path) as stream:
            stream.write(text.encode())
    return list(paths)


def page(chosen: Mapping[str, Assignment]) -> str:
    """The page for students, with commands and examples for what is handed out: assignments by id or declaration.

    It is written about a2, and stays so where that is among them. An assignment of a teacher's own is checked by its
    declaration, which the teacher may give to students or keep.
    """
    text = (folder() / "README.md").read_text(encoding="utf-8")
    ours = [assignment for identity, assignment in chosen.items() if identity in ASSIGNMENTS]
    by_function = [assignment for assignment in ours if assignment.grader is None]
    if not by_function:
        text = re.sub(r"^In a notebook, .*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    own = "".join(
        f"hypercon check {assignment.file} --tasks {Path(identity).name}    # if you were given {Path(identity).name}\n"
        for identity, assignment in chosen.items()
        if identity not in ASSIGNMENTS
    )
    if "a2" not in chosen:
        example = [*by_function, *ours, *chosen.values()][0]
        exercise = example.exercises[min(2, len(example.exercises) - 1)]
        text = re.sub(r"\ba2\b", example.id, text)
        text = re.sub(r"\b2\.3\b", exercise.id, text).replace("info_nce_gradient", exercise.name)
    return re.sub(r"(?:^hypercon check .*\n)+", lambda ready: ready[0] * bool(ours) + own, text, flags=re.MULTILINE)


def listing() -> str:
    """The assignments as lines for a terminal."""
    return "\n".join(
        f"{assignment.id}  {assignment.points:3g} points  {len(assignment.exercises)} exercises  {assignment.title}"
        for assignment in ASSIGNMENTS.values()
    )


# --- leaks


def leaks(assignment: Assignment, text: str, edition: str) -> Iterator[str]:
    """What of a solution a student would see, one line each."""
    lines = edition.splitlines()
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*#\W*(begin|end)\b|.*\b(begin|end)\W+solution", line, re.IGNORECASE):
            yield f"line {number} looks like a fence that was not read: {line.strip()}"
    try:
        statements = ast.parse(edition).body
    except SyntaxError as error:
        yield f"line {error.lineno} is no Python without the solutions"
        return
    if assignment.grader is None:
        yield from _unwritten(assignment, statements)
    names = {exercise.name for exercise in assignment.exercises}
    for statement in statements:
        first = _first_line(statement)
        if lines[max(first - 2, 0)].strip() == GIVEN:
            lines[first - 1 : statement.end_lineno] = [""] * len(lines[first - 1 : statement.end_lineno])
        elif not _harmless(statement, names):
            yield f"line {first} is neither an exercise nor marked {GIVEN}"
    shown = _squeezed("".join(lines))
    for line in _solution_lines(text):
        if line in shown:
            yield f"a line of the solution is shown elsewhere: {line}"


def _unwritten(assignment: Assignment, statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Every exercise must be there once, with a text and nothing but what says that it is not done."""
    functions = [s for s in statements if isinstance(s, ast.FunctionDef)]
    for exercise in assignment.exercises:
        named = [function for function in functions if function.name == exercise.name]
        if len(named) != 1:
            yield f"{exercise.name} is there {len(named)} times, expected once"
            continue
        said = f"raise NotImplementedError('exercise {exercise.id}: write {exercise.name}')"
        body = [ast.unparse(s) for s in named[0].body]
        if ast.get_docstring(named[0]) is None or body[1:] != [said] or named[0].decorator_list:
            yield f"{exercise.name} has more to it than a docstring and a stub: is its fence missing?"


def _harmless(statement: ast.stmt, exercises: set[str]) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.FunctionDef):
        return statement.name in exercises
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _first_line(statement: ast.stmt) -> int:
    return min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])


def _solution_lines(text: str) -> Iterator[str]:
    """What stands between fences, and the right-hand sides of it, without its spaces."""
    within = False
    for line in text.splitlines():
        word = line.strip()
        if word in (BEGIN, END):
            within = word == BEGIN
        elif within and not word.startswith(("@", "def ", "class ")):
            told = _squeezed(word.lstrip("# ").removeprefix("return "))
            right = re.sub(r"^[\w,.*]+=(?!=)", "", told)
            yield from (part for part in {told, right} if len(part) >= _SHORTEST)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)
