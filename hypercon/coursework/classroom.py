"""A class from its files to its marks: collected, graded behind walls, and written once nothing of it is running."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypercon.coursework import pages, reports
from hypercon.coursework.assignments import find
from hypercon.coursework.exercise import Limits
from hypercon.coursework.grading import grade_all
from hypercon.coursework.reports import Report
from hypercon.coursework.sandbox import ALWAYS, OFFERED, Worker
from hypercon.coursework.submissions import collect
from hypercon.errors import InputError
from hypercon.files import atomic

SUFFIXES = {"json": ".json", "gradescope": ".json", "otter": ".csv", "nbgrader": ".csv"}
"""Of a file in each format. A place without a suffix is a folder."""


def grade(
    assignment: str,
    paths: Sequence[str | Path],
    *,
    seed: int | None = None,
    jobs: int | None = None,
    require_sandbox: bool = False,
    progress: bool = False,
    form: str = "table",
) -> Report:
    """Grade every submission in ``paths``.

    Parameters
    ----------
    assignment : str
        Its id, such as "a2", or a file that declares it: see `hypercon.coursework.assignments.find`.
    paths : sequence of path
        Files, archives, folders with one submission, and folders full of them.
    seed : int, optional
        Of the inputs; drawn where none is given, so that nobody can know them.
    jobs : int, optional
        How many are graded at a time; one for each core where none is given.
    require_sandbox : bool, default False
        Grade nothing unless every layer of the sandbox stands.
    progress : bool, default False
        Show a bar on standard error.
    form : str, default "table"
        What the report is to be written as, of `reports.FORMATS`: "gradescope" is for one submission, and more are
        refused before any is graded.

    Raises
    ------
    InputError
        There is no such assignment or path, a folder is empty, or there are more submissions than ``form`` takes.
    WorkerError
        No worker can be started, or the sandbox that is required cannot be had.

    Examples
    --------
    >>> report = grade("a2", ["submissions"])  # doctest: +SKIP
    >>> print(reports.table(report))  # doctest: +SKIP
    """
    from tqdm import tqdm  # not before it is needed: it would slow every other command

    declared = find(assignment)
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs got {jobs}, expected at least 1")
    if seed is not None and seed < 0:
        raise InputError(f"seed got {seed}, expected 0 or more")
    chosen = secrets.randbits(48) if seed is None else seed
    required = OFFERED if require_sandbox else ()
    submissions = collect(paths, declared.file)
    if not submissions:
        raise InputError("submissions got no path, expected files, archives or folders")
    reports.check_count(form, len(submissions))
    with Worker(Limits(), required=required) as first:  # what cannot be had is told before anything is graded
        layers = first.layers
    begun = time.monotonic()
    with tqdm(total=len(submissions), unit="submission", disable=not progress) as bar:
        grades = grade_all(
            declared,
            submissions,
            chosen,
            jobs=jobs or len(os.sched_getaffinity(0)),
            required=required,
            done=lambda one: bar.update(),
        )
    for one in grades:
        layers = {name: stands and one.layers.get(name, True) for name, stands in layers.items()}
    return Report(declared, grades, chosen, dict.fromkeys(ALWAYS, True) | layers, time.monotonic() - begun)


def check_out(out: Path, form: str) -> None:
    """Refuse, before anything is graded, a place that cannot be written to or that holds something."""
    if out.suffix:
        if form == "table":
            raise InputError(
                f"out got the file {out.name}, expected a folder without a suffix, for table, CSV and pages"
            )
        if out.suffix != SUFFIXES[form]:
            raise InputError(
                f"out got {out.name} for the format {form}, expected a file that ends in {SUFFIXES[form]}, "
                "or a folder without a suffix"
            )
        if out.is_dir():
            raise InputError(f"out got {out}, which is a folder: expected a file, or a folder without a suffix")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out got {out}, which is there already: expected a new folder, so that no marks are mixed")
    if not out.absolute().parent.is_dir():
        raise InputError(f"out got {out}, but there is no folder {out.absolute().parent}: make it first")


def write(report: Report, out: Path, form: str) -> None:
    """Write a report, all of it or nothing: to a file in the form asked for, or to a folder with everything.

    A folder gets grades.csv, grades.json, the form asked for under the name its readers know, index.html, and a page
    for each student. It takes its name only when it is complete.
    """
    if out.suffix:
        with atomic(out) as stream:
            stream.write(reports.FORMATS[form](report).encode())
        return
    texts = {"grades.csv": reports.grades_csv(report), "grades.json": reports.as_json(report)}
    if form in reports.FILES:
        texts[reports.FILES[form]] = reports.FORMATS[form](report)
    texts["index.html"] = pages.index(report)
    for grade_, name in zip(report.grades, pages.names(report.grades), strict=True):
        texts[f"students/{name}"] = pages.student(report, grade_)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.absolute().parent))
    try:
        (folder / "students").mkdir()
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
        folder.chmod(0o755)
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
