"""Submissions that cannot be read are rows with a reason; nothing of an archive is unpacked; no link is followed."""

import bz2
import os
import stat
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from hypercon.coursework.submissions import SIZE_LIMIT, Submission, collect, left_out
from hypercon.errors import InputError

FILE = "a2.py"
GOOD = b"def info_nce(z1, z2, temperature):\n    return 0.0\n"


def reason(path):
    (found,) = collect([path], FILE)
    assert found.source == b""
    return found.reason


def archive(path, *members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, data in members:
            packed.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"#" * (SIZE_LIMIT + 1), "larger than"),
        (b"\x7fELF\0\0", "binary"),
        ("# café".encode("latin-1"), "not UTF-8: byte 5"),
        ("x = 1".encode("utf-16"), "binary"),
    ],
)
def test_content_that_is_no_text_is_told(content, why, tmp_path):
    path = tmp_path / "ada.py"
    path.write_bytes(content)
    assert why in reason(path)
    assert why in reason(archive(tmp_path / "ada.zip", (FILE, content)))


def test_a_file_a_folder_and_an_archive_are_one_submission_each(tmp_path):
    (tmp_path / "ada.py").write_bytes(GOOD)
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / FILE).write_bytes(GOOD)
    (tmp_path / "ben" / "notes.txt").write_text("mine")
    archive(tmp_path / "cyd.zip", (f"deep/inside/{FILE}", GOOD), ("__MACOSX/._a2.py", b"\0"))
    found = collect([tmp_path], FILE)
    assert [submission.name for submission in found] == ["ada", "ben", "cyd"]
    assert {submission.source for submission in found} == {GOOD}


def test_the_current_folder_is_called_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / FILE).write_bytes(GOOD)
    monkeypatch.chdir(tmp_path / "ada")
    assert [submission.name for submission in collect(["."], FILE)] == ["ada"]


def test_what_is_wrongly_named_is_told_with_what_is_there(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    assert "no a2.py in it; it has nothing" in reason(tmp_path)
    (folder / "solution.py").write_bytes(GOOD)
    assert "no a2.py in it; it has solution.py" in reason(tmp_path)
    (tmp_path / "ben.txt").write_text("x")
    assert "neither a .py file" in reason(tmp_path / "ben.txt")


def test_a_folder_of_one_file_is_a_class_of_one(tmp_path):
    (tmp_path / "ada.py").write_bytes(GOOD)
    assert collect([tmp_path], FILE) == [Submission("ada", GOOD)]


def test_a_folder_that_has_the_assignments_file_is_one_submission_and_what_is_beside_it_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(GOOD)
    (tmp_path / "notes.txt").write_text("mine")
    assert left_out([tmp_path], FILE) == []
    (tmp_path / "ada.py").write_bytes(GOOD)
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / FILE).write_bytes(GOOD)
    assert [submission.name for submission in collect([tmp_path], FILE)] == [tmp_path.name]
    (line,) = left_out([tmp_path], FILE)
    assert line.endswith("is one submission, as it has a2.py; not graded beside it: ada.py, ben")


@pytest.mark.parametrize("name", ["nosuch", "nosuch.py", "nosuch.zip"])
def test_a_path_that_is_not_there_is_no_student(name, tmp_path):
    with pytest.raises(InputError, match=rf"{name}: there is no such file or folder"):
        collect([tmp_path / name], FILE)


def test_an_empty_folder_is_no_student(tmp_path):
    (tmp_path / "__MACOSX").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        collect([tmp_path], FILE)


def test_folders_that_programs_leave_are_no_students(tmp_path):
    for name in ("__MACOSX", "__pycache__", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "ada.py").write_bytes(GOOD)
    assert [submission.name for submission in collect([tmp_path], FILE)] == ["ada"]


def test_a_notebook_is_told_how_to_become_a_submission(tmp_path):
    advice = "save the notebook as a2.py (jupytext --to py:percent)"
    (tmp_path / "ada.ipynb").write_text("{}")
    assert reason(tmp_path / "ada.ipynb") == "a notebook: save it as a2.py (jupytext --to py:percent)"
    (tmp_path / "class" / "ben").mkdir(parents=True)
    (tmp_path / "class" / "ben" / "a2.ipynb").write_text("{}")
    assert reason(tmp_path / "class") == f"no a2.py in it; it has a2.ipynb; {advice}"
    assert advice in reason(archive(tmp_path / "cyd.zip", ("a2.ipynb", "{}")))


