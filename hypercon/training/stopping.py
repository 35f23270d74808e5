"""An end that is asked for, taken between two steps instead of inside one, so that it leaves no half update."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PATIENCE = 2.0  # seconds


class Stop:
    """Whether an end was asked for, and by which signal."""

    asked: int | None = None
    since = 0.0

    def leave(self) -> NoReturn:
        """End as the signal would have."""
        if self.asked == signal.SIGTERM:
            raise SystemExit(128 + self.asked)
        raise KeyboardInterrupt


@contextmanager
def after_the_step() -> Iterator[Stop]:
    """Hold Ctrl-C, and the signal by which batch systems end a job, back until the caller asks; one that comes
    `PATIENCE` later comes through at once.

    What comes sooner is the same wish again, a key that bounced or a group of processes told twice: to give in to it
    would lose the checkpoint that is being written.

    Only the main thread gets signals, and only where nobody else has set what they do.
    """
    stop = Stop()
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    main = threading.current_thread() is threading.main_thread()
    ours = {number: handler for number, handler in usual.items() if main and signal.getsignal(number) is handler}

    def note(number: int, frame: FrameType | None) -> None:
        if stop.asked is None:
            stop.asked, stop.since = number, time.monotonic()
        elif time.monotonic() - stop.since >= PATIENCE:
            stop.asked = number
            stop.leave()

    def restore() -> None:
        for number, handler in ours.items():
            signal.signal(number, handler)

    for number in ours:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()
