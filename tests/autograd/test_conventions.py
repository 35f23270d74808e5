"""Where a derivative is a choice, or a formula would give nan: the answer is stated here."""

import numpy as np
import pytest

import hypercon as hc

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


# --- picking


def test_an_entry_picked_twice_receives_both_gradients():
    assert gradient(lambda x: x[[0, 0]], [1, 2]) == [2, 0]
    assert gradient(lambda x: x[np.array([0, 0, 1])] * np.array([1, 10, 100]), [1, 2]) == [11, 100]


def test_an_entry_that_where_leaves_out_receives_0_whatever_it_would_have_given():
    assert gradient(lambda x: hc.where(x > 0, hc.log(hc.where(x > 0, x, 1.0)), 0.0), [0, 2]) == [0, 0.5]


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
