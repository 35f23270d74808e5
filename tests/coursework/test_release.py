"""Students' editions: what is in them, and that no solution is."""

import re
from pathlib import Path

import pytest

from hypercon.cli import main
from hypercon.coursework.assignments import ASSIGNMENTS, find
from hypercon.coursework.editions import BEGIN, END
from hypercon.coursework.release import LeakError, folder, release, solution, source, student_edition
from hypercon.errors import DataError, InputError

A2 = ASSIGNMENTS["a2"]


def replaced(old, new, count=1):
    text = source(A2)
    assert old in text
    return text.replace(old, new, count)


def without_fence(function, which=(BEGIN, END)):
    """The source with some lines of one function's fence left out."""
    head, rest = source(A2).split(f"def {function}(", 1)
    body, tail = rest.split(END, 1)
    body = f"{body}{END}"
    for word in which:
        body = body.replace(f"    {word}\n", "").replace(f"    {word}", "")
    return f"{head}def {function}({body}{tail}"


LINE = "return (log_mass(logits) - np.diag(logits)).mean()"

LEAKS = {
    "a function without its fence": without_fence("info_nce_gradient"),
    "a fence that is not opened": without_fence("info_nce", [BEGIN]),
    "a fence that is not closed": without_fence("info_nce", [END]),
    "a fence within a fence": replaced(BEGIN, f"{BEGIN}\n{BEGIN}"),
    "a misspelt fence": without_fence("info_nce").replace("    logits =", "    # BEGIN SOLUTON\n    logits =", 1),
    "a fence in other letters": source(A2).replace(BEGIN, "# begin solution").replace(END, "# end solution"),
    "a fence of another tool": without_fence("info_nce").replace(
        "    logits =", "    ### BEGIN SOLUTION\n    logits =", 1),
    "a line behind the fence": replaced(f"    {END}\n", f"    {END}\n    return 0.0\n"),
    "a line before the fence": replaced(f"    {BEGIN}\n", f"    u = unit(z1)\n    {BEGIN}\n"),
    "a helper without a fence": replaced(f"{BEGIN}\n\n\ndef unit", "\n\ndef unit").replace(f"{END}\n", "", 1),
    "a helper at the end": source(A2) + "\n\ndef softmax(x):\n    return np.exp(x)\n",
    "a value": source(A2) + "\nANSWER = 2.5\n",
    "a lambda": source(A2) + "\ninfo_nce = lambda z1, z2, temperature: 0.0\n",
    "a class": source(A2) + "\n\nclass Solution:\n    pass\n",
    "a function that is there twice": source(A2) + "\n\ndef info_nce(z1, z2, temperature):\n    return 0.0\n",
    "a line in the prose": replaced("# ## 2.3", f"# Start from `{LINE}`.\n# ## 2.3"),
    "half a line in the prose": replaced(
        "# ## 2.3", "# `(shares - np.eye(len(u), dtype=u.dtype)) / (len(u) * temperature)`\n# ## 2.3"),
    "a line in other spaces": replaced("# ## 2.3", f"# {LINE.replace(' ', '  ')}\n# ## 2.3"),
    "a line in a docstring": replaced("The mean loss, at any temperature.", f"{LINE}"),
    "a line in a comment": replaced("# %%\ndef info_nce_gradient", f"# %%\n# {LINE}\ndef info_nce_gradient"),
    "a stub of another exercise": replaced("def info_nce_per_sample", "def info_nce_per_anchor"),
    "a function in a condition": source(A2) + "\nif True:\n\n    def helper(x):\n        return x\n",
    "a decorator": replaced("def info_nce_gradient", "@print\ndef info_nce_gradient"),
}  # fmt: skip


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_refused(text):
    with pytest.raises(DataError):
        student_edition(A2, text)


@pytest.mark.parametrize("assignment", ASSIGNMENTS.values(), ids=lambda assignment: assignment.id)
def test_an_edition_has_stubs_and_no_solution(assignment):
    edition = student_edition(assignment)
    assert "SOLUTION" not in edition
    names = {}
    exec(edition, names)
    if assignment.grader is None:
        for exercise in assignment.exercises:
            said = re.escape(f"exercise {exercise.id}: write {exercise.name}")
            with pytest.raises(NotImplementedError, match=said):
                names[exercise.name](*[None] * names[exercise.name].__code__.co_argcount)
    exec(solution(assignment), {})


def test_release_writes_editions_and_a_page_for_students(tmp_path, capsys):
    assert main(["course", "release", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*(f"a{i}.py" for i in range(1, 6)), "README.md"}
    for assignment in ASSIGNMENTS.values():
        assert (tmp_path / "out" / assignment.file).read_text() == student_edition(assignment)
    assert main(["course", "release", str(tmp_path / "two"), "a2"]) == 0
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"a2.py", "README.md"}


@pytest.mark.parametrize("identity", ["a1", "a2", "a3", "a4", "a5"])
def test_the_page_speaks_of_what_was_handed_out(identity, tmp_path):
    release(tmp_path, [identity])
    said = (tmp_path / "README.md").read_text()
    assert set(re.findall(r"\ba\d\b", said)) == {identity}
    assignment = ASSIGNMENTS[identity]
    named = re.findall(r'check\("([^"]+)", (\w+)\)', said)
    assert named == ([] if identity == "a5" else [(assignment.exercises[2].id, assignment.exercises[2].name)])
    assert f"hypercon check {identity}.py {assignment.exercises[2].id} " in said


def test_the_page_for_all_is_as_it_is_written(tmp_path):
    release(tmp_path)
    assert (tmp_path / "README.md").read_text() == (folder() / "README.md").read_text()


def test_what_a_student_wrote_is_not_overwritten_unasked(tmp_path):
    release(tmp_path)
    release(tmp_path)  # the same again
    (tmp_path / "a1.py").write_text("mine")
    with pytest.raises(InputError, match=r"a1\.py is there already.*--overwrite"):
        release(tmp_path)
    assert (tmp_path / "a1.py").read_text() == "mine"
    release(tmp_path, ["a1"], overwrite=True)
    assert (tmp_path / "a1.py").read_text() == student_edition(ASSIGNMENTS["a1"])


def test_nothing_is_written_where_one_of_several_would_leak(tmp_path, monkeypatch):
    leaking = {a.id: source(a) for a in ASSIGNMENTS.values()}
    leaking["a2"] = LEAKS["a function without its fence"]
    monkeypatch.setattr("hypercon.coursework.release.source", lambda assignment: leaking[assignment.id])
    with pytest.raises(LeakError, match=r"a2\.py is not released.*info_nce_gradient"):
        release(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["release"], ["release", "OUT", "a9"], ["release", "OUT/file/x"]])
def test_a_release_that_cannot_be_says_why_in_one_line(wrong, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["course", *(word.replace("OUT", str(tmp_path)) for word in wrong)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "hypercon course: " in said


def test_the_list_says_what_each_is_worth(capsys):
    assert main(["course", "list"]) == 0
    assert re.search(r"^a5 +40 points +5 exercises  Write the properties$", capsys.readouterr().out, re.MULTILINE)


def test_an_assignment_that_is_not_there_is_named():
    with pytest.raises(InputError, match="a1, a2, a3, a4, a5"):
        find("a6")


def test_every_source_is_an_assignment():
    assert {path.stem for path in folder().glob("*.py")} == set(ASSIGNMENTS)


def test_sources_ship_where_the_wheel_puts_them():
    settings = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"tutorials" = "hypercon/tutorials"' in settings
