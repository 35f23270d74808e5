"""Every operation of the table: NumPy's values, derivatives of every order, and no surprise of dtype or layout."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_table import NOT_OPERATIONS, ROWS

import hypercon as hc
from hypercon.errors import InputError
from hypercon.testing import gradcheck

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def value_and_gradients(call, inputs, cotangent_seed=1):
    """What ``call`` makes of arrays, and their gradients for a random cotangent."""
    leaves = [hc.tensor(x, requires_grad=True) for x in inputs]
    value = call(*leaves)
    value.backward(numbers(value.shape, cotangent_seed))
    return value.data, [leaf.grad.data for leaf in leaves]


def test_every_public_name_is_an_operation_with_a_row_or_known_not_to_be_one():
    assert {row.name for row in ROWS} | NOT_OPERATIONS == set(hc.autograd.__all__)


@every_row
def test_derivatives_of_first_and_second_order_agree_with_differences(row):
    gradcheck(row.call, *row.inputs(), order=2)


@pytest.mark.parametrize("name", ["power", "tanh", "logsumexp", "normalize", "matmul", "getitem", "conv2d"])
def test_derivatives_of_third_order_agree_with_differences(name):
    row = next(row for row in ROWS if row.name == name)
    gradcheck(row.call, *row.inputs(), order=3)


@every_row
def test_arrays_give_numpys_values_and_no_tensor(row):
    value = row.call(*row.inputs())
    assert not isinstance(value, hc.Tensor)
    np.testing.assert_allclose(value, row.numpy(*row.inputs()), rtol=1e-12, strict=np.ndim(value) > 0)


@every_row
def test_tensors_give_a_tensor_of_the_same_values(row):
    value = row.call(*[hc.tensor(x) for x in row.inputs()])
    assert isinstance(value, hc.Tensor)
    assert not value.requires_grad
    np.testing.assert_array_equal(value.data, row.call(*row.inputs()))


@every_row
def test_float32_stays_float32_in_values_and_gradients(row):
    value, gradients = value_and_gradients(row.call, row.inputs(np.float32))
    exact, exact_gradients = value_and_gradients(row.call, row.inputs())
    assert value.dtype == (np.float64 if row.name == "astype" else np.float32)
    np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-6)
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-4, atol=1e-5)


LAYOUTS = {
    "fortran order": np.asfortranarray,
    "every other entry": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "transposed": lambda x: x.T.copy().T,
}


@every_row
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_in_memory_does_not_matter(row, layout):
    value, gradients = value_and_gradients(row.call, [layout(x) for x in row.inputs()])
    expected, expected_gradients = value_and_gradients(row.call, row.inputs())
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-14)


@every_row
@pytest.mark.parametrize("create_graph", [False, True], ids=["plain", "recorded"])
def test_inputs_and_cotangent_are_never_written_to(row, create_graph):
    inputs = row.inputs()
    cotangent = numbers(np.shape(row.call(*inputs)))
    for array in [*inputs, cotangent]:
        array.flags.writeable = False  # writing raises
    leaves = [hc.tensor(x, requires_grad=True) for x in inputs]
    row.call(*leaves).backward(cotangent, create_graph=create_graph)


@every_row
def test_gradients_share_memory_with_nothing(row):
    inputs = row.inputs()
    leaves = [hc.tensor(x, requires_grad=True) for x in inputs]
    value = row.call(*leaves)
    cotangent = numbers(value.shape)
    value.backward(cotangent)
    arrays = [*inputs, cotangent, value.data]
    for gradient in (leaf.grad.data for leaf in leaves):
        assert not any(np.shares_memory(gradient, other) for other in arrays)
        arrays.append(gradient)


# --- where the structure varies


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.sampled_from(["add", "multiply"]))
def test_broadcasting_is_differentiated_like_an_explicit_copy(shapes, name):
    call = getattr(hc, name)
    x, y = (np.asarray(numbers(shape, seed)) for seed, shape in enumerate(shapes.input_shapes))

    def copied(x, y):
        return call(hc.broadcast_to(x, shapes.result_shape), hc.broadcast_to(y, shapes.result_shape))

    value, gradients = value_and_gradients(call, [x, y])
    expected, expected_gradients = value_and_gradients(copied, [x, y])
    np.testing.assert_array_equal(value, expected)
    for gradient, expected_gradient, z in zip(gradients, expected_gradients, [x, y], strict=True):
        assert gradient.shape == z.shape
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-14)


@given(st.data(), st.sampled_from(["sum", "mean", "var", "max", "min", "logsumexp", "norm"]), st.booleans())
def test_reductions_take_any_axes(data, name, keepdims):
    x = numbers(data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | hnp.valid_tuple_axes(x.ndim, min_size=1))
    direct = {"logsumexp": np.logaddexp.reduce, "norm": lambda x, **k: np.sqrt((x * x).sum(**k))}
    call, numpy = getattr(hc, name), direct.get(name, getattr(np, name, None))
    expected = numpy(x, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(call(x, axis=axis, keepdims=keepdims), expected, rtol=1e-12, atol=1e-14)
    gradcheck(lambda x: call(x, axis=axis, keepdims=keepdims), x, order=1, directions=1)


@given(st.data())
def test_indexing_is_numpys_and_its_gradient_puts_back(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    picks = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
    masks = hnp.arrays(bool, shape)
    index = data.draw(basic | picks | masks)
    x = numbers(shape)
    value, (gradient,) = value_and_gradients(lambda x: x[index], [x])
    np.testing.assert_array_equal(value, x[index])
    expected = np.zeros(shape)
    np.add.at(expected, index, numbers(value.shape, 1))
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3))
def test_matmul_takes_vectors_matrices_and_stacks(shapes):
    x, y = (numbers(shape, seed) for seed, shape in enumerate(shapes.input_shapes))
    np.testing.assert_allclose(hc.matmul(x, y), x @ y, rtol=1e-12, atol=1e-14)
    gradcheck(hc.matmul, x, y, order=1, directions=1)


@given(st.data())
def test_moving_entries_about_is_undone_by_the_gradient(data):
    x = numbers(data.draw(SHAPES))
    axes = data.draw(st.permutations(range(x.ndim)))
    moved, (gradient,) = value_and_gradients(lambda x: hc.reshape(hc.transpose(x, axes), -1), [x])
    np.testing.assert_array_equal(moved, x.transpose(axes).ravel())
    cotangent = numbers(moved.shape, 1).reshape([x.shape[a] for a in axes])
    np.testing.assert_array_equal(gradient, cotangent.transpose(np.argsort(axes).astype(int)))


@given(st.data(), st.sampled_from(["concatenate", "stack"]))
def test_joining_takes_any_axis(data, name):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = [numbers(shape, seed) for seed in range(3)]
    value, gradients = value_and_gradients(lambda *parts: getattr(hc, name)(parts, axis), parts)
    np.testing.assert_array_equal(value, getattr(np, name)(parts, axis))
    rejoined = getattr(np, name)(gradients, axis)
    np.testing.assert_array_equal(rejoined, numbers(value.shape, 1))


# --- operators and methods

OPERATORS = {
    "+": (operator.add, hc.add),
    "-": (operator.sub, hc.subtract),
    "*": (operator.mul, hc.multiply),
    "/": (operator.truediv, hc.divide),
    "**": (operator.pow, hc.power),
    "@": (operator.matmul, hc.matmul),
}


@pytest.mark.parametrize(("operate", "call"), OPERATORS.values(), ids=OPERATORS)
def test_an_operator_is_its_function_with_an_array_on_either_side(operate, call):
    x, y = np.abs(numbers((3, 3), 0)), np.abs(numbers((3, 3), 1))
    for mix in [(hc.tensor(x), hc.tensor(y)), (hc.tensor(x), y), (x, hc.tensor(y))]:
        result = operate(*mix)
        assert isinstance(result, hc.Tensor)
        np.testing.assert_array_equal(result.data, call(x, y))


@pytest.mark.parametrize(("operate", "call"), list(OPERATORS.values())[:-1], ids=list(OPERATORS)[:-1])
def test_an_operator_takes_numbers_on_either_side(operate, call):
    x = np.abs(numbers((2, 3)))
    np.testing.assert_array_equal(operate(hc.tensor(x), 2).data, call(x, 2))
    np.testing.assert_array_equal(operate(2, hc.tensor(x)).data, call(2, x))


def test_signs_are_operators_too():
    t = hc.tensor([1.0, -2.0])
    np.testing.assert_array_equal((-t).data, [-1, 2])
    np.testing.assert_array_equal(abs(t).data, [1, 2])


COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_give_plain_boolean_arrays(compare):
    x, y = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    for mix in [(hc.tensor(x), hc.tensor(y)), (hc.tensor(x), y), (x, hc.tensor(y))]:
        result = compare(*mix)
        assert isinstance(result, np.ndarray)
        np.testing.assert_array_equal(result, compare(x, y))
    np.testing.assert_array_equal(compare(hc.tensor(x), 2.0), compare(x, 2.0))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min"])
def test_a_reducing_method_is_its_function(name):
    t = hc.tensor(numbers((2, 3)))
    method, function = getattr(t, name), getattr(hc, name)
    np.testing.assert_array_equal(method().data, function(t).data)
    np.testing.assert_array_equal(method(axis=1, keepdims=True).data, function(t, axis=1, keepdims=True).data)


def test_shapes_may_be_given_as_numbers_or_as_a_tuple():
    t = hc.tensor(numbers((2, 3)))
    assert t.reshape(3, 2).shape == t.reshape((3, 2)).shape == (3, 2)
    assert t.reshape(6).shape == t.reshape(-1).shape == (6,)
    assert t.transpose().shape == t.transpose(1, 0).shape == t.transpose((1, 0)).shape == t.T.shape == (3, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: hc.sum(x, axis=2),
        lambda x: hc.transpose(x, (0, 3)),
        lambda x: hc.stack([x, x], 3),
        lambda x: hc.concatenate([x, x], 2),
        lambda x: hc.softmax(x, 2),
    ],
    ids=["sum", "transpose", "stack", "concatenate", "softmax"],
)
def test_an_axis_that_is_not_there_is_refused_not_wrapped_round(call):
    with pytest.raises(InputError):
        call(hc.tensor(np.ones((2, 3))))
