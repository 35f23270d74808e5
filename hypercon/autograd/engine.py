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
import inspect
import itertools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from hypercon import memory
from hypercon.autograd.calls import NUMPYS, as_float, as_operand, explained, help_on
from hypercon.autograd.recording import is_recording, set_recording
from hypercon.backend import Array, check_one_device, is_array, xp
from hypercon.errors import DtypeError, GraphError, HyperconError, InputError

Rule = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

_births = itertools.count()


class Traced:
    """An array that remembers how it was made. Users meet it as `hypercon.Tensor`, which adds NumPy's operators.

    A value that was made by a primitive from inputs that need a gradient is a node of the graph: it holds the
    primitive, its inputs (and the arrays in them), settings, what a fused forward left behind, and the number of its
    birth. A leaf has no primitive. Values hold their inputs and never what was made from them, so graphs die without
    the cyclic collector.
    """

    __slots__ = ("__weakref__", "arrays", "birth", "data", "grad", "inputs", "primitive", "requires_grad", "saved",
                 "settings")  # fmt: skip

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        if not is_array(data):
            raise DtypeError(f"Tensor got {type(data).__name__}, expected an array: use hypercon.tensor(data)")
        self.data: Array = as_float(data) if requires_grad else data
        self.arrays: list[Any]
        self.settings: dict[str, Any]
        self.saved: Any
        self.birth: int
        self.requires_grad = requires_grad
        self.grad: Any = None
        self.primitive: Primitive | None = None
        self.inputs: tuple[Any, ...] = ()

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


