"""Where a derivative is a choice, or a formula would give nan: the answer is stated here. docs/conventions.md has it in
words, and is held to what happens."""

import ast
import doctest
import functools
import re
from pathlib import Path

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DeviceError, DeviceMixError, DtypeError, GraphError, HyperconError, InputError

INF = np.inf


def gradient(f, *points):
    """The gradient of the sum of ``f`` by each of its inputs, as lists."""
    points = [np.asarray(x, float) for x in points]
    found = hc.grad(lambda *xs: hc.sum(f(*xs)), argnums=tuple(range(len(points))))(*points)
    return found[0].tolist() if len(points) == 1 else [g.tolist() for g in found]


# --- kinks and ties


@pytest.mark.parametrize("call", [hc.max, lambda x: -hc.min(-x)])
def test_ties_for_the_extreme_share_the_gradient_equally(call):
    assert gradient(call, [1, 1, 0]) == [0.5, 0.5, 0]
    assert gradient(call, [2, 2, 2, 2]) == [0.25] * 4


def test_ties_are_shared_within_each_reduced_slice():
    assert gradient(lambda x: hc.max(x, axis=1), [[1, 1], [0, 3]]) == [[0.5, 0.5], [0, 1]]
    assert gradient(lambda x: hc.max(x, axis=(0, 1)), [[3, 1], [0, 3]]) == [[0.5, 0], [0, 0.5]]


@pytest.mark.parametrize("call", [hc.maximum, hc.minimum])
def test_a_tie_of_two_gives_each_one_half(call):
    assert gradient(call, [1, 2], [1, 2]) == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("call", [hc.maximum, hc.minimum])
def test_a_tie_with_itself_gives_the_whole(call):
    assert gradient(lambda x: call(x, x), [1]) == [1]


def test_relu_at_0_has_slope_0_but_maximum_with_0_has_one_half():
    assert gradient(hc.relu, [-1, 0, 1]) == [0, 0, 1]
    assert gradient(lambda x: hc.maximum(x, 0), [-1, 0, 1]) == [0, 0.5, 1]


def test_the_absolute_value_has_slope_0_at_0():
    assert gradient(hc.absolute, [-2, 0, 2]) == [-1, 0, 1]


def test_clip_passes_the_gradient_on_its_ends():
    assert gradient(lambda x: hc.clip(x, 0, 1), [-0.1, 0, 0.5, 1, 1.1]) == [0, 1, 1, 1, 0]


def test_ties_in_sort_and_top_k_go_to_one_entry_each_the_last_being_the_largest():
    assert gradient(lambda x: hc.sort(x) * [1, 10, 100], [2, 2, 1]) == [10, 100, 1]
    assert gradient(lambda x: hc.top_k(x, 1), [2, 2, 1]) == [0, 1, 0]
    assert gradient(lambda x: hc.top_k(x, 2) * [1, 10], [2, 2, 1]) == [10, 1, 0]
    many = [1, 2] * 500  # as many as no sort treats as few
    assert gradient(lambda x: hc.sort(x) * np.arange(1000), many)[:4] == [0, 500, 1, 501]
    assert gradient(lambda x: hc.top_k(x, 3) * [1, 10, 100], many)[-6:] == [0, 100, 0, 10, 0, 1]


def test_the_second_derivative_at_a_kink_is_that_of_its_sides():
    for call in (hc.relu, hc.absolute, lambda x: hc.clip(x, 0, 1), lambda x: hc.maximum(x, 0)):
        assert gradient(hc.grad(lambda x, call=call: hc.sum(call(x))), [0]) == [0]
    assert gradient(hc.grad(hc.max), [1, 1]) == [0, 0]


# --- lengths


def test_norm_at_0_has_gradient_0():
    assert gradient(hc.norm, [0, 0]) == [0, 0]
    assert gradient(lambda x: hc.norm(x, axis=1), [[0, 0], [3, 4]]) == [[0, 0], [0.6, 0.8]]


def test_norm_at_0_has_second_derivatives_that_are_finite():
    assert np.isfinite(gradient(hc.grad(hc.norm), [0, 0])).all()


