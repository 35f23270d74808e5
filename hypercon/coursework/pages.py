"""Pages of a graded class: one for each student with what was found, and one for the teacher. They need nothing else.

All text of a student's is escaped, and the pages forbid themselves scripts and every request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from hypercon.coursework.grading import Grade
from hypercon.coursework.judge import Outcome
from hypercon.coursework.reports import Report


def names(grades: Sequence[Grade]) -> list[str]:
    """File names of the students' pages: numbered, so that no two are one, and of harmless characters."""
    return [
        f"{i:03}-{re.sub(r'[^A-Za-z0-9]+', '-', grade.name).strip('-')[:40]}.html" for i, grade in enumerate(grades)
    ]


def student(report: Report, grade: Grade) -> str:
    """A student's page."""
    title = f"{grade.name}: {report.assignment.title}"
    parts = [
        f"<h1>{escape(report.assignment.title)}</h1>",
        f'<p class="soft">{escape(grade.name)}</p>',
        f'<p class="total"><b>{grade.score:.4g}</b> of {grade.points:.4g} points</p>',
    ]
    if grade.reason:
        parts.append(f'<article class="missed"><p>{escape(grade.reason)}</p></article>')
    else:
        parts.append(f'<p class="soft">{_summary(grade)}</p>')
        parts += [_exercise(outcome) for outcome in grade.outcomes]
    if grade.printed.strip():
        parts.append(
            f"<details><summary>What the program printed</summary><pre>{escape(grade.printed)}</pre></details>"
        )
    return _page(title, parts)


def index(report: Report) -> str:
    """The teacher's page: the class at a glance, each row with its student's page."""
    assignment = report.assignment
    count = len(report.grades)
    mean = sum(grade.score for grade in report.grades) / count if count else 0.0
    head = "".join(f"<th>{escape(exercise.id)}</th>" for exercise in assignment.exercises)
    rows = [_row(grade, page) for grade, page in zip(report.grades, names(report.grades), strict=True)]
    standing = ", ".join(name for name, stands in report.layers.items() if stands)
    lacking = f" It did not have {escape(', '.join(report.missing))}." if report.missing else ""
    parts = [
        f"<h1>{escape(assignment.title)}</h1>",
        f'<p class="soft">{count} graded in {report.seconds:.1f} s, seed {report.seed}</p>',
        f'<p class="total">mean <b>{mean:.3g}</b> of {assignment.points:.4g} points</p>',
        f'<p class="soft">The sandbox had {escape(standing)}.{lacking}</p>',
        '<div class="scroll"><table>',
        f"<tr><th>name</th><th>score</th>{head}<th>first reason; imports and calls of note</th></tr>",
        *rows,
        "</table></div>",
    ]
    return _page(f"{assignment.title}: the class", parts)


def _summary(grade: Grade) -> str:
    passed = sum(outcome.passed for outcome in grade.outcomes)
    return f"{passed} of {len(grade.outcomes)} exercises hold in every property."


def _exercise(outcome: Outcome) -> str:
    head = (
        f"<header><h2>{escape(outcome.id)} <code>{escape(outcome.name)}</code></h2>"
        f'<span class="mark">{outcome.score:.3g} of {outcome.points:.3g}</span></header>'
    )
    if outcome.passed:
        return f"<article>{head}</article>"
    case = f"<pre>{escape(_dedented(outcome.case))}</pre>" if outcome.case else ""
    hint = f'<p class="hint"><b>Hint.</b> {escape(outcome.hint)}</p>' if outcome.hint else ""
    return f'<article class="missed">{head}<p>{escape(_sentence(outcome.reason))}</p>{case}{hint}</article>'


def _row(grade: Grade, page: str) -> str:
    marks = "".join(
        f"<td>{o.score:.3g}</td>" if o.passed else f'<td class="low">{o.score:.3g}</td>' for o in grade.outcomes
    )
    failed = next((f"{o.id}: {o.reason}" for o in grade.outcomes if not o.passed), "")
    uses = f"<br><code>{escape(', '.join(grade.uses))}</code>" if set(grade.uses) - {"numpy"} else ""
    link = f'<a href="students/{page}">{escape(grade.name)}</a>'
    return f"<tr><td>{link}</td><td>{grade.score:.4g}</td>{marks}<td>{escape(grade.reason or failed)}{uses}</td></tr>"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _dedented(case: str) -> str:
    return "\n".join(line.strip() for line in case.splitlines())


def _page(title: str, parts: Sequence[str]) -> str:
    text = (Path(__file__).parent / "feedback.html").read_text(encoding="utf-8")
    return Template(text).substitute(title=escape(title), body="\n".join(parts))
