"""Submissions as bytes: read from files, folders and archives without following a link or unpacking anything.

What is handed in reaches the worker as one text. No name, link or second file of a submission ever reaches the disk.
"""

from __future__ import annotations

import errno
import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hypercon.coursework.text import one_line
from hypercon.errors import InputError

SIZE_LIMIT = 1 << 20
ARCHIVE_LIMIT = 1 << 26
MEMBER_LIMIT = 10_000
NOBODYS = ("__MACOSX", "__pycache__")  # folders that programs leave, and no student

_SAFE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no link, and no pipe to wait for


@dataclass(frozen=True)
class Submission:
    """What one student handed in: the text, or the reason why there is none."""

    name: str
    source: bytes = b""
    reason: str = ""


_LINK = "a link, and links are not followed"
_SAVED = "(jupytext --to py:percent)"


class _UnreadableError(Exception):
    pass


def collect(paths: Sequence[str | Path], file: str) -> list[Submission]:
    """Every submission in ``paths``: files, archives, folders that hold ``file``, and folders of these.

    Each is called after its file or folder; where that names two, by the whole path.

    Raises
    ------
    InputError
        A path is not there, or a folder that holds nothing.
    """
    entries = [entry for path in paths for entry in _entries(Path(path), file)]
    names = [_name(entry) for entry in entries]
    repeated = {name for name in names if names.count(name) > 1}
    return [
        read(entry, file, one_line(str(entry) if name in repeated else name))
        for entry, name in zip(entries, names, strict=True)
    ]


def left_out(paths: Sequence[str | Path], file: str) -> list[str]:
    """A line for each of ``paths`` that is one submission, as it has ``file``, and holds what may be others.

    Examples
    --------
    >>> left_out(["nowhere"], "a2.py")
    []
    """
    lines = []
    for path in map(Path, paths):
        inside = _inside(path)
        if inside and file in {entry.name for entry in inside}:
            others = [entry.name for entry in inside if entry.name != file and _may_be_one(entry, file)]
            if others:
                told = f"{path} is one submission, as it has {file}; not graded beside it: {_some(others)}"
                lines.append(one_line(told))
    return lines


def _may_be_one(entry: Path, file: str) -> bool:
    return entry.suffix in (".py", ".zip") or os.path.isfile(entry / file)  # noqa: PTH113 - raises nothing


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5]) or 'nothing'}{more}"


def _name(entry: Path) -> str:
    if entry.suffix in (".py", ".zip"):
        return entry.stem
    return entry.name or entry.resolve().name  # "." has a name elsewhere


def read(path: Path, file: str, name: str) -> Submission:
    """One submission; a reason instead of an error where it cannot be read."""
    try:
        source = _checked(_from_archive(path, file) if path.suffix == ".zip" else _from_disk(path, file))
    except _UnreadableError as error:
        return Submission(name, reason=one_line(str(error)))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:  # so O_NOFOLLOW says it
            return Submission(name, reason=_LINK)
        return Submission(name, reason=f"cannot be read: {one_line(getattr(error, 'strerror', None) or str(error))}")
    return Submission(name, source)


def _entries(path: Path, file: str) -> list[Path]:
    """What a path on the command line stands for: itself, or the submissions in it."""
    if not os.path.lexists(path):
        raise InputError(f"{path}: there is no such file or folder")
    inside = _inside(path)
    if inside is None or file in {entry.name for entry in inside}:
        return [path]
    if not inside:
        raise InputError(f"{path}: an empty folder, expected files, archives or folders in it")
    return inside


def _inside(path: Path) -> list[Path] | None:
    """What lies in a folder, without what no student put there; None where it is no folder or cannot be looked into."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sorted(e for e in path.iterdir() if not e.name.startswith(".") and e.name not in NOBODYS)
    except OSError:  # told in its row
        pass
    return None


def _from_disk(path: Path, file: str) -> bytes:
    if path.is_symlink():
        raise _UnreadableError(_LINK)
    if path.is_dir():
        folder = os.open(path, _SAFE | getattr(os, "O_DIRECTORY", 0))
        try:
            present = sorted(os.listdir(folder))  # noqa: PTH208 - of a descriptor
            if file not in present:
                raise _UnreadableError(_missing(file, present))
            with _ordinary(os.open(file, _SAFE, dir_fd=folder)) as stream:
                return stream.read(SIZE_LIMIT + 1)
        finally:
            os.close(folder)
    if path.suffix == ".ipynb":
        raise _UnreadableError(f"a notebook: save it as {file} {_SAVED}")
    if path.suffix != ".py":
        raise _UnreadableError(f"neither a .py file, a .zip nor a folder with {file}")
    with _ordinary(os.open(path, _SAFE)) as stream:
        return stream.read(SIZE_LIMIT + 1)


def _missing(file: str, present: Sequence[str]) -> str:
    """That ``file`` is not among what is there, and what to do where that is a notebook."""
    advice = f"; save the notebook as {file} {_SAVED}" if any(name.endswith(".ipynb") for name in present) else ""
    return f"no {file} in it; it has {_some(present)}{advice}"


def _ordinary(handle: int) -> IO[bytes]:
    """An opened file that is neither a pipe nor a device."""
    stream = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        stream.close()
        raise _UnreadableError("not an ordinary file")
    return stream


def _from_archive(path: Path, file: str) -> bytes:
    """The one member that counts, read into memory and no further than the limit, whatever its header claims."""
    with _ordinary(os.open(path, _SAFE)) as whole:
        if os.fstat(whole.fileno()).st_size > ARCHIVE_LIMIT:
            raise _UnreadableError(f"an archive larger than {ARCHIVE_LIMIT} bytes")
        try:
            with zipfile.ZipFile(whole) as archive, archive.open(_member(archive, file)) as stream:
                return stream.read(SIZE_LIMIT + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, KeyError) as error:
            raise _UnreadableError(f"not a readable archive: {error}") from None


def _member(archive: zipfile.ZipFile, file: str) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) > MEMBER_LIMIT:
        raise _UnreadableError(f"an archive of {len(members)} files, more than {MEMBER_LIMIT}")
    found = [member for member in members if member.filename.split("/")[-1] == file]
    if not found:
        names = sorted(m.filename for m in members if not m.is_dir() and m.filename.split("/")[0] not in NOBODYS)
        raise _UnreadableError(_missing(file, names))
    if len(found) > 1:
        raise _UnreadableError(f"expected one {file} in the archive, found {len(found)}")
    member = found[0]
    if member.filename.startswith("/") or ".." in member.filename.split("/"):
        raise _UnreadableError("its path leads out of the archive")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _UnreadableError(_LINK)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _UnreadableError("packed by another method than deflate: pack it anew")  # others unpack without bound
    return member


def _checked(source: bytes) -> bytes:
    if not source.strip():
        raise _UnreadableError("empty")
    if len(source) > SIZE_LIMIT:
        raise _UnreadableError(f"larger than {SIZE_LIMIT} bytes")
    if b"\0" in source:
        raise _UnreadableError("binary: it holds zero bytes")
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"not UTF-8: byte {error.start} cannot be read; save it as UTF-8") from None
    return source
