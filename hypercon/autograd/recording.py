"""Whether operations leave a graph behind: a setting of each thread or task, which the end of a block restores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_recording: ContextVar[bool] = ContextVar("recording", default=True)
is_recording = _recording.get
"""Whether operations leave nodes behind: not inside `no_grad`."""


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording: values made inside need no gradient. Also a decorator.

    Examples
    --------
    >>> import hypercon as hc
    >>> x = hc.tensor([1.0, 2.0], requires_grad=True)
    >>> with hc.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    with set_recording(False):
        yield


@contextmanager
def set_recording(on: bool) -> Iterator[None]:
    """Record, or do not, until the block ends."""
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)
