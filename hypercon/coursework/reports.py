"""What a graded class becomes: a table, JSON, a CSV, and the forms that Gradescope, Otter and nbgrader read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hypercon.coursework.exercise import Assignment
from hypercon.coursework.grading import Grade
from hypercon.coursework.judge import Outcome
from hypercon.errors import InputError


@dataclass(frozen=True)
class Report:
    """A class and how it was graded.

    Attributes
    ----------
    assignment : Assignment
    grades : sequence of Grade
    seed : int
        Of all inputs that were drawn: with it, everything can be graded again alike. A secret until the deadline.
    layers : dict of str to bool
        Which walls stood around every worker.
    seconds : float
    """

    assignment: Assignment
    grades: Sequence[Grade]
    seed: int
    layers: dict[str, bool]
    seconds: float

    @property
    def missing(self) -> list[str]:
        """The layers that did not stand."""
        return [name for name, stands in self.layers.items() if not stands]

    @property
    def mean(self) -> float:
        """Of the scores; 0 for an empty class."""
        return sum(grade.score for grade in self.grades) / max(len(self.grades), 1)


def table(report: Report) -> str:
    """For a terminal: a row for each submission, and below it how they were graded."""
    head = ["", *(exercise.id for exercise in report.assignment.exercises), "score", ""]
    rows = [head, *(_row(grade, report.assignment.points) for grade in report.grades)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    lines = [
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:-1], widths[1:], strict=True)), row[-1]]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_footer(report)])


def _row(grade: Grade, points: float) -> list[str]:
    marks = [f"{outcome.score:.3g}" for outcome in grade.outcomes]
    return [_shortened(grade.name, 32), *marks, f"{grade.score:.4g}/{points:.4g}", _shortened(grade.why, 72)]


def _footer(report: Report) -> list[str]:
    count, full = len(report.grades), sum(grade.score == grade.points for grade in report.grades)
    standing = [name for name, stands in report.layers.items() if stands]
    lines = [
        f"{count} graded in {report.seconds:.1f} s, {full} with full marks, mean {report.mean:.3g} of "
        f"{report.assignment.points:.4g}; seed {report.seed}",
        f"the sandbox had {', '.join(standing)}",
    ]
    if report.missing:
        lines.append(f"it did not have {', '.join(report.missing)}")
    return lines


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def as_json(report: Report) -> str:
    """Everything that is known, for programs."""
    told = {
        "assignment": report.assignment.id,
        "title": report.assignment.title,
        "points": report.assignment.points,
        "seed": report.seed,
        "seconds": round(report.seconds, 2),
        "layers": report.layers,
        "submissions": [_submission(grade) for grade in report.grades],
    }
    return _dumped(told)


def _submission(grade: Grade) -> dict[str, Any]:
    return {
        "name": grade.name,
        "score": grade.score,
        "points": grade.points,
        "judged": grade.judged,
        "reason": grade.reason,
        "seconds": round(grade.seconds, 2),
        "layers": grade.layers,
        "uses": list(grade.uses),
        "printed": grade.printed,
        "exercises": [asdict(outcome) | {"passed": outcome.passed} for outcome in grade.outcomes],
    }


def grades_csv(report: Report) -> str:
    """A row for each submission: name, score, points, a column for each exercise, the first reason for less than all,
    and what the text uses."""
    ids = [exercise.id for exercise in report.assignment.exercises]
    rows = [
        [
            grade.name,
            grade.score,
            grade.points,
            *(o.score for o in grade.outcomes),
            grade.why,
            " ".join(grade.uses),
        ]
        for grade in report.grades
    ]
    return _csv(["name", "score", "points", *ids, "reason", "uses"], rows)


def check_count(form: str, count: int) -> None:
    """Refuse more submissions than a format takes."""
    if form == "gradescope" and count != 1:
        raise InputError(f"format gradescope is for one submission, got {count}: grade each by itself")


def gradescope(report: Report) -> str:
    """``results.json`` as Gradescope's autograder reads it, for the one submission that its container holds.

    What is told of each exercise is shown to students once grades are published; what they printed is shown to nobody.
    """
    check_count("gradescope", len(report.grades))
    (grade,) = report.grades
    return _dumped(
        {
            "score": grade.score,
            "execution_time": round(grade.seconds, 2),
            "output": grade.reason,
            "output_format": "text",
            "visibility": "visible",
            "stdout_visibility": "hidden",
            "extra_data": {"seed": str(report.seed), "layers": report.layers},
            "tests": [_gradescope_test(outcome) for outcome in grade.outcomes],
            "leaderboard": [],
        }
    )


def _gradescope_test(outcome: Outcome) -> dict[str, Any]:
    return {
        "score": outcome.score,
        "max_score": outcome.points,
        "status": "passed" if outcome.passed else "failed",
        "name": outcome.name,
        "number": outcome.id,
        "output": feedback(outcome),
        "tags": [],
        "visibility": "after_published",
    }


def feedback(outcome: Outcome) -> str:
    """What a student is told of an exercise, as text."""
    if outcome.passed:
        return "all properties hold"
    parts = [outcome.reason, outcome.case, f"Hint: {outcome.hint}" if outcome.hint else ""]
    return "\n".join(part for part in parts if part)


def otter(report: Report) -> str:
    """``final_grades.csv`` as ``otter grade`` writes it: a column for each question, then the share and the file."""
    ids = [exercise.id for exercise in report.assignment.exercises]
    rows = [
        [*(outcome.score for outcome in grade.outcomes), grade.score / grade.points, grade.name]
        for grade in report.grades
    ]
    return _csv([*ids, "percent_correct", "file"], rows)


def nbgrader(report: Report) -> str:
    """The columns of ``nbgrader export``. What a grader cannot know, such as dates and addresses, stays empty."""
    head = (
        "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
        "raw_score", "late_submission_penalty", "score", "max_score",
    )  # fmt: skip
    rows = [
        [report.assignment.id, "", "", grade.name, "", "", "", grade.score, 0.0, grade.score, grade.points]
        for grade in report.grades
    ]
    return _csv(head, rows)


FORMATS: dict[str, Callable[[Report], str]] = {
    "table": table,
    "json": as_json,
    "gradescope": gradescope,
    "otter": otter,
    "nbgrader": nbgrader,
}
FILES = {"json": "grades.json", "gradescope": "results.json", "otter": "final_grades.csv", "nbgrader": "nbgrader.csv"}
"""What the file of a format is called where it is read."""


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([head, *([_cell(value) for value in row] for row in rows)])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    """A spreadsheet takes text that begins so for a formula, and runs it."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return f"{value:.6g}" if isinstance(value, float) else value


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
