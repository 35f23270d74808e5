"""A device that computes what NumPy does and refuses what a GPU could not do, or would do slowly.

Code that runs on it runs on CuPy without a hidden copy and without a hidden wait: that is as far as a machine without a
GPU can show. Importing this file makes ``"strict"`` a device like any other; tensors and encoders go there with
``to("strict")``. An array of it wraps one of NumPy and hands out nothing of it unasked:

- it does not turn into a NumPy array, a number or a truth value by itself; ``get()`` is the only way back, and
  `hypercon.backend` the only caller;
- it computes with its own kind and with Python's numbers, never with arrays or scalars of NumPy;
- it has the functions and methods that `hypercon.backend` lists, with the arguments that CuPy takes;
- it refuses positions that CuPy would wrap round, and assignments whose result CuPy leaves to chance.

Examples
--------
>>> import hypercon as hc
>>> import hypercon.testing.strict
>>> x = hc.tensor([3.0, 4.0], device="strict")
>>> hc.norm(x)
tensor(5., device="strict")
>>> np.exp(x.data)
Traceback (most recent call last):
...
hypercon.testing.strict.LeakError: np.exp was given an array of the strict device: call xp(array).exp
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from hypercon import backend
from hypercon.errors import DeviceMixError
from hypercon.testing.cupy_signatures import Signature, load

NAME = "strict"
TABLE = load()


class LeakError(AssertionError):
    """Code did what CuPy refuses, answers otherwise than NumPy, or does only after waiting for the GPU.

    No error of the library is one of these, so nothing that handles those hides it.
    """


class StrictArray:
    """An array of the strict device. Made by ``hypercon.backend.to_device(array, "strict")``.

    Attributes
    ----------
    shape : tuple of int
    ndim, size : int
    dtype : numpy.dtype
    device : str
        ``"strict"``.
    T : StrictArray
    """

    __slots__ = ("_values",)
    __hash__ = None  # type: ignore[assignment]
    __reversed__ = None

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def ndim(self) -> int:
        return self._values.ndim

    @property
    def size(self) -> int:
        return self._values.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._values.dtype

    @property
    def device(self) -> str:
        return NAME

    @property
    def T(self) -> StrictArray:
        return StrictArray(self._values.T)

    def get(self) -> np.ndarray:
        """A copy of the values on the host."""
        return self._values.copy()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<strict array {self.shape} {self.dtype}>"  # showing values would fetch them

    def __getitem__(self, index: Any) -> StrictArray:
        return _wrap(self._values[_positions(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        positions = _positions(index)
        if not _is_basic(positions):
            times = np.zeros(self.shape, np.int64)
            np.add.at(times, positions, 1)
            if times.max(initial=0) > 1:
                raise LeakError(
                    "array[index] = value names a position twice: which value stays is up to chance in CuPy; "
                    "use xp(array).add.at to add both"
                )
        self._values[positions] = _unwrap("array[index] = value", value)

    # --- refusals

    def __getattr__(self, name: str) -> NoReturn:
        # answers for nothing: to forward what is not listed would forward the protocols by which NumPy reads arrays
        reason = (
            "the method is not in hypercon.backend.METHODS"
            if name in TABLE.methods
            else f"nor has CuPy {TABLE.version}"
        )
        if name in TABLE.attributes:
            reason = "the attribute is CuPy's, and no code needs it"
        raise _UnknownNameError(f"an array of the strict device has no {name!r}: {reason}")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise LeakError(
            "an array of the strict device was taken for one of NumPy: call hypercon.backend.to_host(array)"
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> NoReturn:
        for value in inputs:
            _unwrap(ufunc.__name__, value)  # an array of NumPy on the other side is the likelier mistake
        raise LeakError(f"np.{ufunc.__name__} was given an array of the strict device: call xp(array).{ufunc.__name__}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        raise LeakError(
            f"np.{function.__name__} was given an array of the strict device: call xp(array).{function.__name__}"
        )

    def __iter__(self) -> NoReturn:
        raise LeakError("iterating over an array starts one copy for each entry: index it, or reduce it")

    def __bool__(self) -> NoReturn:
        _refuse_to_wait("bool")

    def __int__(self) -> NoReturn:
        _refuse_to_wait("int")

    def __float__(self) -> NoReturn:
        _refuse_to_wait("float")

    def __complex__(self) -> NoReturn:
        _refuse_to_wait("complex")

    def __index__(self) -> NoReturn:
        _refuse_to_wait("operator.index")


class _UnknownNameError(LeakError, AttributeError):
    """What ``hasattr`` expects of a name that is not there."""


def _refuse_to_wait(function: str) -> NoReturn:
    raise LeakError(
        f"{function}(array) waits for the device without saying so: call hypercon.backend.read(array) where the value "
        f"is worth the wait, or keep it an array"
    )


# --- operators and methods


def _operator(name: str, apply: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def method(self: StrictArray, other: Any) -> Any:
        if hasattr(type(other), "__array_ufunc__") and not isinstance(other, StrictArray | np.ndarray | np.generic):
            return NotImplemented  # a tensor knows what to do
        mine, theirs = self._values, _unwrap(name, other)
        return _wrap(apply(theirs, mine) if reflected else apply(mine, theirs))

    return method


def _in_place(name: str, apply: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: StrictArray, other: Any) -> StrictArray:
        apply(self._values, _unwrap(name, other))
        return self

    return method


def _sign(apply: Callable[[Any], Any]) -> Callable[[StrictArray], StrictArray]:
    return lambda self: _wrap(apply(self._values))


def _method(name: str, signature: Signature) -> Callable[..., Any]:
    def method(self: StrictArray, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _arguments(f"array.{name}", signature, args, kwargs)
        return _wrap(getattr(self._values, name)(*args, **kwargs))

    return method


_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "pow": "power",
    "matmul": "matmul",
    "mod": "remainder",
    "floordiv": "floor_divide",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
for _name, _called in _OPERATORS.items():
    _apply = getattr(operator, f"__{_name}__")
    setattr(StrictArray, f"__{_name}__", _operator(_called, _apply))
    setattr(StrictArray, f"__r{_name}__", _operator(_called, _apply, reflected=True))
    setattr(StrictArray, f"__i{_name}__", _in_place(_called, getattr(operator, f"__i{_name}__")))
_COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
for _name, _called in _COMPARISONS.items():
    setattr(StrictArray, f"__{_name}__", _operator(_called, getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(StrictArray, f"__{_name}__", _sign(getattr(operator, _name)))
for _name in backend.METHODS:
    setattr(StrictArray, _name, _method(_name, TABLE.methods[_name]))


# --- functions


class _Function:
    """One of NumPy's functions, called as CuPy's is."""

    def __init__(self, name: str, signature: Signature) -> None:
        self._name, self._signature = name, signature
        self._numpy = getattr(np, name)
        self._is_ufunc = name in TABLE.ufuncs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_ufunc and any(isinstance(value, list | tuple) for value in args):
            raise LeakError(f"{self._name} was given a list, which CuPy's ufuncs refuse: make an array of it first")
        args, kwargs = _arguments(self._name, self._signature, args, kwargs)
        return _wrap(self._numpy(*args, **kwargs))

    def at(self, array: StrictArray, index: Any, value: Any) -> None:
        """``ufunc.at``: positions that are named twice count twice."""
        if self._name not in ("add", "subtract", "maximum", "minimum"):
            raise LeakError(f"{self._name}.at is not in CuPy")
        self._numpy.at(array._values, _positions(index), _unwrap(f"{self._name}.at", value))


class _Library:
    """What ``xp(array)`` gives for an array of the strict device."""

    ndarray = StrictArray

    def __init__(self) -> None:
        for name in backend.FUNCTIONS:
            signature = TABLE.find(name)
            assert signature is not None, f"CuPy {TABLE.version} has no {name}"
            setattr(self, name, _Function(name, signature))

    def __getattr__(self, name: str) -> NoReturn:
        reason = "it is not in hypercon.backend.FUNCTIONS" if TABLE.find(name) else f"nor has CuPy {TABLE.version}"
        raise _UnknownNameError(f"the strict device has no function {name!r}: {reason}")


def _arguments(
    name: str, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """NumPy's arrays in place of strict ones, once CuPy would take the call."""
    if refusal := signature.refusal(len(args), kwargs):
        raise LeakError(f"{name} of CuPy {TABLE.version} {refusal}")
    return tuple(_unwrap(name, value) for value in args), {key: _unwrap(name, value) for key, value in kwargs.items()}


