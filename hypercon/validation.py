"""What counts as good input to losses, metrics, layers and training, and what is said about the rest.

Every check returns what it was given in usable form, or raises an error that names the argument.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.autograd import Tensor
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
    if isinstance(value, int | np.integer) and least <= value < 2**63:
        return int(value)  # exactly: a float holds only 53 bits of it
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
        z = as_array(z, name)
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


def check_views(z1: Any, z2: Any, *, directions: bool, least: int = 2) -> tuple[Any, Any]:
    """Two views of one batch: embeddings of one shape on one device."""
    z1 = check_embeddings(z1, "z1", directions=directions, least=least)
    z2 = check_embeddings(z2, "z2", directions=directions, least=least)
    if z1.shape != z2.shape:
        raise InputError(
            f"z1 and z2 got shapes {z1.shape} and {z2.shape}, expected one shape: row i of both is the same instance"
        )
    check_one_device("the loss", [z.data if isinstance(z, Tensor) else z for z in (z1, z2)])
    return z1, z2


def check_labels(labels: Any, count: int, name: str = "labels") -> np.ndarray:
    """One whole number for each of ``count`` rows, as a NumPy array."""
    array = to_host(labels.data if isinstance(labels, Tensor) else as_array(labels, name))
    if array.shape != (count,):
        raise InputError(f"{name} got shape {array.shape}, expected ({count},): one label for each embedding")
    if array.dtype.kind not in "biu":
        remedy = f", as np.unique({name}, return_inverse=True)[1] does" if array.dtype.kind in "USO" else ""
        raise DtypeError(f"{name} got {array.dtype}, expected whole numbers: number the classes 0, 1, 2, ...{remedy}")
    return array


def check_images(images: Any, name: str = "images") -> np.ndarray:
    """A batch of images, (N, C, H, W) floats on the host. Their values are not looked at: `check_pixels` does."""
    if hasattr(images, "images"):
        raise DtypeError(f"{name} got a {type(images).__name__}, expected an array: pass its .images")
    images = images.data if isinstance(images, Tensor) else images
    if not is_array(images):
        raise DtypeError(f"{name} got {type(images).__name__}, expected an array (N, C, H, W) of floats in [0, 1]")
    if images.dtype.kind != "f":
        raise DtypeError(f"{name} got {images.dtype}, expected floats in [0, 1]: divide by the brightest value")
    if images.ndim != 4:
        one = ": one image alone is images[None]" if images.ndim == 3 and images.shape[0] in (1, 3) else ""
        raise InputError(f"{name} got shape {images.shape}, expected (N, C, H, W){one}")
    if 0 in images.shape:
        raise InputError(f"{name} got shape {images.shape}, expected at least one image with at least one pixel")
    if images.shape[3] in (1, 3) and min(images.shape[1:3]) > 4:
        raise InputError(
            f"{name} got shape {images.shape}, channels last, expected (N, C, H, W): use images.transpose(0, 3, 1, 2)"
        )
    return to_host(images)


def check_pixels(images: np.ndarray, name: str = "images") -> None:
    """Every pixel a number from 0 to 1, as augmentations and encoders take them."""
    lowest, highest = np.min(images), np.max(images)  # either is nan where a pixel is
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        _refuse_rows(~np.isfinite(images).all(axis=(1, 2, 3)), name, "has pixels that are nan or infinite")
    if lowest < 0 or highest > 1:
        remedy = "divide them by 255" if lowest >= 0 and 1 < highest <= 255 else "rescale them"
        raise InputError(f"{name} range from {lowest:g} to {highest:g}, expected floats from 0 to 1: {remedy}")


def check_sizes(values: Any, name: str, least: int = 1, example: str = "(256, 256)") -> tuple[int, ...]:
    """At least one whole number of at least ``least``."""
    if not (isinstance(values, list | tuple) or (is_array(values) and values.ndim == 1)):
        raise DtypeError(f"{name} got {values!r}, expected whole numbers such as {example}")
    if not len(values):
        raise InputError(f"{name} got (), expected at least one positive whole number")
    return tuple(check_whole(value, name, least=least) for value in values)


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DtypeError(f"{name} got {type(value).__name__}, expected True or False")
    return bool(value)


def as_array(value: Any, name: str) -> Array:
    """Anything that NumPy takes for numbers, as an array; a device's array as it is."""
    if is_array(value):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (ValueError, TypeError):
        raise InputError(f"{name} got a {type(value).__name__} that is no regular array of numbers") from None
    except (RuntimeError, BufferError) as error:  # another library's array that is on a GPU, or records gradients
        raise InputError(
            f"{name} got a {type(value).__name__} that does not turn into an array ({error}): convert it first"
        ) from None


def _refuse_rows(bad: Array, name: str, what: str) -> None:
    if read(bad.any()):
        raise InputError(f"{name}: row {read(bad.argmax())} {what} ({read(bad.sum())} of {len(bad)} rows)")