def test_a_vector_of_zeros_normalises_to_zeros():
    assert hc.normalize(np.zeros((1, 3))).tolist() == [[0, 0, 0]]
    assert gradient(lambda x: hc.normalize(x, eps=0.5), [[0, 0]]) == [[2, 2]]


def test_a_vector_shorter_than_eps_is_only_divided_by_it():
    assert hc.normalize(np.array([0.3, 0.4]), eps=5.0).tolist() == pytest.approx([0.06, 0.08])
    assert gradient(lambda x: hc.normalize(x, eps=5.0), [0.3, 0.4]) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_a_normalised_vector_is_tangent_to_the_sphere(dtype):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 8)).astype(dtype)
    g = hc.grad(lambda x: (hc.normalize(x) * w).sum())(x)
    radial = (g * x).sum(axis=1) / (np.linalg.norm(g, axis=1) * np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(radial, 0, atol=10 * np.finfo(dtype).eps)


# --- powers


def test_a_power_of_0_has_slope_0_even_at_0():
    assert gradient(lambda x: x**0, [0, 2]) == [0, 0]
    assert gradient(lambda x: x ** np.zeros(2), [0, 2]) == [0, 0]


def test_a_power_of_1_has_slope_1_at_0_and_a_curvature_of_0():
    assert gradient(lambda x: x**1, [0]) == [1]
    assert gradient(hc.grad(lambda x: (x**1).sum()), [0]) == [0]


def test_the_slope_by_the_exponent_is_0_where_the_base_is():
    assert gradient(lambda y: hc.power(0.0, y), [1, 2]) == [0, 0]
    assert gradient(hc.power, [0], [0]) == [[0], [0]]


def test_the_mixed_derivative_of_a_power_is_right_at_exponent_0():
    def slope(y):  # d/dx x**y = y x**(y - 1), whose slope at y = 0 is 1 / x
        return hc.grad(lambda x: (x**y).sum())(np.array([2.0, 4.0]))

    assert gradient(slope, [0, 0]) == [0.5, 0.25]
    assert gradient(slope, 0) == 0.75


def test_where_a_slope_is_infinite_it_is_inf_and_numpy_warns():
    for call in (hc.sqrt, hc.log, lambda x: x**0.5):
        with pytest.warns(RuntimeWarning):
            assert gradient(call, [0]) == [INF]
    for call in (lambda x: 1 / x, lambda x: x**-1):
        with pytest.warns(RuntimeWarning):
            assert gradient(call, [0]) == [-INF]


# --- products and counts


def test_a_product_with_zeros_has_the_product_of_the_others_as_its_slope():
    assert gradient(hc.prod, [0, 2, 3]) == [6, 0, 0]
    assert gradient(hc.prod, [0, 0, 3]) == [0, 0, 0]
    assert gradient(lambda x: hc.grad(hc.prod)(x), [0, 0, 3]) == [3, 3, 0]


def test_the_variance_of_one_number_is_0_and_so_is_its_slope():
    assert hc.var(np.array([3.0])) == 0
    assert gradient(hc.var, [3]) == [0]


def test_of_no_numbers_there_is_a_sum_and_a_product_but_no_mean_and_no_extreme():
    nothing = np.zeros(0)
    assert (hc.sum(nothing), hc.prod(nothing), hc.norm(nothing), hc.logsumexp(nothing[None], axis=0).size) == (
        0,
        1,
        0,
        0,
    )
    for call in (hc.mean, hc.var, hc.max, hc.min):
        with pytest.raises(InputError):
            call(nothing)


# --- picking


def test_an_entry_picked_twice_receives_both_gradients():
    assert gradient(lambda x: x[[0, 0]], [1, 2]) == [2, 0]
    assert gradient(lambda x: x[np.array([0, 0, 1])] * np.array([1, 10, 100]), [1, 2]) == [11, 100]


def test_an_entry_that_where_leaves_out_receives_0_whatever_it_would_have_given():
    assert gradient(lambda x: hc.where(x > 0, hc.log(hc.where(x > 0, x, 1.0)), 0.0), [0, 2]) == [0, 0.5]


def test_where_alone_does_not_protect_from_an_infinite_slope():
    with pytest.warns(RuntimeWarning):  # 0 times the infinite slope of the logarithm
        assert np.isnan(gradient(lambda x: hc.where(x > 0, hc.log(x), 0.0), [0])).all()


# --- minus infinity, which masks candidates


def test_entries_of_minus_infinity_count_for_nothing():
    x = [0, -INF, 0]
    assert hc.logsumexp(np.array(x)) == pytest.approx(np.log(2))
    assert hc.softmax(np.array(x)).tolist() == [0.5, 0, 0.5]
    assert hc.log_softmax(np.array(x)).tolist() == pytest.approx([-np.log(2), -INF, -np.log(2)])
    assert gradient(hc.logsumexp, x) == [0.5, 0, 0.5]


def test_with_no_other_entries_the_sum_is_empty_and_its_gradient_0():
    x = np.array([[-INF, -INF], [0, -INF]])
    assert hc.logsumexp(x, axis=1).tolist() == [-INF, 0]
    assert hc.softmax(x).tolist() == [[0, 0], [1, 0]]
    assert gradient(lambda x: hc.logsumexp(x, axis=1), x) == [[0, 0], [1, 0]]


@pytest.mark.parametrize("shift", [-1e4, 1e4, 1e300])
def test_exponentials_neither_overflow_nor_vanish(shift):
    x = np.array([0.0, 0.0]) + shift
    assert hc.logsumexp(x) == pytest.approx(shift + np.log(2))
    assert hc.softmax(x).tolist() == [0.5, 0.5]
    assert hc.log_softmax(x).tolist() == pytest.approx([-np.log(2)] * 2, abs=1e-11 if shift < 1e300 else np.inf)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_softplus_are_exact_far_out(dtype):
    x = np.array([-1000, 1000], dtype)
    assert hc.sigmoid(x).tolist() == [0, 1]
    assert hc.softplus(x).tolist() == [0, 1000]
    assert gradient(hc.softplus, x) == [0, 1]


# --- which error


RAISES = {
    "shapes that do not go together": (lambda: hc.tensor([1.0, 2.0]) + np.ones(3), InputError, ValueError),
    "an axis that is not there": (lambda: hc.sum(np.ones(2), axis=1), InputError, ValueError),
    "a value of no scalar": (lambda: hc.grad(lambda x: x * 2)(np.ones(2)), InputError, ValueError),
    "text": (lambda: hc.exp("text"), DtypeError, TypeError),
    "complex numbers": (lambda: hc.exp(np.array([1j])), DtypeError, TypeError),
    "a gradient by integers": (lambda: hc.grad(lambda x: x * x)(3), DtypeError, TypeError),
    "a function of NumPy": (lambda: np.exp(hc.tensor([1.0])), DtypeError, TypeError),
    "a device that is not there": (lambda: hc.tensor([1.0], device="cuda:99"), DeviceError, ValueError),
    "two devices": (lambda: hc.tensor([1.0], device="strict") + np.ones(1), DeviceMixError, DeviceError),
    "a value without a graph": (lambda: hc.tensor(1.0).backward(), GraphError, RuntimeError),
    "a value that is no tensor": (lambda: hc.grad(lambda x: 1.0)(1.0), GraphError, RuntimeError),
}


@pytest.mark.parametrize(("ask", "error", "builtin"), RAISES.values(), ids=RAISES)
def test_each_mistake_has_its_class_which_is_one_of_pythons_too(ask, error, builtin):
    with pytest.raises(error) as raised:
        ask()
    assert type(raised.value) is error
    assert isinstance(raised.value, HyperconError)
    assert isinstance(raised.value, builtin)


# --- the page

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
STATEMENTS = re.findall(r"^- .+(?:\n  .+)*", PAGE.read_text(), re.MULTILINE)


@functools.cache
def names_of_tests():
    trees = (ast.parse(path.read_text()) for path in Path(__file__).parents[1].rglob("test_*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_page_shows_what_happens():
    shown = doctest.testfile(str(PAGE), module_relative=False)
    assert shown.failed == 0
    assert shown.attempted > 30


def test_there_are_statements_on_the_page():
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement[2:42])
def test_every_statement_of_the_page_names_the_test_that_holds_it(statement):
    named = re.findall(r"`(test_\w+)`", statement)
    assert named
    assert set(named) <= names_of_tests()
