"""How embeddings lie on the sphere: each measure against its naive formula, its exact values and its claims."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.metrics import (
    alignment,
    tolerance,
    tolerance_gap,
    uniformity,
    uniformity_floor,
    uniformity_spectrum,
)
from hypercon.testing import gradcheck

drawn = settings(max_examples=25, deadline=None, derandomize=True)
sharpnesses = st.floats(0.1, 20)


@st.composite
def embeddings(draw, least=2):
    shape = draw(st.integers(least, 9)), draw(st.integers(2, 6))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=shape)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def potential(z, t, self_pairs):
    """The mean of exp(-t |x - y|^2) over pairs, in loops."""
    z = unit(z)
    kernel = [
        math.exp(-t * sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
        for i, x in enumerate(z)
        for j, y in enumerate(z)
        if self_pairs or i != j
    ]
    return sum(kernel) / len(kernel)


# --- uniformity


@given(embeddings(), sharpnesses)
@drawn
def test_uniformity_is_minus_the_log_of_the_mean_potential(z, t):
    assert uniformity(z, t) == pytest.approx(-math.log(potential(z, t, self_pairs=False)), rel=1e-9, abs=1e-12)


@given(embeddings(), sharpnesses)
@drawn
def test_the_estimators_with_and_without_self_pairs_determine_each_other(z, t):
    # Wang & Isola 2020, appendix A.1.1: B exp(L1) = 1 + (B - 1) exp(L2)
    count, with_self = len(z), potential(z, t, self_pairs=True)
    assert 1 + (count - 1) * math.exp(-uniformity(z, t)) == pytest.approx(count * with_self, rel=1e-12)


@given(embeddings(), sharpnesses)
@drawn
def test_with_self_pairs_no_batch_is_below_the_floor(z, t):
    assert uniformity_floor(z.shape[1], t) <= math.log(potential(z, t, self_pairs=True)) + 1e-12 <= 1e-11


def test_without_self_pairs_a_batch_may_be_below_the_floor():
    square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert -uniformity(square) < uniformity_floor(2)


@given(embeddings(), sharpnesses)
@drawn
def test_uniformity_lies_between_zero_and_four_t(z, t):
    assert -1e-12 <= uniformity(z, t) <= 4 * t + 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("t", [0.5, 2.0, 100.0])
def test_a_collapse_has_uniformity_zero(dtype, t):
    z = np.tile(np.array([0.3, -2.0, 1.1], dtype), (7, 1))
    assert uniformity(z, t) == pytest.approx(0, abs=20 * t * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("t", [0.5, 2.0, 1e4])
def test_an_antipodal_pair_has_the_largest_uniformity(t):
    assert uniformity(np.array([[1.0, 2.0], [-3.0, -6.0]]), t) == pytest.approx(4 * t)


def test_zero_mean_is_not_uniform():
    # half the points at u, half at -u: the mean similarity is as low as a uniform circle's, the uniformity is not
    z = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 500, axis=0)
    assert uniformity(z) == pytest.approx(-math.log(0.5 * (1 + math.exp(-8))), abs=2e-3)
    assert uniformity(z) < -uniformity_floor(2) / 2


@pytest.mark.parametrize("t", [0.5, 2.0, 7.0])
def test_even_points_on_a_circle_reach_the_floor_with_self_pairs(t):
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    with_self = math.log((1 + 99 * math.exp(-uniformity(circle, t))) / 100)
    assert with_self == pytest.approx(uniformity_floor(2, t), abs=1e-12)


@given(embeddings(), sharpnesses)
@drawn
def test_uniformity_ignores_lengths_order_and_rotations(z, t):
    rng = np.random.default_rng(0)
    turned = z @ np.linalg.qr(rng.normal(size=(z.shape[1], z.shape[1])))[0]
    moved = rng.permutation(turned * 10 ** rng.uniform(-3, 3, (len(z), 1)))
    assert uniformity(moved, t) == pytest.approx(uniformity(z, t), rel=1e-9, abs=1e-12)


@given(embeddings(), st.floats(0.05, 5))
@drawn
def test_its_kernel_is_that_of_a_contrastive_loss_at_temperature_one_over_two_t(z, tau):
    similarities = unit(z) @ unit(z).T
    pairs = similarities[~np.eye(len(z), dtype=bool)]
    assert uniformity(z, 1 / (2 * tau)) == pytest.approx(1 / tau - math.log(np.exp(pairs / tau).mean()), rel=1e-9)


def test_the_spectrum_is_uniformity_at_each_sharpness():
    z = np.random.default_rng(0).normal(size=(6, 3))
    ts = [0.5, 2.0, 7.1]
    assert uniformity_spectrum(z, ts).tolist() == [uniformity(z, t) for t in ts]
    assert uniformity_spectrum(hc.tensor(z, requires_grad=True), ts).tolist() == [uniformity(z, t) for t in ts]


@given(embeddings(), st.floats(0.5, 5))
@settings(drawn, max_examples=5)
def test_uniformity_can_be_differentiated(z, t):
    gradcheck(lambda x: uniformity(x, t), z, order=2)


# --- its floor

TABLE = {  # the uniformity loss of the uniform distribution, by dimension; the last row is the limit -2t
    2: (-1.1760, -1.5750, -1.7918),
    3: (-1.4048, -2.0798, -2.4849),
    8: (-1.7559, -3.0825, -4.0979),
    16: (-1.8759, -3.5130, -4.9365),
    32: (-1.9376, -3.7518, -5.4464),
    64: (-1.9688, -3.8752, -5.7199),
    128: (-1.9844, -3.9375, -5.8595),
    256: (-1.9922, -3.9688, -5.9297),
    512: (-1.9961, -3.9844, -5.9648),
    10**7: (-2, -4, -6),
}


@pytest.mark.parametrize("dim", TABLE)
def test_floor_table(dim):
    assert [uniformity_floor(dim, t) for t in (1.0, 2.0, 3.0)] == pytest.approx(TABLE[dim], abs=6e-5)


@given(st.integers(2, 1000), st.floats(0.01, 300))
@drawn
def test_floor_is_the_confluent_hypergeometric_limit_function(dim, t):
    special = pytest.importorskip("scipy.special")
    assert uniformity_floor(dim, t) == pytest.approx(math.log(special.hyp0f1(dim / 2, t * t)) - 2 * t, abs=1e-9)


@given(st.floats(0.01, 50))
@drawn
def test_floor_has_a_closed_form_on_the_sphere_in_three_dimensions(t):
    assert uniformity_floor(3, t) == pytest.approx(math.log(math.sinh(2 * t) / (2 * t)) - 2 * t, abs=1e-11)


def test_floor_falls_with_dimension_towards_minus_two_t():
    floors = [uniformity_floor(dim) for dim in range(2, 200)]
    assert floors == sorted(floors, reverse=True)
    assert floors[-1] > -4


def test_floor_stays_finite_for_any_sharpness():
    assert [math.isfinite(uniformity_floor(64, t)) for t in (1e-6, 1e3, 1e5)] == [True] * 3


# --- alignment


@st.composite
def view_pairs(draw):
    z = draw(embeddings())
    return z, z + np.random.default_rng(1).normal(size=z.shape)


@given(view_pairs(), st.floats(0.2, 4))
@drawn
def test_alignment_is_the_mean_distance_to_a_power(views, alpha):
    distances = [math.dist(x, y) for x, y in zip(*map(unit, views), strict=True)]
    assert alignment(*views, alpha) == pytest.approx(sum(d**alpha for d in distances) / len(distances), rel=1e-9)


@given(view_pairs())
@drawn
def test_squared_alignment_is_two_minus_twice_the_similarity(views):
    similarity = (unit(views[0]) * unit(views[1])).sum(axis=1).mean()
    assert alignment(*views) == pytest.approx(2 - 2 * similarity, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.0])
def test_alignment_runs_from_zero_for_one_point_to_a_diameter_to_the_power(alpha):
    z = np.random.default_rng(0).normal(size=(5, 3))
    assert alignment(z, 3 * z, alpha) == pytest.approx(0, abs=1e-15)
    assert alignment(z, -z, alpha) == pytest.approx(2**alpha)


@given(view_pairs(), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
@settings(drawn, max_examples=8)
def test_alignment_can_be_differentiated(views, alpha):
    gradcheck(lambda a, b: alignment(a, b, alpha), *views, order=2)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_aligned_views_have_gradient_zero_and_not_nan(alpha):
    z = np.random.default_rng(0).normal(size=(4, 3))
    by_z1, by_z2 = hc.grad(lambda a, b: alignment(a, b, alpha), argnums=(0, 1))(z, z.copy())
    assert (by_z1 == 0).all()
    assert (by_z2 == 0).all()


# --- tolerance


@st.composite
def labelled(draw):
    """Embeddings of which two at least share a class and two at least do not."""
    z = draw(embeddings(least=3))
    labels = np.random.default_rng(draw(st.integers(0, 99))).integers(-2, 2, len(z))
    labels[:3] = 0, 0, 1
    return z, labels


def mean_similarities(z, labels):
    same, other = [], []
    for i, x in enumerate(unit(z)):
        for j, y in enumerate(unit(z)):
            if i != j:
                (same if labels[i] == labels[j] else other).append(float(x @ y))
    return sum(same) / len(same), sum(other) / len(other)


@given(labelled())
@drawn
def test_tolerance_and_gap_are_mean_similarities_of_pairs(data):
    same, other = mean_similarities(*data)
    assert tolerance(*data) == pytest.approx(same, abs=1e-12)
    assert tolerance_gap(*data) == pytest.approx(same - other, abs=1e-12)


def test_all_in_one_place_is_fully_tolerant_without_a_gap():
    z, labels = np.ones((6, 3)), [0, 0, 0, 1, 1, 2]
    assert tolerance(z, labels) == pytest.approx(1)
    assert tolerance_gap(z, labels) == pytest.approx(0, abs=1e-15)


def test_classes_at_opposite_poles_have_the_largest_gap():
    assert tolerance_gap(np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]), [3, 3, 5]) == pytest.approx(2)


@given(labelled(), st.floats(0, 0.99))
@drawn
def test_a_common_direction_lifts_tolerance_and_shrinks_the_gap_by_the_length_it_takes(data, share):
    z, labels = data
    common = np.full((len(z), 1), math.sqrt(share))  # orthogonal to all embeddings
    mixed = np.hstack([math.sqrt(1 - share) * unit(z), common])
    assert tolerance(mixed, labels) == pytest.approx(share + (1 - share) * tolerance(z, labels), abs=1e-12)
    assert tolerance_gap(mixed, labels) == pytest.approx((1 - share) * tolerance_gap(z, labels), abs=1e-12)


@given(labelled())
@drawn
def test_swapping_instances_of_two_classes_changes_tolerance_and_not_the_loss(data):
    # Wang & Liu 2021, figure 1: the loss cannot tell a useful layout from a useless one
    z, labels = data
    order = np.random.default_rng(0).permutation(len(z))
    assert hc.info_nce(z[order], z[order], temperature=0.5) == pytest.approx(hc.info_nce(z, z, temperature=0.5))
    assert tolerance(z[order], labels[order]) == pytest.approx(tolerance(z, labels), abs=1e-12)
    assert tolerance(z[order], labels) == pytest.approx(mean_similarities(z[order], labels)[0], abs=1e-12)


# --- form and refusals


def test_arrays_give_floats_and_tensors_give_tensors():
    z = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    x = hc.tensor(z, requires_grad=True)
    for measure in (uniformity, lambda a: alignment(a, z)):
        assert type(measure(z)) is float
        assert isinstance(measure(x), hc.Tensor)
        assert measure(x).dtype == np.float32
        assert float(measure(x)) == pytest.approx(measure(z), rel=1e-6)
    for measure in (tolerance, tolerance_gap):
        assert type(measure(x, [0, 0, 1, 1])) is float


Z = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: uniformity(Z, 0), InputError, "t got 0, expected a positive finite number"),
        (lambda: uniformity(Z, math.nan), InputError, "t got nan"),
        (lambda: uniformity(Z[:1]), InputError, r"z got 1 row\(s\), expected at least 2"),
        (lambda: uniformity(Z[0]), InputError, r"z got shape \(3,\)"),
        (lambda: uniformity(np.where(Z[2] == Z, np.nan, Z)), InputError, "z: row 2 is not finite"),
        (lambda: uniformity(np.where(Z[1] == Z, 0, Z)), InputError, "z: row 1 is all zeros"),
        (lambda: uniformity(Z * 1j), DtypeError, "z got an array of complex128"),
        (lambda: uniformity_floor(1), InputError, "dim got 1, expected at least 2"),
        (lambda: uniformity_floor(8, -1.0), InputError, "t got -1, "),
        (lambda: uniformity_spectrum(Z, [1.0, 0.0]), InputError, "t got 0, "),
        (lambda: alignment(Z, Z[:3]), InputError, "z1 and z2 got shapes"),
        (lambda: alignment(Z, Z, alpha=0), InputError, "alpha got 0, expected a positive finite number"),
        (lambda: alignment(Z, Z, alpha=math.inf), InputError, "alpha got inf"),
        (lambda: tolerance(Z, [0, 1]), InputError, r"labels got shape \(2,\), expected \(4,\)"),
        (lambda: tolerance(Z, [[0, 0, 1, 1]]), InputError, r"labels got shape \(1, 4\)"),
        (lambda: tolerance(Z, ["a", "a", "b", "b"]), DtypeError, "labels got <U1, expected whole numbers"),
        (lambda: tolerance(Z, [0, 1, 2, 3]), InputError, "labels: no two embeddings share a class"),
        (lambda: tolerance_gap(Z, [1, 1, 1, 1]), InputError, "labels: all embeddings are of one class"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("t", [1e-9, 50.0, 5e4, 5e8])
def test_the_floor_is_found_for_any_sharpness(t):
    """A temperature of 1e-9 asks for t = 5e8, where the series has a thousand million terms before its largest."""
    special = pytest.importorskip("scipy.special")
    expected = math.lgamma(1.5) - 0.5 * math.log(t) + math.log(special.ive(0.5, 2 * t))
    assert uniformity_floor(3, t) == pytest.approx(expected, rel=1e-6)
