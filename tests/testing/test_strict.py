"""The strict device refuses what a GPU could not do, or would do slowly, and says what to write instead."""

import copy
import operator
import subprocess
import sys

import numpy as np
import pytest

import hypercon as hc
from hypercon import backend
from hypercon.errors import DeviceError, DeviceMixError
from hypercon.testing.strict import LeakError, StrictArray


def strict(values):
    return backend.to_device(np.array(values), "strict")


X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


# --- what it is


def test_the_device_is_there_once_its_file_is_imported_and_not_before():
    code = "import hypercon as hc; hc.tensor([1.0]).to('strict')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DeviceError: device got 'strict', expected \"cpu\"" in ran.stderr
    code = "import hypercon as hc, hypercon.testing.strict; print(hc.tensor([1.0]).to('strict').device)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "strict\n"


def test_an_array_says_what_it_is_and_gives_its_values_when_asked():
    x = strict(X)
    assert (x.shape, x.ndim, x.size, x.dtype, x.device, len(x)) == ((2, 3), 2, 6, np.float64, "strict", 2)
    assert repr(x) == "<strict array (2, 3) float64>"
    assert not isinstance(x, np.ndarray)
    np.testing.assert_array_equal(x.get(), X)
    np.testing.assert_array_equal(x.T.get(), X.T)


def test_values_are_copied_on_the_way_there_and_back():
    values = X.copy()
    x = strict(values)
    values[0, 0] = 9
    x.get()[0, 1] = 9
    np.testing.assert_array_equal(x.get(), X)


def test_a_move_to_where_it_lies_already_copies_nothing():
    x = strict(X)
    assert backend.to_device(x, "strict") is x
    assert backend.to_device(backend.to_device(x, "cpu"), "cpu").flags.writeable


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod, operator.floordiv]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("operate", OPERATORS + COMPARISONS)
def test_operators_give_numpys_bits(operate):
    for mine, numpys in [
        (operate(strict(X), strict(X[:1])), operate(X, X[:1])),
        (operate(strict(X), 2), operate(X, 2)),
        (operate(2, strict(X)), operate(2, X)),
    ]:
        assert isinstance(mine, StrictArray)
        np.testing.assert_array_equal(mine.get(), numpys, strict=True)


def test_the_other_operators_too():
    x, mask = strict(X), strict(X > 2)
    np.testing.assert_array_equal((x @ x.T).get(), X @ X.T)
    for mine, numpys in [
        (-x, -X),
        (+x, +X),
        (abs(-x), X),
        (~mask, ~(X > 2)),
        (mask & ~mask, X > 9),
        (mask ^ mask, X > 9),
    ]:
        np.testing.assert_array_equal(mine.get(), numpys)
    np.testing.assert_array_equal((mask | ~mask).get(), X > 0)


def test_writing_in_place_keeps_the_array():
    x = before = strict(X)
    x += 1
    x *= strict(X)
    x -= 1.0
    x[0, :] = 0.0
    x[strict(X > 5)] = 7.0
    assert x is before
    np.testing.assert_array_equal(x.get(), [[0, 0, 0], [19, 29, 7]])


def test_reductions_give_arrays_without_axes():
    for reduced in [strict(X).sum(), backend.xp(strict(X)).max(strict(X)), strict(X)[0, 0]]:
        assert isinstance(reduced, StrictArray)
        assert reduced.shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_numbers_do_not_widen(dtype):
    x = strict(X.astype(dtype))
    assert (x * 2.0).dtype == (x.sum() * 2.0).dtype == backend.xp(x).where(x > 1, x, 0.0).dtype == dtype


def test_copying_is_not_fetching():
    assert isinstance(copy.deepcopy(strict(X)), StrictArray)


# --- conversions to the host

