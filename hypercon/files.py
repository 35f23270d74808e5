"""Whole files or none: what is written here is complete under its name or not there, and nothing read is unpickled.

The modules for JSON, archives and temporary files load when a file is touched: at import they would cost as much as
the rest of hypercon.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from hypercon.errors import DataError, InputError


@contextmanager
def atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the name ``path`` only when all is written and on the disk.

    Killed at any moment, it leaves the old file or the new one. An exception leaves the old one and nothing else.
    """
    import tempfile

    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path.parent} cannot be written to ({error.strerror}): choose another folder") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp's files are private; a result is an ordinary file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """``value`` as indented JSON. A nan is refused: it is not JSON, and no result of ours."""
    import json

    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic(path) as stream:
        stream.write(text.encode())


def read_arrays(path: str | Path, remedy: str = "save one with np.savez") -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; a `DataError` that says why where there are none to be had."""
    import zipfile
    import zlib

    try:
        with Path(path).open("rb") as stream:
            archive: Any = np.load(stream, allow_pickle=False)
            if isinstance(archive, Mapping):
                arrays = dict(archive)
                others = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
                if not others:
                    return arrays
                reason = f"{others[0]} in it is no array"
            else:
                reason = "it is one array without a name"
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error)
        if "pickle" in reason.lower():  # NumPy takes whatever it does not know for a pickle
            reason = "it holds Python objects" if "Object arrays" in reason else "it is of another kind"
    raise DataError(f"{path}: not an .npz file of plain arrays ({reason}); {remedy}")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