class Primitive:
    """A function on raw arrays and the rules that differentiate it, one for each input, or one `fused` rule for all."""

    __slots__ = ("arity", "defaults", "forward", "fused", "name", "rules", "setting_names")

    def __init__(self, forward: Callable[..., Any], rules: tuple[Rule | None, ...], fused: Rule | None) -> None:
        self.name = forward.__name__.strip("_")
        self.forward = forward
        self.rules = rules
        self.fused = fused
        # inspect.signature would say the same and take ten times as long, once for every operation at import
        names, optional = forward.__code__.co_varnames[: forward.__code__.co_argcount], forward.__defaults__ or ()
        variadic = forward.__code__.co_flags & inspect.CO_VARARGS
        self.arity = sys.maxsize if variadic else len(rules) or len(names) - len(optional)
        self.setting_names = names[self.arity :]
        self.defaults = dict(zip(names[len(names) - len(optional) :], optional, strict=True))
        self.defaults |= forward.__kwdefaults__ or {}

    def bind(self, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Split what was called with into inputs, which have rules, and all the settings."""
        by_position = dict(zip(self.setting_names, args[self.arity :], strict=False))
        if len(args) > self.arity + len(self.setting_names) or by_position.keys() & settings.keys():
            raise DtypeError(f"{self.name}() got too many arguments, or one twice: {help_on(self.forward)}")
        return args[: self.arity], {**self.defaults, **by_position, **settings}

    def check(self, args: Sequence[Any], kind: type[Traced] | None) -> tuple[list[Any], list[Any]]:
        """The inputs, and the arrays in them, where not all are tensors of NumPy's arrays and Python's floats."""
        inputs = [x if isinstance(x, Traced) else as_operand(self.name, x) for x in args]
        if kind is not None:
            # beside a tensor they are plain numbers: with a dtype of their own they would widen float32 to float64
            inputs = [x.item() if isinstance(x, np.generic) else x for x in inputs]
        arrays = [x.data if isinstance(x, Traced) else x for x in inputs]
        if not any(map(is_array, arrays)):
            arrays[:1] = map(np.asarray, arrays[:1])
        check_one_device(self.name, [x for x in arrays if is_array(x)])
        return inputs, arrays


def primitive(*rules: Rule | None, fused: Rule | None = None) -> Callable[[F], F]:
    """Make a function on raw arrays differentiable by stating its rules.

    Parameters
    ----------
    *rules : callable or None
        One for each of the first parameters, the inputs: ``rule(g, out, *inputs, **settings)`` gives that input's
        cotangent from the output's cotangent ``g``. Write it with hypercon's functions and operators, and every order
        of derivative follows. Broadcasting needs no care: the cotangent is summed to the input's shape. None for an
        input that has no derivative. The parameters that follow are settings, such as an axis.
    fused : callable, optional
        Instead of ``rules``: one rule ``fused(g, out, saved, *inputs, **settings)`` that returns all cotangents at
        once; parameters without a default are the inputs. The function then returns ``(out, saved)``; the rule finds
        in ``saved`` what the forward computed, or None when its own derivative is being recorded and it must compute
        that again from the inputs.

    Returns
    -------
    callable
        A decorator. The decorated function takes arrays and tensors. Arrays in, arrays out; a tensor in, a tensor out.

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
        if not hasattr(forward, "__code__"):
            raise DtypeError(f"primitive() got {forward!r}, expected a Python function: wrap it in a def or a lambda")
        made = Primitive(forward, rules, fused)

        @functools.wraps(forward)
        def apply(*args: Any, **settings: Any) -> Any:
            if len(args) > made.arity or made.defaults or settings:
                args, settings = made.bind(args, settings)
            kind: type[Traced] | None = None
            inputs: Sequence[Any] = args
            arrays: list[Any] = []
            tracked = unusual = False
            for x in args:
                if isinstance(x, Traced):
                    kind, tracked, x = type(x), tracked or x.requires_grad, x.data
                    unusual = unusual or type(x) is not np.ndarray
                elif type(x) is not float:
                    unusual = True
                arrays.append(x)
            if unusual or kind is None:
                inputs, arrays = made.check(args, kind)
            try:
                out = forward(*arrays, **settings)
            except HyperconError:
                raise
            except NUMPYS as error:
                raise explained(error, forward, args, settings) from None
            saved = None
            if fused:
                out, saved = out
            if kind is None:
                return out
            value = kind.__new__(kind)
            value.data = out if type(out) is np.ndarray or is_array(out) else xp(*arrays).asarray(out)
            value.grad = None
            value.requires_grad = tracked and is_recording()
            if value.requires_grad:
                value.primitive, value.inputs, value.arrays = made, tuple(inputs), arrays
                value.settings, value.saved = settings, saved
                value.birth = next(_births)  # made after its inputs: sorting by birth is a topological order
            else:
                value.primitive, value.inputs = None, ()
            return value

        apply.primitive = made  # type: ignore[attr-defined]
        return apply  # type: ignore[return-value]

    return register


# --- the sweep
_FREED = Primitive(lambda: None, (), None)
Graph = tuple[list[Traced], list[Traced]]


def sweep(
    output: Traced,
    targets: Sequence[Traced],
    cotangent: Any = None,
    *,
    create_graph: bool = False,
    keep: bool = False,
    graph: Graph | None = None,
) -> list[Any]:
    """The cotangents of ``targets`` from that of ``output``, as values of the same class.

    A target that the output does not depend on gets zeros. What does not lead to a target is neither visited nor freed;
    with ``keep`` or ``create_graph`` nothing is freed. ``graph`` is what `ancestors` says of the output, where known.
    """
    nodes, leaves = graph or (ancestors(output) if output.requires_grad else ([], []))
    first = _first_cotangent(output, cotangent)
    if create_graph:
        # a cotangent that is a tensor stays one: what is swept is linear in it, and `jvp` makes use of that
        first = cotangent if isinstance(cotangent, Traced) else type(output)(first)
    cotangents: dict[int, Any] = {id(output): first}
    wanted = {id(target) for target in targets}
    if any(id(leaf) not in wanted for leaf in leaves):
        nodes = _leading_to(wanted, nodes)
    with set_recording(create_graph):
        for value in nodes:
            key = id(value)
            g = cotangents.get(key) if key in wanted else cotangents.pop(key, None)
            if g is None:
                continue
            made, inputs, settings = value.primitive, value.inputs, value.settings
            assert made is not None
            out, args = (value, inputs) if create_graph else (value.data, value.arrays)
            rules, fused = made.rules, made.fused
            if fused:
                # what the forward left behind are raw arrays, cut off from the graph: of no use where this is recorded
                answers = fused(g, out, None if create_graph else value.saved, *args, **settings)
            for i, x in enumerate(inputs):
                if not (isinstance(x, Traced) and x.requires_grad):
                    continue
                if fused:
                    part = answers[i]
                elif rule := rules[i]:
                    part = rule(g, out, *args, **settings)
                else:
                    raise GraphError(f"{made.name} has no rule for input {i}: pass that one as an array")
                key, data = id(x), x.data
                known = cotangents.get(key)
                if type(part) is not type(data) or part.dtype is not data.dtype or part.shape != data.shape:
                    part = fit(part, x)  # asked here first: most parts fit, and a call costs as much as a small sum
                cotangents[key] = part if known is None else known + part
            if not create_graph and not keep:
                value.primitive, value.inputs, value.arrays, value.saved = _FREED, (), [], None
    return [_finished(cotangents.get(id(target)), target) for target in targets]


def ancestors(output: Traced) -> Graph:
    """What ``output`` was made from and needs a gradient: values with a node, youngest first, and leaves."""
    made, leaves, seen, stack = [], [], {id(output)}, [output]
    while stack:
        value = stack.pop()
        if value.primitive is None:
            leaves.append(value)
            continue
        if value.primitive is _FREED:
            raise GraphError(
                "backward() was asked twice of one graph, and the first sweep freed it: compute the value again, "
                "or pass create_graph=True to the first call"
            )
        made.append(value)
        for x in value.inputs:
            if isinstance(x, Traced) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    made.sort(key=operator.attrgetter("birth"), reverse=True)
    return made, leaves


def _leading_to(wanted: set[int], nodes: list[Traced]) -> list[Traced]:
    """Those of ``nodes`` (youngest first) that were made, through whatever steps, from a value that is wanted."""
    reached, leading = set(wanted), []
    for value in reversed(nodes):
        if any(id(x) in reached for x in value.inputs):
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
    if is_array(raw):
        check_one_device("backward()", [raw, output.data])
    g = xp(output.data).asarray(raw, dtype=output.dtype)
    if g.shape != output.shape:
        raise InputError(f"the cotangent has shape {g.shape}, expected the value's own shape {output.shape}")
    return g


def fit(g: Any, x: Any) -> Any:
    """``g`` with the shape and dtype of ``x``: what broadcasting copied is summed, here and nowhere else."""
    shape, dtype = x.data.shape, x.data.dtype
    if not hasattr(g, "shape"):
        g = xp(x.data).asarray(g)
    if g.shape != shape:
        extra = len(g.shape) - len(shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
            raise GraphError(
                f"a rule gave a cotangent of shape {g.shape} for an input of shape {shape}: "
                f"expected the output's shape or the input's"
            )
        stretched = [i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1]
        axes = (*range(extra), *stretched)
        if axes:
            g = g.sum(axis=axes, keepdims=True)
        g = g.reshape(shape)
    return g if g.dtype == dtype else g.astype(dtype)


def _finished(g: Any, target: Traced) -> Any:
    """A gradient that shares memory with no other: rules may hand the same array to several inputs."""
    cls = type(target)
    if g is None:
        return cls(xp(target.data).zeros(target.shape, target.dtype))
    return g if isinstance(g, Traced) else cls(memory.copy(g))


@primitive(lambda g, out, x: g)
def alias(x: Array) -> Array:
    """The same array as a value of its own."""
    return x
