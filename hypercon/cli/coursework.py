"""``hypercon lessons``, ``check``, ``course`` and ``grade``: what learners, students and teachers run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hypercon.cli.command import command, say, whole
from hypercon.errors import InputError

# --- hypercon lessons

_LESSONS = """\
List the lessons, or write one as a notebook to work in.

Each lesson has exercises, which are checked as you go. Writing a notebook needs jupytext: pip install ".[notebooks]"
in a clone of hypercon. Working in it needs nothing but hypercon and JupyterLab (pip install jupyterlab), VS Code or
whatever else runs notebooks.
"""

_LESSONS_EXAMPLES = """\
examples:
  hypercon lessons                                  what there is, and how long it takes
  hypercon lessons start 03                         lessons/03_infonce.ipynb
  hypercon lessons start 03 --solution              the same with its solutions
"""


def add_lessons(commands: Any) -> None:
    parser = command(
        commands,
        "lessons",
        _lessons,
        "learn contrastive learning by seeing it: notebooks with exercises",
        _LESSONS,
        _LESSONS_EXAMPLES,
    )
    parser.add_argument("action", nargs="?", choices=("list", "start"), default="list", help="default: list")
    parser.add_argument("number", nargs="?", metavar="NN", help="which lesson to start, such as 03")
    parser.add_argument("--out", default="lessons", metavar="DIR", help="where the notebook goes (default: lessons)")
    parser.add_argument("--solution", action="store_true", help="with the solutions of its exercises")


def _lessons(arguments: argparse.Namespace) -> int:
    from hypercon.coursework import catalogue

    if arguments.action == "list":
        print(catalogue.listing())
        print("\nstart one with: hypercon lessons start 03")
        return 0
    if arguments.number is None:
        raise InputError("start needs a number, such as hypercon lessons start 03: see hypercon lessons list")
    path = catalogue.start(arguments.number, arguments.out, solution=arguments.solution)
    print(f"written to {path}\nopen it with: jupyter lab {path}    (pip install jupyterlab)")
    return 0


# --- hypercon check and hypercon course: what students and their teachers begin with

_CHECK = """\
Check your own solutions of an assignment: each exercise by its properties, in seconds.

What holds takes one line. Where something does not, you see which property, the smallest input that fails, what was got
and expected, and a hint. The program runs here, as it would if you ran it yourself.
"""

_CHECK_EXAMPLES = """\
examples:
  hypercon check a2.py                              every exercise of assignment 2
  hypercon check a2.py 2.3 2.4                      two of them
  hypercon check .                                  every assignment in this folder

Status 0 says that everything holds, 1 that something does not, or that a file imports what its grader does not have.
"""

_COURSE = """\
Write the students' editions of the assignments: the text, and stubs in the place of the solutions.

Nothing is written if any of a solution would be left in them.
"""

_COURSE_EXAMPLES = """\
examples:
  hypercon course release handout                   all assignments
  hypercon course release handout a1 a2             two of them
  hypercon course list                              what there is, and how many points each has