def _unwrap(name: str, value: Any) -> Any:
    if isinstance(value, StrictArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise DeviceMixError(
            f"{name} got arrays on cpu and {NAME}, expected all on one device: move them first, for example "
            f'tensor.to("{NAME}")'
        )
    if isinstance(value, np.generic):
        raise LeakError(
            f"{name} was given a NumPy scalar, whose dtype would decide that of the result: give a Python number"
        )
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(name, item) for item in value)
    return value


def _wrap(result: Any) -> Any:
    """Results of NumPy as CuPy would give them: a reduction is an array without axes, not a scalar."""
    return StrictArray(np.asarray(result)) if isinstance(result, np.ndarray | np.generic) else result


def _positions(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_positions(part) for part in index)
    if isinstance(index, StrictArray):
        return index._values
    if isinstance(index, np.ndarray | list):
        raise DeviceMixError(
            f"an index is on cpu and its array on {NAME}, expected both on one device: move it first, "
            f"or index a tensor, which does that"
        )
    return index


def _is_basic(index: Any) -> bool:
    parts: Iterable[Any] = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(part, np.ndarray) for part in parts)


def _put(array: np.ndarray) -> StrictArray:
    return StrictArray(np.array(array, order="K"))


backend.register(NAME, _Library(), _put)
