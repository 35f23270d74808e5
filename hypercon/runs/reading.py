"""The folder of a run: its files by name, and what an earlier training left there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypercon.errors import DataError, DtypeError, InputError, RunError
from hypercon.files import atomic, read_json
from hypercon.metrics import Diagnosis
from hypercon.runs.settings import Settings, settings_from

SCHEMA = 1
CONFIG, HISTORY, PICTURE, ENCODER, CHECKPOINTS, DIAGNOSIS = (
    "config.json",
    "history.jsonl",
    "progress.png",
    "encoder.npz",
    "checkpoints",
    "diagnosis.json",
)


@dataclass(frozen=True)
class Run:
    """A run as its folder tells of it.

    Attributes
    ----------
    folder : Path
    settings : Settings
    epochs : list of dict
        A record for each epoch that is finished; see `hypercon.History`.
    diagnosis : Diagnosis or None
        Of the held-out images at the end; None where a run is read from its folder, which has it as JSON.
    """

    folder: Path
    settings: Settings
    epochs: list[dict[str, Any]] = field(repr=False)
    diagnosis: Diagnosis | None = field(default=None, repr=False)


def named(folder: Any, name: str = "out") -> Path:
    """The path of a folder that a caller gave a name for."""
    if not isinstance(folder, str | Path) or not str(folder).strip():
        raise InputError(f"{name} got {folder!r:.60}, expected the name of a folder such as runs/first")
    return Path(folder)


def read_run(folder: str | Path) -> Run:
    """Read what a run left in its folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Run

    Raises
    ------
    RunError
        The folder holds no run, a damaged one, or one of another version of hypercon.

    Examples
    --------
    >>> read_run("nowhere")
    Traceback (most recent call last):
    hypercon.errors.RunError: nowhere holds no run: hypercon train makes one
    """
    path = named(folder, "folder")
    settings = read_settings(path)
    if settings is None:
        raise RunError(f"{path} holds no run: hypercon train makes one")
    return Run(path, settings, _read_history(path / HISTORY))


def read_settings(folder: Path) -> Settings | None:
    """The settings that a run was started with, or None where there is none."""
    path = folder / CONFIG
    if not path.exists():
        return None
    try:
        config = read_json(path)
        schema, described = config["schema"], config["settings"]
    except DataError as error:
        raise RunError(str(error)) from None
    except (TypeError, LookupError):
        raise RunError(f"{path}: not the settings of a run: it is damaged or of another kind") from None
    if schema != SCHEMA:
        raise RunError(f"{path}: schema {schema!r:.20}, expected {SCHEMA}: written by another version of hypercon")
    try:
        return settings_from(described)
    except DtypeError as error:
        raise RunError(f"{path}: {error}: it is damaged or of another version") from None


def write_history(folder: Path, epochs: Sequence[dict[str, Any]]) -> None:
    """A line of JSON for each epoch; the whole file anew, so that no reader ever meets half a line."""
    with atomic(folder / HISTORY) as stream:
        stream.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in epochs).encode())


def _read_history(path: Path) -> list[dict[str, Any]]:
    """The records of the epochs; a last line that is cut short, as by a copy of a run that was killed, is left out."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    epochs: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["epoch"] != number or not all(_is_number(record[name]) for name in _NUMBERS):
                raise ValueError("no record of this epoch")
        except (ValueError, TypeError, LookupError, RecursionError):
            if number == len(lines) > 1 and not line.endswith(b"\n"):
                break
            raise RunError(
                f"{path}: line {number} is no record of epoch {number}: the file is damaged or of another kind"
            ) from None
        epochs.append(record)
    return epochs


_NUMBERS = ("step", "loss", "rate", "temperature", "seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
