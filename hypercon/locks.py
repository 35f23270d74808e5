"""One process at a time in a folder: a lock that dies with whoever holds it.

The operating system holds it, not the file: after a kill, a crash or a power cut the file may still lie there, and
locks nobody out.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypercon.errors import InputError

NAME = ".lock"


@contextmanager
def locked(folder: Path, name: str = "folder") -> Iterator[None]:
    """Be the only one in a folder that is there; ``name`` is what the caller's argument is called in an error.

    Raises
    ------
    InputError
        Another process holds the folder, or another part of this one.
    """
    path = folder / NAME
    handle = _taken(path)
    if handle is None:
        raise InputError(
            f"{name} got {str(folder)!r}, which {_holder(path)} is working in: wait until it ends, or choose another"
        )
    try:
        with suppress(OSError):  # a full disk: the lock holds without words
            os.truncate(handle, 0)
            os.write(handle, json.dumps({"process": os.getpid(), "machine": platform.node()}).encode())
        yield
    finally:
        with suppress(OSError):  # on Windows an open file keeps its name
            path.unlink()
        os.close(handle)


def _taken(path: Path) -> int | None:
    """A handle that holds the lock, or None where another does."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"{path.parent} cannot be written to ({error.strerror}): choose another folder") from None
        if not _lock(handle):
            os.close(handle)
            return None
        try:
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its holder removed the file between our opening and our locking it


def _lock(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(path: Path) -> str:
    """Who holds the lock, in words, as far as its file says."""
    try:
        found = json.loads(path.read_text())
        return f"process {int(found['process'])} on {str(found['machine'])[:60]}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
