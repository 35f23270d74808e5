"""What may be passed to an operation, and what is said of the rest.

NumPy notices most mistakes, but speaks of its own functions. What an operation raises names the operation, the
arguments it got, and what to do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from hypercon.backend import Array, is_array
from hypercon.errors import DtypeError, HyperconError, InputError

F = TypeVar("F", bound=Callable[..., Any])

NUMPYS = (
    ValueError,
    TypeError,
    IndexError,
    ZeroDivisionError,
    OverflowError,
)  # what NumPy and Python raise of bad calls


def as_operand(name: str, x: Any) -> Any:
    """An argument that is no tensor and no plain number, in the form that the forward of operation ``name`` takes."""
    if isinstance(x, list | tuple):
        if any(hasattr(part, "requires_grad") for part in x):
            raise DtypeError(f"{name}() got a {type(x).__name__} that holds tensors: join them with hypercon.stack")
        try:
            x = np.asarray(x)
        except ValueError:
            raise InputError(
                f"{name}() got a {type(x).__name__} of unequal rows, expected numbers in a regular shape"
            ) from None
    if isinstance(x, int | float | np.number | np.bool_):
        return x
    if not is_array(x):
        raise DtypeError(f"{name}() got {type(x).__name__}, expected a tensor, an array or a number")
    if x.dtype.kind not in "biuf":
        raise DtypeError(f"{name}() got an array of {x.dtype}, expected real numbers: convert it with astype(float)")
    return x


def as_float(raw: Array) -> Array:
    """``raw`` itself; an error unless its numbers have derivatives."""
    if raw.dtype.kind != "f":
        raise DtypeError(
            f"a gradient was asked by an array of {raw.dtype}, expected floats: convert it with astype(float)"
        )
    return raw


def help_on(function: Callable[..., Any]) -> str:
    """Where a caller of ``function`` reads on."""
    room = "hypercon." if function.__module__.startswith("hypercon.") else ""
    return f"see help({room}{function.__name__.strip('_')}) for what it takes"


def explained(
    error: Exception, function: Callable[..., Any], args: Iterable[Any], settings: dict[str, Any]
) -> HyperconError:
    """NumPy's complaint about a call, together with the call that it is about."""
    shown = [f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)[:60] for x in args]
    shown += [f"{key}={value!r}"[:60] for key, value in settings.items()]
    kind = DtypeError if isinstance(error, TypeError) else InputError
    said = str(error).strip()  # NumPy ends some of its sentences with a space
    return kind(f"{function.__name__.strip('_')}({', '.join(shown)}): {said}; {help_on(function)}")


def composed(function: F) -> F:
    """An operation made of others: a list given for ``x`` becomes an array, and complaints name this operation."""
    takes_x = function.__code__.co_varnames[0] == "x"
    name = function.__name__

    @functools.wraps(function)
    def apply(*args: Any, **settings: Any) -> Any:
        if args and takes_x and not hasattr(args[0], "requires_grad"):
            x = as_operand(name, args[0])
            args = (x if is_array(x) else np.asarray(x), *args[1:])
        try:
            return function(*args, **settings)
        except HyperconError:
            raise
        except NUMPYS as error:
            raise explained(error, function, args, settings) from None

    return apply  # type: ignore[return-value]
