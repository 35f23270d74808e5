"""Ctrl-C between two steps instead of inside one, so that what it leaves is a training and not half an update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether an interrupt has come."""

    asked = False


@contextmanager
def after_the_step() -> Iterator[Stop]:
    """Hold an interrupt back until the caller asks for it; a second one comes through at once.

    Only the main thread gets interrupts, and only where nobody else has set what they do.
    """
    stop = Stop()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