docs/teaching.md is the guide for teachers: setting up, grading, and tasks of one's own.
"""


def add_check(commands: Any) -> None:
    parser = command(
        commands, "check", _check, "students: check your own solutions of an assignment", _CHECK, _CHECK_EXAMPLES
    )
    parser.add_argument("path", metavar="FILE|FOLDER", help="such as a2.py, or a folder that holds assignments")
    parser.add_argument("exercise", nargs="*", metavar="ID", help="such as 2.3 (default: every exercise)")
    parser.add_argument("--tasks", metavar="FILE", help="what your teacher gave you, if the task is not hypercon's own")


def _check(arguments: argparse.Namespace) -> int:
    from hypercon.coursework.assignments import find
    from hypercon.coursework.homework import absent_when_graded, check_file, find_files

    own = find(arguments.tasks) if arguments.tasks else None
    checked = []
    warnings = []
    for path in find_files(arguments.path):
        for result in check_file(path, arguments.exercise, own):
            print(result.text, flush=True)
            checked.append(result)
        absent = absent_when_graded(path, own)
        if absent:
            warnings.append(f"but {path.name} imports {', '.join(absent)}, which is not there when you are graded")
    held = sum(result.holds for result in checked)
    print("\n".join(["", f"{held} of {len(checked)} exercises hold", *warnings]))
    return int(held < len(checked) or bool(warnings))


def add_course(commands: Any) -> None:
    parser = command(commands, "course", _course, "teachers: write the students' editions", _COURSE, _COURSE_EXAMPLES)
    parser.add_argument("action", choices=("list", "release"), metavar="list|release", help="what to do")
    parser.add_argument("out", nargs="?", metavar="OUT", help="the folder to write to")
    parser.add_argument(
        "assignment",
        nargs="*",
        default=[],
        metavar="ASSIGNMENT",
        help="such as a2, or a .py file that declares one of your own (default: all of hypercon's)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _course(arguments: argparse.Namespace) -> int:
    from hypercon.coursework.release import listing, release

    if arguments.action == "list":
        print(listing())
        return 0
    if arguments.out is None:
        raise InputError("release needs a folder to write to, such as hypercon course release handout")
    for path in release(arguments.out, arguments.assignment, overwrite=arguments.overwrite):
        print(f"written to {path}")
    return 0


# --- hypercon grade

_GRADE = """\
Grade submissions to an assignment. What students wrote runs in a process of its own, behind walls; the judge, which
draws fresh inputs and compares answers, never runs any of it. Marks are written once, when nothing of it runs any more.

A submission is a .py file, a .zip or a folder with the assignment's file in it; a folder of these is a class. One that
cannot be read or run is a row with its reason, and the others are graded. A path that is not there ends the command.
"""

_GRADE_EXAMPLES = """\
examples:
  hypercon grade a2 submissions/                    a table of the class
  hypercon grade a2 submissions/ --out grades       also grades.csv, grades.json and a page for each student
  hypercon grade a2 ada.py --seed 7 --require-sandbox
  hypercon grade a2 /autograder/submission --format gradescope --out /autograder/results/results.json

The seed is drawn anew where none is given, and told: with it, everything is graded again alike. Keep it to
yourself until the deadline. docs/grading.md says what the sandbox promises and what it does not.
"""


def add_grade(commands: Any) -> None:
    parser = command(
        commands,
        "grade",
        _grade,
        "grade submissions to an assignment, in a sandbox (for teachers)",
        _GRADE,
        _GRADE_EXAMPLES,
    )
    parser.add_argument("assignment", metavar="ASSIGNMENT", help="such as a2, or a .py file that declares one")
    parser.add_argument("submissions", nargs="+", type=Path, metavar="SUBMISSION", help="files, archives, folders")
    parser.add_argument("--seed", type=whole, help="of the inputs (default: drawn, and told)")
    parser.add_argument("--jobs", type=whole, metavar="N", help="at a time (default: one for each core)")
    parser.add_argument(
        "--format",
        choices=["table", "json", "gradescope", "otter", "nbgrader"],
        default="table",
        help="of what is printed, or of --out FILE (default: table)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR|FILE",
        help="a new folder for everything, or a file for --format: .json, for otter and nbgrader .csv",
    )
    parser.add_argument(
        "--require-sandbox", action="store_true", help="grade nothing unless every layer of the sandbox stands"
    )


def _grade(arguments: argparse.Namespace) -> int:
    from hypercon.coursework import classroom, reports
    from hypercon.coursework.assignments import find
    from hypercon.coursework.submissions import left_out

    file = find(arguments.assignment).file
    if arguments.out:
        classroom.check_out(arguments.out, arguments.format)
    report = classroom.grade(
        arguments.assignment,
        arguments.submissions,
        seed=arguments.seed,
        jobs=arguments.jobs,
        require_sandbox=arguments.require_sandbox,
        progress=True,
        form=arguments.format,
    )
    for line in left_out(arguments.submissions, file):
        say(line)
    printed = reports.FORMATS[arguments.format](report)
    if arguments.out:
        classroom.write(report, arguments.out, arguments.format)
    if not (arguments.out and arguments.out.suffix):
        print(printed, end="" if printed.endswith("\n") else "\n")
    if arguments.out:
        say(f"written to {arguments.out}")
    return int(not all(grade.judged for grade in report.grades))
