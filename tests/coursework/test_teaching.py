"""The teacher's guide: its template is an assignment that works, and what it shows is what is printed."""

import re
from pathlib import Path

import pytest

from hypercon.cli import main
from hypercon.coursework.assignments import ASSIGNMENTS, find
from hypercon.coursework.classroom import grade
from hypercon.coursework.release import release, solution
from hypercon.errors import InputError

GUIDE = (Path(__file__).parents[2] / "docs" / "teaching.md").read_text()
SOURCE, DECLARATION = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def template(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("b1.py").write_text(SOURCE)
    Path("b1_tasks.py").write_text(DECLARATION)
    return tmp_path


def test_the_template_is_released_checked_and_graded(template, capsys):
    assert len([line for line in DECLARATION.splitlines() if line.strip()]) <= 20
    assert main(["course", "release", "handout", "b1_tasks.py"]) == 0
    assert 'raise NotImplementedError("exercise b1.1: write alignment")' in Path("handout/b1.py").read_text()
    assert main(["check", "handout/b1.py", "--tasks", "b1_tasks.py"]) == 1
    assert "b1.1 alignment: not done yet" in capsys.readouterr().out
    Path("submissions").mkdir()
    Path("submissions/right.py").write_text(solution(find("b1_tasks.py")))
    Path("submissions/wrong.py").write_text(SOURCE.replace("(u - v) ** 2", "abs(u - v)"))
    assert main(["check", "submissions/right.py", "--tasks", "b1_tasks.py"]) == 0
    grades = {one.name: one for one in grade("b1_tasks.py", ["submissions"]).grades}
    assert grades["right"].score == 1
    assert grades["wrong"].score == 0


def test_students_read_how_a_task_of_the_teachers_own_is_checked(template):
    line = "hypercon check b1.py --tasks b1_tasks.py    # if you were given b1_tasks.py"
    release("alone", ["b1_tasks.py"])
    said = Path("alone/README.md").read_text()
    assert [found for found in said.splitlines() if found.startswith("hypercon check")] == [line]
    assert not re.search(r"\ba2\b|2\.3|info_nce|hypercon\.coursework", said)
    release("both", ["a2", "b1_tasks.py"])
    said = Path("both/README.md").read_text()
    assert "hypercon check a2.py 2.3          # one of them\n" in said
    assert f"\n{line}\n```" in said


@pytest.mark.parametrize(
    ("old", "new", "nature"),
    [
        ("np.sum((u - v) ** 2, axis=1)", "np.linalg.norm(u - v, axis=1)", "distances are not squared"),
        ("np.mean(", "np.sum(", "missing 1/N"),
        ("z / np.linalg.norm(z, axis=1, keepdims=True)", "z", "rows are not normalised"),
    ],
)
def test_the_mistakes_of_the_template_are_named(template, capsys, old, new, nature):
    assert old in SOURCE
    Path("b1.py").write_text(SOURCE.replace(old, new))
    assert main(["check", "b1.py", "--tasks", "b1_tasks.py"]) == 1
    assert nature in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "which is not there"),
        ("x = 1\n", "declares no ASSIGNMENT"),
        ("1 / 0\n", "cannot be run: ZeroDivisionError"),
        ("def f(:\n", "cannot be run: SyntaxError"),
    ],
)
def test_a_declaration_that_is_none_says_why(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "tasks.py").write_text(content)
    with pytest.raises(InputError, match=expected):
        find(str(tmp_path / "tasks.py"))


def test_a_declaration_without_its_source_says_so(template, capsys):
    Path("b1.py").unlink()
    assert main(["course", "release", "handout", "b1_tasks.py"]) == 2
    assert "b1.py, the source of b1, cannot be read" in capsys.readouterr().err


def test_what_the_guide_shows_is_what_a_student_sees(tmp_path, capsys):
    shown = re.search(r"```text\n\$ hypercon check a2.py 2.4\n(.*?)```", GUIDE, re.DOTALL)[1]
    (tmp_path / "a2.py").write_text(
        solution(ASSIGNMENTS["a2"]).replace("/ temperatures[:, None]\n    return", "/ temperatures\n    return")
    )
    main(["check", str(tmp_path / "a2.py"), "2.4"])
    assert capsys.readouterr().out == shown


def test_the_table_has_every_assignment_and_its_points():
    for assignment in ASSIGNMENTS.values():
        assert f"| {assignment.id} | {assignment.title} | {assignment.points:g} |" in GUIDE
