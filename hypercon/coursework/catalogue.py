"""The lessons as they come with the package: which there are, what each says of itself, and a copy to work in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hypercon.coursework.editions import notebook, with_solutions, without_solutions
from hypercon.errors import InputError
from hypercon.files import atomic


@dataclass(frozen=True)
class Lesson:
    """A lesson's source, and what its head says."""

    path: Path

    @property
    def number(self) -> str:
        """Two digits."""
        return self.path.stem[:2]

    @property
    def source(self) -> str:
        """The script in percent format, with its solutions between fences."""
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The first heading, without its number."""
        return self._said(r"^# # \d\d (.+)$")

    @property
    def minutes(self) -> int:
        """Of reading, and of the exercises."""
        return int(self._said(r"^# \*\*Time\*\* (\d+) minutes"))

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.source, re.MULTILINE)
        if found is None:
            raise InputError(f"{self.path} has no line such as {pattern}")
        return found[1].strip()


def lessons() -> list[Lesson]:
    """Every lesson, by number."""
    package = Path(__file__).parents[1]
    for folder in (package / "tutorials", package.parent / "tutorials"):  # of the wheel, of a checkout
        paths = sorted(folder.glob("[0-9][0-9]_*.py"))
        if paths:
            return [Lesson(path) for path in paths]
    raise InputError("the lessons are not here: install hypercon from its wheel, or in a checkout")


def find(number: str) -> Lesson:
    """A lesson by its number, such as "03" or "3"."""
    known = {lesson.number: lesson for lesson in lessons()}
    if number.zfill(2) not in known:
        raise InputError(f"number got {number!r}, expected one of {', '.join(known)}: see hypercon lessons list")
    return known[number.zfill(2)]


def listing() -> str:
    """The lessons as lines for a terminal."""
    return "\n".join(f"{lesson.number}  {lesson.minutes:2d} min  {lesson.title}" for lesson in lessons())


def start(number: str, out: str | Path, *, solution: bool = False) -> Path:
    """Write a lesson as a notebook into a folder, which is made if need be.

    Parameters
    ----------
    number : str
        Such as "03".
    out : path-like
    solution : bool, default False
        With the solutions of its exercises.

    Returns
    -------
    pathlib.Path
        The notebook.

    Raises
    ------
    InputError
        There is no such lesson, jupytext is not installed, or a notebook of that name is there: it may hold one's work.
    """
    lesson = find(number)
    path = Path(out) / f"{lesson.path.stem}{'_solution' if solution else ''}.ipynb"
    if path.exists():
        raise InputError(f"{path} is there already, and may hold your work: give another folder with --out, or move it")
    text = notebook((with_solutions if solution else without_solutions)(lesson.source))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out got {out}, which cannot be made ({error.strerror}): choose another folder") from None
    with atomic(path) as stream:
        stream.write(text.encode())
    return path
