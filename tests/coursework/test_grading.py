"""Grading a class: what the judge survives, what reports say, and what is written, whole and once."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from coursework.hostile import CHEATS, RIGHT

from hypercon import cli
from hypercon.coursework import classroom, grading, pages, reports, sandbox
from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.exercise import Exercise, Limits
from hypercon.coursework.grading import Grade, grade_all, grade_one
from hypercon.coursework.judge import Outcome, examine
from hypercon.coursework.reports import Report
from hypercon.coursework.sandbox import ALWAYS, OFFERED, Worker, WorkerError
from hypercon.coursework.submissions import Submission
from hypercon.coursework.text import one_line, readable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="submissions are graded on Linux")

A2 = ASSIGNMENTS["a2"]
SMALL = replace(A2, exercises=tuple(exercise for exercise in A2.exercises if exercise.name == "info_nce"))
NASTY = "\x1b[2J\u202e<script>alert(1)</script>&\x00\ud800"


# --- the judge


class Answers:
    """A student whose every answer is drawn from a list, whatever was asked."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def call(self, name, arguments, outputs):
        return [np.asarray(next(self.answers))] * outputs, arguments


@pytest.mark.parametrize(
    "exercise", [e for a in ASSIGNMENTS.values() if not a.grader for e in a.exercises], ids=lambda e: e.id
)
@pytest.mark.parametrize(
    "answer",
    [
        True,
        np.uint8(3),
        np.nan,
        np.inf,
        np.zeros((3, 0)),
        np.zeros((2, 2), bool),
        np.full(5, -np.inf),
        np.zeros((1,) * 8),
    ],
    ids=["true", "byte", "nan", "inf", "empty", "bools", "infinities", "rank"],
)
def test_no_answer_makes_the_judge_fail_and_none_of_these_is_right(exercise, answer):
    student = Answers(*[answer] * 200)
    outcome = examine(exercise, student, np.random.default_rng(3))
    assert outcome.score == 0
    assert outcome.reason


def test_answers_that_change_their_shape_between_questions_break_a_law():
    def law(answer, arguments, rng):
        return None if np.allclose(answer(*arguments), answer(*arguments)) else "twice is not once"

    exercise = Exercise("0.1", "f", lambda rng, size: (1.0,), lambda x: np.ones(2), "", laws=(law,), sizes=(2,))
    right = np.ones(2)
    assert examine(exercise, Answers(right, right, right), np.random.default_rng(0)).passed
    outcome = examine(exercise, Answers(right, right, np.ones(3)), np.random.default_rng(0))
    assert "do not go together" in outcome.reason


def test_a_fault_of_the_judge_is_told_as_one_and_costs_nobody_else_anything(monkeypatch):
    kept = grading.examine

    def failing(exercise, student, rng):
        student.call(exercise.name, exercise.arguments(rng, 2), 1)
        if student.source_of_trouble:
            raise ZeroDivisionError("the judge's own")
        return kept(exercise, student, rng)

    monkeypatch.setattr(grading, "examine", failing)
    monkeypatch.setattr(
        grading.StudentInWorker, "source_of_trouble", property(lambda self: b"trouble" in self._source), raising=False
    )
    class_ = [Submission("ada", RIGHT), Submission("ben", RIGHT + b"# trouble"), Submission("cyd", RIGHT)]
    ada, ben, cyd = grade_all(SMALL, class_, 1)
    assert (ada.score, ben.score, cyd.score) == (1, 0, 1)
    assert not ben.judged
    assert "fault of the judge: ZeroDivisionError" in ben.reason


def test_the_same_seed_asks_the_same_and_another_asks_otherwise():
    wrong = RIGHT.replace(b"return shares(z1, z2, temperature)[3]", b"return 0.5")
    cases = [grade_one(SMALL, Submission("ada", wrong), seed).outcomes[0].case for seed in (1, 1, 2)]
    assert cases[0] == cases[1] != cases[2]


