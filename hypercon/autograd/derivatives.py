"""Derivatives of functions, built on the sweep: functions in, functions out.

All of them nest. Arrays in, arrays out; where the function depends on a tensor that needs a gradient, as an argument or
by any other way, the results are tensors on its graph and can be differentiated again (not inside `no_grad`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hypercon.autograd import ops
from hypercon.autograd.calls import as_float, as_operand
from hypercon.autograd.engine import Graph, alias, ancestors, sweep
from hypercon.autograd.recording import is_recording, set_recording
from hypercon.autograd.tensor import Tensor
from hypercon.backend import is_array, xp
from hypercon.errors import DtypeError, GraphError, InputError


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False) -> Any:
    """A function that returns the value of ``f`` and its gradient.

    Parameters
    ----------
    f : callable
        A function of arrays or tensors whose value is a scalar.
    argnums : int or tuple of int, default 0
        Which positional arguments to differentiate by. An int gives one gradient, a tuple a tuple.
    has_aux : bool, default False
        ``f`` returns ``(value, anything)``; the new function then returns ``((value, anything), gradient)``.

    Returns
    -------
    callable
        Takes the arguments of ``f``.

    Raises
    ------
    InputError
        The value is no scalar, or there is no such argument.
    GraphError
        The value is no tensor made by hypercon's operations.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> f = hc.value_and_grad(lambda x: (x ** 2).sum())
    >>> value, gradient = f(np.array([1.0, 3.0]))
    >>> float(value), gradient.tolist()
    (10.0, [2.0, 6.0])
    """
    positions = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(positions, tuple) or not all(isinstance(i, int) for i in positions):
        raise InputError(f"argnums got {argnums!r}, expected the position of an argument or a tuple of positions")
    _check_function(f)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _traced(f, args, positions, kwargs, has_aux)
        if call.value.size != 1:
            raise InputError(
                f"the function returned shape {call.value.shape}, expected a scalar: reduce it with sum() or mean()"
            )
        gradients = call.finish(call.pull(None))
        answer = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        value = call.result()
        return ((value, *call.aux) if has_aux else value), answer

    return wrapped


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of ``f``; see `value_and_grad` for its parameters.

    Examples
    --------
    >>> import hypercon as hc
    >>> float(hc.grad(hc.grad(lambda x: x ** 3))(2.0))
    12.0
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapped


def vjp(f: Callable[..., Any], *inputs: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The value of ``f`` and its pullback, from cotangents of the value to cotangents of the inputs.

    Parameters
    ----------
    f : callable
        Its value may have any shape.
    *inputs : array_like or Tensor

    Returns
    -------
    value : array or Tensor
    pullback : callable
        ``pullback(u)`` is ``J^T u`` for each input: one array, or a tuple where there are several. It may be called
        as often as wanted.

    Raises
    ------
    InputError
        To the pullback: ``u`` has another shape than the value.
    GraphError
        The value is no tensor made by hypercon's operations.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> value, pullback = hc.vjp(lambda x: x * x, np.array([1.0, 3.0]))
    >>> pullback(np.array([1.0, 10.0]))
    array([ 2., 60.])
    """
    call = _traced(f, inputs, tuple(range(len(inputs))), {})

    def pullback(cotangent: Any) -> Any:
        gradients = call.finish(call.pull(cotangent, keep=True))
        return gradients[0] if len(inputs) == 1 else tuple(gradients)

    return call.result(), pullback


