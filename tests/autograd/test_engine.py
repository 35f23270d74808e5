"""The engine: graphs of any shape and depth, freed when done, and refusals that say what to write instead."""

import gc
import inspect
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hypercon as hc
from hypercon.autograd.engine import sweep
from hypercon.errors import DtypeError, GraphError, InputError
from hypercon.testing import gradcheck


def leaf(data, dtype=float):
    return hc.tensor(np.asarray(data, dtype), requires_grad=True)


@contextmanager
def no_collector():
    """What dies in here dies by its reference count."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- graphs


def test_a_value_used_twice_receives_both_gradients():
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4


def test_a_diamond_sums_over_its_paths():
    x = leaf(2.0)
    top = x * 3
    left, right = top * top, hc.exp(top)
    (left * right).backward()  # d/dt t^2 e^t = (2 t + t^2) e^t at t = 6
    assert x.grad.item() == pytest.approx(3 * (12 + 36) * np.exp(6))


def test_paths_of_different_length_to_one_value_are_awaited():
    x = leaf(1.0)
    short = x * 2
    long = ((short * 3) + 1) * 5
    (short * long).backward()  # s (15 s + 5) at s = 2 x
    assert x.grad.item() == 2 * (30 * 2 + 5)


@given(st.lists(st.tuples(st.sampled_from("+-*~"), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=20))
def test_any_graph_agrees_with_a_complex_step(program):
    """Each step joins two earlier values; the imaginary part of a tiny step carries the derivative exactly."""

    def run(x, y):
        values = [x, y]
        for kind, i, j in program:
            a, b = values[i % len(values)], values[j % len(values)]
            tame = 1 / (1 + a * a + b * b)
            values.append({"+": a + b, "-": a - b, "*": a * b, "~": a * b * b}[kind] * tame)
        return values[-1]

    x, y, step = 0.7, -1.3, 1e-30
    gradients = hc.grad(run, argnums=(0, 1))(x, y)
    expected = run(x + 1j * step, y).imag / step, run(x, y + 1j * step).imag / step
    np.testing.assert_allclose(gradients, expected, rtol=1e-9, atol=1e-12)


def test_a_chain_of_100_000_nodes_is_no_deeper_than_any_other():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    for _ in range(100_000):
        x = x + 1.0
    del x  # a graph that nobody swept is let go of without recursion too


def test_a_long_chain_can_be_recorded_swept_again_and_dropped():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    (slope,) = sweep(y, [x], create_graph=True)
    assert slope.item() == 1
    del y, slope  # two graphs, one made of the other


def test_a_tower_of_diamonds_is_visited_once_a_node_and_not_once_a_path():
    x = leaf(1.0)
    y = x
    for _ in range(500):  # 2 ** 500 paths
        y = y * 0.25 + y * 0.75
    y.backward()
    assert x.grad.item() == 1


def test_backward_of_a_leaf_is_its_cotangent():
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    assert x.grad.data.tolist() == [3, 4]


def test_gradients_accumulate_over_calls():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * 10).sum().backward()
    assert x.grad.data.tolist() == [12, 14]


def test_only_leaves_keep_a_gradient():
    x = leaf(1.0)
    y = x * 2
    y.backward()
    assert y.grad is None


def test_what_needs_no_gradient_gets_none():
    x, constant = leaf(2.0), hc.tensor(5.0)
    y = x * constant
    y.backward()
    assert x.grad.item() == 5
    assert constant.grad is None


def test_a_cotangent_may_be_an_array_a_list_or_a_tensor():
    for cotangent in ([1.0, 2.0], np.array([1, 2]), hc.tensor([1.0, 2.0])):
        x = leaf([1.0, 1.0])
        (x * 3).backward(cotangent)
        assert x.grad.data.tolist() == [3, 6]


# --- life and death


def test_a_graph_dies_with_its_sweep_while_the_value_lives():
    x = leaf(np.ones(3))
    hidden = x * 2
    watch = weakref.ref(hidden)
    with no_collector():
        value = (hidden * hidden).sum()
        del hidden
        assert watch() is not None
        value.backward()
        assert watch() is None


def test_a_graph_that_is_dropped_dies_without_a_sweep():
    x = leaf(np.ones(3))
    hidden = x * 2
    watch = weakref.ref(hidden)
    with no_collector():
        value = (hidden * hidden).sum()
        del hidden, value
        assert watch() is None


def test_nested_derivatives_leave_nothing_behind():
    watches = []

    def f(x):
        watches.append(weakref.ref(x))
        return x**3

    with no_collector():
        hc.grad(hc.grad(f))(2.0)
        assert [watch() for watch in watches] == [None]


def test_a_second_backward_says_why_it_cannot_and_what_to_do():
    value = leaf(2.0) ** 2
    value.backward()
    with pytest.raises(GraphError, match=r"twice.*freed.*compute the value again.*create_graph=True"):
        value.backward()


def test_a_value_built_on_a_freed_graph_says_so_too():
    hidden = leaf(2.0) ** 2
    hidden.backward()
    with pytest.raises(GraphError, match="compute the value again"):
        (hidden * 2).backward()


def test_with_create_graph_a_second_backward_can():
    x = leaf(2.0)
    value = x**3
    value.backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.item() == 12
    first.backward()
    assert x.grad.item() == 12
    x.grad = None
    value.backward()
    assert x.grad.item() == 12


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda: leaf([1.0, 2.0]).backward(), InputError, r"shape \(2,\) needs a cotangent.*sum\(\) or mean\(\)"),
        (lambda: leaf([1.0, 2.0]).backward([1.0]), InputError, r"cotangent has shape \(1,\), expected.*\(2,\)"),
        (lambda: hc.tensor(1.0).backward(), GraphError, "requires_grad=True"),
    ],
    ids=["no scalar", "other shape", "no gradient"],
)
def test_a_backward_that_means_nothing_is_refused(ask, error, said):
    with pytest.raises(error, match=said):
        ask()


# --- not recording


def test_no_grad_gives_the_same_values_and_no_graph():
    x = leaf([1.0, 2.0])
    with hc.no_grad():
        y = hc.exp(x) * 2
    assert not y.requires_grad
    np.testing.assert_array_equal(y.data, (hc.exp(x) * 2).data)


def test_no_grad_nests_and_survives_exceptions():
    x = leaf(1.0)
    with hc.no_grad():
        with pytest.raises(KeyError), hc.no_grad():
            raise KeyError
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_a_rule_that_raises_leaves_recording_as_it_was():
    def rule(g, out, x):
        raise KeyError

    broken = hc.primitive(rule)(lambda x: x * 1.0)
    for create_graph in (False, True):
        with pytest.raises(KeyError):
            broken(leaf(1.0)).backward(create_graph=create_graph)
        assert (leaf(1.0) * 2).requires_grad


def test_no_grad_decorates():
    double = hc.no_grad()(lambda x: x * 2)
    assert not double(leaf(1.0)).requires_grad
    assert not double(leaf(1.0)).requires_grad


def test_no_grad_holds_in_its_own_thread_only():
    x, seen = leaf(1.0), []
    with hc.no_grad():
        other = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        other.start()
        other.join()
    assert seen == [True]


def test_detach_cuts_the_graph_and_copies_nothing():
    x = leaf([1.0, 2.0])
    y = x * 2
    cut = y.detach()
    assert not cut.requires_grad
    assert cut.data is y.data
    (y * cut).sum().backward()  # cut counts as a constant
    assert x.grad.data.tolist() == [4, 8]


# --- derivatives of functions


def cubes(x, y):
    return (x**3 * y).sum()


def test_grad_gives_arrays_for_arrays_and_tensors_for_tensors():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    gradient = hc.grad(cubes)(x, y)
    assert type(gradient) is np.ndarray
    assert gradient.tolist() == [9, 48]
    value, gradient = hc.value_and_grad(cubes)(hc.tensor(x), y)
    assert isinstance(value, hc.Tensor)
    assert isinstance(gradient, hc.Tensor)
    assert not gradient.requires_grad


def test_value_and_grad_gives_the_value_beside_the_gradient():
    value, gradient = hc.value_and_grad(cubes)(2.0, 5.0)
    assert (float(value), float(gradient)) == (40, 60)


def test_argnums_picks_what_to_differentiate_by():
    assert float(hc.grad(cubes, 1)(2.0, 5.0)) == 8
    assert float(hc.grad(cubes, -1)(2.0, 5.0)) == 8
    by_y, by_x = hc.grad(cubes, (1, 0))(2.0, 5.0)
    assert (float(by_y), float(by_x)) == (8, 60)


def test_keywords_pass_through():
    assert float(hc.grad(lambda x, *, power: x**power)(2.0, power=3)) == 12


def test_has_aux_passes_on_what_comes_with_the_value():
    (value, note), gradient = hc.value_and_grad(lambda x: (x * x, "note"), has_aux=True)(3.0)
    assert (float(value), note, float(gradient)) == (9, "note", 6)


def test_an_argument_that_is_not_used_has_gradient_0():
    unused, _ = hc.grad(lambda x, y: y * y, (0, 1))(np.ones(2), 3.0)
    assert unused.tolist() == [0, 0]


def test_the_gradient_of_the_callers_tensor_is_not_touched():
    x = leaf(2.0)
    hc.grad(lambda x: x * x)(x)
    assert x.grad is None


def test_grad_records_inside_no_grad():
    with hc.no_grad():
        gradient = hc.grad(lambda x: x**3)(leaf(2.0))
    assert gradient.item() == 12
    assert not gradient.requires_grad


@pytest.mark.parametrize(
    ("f", "error", "said"),
    [
        (lambda x: x * np.ones(2), InputError, r"shape \(2,\), expected a scalar.*sum\(\) or mean\(\)"),
        (lambda x: 1.0, GraphError, "returned float.*return a tensor"),
        (lambda x: x.detach().numpy(), GraphError, "returned ndarray"),
    ],
)
def test_a_function_without_a_gradient_is_refused(f, error, said):
    with pytest.raises(error, match=said):
        hc.grad(f)(1.0)


# --- derivatives of derivatives


def test_grad_nests_to_any_order():
    derivative, expected = lambda x: x**5, [2**5, 5 * 2**4, 20 * 2**3, 60 * 2**2, 120 * 2, 120, 0]
    for value in expected:
        assert float(derivative(2.0)) == value
        derivative = hc.grad(derivative)


def test_the_product_of_hessian_and_vector_is_a_gradient_of_a_gradient():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    v = np.array([1.0, -1.0])
    slope = hc.grad(lambda x: (x @ a @ x) / 2)
    assert hc.grad(lambda x: slope(x) @ v)(np.array([5.0, 7.0])).tolist() == (a @ v).tolist()


def test_inner_and_outer_variables_are_not_confused():
    # d/dx [x * d/dy (x + y)] = d/dx x = 1: an engine that mixes the two says 2
    assert float(hc.grad(lambda x: x * hc.grad(lambda y: x + y)(1.0))(1.0)) == 1


def test_an_outer_variable_is_followed_into_an_inner_gradient():
    # d/dx [x * d/dy (x^2 y)] = d/dx x^3
    assert float(hc.grad(lambda x: x * hc.grad(lambda y: x * x * y)(1.0))(2.0)) == 12


def test_a_gradient_of_a_gradient_of_arrays_is_an_array():
    mixed = hc.grad(lambda y: hc.grad(lambda x: x * x * y)(3.0))(1.0)
    assert type(mixed) is np.ndarray
    assert float(mixed) == 6


def test_a_gradient_penalty_reaches_the_parameters():
    w = leaf([1.0, 2.0])
    slope = hc.grad(lambda x: ((w * x) ** 2).sum())(np.array([1.0, 1.0]))  # 2 w^2 x
    (slope * slope).sum().backward()  # of 4 w^4
    assert w.grad.data.tolist() == [16, 128]


def test_a_gradient_leaves_the_graph_around_it_alone():
    w = leaf(3.0)
    hidden = w * w
    with hc.no_grad():
        assert float(hc.grad(lambda x: x * hidden)(1.0)) == 9
    hidden.backward()
    assert w.grad.item() == 6


def test_rules_are_differentiated_through_backward_as_well():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    penalty, x.grad = x.grad * x.grad, None  # (3 x^2)^2
    penalty.backward()
    assert x.grad.item() == 36 * 27


# --- dtypes

NUMBERS = [2, 2.0, True, np.float32(2), np.float64(2), np.int64(2), np.float16(2)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{type(n).__name__}")
def test_a_number_of_any_kind_leaves_a_tensors_dtype_alone(number, dtype):
    x = leaf([1.0, 2.0], dtype)
    for y in [x + number, number - x, x * number, number / x, x**number, number**x, hc.maximum(x, number)]:
        assert y.dtype == dtype
        assert hc.grad(lambda x, y=y: y.sum())(x).dtype == dtype
        y.sum().backward()
        assert x.grad.dtype == dtype
    assert hc.where(x > 1, x, number).dtype == dtype


def test_float32_stays_through_scalars_of_its_own():
    x = leaf(2.0, np.float32)
    assert (x * 2.5).dtype == (x.mean() / x.sum() * np.float64(3)).dtype == np.float32
    assert hc.grad(lambda x: hc.exp(x) ** 2 / 3)(np.float32(2)).dtype == np.float32


def test_float32_and_float64_meet_in_float64_and_part_again():
    x, y = leaf([1.0], np.float32), leaf([1.0])
    product = x * y
    product.sum().backward()
    assert (product.dtype, x.grad.dtype, y.grad.dtype) == (np.float64, np.float32, np.float64)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: hc.tensor([1, 2], requires_grad=True),
        lambda: hc.tensor([1.0, 2.0], dtype=int, requires_grad=True),
        lambda: hc.Tensor(np.array([1, 2]), requires_grad=True),
        lambda: hc.grad(lambda x: x * x)(3),
        lambda: hc.grad(lambda x: x * x)(np.array(True)),
    ],
)
def test_integers_never_get_gradients(ask):
    with pytest.raises(DtypeError, match=r"expected floats: convert it with astype"):
        ask()


def test_integers_may_take_part():
    x, counts = leaf([1.0, 2.0]), hc.tensor([3, 4])
    (x * counts).sum().backward()
    assert x.grad.data.tolist() == [3, 4]


def test_a_tensor_in_a_graph_cannot_become_integers():
    with pytest.raises(DtypeError, match=r"astype\(\) got int64.*detach\(\)"):
        leaf([1.0]).astype(int)
    assert leaf([1.9]).detach().astype(int).data.tolist() == [1]


@pytest.mark.parametrize("dtype", [complex, object, str])
def test_a_tensor_holds_real_numbers_alone(dtype):
    for ask in (lambda: hc.tensor([1.0], dtype=dtype), lambda: hc.tensor([1.0]).astype(dtype)):
        with pytest.raises(DtypeError, match=r"(tensor|astype)\(\) got .*, expected real numbers"):
            ask()


def test_precision_may_change_within_a_graph():
    x = leaf([1.0, 2.0], np.float32)
    y = x.astype(np.float64)
    (y * y).sum().backward()
    assert (y.dtype, x.grad.dtype, x.grad.data.tolist()) == (np.float64, np.float32, [2, 4])


# --- making tensors and reading them


def test_a_tensor_lies_on_the_array_it_was_made_of():
    x = np.ones(3)
    assert hc.tensor(x).data is x
    assert hc.tensor(hc.tensor(x)).data is x
    assert hc.tensor(x, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("data", ["text", [1j], [None]])
def test_what_is_no_number_is_no_tensor(data):
    with pytest.raises(DtypeError, match=r"expected (real numbers|a tensor, an array or a number)"):
        hc.tensor(data)


def test_a_tensor_class_is_not_a_converter():
    with pytest.raises(DtypeError, match=r"hypercon\.tensor\(data\)"):
        hc.Tensor([1.0])


def test_a_single_value_is_read_with_item_or_float():
    assert leaf([[2.5]]).item() == float(leaf(2.5)) == 2.5
    with pytest.raises(InputError, match=r"one value, got shape \(2,\)"):
        hc.tensor([1.0, 2.0]).item()


def test_the_values_of_a_detached_tensor_are_an_array():
    x = leaf([1.0])
    assert x.detach().numpy() is x.data
    with pytest.raises(DtypeError, match=r"detach\(\) first"):
        x.numpy()


def test_rows_can_be_iterated_over():
    rows = list(leaf([[1.0, 2.0], [3.0, 4.0]]))
    assert [row.data.tolist() for row in rows] == [[1, 2], [3, 4]]
    assert all(row.requires_grad for row in rows)
    assert len(leaf([[1.0, 2.0]])) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (hc.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (hc.tensor([1.0], dtype=np.float32), "tensor([1.], dtype=float32)"),
        (leaf(1.0), "tensor(1., requires_grad=True)"),
        (leaf(1.0) * 2, "tensor(2., made by multiply)"),
        (leaf([1.0]).sum(), "tensor(1., made by sum)"),
    ],
)
def test_a_tensor_shows_its_values_and_where_they_come_from(value, shown):
    assert repr(value) == shown


# --- refusals


def assign(t):
    t[0] = 1


def add_in_place(t):
    t += 1


REFUSALS = {
    "t[0] = 1": (assign, r"hypercon\.where.*hypercon\.concatenate"),
    "t += 1": (add_in_place, r"write t = t \+ value"),
    "t -= 1": (lambda t: t.__isub__(1), r"write t = t - value"),
    "t *= 2": (lambda t: t.__imul__(2), r"write t = t \* value"),
    "t /= 2": (lambda t: t.__itruediv__(2), r"write t = t / value"),
    "t **= 2": (lambda t: t.__ipow__(2), r"write t = t \*\* value"),
    "t @= t": (lambda t: t.__imatmul__(t), r"write t = t @ value"),
    "array += t": (lambda t: np.ones(2).__iadd__(t), r"np\.add.*use hypercon\.add\(t\)"),
    "np.exp(t)": (np.exp, r"np\.exp was given a Tensor.*use hypercon\.exp\(t\)"),
    "np.abs(t)": (np.abs, r"use hypercon\.absolute\(t\)"),
    "np.sign(t)": (np.sign, r"hypercon's own functions, or t\.detach\(\)\.numpy\(\)"),
    "np.sum(t)": (np.sum, r"np\.sum was given a Tensor.*use hypercon\.sum\(t\)"),
    "np.concatenate([t])": (lambda t: np.concatenate([t]), r"use hypercon\.concatenate\(t\)"),
    "np.linalg.norm(t)": (np.linalg.norm, r"use hypercon\.norm\(t\)"),
    "np.median(t)": (np.median, r"hypercon's own functions, or t\.detach\(\)\.numpy\(\)"),
    "np.add.reduce(t)": (np.add.reduce, r"hypercon's own functions, or t\.detach\(\)\.numpy\(\)"),
    "np.asarray(t)": (np.asarray, r"call t\.detach\(\)\.numpy\(\)"),
    "np.array([t, t])": (lambda t: np.array([t, t]), r"call t\.detach\(\)\.numpy\(\)"),
    "bool(t)": (bool, r"shape \(2,\) is ambiguous.*\.all\(\) or \.any\(\)"),
    "len(0-d)": (lambda t: len(t.sum()), r"item\(\)"),
    "list(0-d)": (lambda t: list(t.sum()), r"item\(\)"),
}


@pytest.mark.parametrize(("attempt", "remedy"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("requires_grad", [False, True], ids=["plain", "in a graph"])
def test_what_would_go_wrong_silently_is_refused_with_the_remedy(attempt, remedy, requires_grad):
    t = hc.tensor([1.0, 2.0], requires_grad=requires_grad)
    with pytest.raises((DtypeError, InputError), match=remedy):
        attempt(t)
    assert t.data.tolist() == [1, 2]


def test_a_remedy_names_only_functions_that_exist():
    for name in dir(np):
        function = getattr(np, name)
        if isinstance(function, np.ufunc) and function.nin == 1:
            with pytest.raises(DtypeError) as raised:
                function(hc.tensor([0.5]))
            named = str(raised.value).partition("use hypercon.")[2].partition("(")[0]
            assert not named or named in hc.__all__


def test_one_value_has_a_truth():
    assert bool(hc.tensor(1.0))
    assert not hc.tensor([0.0])


def test_a_stranger_beside_an_operator_is_a_type_error_that_says_what_is_expected():
    with pytest.raises(TypeError, match="expected a tensor, an array or a number"):
        hc.tensor([1.0]) + "text"


def doubled(x):
    return x @ np.ones(7)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: hc.add(hc.tensor([1.0, 2.0]), [1, 2, 3]),
            r"^add\(float64\[2\], \[1, 2, 3\]\): .*\(3,\); see help\(hypercon\.add\)",
        ),
        (lambda: hc.tensor([1.0])[5], r"^getitem\(float64\[1\], index=5\): .*; see help\(hypercon\.getitem\)"),
        (lambda: hc.sum(hc.tensor([1.0]), 0, False, 3), r"^sum\(\) got too many.*: see help\(hypercon\.sum\)"),
        (
            lambda: hc.primitive(lambda g, out, x: g)(doubled)(np.ones(2)),
            r"^doubled\(float64\[2\]\).*see help\(doubled\)",
        ),
    ],
    ids=["shapes", "index", "arguments", "a primitive of the user's own"],
)
def test_numpys_complaint_is_passed_on_beside_the_call_and_where_to_read_on(ask, said):
    with pytest.raises((InputError, DtypeError), match=said):
        ask()


# --- primitives of the user's own


@hc.primitive(lambda g, out, x: g * 3 * x**2)
def cube(x):
    """x * x * x."""
    return x * x * x


def test_a_users_primitive_is_differentiated_to_any_order():
    gradcheck(cube, [0.5, -2.0], order=3)
    assert float(hc.grad(hc.grad(cube))(2.0)) == 12


def test_a_users_primitive_takes_arrays_as_it_is_written():
    assert cube(np.array([2.0])).tolist() == [8]
    assert cube(2.0) == 8.0


def test_a_primitive_keeps_its_name_and_its_signature():
    assert cube.__doc__ == "x * x * x."
    assert list(inspect.signature(cube).parameters) == ["x"]
    assert cube.primitive.name == "cube"


def test_every_setting_reaches_the_rule_given_or_not():
    @hc.primitive(lambda g, out, x, *, factor, offset: g * factor)
    def affine(x, *, factor=2.0, offset=0.0):
        return x * factor + offset

    assert float(hc.grad(affine)(1.0)) == 2
    assert float(hc.grad(lambda x: affine(x, factor=5.0, offset=1.0))(1.0)) == 5


def test_a_rule_need_not_care_for_broadcasting_or_dtype():
    @hc.primitive(lambda g, out, x, y: g * np.ones(1), lambda g, out, x, y: 2 * g)
    def plus_double(x, y):
        return x + 2 * y

    x, y = leaf(np.ones((3, 1)), np.float32), leaf(np.ones(2), np.float32)
    plus_double(x, y).sum().backward()
    assert x.grad.data.tolist() == [[2], [2], [2]]
    assert y.grad.data.tolist() == [6, 6]
    assert x.grad.dtype == y.grad.dtype == np.float32


@pytest.mark.parametrize("wrong", [1.0, np.ones(3), np.ones((2, 3))], ids=["number", "short", "long"])
def test_a_rule_that_gives_another_shape_is_told_so(wrong):
    same = hc.primitive(lambda g, out, x: wrong)(lambda x: x * 1.0)
    with pytest.raises(GraphError, match=r"cotangent of shape .* for an input of shape \(2,\)"):
        hc.grad(lambda x: same(x).sum())(np.ones(2))


def test_an_input_without_a_rule_must_be_an_array():
    @hc.primitive(lambda g, out, x, index: g, None)
    def first_only(x, index):
        return x + index

    assert float(hc.grad(first_only)(1.0, 2.0)) == 1
    with pytest.raises(GraphError, match="first_only has no rule for input 1: pass that one as an array"):
        hc.grad(first_only, 1)(1.0, 2.0)


def make_scaled_exp(seen):
    def rule(g, out, saved, x, y):
        seen.append(saved)
        e = hc.exp(x) if saved is None else saved
        return g * e * y, g * e

    @hc.primitive(fused=rule)
    def scaled_exp(x, y):
        e = np.exp(x)
        return e * y, e

    return scaled_exp


def test_a_fused_primitive_gives_all_cotangents_at_once_from_what_it_saved():
    seen = []
    scaled_exp = make_scaled_exp(seen)
    by_x, by_y = hc.grad(scaled_exp, (0, 1))(1.0, 3.0)
    assert (float(by_x), float(by_y)) == (3 * np.e, np.e)
    assert [float(saved) for saved in seen] == [np.e]


def test_a_fused_primitive_computes_again_where_its_rule_is_recorded():
    seen = []
    gradcheck(make_scaled_exp(seen), [0.5, 1.0], [2.0, 3.0], order=3)
    assert any(saved is None for saved in seen)


def test_a_fused_primitive_takes_arrays_and_gives_the_value_alone():
    assert make_scaled_exp([])(np.zeros(2), 3.0).tolist() == [3, 3]