def test_two_of_one_name_are_told_apart_by_their_paths(tmp_path):
    for group in ("red", "blue"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "ada.py").write_bytes(GOOD)
    names = [submission.name for submission in collect([tmp_path / "red/ada.py", tmp_path / "blue/ada.py"], FILE)]
    assert len(set(names)) == 2
    assert all(name.endswith("ada.py") for name in names)


def test_names_are_made_safe_to_show(tmp_path):
    path = tmp_path / "ada\x1b[2J\u202e.py"
    path.write_bytes(GOOD)
    raw = os.fsencode(tmp_path) + b"/ben\xff.py"
    Path(os.fsdecode(raw)).write_bytes(GOOD)
    names = [submission.name for submission in collect([tmp_path], FILE)]
    assert names == ["ada\\x1b[2J\\u202e", "ben\\udcff"]


def test_no_link_is_followed(tmp_path):
    (tmp_path / "secret.py").write_bytes(GOOD)
    (tmp_path / "link.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / FILE).symlink_to(tmp_path / "secret.py")
    (tmp_path / "folder").symlink_to(tmp_path / "ada")
    (tmp_path / "ben.zip").symlink_to(archive(tmp_path / "real.zip", (FILE, GOOD)))
    for name in ("link.py", "ada", "folder", "ben.zip"):
        assert reason(tmp_path / name) == "a link, and links are not followed", name


def test_a_pipe_is_no_submission_and_nobody_waits_for_it(tmp_path):
    for name in ("ada.py", "ben.zip"):
        os.mkfifo(tmp_path / name)
        assert "not an ordinary file" in reason(tmp_path / name)


@contextmanager
def as_nobody():
    """Root may read everything: meanwhile, be a user who may not."""
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_what_may_not_be_read_is_told():
    with tempfile.TemporaryDirectory(prefix="hypercon-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        closed = folder / "closed"
        closed.mkdir()
        for path in (closed / FILE, folder / "ada.py"):
            path.write_bytes(GOOD)
            path.chmod(0)
        closed.chmod(0)
        with as_nobody():
            whys = [submission.reason for submission in collect([folder], FILE)]
        closed.chmod(stat.S_IRWXU)
    assert whys == ["cannot be read: Permission denied"] * 2


@pytest.mark.parametrize("name", ["../../a2.py", "/etc/a2.py", "x/../../a2.py"])
def test_a_path_that_leads_out_of_an_archive_is_refused_and_nothing_is_written(name, tmp_path):
    packed = archive(tmp_path / "ada.zip", (name, GOOD))
    assert "leads out" in reason(packed)
    assert list(tmp_path.iterdir()) == [packed]


def test_bombs_are_read_no_further_than_the_limit(tmp_path):
    deflated = archive(tmp_path / "ada.zip", (FILE, b"#" * (200 << 20)))
    assert deflated.stat().st_size < 1 << 18
    assert "larger than" in reason(deflated)
    packed = archive(tmp_path / "ben.zip", (FILE, GOOD), method=zipfile.ZIP_BZIP2)  # 4 kB of it can be gigabytes
    assert "another method" in reason(packed)
    assert len(bz2.compress(b"#" * (1 << 20))) < 4096
    many = archive(tmp_path / "cyd.zip", *((f"{i}.txt", b"") for i in range(10_001)))
    assert "10001 files" in reason(many)


def test_a_header_that_lies_about_its_size_is_found_out(tmp_path):
    path = archive(tmp_path / "ada.zip", (FILE, GOOD * 9))
    data = path.read_bytes()
    size = len(GOOD * 9).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (5).to_bytes(4, "little")))
    (found,) = collect([path], FILE)
    assert found.reason or len(found.source) <= SIZE_LIMIT


def test_archives_that_are_none_links_and_doubles_are_told(tmp_path):
    (tmp_path / "ada.zip").write_bytes(b"PK\3\4 and no more")
    assert "not a readable archive" in reason(tmp_path / "ada.zip")
    link = zipfile.ZipInfo(FILE)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "a link" in reason(archive(tmp_path / "ben.zip", (link, "/etc/passwd")))
    assert "found 2" in reason(archive(tmp_path / "cyd.zip", (f"a/{FILE}", GOOD), (f"b/{FILE}", GOOD)))
    wrong = archive(tmp_path / "dee.zip", ("work/b2.py", GOOD), ("work/", ""), ("__MACOSX/._b2.py", "x"))
    assert reason(wrong) == "no a2.py in it; it has work/b2.py"
    data = bytearray(archive(tmp_path / "eve.zip", (FILE, GOOD)).read_bytes())
    data[6] |= 1  # says that it is encrypted, in both of its headers
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "eve.zip").write_bytes(data)
    assert "not a readable archive" in reason(tmp_path / "eve.zip")
