"""One table of every public operation: how it is called, the same in NumPy, and the shapes to try it on.

Tests of values, derivatives, precision and layout run over its rows: an operation is tested by being entered here.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import hypercon as hc
from hypercon import losses
from hypercon.autograd import convolution, engine, ops
from hypercon.backend import device_of, to_device
from hypercon.losses import infonce

NOT_OPERATIONS = {
    "Tensor",
    "draw",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "no_grad",
    "primitive",
    "tensor",
    "value_and_grad",
    "vjp",
}


@dataclass(frozen=True)
class Row:
    """One way to call an operation."""

    name: str
    call: Callable[..., Any]
    numpy: Callable[..., Any] | None
    shapes: tuple[tuple[int, ...], ...]
    positive: bool

    def inputs(self, dtype: Any = np.float64) -> list[np.ndarray]:
        """Distinct numbers, 0.15 to 2 in size: no ties, and no kink as near as a difference quotient looks."""
        rng = np.random.default_rng(67)  # extremes and kept entries lie where no exchange of axes takes them for others
        sizes = [math.prod(shape) for shape in self.shapes]
        values = rng.permutation(np.linspace(0.15, 2, sum(sizes)))
        if not self.positive:
            values *= rng.choice([-1, 1], len(values))
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return [part.reshape(shape).astype(dtype) for part, shape in zip(parts, self.shapes, strict=True)]

    def __str__(self) -> str:
        return f"{self.name}{','.join(str(shape).replace(' ', '') for shape in self.shapes)}"


def row(call: Callable[..., Any], numpy: Callable[..., Any] | None, *shapes: tuple[int, ...], positive: bool = False):
    """A row that still wants the name of its operation."""
    return lambda name: Row(name, call, numpy, shapes, positive)


def elementwise(call: Callable[..., Any], numpy: Callable[..., Any], positive: bool = False) -> list[Any]:
    return [row(call, numpy, shape, positive=positive) for shape in [(2, 3), ()]]


def binary(call: Callable[..., Any], numpy: Callable[..., Any], positive: bool = False) -> list[Any]:
    broadcasts = [((2, 3), (2, 3)), ((3, 1), (3,)), ((), (2, 3)), ((2, 1, 2), (3, 1))]
    return [row(call, numpy, *shapes, positive=positive) for shapes in broadcasts]


def reduction(call: Callable[..., Any], numpy: Callable[..., Any]) -> list[Any]:
    return [
        row(call, numpy, (2, 3)),
        row(lambda x: call(x, axis=1), lambda x: numpy(x, axis=1), (3, 3)),  # along the other axis it would run too
        row(lambda x: call(x, axis=(0, -1)), lambda x: numpy(x, axis=(0, -1)), (2, 2, 3)),
        row(lambda x: call(x, axis=-2, keepdims=True), lambda x: numpy(x, axis=-2, keepdims=True), (2, 2, 3)),
        row(call, numpy, ()),
    ]


def beside(array: np.ndarray, x: Any) -> Any:
    """A constant of a row on the device of the row's input."""
    return to_device(array, device_of(ops.raw(x)))


def picking(index: Any, *shape: int) -> Any:
    return row(lambda x: hc.getitem(x, index), lambda x: x[index], shape)


# --- definitions in NumPy of what NumPy lacks