def test_a_submission_that_dies_in_one_exercise_is_asked_the_others():
    source = (Path(__file__).parents[2] / "tutorials/coursework/a2.py").read_bytes()
    dying = (
        source + b"\nimport os\ndef info_nce(*inputs): os._exit(3)\ndef temperature_gradient(*inputs): os._exit(3)\n"
    )
    grade = grade_one(A2, Submission("ada", dying), 1)
    assert [o.name for o in grade.outcomes if not o.passed] == ["info_nce", "temperature_gradient"]


def test_time_is_for_the_whole_submission_however_often_it_dies():
    slow = b"import time\n" + b"".join(f"def {e.name}(*inputs): time.sleep(99)\n".encode() for e in A2.exercises)
    grade = grade_one(A2, Submission("ada", slow), 1, Limits(seconds_per_call=60, seconds=4))
    assert [outcome.reason for outcome in grade.outcomes] == [
        "the program used up its 4 s",
        *["not asked: the program has used up its 4 s"] * (len(A2.exercises) - 1),
    ]


def test_what_cannot_be_loaded_is_told_once_and_not_started_again(monkeypatch):
    started = []

    class Counted(Worker):
        def __init__(self, *arguments, **options):
            started.append(1)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(grading, "Worker", Counted)
    grade = grade_one(A2, Submission("ada", b"x = 1\ndef f(:\n"), 1)
    assert grade.reason == "it cannot be loaded: SyntaxError: invalid syntax (submission.py, line 2)"
    assert len(started) == 1


@pytest.mark.parametrize("name", ["hypercon", "hypercon.losses", "torch"])
def test_a_package_that_is_not_there_is_refused_with_a_sentence(name):
    said = grade_one(A2, Submission("ada", f"import {name}".encode()), 1).reason
    assert "is not part of this assignment: write it with NumPy" in said
    assert name.partition(".")[0] in said


def test_what_a_submission_uses_is_told_before_any_of_it_runs():
    source = b"import os.path, json as j\nfrom scipy import special\nos._exit(0)\neval('1')\n"
    assert grade_one(SMALL, Submission("ada", source), 1).uses == ("eval()", "json", "os", "scipy")
    assert grade_one(SMALL, Submission("ada", b"-" * 200_000 + b"1"), 1).judged  # more than a parser can take


def test_after_an_interrupt_no_other_submission_is_begun(monkeypatch):
    started = []

    class Counted(Worker):
        def __init__(self, *arguments, **options):
            started.append(1)
            super().__init__(*arguments, **options)

    def interrupt(grade):
        raise KeyboardInterrupt

    monkeypatch.setattr(grading, "Worker", Counted)
    with pytest.raises(KeyboardInterrupt):
        grade_all(A2, [Submission(str(i), RIGHT) for i in range(8)], 1, done=interrupt)
    assert len(started) <= 2


# --- workers that cannot be had, and judges that go away


def test_a_missing_layer_that_is_required_refuses(monkeypatch, capsys, tmp_path):
    kept = Worker._read_layers
    monkeypatch.setattr(Worker, "_read_layers", lambda self, status: kept(self, status) | {"no network": False})
    with pytest.raises(WorkerError, match="lacks no network"):
        Worker(Limits(), required=OFFERED)
    (tmp_path / "ada.py").write_bytes(RIGHT)
    assert cli.main(["grade", "a2", str(tmp_path / "ada.py"), "--require-sandbox"]) == 2
    assert "lacks no network" in capsys.readouterr().err


def test_a_layer_that_is_missing_is_named_in_every_report(monkeypatch, tmp_path):
    kept = Worker._read_layers
    monkeypatch.setattr(Worker, "_read_layers", lambda self, status: kept(self, status) | {"own files": False})
    (tmp_path / "ada.py").write_bytes(RIGHT)
    report = classroom.grade("a2", [tmp_path / "ada.py"], seed=1)
    assert "own files" in report.missing
    assert "it did not have" in reports.table(report)
    assert "It did not have" in pages.index(report)
    assert json.loads(reports.as_json(report))["layers"]["own files"] is False
    assert set(report.layers) == {*ALWAYS, *OFFERED}


