"""Published files on this machine: looked for in one folder, and brought there when they are missing.

A download goes on where it was cut, from the same place or from a mirror, and takes its name only when its checksum is
right. Processes that want one file at the same time wait for the one that brings it. With the files in place nothing
but this module's own checks is needed: neither a network nor pooch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypercon.data.catalogue import PUBLISHED, File, Published
from hypercon.errors import DataError

ATTEMPTS = 3  # at each place, going on where the last one was cut
PATIENCE = 10, 60  # seconds to connect, and without a byte
BLOCK = 2**16


def folder() -> Path:
    """Where data sets lie: ``HYPERCON_DATA``, or the cache folder of this user.

    Examples
    --------
    >>> folder().is_absolute()
    True
    """
    if named := os.environ.get("HYPERCON_DATA"):
        return Path(named).expanduser().absolute()
    try:
        import pooch
    except ImportError:
        return Path.home() / ".cache" / "hypercon"
    return Path(pooch.os_cache("hypercon"))


def published(name: str) -> Published:
    """What is known of a data set; a `DataError` that names those that there are."""
    if name not in PUBLISHED:
        raise DataError(f"no published data set is called {name!r}, expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def is_here(name: str) -> bool:
    """Whether all files of a data set lie in the folder; their contents are not looked at."""
    return all((folder() / name / file.name).is_file() for file in published(name).files)


def fetch(name: str) -> Path:
    """The folder with all files of a data set, each with the right checksum; what is missing is downloaded.

    Parameters
    ----------
    name : str
        Of `catalogue.PUBLISHED`.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        There is no such data set, a file there is another than the published one, the folder cannot be written to,
        pooch is not installed, or no place gives the file; the message says where to put it by hand.
    """
    known, place = published(name), folder() / name
    for file in known.files:
        path = place / file.name
        if path.is_file():
            _check(path, file)
        else:
            _download(path, file, known.places, name)
    return place


def _check(path: Path, file: File) -> None:
    if path.stat().st_size != file.size or _digest(path, file) != file.checksum.rpartition(":")[2]:
        raise DataError(
            f"{path}: not the file that is published (by its checksum): remove it to have it downloaded again, or name "
            f"its folder in the place of the data set to use it as it is"
        )


def _digest(path: Path, file: File) -> str:
    import hashlib  # when a file is looked at: it takes a while to load

    digest = hashlib.new(file.checksum.partition(":")[0] if ":" in file.checksum else "sha256")
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _download(path: Path, file: File, places: tuple[str, ...], name: str) -> None:
    by_hand = f"download {places[0]}/{file.name} elsewhere and put it at {path}"
    try:
        import pooch
    except ImportError:
        raise DataError(f'{name}: downloads need pooch: pip install "hypercon[datasets]", or {by_hand}') from None
    if mirror := os.environ.get("HYPERCON_DATA_MIRROR"):
        places = (f"{mirror.rstrip('/')}/{name}", *places)
    pooch.get_logger().setLevel("WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            reasons = [] if path.is_file() else _try_all(pooch, path, file, places)
    except OSError as error:
        raise DataError(
            f"{name}: {path.parent} cannot be written to ({error.strerror or error}): set HYPERCON_DATA to a folder "
            f"that can, or {by_hand}"
        ) from None
    if not path.is_file():
        raise DataError(f"{name}: {file.name} could not be downloaded ({'; '.join(reasons)}): try again, or {by_hand}")
    _check(path, file)


def _try_all(pooch: Any, path: Path, file: File, places: tuple[str, ...]) -> list[str]:
    """Why each place failed until one did not; the file is there if one did not."""
    import requests
    import urllib3

    reasons: list[str] = []
    for place in places:
        for _ in range(ATTEMPTS):
            resuming = _Resuming(path, file)
            begun = resuming.part.exists()
            try:
                pooch.retrieve(f"{place}/{file.name}", file.checksum, path.name, path.parent, downloader=resuming)
                return reasons
            except (requests.RequestException, urllib3.exceptions.HTTPError, _WrongLengthError) as error:
                response = getattr(error, "response", None)
                reason = f"status {response.status_code}" if response is not None else _first_line(error)
                if response is not None and response.status_code < 500:
                    break  # asking again would not help
            except ValueError:  # pooch found another checksum, and removed what had come
                reason = "it gave another file, by its checksum"
                if not begun:  # else what an earlier run left may be to blame, and is gone now
                    break
        reasons.append(f"{place}: {reason}")
    return reasons


class _WrongLengthError(Exception):
    """Fewer or more bytes came than the file has."""


class _Resuming:
    """What pooch calls to download: bytes are added to ``NAME.part``, which stays when the connection breaks."""

    def __init__(self, path: Path, file: File) -> None:
        self.part, self.file = path.with_name(f"{path.name}.part"), file

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests
        from tqdm import tqdm

        size, part = self.file.size, self.part
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            have = 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if 0 < have < size else {})
        if have < size:
            with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as response:
                response.raise_for_status()
                if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    have = 0  # the server knows no ranges and begins anew
                with (
                    part.open("ab" if have else "wb") as stream,
                    tqdm(total=size, initial=have, desc=self.file.name, unit="B", unit_scale=True, disable=None) as bar,
                ):
                    # as it comes: a server may call a .gz file an encoding, and requests would unpack it
                    while block := response.raw.read(BLOCK, decode_content=False):
                        have += len(block)
                        if have > size:
                            break
                        stream.write(block)
                        bar.update(len(block))
        if have != size:
            if have > size:
                part.unlink()
            raise _WrongLengthError(f"{'more than' if have > size else f'{have} of'} {size} bytes came")
        part.replace(output_file)


def _first_line(error: Exception) -> str:
    """An error of a network library in a few words: its cause's class where the text is a page."""
    reason = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    text = str(reason).splitlines()[0] if str(reason) else type(error).__name__
    return text if len(text) < 120 else type(reason).__name__


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time may download into a folder; others wait. Where the system has no such locks, none waits."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing lets go
