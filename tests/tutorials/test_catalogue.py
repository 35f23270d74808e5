"""`hypercon lessons`: what there is, a copy to work in, and lessons that come with a wheel."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hypercon import cli
from hypercon.coursework import catalogue

ROOT = Path(__file__).parents[2]


def lessons(*arguments):
    return cli.main(["lessons", *map(str, arguments)])


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_the_list_has_every_lesson_with_its_time_and_title(arguments, capsys):
    assert lessons(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines if line[:1].isdigit()] == [lesson.number for lesson in catalogue.lessons()]
    assert "03  25 min  InfoNCE by hand, and who is pushed" in lines


@pytest.mark.parametrize("number", ["03", "3"])
def test_start_writes_the_students_edition(number, tmp_path, capsys):
    pytest.importorskip("jupytext", reason='needs pip install "hypercon[notebooks]"')
    assert lessons("start", number, "--out", tmp_path / "new" / "folder") == 0
    path = tmp_path / "new" / "folder" / "03_infonce.ipynb"
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    assert json.loads(text)["nbformat"] == 4
    assert "write loss_of_anchor" in text


def test_start_with_solutions_has_a_name_of_its_own(tmp_path, capsys):
    pytest.importorskip("jupytext", reason='needs pip install "hypercon[notebooks]"')
    assert lessons("start", "03", "--out", tmp_path) == lessons("start", "03", "--out", tmp_path, "--solution") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["03_infonce.ipynb", "03_infonce_solution.ipynb"]
    assert "NotImplementedError" not in (tmp_path / "03_infonce_solution.ipynb").read_text()


def test_a_notebook_that_is_there_is_left_alone(tmp_path, capsys):
    pytest.importorskip("jupytext", reason='needs pip install "hypercon[notebooks]"')
    (tmp_path / "03_infonce.ipynb").write_text("my work")
    assert lessons("start", "03", "--out", tmp_path) == 2
    assert "may hold your work" in capsys.readouterr().err
    assert (tmp_path / "03_infonce.ipynb").read_text() == "my work"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start"], "start needs a number, such as hypercon lessons start 03"),
        (["start", "99"], "hypercon lessons: NN got '99', expected one of 01, 02, 03"),
        (["start", "three"], "hypercon lessons: NN got 'three', expected one of 01"),
        (["stop"], "invalid choice: 'stop'"),
    ],
)
def test_mistakes_take_one_line(arguments, said, capsys):
    try:
        status = lessons(*arguments)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    pytest.importorskip("jupytext", reason='needs pip install "hypercon[notebooks]"')
    (tmp_path / "file").write_text("")
    assert lessons("start", "03", "--out", tmp_path / "file" / "below") == 2
    assert "choose another folder" in capsys.readouterr().err


def test_without_jupytext_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['jupytext'] = None; from hypercon import cli; "
        f"sys.exit(cli.main(['lessons', 'start', '03', '--out', {str(tmp_path)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 2
    assert 'pip install "hypercon[notebooks]"' in ran.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wheel_carries_the_lessons(tmp_path):
    pytest.importorskip("hatchling", reason="builds a wheel: pip install hatchling")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from hypercon.coursework import catalogue; print(catalogue.__file__); print(catalogue.listing())"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.startswith(str(tmp_path / "site"))
    assert ran.stdout.splitlines()[1:] == catalogue.listing().splitlines()
