"""`hypercon check`: a student's own files, exercise by exercise."""

import re
import sys

import pytest

from hypercon.cli import main
from hypercon.coursework import check
from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.assignments.a5_faults import FAULTS, RIGHT
from hypercon.coursework.homework import absent_when_graded
from hypercon.coursework.release import release, solution
from hypercon.errors import InputError


@pytest.fixture
def solved(tmp_path):
    for identity in ("a1", "a2", "a3"):
        (tmp_path / f"{identity}.py").write_text(solution(ASSIGNMENTS[identity]))
    return tmp_path


def test_a_right_file_takes_a_line_for_each_exercise(solved, capsys):
    assert main(["check", str(solved / "a3.py")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if re.fullmatch(r"3\.\d \w+: all \d properties hold", line)]) == 7
    assert lines[-1] == "7 of 7 exercises hold"


def test_a_folder_stands_for_the_assignments_in_it(solved, capsys):
    assert main(["check", str(solved)]) == 0
    assert "21 of 21 exercises hold" in capsys.readouterr().out


def test_what_was_released_is_not_done_yet(tmp_path, capsys):
    release(tmp_path, ["a1"])
    assert main(["check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("not done yet") == 7
    assert "0 of 7 exercises hold" in out


def test_what_is_not_there_when_it_is_graded_is_told(solved, capsys):
    path = solved / "a2.py"
    path.write_text(path.read_text() + "\nimport json\nfrom hypercon.losses import info_nce as found\n")
    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().out.endswith(
        "7 of 7 exercises hold\nbut a2.py imports hypercon, which is not there when you are graded\n"
    )


@pytest.mark.parametrize("assignment", ASSIGNMENTS.values(), ids=lambda assignment: assignment.id)
def test_no_solution_imports_what_is_not_there(assignment, tmp_path):
    (tmp_path / assignment.file).write_text(solution(assignment))
    assert absent_when_graded(tmp_path / assignment.file) == []


def test_a_module_of_ones_own_is_not_there_either(tmp_path):
    (tmp_path / "a2.py").write_text("import json, mine\nfrom . import other\neval('1')\n")
    assert absent_when_graded(tmp_path / "a2.py") == [".", "mine"]


def test_a_mistake_shows_property_case_and_hint(solved, capsys):
    path = solved / "a2.py"
    path.write_text(path.read_text().replace("/ temperatures[:, None]", "/ temperatures"))
    assert main(["check", str(path), "2.4"]) == 1
    out = capsys.readouterr().out
    for part in ("2.4 info_nce_per_sample", "fails", "the wrong axis", "the smallest input that fails",
                 "z1=array", "got ", "expected", "hint 1 of 1: Divide row i"):  # fmt: skip
        assert part in out, out
    assert out.count("hint") == 1


def test_a_notebook_hears_the_same(solved, capsys):
    names = {}
    exec(solution(ASSIGNMENTS["a2"]), names)
    report = check("2.3", names["info_nce_gradient"])
    assert report
    capsys.readouterr()
    main(["check", str(solved / "a2.py"), "2.3"])
    assert repr(report).splitlines()[0] in capsys.readouterr().out


def test_a_function_that_is_not_there_is_missed_alone(solved, capsys):
    path = solved / "a3.py"
    path.write_text(path.read_text().replace("def tolerance(", "def tolerated("))
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "3.5 tolerance: there is no function of this name" in out
    assert "6 of 7 exercises hold" in out


BAD = {
    "no such file": ("a1.py", None, "no such file or folder"),
    "another name": ("homework.py", b"x = 1", "belongs to no assignment: expected a1.py, a2.py"),
    "a lesson": ("03_infonce.ipynb", b"{}", 'is checked in its notebook: check("03.1", loss_of_anchor)'),
    "empty": ("a1.py", b"", "empty"),
    "not UTF-8": ("a1.py", b"# \xff\n", "not UTF-8"),
    "a task of a teacher's own": ("b1.py", b"x = 1", "a5.py, or --tasks with the file that your teacher gave you"),
    "named after its author": ("bob.py", b"def info_nce(a, b, t):\n    pass\n", "assignment a2: call it a2.py"),
    "a notebook": ("a2.ipynb", b"{}", "a notebook: save it as a2.py (jupytext --to py:percent)"),
    "binary": ("a1.py", b"x\0y", "zero bytes"),
    "no Python": ("a1.py", b"def f(:\n", "line 1: not Python"),
    "raises": ("a1.py", b"\n1 / 0\n", "cannot be run: ZeroDivisionError: division by zero (line 2)"),
    "exits": ("a1.py", b"raise SystemExit(0)\n", "cannot be run: SystemExit"),
    "no such exercise": ("a1.py", b"x = 1\n", "ID got 9.9, expected one of 1.1, 1.2"),
}


@pytest.mark.parametrize(("name", "content", "expected"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_checked_says_why_in_one_line(name, content, expected, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["check", str(tmp_path / name), *(["9.9"] if "9.9" in expected else [])]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_a_folder_without_an_assignment_says_what_was_expected(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2
    assert "has no assignment in it, expected one of a1.py" in capsys.readouterr().err


def test_a_folder_of_lessons_says_where_they_are_checked(tmp_path, capsys):
    (tmp_path / "07_dilemma.ipynb").write_text("{}")
    assert main(["check", str(tmp_path)]) == 2
    assert 'checked in its notebook: check("07.1", own_class_share)' in capsys.readouterr().err


def test_a_loop_that_never_ends_is_stopped(solved, capsys):
    path = solved / "a3.py"
    path.write_text(path.read_text().replace('"""Two numbers."""', '"""Two numbers."""\n    while True:\n        pass'))
    assert main(["check", str(path), "3.7"]) == 1
    assert "is there a loop that never ends?" in capsys.readouterr().out


def test_checking_leaves_nothing_behind(solved):
    before = set(solved.iterdir()), set(sys.path), set(sys.modules) | {"hypothesis"}
    main(["check", str(solved / "a2.py"), "2.2"])
    assert set(solved.iterdir()) == before[0]
    assert set(sys.path) == before[1]
    assert "a2" not in sys.modules


TESTS = """
import numpy as np

def test_right_angles(info_nce):
    z = np.eye(3)
    for tau in (0.05, 0.3, 1.0, 2.0):
        assert np.isclose(info_nce(z, z, temperature=tau), np.log1p(2 * np.exp(-1 / tau)))
"""


def test_tests_are_tried_on_some_of_the_faults(tmp_path, capsys):
    (tmp_path / "a5.py").write_text(TESTS)
    assert main(["check", str(tmp_path / "a5.py")]) == 1
    out = capsys.readouterr().out
    assert re.search(r"5\.1 sphere: \d of 3 faults found; one that was not: ", out)
    assert "5.2 temperature: all 3 faults that were tried are found" in out
    assert len(FAULTS) == 40
    assert len(RIGHT) == 4


def test_tests_that_fail_what_is_right_hear_which(tmp_path, capsys):
    wrong = "\ndef test_zero(info_nce):\n    assert info_nce(np.eye(2), np.eye(2), temperature=1) == 0\n"
    (tmp_path / "a5.py").write_text(TESTS + wrong)
    assert main(["check", str(tmp_path / "a5.py"), "5.1"]) == 1
    assert "the tests fail a loss that is right: test_zero: AssertionError" in capsys.readouterr().out


def test_an_exercise_of_tests_is_not_checked_one_function_at_a_time():
    with pytest.raises(InputError, match=r"hypercon check a5\.py"):
        check("5.1", print)
