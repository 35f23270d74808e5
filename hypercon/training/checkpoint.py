"""A checkpoint: one ``.npz`` file with all that a training needs to go on, and a sum over all of it.

Arrays are named by the part they belong to, ``encoder/head.layers.0.weight``; everything else stands in ``header``, as
JSON; ``checksum`` is the SHA-256 of all the rest. Nothing is unpickled, and what a file claims is checked before it is
believed: see `hypercon.files.read_arrays`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import CheckpointError, DataError, DtypeError, TrainingError
from hypercon.files import checksum_by_name, read_arrays, write_arrays
from hypercon.nn.saving import CHECKPOINT
from hypercon.training.history import History

SCHEMA = 1
PARTS = ("encoder", "optimizer", "temperature", "loss", "others")


@dataclass(frozen=True)
class Checkpoint:
    """A training after one of its steps.

    Attributes
    ----------
    settings : dict
        What the training was started with, in words and numbers: loss, temperature, batch size, augmentation,
        optimiser, encoder, images.
    started : dict of str
        Checksums of what the encoder, the optimiser, ... and the generator were before the first step.
    versions : dict
        Of hypercon, Python and NumPy, the kind of machine, the device, and the number of threads.
    rng, rng_of_epoch : dict
        The state of the generator now, and when the epoch began: its order of images is drawn anew from that.
    history : History
    parts : dict of dict of ndarray
        The state of the ``"encoder"``, the ``"optimizer"``, the ``"temperature"``, the ``"loss"``, and ``"others"``:
        parameters that the optimiser holds beside the encoder's.
    """

    settings: dict[str, Any]
    started: dict[str, str]
    versions: dict[str, Any]
    rng: dict[str, Any]
    rng_of_epoch: dict[str, Any]
    history: History = field(repr=False)
    parts: dict[str, dict[str, np.ndarray]] = field(repr=False)

    @property
    def step(self) -> int:
        """How many steps had been made."""
        return self.history.steps


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    TrainingError
        A weight is no longer finite: nobody could go on from there.
    DtypeError
        The records of the epochs hold what JSON cannot.
    StorageError
        The disk is full, or fails otherwise.
    """
    history = checkpoint.history
    arrays = {f"{part}/{name}": value for part, named in checkpoint.parts.items() for name, value in named.items()}
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise TrainingError(f"{name} is no longer finite after step {history.steps}: use a smaller learning rate")
    header = {
        "kind": CHECKPOINT,
        "schema": SCHEMA,
        "step": history.steps,
        "settings": checkpoint.settings,
        "started": checkpoint.started,
        "versions": checkpoint.versions,
        "rng": checkpoint.rng,
        "rng_of_epoch": checkpoint.rng_of_epoch,
        "history": {"batch_size": history.batch_size, "seconds": history.seconds, "epochs": history.epochs},
    }
    try:
        arrays["header"] = np.array(json.dumps(header))
    except (TypeError, ValueError) as error:
        raise DtypeError(f"on_epoch gave what JSON cannot hold ({error}): give numbers, text, lists, dicts") from None
    arrays["history/losses"], arrays["history/rates"] = np.array(history.losses), np.array(history.rates)
    arrays["checksum"] = np.array(checksum_by_name(arrays))
    write_arrays(path, arrays)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint that `hypercon.fit` left.

    Parameters
    ----------
    path : path-like
        The file. `newest_checkpoint` finds the one of a folder.

    Returns
    -------
    Checkpoint

    Raises
    ------
    DataError
        The file is missing or damaged, or was never a checkpoint.
    CheckpointError
        It is one of another version of hypercon.

    Examples
    --------
    >>> import tempfile
    >>> import hypercon as hc
    >>> images, rng = hc.data.load("digits").images, np.random.default_rng(0)
    >>> encoder = hc.nn.mlp(images.shape[1:], rng=rng)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = hc.fit(
    ...         encoder, images, loss="info_nce", temperature=0.2, optimizer=hc.optim.Adam(encoder.parameters(), 1e-3),
    ...         epochs=1, batch_size=256, augment=hc.data.mild(), rng=rng, checkpoint=folder,
    ...     )
    ...     found = hc.training.newest_checkpoint(folder)
    >>> found.step, found.settings["loss"]
    (5, 'info_nce')
    """
    remedy = "it is cut short or damaged, or was never a checkpoint"
    arrays = read_arrays(path, remedy)
    try:
        header = json.loads(str(arrays["header"]))
        if header["kind"] != CHECKPOINT:
            raise ValueError(f"it is a file of {str(header['kind'])[:60]!r}")
        if header["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path}: schema {header['schema']!r:.20}, expected {SCHEMA}: written by another version of hypercon; "
                f"go on with that one"
            )
        if str(arrays.pop("checksum")) != checksum_by_name(arrays):
            raise ValueError("its checksum is of other content")
        return _checked(header, arrays)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise DataError(f"{path}: no checkpoint of a training ({error}): {remedy}") from None


def _checked(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Checkpoint:
    """The checkpoint that header and arrays make; an error of Python's own where they are no such things."""
    told = header["history"]
    losses, rates = (arrays[f"history/{name}"].astype(float) for name in ("losses", "rates"))
    if losses.ndim != 1 or losses.shape != rates.shape or len(losses) != header["step"]:
        raise ValueError(f"it has {losses.shape} losses and {rates.shape} rates, of {header['step']} steps")
    dictionaries = ("settings", "started", "versions", "rng", "rng_of_epoch")
    if not all(isinstance(header[name], dict) for name in dictionaries):
        raise TypeError("its header is of another form")
    if not all(isinstance(record, dict) for record in told["epochs"]):
        raise TypeError("its records of epochs are of another form")
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for path, value in arrays.items():
        part, _, name = path.partition("/")
        if part in parts:
            parts[part][name] = value
    settings, started, versions, rng, rng_of_epoch = (header[name] for name in dictionaries)
    return Checkpoint(
        settings,
        started,
        versions,
        rng,
        rng_of_epoch,
        History(losses.tolist(), int(told["batch_size"]), float(told["seconds"]), rates.tolist(), list(told["epochs"])),
        parts,
    )
