"""Reverse-mode differentiation: values that remember how they were made, primitives, and the sweep back.

Three ideas, in this order. A `Traced` value holds an array and, if a derivative may be asked of it, the node that made
it: which primitive, from which inputs. A *primitive* is a function on raw arrays with one rule for each input beside
it; a rule takes the cotangent of the output to the cotangent of that input. The *sweep* visits the nodes from the
youngest to the oldest and applies their rules.

Rules are written with the library's own functions, which accept raw arrays and traced values alike. In an ordinary
sweep they run on raw arrays: nothing is wrapped or recorded. With ``create_graph=True`` the same rules run on traced
values, so what they compute can be differentiated in turn: one rule, every order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from hypercon.backend import Array, check_one_device, is_array, xp
from hypercon.errors import DtypeError, GraphError, InputError

Rule = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_births = itertools.count()


class Traced:
    """An array that remembers how it was made. Users meet it as `hypercon.Tensor`, which adds NumPy's operators."""

    __slots__ = ("__weakref__", "_node", "data", "grad", "requires_grad")

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        if not is_array(data):
            raise DtypeError(
                f"Tensor got {type(data).__name__}, expected an array: make tensors with hypercon.tensor(data)"
            )
        self.data: Array = as_float(data) if requires_grad else data
        self.requires_grad = requires_grad
        self.grad: Any = None
        self._node: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def backward(self, gradient: Any = None, *, create_graph: bool = False) -> None:
        """Add the derivative of this value to the ``grad`` of every leaf it was made from.

        Parameters
        ----------
        gradient : array_like, optional
            The cotangent, of this value's shape. A scalar needs none: it is 1.
        create_graph : bool, default False
            Record the sweep itself, so that the gradients can be differentiated again; the graph is then kept.
            Otherwise it is freed, node by node, and a second call says so.

        Raises
        ------
        GraphError
            The value needs no gradient, or its graph has been freed by an earlier call.
        InputError
            The value is no scalar and no cotangent is given, or the cotangent's shape differs.
        """
        if not self.requires_grad:
            raise GraphError(
                "backward() was asked of a value that needs no gradient: make its inputs with requires_grad=True, "
                "and compute it outside no_grad()"
            )
        leaves = ancestors(self)[1]
        gradients = sweep(self, leaves, gradient, create_graph=create_graph)
        for leaf, g in zip(leaves, gradients, strict=True):
            leaf.grad = g if leaf.grad is None else leaf.grad + g


class Node:
    """How a traced value was made. It does not hold the value itself, so graphs die without the cyclic collector."""

    __slots__ = ("birth", "inputs", "primitive", "saved", "statics")

    def __init__(self, primitive: Primitive, inputs: tuple[Any, ...], statics: dict[str, Any], saved: Any) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.statics = statics
        self.saved = saved
        self.birth = next(_births)  # made after its inputs: sorting by birth is a topological order


class Primitive:
    """A function on raw arrays and the rules that differentiate it, one for each input, or one `fused` rule for all."""

    __slots__ = ("forward", "fused", "name", "rules")

    def __init__(self, forward: Callable[..., Any], rules: tuple[Rule | None, ...], fused: Rule | None) -> None:
        self.name = forward.__name__
        self.forward = forward
        self.rules = rules
        self.fused = fused

    def pull_back(self, g: Any, out: Any, node: Node, recording: bool) -> Iterator[tuple[Traced, Any]]:
        """The cotangents of the inputs that need one, from that of the output."""
        inputs = node.inputs if recording else tuple([x.data if isinstance(x, Traced) else x for x in node.inputs])
        if self.fused:
            # what the forward left behind are raw arrays, cut off from the graph: of no use where the rule is recorded
            cotangents = self.fused(g, out, None if recording else node.saved, *inputs, **node.statics)
            for x, cotangent in zip(node.inputs, cotangents, strict=True):
                if isinstance(x, Traced) and x.requires_grad:
                    yield x, fit(cotangent, x)
        else:
            for x, rule in zip(node.inputs, self.rules, strict=True):
                if isinstance(x, Traced) and x.requires_grad:
                    if rule is None:
                        raise GraphError(f"{self.name} has no rule for one of its inputs: pass that one as an array")
                    yield x, fit(rule(g, out, *inputs, **node.statics), x)


