"""What Hypothesis draws for tests of operations and losses: structure from the search, values from a seed.

Shapes, axes and memory layouts are drawn, so that a failure shrinks to the smallest structure that fails. Numbers are
not: drawn floats tie, or come so near a kink that differences mislead, in almost every second array. They come from a
generator whose seed is drawn, or from a lattice of evenly spaced numbers, of which no two are equal. Ties, duplicates
and their like are drawn on purpose, with ``edges=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hypercon.errors import InputError
from hypercon.testing.contrastive.cases import EDGES, unit
from hypercon.testing.layouts import LAYOUTS, laid_out

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError as missing:
    raise ImportError(
        'hypercon.testing.strategies needs Hypothesis, which is not installed: pip install "hypercon[test]"'
    ) from missing

Shape = tuple[int, ...]


def shapes(min_dims: int = 0, max_dims: int = 3, *, min_side: int = 1, max_side: int = 4) -> SearchStrategy[Shape]:
    """Shapes of arrays, 0-d and axes of size 1 among them.

    Parameters
    ----------
    min_dims, max_dims : int
        How many axes.
    min_side, max_side : int
        How long an axis; 0 as ``min_side`` allows empty arrays.

    Returns
    -------
    SearchStrategy of tuple of int
        Shrinks to few and short axes.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(shapes(), lambda shape: len(shape) == 2 and shape[1] > 1)
    (1, 2)
    """
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def axes(ndim: int, *, allow_none: bool = True, allow_tuple: bool = True) -> SearchStrategy[Any]:
    """Values of an ``axis`` argument for arrays of ``ndim`` axes: None, an int or a tuple, counted from either end.

    Parameters
    ----------
    ndim : int
    allow_none, allow_tuple : bool, default True
        Whether the operation takes None, and several axes at once. One of both must hold for 0-d arrays.

    Returns
    -------
    SearchStrategy of None, int or tuple of int
        A tuple never names an axis twice.

    Raises
    ------
    InputError
        A 0-d array has no axis, and neither None nor a tuple is allowed.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(axes(3), lambda axis: isinstance(axis, int) and axis < 0)
    -1
    >>> find(axes(2, allow_none=False), lambda axis: isinstance(axis, tuple) and len(axis) == 2)
    (0, 1)
    """
    kinds: list[SearchStrategy[Any]] = [st.none()] if allow_none else []
    if ndim:
        kinds.append(st.integers(-ndim, ndim - 1))
    if allow_tuple:
        distinct = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim) if ndim else st.just([])
        signs = st.lists(st.booleans(), min_size=ndim, max_size=ndim)
        kinds.append(
            st.tuples(distinct, signs).map(
                lambda drawn: tuple(i - ndim if back else i for i, back in zip(drawn[0], drawn[1], strict=False))
            )
        )
    if not kinds:
        raise InputError("axes got ndim 0 with allow_none=False and allow_tuple=False: a 0-d array has no axis")
    return st.one_of(kinds)


@st.composite
def arrays(
    draw: DrawFn,
    shape: SearchStrategy[Shape] | Shape | None = None,
    *,
    values: Literal["lattice", "normal"] = "lattice",
    positive: bool = False,
    low: float = 0.1,
    high: float = 3.0,
    dtype: Any = np.float64,
    layouts: Sequence[str] = LAYOUTS,
    edges: bool = False,
) -> np.ndarray:
    """Arrays in every memory layout, with numbers that tie only on purpose.

    Parameters
    ----------
    shape : SearchStrategy or tuple of int, optional
        Default: `shapes()`.
    values : {"lattice", "normal"}, default "lattice"
        Evenly spaced sizes from ``low`` to ``high`` in a drawn order, so that no two are nearer than
        ``(high - low) / size``; or standard normal numbers.
    positive : bool, default False
        Whether all numbers are positive; otherwise signs are random.
    low, high : float
        Ends of the lattice. At least 0.1 keeps log, division and roots away from their singularities.
    dtype : data-type, default float64
    layouts : sequence of str
        Some of ``"C"``, ``"F"``, ``"transposed"``, ``"strided"``, ``"reversed"`` and ``"broadcast"`` (read-only, with
        stride 0 on axes of size 1).
    edges : bool, default False
        Adds arrays in which a number occurs twice, and arrays that hold a zero.

    Returns
    -------
    SearchStrategy of numpy.ndarray
        Shrinks to a small shape, the layout first in ``layouts``, and an ascending lattice.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(arrays((3,), positive=True), lambda x: True)
    array([0.1 , 1.55, 3.  ])
    >>> find(arrays(), lambda x: not x.flags.writeable).flags.owndata
    False
    """
    size_of = draw(shapes() if shape is None else shape if isinstance(shape, SearchStrategy) else st.just(shape))
    layout = draw(st.sampled_from(list(layouts)))
    rng, plain = _generator(draw)
    size = int(np.prod(size_of))
    if values == "lattice":
        flat = np.linspace(low, high, size)
        flat = flat if plain else rng.permutation(flat)
        if not (plain or positive):
            flat *= rng.choice([-1, 1], size)
    elif values == "normal":
        flat = np.abs(rng.normal(size=size)) if positive else rng.normal(size=size)
    else:
        raise InputError(f"values got {values!r}, expected 'lattice' or 'normal'")
    if edges and size:
        edge = draw(st.sampled_from(["none", "ties", "zeros"]))
        if edge == "ties":
            flat[-1] = flat[0]
        elif edge == "zeros":
            flat[size // 2] = 0.0
    return laid_out(flat.reshape(size_of).astype(dtype), layout)


@st.composite
def embeddings(
    draw: DrawFn,
    *,
    min_rows: int = 2,
    max_rows: int = 6,
    min_dims: int = 2,
    max_dims: int = 5,
    normalize: bool = False,
    dtype: Any = np.float64,
    edges: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Two views of a batch, (N, D) each: row i of both is the same instance.

    Parameters
    ----------
    min_rows, max_rows : int
        N; at least 2.
    min_dims, max_dims : int
        D.
    normalize : bool, default False
        Whether rows are unit vectors.
    dtype : data-type, default float64
    edges : bool, default False
        Adds batches with two candidates equally similar to an anchor, an instance twice, a negative that is the
        anchor's antipode, a single negative, and views that are equal.

    Returns
    -------
    SearchStrategy of (numpy.ndarray, numpy.ndarray)
        Shrinks to few rows, few dimensions and no edge.

    Examples
    --------
    >>> from hypothesis import find
    >>> z1, z2 = find(embeddings(edges=True), lambda views: (views[0][0] == views[0][1]).all())
    >>> z1.shape, bool((z2[0] == z2[1]).all())
    ((2, 2), True)
    """
    n, d = draw(st.integers(min_rows, max_rows)), draw(st.integers(min_dims, max_dims))
    rng, _ = _generator(draw)
    z1 = rng.normal(size=(n, d))
    z2 = z1 + draw(st.sampled_from([1.0, 0.1])) * rng.normal(size=(n, d))
    if edges and n > 1:
        edge = draw(st.sampled_from(["none", "equal views", *EDGES]))
        if edge == "equal views":
            z2 = z1.copy()
        elif edge != "none" and (edge != "single negative" or min_rows <= 2):
            z1, z2 = EDGES[edge](z1, z2)
    if normalize:
        z1, z2 = unit(z1), unit(z2)
    return z1.astype(dtype), z2.astype(dtype)


