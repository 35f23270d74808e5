"""Which array library computes: NumPy on the CPU, CuPy on a GPU.

This is the only file that knows. Everything above it asks ``xp(array)`` for the library that an array belongs to and
calls NumPy's names on the answer, from the closed lists below. CuPy is imported when a CUDA device is asked for and
never before. Nothing here moves data between devices unasked. A third library may register itself: the strict stand-in
of `hypercon.testing.strict`, on which code written for a GPU is tested without one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.errors import DeviceError, DeviceMixError

Array = Any  # an ndarray of NumPy or of CuPy: the two have no common type

_FUNCTIONS = """
    abs add arange argsort array asarray ascontiguousarray broadcast_to clip concatenate einsum empty exp eye isfinite
    log log1p max maximum min minimum moveaxis ones prod result_type roll sign sort sqrt sum tanh where zeros zeros_like
"""
_METHODS = "all any argmax astype mean reshape sum transpose"

# what may be called on xp(array): names that NumPy and CuPy both have, with the same arguments in the same places
FUNCTIONS = frozenset(_FUNCTIONS.split())
# what may be called on an array itself, beside Python's operators
METHODS = frozenset(_METHODS.split())

_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")
_stand_ins: dict[str, tuple[Any, Callable[[np.ndarray], Array]]] = {}  # by device: its library, and the way onto it


def register(device: str, library: Any, put: Callable[[np.ndarray], Array]) -> None:
    """Make ``device`` a name that everything here knows.

    ``library`` has the names of `FUNCTIONS` and its array class as ``ndarray``; an array has ``device``, the name, and
    ``get()``, which gives its values to the host. ``put`` copies a NumPy array onto the device.
    """
    _stand_ins[device] = library, put


def _others() -> list[Any]:
    """The libraries beside NumPy that an array may be of: without CuPy loaded, none is CuPy's."""
    libraries = [library for library, _ in _stand_ins.values()]
    return [sys.modules["cupy"], *libraries] if "cupy" in sys.modules else libraries


def xp(*values: Any) -> Any:
    """The array library of the first array among ``values``; NumPy for plain numbers."""
    if "cupy" in sys.modules or _stand_ins:
        for library in _others():
            if any(isinstance(value, library.ndarray) for value in values):
                return library
    return np


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array of a known library (NumPy's scalars are not)."""
    if isinstance(value, np.ndarray):
        return True
    return ("cupy" in sys.modules or bool(_stand_ins)) and any(isinstance(value, m.ndarray) for m in _others())


def device_of(array: Array) -> str:
    """``"cpu"`` or ``"cuda:i"``: where an array lies."""
    if isinstance(array, np.ndarray):
        return "cpu"
    return array.device if isinstance(array.device, str) else f"cuda:{array.device.id}"


def check_one_device(operation: str, arrays: list[Array]) -> None:
    """Refuse an operation whose arrays lie on several devices, before the array library answers in its own words."""
    devices = [device_of(array) for array in arrays]
    if len(set(devices)) > 1:
        raise DeviceMixError(
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
    if isinstance(device, str) and device in _stand_ins:
        return device
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise DeviceError(f'device got {device!r}, expected "cpu", "cuda", "cuda:1" or "auto"')
    if device == "cpu":
        return "cpu"
    count, reason = count_gpus()
    index = int(device.partition(":")[2] or 0)
    if index < count:
        return f"cuda:{index}"
    if device == "auto":
        return "cpu"
    raise DeviceError(f'device got "{device}", but {reason}: use "cpu", or "auto" for a GPU only where one answers')


def count_gpus() -> tuple[int, str]:
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
    if device in _stand_ins:
        library, put = _stand_ins[device]
        return array if isinstance(array, library.ndarray) else put(to_host(array))
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2] or 0)):
        return cupy.asarray(array)


def index_beside(array: Array, index: Any) -> Any:
    """``index`` with its lists and NumPy arrays on the device of ``array``: positions follow what they point into."""
    if xp(array) is np:
        return index
    if isinstance(index, tuple):
        return tuple(index_beside(array, part) for part in index)
    return to_device(index, device_of(array)) if isinstance(index, list | np.ndarray) else index


def to_host(array: Any) -> np.ndarray:
    """``array`` as a NumPy array."""
    if isinstance(array, np.ndarray):
        return array
    if is_array(array):
        return array.get()
    return np.asarray(array)


def read(array: Any) -> Any:
    """The one value of an array as a Python number.

    A GPU computes while Python goes on; here Python waits for it. So every such wait is a call of this function, and
    none is hidden in an ``if``.

    Examples
    --------
    >>> read(np.array([1.5]))
    1.5
    """
    return to_host(array).item()