def primitive(*rules: Rule | None, fused: Rule | None = None) -> Callable[[F], F]:
    """Make a function on raw arrays differentiable by stating its rules.

    Parameters
    ----------
    *rules : callable or None
        One for each positional input: ``rule(g, out, *inputs, **statics)`` gives that input's cotangent from the
        output's cotangent ``g``. Write it with hypercon's functions and operators, and every order of derivative
        follows. Broadcasting needs no care: the cotangent is summed to the input's shape. None for an input that has
        no derivative.
    fused : callable, optional
        Instead of ``rules``: one rule ``fused(g, out, saved, *inputs, **statics)`` that returns all cotangents at once.
        The function then returns ``(out, saved)``; the rule finds in ``saved`` what the forward computed, or None when
        its own derivative is being recorded and it must compute that again from the inputs.

    Returns
    -------
    callable
        A decorator. The decorated function takes arrays and tensors: its positional arguments are what it is
        differentiated by, its keyword arguments are settings. Arrays in, arrays out; a tensor in, a tensor out.

    Examples
    --------
    >>> import hypercon as hc
    >>> @hc.primitive(lambda g, out, x: g * 3 * x ** 2)
    ... def cube(x):
    ...     return x * x * x
    >>> float(hc.grad(cube)(2.0))
    12.0
    """

    def register(forward: F) -> F:
        made = Primitive(forward, rules, fused)
        defaults = forward.__kwdefaults__ or {}

        @functools.wraps(forward)
        def apply(*inputs: Any, **statics: Any) -> Any:
            traced = [x for x in inputs if isinstance(x, Traced)]
            if not traced:
                result = forward(*inputs, **statics)
                return result[0] if fused else result
            # a NumPy scalar is a plain number here: as an array of its own dtype it would widen float32 to float64
            inputs = tuple([x.item() if isinstance(x, np.generic) else x for x in inputs])
            raw = [x.data if isinstance(x, Traced) else x for x in inputs]
            if len(raw) > 1:
                check_one_device(made.name, [x for x in raw if is_array(x)])
            statics = {**defaults, **statics}  # the rules take every setting
            result = forward(*raw, **statics)
            saved = None
            if fused:
                result, saved = result
            if not is_array(result):  # NumPy's reductions give scalars
                result = xp(*raw).asarray(result)
            out = type(traced[0])(result)
            if is_recording() and any(x.requires_grad for x in traced):
                out.requires_grad = True
                out._node = Node(made, inputs, statics, saved)
            return out

        apply.primitive = made  # type: ignore[attr-defined]
        return apply  # type: ignore[return-value]

    return register


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


def is_recording() -> bool:
    """Whether operations leave nodes behind: not inside `no_grad`."""
    return _recording.get()


@contextmanager
def set_recording(on: bool) -> Iterator[None]:
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


# --- the sweep

_FREED = Primitive(lambda: None, (), None)


def sweep(output: Traced, targets: Sequence[Traced], cotangent: Any = None, *, create_graph: bool = False) -> list[Any]:
    """The cotangents of ``targets`` from that of ``output``, as values of the same class.

    A target that the output does not depend on gets zeros. What does not lead to a target is neither visited nor freed.
    """
    nodes, leaves = ancestors(output) if output.requires_grad else ([], [])
    cls = type(output)
    g = _first_cotangent(output, cotangent)
    gradients: dict[int, Any] = {id(output): cls(g) if create_graph else g}
    wanted = {id(target) for target in targets}
    if any(id(leaf) not in wanted for leaf in leaves):
        nodes = _leading_to(wanted, nodes)
    with set_recording(create_graph):
        for value in nodes:
            g = gradients.get(id(value)) if id(value) in wanted else gradients.pop(id(value), None)
            if g is None:
                continue
            out = value if create_graph else value.data
            assert value._node is not None
            for x, cotangent in value._node.primitive.pull_back(g, out, value._node, create_graph):
                known = gradients.get(id(x))
                gradients[id(x)] = cotangent if known is None else known + cotangent
            if not create_graph:
                value._node = Node(_FREED, (), {}, None)
    return [_finished(gradients.get(id(target)), target) for target in targets]


