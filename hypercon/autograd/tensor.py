"""`Tensor`: a traced array with NumPy's operators and methods, and clear refusals of what would go wrong silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from hypercon import backend
from hypercon.autograd import functions, ops
from hypercon.autograd.calls import as_float, as_operand, composed
from hypercon.autograd.engine import Traced, ancestors, primitive, sweep
from hypercon.errors import DtypeError, GraphError, InputError


def _refused_in_place(operator: str) -> Callable[[Any, Any], Any]:
    def refuse(self: Tensor, other: Any) -> NoReturn:
        raise DtypeError(
            f"t {operator}= value would change a tensor that a gradient may need: write t = t {operator} value"
        )

    return refuse


class Tensor(Traced):
    """An array that remembers how it was made. Make one with `tensor`.

    Attributes
    ----------
    data : array
        The raw NumPy or CuPy array. Optimisers write to it; nothing else should.
    requires_grad : bool
        Whether derivatives may be asked of what is computed from it.
    grad : Tensor or None
        Filled by ``backward()``, for leaves.

    Examples
    --------
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        body = np.array2string(backend.to_host(self.data), separator=", ", prefix="tensor(")
        notes = []
        if self.dtype not in (np.float64, np.int64, np.bool_):
            notes.append(f"dtype={self.dtype}")
        if self.device != "cpu":
            notes.append(f'device="{self.device}"')
        if self.requires_grad:
            notes.append("requires_grad=True" if self.primitive is None else f"made by {self.primitive.name}")
        return f"tensor({', '.join([body, *notes])})"

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
        graph = _, leaves = ancestors(self)
        gradients = sweep(self, leaves, gradient, create_graph=create_graph, graph=graph)
        for leaf, g in zip(leaves, gradients, strict=True):
            leaf.grad = g if leaf.grad is None else leaf.grad + g

    # --- operators: those whose first operand is this tensor are the functions themselves

    __add__ = ops.add
    __sub__ = ops.subtract
    __mul__ = ops.multiply
    __truediv__ = ops.divide
    __pow__ = ops.power
    __matmul__ = ops.matmul
    __neg__ = ops.negative
    __abs__ = ops.absolute
    __getitem__ = ops.getitem

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __gt__(self, other: Any) -> Any:
        return self.data > ops.raw(other)

    def __ge__(self, other: Any) -> Any:
        return self.data >= ops.raw(other)

    def __lt__(self, other: Any) -> Any:
        return self.data < ops.raw(other)

    def __le__(self, other: Any) -> Any:
        return self.data <= ops.raw(other)

    def __eq__(self, other: object) -> Any:
        return self.data == ops.raw(other)

    def __ne__(self, other: object) -> Any:
        return self.data != ops.raw(other)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # --- methods, with NumPy's names and arguments

    def sum(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return functions.mean(self, axis, keepdims)

    def var(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return functions.var(self, axis, keepdims)

    def prod(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return functions.prod(self, axis, keepdims)

    def max(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return ops.max(self, axis, keepdims)

    def min(self, axis: ops.Axis = None, keepdims: bool = False) -> Tensor:
        return ops.min(self, axis, keepdims)

    def clip(self, a_min: float, a_max: float) -> Tensor:
        return ops.clip(self, a_min, a_max)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Tensor:
        return ops.reshape(self, (-1,))

    def squeeze(self, axis: int | None = None) -> Tensor:
        return functions.squeeze(self, axis)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return functions.swapaxes(self, axis1, axis2)

    def transpose(self, *axes: Any) -> Tensor:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return ops.transpose(self, order)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return functions.diagonal(self, offset, axis1, axis2)

    def astype(self, dtype: Any) -> Tensor:
        return ops.astype(self, dtype)

    @property
    def T(self) -> Tensor:
        return self.transpose()

    # --- out of the graph, and between devices

    @property
    def device(self) -> str:
        return backend.device_of(self.data)

    def to(self, device: str) -> Tensor:
        """This tensor on ``device``; the gradient goes back to where it came from."""
        return _to(self, device=backend.resolve_device(device))

    def detach(self) -> Tensor:
        """The same data as a tensor that no gradient reaches."""
        return Tensor(self.data)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array; a tensor that needs a gradient must be detached first."""
        if self.requires_grad:
            raise DtypeError(
                "numpy() of a tensor that needs a gradient would cut its graph silently: call detach() first"
            )
        return backend.to_host(self.data)

    def item(self) -> float:
        """The only value of a tensor of size 1, as a Python number."""
        if self.size != 1:
            raise InputError(f"item() needs a tensor of one value, got shape {self.shape}: reduce or index it first")
        return backend.read(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise DtypeError("len() of a tensor without axes: it holds one value, read it with item()")
        return self.shape[0]

    # --- refusals: each says what to write instead

    def __bool__(self) -> bool:
        if self.size != 1:
            raise InputError(
                f"the truth value of a tensor of shape {self.shape} is ambiguous: use (t > 0).all() or .any()"
            )
        return bool(backend.read(self.data))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise DtypeError(
            "t[index] = value would change a tensor that a gradient may need: build a new one with "
            "hypercon.where(condition, value, t) or hypercon.concatenate([...])"
        )

    __iadd__ = _refused_in_place("+")
    __isub__ = _refused_in_place("-")
    __imul__ = _refused_in_place("*")
    __itruediv__ = _refused_in_place("/")
    __ipow__ = _refused_in_place("**")
    __imatmul__ = _refused_in_place("@")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise DtypeError("a Tensor does not turn into a NumPy array by itself: call t.detach().numpy()")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and ufunc in _OPERATORS:  # array * tensor arrives here as np.multiply
            return _OPERATORS[ufunc](*inputs)
        raise _numpy_refused(ufunc.__name__, has_twin=method == "__call__")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        raise _numpy_refused(function.__name__)


_OPERATORS: dict[Any, Any] = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.true_divide: ops.divide,
    np.power: ops.power,
    np.matmul: ops.matmul,
    np.greater: lambda x, y: ops.raw(x) > ops.raw(y),
    np.greater_equal: lambda x, y: ops.raw(x) >= ops.raw(y),
    np.less: lambda x, y: ops.raw(x) < ops.raw(y),
    np.less_equal: lambda x, y: ops.raw(x) <= ops.raw(y),
    np.equal: lambda x, y: ops.raw(x) == ops.raw(y),
    np.not_equal: lambda x, y: ops.raw(x) != ops.raw(y),
}


def _numpy_refused(name: str, has_twin: bool = True) -> DtypeError:
    twin = has_twin and name != "sign" and (hasattr(ops, name) or hasattr(functions, name))
    instead = f"hypercon.{name}(t)" if twin else "hypercon's own functions, or t.detach().numpy()"
    return DtypeError(f"np.{name} was given a Tensor, whose gradient NumPy would lose: use {instead}")


@primitive(lambda g, out, x, *, device: _to(g, device=backend.device_of(ops.raw(x))))
def _to(x: Any, *, device: str) -> Any:
    return backend.to_device(x, device)


@composed
def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor.

    Parameters
    ----------
    data : array_like or Tensor
        Numbers, nested lists, a NumPy or CuPy array (used without copying where dtype and device allow), or a tensor
        (its data is taken, its graph is not).
    dtype : data-type, optional
        Default: that of ``data``, as NumPy reads it.
    device : {"cpu", "cuda", "cuda:1", "auto"}, optional
        Default: where the data lies.
    requires_grad : bool, default False
        Whether derivatives by this tensor will be asked. Only floats have them.

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError
        The data are no numbers, or need a gradient and are not floats.
    DeviceError
        The device does not answer.

    Examples
    --------
    >>> tensor([[1.0, 2.0]], requires_grad=True)
    tensor([[1., 2.]], requires_grad=True)
    """
    array = ops.raw(data)
    if not backend.is_array(array):
        array = np.asarray(as_operand("tensor", array))
    for kind in (array.dtype, np.dtype(array.dtype if dtype is None else dtype)):
        if kind.kind not in "biuf":
            raise DtypeError(f"tensor() got {kind}, expected real numbers")
    if dtype is not None:
        array = array.astype(dtype, copy=False)
    if device is not None:
        array = backend.to_device(array, backend.resolve_device(device))
    return Tensor(as_float(array) if requires_grad else array, requires_grad)