CONVERSIONS = {
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.exp": np.exp,
    "np.sum": np.sum,
    "np.ndim": np.ndim,
    "np.shape": np.shape,
    "np.where": lambda x: np.where(x, 1, 2),
    "np.add.at": lambda x: np.add.at(x, 0, 1),
    "np.concatenate": lambda x: np.concatenate([x, x]),
    "np.testing": lambda x: np.testing.assert_array_equal(x, x),
    "list": list,
    "tuple": lambda x: (*x,),
    "in": lambda x: 1.0 in x,
    "max": max,
    "for": lambda x: [row for row in x],  # noqa: C416 - iterating is the point
    "bool": lambda x: bool(x[0, 0] > 0),
    "if": lambda x: 1 if (x > 0).all() else 2,
    "and": lambda x: x[0, 0] and 1,
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "complex": lambda x: complex(x[0, 0]),
    "round": lambda x: round(float(x[0, 0])),
    "range": lambda x: range(x.astype(int)[0, 0]),
    "slice": lambda x: X[: x.astype(int)[0, 0]],
    "host index": lambda x: X[x.astype(int)[0, 0]],
    "format": lambda x: f"{float(x.sum()):.2f}",
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_nothing_is_fetched_or_waited_for_unasked(convert):
    with pytest.raises(LeakError):
        convert(strict(X))


@pytest.mark.parametrize("name", ["__array_interface__", "__array_struct__", "__dlpack__", "__cuda_array_interface__"])
def test_no_protocol_by_which_numpy_reads_arrays_is_forwarded(name):
    assert not hasattr(strict(X), name)


@pytest.mark.parametrize("name", ["flags", "item", "tolist", "cumsum", "strides", "data", "no_such_thing"])
def test_what_is_not_listed_is_not_there(name):
    assert not hasattr(strict(X), name)
    with pytest.raises(LeakError, match=f"has no '{name}'"):
        getattr(strict(X), name)


def test_writing_cannot_be_forbidden_as_numpy_does():
    with pytest.raises(AttributeError):
        strict(X).flags.writeable = False


def test_a_leak_is_no_error_that_the_library_handles():
    assert not issubclass(LeakError, hc.errors.HyperconError | ValueError | TypeError)
    with pytest.raises(LeakError, match=r"call xp\(array\)\.exp"):
        np.exp(strict(X))
    with pytest.raises(LeakError, match=r"hypercon\.backend\.read"):
        float(strict(1.0))


def test_an_array_is_no_key_and_is_not_walked_backwards():
    with pytest.raises(TypeError, match="unhashable"):
        {strict(X)}
    with pytest.raises(TypeError, match="not reversible"):
        reversed(strict(X))


# --- arrays of the host among its own

MIXES = {
    "left": lambda x: x + X,
    "right": lambda x: X + x,
    "matmul": lambda x: x @ X.T,
    "compare": lambda x: x < X,
    "in place": lambda x: operator.iadd(x, X),
    "of the host in place": lambda x: operator.iadd(X.copy(), x),
    "function": lambda x: backend.xp(x).maximum(x, X),
    "keyword": lambda x: backend.xp(x).einsum("ij,ij->i", x, X),
    "list of arrays": lambda x: backend.xp(x).concatenate([x, X]),
    "asarray": lambda x: backend.xp(x).asarray(X),
    "ufunc of NumPy": lambda x: np.add(x, X),
    "index": lambda x: x[np.array([0, 1])],
    "list index": lambda x: x[[0, 1]],
    "mask": lambda x: x[X > 2],
    "one index of two": lambda x: x[0, np.array([0, 1])],
    "assigned": lambda x: operator.setitem(x, slice(None), X),
    "assigned at": lambda x: operator.setitem(x, np.array([0]), 1.0),
    "added at": lambda x: backend.xp(x).add.at(x, strict([0]), X[:1]),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_arrays_of_the_host_are_refused(mix):
    with pytest.raises(DeviceMixError, match=r"cpu and .*strict.*move it|cpu and strict.*move them"):
        mix(strict(X))


def test_a_mix_is_an_error_of_devices():
    assert issubclass(DeviceMixError, DeviceError)


def test_scalars_of_numpy_are_refused_for_their_dtype():
    for mix in [
        lambda x: x * np.float64(2),
        lambda x: np.float64(2) * x,
        lambda x: backend.xp(x).maximum(x, np.float32(1)),
    ]:
        with pytest.raises(LeakError, match="NumPy scalar, whose dtype would decide"):
            mix(strict(X))


# --- names, keywords and positions


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m.vecdot(x, x), "no function 'vecdot': nor has CuPy"),
        (lambda m, x: m.cumsum(x), "no function 'cumsum': it is not in hypercon.backend.FUNCTIONS"),
        (lambda m, x: m.sum(x, where=x > 0), "sum of CuPy .* has no keyword 'where'"),
        (lambda m, x: m.exp(x, where=x > 0), "exp of CuPy .* has no keyword 'where'"),
        (lambda m, x: x.sum(initial=1.0), "array.sum of CuPy .* has no keyword 'initial'"),
        (lambda m, x: m.zeros(3, float, "C", None), "zeros of CuPy .* takes 3 positional arguments, not 4"),
        (lambda m, x: m.exp([1.0, 2.0]), "exp was given a list"),
        (lambda m, x: m.exp.at(x, 0, 1.0), "exp.at is not in CuPy"),
    ],
)
def test_what_cupy_does_not_take_is_refused(call, message):
    x = strict(X)
    with pytest.raises(LeakError, match=message):
        call(backend.xp(x), x)


def test_positions_out_of_range_are_refused_not_wrapped_round():
    with pytest.raises(IndexError):
        strict(X)[strict([2])]
    with pytest.raises(IndexError):
        backend.xp(strict(X)).add.at(strict(X), strict([2]), 1.0)


def test_an_assignment_to_one_position_twice_is_refused():
    x = strict(X)
    with pytest.raises(LeakError, match=r"names a position twice.*add\.at"):
        x[strict([0, 0])] = 1.0
    x[strict([1, 0])] = 1.0
    m = backend.xp(x)
    m.add.at(x, strict([0, 0]), 1.0)
    np.testing.assert_array_equal(x.get(), [[3, 3, 3], [1, 1, 1]])