def ancestors(output: Traced) -> tuple[list[Traced], list[Traced]]:
    """What ``output`` was made from and needs a gradient: values with a node, youngest first, and leaves."""
    made, leaves, seen, stack = [], [], {id(output)}, [output]
    while stack:
        value = stack.pop()
        node = value._node
        if node is None:
            leaves.append(value)
            continue
        if node.primitive is _FREED:
            raise GraphError(
                "backward() was asked twice of one graph, and the first sweep freed it: compute the value again, "
                "or pass create_graph=True to the first call"
            )
        made.append(value)
        for x in node.inputs:
            if isinstance(x, Traced) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    made.sort(key=lambda value: -value._node.birth)  # type: ignore[union-attr]
    return made, leaves


def _leading_to(wanted: set[int], nodes: list[Traced]) -> list[Traced]:
    """Those of ``nodes`` (youngest first) that were made, through whatever steps, from a value that is wanted."""
    reached, leading = set(wanted), []
    for value in reversed(nodes):
        if any(id(x) in reached for x in value._node.inputs):  # type: ignore[union-attr]
            reached.add(id(value))
            leading.append(value)
    return leading[::-1]


def _first_cotangent(output: Traced, cotangent: Any) -> Array:
    """What the sweep starts from: ones for a scalar, or the caller's array in the output's shape and dtype."""
    if cotangent is None:
        if output.size != 1:
            raise InputError(
                f"backward() of a value of shape {output.shape} needs a cotangent of that shape: "
                f"pass one, or reduce the value to a scalar with sum() or mean()"
            )
        return xp(output.data).ones(output.shape, output.dtype)
    raw = cotangent.data if isinstance(cotangent, Traced) else cotangent
    g = xp(output.data).asarray(raw, dtype=output.dtype)
    if g.shape != output.shape:
        raise InputError(f"the cotangent has shape {g.shape}, expected the value's own shape {output.shape}")
    return g


def fit(g: Any, x: Any) -> Any:
    """``g`` with the shape and dtype of ``x``: what broadcasting copied is summed, here and nowhere else."""
    if not hasattr(g, "shape"):
        g = xp(x.data).asarray(g)
    if g.shape != x.shape:
        extra = len(g.shape) - len(x.shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(x.shape, g.shape[extra:], strict=True)):
            raise GraphError(
                f"a rule gave a cotangent of shape {g.shape} for an input of shape {x.shape}: "
                f"expected the output's shape or the input's"
            )
        stretched = [i + extra for i, n in enumerate(x.shape) if n == 1 and g.shape[i + extra] != 1]
        axes = (*range(extra), *stretched)
        if axes:
            g = g.sum(axis=axes, keepdims=True)
        g = g.reshape(x.shape)
    return g if g.dtype == x.dtype else g.astype(x.dtype)


def _finished(g: Any, target: Traced) -> Any:
    """A gradient that shares memory with no other: rules may hand the same array to several inputs."""
    cls = type(target)
    if g is None:
        return cls(xp(target.data).zeros(target.shape, target.dtype))
    return g if isinstance(g, Traced) else cls(xp(target.data).array(g, copy=True))


@primitive(lambda g, out, x: g)
def alias(x: Array) -> Array:
    """The same array as a value of its own."""
    return x


def as_float(raw: Array) -> Array:
    """``raw`` itself; an error unless its numbers have derivatives."""
    if raw.dtype.kind != "f":
        raise DtypeError(
            f"a gradient was asked by an array of {raw.dtype}, expected floats: convert it with astype(float)"
        )
    return raw
