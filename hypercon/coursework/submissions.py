"""Submissions as bytes: read from files, folders and archives without following a link or unpacking anything.

What is handed in reaches the worker as one text. No name, link or second file of a submission ever reaches the disk.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZE_LIMIT = 1 << 20
MEMBER_LIMIT = 10_000


@dataclass(frozen=True)
class Submission:
    """What one student handed in: the text, or the reason why there is none."""

    name: str
    source: bytes = b""
    reason: str = ""


class _UnreadableError(Exception):
    pass


def collect(paths: Sequence[str | Path], file: str) -> list[Submission]:
    """Every submission in ``paths``: files, archives, folders that hold ``file``, and folders full of these."""
    entries = [entry for path in paths for entry in _entries(Path(path), file)]
    names = [entry.stem if entry.suffix in (".py", ".zip") else entry.name for entry in entries]
    repeated = {name for name in names if names.count(name) > 1}
    return [
        read(entry, file, str(entry) if name in repeated else name) for entry, name in zip(entries, names, strict=True)
    ]


def read(path: Path, file: str, name: str) -> Submission:
    """One submission; a reason instead of an error where it cannot be read."""
    try:
        source = _checked(_from_archive(path, file) if path.suffix == ".zip" else _from_disk(path, file))
    except _UnreadableError as error:
        return Submission(name, reason=str(error))
    except (OSError, ValueError) as error:
        return Submission(name, reason=f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return Submission(name, source)


def _entries(path: Path, file: str) -> list[Path]:
    try:
        if path.is_dir() and not path.is_symlink() and not (path / file).exists() and not (path / file).is_symlink():
            inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
            if any(entry.is_dir() or entry.suffix == ".zip" for entry in inside) or len(inside) > 1:
                return inside
    except OSError:
        pass
    return [path]


def _from_disk(path: Path, file: str) -> bytes:
    if path.is_dir() and not path.is_symlink():
        if not os.access(path, os.R_OK | os.X_OK):
            raise _UnreadableError("the folder cannot be read")
        present = sorted(entry.name for entry in path.iterdir())
        if file not in present:
            raise _UnreadableError(f"no {file} in it; it has {', '.join(present[:5]) or 'nothing'}")
        path = path / file
    elif path.suffix != ".py":
        raise _UnreadableError(f"neither a .py file, a .zip nor a folder with {file}")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _UnreadableError("not an ordinary file")
        return stream.read(SIZE_LIMIT + 1)


def _from_archive(path: Path, file: str) -> bytes:
    """The one member that counts, read into memory and no further than the limit, whatever its header claims."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MEMBER_LIMIT:
                raise _UnreadableError(f"an archive of {len(members)} files, more than {MEMBER_LIMIT}")
            found = [m for m in members if m.filename == file or m.filename.endswith("/" + file)]
            found = [m for m in found if ".." not in m.filename.split("/") and not m.filename.startswith("/")]
            if len(found) != 1:
                raise _UnreadableError(f"expected one {file} in the archive, found {len(found)}")
            if stat.S_ISLNK(found[0].external_attr >> 16):
                raise _UnreadableError("a link, not a file")
            with archive.open(found[0]) as stream:
                return stream.read(SIZE_LIMIT + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, KeyError) as error:
        raise _UnreadableError(f"not a readable archive: {error}") from None


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
