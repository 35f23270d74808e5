"""A limit of time for Python code that runs in this process, and in this thread."""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any


class TimeUpError(BaseException):
    """Raised in code that runs too long. Not an Exception: a loop with ``except Exception`` in it shall end too."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeUpError` in Python code that runs longer.

    By a trace function, which is there on every system, in every thread, and without threads in a browser. It sees
    every step, and so every loop but one that never leaves a function written in C. It is gone once it has raised, so
    for a while it waits for a step at which no ``except:`` of the function's would swallow what it raises.
    """
    until, until_waited = time.process_time() + seconds, time.monotonic() + 2 * seconds
    patience, steps, over = 10_000, 0, False

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal patience, steps, over
        frame.f_trace_opcodes = True  # a loop on one line has no further lines to see
        steps += 1
        if not over and (event != "opcode" or steps % 16 == 0):  # asking for the time takes longer than a step
            over = time.process_time() > until or time.monotonic() > until_waited
        if over:
            patience -= 1
            if patience < 0 or not any(start <= frame.f_lasti < end for start, end in _guarded(frame.f_code)):
                raise TimeUpError
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


@functools.cache
def _guarded(code: CodeType) -> tuple[tuple[int, int], ...]:
    """From where to where, in bytes, a try or a with is in force."""
    entries: Any = getattr(dis.Bytecode(code), "exception_entries", ())  # in no stub file
    return tuple((entry.start, entry.end) for entry in entries)