def jvp(f: Callable[..., Any], inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of ``f`` and its derivative along a direction, ``J v``.

    The pullback ``u -> J^T u`` is linear, and the transpose of its own derivative is ``J``: a sweep through the sweep
    gives ``J v`` without a rule of its own.

    Parameters
    ----------
    f : callable
        Its value may have any shape.
    inputs : sequence of array_like or Tensor
    tangents : sequence of array_like
        The direction: one for each input, of its shape.

    Returns
    -------
    value, tangent : array or Tensor

    Raises
    ------
    InputError
        Inputs and tangents differ in number or shape.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> value, tangent = hc.jvp(lambda x: x * x, [np.array([1.0, 3.0])], [np.array([1.0, 10.0])])
    >>> tangent
    array([ 2., 60.])
    """
    if not all(isinstance(given, list | tuple) for given in (inputs, tangents)):
        raise DtypeError("jvp() got one input or tangent by itself, expected a list or tuple of them: jvp(f, [x], [v])")
    call = _traced(f, tuple(inputs), tuple(range(len(inputs))), {})
    shapes, expected = [_shape(t) for t in tangents], [x.shape for x in call.inner]
    if shapes != expected:
        raise InputError(f"jvp() got tangents of shapes {shapes}, expected those of the inputs, {expected}")
    u = Tensor(xp(call.value.data).zeros(call.value.shape, call.value.dtype), requires_grad=True)
    with set_recording(True):
        pulled = call.pull(u, create_graph=True)
        along = [ops.sum(g * t) for g, t in zip(pulled, tangents, strict=True)]
        total = functools.reduce(ops.add, along)
    tangent = sweep(total, [u], create_graph=call.nested)[0]
    return call.result(), tangent if call.nested or call.gave_tensors else tangent.data


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian of a scalar function times a vector, without the Hessian: the gradient of ``<grad f(x), v>``.

    Parameters
    ----------
    f : callable
        A function of one array or tensor whose value is a scalar.
    x : array_like or Tensor
    v : array_like
        Of the shape of x.

    Returns
    -------
    array or Tensor
        Of the shape of x.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> hc.hvp(lambda x: (x ** 3).sum(), np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    array([  6., 120.])
    """
    if _shape(v) != _shape(x):
        raise InputError(f"hvp() got v of shape {_shape(v)}, expected that of x, {_shape(x)}")
    return grad(lambda y: (grad(f)(y) * v).sum())(x)


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns all derivatives of the value of ``f`` by one argument.

    Parameters
    ----------
    f : callable
        Its value may have any shape.
    argnum : int, default 0

    Returns
    -------
    callable
        Takes the arguments of ``f``. Its value has the shape of that of ``f`` followed by that of the argument; each
        entry of the value costs one sweep.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> hc.jacobian(lambda x: x * x)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """

    _check_function(f)
    if not isinstance(argnum, int):
        raise InputError(f"argnum got {argnum!r}, expected the position of an argument")

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _traced(f, args, (argnum,), kwargs)
        value, x, m = call.value, call.inner[0], xp(call.value.data)
        rows = []
        units = m.eye(value.size, dtype=value.dtype)
        for i in range(value.size):
            rows += call.finish(call.pull(units[i].reshape(value.shape), keep=True))
        shape = (*value.shape, *x.shape)
        if not rows:
            return call.finish([Tensor(m.zeros(shape, x.dtype))])[0]
        return ops.concatenate([ops.reshape(row, (1, -1)) for row in rows]).reshape(shape)

    return wrapped


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns all second derivatives of a scalar function by one argument.

    Parameters
    ----------
    f : callable
        Its value is a scalar.
    argnum : int, default 0

    Returns
    -------
    callable
        Takes the arguments of ``f``. Its value has the argument's shape twice over.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> hc.hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [6., 2.]])
    """
    return jacobian(grad(f, argnum), argnum)


class _Call(NamedTuple):
    """A function's value with the graph that leads to it, and whether a surrounding derivative goes on from it."""

    given: list[Any]
    inner: list[Tensor]
    value: Tensor
    aux: list[Any]
    graph: Graph | None
    nested: bool

    @property
    def gave_tensors(self) -> bool:
        return any(isinstance(x, Tensor) for x in self.given)

    def pull(self, cotangent: Any, keep: bool = False, create_graph: bool | None = None) -> list[Any]:
        """The cotangents of the inputs."""
        create_graph = self.nested if create_graph is None else create_graph
        # leaves of this call alone need a gradient only now: a surrounding derivative has nothing to follow there
        leaves = [x for x in self.inner if x.primitive is None]
        for x in leaves:
            x.requires_grad = True
        gradients = sweep(self.value, self.inner, cotangent, create_graph=create_graph, keep=keep, graph=self.graph)
        for x in leaves:
            x.requires_grad = False
        return gradients

    def finish(self, gradients: list[Any]) -> list[Any]:
        """Gradients in the form that their inputs were given in."""
        if self.nested:
            return gradients
        return [g if isinstance(x, Tensor) else g.data for g, x in zip(gradients, self.given, strict=True)]

    def result(self) -> Any:
        """The value in the form that the inputs were given in."""
        if self.nested:
            return self.value
        return self.value.detach() if self.gave_tensors else self.value.data


def _traced(
    f: Callable[..., Any], args: tuple[Any, ...], positions: tuple[int, ...], kwargs: Any, has_aux: bool = False
) -> _Call:
    """Call ``f`` with the arguments at ``positions`` made inputs of a graph of their own."""
    _check_function(f)
    if not all(-len(args) <= i < len(args) for i in positions):
        raise InputError(f"a derivative was asked by argument {positions}, but the function got {len(args)} of them")
    given = [args[i] for i in positions]
    with set_recording(True):
        # each argument passes through a node of its own, so the sweep stops there and not at an outer variable
        inner = [alias(x) if is_tracked(x) else _leaf(x) for x in given]
        replaced = list(args)
        for i, x in zip(positions, inner, strict=True):
            replaced[i] = x
        result = f(*replaced, **kwargs)
    value, *aux = result if has_aux else (result,)
    if not isinstance(value, Tensor):
        raise GraphError(
            f"the function returned {type(value).__name__}, through which no derivative can be traced: "
            f"return a tensor computed with hypercon's operations"
        )
    graph = ancestors(value) if value.requires_grad else None
    own = {id(x) for x in inner}
    nested = is_recording() and graph is not None and any(id(leaf) not in own for leaf in graph[1])
    return _Call(given, inner, value, aux, graph, nested)


def _check_function(f: Any) -> None:
    if not callable(f):
        raise DtypeError(f"a derivative was asked of {type(f).__name__}, expected a function of arrays or tensors")


def _shape(x: Any) -> tuple[int, ...]:
    raw = ops.raw(x)
    return tuple(raw.shape) if is_array(raw) else np.shape(as_operand("a derivative along a direction", x))


def is_tracked(x: Any) -> bool:
    """Whether ``x`` is a tensor that a surrounding derivative follows."""
    return isinstance(x, Tensor) and x.requires_grad


def _leaf(x: Any) -> Tensor:
    raw = x.data if isinstance(x, Tensor) else as_operand("a derivative by its input", x)
    raw = raw if is_array(raw) else np.asarray(raw)
    return Tensor(as_float(raw), requires_grad=True)
