"""Whole files or none: what is written here is complete under its name or not there, and nothing read is unpickled.

The modules for JSON, archives and temporary files load when a file is touched: at import they would cost as much as
the rest of hypercon.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from hypercon.errors import DataError, HyperconError, InputError, StorageError

_UNPACKED_ANYWAY, _MOST_TIMES = 2**26, 100  # how many bytes an archive may unpack to, and how many times its own size
_PART = 2**20  # bytes that are read at a time


@contextmanager
def atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the name ``path`` only when all is written and on the disk.

    Killed at any moment, it leaves the old file or the new one. An exception leaves the old one and nothing else; a
    disk that is full, or fails otherwise, is a `StorageError`.
    """
    import tempfile

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected the name of a file to write")
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
        _sync_folder(path.parent)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, HyperconError):
            raise StorageError(
                f"{path} cannot be written ({error.strerror or error}), and what stood there is unharmed: "
                f"make room, or choose another folder"
            ) from None
        raise


def write_json(path: str | Path, value: Any) -> None:
    """``value`` as indented JSON. A nan is refused: it is not JSON, and no result of ours."""
    import json

    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic(path) as stream:
        stream.write(text.encode())


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays by name as an ``.npz`` file, not compressed: weights hardly get smaller."""
    with atomic(path) as stream:
        np.savez(stream, **dict(arrays))  # type: ignore[arg-type]


def read_arrays(path: str | Path, remedy: str = "save one with np.savez") -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; a `DataError` that says why where there are none to be had.

    Nothing is unpickled, and nothing is allocated for what the file only claims to hold: an array must be as long as
    its shape says, and an archive may unpack to 100 times its size at most, or to 64 MiB.
    """
    import tokenize
    import zipfile
    import zlib

    try:
        with Path(path).open("rb") as stream:
            reason = _other_kind(stream.read(6))
            if not reason:
                return _unpacked(stream)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, LookupError, TypeError, EOFError, RuntimeError, MemoryError, SyntaxError) as error:
        reason = str(error) or type(error).__name__
    except (zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, tokenize.TokenError) as error:
        reason = str(error)
    raise DataError(f"{path}: not an .npz file of plain arrays ({reason}); {remedy}")


def _other_kind(start: bytes) -> str:
    """What a file with this start is instead of an archive, if it is none."""
    if start.startswith(b"PK"):
        return ""
    if not start:
        return "it is empty"
    return "it is one array without a name" if start == b"\x93NUMPY" else "it is of another kind"


def _unpacked(stream: IO[bytes]) -> dict[str, np.ndarray]:
    import zipfile

    size = os.fstat(stream.fileno()).st_size
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        _check_none_is_lost(stream, size, len(members))
        names = [member.filename for member in members]
        if repeated := [name for name in set(names) if names.count(name) > 1]:
            raise ValueError(f"it holds {repeated[0]} twice")
        total = sum(member.file_size for member in members)
        if total > max(_UNPACKED_ANYWAY, _MOST_TIMES * size):
            raise ValueError(f"it would unpack from {size:,} bytes to {total:,}")
        return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}


def _check_none_is_lost(stream: IO[bytes], size: int, found: int) -> None:
    """Compare with the archive's own count, at its end: a damaged entry can hide the entries that follow it."""
    stream.seek(max(0, size - 22))
    end = stream.read()
    if end[:4] != b"PK\x05\x06":
        raise ValueError("it does not end as an archive does")
    (count,) = struct.unpack_from("<H", end, 10)
    if count != found:
        raise ValueError(f"it counts {count} arrays, and {found} can be found")


def _array(archive: Any, member: Any) -> np.ndarray:
    """One array, once it is sure that the member is as long as the array's shape says."""
    if member.compress_type not in (0, 8):  # zip's numbers for stored and deflated: all that NumPy writes
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not write")
    with archive.open(member) as stream:
        start = stream.read(8)
        if start[:6] != b"\x93NUMPY":
            raise ValueError(f"{member.filename} in it is no array")
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(start[6])
        if read_header is None:
            raise ValueError(f"{member.filename} is of a version that NumPy does not write")
        shape, in_columns, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        expected, there = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if min(shape, default=0) < 0 or expected != there or not dtype.itemsize:
            raise ValueError(f"{member.filename} claims {dtype} {shape}, but holds {there:,} bytes")
        array = np.empty(shape, dtype, order="F" if in_columns else "C")
        into = array.reshape(-1, order="A").view(np.uint8)
        filled = 0
        while part := stream.read(_PART):  # to the end, where the sum is checked
            into[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
        if filled < expected:
            raise EOFError(f"{member.filename} is cut short")
    return array


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; a `DataError` that says why where it holds none."""
    import json

    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}): it is damaged or of another kind") from None


def checksum(*arrays: np.ndarray | None) -> str:
    """SHA-256 of arrays, their dtypes and shapes; None counts for nothing."""
    import hashlib

    total = hashlib.sha256()
    for array in arrays:
        if array is not None:
            total.update(f"{array.dtype} {array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def checksum_by_name(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays and of the names they have, in whatever order."""
    return checksum(*(part for name in sorted(arrays) for part in (np.array(name), arrays[name])))


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is. Where folders cannot be opened there is no way to ask."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
