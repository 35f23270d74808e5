"""Derivatives of functions, built on the sweep: functions in, functions out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.autograd.calls import as_float
from hypercon.autograd.engine import alias, ancestors, is_recording, set_recording, sweep
from hypercon.autograd.tensor import Tensor
from hypercon.backend import is_array
from hypercon.errors import GraphError, InputError


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
        Takes the arguments of ``f``. Arrays in, arrays out; where ``f`` depends on a tensor that needs a gradient, as
        an argument or by any other way, the results are tensors on its graph and can be differentiated again, so the
        function nests to any order. Inside `no_grad` they are not.

    Raises
    ------
    InputError
        The value is no scalar.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> f = hc.value_and_grad(lambda x: (x ** 2).sum())
    >>> value, gradient = f(np.array([1.0, 3.0]))
    >>> float(value), gradient.tolist()
    (10.0, [2.0, 6.0])
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
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
        if value.size != 1:
            raise InputError(
                f"the function returned shape {value.shape}, expected a scalar: reduce it with sum() or mean()"
            )
        own = {id(x) for x in inner}
        graph = _, leaves = ancestors(value)
        nested = is_recording() and any(id(leaf) not in own for leaf in leaves)
        gradients = sweep(value, inner, create_graph=nested, graph=graph if value.requires_grad else None)
        for x in inner:
            if x.primitive is None:  # a leaf of this call alone: a surrounding derivative has nothing to follow there
                x.requires_grad = False
        if not nested:
            gradients = [g if isinstance(x, Tensor) else g.data for g, x in zip(gradients, given, strict=True)]
            value = type(value)(value.data) if any(isinstance(x, Tensor) for x in given) else value.data
        answer = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, *aux) if has_aux else value), answer

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


def is_tracked(x: Any) -> bool:
    """Whether ``x`` is a tensor that a surrounding derivative follows."""
    return isinstance(x, Tensor) and x.requires_grad


def _leaf(x: Any) -> Tensor:
    raw = x.data if isinstance(x, Tensor) else x if is_array(x) else np.asarray(x)
    return Tensor(as_float(raw), requires_grad=True)
