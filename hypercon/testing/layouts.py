"""The same numbers in other memory: what an operation must not notice."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.errors import InputError

LAYOUTS = ("C", "F", "transposed", "strided", "reversed", "broadcast")


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The numbers of ``x`` in the same order of axes, laid out otherwise in memory.

    Parameters
    ----------
    x : numpy.ndarray
    layout : str
        One of ``LAYOUTS``. ``"broadcast"`` is read-only, with stride 0 on axes of size 1.

    Returns
    -------
    numpy.ndarray
        Equal to ``x``.

    Raises
    ------
    InputError
        No such layout.

    Examples
    --------
    >>> laid_out(np.arange(3.0), "reversed").strides
    (-8,)
    """
    if layout == "C":
        return np.array(x, order="C")
    if layout == "F":
        return np.array(x, order="F")
    if layout == "transposed":  # the first two axes are swapped in memory, which differs from "F" from 3 axes on
        return np.array(x.swapaxes(0, 1), order="C").swapaxes(0, 1) if x.ndim > 1 else x.copy()
    if layout == "strided":
        holder = np.full(tuple(2 * n for n in x.shape), np.nan, x.dtype)  # who reads between the strides gets nan
        every_second: Any = (*(slice(None, None, 2) for _ in x.shape), ...)  # the dots make a 0-d view, not a scalar
        view = holder[every_second]
        view[...] = x
        return view
    if layout == "reversed":
        backwards = tuple(slice(None, None, -1) for _ in x.shape)
        return x[backwards].copy()[backwards] if x.ndim else x.copy()
    if layout == "broadcast":
        return np.broadcast_to(x.copy(), x.shape)
    raise InputError(f"layout got {layout!r}, expected one of {', '.join(LAYOUTS)}")