def test_an_interpreter_that_does_not_start_is_told_and_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    for interpreter in (str(tmp_path / "none"), "/bin/false"):
        monkeypatch.setattr(sys, "executable", interpreter)
        with pytest.raises(WorkerError, match="no worker"):
            Worker(Limits())
        assert list(tmp_path.iterdir()) == []


GRADING = """
import sys
from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework import grading
from hypercon.coursework.submissions import Submission
kept = grading.Worker
class Told(kept):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, self._folder, flush=True)
grading.Worker = Told
grading.grade_one(ASSIGNMENTS["a2"], Submission("ada", b"while True: pass"), 1)
"""


def test_a_judge_that_is_killed_takes_its_worker_along():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", GRADING], stdout=subprocess.PIPE, text=True, env=environment) as judge:
        pid, folder = judge.stdout.readline().split()
        judge.send_signal(signal.SIGKILL)
        judge.wait()
    ends = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    shutil.rmtree(folder)  # a judge that is killed cannot
    assert not Path(f"/proc/{pid}").exists()
    assert not any(int(pid) in group for group in sessions())


def sessions():
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(fields[2]), int(fields[3])


# --- text


def test_text_of_students_is_seen_and_does_nothing():
    assert readable("a\tb\nc é λ") == "a\tb\nc é λ"
    assert readable(NASTY) == "\\x1b[2J\\u202e<script>alert(1)</script>&\\x00\\ud800"
    assert one_line("a\nb\t c" + "x" * 999, 10) == "a b cxxxx…"
    readable(NASTY).encode()


# --- reports


@pytest.fixture(scope="module")
def report():
    outcomes = tuple(
        Outcome(
            e.id, e.name, e.points, e.points * (i % 2), "" if i % 2 else f"=wrong {readable(NASTY)}", "  with 1", e.hint
        )
        for i, e in enumerate(A2.exercises)
    )
    layers = dict.fromkeys((*ALWAYS, *OFFERED), True)
    grades = (
        Grade("ada", outcomes, printed=readable(NASTY), layers=layers, seconds=1.234),
        Grade("=SUM(A1)", tuple(replace(o, score=0.0, reason="empty") for o in outcomes), "empty"),
        Grade(readable("../../" + NASTY), outcomes),
    )
    return Report(A2, grades, 7, layers, 2.5)


def test_every_format_is_plain_text_that_a_terminal_and_a_file_take(report):
    one = replace(report, grades=report.grades[:1])
    for name, form in reports.FORMATS.items():
        text = form(one if name == "gradescope" else report)
        assert all(c.isprintable() or c == "\n" for c in text), name
        text.encode()


def test_the_table_has_a_row_for_each_and_says_how_they_were_graded(report):
    lines = reports.table(report).splitlines()
    assert lines[0].split() == [*(e.id for e in A2.exercises), "score"]
    assert lines[1].startswith("ada")
    assert "3/7" in lines[1]
    assert "seed 7" in lines[-2]
    assert "own files" in lines[-1]


def test_the_csv_holds_every_mark_and_no_formula(report):
    rows = list(csv.DictReader(io.StringIO(reports.grades_csv(report))))
    assert [float(row["score"]) for row in rows] == [grade.score for grade in report.grades]
    assert [float(rows[0][e.id]) for e in A2.exercises] == [outcome.score for outcome in report.grades[0].outcomes]
    assert rows[1]["name"] == "'=SUM(A1)"
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_the_json_holds_everything(report):
    told = json.loads(reports.as_json(report))
    assert told["seed"] == 7
    first = told["submissions"][0]
    assert first["score"] == 3
    assert first["exercises"][0]["hint"] == A2.exercises[0].hint
    assert [exercise["passed"] for exercise in first["exercises"]] == [False, True] * 3 + [False]


