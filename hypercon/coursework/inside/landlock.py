"""The fence around files, which needs no right: a process tells the kernel what it may read and where it may write."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable

from .system import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every machine
_READ, _READ_FILE, _LIST = 0b1101, 0b101, 0b1000  # execute and read; for folders also list
_EVERYTHING = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)  # what can be forbidden, by the kernel's version of this wall
_VERSION, _BENEATH = 1, 1


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64),)


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def allow_only(readable: Iterable[str], listable: Iterable[str], writable: str) -> bool:
    """Of all files, leave this process ``readable`` ones, the names in ``listable`` folders, and ``writable``, which is
    a folder. Does the fence stand?"""
    try:
        version = min(syscall(_CREATE, None, 0, _VERSION), len(_EVERYTHING) - 1)
        everything = _EVERYTHING[version]
        rules = syscall(_CREATE, ctypes.byref(_Rules(everything)), ctypes.sizeof(_Rules), 0)
        for path in readable:
            with contextlib.suppress(FileNotFoundError):
                _add(rules, path, _READ if os.path.isdir(path) else _READ_FILE)  # noqa: PTH112
        for path in listable:
            _add(rules, path, _LIST)
        _add(rules, writable, everything)
        syscall(_RESTRICT, rules, 0)
        os.close(rules)
    except OSError:
        return False
    return True


def _add(rules: int, path: str, allowed: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        syscall(_ADD, rules, _BENEATH, ctypes.byref(_Rule(allowed, handle)), 0)
    finally:
        os.close(handle)
