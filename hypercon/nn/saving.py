"""Encoders as files: the weights and a JSON description, in one ``.npz`` or, to exchange, one ``.safetensors``.

Nothing is unpickled. An ``.npz`` has sums over its members; a ``.safetensors`` has none of its own, so what is written
here carries one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import DataError, DtypeError, HyperconError, InputError
from hypercon.files import atomic, checksum_by_name, read_arrays, write_arrays
from hypercon.nn.encoders import Encoder, build, count_weights
from hypercon.nn.layers import Module, check_module

SCHEMA = 1
CHECKPOINT = "hypercon training"  # the other kind of file with weights and a header: what hypercon.training writes
_EXCHANGED = ".safetensors"


def save_encoder(path: str | Path, encoder: Encoder, notes: dict[str, Any] | None = None) -> None:
    """Write an encoder to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        A name that ends in ``.safetensors`` makes a file of that kind, for which the package of that name must be
        installed; any other makes an ``.npz``.
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
    _check_path(path)
    if notes is not None and not isinstance(notes, dict):
        raise DtypeError(f"notes got {type(notes).__name__}, expected a dictionary of what JSON can hold")
    _check_can_be_loaded(encoder)
    try:
        header = json.dumps({"schema": SCHEMA, "recipe": encoder.recipe, "notes": notes or {}})
    except (TypeError, ValueError) as error:
        raise DtypeError(f"notes cannot be written as JSON ({error}): use text, numbers, lists and dicts") from None
    _write(path, encoder.state(), header)


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

    Parameters
    ----------
    path : path-like
        Read as the kind of file that its name says, as in `save_encoder`.

    Returns
    -------
    encoder : Encoder
        In evaluation mode, on the CPU.
    notes : dict

    Raises
    ------
    DataError
        The file is missing, damaged, or no encoder of this version.
    InputError
        It is a ``.safetensors``, and that package is not installed.
    """
    _check_path(path)
    arrays, told = _read(path, "it is cut short or damaged, or was never a saved encoder")
    try:
        if told is None:
            raise ValueError("it has weights and no description: load_weights gives them to an encoder of yours")
        header = json.loads(told)
        if missing := {"schema", "recipe", "notes"} - header.keys():
            raise DataError(f"{path}: not an encoder saved by hypercon, for {_what_it_is(header, missing)}")
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


def _what_it_is(header: dict[str, Any], missing: set[str]) -> str:
    if header.get("kind") == CHECKPOINT:
        return "it is a checkpoint of a training: the encoder is in encoder.npz, written when hypercon train ends"
    return f"its description has no {' and no '.join(sorted(missing))}"


def _check_claim(recipe: Any, arrays: dict[str, np.ndarray]) -> None:
    """Refuse a recipe for more weights than the file holds before any are made."""
    claimed = count_weights(recipe) if isinstance(recipe, dict) else 0  # what else it may be, `build` refuses
    held = sum(array.size for array in arrays.values())
    if claimed > held:
        raise InputError(f"its recipe is of {claimed:,} weights or more, and it holds {held:,}")


# --- weights alone


def save_weights(path: str | Path, module: Module) -> None:
    """Write the state of any module to a file, whole or not at all, to be given back by `load_weights`.

    Parameters
    ----------
    path : path-like
        As in `save_encoder`.
    module : Module

    Raises
    ------
    InputError, DtypeError
        The folder cannot be written to, or ``module`` is none.

    Examples
    --------
    >>> import tempfile
    >>> from hypercon.nn import Linear
    >>> one, other = (Linear(3, 2, rng=np.random.default_rng(seed)) for seed in (0, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(f"{folder}/weights.npz", one)
    ...     load_weights(f"{folder}/weights.npz", other)
    >>> bool((one.weight.data == other.weight.data).all())
    True
    """
    _check_path(path)
    _write(path, check_module(module, "module").state(), None)


def load_weights(path: str | Path, module: Module) -> None:
    """Give a module the state in a file: names, shapes and dtypes must agree, or nothing is changed.

    Parameters
    ----------
    path : path-like
        What `save_weights` or `save_encoder` wrote, or a ``.safetensors`` from elsewhere with the names of
        ``module.state()``. A `Linear` here has its weight as (inputs, outputs), the transpose of PyTorch's.
    module : Module

    Raises
    ------
    DataError
        The file is missing or damaged, or holds the state of another module.
    DtypeError
        ``module`` is none.
    InputError
        It is a ``.safetensors``, and that package is not installed.
    """
    _check_path(path)
    module = check_module(module, "module")
    arrays, _ = _read(path, "it is cut short or damaged, or never held weights")
    try:
        module.load_state(arrays)
    except InputError as error:
        raise DataError(f"{path}: not the weights of this module ({error})") from None


# --- the two kinds of files


def _check_path(path: Any) -> None:
    if not isinstance(path, str | Path):
        raise DtypeError(f"path got {type(path).__name__}, expected the name of a file")


def _write(path: str | Path, arrays: dict[str, np.ndarray], header: str | None) -> None:
    told = {} if header is None else {"header": header}
    if Path(path).suffix != _EXCHANGED:
        write_arrays(path, {name: np.array(text) for name, text in told.items()} | arrays)
        return
    content = _safetensors("numpy").save(arrays, metadata=told | {"checksum": _sum_of(arrays, header)})
    with atomic(path) as stream:
        stream.write(content)


def _read(path: str | Path, remedy: str) -> tuple[dict[str, np.ndarray], str | None]:
    """The arrays of a file, and the header if it has one."""
    if Path(path).suffix != _EXCHANGED:
        arrays = read_arrays(path, remedy)
        return arrays, str(arrays.pop("header")) if "header" in arrays else None
    package = _safetensors()
    try:
        with package.safe_open(path, framework="numpy") as stream:
            told = stream.metadata() or {}
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - it is no dictionary
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (package.SafetensorError, OSError, ValueError, TypeError, LookupError, MemoryError, AttributeError) as error:
        raise DataError(f"{path}: not a {_EXCHANGED} file that NumPy can hold ({error}); {remedy}") from None
    header = told.get("header")
    if told.get("checksum", expected := _sum_of(arrays, header)) != expected:
        raise DataError(f"{path}: its checksum is of other content; {remedy}")
    return arrays, header


def _sum_of(arrays: dict[str, np.ndarray], header: str | None) -> str:
    return checksum_by_name(arrays | {"": np.array(header or "")})


def _safetensors(part: str | None = None) -> Any:
    import importlib

    try:
        return importlib.import_module("safetensors" + (f".{part}" if part else ""))
    except ImportError:
        raise InputError(
            f"a {_EXCHANGED} file needs the package safetensors, which is not installed: pip install safetensors, or "
            f"choose a name that ends in .npz"
        ) from None
