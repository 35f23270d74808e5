"""Assignment 1: the pieces of reverse-mode differentiation. Expected gradients come from adjoints and complex steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice
from hypercon.coursework.exercise import Assignment, Exercise

# --- 1.1 topological order


def _graph(rng: np.random.Generator, size: int) -> tuple[int, np.ndarray]:
    """A graph without circles whose numbers say nothing of its order."""
    names = rng.permutation(size + 1)
    pairs = [(i, j) for j in range(1, size + 1) for i in range(j) if i == j - 1 or rng.random() < 0.4]
    return size + 1, np.array([(names[i], names[j]) for i, j in pairs])[rng.permutation(len(pairs))]


def _chain(rng: np.random.Generator) -> tuple[int, np.ndarray]:
    names = rng.permutation(3000)
    return 3000, np.stack([names[:-1], names[1:]], axis=1)


def _ordered(arguments: tuple[Any, ...], results: Sequence[np.ndarray]) -> str | None:
    count, edges = arguments
    order = results[0]
    if order.shape != (count,) or not np.array_equal(np.sort(order), np.arange(count)):
        return f"a node is missing or stands twice: expected each of the {count} nodes once"
    place = np.argsort(order)
    ahead = place[edges[:, 0]] < place[edges[:, 1]]
    if ahead.all():
        return None
    return "the order is reversed: inputs first" if not ahead.any() else "a node stands before one of its inputs"


# --- 1.2 to 1.4 gradients through broadcasting and products


def _broadcast(rng: np.random.Generator, size: int) -> tuple[np.ndarray, tuple[int, ...]]:
    full = (2, size, 3)
    shape = [(size, 1), (1, 3), (2, 1, 3), (3,), full, (1, 1, 1)][size % 6]
    return lattice(rng, full), shape


def _unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Entry by entry: each goes back to where it was taken from."""
    source = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), g.shape)
    return np.bincount(source.ravel(), weights=g.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def _mean(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return _unbroadcast(g, shape) * (np.prod(shape) / g.size)


def _slice(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    first = g[(0,) * (g.ndim - len(shape))]
    return first[tuple(slice(side) for side in shape)]


def _factors(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    shapes = [((size, 3), (3,)), ((size, 1), (1, 3)), ((size, 3), (size, 3)), ((3,), (size, 3))][size % 4]
    x, y = (lattice(rng, shape) for shape in shapes)
    return lattice(rng, np.broadcast_shapes(*shapes)), x, y


def _mul(g: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _unbroadcast(g * y, x.shape), _unbroadcast(g * x, y.shape)


def _matrices(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    batch = (2,) if size % 2 else ()
    shapes = (*batch, size, size + 1), (*batch, size, 3), (*batch, 3, size + 1)
    if size == 2:  # squares come first: a transpose that is missing shows in numbers, not in shapes
        shapes = ((3, 3),) * 3
    g, x, y = (lattice(rng, shape) for shape in shapes)
    return g, x, y


def _matmul(g: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.einsum("...nm,...km->...nk", g, y), np.einsum("...nk,...nm->...km", x, g)


# --- 1.5 to 1.7 functions with their gradients: (value, gradient)


def _elementwise(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return lattice(rng, (size, 3)), lattice(rng, (size, 3))


def _exp(g: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = 1e-30  # a complex step has no rounding to lose
    return np.exp(x), g * np.exp(x + 1j * step).imag / step


def _along(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    axis = size % 2
    x = lattice(rng, (size, size + 1))
    return lattice(rng, (x.shape[1 - axis],)), x, axis


def _lse(g: np.ndarray, x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    value = np.logaddexp.reduce(x, axis=axis)
    return value, np.exp(x - np.expand_dims(value, axis)) * np.expand_dims(g, axis)


def _large(offset: float) -> Callable[[np.random.Generator], Any]:
    def draw(rng: np.random.Generator) -> tuple[Any, ...]:
        g, x, axis = _along(rng, 3)
        return g, x + offset, axis

    return draw


def _spread(rng: np.random.Generator) -> tuple[Any, ...]:
    return np.array([1.5, -0.5]), np.array([[1000.0, 999.0, -1000.0], [-1000.0, -1001.0, -1002.0]]), 1


def _masked(rng: np.random.Generator) -> tuple[Any, ...]:
    return np.array([1.5, -0.5]), np.array([[-np.inf, 0.5, 1.0], [2.0, -np.inf, -np.inf]]), 1


def _tied(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    axis = size % 2
    x = rng.integers(0, 3, (size, size + 1)).astype(np.float64)
    return lattice(rng, (x.shape[1 - axis],)), x, axis


def _max(g: np.ndarray, x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Row by row: the winners share."""
    rows = np.moveaxis(x, axis, -1)
    gradient = np.zeros_like(rows)
    for i, row in enumerate(rows):
        winners = [j for j, value in enumerate(row) if value == max(row)]
        gradient[i, winners] = g[i] / len(winners)
    return np.array([max(row) for row in rows]), np.moveaxis(gradient, -1, axis)


def _max_mistakes(share: Callable[[np.ndarray, int], np.ndarray]) -> Callable[..., Any]:
    def wrong(g: np.ndarray, x: np.ndarray, axis: int) -> Any:
        return x.max(axis=axis), np.expand_dims(g, axis) * share(x, axis)

    return wrong


def _first(x: np.ndarray, axis: int) -> np.ndarray:
    return np.arange(x.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1)) == x.argmax(axis=axis, keepdims=True)


def _every(x: np.ndarray, axis: int) -> np.ndarray:
    return x == x.max(axis=axis, keepdims=True)


A1 = Assignment(
    "a1",
    "Autograd",
    (
        Exercise(
            "1.1", "topological_order", _graph, None,
            "A node can be placed when all of its inputs have been; count them.", accepts=_ordered, extremes=(_chain,),
            seconds=5.0,
        ),
        Exercise(
            "1.2", "unbroadcast", _broadcast, _unbroadcast,
            "Sum over the axes that were put in front, then over those of length 1, keeping these.", keeps_dtype=True,
            mistakes={
                "a mean where the sum over broadcast axes is meant": _mean,
                "one slice is taken where the sum over broadcast axes is meant": _slice,
            },
        ),
        Exercise(
            "1.3", "mul_backward", _factors, _mul, "d(xy) = y dx + x dy; then undo the broadcasting.", 2,
            keeps_dtype=True,
            mistakes={
                "the factors are exchanged: the gradient of x is g y": lambda g, x, y: (
                    _mul(g, y, x) if x.shape == y.shape else _mul(g, x, y)),
                "the chain rule's g is missing": lambda g, x, y: _mul(np.ones_like(g), x, y),
            },
        ),
        Exercise(
            "1.4", "matmul_backward", _matrices, _matmul,
            "Write the product with indices; the shapes leave one order and one transpose.", 2, keeps_dtype=True,
            mistakes={
                "a transpose is missing": lambda g, x, y: (
                    (g @ y, x @ g) if x.shape[-1] == x.shape[-2] == y.shape[-1] else _matmul(g, x, y)),
            },
        ),
        Exercise(
            "1.5", "exp_with_gradient", _elementwise, _exp, "exp is its own derivative; g multiplies it.", 2,
            keeps_dtype=True,
            mistakes={
                "the chain rule's g is missing": lambda g, x: (np.exp(x), np.exp(x)),
                "the derivative of exp is missing": lambda g, x: (np.exp(x), g),
                "the derivative is taken at the value instead of the input": lambda g, x: (
                    np.exp(x), g * np.exp(np.exp(x))),
                "the derivative uses x where exp(x) is meant": lambda g, x: (np.exp(x), g * x),
                "the sign is wrong": lambda g, x: (np.exp(x), -g * np.exp(x)),
            },
        ),
        Exercise(
            "1.6", "logsumexp_with_gradient", _along, _lse,
            "Subtract the largest entry first; the gradient is the softmax.", 2, keeps_dtype=True,
            extremes=(_large(1000.0), _large(-1000.0), _spread, _masked),
            mistakes={
                "the chain rule's g is missing": lambda g, x, axis: _lse(np.ones_like(g), x, axis),
                "the maximum is not added back": lambda g, x, axis: (
                    _lse(g, x, axis)[0] - x.max(axis=axis), _lse(g, x, axis)[1]),
                "the logarithm is missing": lambda g, x, axis: (np.exp(x).sum(axis=axis), _lse(g, x, axis)[1]),
                "the softmax is not divided by its sum": lambda g, x, axis: (
                    _lse(g, x, axis)[0], np.exp(x) * np.expand_dims(g, axis)),
                "the softmax is not divided by its sum (after the shift)": lambda g, x, axis: (
                    _lse(g, x, axis)[0], np.exp(x - x.max(axis=axis, keepdims=True)) * np.expand_dims(g, axis)),
                "the sign of the gradient is wrong": lambda g, x, axis: (_lse(g, x, axis)[0], -_lse(g, x, axis)[1]),
                "a mean where a sum is meant": lambda g, x, axis: (
                    _lse(g, x, axis)[0] - np.log(x.shape[axis]), _lse(g, x, axis)[1]),
                "the softmax runs over the wrong axis": lambda g, x, axis: (
                    _lse(g, x, axis)[0],
                    np.exp(x - np.logaddexp.reduce(x, axis=1 - axis, keepdims=True)) * np.expand_dims(g, axis)),
            },
        ),
        Exercise(
            "1.7", "max_with_gradient", _tied, _max, "Where several entries are largest, they share g equally.", 2,
            keeps_dtype=True,
            mistakes={
                "ties: only the first of the largest gets the gradient": _max_mistakes(_first),
                "ties: each of the largest gets all of the gradient": _max_mistakes(_every),
                "the sign of the gradient is wrong": lambda g, x, axis: (_max(g, x, axis)[0], -_max(g, x, axis)[1]),
                "the chain rule's g is missing": lambda g, x, axis: _max(np.ones_like(g), x, axis),
            },
        ),
    ),
)  # fmt: skip
