"""Which array library computes: NumPy on the CPU, CuPy on a GPU.

This is the only file that knows. Everything above it asks ``xp(array)`` for the library that an array belongs to and
calls NumPy's names on the answer. CuPy is imported when a CUDA device is asked for and never before. Nothing here moves
data between devices unasked.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import numpy as np

from hypercon.errors import DeviceError

Array = Any  # an ndarray of NumPy or of CuPy: the two have no common type

_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")


def xp(*values: Any) -> ModuleType:
    """The array library of the first array among ``values``; NumPy for plain numbers."""
    if "cupy" in sys.modules:  # without CuPy loaded no value can be one of its arrays
        cupy = sys.modules["cupy"]
        if any(isinstance(value, cupy.ndarray) for value in values):
            return cupy
    return np


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array of a known library (NumPy's scalars are not)."""
    if isinstance(value, np.ndarray):
        return True
    return "cupy" in sys.modules and isinstance(value, sys.modules["cupy"].ndarray)


def device_of(array: Array) -> str:
    """``"cpu"`` or ``"cuda:i"``: where an array lies."""
    return "cpu" if isinstance(array, np.ndarray) else f"cuda:{array.device.id}"


def check_one_device(operation: str, arrays: list[Array]) -> None:
    """Refuse an operation whose arrays lie on several devices, before the array library answers in its own words."""
    devices = [device_of(array) for array in arrays]
    if len(set(devices)) > 1:
        raise DeviceError(
            f"{operation} got arrays on {' and '.join(sorted(set(devices)))}, expected all on one device: "
            f'move them first, for example tensor.to("{devices[0]}")'
        )


def resolve_device(device: str) -> str:
    """The device that a name stands for, made sure of.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: the first GPU if one answers, else the CPU.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda:i"``.

    Raises
    ------
    DeviceError
        The name is none of these, or no such GPU answers.

    Examples
    --------
    >>> resolve_device("cpu")
    'cpu'
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise DeviceError(f'device got {device!r}, expected "cpu", "cuda", "cuda:1" or "auto"')
    if device == "cpu":
        return "cpu"
    count, reason = _count_gpus()
    index = int(device.partition(":")[2] or 0)
    if index < count:
        return f"cuda:{index}"
    if device == "auto":
        return "cpu"
    raise DeviceError(f'device got "{device}", but {reason}: use --device cpu, or install CuPy and a CUDA driver')


def _count_gpus() -> tuple[int, str]:
    """How many GPUs CuPy reaches, and in words why there are no more."""
    try:
        import cupy
    except ImportError:
        return 0, 'CuPy is not installed (pip install "hypercon[cuda12]" or "hypercon[cuda13]")'
    try:  # CuPy imports without a driver and fails at the first call, with an error class of its own
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return 0, f"CUDA does not answer ({error})"
    return count, f"this machine has {count} CUDA device(s)"


def to_device(array: Any, device: str) -> Array:
    """A copy of ``array`` on ``device``, or the array itself where it lies there already."""
    if device == "cpu":
        return to_host(array)
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2] or 0)):
        return cupy.asarray(array)


def to_host(array: Any) -> np.ndarray:
    """``array`` as a NumPy array."""
    if isinstance(array, np.ndarray):
        return array
    if is_array(array):
        return array.get()
    return np.asarray(array)
