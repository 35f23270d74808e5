"""Encoders as files: one ``.npz`` with the weights and a JSON description, read without unpickling anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import DataError, HyperconError
from hypercon.files import atomic, read_arrays
from hypercon.nn.encoders import Encoder, build

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
        The folder cannot be written to.
    """
    header = json.dumps({"schema": SCHEMA, "recipe": encoder.recipe, "notes": notes or {}})
    with atomic(path) as stream:
        arrays: dict[str, Any] = {"header": np.array(header), **encoder.state()}
        np.savez(stream, **arrays)


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
    arrays = read_arrays(path)
    try:
        header = json.loads(str(arrays.pop("header")))
        if header["schema"] != SCHEMA:
            raise DataError(
                f"{path}: schema {header['schema']}, expected {SCHEMA}: written by another version of hypercon"
            )
        encoder = build(header["recipe"], rng=np.random.default_rng(0))
        encoder.load_state(arrays)
        notes = header["notes"]
    except DataError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, HyperconError) as error:
        raise DataError(f"{path}: not an encoder saved by hypercon ({error})") from None
    encoder.eval()
    return encoder, notes
