"""Encoders as files: one ``.npz`` with the weights and a JSON description, read without unpickling anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import DataError, DtypeError, HyperconError, InputError
from hypercon.files import atomic, read_arrays
from hypercon.nn.encoders import Encoder, build, count_weights

SCHEMA = 1


def save_encoder(path: str | Path, encoder: Encoder, notes: dict[str, Any] | None = None) -> None:
    """Write an encoder to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Usually ends in ``.npz``.
    encoder : Encoder
    notes : dict, optional
        Anything JSON can hold, given back by `load_encoder`.

    Raises
    ------
    InputError
        The folder cannot be written to, or the encoder's recipe does not build this encoder, so that the file could
        not be loaded again.
    DtypeError
        Something else than an encoder, or notes that are not JSON.

    Examples
    --------
    >>> import tempfile
    >>> from hypercon.nn import mlp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_encoder(f"{folder}/encoder.npz", mlp((1, 8, 8), rng=np.random.default_rng(0)), {"temperature": 0.2})
    ...     encoder, notes = load_encoder(f"{folder}/encoder.npz")
    >>> notes
    {'temperature': 0.2}
    """
    if not isinstance(encoder, Encoder):
        raise DtypeError(f"encoder got {type(encoder).__name__}, expected an Encoder: save state() with numpy.savez")
    if not isinstance(path, str | Path):
        raise DtypeError(f"path got {type(path).__name__}, expected the name of a file")
    if notes is not None and not isinstance(notes, dict):
        raise DtypeError(f"notes got {type(notes).__name__}, expected a dictionary of what JSON can hold")
    _check_can_be_loaded(encoder)
    try:
        header = json.dumps({"schema": SCHEMA, "recipe": encoder.recipe, "notes": notes or {}})
    except (TypeError, ValueError) as error:
        raise DtypeError(f"notes cannot be written as JSON ({error}): use text, numbers, lists and dicts") from None
    with atomic(path) as stream:
        arrays: dict[str, Any] = {"header": np.array(header), **encoder.state()}
        np.savez(stream, **arrays)


def _check_can_be_loaded(encoder: Encoder) -> None:
    """Does the recipe build an encoder whose state is like this one's? Better asked now than when it is needed."""
    try:
        build(encoder.recipe, rng=np.random.default_rng(0)).load_state(encoder.state())
    except HyperconError as error:
        raise InputError(
            f"the encoder could not be loaded again, for its recipe does not build it ({error}): keep its weights with "
            f"numpy.savez(path, **encoder.state()), and give them back to an encoder made by your own code "
            f"with load_state"
        ) from None


def load_encoder(path: str | Path) -> tuple[Encoder, dict[str, Any]]:
    """Read what `save_encoder` wrote.

    Returns
    -------
    encoder : Encoder
        In evaluation mode, on the CPU.
    notes : dict

    Raises
    ------
    DataError
        The file is missing, damaged, or no encoder of this version.
    """
    if not isinstance(path, str | Path):
        raise DtypeError(f"path got {type(path).__name__}, expected the name of a file")
    arrays = read_arrays(path, "it is cut short or damaged, or was never a saved encoder")
    try:
        header = json.loads(str(arrays.pop("header")))
        if header["schema"] != SCHEMA:
            raise DataError(
                f"{path}: schema {header['schema']}, expected {SCHEMA}: written by another version of hypercon"
            )
        _check_claim(header["recipe"], arrays)
        encoder = build(header["recipe"], rng=np.random.default_rng(0))
        encoder.load_state(arrays)
        notes = header["notes"]
    except DataError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path}: not an encoder saved by hypercon ({error})") from None
    encoder.eval()
    return encoder, notes


def _check_claim(recipe: Any, arrays: dict[str, np.ndarray]) -> None:
    """Refuse a recipe for more weights than the file holds before any are made."""
    claimed = count_weights(recipe) if isinstance(recipe, dict) else 0  # what else it may be, `build` refuses
    held = sum(array.size for array in arrays.values())
    if claimed > held:
        raise InputError(f"its recipe is of {claimed:,} weights or more, and it holds {held:,}")