@st.composite
def unit_rows(
    draw: DrawFn,
    *,
    min_rows: int = 1,
    max_rows: int = 6,
    min_dims: int = 2,
    max_dims: int = 5,
    dtype: Any = np.float64,
    edges: bool = False,
) -> np.ndarray:
    """Points on the unit sphere, (N, D).

    Parameters
    ----------
    min_rows, max_rows : int
        N.
    min_dims, max_dims : int
        D.
    dtype : data-type, default float64
    edges : bool, default False
        Adds sets with a point twice, with a point and its antipode, and with two points as far from a third.

    Returns
    -------
    SearchStrategy of numpy.ndarray
        Shrinks to few rows, few dimensions and no edge.

    Examples
    --------
    >>> from hypothesis import find
    >>> z = find(unit_rows(edges=True), lambda z: len(z) > 1 and z[0] @ z[1] < -0.999)
    >>> z.shape
    (2, 2)
    """
    n, d = draw(st.integers(min_rows, max_rows)), draw(st.integers(min_dims, max_dims))
    rng, _ = _generator(draw)
    z = unit(rng.normal(size=(n, d)))
    if edges and n > 1:
        edge = draw(st.sampled_from(["none", "duplicates", "antipodes", *(["ties"] if n > 2 else [])]))
        if edge == "duplicates":
            z[1] = z[0]
        elif edge == "antipodes":
            z[1] = -z[0]
        elif edge == "ties":
            z[2] = 2 * (z[1] @ z[0]) * z[0] - z[1]  # mirrored at the first
    return z.astype(dtype)