def test_gradescope_gets_the_fields_of_its_specification(report):
    with pytest.raises(ValueError, match="one submission, got 3"):
        reports.gradescope(report)
    told = json.loads(reports.gradescope(replace(report, grades=report.grades[:1])))
    assert set(told) == {
        "score", "execution_time", "output", "output_format", "visibility", "stdout_visibility", "extra_data",
        "tests", "leaderboard",
    }  # fmt: skip
    places = {"hidden", "after_due_date", "after_published", "visible"}
    assert {told["visibility"], told["stdout_visibility"]} <= places
    assert told["score"] == sum(test["score"] for test in told["tests"])
    for test in told["tests"]:
        assert set(test) == {"score", "max_score", "status", "name", "number", "output", "tags", "visibility"}
        assert test["status"] in ("passed", "failed")
        assert test["visibility"] in places
        assert 0 <= test["score"] <= test["max_score"]


def test_otter_and_nbgrader_get_their_columns(report):
    rows = list(csv.DictReader(io.StringIO(reports.otter(report))))
    assert list(rows[0]) == [*(e.id for e in A2.exercises), "percent_correct", "file"]
    assert float(rows[0]["percent_correct"]) == pytest.approx(3 / 7, rel=1e-5)
    rows = list(csv.DictReader(io.StringIO(reports.nbgrader(report))))
    assert list(rows[0]) == [
        "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
        "late_submission_penalty", "score", "max_score",
    ]  # fmt: skip
    assert (rows[0]["student_id"], rows[0]["raw_score"], rows[0]["max_score"]) == ("ada", "3", "7")


# --- pages