def logsumexp(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def softmax(x: np.ndarray, axis: Any = -1) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def standardise(x: np.ndarray, gamma: Any, beta: Any, eps: float = 1e-5) -> np.ndarray:
    """Batch normalisation as its paper writes it, channel by channel."""
    gamma, beta = np.broadcast_to(gamma, x.shape[1]), np.broadcast_to(beta, x.shape[1])
    channels = [
        gamma[c] * (x[:, c] - x[:, c].mean()) / np.sqrt(x[:, c].var() + eps) + beta[c] for c in range(x.shape[1])
    ]
    return np.stack(channels, 1)


def correlate(x: np.ndarray, w: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Convolution by its definition: every output is a window against a kernel."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kh, kw = w.shape[2:]
    height, width = (x.shape[2] - kh) // stride + 1, (x.shape[3] - kw) // stride + 1
    y = np.empty((len(x), len(w), height, width))
    for n, k, i, j in np.ndindex(y.shape):
        window = x[n, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
        y[n, k, i, j] = (window * w[k]).sum()
    return y


def standardise_rows(x: np.ndarray, gamma: Any, beta: Any, eps: float = 1e-5) -> np.ndarray:
    return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + beta


def of_tiles(reduce: Callable[..., Any], x: np.ndarray, size: int) -> np.ndarray:
    n, c, h, w = x.shape
    y = np.empty((n, c, h // size, w // size))
    for a, b, i, j in np.ndindex(y.shape):
        y[a, b, i, j] = reduce(x[a, b, i * size : (i + 1) * size, j * size : (j + 1) * size])
    return y


MASK = np.array([True, False, True])
PICKS = np.array([[2, 0, 2], [1, 1, 0]])
EXPONENTS = np.array([0, 1, 2], np.float32)
_ROWS: dict[str, list[Any]] = {
    # arithmetic
    "add": binary(hc.add, np.add),
    "subtract": binary(hc.subtract, np.subtract),
    "multiply": binary(hc.multiply, np.multiply),
    "divide": binary(hc.divide, np.divide),
    "negative": elementwise(hc.negative, np.negative),
    "power": [
        *binary(hc.power, np.power, positive=True),
        row(lambda x: hc.power(x, 3), lambda x: x**3, (2, 3)),
        row(lambda x: hc.power(x, -1.5), lambda x: x**-1.5, (2, 3), positive=True),
        row(lambda x: hc.power(2.0, x), lambda x: 2.0**x, (2, 3)),
        row(lambda x: hc.power(x, beside(EXPONENTS, x)), lambda x: x**EXPONENTS, (2, 3)),
    ],
    # elementwise functions
    "exp": elementwise(hc.exp, np.exp),
    "log": elementwise(hc.log, np.log, positive=True),
    "sqrt": elementwise(hc.sqrt, np.sqrt, positive=True),
    "tanh": elementwise(hc.tanh, np.tanh),
    "sigmoid": elementwise(hc.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "softplus": elementwise(hc.softplus, lambda x: np.log(1 + np.exp(x))),
    "relu": elementwise(hc.relu, lambda x: np.maximum(x, 0)),
    "absolute": elementwise(hc.absolute, np.abs),
    "maximum": binary(hc.maximum, np.maximum),
    "minimum": binary(hc.minimum, np.minimum),
    "clip": elementwise(lambda x: hc.clip(x, -0.7, 1.1), lambda x: np.clip(x, -0.7, 1.1)),
    "where": [
        row(lambda x, y: hc.where(beside(MASK, x), x, y), lambda x, y: np.where(MASK, x, y), *shapes)
        for shapes in [((2, 3), (2, 3)), ((2, 1), ())]
    ],
    # reductions
    "sum": reduction(hc.sum, np.sum),
    "mean": reduction(hc.mean, np.mean),
    "var": reduction(hc.var, np.var)[:4],  # of one number it is constant
    "prod": reduction(hc.prod, np.prod),
    "max": reduction(hc.max, np.max),
    "min": reduction(hc.min, np.min),
    "logsumexp": reduction(hc.logsumexp, logsumexp),
    "norm": [
        row(hc.norm, np.linalg.norm, (2, 3)),
        row(lambda x: hc.norm(x, 1), lambda x: np.linalg.norm(x, axis=1), (2, 3)),
        row(
            lambda x: hc.norm(x, (0, 2), keepdims=True),
            lambda x: np.linalg.norm(x, axis=(0, 2), keepdims=True),
            (2, 2, 3),
        ),
    ],
    "softmax": [
        row(hc.softmax, softmax, (2, 3)),
        row(lambda x: hc.softmax(x, 0), lambda x: softmax(x, 0), (2, 3)),
    ],
    "log_softmax": [
        row(hc.log_softmax, lambda x: np.log(softmax(x)), (2, 3)),
        row(lambda x: hc.log_softmax(x, 0), lambda x: np.log(softmax(x, 0)), (2, 3)),
    ],
    # products
    "matmul": [
        row(hc.matmul, np.matmul, *shapes)
        for shapes in [
            ((2, 2), (2, 2)),
            ((3,), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3,)),
            ((3,), (2, 3, 2)),
            ((2, 1, 2, 3), (2, 3, 2)),
        ]
    ],
    "einsum": [
        row(lambda x, y, s=subscripts: hc.einsum(s, x, y), lambda x, y, s=subscripts: np.einsum(s, x, y), *shapes)
        for subscripts, *shapes in [
            ("nd,md->nm", (2, 3), (3, 3)),
            ("ij,jk", (2, 3), (3, 2)),
            ("nd,nd->n", (2, 3), (2, 3)),
            ("ij,k->jk", (2, 3), (2,)),
            ("ij,j->", (2, 3), (3,)),
        ]
    ]
    + [
        row(lambda x: hc.einsum("ijk->ki", x), lambda x: np.einsum("ijk->ki", x), (2, 3, 2)),
        row(
            lambda x, y, z: hc.einsum("ij,jk,kl->il", x, y, z),
            lambda x, y, z: np.einsum("ij,jk,kl->il", x, y, z),
            (2, 2),
            (2, 3),
            (3, 1),
        ),
    ],
    # shape
    "expand_dims": [row(lambda x: hc.expand_dims(x, -2), lambda x: np.expand_dims(x, -2), (2, 3))],
    "squeeze": [
        row(hc.squeeze, np.squeeze, (1, 3, 1)),
        row(lambda x: hc.squeeze(x, -1), lambda x: np.squeeze(x, -1), (1, 3, 1)),
    ],
    "swapaxes": [row(lambda x: hc.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (2, 1, 3))],
    "flip": [
        row(hc.flip, np.flip, (2, 3)),
        row(lambda x: hc.flip(x, -1), lambda x: np.flip(x, -1), (2, 3)),
        row(lambda x: hc.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2)), (2, 2, 2)),
    ],
    "pad": [
        row(lambda x: hc.pad(x, 1), lambda x: np.pad(x, 1), (2, 2)),
        row(lambda x: hc.pad(x, [(0, 2), (1, 0)]), lambda x: np.pad(x, [(0, 2), (1, 0)]), (2, 3)),
    ],
    "diagonal": [row(lambda x, k=k: hc.diagonal(x, k), lambda x, k=k: np.diagonal(x, k), (2, 3)) for k in (-1, 0, 1, 2)]
    + [row(lambda x: hc.diagonal(x, 1, -1, 0), lambda x: np.diagonal(x, 1, -1, 0), (3, 2, 2))],
    "tril": [row(lambda x, k=k: hc.tril(x, k), lambda x, k=k: np.tril(x, k), (2, 3, 2)) for k in (-1, 0, 1)],
    "triu": [row(lambda x, k=k: hc.triu(x, k), lambda x, k=k: np.triu(x, k), (2, 3, 2)) for k in (-1, 0, 1)],
    "take_along_axis": [
        row(
            lambda x: hc.take_along_axis(x, PICKS, -1),
            lambda x: np.take_along_axis(x, PICKS, -1),
            (2, 3),
        ),
        row(
            lambda x: hc.take_along_axis(x, PICKS[:, :1].T, 0),
            lambda x: np.take_along_axis(x, PICKS[:, :1].T, 0),
            (3, 2),
        ),
    ],
    "sort": [
        row(hc.sort, np.sort, (2, 3)),
        row(lambda x: hc.sort(x, 0), lambda x: np.sort(x, 0), (3, 2)),
    ],
    "top_k": [
        row(lambda x: hc.top_k(x, 2), lambda x: -np.sort(-x)[..., :2], (2, 3)),
        row(lambda x: hc.top_k(x, 1, axis=0), lambda x: x.max(axis=0, keepdims=True), (3, 2)),
    ],
    "reshape": [row(lambda x: hc.reshape(x, (3, -1)), lambda x: x.reshape(3, -1), (2, 3))],
    "transpose": [
        row(hc.transpose, np.transpose, (2, 3)),
        row(lambda x: hc.transpose(x, (1, -1, 0)), lambda x: x.transpose(1, 2, 0), (2, 3, 2)),
    ],
    "broadcast_to": [
        row(lambda x: hc.broadcast_to(x, (4, 2, 3)), lambda x: np.broadcast_to(x, (4, 2, 3)), shape)
        for shape in [(3,), (2, 1), ()]
    ],
    "concatenate": [
        row(lambda x, y: hc.concatenate([x, y]), lambda x, y: np.concatenate([x, y]), (1, 3), (2, 3)),
        row(lambda x, y: hc.concatenate([x, y, x], -1), lambda x, y: np.concatenate([x, y, x], -1), (2, 1), (2, 3)),
    ],
    "stack": [
        row(lambda x, y: hc.stack([x, y]), lambda x, y: np.stack([x, y]), (2, 3), (2, 3)),
        row(lambda x, y: hc.stack([x, y], -1), lambda x, y: np.stack([x, y], -1), (2, 3), (2, 3)),
    ],
    "astype": [row(lambda x: hc.astype(x, np.float64), lambda x: x.astype(np.float64), (2, 3))],
    "getitem": [
        picking(1, 3, 2),
        picking((..., None, slice(None, None, -2)), 2, 3),
        picking(np.array([0, 2, 0]), 3, 2),
        picking((np.array([0, 1, 0]), [1, 1, 1]), 2, 2),
        picking(MASK, 3, 2),
        picking((), 2),
    ],
    # the sphere
    "normalize": [
        row(hc.normalize, lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True), (2, 3)),
        row(lambda x: hc.normalize(x, 0), lambda x: x / np.linalg.norm(x, axis=0), (2, 3)),
        row(lambda x: hc.normalize(x, 1), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), (2, 3, 2)),
        row(lambda x: hc.normalize(x, eps=9.0), lambda x: x / 9.0, (2, 3)),
    ],
    # images
    "conv2d": [
        row(hc.conv2d, correlate, (2, 2, 3, 2), (2, 2, 2, 1)),
        row(
            lambda x, w: hc.conv2d(x, w, stride=2, padding=1),
            lambda x, w: correlate(x, w, stride=2, padding=1),
            (2, 1, 3, 4),
            (2, 1, 2, 3),
        ),
        row(
            lambda x, w: hc.conv2d(x, w, stride=2, padding=2),
            lambda x, w: correlate(x, w, stride=2, padding=2),
            (1, 1, 3, 4),
            (1, 1, 3, 2),
        ),
    ],
    "max_pool2d": [row(lambda x: hc.max_pool2d(x, 2), lambda x: of_tiles(np.max, x, 2), (1, 2, 5, 4))],
    "avg_pool2d": [row(lambda x: hc.avg_pool2d(x, 2), lambda x: of_tiles(np.mean, x, 2), (1, 2, 5, 4))],
    "layer_norm": [
        row(hc.layer_norm, standardise_rows, (2, 3), (3,), (3,)),
        row(lambda x: hc.layer_norm(x, eps=0.1), lambda x: standardise_rows(x, 1, 0, 0.1), (2, 2, 3)),
    ],
    "batch_norm": [
        row(hc.batch_norm, standardise, (3, 2), (2,), (2,)),
        row(hc.batch_norm, standardise, (2, 2, 1, 2), (2,), (2,)),
        row(lambda x: hc.batch_norm(x, 2.0, 1.0), lambda x: standardise(x, 2.0, 1.0), (3, 2)),
        row(
            lambda x, gamma, beta: hc.batch_norm(x, gamma, beta, relu=True),
            lambda x, gamma, beta: np.maximum(standardise(x, gamma, beta), 0),
            (3, 2, 2),
            (2,),
            (2,),
        ),
    ],
}
_HIDDEN_ROWS: dict[str, list[Any]] = {
    "alias": [row(engine.alias, None, (2, 3))],
    "to": [row(lambda x: x.to("cpu"), None, (2, 3))],
    "put": [
        row(lambda x: ops.put(x, beside(np.array([0, 0, 2]), x), (3, 2)), None, (3, 2)),
        row(lambda x: ops.put(x, slice(2), (3, 2)), None, (2, 2)),
    ],
    "conv_image": [
        row(
            lambda y, w: convolution._conv_image(y, w, size=(3, 4), stride=2, padding=1),
            None,
            (2, 2, 2, 2),
            (2, 1, 2, 3),
        )
    ],
    "conv_kernel": [
        row(
            lambda y, x: convolution._conv_kernel(y, x, size=(2, 3), stride=2, padding=1),
            None,
            (2, 2, 2, 2),
            (2, 1, 3, 4),
        )
    ],
}


def of_dot_products(loss: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """A loss of two views and a temperature, without normalisation."""
    return lambda u, v, tau: loss(u, v, temperature=tau, normalize=False, **settings)


def defined(loss: str) -> Callable[..., Any]:
    return of_dot_products(functools.partial(infonce.from_definition, loss=loss))


def far_away(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of similarities that are all near 2400: without care their exponentials overflow."""

    def call(u: Any, v: Any, tau: Any) -> Any:
        flat = np.array([1, 1, 0.01])
        return loss(u * flat + np.array([0, 0, 60]), v * flat + np.array([0, 0, 40]), tau)

    return call


def both_ways(u: np.ndarray, v: np.ndarray, tau: np.ndarray) -> float:
    return (defined("info_nce")(u, v, tau) + defined("info_nce")(v, u, tau)) / 2


VIEWS = (3, 2), (3, 2), ()
_LOSS_ROWS: dict[str, list[Any]] = {
    "info_nce": [
        row(of_dot_products(hc.info_nce), defined("info_nce"), *VIEWS, positive=True),
        row(of_dot_products(hc.info_nce, symmetric=True), both_ways, *VIEWS, positive=True),
        row(far_away(of_dot_products(hc.info_nce)), far_away(defined("info_nce")), (3, 3), (3, 3), (), positive=True),
    ],
    "nt_xent": [
        row(of_dot_products(hc.nt_xent), defined("nt_xent"), *VIEWS, positive=True),
    ],
    "hard_info_nce": [row(of_dot_products(losses.hard_info_nce, k=1), None, (4, 2), (4, 2), (), positive=True)],
    "hard_simple": [row(lambda u, v: losses.hard_simple(u, v, k=1, normalize=False), None, (4, 2), (4, 2))],
    "uniformity": [
        row(losses.uniformity_loss, None, (4, 3)),
        row(lambda z: losses.uniformity_loss(z, t=0.3, normalize=False), None, (4, 3)),
    ],
    "info_nce_beside": [
        row(
            lambda u, v, keys, tau: infonce.info_nce_beside(u, v, keys, tau, gradient=True, fixed=False),
            None,
            (3, 2),
            (3, 2),
            (4, 2),
            (),
            positive=True,
        )
    ],
}

ROWS = [make(name) for name, makers in _ROWS.items() for make in makers]
HIDDEN_ROWS = [make(name) for name, makers in _HIDDEN_ROWS.items() for make in makers]
"""What no public call makes by itself: the operations that the rules of others are written with."""
LOSS_ROWS = [make(name) for name, makers in _LOSS_ROWS.items() for make in makers]
"""The losses that are primitives, on dot products."""