@st.composite
def similarity_matrices(
    draw: DrawFn,
    *,
    min_rows: int = 2,
    max_rows: int = 6,
    dtype: Any = np.float64,
    edges: bool = False,
) -> np.ndarray:
    """Cosines of one view with the other, (N, N): positives on the diagonal, all within [-1, 1].

    Parameters
    ----------
    min_rows, max_rows : int
        N; at least 2.
    dtype : data-type, default float64
    edges : bool, default False
        Adds matrices with two exactly equal entries in the first row, two equal rows, a negative at -1, a single
        negative, and all entries equal.

    Returns
    -------
    SearchStrategy of numpy.ndarray
        Shrinks to few rows and no edge.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(similarity_matrices(edges=True), lambda s: s.min() == s.max()).shape
    (2, 2)
    """
    z1, z2 = draw(embeddings(min_rows=min_rows, max_rows=max_rows, normalize=True))
    s = np.clip(z1 @ z2.T, -1, 1)
    if edges and len(s) > 1:
        # on the matrix itself: cosines of equal rows may differ in their last digit
        edge = draw(st.sampled_from(["none", "ties", "duplicates", "antipodes", "single negative", "all equal"]))
        if edge == "ties":
            s[0, 1] = s[0, 2 if len(s) > 2 else 0]
        elif edge == "duplicates":
            s[1] = s[0]
            s[:, 1] = s[:, 0]
        elif edge == "antipodes":
            s[0, 0], s[0, 1] = 1.0, -1.0
        elif edge == "single negative" and min_rows <= 2:
            s = s[:2, :2].copy()
        elif edge == "all equal":
            s[:] = 0.5
    return s.astype(dtype)


def temperatures(*, edges: bool = False) -> SearchStrategy[float]:
    """Temperatures: those of papers, and between 0.05 and 5, where differences of a loss are accurate.

    Parameters
    ----------
    edges : bool, default False
        Adds 1e-3 and 1e3, between which hypercon's losses are finite.

    Returns
    -------
    SearchStrategy of float
        Shrinks to 1.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(temperatures(), lambda temperature: temperature < 0.3)
    0.2
    """
    named = [1.0, 0.5, 0.2, 0.1, 0.07]
    spread = st.integers(0, 40).map(lambda i: round(0.05 * 100 ** (i / 40), 4))
    return st.one_of(st.sampled_from(named), spread, *([st.sampled_from([1e-3, 1e3])] if edges else []))


def _generator(draw: DrawFn) -> tuple[np.random.Generator, bool]:
    """A generator from a drawn seed; and whether the seed is 0, to which it shrinks."""
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed), seed == 0
