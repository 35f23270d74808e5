"""The folder of checkpoints: held by one training at a time, the last two kept, the newest that is whole taken up."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

from hypercon.errors import CheckpointError, DataError, DtypeError, InputError
from hypercon.locks import locked
from hypercon.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hypercon.validation import check_number

KEPT = 2
_FILES = "checkpoint-*.npz"


class Keeper:
    """Writes checkpoints into a folder while it is entered, and finds the one to go on from.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    seconds : float
        Between two checkpoints; 0 makes one after every step.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        self._last_step: int | None = None
        self._last_time = time.monotonic()

    def __enter__(self) -> Keeper:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"checkpoint got {str(self.folder)!r}, which is no folder ({error.strerror})") from None
        self._lock = locked(self.folder, "checkpoint")
        self._lock.__enter__()
        for unfinished in self.folder.glob(".checkpoint-*.part"):  # a kill inside a write leaves one
            unfinished.unlink(missing_ok=True)
        return self

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)

    def due(self) -> bool:
        """Is it time for a checkpoint?"""
        return time.monotonic() - self._last_time >= self.seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Write one, then remove all but the last two."""
        if checkpoint.step == self._last_step:
            return
        write_checkpoint(self.folder / _FILES.replace("*", f"{checkpoint.step:09d}"), checkpoint)
        for old in checkpoints_in(self.folder)[:-KEPT]:
            old.unlink(missing_ok=True)
        self._last_step, self._last_time = checkpoint.step, time.monotonic()

    def newest(self) -> tuple[Path, Checkpoint] | None:
        """The newest checkpoint that is whole, if there is any. A damaged one is set aside and told of."""
        reasons = []
        for path in reversed(checkpoints_in(self.folder)):
            try:
                found = read_checkpoint(path)
            except DataError as error:
                reasons.append((path, str(error)))
                continue
            for damaged, reason in reasons:
                damaged.replace(damaged.with_suffix(".npz.damaged"))
                warnings.warn(f"{reason}; set aside, and going on from {path.name}", stacklevel=4)
            self._last_step = found.step
            return path, found
        if reasons:
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be read, of {len(reasons)}; of the newest: {reasons[0][1]}"
            )
        return None


def newest_checkpoint(folder: str | Path) -> Checkpoint:
    """Read the newest checkpoint of a folder that `hypercon.fit` wrote to.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        There is none, or one of another version of hypercon.
    DataError
        It is damaged; with ``resume=True``, `hypercon.fit` falls back on the one before.
    """
    if not isinstance(folder, str | Path):
        raise DtypeError(f"folder got {type(folder).__name__}, expected the name of a folder")
    paths = checkpoints_in(Path(folder))
    if not paths:
        raise CheckpointError(f"{folder}: no checkpoint there")
    return read_checkpoint(paths[-1])


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints' files, the oldest first."""
    return sorted(folder.glob(_FILES), key=lambda path: (len(path.name), path.name))


def check_seconds(seconds: Any) -> float:
    """0 or more."""
    seconds = float(check_number(seconds, "checkpoint_every"))
    if seconds < 0:
        raise InputError(f"checkpoint_every got {seconds:g}, expected seconds from 0 on, such as 60")
    return seconds