class Elements(HTMLParser):
    """Names of the elements that a browser would make, whether they are closed, and what is linked."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_pages_are_whole_escape_what_students_wrote_and_need_nothing_else(report):
    for text in (pages.index(report), *(pages.student(report, grade) for grade in report.grades)):
        elements = Elements(text)
        assert elements.open == []
        assert not {"script", "img", "link", "iframe", "object", "form"} & set(elements.seen)
        assert not any(name.startswith("on") or name in ("src", "style") for name, _ in elements.attributes)
        assert not re.search(r"https?:|url\(|@import", text)
        assert "default-src 'none'" in text
        assert "&lt;script&gt;" in text or "<script" not in text


def test_a_students_page_tells_marks_reasons_cases_and_hints_and_no_seed(report):
    text = pages.student(report, report.grades[0])
    assert "<b>3</b> of 7 points" in text
    for exercise in A2.exercises:
        assert exercise.name in text
    assert text.count("Hint.") == 4
    assert "with 1" in text
    assert "seed" not in text
    assert "Empty." in pages.student(report, report.grades[1])


def test_names_of_pages_are_harmless_and_no_two_are_one(report):
    found = pages.names([*report.grades, *report.grades])
    assert len(set(found)) == 6
    assert all(re.fullmatch(r"\d{3}-[A-Za-z0-9-]*\.html", name) for name in found)


# --- the command


@pytest.fixture
def class_folder(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "ada.py").write_bytes((Path(__file__).parents[2] / "tutorials/coursework/a2.py").read_bytes())
    (folder / "ben.py").write_bytes(CHEATS["exits at import"].source)
    (folder / "cyd.py").write_bytes(b"")
    (folder / "dee").mkdir()
    (folder / "dee" / "solution.py").write_bytes(RIGHT)
    return folder


def grade(*arguments):
    return cli.main(["grade", "a2", *map(str, arguments)])


def test_a_class_is_graded_in_one_call(class_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert grade(class_folder, "--seed", 3, "--jobs", 2, "--format", "nbgrader", "--out", out) == 0
    said = capsys.readouterr()
    assert "4/4" in said.err  # the bar
    assert said.out.startswith("assignment,")
    assert sorted(path.name for path in out.iterdir()) == [
        "grades.csv", "grades.json", "index.html", "nbgrader.csv", "students",
    ]  # fmt: skip
    rows = list(csv.DictReader((out / "grades.csv").read_text().splitlines()))
    assert [(row["name"], row["score"]) for row in rows] == [("ada", "7"), ("ben", "0"), ("cyd", "0"), ("dee", "0")]
    assert [row["reason"] for row in rows] == [
        "",
        "it cannot be loaded: SystemExit: 0 (line 39)",
        "empty",
        "no a2.py in it; it has solution.py",
    ]
    assert len(list((out / "students").iterdir())) == 4
    links = re.findall(r'href="([^"]+)"', (out / "index.html").read_text())
    assert all((out / link).is_file() for link in links)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_not_graded_beside_a_submission_is_told(class_folder, capsys):
    (class_folder / "a2.py").write_bytes(b"")
    assert grade(class_folder) == 0
    said = capsys.readouterr()
    assert "is one submission, as it has a2.py; not graded beside it: ada.py, ben.py, cyd.py" in said.err
    assert "1 graded" in said.out


def test_results_for_gradescope_are_one_file(class_folder, tmp_path):
    out = tmp_path / "results.json"
    out.write_text("forged")
    assert grade(class_folder / "ada.py", "--format", "gradescope", "--out", out) == 0
    assert json.loads(out.read_text())["score"] == 7


def test_a_row_that_the_judge_could_not_grade_is_told_by_the_status(class_folder, monkeypatch, capsys):
    def failing(*arguments):
        raise ZeroDivisionError("the judge's own")

    monkeypatch.setattr(grading, "examine", failing)
    assert grade(class_folder / "ada.py") == 1
    assert "not graded, by a fault of the judge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--out", "{there}"], "is there already"),
        (["--out", "{none}/out"], "no folder"),
        (["--out", "{tmp}/grades.csv"], "expected a folder without a suffix"),
        (["--format", "otter", "--out", "{dotted}"], "is a folder"),
        (["--format", "json", "--out", "{tmp}/grades.csv"], "expected a file that ends in .json"),
        (["--format", "nbgrader", "--out", "{tmp}/grades.txt"], "expected a file that ends in .csv"),
        (["--format", "gradescope"], "for one submission, got 4"),
        (["{none}"], "/none: there is no such file or folder"),
        (["{empty}", "--format", "gradescope"], "an empty folder"),
        (["--jobs", "0"], "--jobs got 0"),
        (["--seed", "-1"], "--seed got -1"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_graded(
    arguments, why, class_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(classroom, "grade_all", lambda *a, **k: pytest.fail("it graded"))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "empty").mkdir()
    names = {"empty": tmp_path / "empty"} | {
        "there": class_folder,
        "none": tmp_path / "none",
        "tmp": tmp_path,
        "dotted": tmp_path / "folder.csv",
    }
    assert grade(class_folder, *(a.format(**names) for a in arguments)) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_an_assignment_that_is_not_there_is_told_with_those_that_are(capsys):
    assert cli.main(["grade", "a9", "x.py"]) == 2
    assert "expected one of a1, a2" in capsys.readouterr().err


def test_a_failure_while_writing_leaves_nothing(class_folder, tmp_path, monkeypatch, report):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        classroom.write(report, tmp_path / "out", "table")
    assert [path.name for path in tmp_path.iterdir()] == ["class"]


def test_workers_leave_no_thread_or_descriptor_of_the_judge():
    grade_one(SMALL, Submission("ada", RIGHT), 1)
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for source in (RIGHT, CHEATS["exits hard when called"].source, b"def f(:"):
        grade_all(SMALL, [Submission("ada", source)], 1)
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
