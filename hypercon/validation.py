"""What counts as good input to losses and metrics, and what is said about the rest.

Every check returns what it was given in usable form, or raises an error that names the argument.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, reshape
from hypercon.backend import Array, check_one_device, is_array, read, to_host, xp
from hypercon.errors import DtypeError, InputError


def check_positive(value: Any, name: str, example: str = "2") -> float:
    """A positive finite number, as a float."""
    number = _as_number(value, name, f"a positive number such as {example}")
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} got {number:g}, expected a positive finite number such as {example}")
    return number


def check_number(value: Any, name: str) -> Any:
    """A finite number, or a tensor holding one."""
    number = _as_number(value, name, "a number")
    if not math.isfinite(number):
        raise InputError(f"{name} got {number:g}, expected a finite number")
    return value if isinstance(value, Tensor) else number


def check_whole(value: Any, name: str, least: int, why: str = "") -> int:
    """A whole number of at least ``least``; ``why`` it cannot be less is added to the error."""
    reason = f": {why}" if why else ""
    number = _as_number(value, name, f"a whole number from {least}{reason}")
    if number != int(number) if math.isfinite(number) else True:
        raise InputError(f"{name} got {number:g}, expected a whole number from {least}{reason}")
    if number < least:
        raise InputError(f"{name} got {int(number)}, expected at least {least}{reason}")
    return int(number)


def check_generator(rng: Any) -> np.random.Generator:
    """A NumPy random generator, which every random choice is drawn from."""
    if not isinstance(rng, np.random.Generator):
        raise DtypeError(f"rng got {type(rng).__name__}, expected a generator: numpy.random.default_rng(0)")
    return rng


def _as_number(value: Any, name: str, expected: str) -> float:
    """A plain number, or an array or tensor that holds one."""
    raw = value.data if isinstance(value, Tensor) else value
    try:
        if isinstance(raw, str | bytes):  # float() would read "0.2" as a number
            raise TypeError
        return float(read(raw) if is_array(raw) else raw)
    except (TypeError, ValueError, OverflowError):
        shown = f"shape {raw.shape}" if hasattr(raw, "shape") else repr(raw)[:60]
        raise DtypeError(f"{name} got {shown}, expected {expected}") from None


def check_temperature(temperature: Any, name: str = "temperature") -> Any:
    """A positive finite number, or a tensor holding one."""
    number = check_positive(temperature, name, "0.2")
    return reshape(temperature, ()) if isinstance(temperature, Tensor) else number


def check_memory(memory: Any) -> Any:
    """``"auto"``, or a number of bytes."""
    if isinstance(memory, str):
        if memory != "auto":
            raise InputError(f'memory got {memory!r}, expected "auto" or a number of bytes such as 2**28')
        return memory
    return check_whole(memory, "memory", least=1, why='a number of bytes such as 2**28, or "auto"')


def check_embeddings(z: Any, name: str, *, directions: bool = True, least: int = 2) -> Any:
    """At least ``least`` rows of finite floats, (N, D); with ``directions`` none of them zero."""
    if not isinstance(z, Tensor):
        z = _as_array(z, name)
        if z.dtype.kind in "biu":
            z = z.astype(np.float64)
    data = z.data if isinstance(z, Tensor) else z
    if data.dtype.kind != "f":
        raise DtypeError(f"{name} got an array of {data.dtype}, expected floats: convert it with astype(float)")
    if data.ndim != 2:
        raise InputError(f"{name} got shape {data.shape}, expected (N, D): one embedding a row")
    if data.shape[0] < least:
        reason = ": one embedding alone has no pair" if least == 2 else ""
        raise InputError(f"{name} got {data.shape[0]} row(s), expected at least {least}{reason}")
    if data.shape[1] < 1:
        raise InputError(f"{name} got shape {data.shape}, expected at least one dimension a row")
    m = xp(data)
    squares = m.einsum("ij,ij->i", data, data)
    usual = m.isfinite(squares) & (squares > 0) if directions else m.isfinite(squares)
    if not read(usual.all()):  # the only time that a good batch makes Python wait for a GPU
        finite = m.isfinite(data).all(axis=1)  # a square may overflow or vanish where its root does not
        sound = finite & data.astype(bool).any(axis=1) if directions else finite
        _refuse_rows(~finite, name, "is not finite: look for a learning rate too large, or a log of 0")
        _refuse_rows(
            ~sound, name, "is all zeros and has no direction: an encoder ending in ReLU does this; end it in a Linear"
        )
    return z


def check_views(z1: Any, z2: Any, *, directions: bool) -> tuple[Any, Any]:
    """Two views of one batch: embeddings of one shape on one device."""
    z1 = check_embeddings(z1, "z1", directions=directions)
    z2 = check_embeddings(z2, "z2", directions=directions)
    if z1.shape != z2.shape:
        raise InputError(
            f"z1 and z2 got shapes {z1.shape} and {z2.shape}, expected one shape: row i of both is the same instance"
        )
    check_one_device("the loss", [z.data if isinstance(z, Tensor) else z for z in (z1, z2)])
    return z1, z2


def check_labels(labels: Any, count: int, name: str = "labels") -> np.ndarray:
    """One whole number for each of ``count`` rows, as a NumPy array."""
    array = to_host(labels.data if isinstance(labels, Tensor) else _as_array(labels, name))
    if array.shape != (count,):
        raise InputError(f"{name} got shape {array.shape}, expected ({count},): one label for each embedding")
    if array.dtype.kind not in "biu":
        raise DtypeError(f"{name} got {array.dtype}, expected whole numbers: number the classes 0, 1, 2, ...")
    return array


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DtypeError(f"{name} got {type(value).__name__}, expected True or False")
    return bool(value)


def _as_array(value: Any, name: str) -> Array:
    try:
        return value if is_array(value) else np.asarray(value)
    except (ValueError, TypeError):
        raise InputError(f"{name} got a {type(value).__name__} that is no regular array of numbers") from None


def _refuse_rows(bad: Array, name: str, what: str) -> None:
    if read(bad.any()):
        raise InputError(f"{name}: row {read(bad.argmax())} {what} ({read(bad.sum())} of {len(bad)} rows)")
