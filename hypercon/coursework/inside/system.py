"""The calls to the operating system that Python has no function for. A call that is not there fails as others do."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """A function of the C library, for which -1 is a failure."""
    function = getattr(_libc, name, None)
    if function is None:
        raise OSError(0, f"no {name} on this system")
    result = int(function(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: Any) -> int:
    """A call by its number, for what the C library has no name for. Whole numbers go as the machine's long."""
    return call("syscall", *(ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments)))


def prctl(option: int, *values: Any) -> bool:
    """Did the kernel do it?"""
    padded = (*values, 0, 0, 0, 0)[:4]
    try:
        call("prctl", option, *(ctypes.c_ulong(v) if isinstance(v, int) else v for v in padded))
    except OSError:
        return False
    return True
