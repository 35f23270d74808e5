"""InfoNCE and NT-Xent: their definition, their derivatives, finite numbers everywhere, and clear refusals."""

import cmath
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.losses import chance, floor, info_nce, infonce, nt_xent
from hypercon.losses.common import stacked_masks
from hypercon.losses.infonce import from_definition, slope, take_apart
from hypercon.testing import GradientError, gradcheck

drawn = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(2, 6)
dims = st.integers(2, 5)
temperatures = st.floats(0.05, 5)

LOSSES = {
    "info_nce": info_nce,
    "symmetric": partial(info_nce, symmetric=True),
    "nt_xent": nt_xent,
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_ways = pytest.mark.parametrize("normalize", [True, False], ids=["sphere", "plain"])


def make_views(seed, n, d):
    """Two related views, so that positives lead but do not win."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + rng.normal(size=(n, d))


def value_and_gradients(loss, z1, z2, temperature, **settings):
    """The loss, and its gradients by both views and by the temperature."""
    z1, z2 = (hc.tensor(z, requires_grad=True) for z in (z1, z2))
    tau = hc.tensor(np.asarray(temperature, dtype=z1.dtype), requires_grad=True)
    value = loss(z1, z2, temperature=tau, **settings)
    value.backward()
    return value.data, [x.grad.data for x in (z1, z2, tau)]


def in_loops(loss, z1, z2, tau, normalize):
    """The definition in loops over complex numbers: their imaginary part carries a derivative without rounding."""
    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731
    z1, z2 = ([list(row) for row in z] for z in (z1, z2))
    if normalize:
        z1, z2 = ([[x / cmath.sqrt(dot(row, row)) for x in row] for row in z] for z in (z1, z2))

    def mean_over(anchors, candidates, positive, excluded):
        total = 0
        for i, anchor in enumerate(anchors):
            logits = {j: dot(anchor, c) / tau for j, c in enumerate(candidates) if j != excluded(i)}
            shift = max(s.real for s in logits.values())
            total += shift + cmath.log(sum(cmath.exp(s - shift) for s in logits.values())) - logits[positive(i)]
        return total / len(anchors)

    if loss == "nt_xent":
        n = len(z1)
        return mean_over(z1 + z2, z1 + z2, lambda i: (i + n) % (2 * n), lambda i: i)
    forward = mean_over(z1, z2, lambda i: i, lambda i: None)
    return forward if loss == "info_nce" else (forward + mean_over(z2, z1, lambda i: i, lambda i: None)) / 2


def in_loops_with_gradients(loss, z1, z2, tau, normalize):
    inputs = [np.array(x, dtype=complex) for x in (z1, z2, tau)]
    gradients = [np.zeros(x.shape) for x in inputs]
    for x, gradient in zip(inputs, gradients, strict=True):
        for index in np.ndindex(x.shape):
            x[index] += 1e-30j
            gradient[index] = in_loops(loss, inputs[0], inputs[1], inputs[2].item(), normalize).imag / 1e-30
            x[index] = x[index].real
    return in_loops(loss, z1, z2, tau, normalize).real, gradients


# --- the definition


@pytest.mark.parametrize("name", LOSSES)
@both_ways
@given(seeds, counts, dims, temperatures)
@settings(drawn, max_examples=10)
def test_equals_the_definition_in_loops(name, normalize, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    value, gradients = value_and_gradients(LOSSES[name], z1, z2, tau, normalize=normalize)
    expected, expected_gradients = in_loops_with_gradients(name, z1, z2, tau, normalize)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    for got, want in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 / tau**2)


@pytest.mark.parametrize("name", LOSSES)
@both_ways
@given(seeds, counts, dims, temperatures)
@drawn
def test_equals_the_definition_composed_from_operations(name, normalize, seed, n, d, tau):
    def composed(z1, z2, *, temperature, normalize):
        one_way = partial(from_definition, temperature=temperature, normalize=normalize)
        if name == "symmetric":
            return (one_way(z1, z2) + one_way(z2, z1)) / 2
        return one_way(z1, z2, loss=name)

    z1, z2 = make_views(seed, n, d)
    value, gradients = value_and_gradients(LOSSES[name], z1, z2, tau, normalize=normalize)
    expected, expected_gradients = value_and_gradients(composed, z1, z2, tau, normalize=normalize)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    for got, want in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 / tau**2)


def test_the_two_losses_differ_in_their_negatives():
    z1, z2 = make_views(0, 5, 3)
    values = [loss(z1, z2, temperature=0.5) for loss in LOSSES.values()]
    assert len({round(value, 6) for value in values}) == 3


# --- the gradient


@losses
@both_ways
@given(seeds, st.integers(2, 5), dims, st.floats(0.3, 3))
@settings(drawn, max_examples=5)
def test_first_and_second_derivatives_by_views_and_temperature(loss, normalize, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    gradcheck(lambda a, b, t: loss(a, b, temperature=t, normalize=normalize), z1, z2, tau, order=2, rtol=1e-8)


@losses
@given(seeds, counts, dims, temperatures)
@drawn
def test_a_recorded_sweep_gives_the_same_gradient_as_a_fast_one(loss, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    _, fast = value_and_gradients(loss, z1, z2, tau)
    inputs = [hc.tensor(x, requires_grad=True) for x in (z1, z2, np.asarray(tau))]
    loss(inputs[0], inputs[1], temperature=inputs[2]).backward(create_graph=True)
    for got, want in zip(inputs, fast, strict=True):
        np.testing.assert_allclose(got.grad.data, want, rtol=1e-12, atol=1e-14 / tau**2)


def altered(right, change):
    """A rule whose cotangents are changed after the fact."""

    def wrong(g, out, saved, *inputs, **statics):
        return change(right(g, out, saved, *inputs, **statics), *inputs)

    return wrong


def stale(right):
    """A rule that keeps what it found at the first batch it ever saw."""
    seen = []

    def wrong(g, out, saved, *inputs, **statics):
        seen.append(saved)
        return right(g, out, seen[0], *inputs, **statics)

    return wrong


def constant(right):
    """A rule whose cotangents do not know what they were computed from: right once, wrong when differentiated."""
    return lambda g, out, saved, *inputs, **statics: right(
        g, out, None, *(x.detach() if isinstance(x, hc.Tensor) else x for x in inputs), **statics
    )


FAULTS = {
    "a thousandth too large": lambda right: altered(right, lambda c, *_: [x * 1.001 for x in c]),
    "wrong sign": lambda right: altered(right, lambda c, *_: [-x for x in c]),
    "not divided by N": lambda right: altered(right, lambda c, u, *_: [x * u.shape[0] for x in c]),
    "zero": lambda right: altered(right, lambda c, *_: [x * 0 for x in c]),
    "embeddings forget the temperature": lambda right: altered(
        right, lambda c, *inputs: [*(x * inputs[-1] for x in c[:-1]), c[-1]]
    ),
    "temperature forgets its own factor": lambda right: altered(
        right, lambda c, *inputs: [*c[:-1], c[-1] * inputs[-1]]
    ),
    "temperature left out": lambda right: altered(right, lambda c, *_: [*c[:-1], c[-1] * 0]),
    "stale": stale,
    "constant": constant,
}


@losses
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_gradcheck_catches_a_wrong_rule(loss, fault, monkeypatch):
    made = (infonce._nt_xent if loss is nt_xent else infonce._info_nce).primitive
    monkeypatch.setattr(made, "fused", fault(made.fused))
    value_and_gradients(loss, *make_views(1, 4, 3), 0.7)
    with pytest.raises(GradientError):
        gradcheck(lambda a, b, t: loss(a, b, temperature=t), *make_views(2, 4, 3), 0.7)


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradcheck_catches_transposed_similarities(symmetric, monkeypatch):
    monkeypatch.setattr(infonce, "slope", lambda *args: slope(*args).T)
    with pytest.raises(GradientError):
        gradcheck(lambda a, b: info_nce(a, b, temperature=0.7, symmetric=symmetric), *make_views(2, 4, 3))


def test_gradcheck_catches_embeddings_that_are_anchors_but_no_candidates(monkeypatch):
    def anchors_twice(g, out, saved, z, temperature, **division):
        similarities = hc.matmul(z, hc.transpose(z))
        positive, itself = stacked_masks(z.shape[0] // 2, similarities)
        ds = slope(take_apart(similarities, temperature, positive, itself), positive, temperature) * (g / z.shape[0])
        return hc.matmul(2 * ds, z), -(ds * similarities).sum() / temperature

    monkeypatch.setattr(infonce._nt_xent.primitive, "fused", anchors_twice)
    with pytest.raises(GradientError):
        gradcheck(lambda a, b: nt_xent(a, b, temperature=0.7), *make_views(2, 4, 3))


# --- where it lies: chance, floor, and in between


@losses
@dtypes
@given(seeds, counts, dims, st.floats(1e-3, 1e3))
@drawn
def test_collapse_costs_chance_and_has_no_gradient(loss, dtype, seed, n, d, tau):
    z = np.tile(np.random.default_rng(seed).normal(size=d), (n, 1)).astype(dtype)
    value, gradients = value_and_gradients(loss, z, z, tau)
    eps = float(np.finfo(dtype).eps)
    candidates = 2 * n - 1 if loss is nt_xent else n
    assert float(value) == pytest.approx(math.log(candidates), abs=8 * eps * max(1, 1 / tau))
    for gradient in gradients[:2]:
        np.testing.assert_allclose(gradient, 0, atol=8 * eps / tau / np.linalg.norm(z[0]))


@losses
@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_gradient_of_a_collapse_along_an_axis_is_exactly_zero(loss, n):
    z = np.tile([2.0, 0.0, 0.0], (n, 1))
    _, gradients = value_and_gradients(loss, z, z, 0.1)
    assert all((gradient == 0).all() for gradient in gradients[:2])


@pytest.mark.parametrize("name", ["info_nce", "nt_xent"])
@given(st.integers(2, 12), st.floats(0.02, 5))
@drawn
def test_an_aligned_simplex_reaches_the_floor(name, n, tau):
    simplex = np.eye(n) - 1 / n
    assert LOSSES[name](simplex, simplex, temperature=tau) == pytest.approx(floor(name, n, tau), rel=1e-9)


@pytest.mark.parametrize("name", ["info_nce", "nt_xent"])
@given(seeds, st.integers(2, 12), dims, temperatures, st.floats(0, 2))
@drawn
def test_no_batch_goes_below_the_floor(name, seed, n, d, tau, spread):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    value = LOSSES[name](z, z + spread * rng.normal(size=(n, d)), temperature=tau)
    assert value >= floor(name, n, tau) * (1 - 1e-12)
    assert value >= 0


def test_chance_is_the_logarithm_of_the_number_of_candidates():
    assert chance("info_nce", 256) == pytest.approx(math.log(256))
    assert chance("nt_xent", 256) == pytest.approx(math.log(511))


@dtypes
@pytest.mark.parametrize("tau", [0.02, 0.05, 0.2])
def test_a_positive_far_ahead_leaves_a_tiny_loss_that_is_still_exact(tau, dtype):
    z = np.eye(3, dtype=dtype)
    value, (by_z1, _, _) = value_and_gradients(info_nce, z, z, tau)
    ratio = math.exp(-1 / tau)
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    assert value == pytest.approx(math.log1p(2 * ratio), rel=tolerance, abs=0)
    coupling = 2 * ratio / (1 + 2 * ratio)
    assert by_z1[0, 1] == pytest.approx(coupling / 2 / tau / 3, rel=tolerance, abs=0)


# --- symmetries


@losses
@both_ways
@given(seeds, counts, dims, temperatures)
@drawn
def test_renumbering_the_instances_renumbers_the_gradient(loss, normalize, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    order = np.random.default_rng(seed).permutation(n)
    value, before = value_and_gradients(loss, z1, z2, tau, normalize=normalize)
    again, after = value_and_gradients(loss, z1[order], z2[order], tau, normalize=normalize)
    np.testing.assert_allclose(again, value, rtol=1e-12, atol=1e-13)
    for old, new in zip(before[:2], after[:2], strict=True):
        np.testing.assert_allclose(new, old[order], rtol=1e-10, atol=1e-12 / tau)


@losses
@given(seeds, counts, dims, temperatures)
@drawn
def test_on_the_sphere_lengths_do_not_matter(loss, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    lengths = 10 ** np.random.default_rng(seed).uniform(-3, 3, (n, 1))
    value, (by_z1, by_z2, _) = value_and_gradients(loss, z1, z2, tau)
    again, (by_scaled, by_same, _) = value_and_gradients(loss, lengths * z1, z2, tau)
    np.testing.assert_allclose(again, value, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(by_scaled * lengths, by_z1, rtol=1e-9, atol=1e-12 / tau)
    np.testing.assert_allclose(by_same, by_z2, rtol=1e-9, atol=1e-12 / tau)


@losses
@given(seeds, counts, dims, temperatures)
@drawn
def test_on_the_sphere_the_gradient_is_tangent(loss, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    _, gradients = value_and_gradients(loss, z1, z2, tau)
    for z, gradient in zip((z1, z2), gradients[:2], strict=True):
        np.testing.assert_allclose((z * gradient).sum(axis=1), 0, atol=1e-14 / tau)


def test_off_the_sphere_longer_embeddings_lower_the_loss():
    z = np.eye(4)
    values = [info_nce(c * z, c * z, temperature=1.0, normalize=False) for c in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-20


@pytest.mark.parametrize("loss", [LOSSES["symmetric"], nt_xent], ids=["symmetric", "nt_xent"])
@given(seeds, counts, dims, temperatures)
@drawn
def test_the_two_views_may_be_swapped(loss, seed, n, d, tau):
    z1, z2 = make_views(seed, n, d)
    assert loss(z1, z2, temperature=tau) == pytest.approx(loss(z2, z1, temperature=tau), rel=1e-12)


def test_one_direction_is_not_symmetric():
    z1, z2 = make_views(0, 5, 3)
    assert info_nce(z1, z2, temperature=0.5) != pytest.approx(info_nce(z2, z1, temperature=0.5), rel=1e-3)


def test_nt_xent_leaves_out_the_similarity_of_an_embedding_with_itself():
    z1, z2 = make_views(0, 4, 3)
    private = np.zeros((4, 1))
    private[0] = 1e3  # a direction that no other embedding has: it changes this row's similarity to itself alone
    longer, same = np.hstack([z1, private]), np.hstack([z2, np.zeros((4, 1))])
    before, (by_z1, _, _) = value_and_gradients(nt_xent, z1, z2, 0.5, normalize=False)
    after, (by_longer, _, _) = value_and_gradients(nt_xent, longer, same, 0.5, normalize=False)
    assert after == pytest.approx(before, rel=1e-12)
    np.testing.assert_allclose(by_longer[:, :3], by_z1, rtol=1e-10)
    assert by_longer[0, 3] == 0


@given(seeds, st.integers(2, 6), temperatures)
@drawn
def test_adding_a_number_to_an_anchors_similarities_changes_nothing(seed, n, tau):
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(n, n))  # against the unit vectors, embeddings are similarities
    value, (by_s, _, _) = value_and_gradients(info_nce, s, np.eye(n), tau, normalize=False)
    shifted = info_nce(s + rng.normal(size=(n, 1)), np.eye(n), temperature=tau, normalize=False)
    assert shifted == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(by_s.sum(axis=1), 0, atol=1e-15 / tau)


@given(seeds, st.integers(2, 6), st.floats(0.3, 5), st.floats(0.01, 1), st.data())
@drawn
def test_the_loss_falls_with_a_positives_similarity_and_rises_with_a_negatives(seed, n, tau, step, data):
    s = np.random.default_rng(seed).uniform(-1, 1, size=(n, n))
    i, j = (data.draw(st.integers(0, n - 1), label=label) for label in ("anchor", "candidate"))
    raised = s.copy()
    raised[i, j] += step
    before, after = (info_nce(x, np.eye(n), temperature=tau, normalize=False) for x in (s, raised))
    assert after < before if i == j else after > before


@given(seeds, counts, dims, temperatures, st.floats(0.1, 10))
@drawn
def test_only_similarities_over_temperature_matter(seed, n, d, tau, factor):
    z1, z2 = make_views(seed, n, d)
    scaled = info_nce(z1 * factor, z2, temperature=tau * factor, normalize=False)
    assert scaled == pytest.approx(info_nce(z1, z2, temperature=tau, normalize=False), rel=1e-11)


def test_what_is_excluded_has_no_weight_and_no_slope():
    s = np.random.default_rng(0).normal(size=(6, 6))
    positive, itself = stacked_masks(3, s)
    parts = take_apart(s, 0.5, positive, itself)
    huge = take_apart(np.where(itself, 1e6, s), 0.5, positive, itself)
    for mine, other in zip(parts, huge, strict=True):
        assert (mine == other).all()
    assert (slope(parts, positive, 0.5)[itself] == 0).all()


# --- numbers


SITUATIONS = {
    "random": lambda z, rng: (z, rng.normal(size=z.shape)),
    "aligned": lambda z, rng: (z, z),
    "opposite": lambda z, rng: (z, -z),
    "duplicates": lambda z, rng: (np.repeat(z[:1], len(z), axis=0), z),
}


@losses
@dtypes
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
@pytest.mark.parametrize("tau", [1e-3, 1e-2, 0.1, 1.0, 1e2, 1e3])
def test_loss_and_gradients_are_finite_and_keep_their_dtype(loss, dtype, situation, tau):
    rng = np.random.default_rng(0)
    views = situation(rng.normal(size=(16, 8)), rng)
    value, gradients = value_and_gradients(loss, *(z.astype(dtype) for z in views), tau)
    for result in (value, *gradients):
        assert np.isfinite(result).all()
        assert result.dtype == dtype


@losses
@given(seeds, counts, dims, temperatures)
@drawn
def test_float32_agrees_with_float64(loss, seed, n, d, tau):
    views = [z.astype(np.float32) for z in make_views(seed, n, d)]
    value, gradients = value_and_gradients(loss, *views, tau)
    exact, exact_gradients = value_and_gradients(loss, *(z.astype(np.float64) for z in views), np.float32(tau))
    np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-5 / tau)
    for got, want in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 / tau**2 * max(1, np.abs(want).max()))


@losses
@pytest.mark.parametrize("temperature", [1, 0.5, np.float32(0.5), np.float64(0.5)])
def test_a_number_as_temperature_does_not_widen_float32(loss, temperature):
    z = hc.tensor(np.eye(3, dtype=np.float32), requires_grad=True)
    value = loss(z, z, temperature=temperature)
    value.backward()
    assert value.dtype == z.grad.dtype == np.float32


# --- what goes in and comes out


@losses
def test_arrays_give_a_float_and_tensors_a_tensor(loss):
    z1, z2 = make_views(0, 4, 3)
    value = loss(z1, z2, temperature=0.5)
    assert type(value) is float
    for a, b, tau in [
        (hc.tensor(z1), hc.tensor(z2), 0.5),
        (hc.tensor(z1), z2, 0.5),
        (z1, hc.tensor(z2), 0.5),
        (z1, z2, hc.tensor(0.5)),
        (z1, z2, hc.tensor([0.5])),
    ]:
        result = loss(a, b, temperature=tau)
        assert isinstance(result, hc.Tensor)
        assert float(result) == value


@losses
def test_lists_and_whole_numbers_are_embeddings_too(loss):
    rows = [[1, 0], [0, 2], [-3, 1]]
    assert loss(rows, rows, temperature=0.5) == loss(np.array(rows, float), np.array(rows, float), temperature=0.5)


@losses
def test_inputs_are_left_as_they_are(loss):
    z1, z2 = make_views(0, 4, 3)
    for z in (z1, z2):
        z.setflags(write=False)
    value_and_gradients(loss, z1, z2, 0.5)


@losses
def test_the_temperature_has_no_default(loss):
    with pytest.raises(TypeError, match="temperature"):
        loss(np.eye(2), np.eye(2))


# --- what is refused

GOOD = np.random.default_rng(0).normal(size=(4, 3))


def with_row(row, value):
    z = GOOD.copy()
    z[row] = value
    return z


@losses
@pytest.mark.parametrize(
    ("z1", "z2", "error", "message"),
    [
        (GOOD, GOOD[:3], InputError, r"z1 and z2 got shapes \(4, 3\) and \(3, 3\)"),
        (GOOD, GOOD[:, :2], InputError, r"z1 and z2 got shapes \(4, 3\) and \(4, 2\)"),
        (GOOD[0], GOOD[0], InputError, r"z1 got shape \(3,\), expected \(N, D\)"),
        (GOOD[None], GOOD[None], InputError, r"z1 got shape \(1, 4, 3\), expected \(N, D\)"),
        (GOOD[:1], GOOD[:1], InputError, r"z1 got 1 row\(s\), expected at least 2"),
        (GOOD[:0], GOOD[:0], InputError, r"z1 got 0 row\(s\), expected at least 2"),
        (GOOD[:, :0], GOOD[:, :0], InputError, r"z1 got shape \(4, 0\), expected at least one dimension"),
        (with_row(2, np.nan), GOOD, InputError, r"z1: row 2 is not finite.*\(1 of 4 rows\)"),
        (GOOD, with_row(slice(1, 3), np.inf), InputError, r"z2: row 1 is not finite.*\(2 of 4 rows\)"),
        (with_row(3, 0), GOOD, InputError, r"z1: row 3 is all zeros.*\(1 of 4 rows\)"),
        (GOOD, with_row(0, 0), InputError, r"z2: row 0 is all zeros"),
        (GOOD * 1j, GOOD, DtypeError, "z1 got an array of complex128, expected floats"),
        (GOOD, GOOD.astype(object), DtypeError, "z2 got an array of object, expected floats"),
        (GOOD.astype(str), GOOD, DtypeError, "z1 got an array of <U"),
        (hc.tensor([[1, 2], [3, 4]]), GOOD, DtypeError, "z1 got an array of int64, expected floats"),
    ],
)
def test_bad_embeddings_are_refused_by_name(loss, z1, z2, error, message):
    with pytest.raises(error, match=message):
        loss(z1, z2, temperature=0.5)


@losses
@pytest.mark.parametrize(
    ("temperature", "error", "message"),
    [
        (0, InputError, "temperature got 0, expected a positive finite number"),
        (-0.5, InputError, "temperature got -0.5"),
        (math.nan, InputError, "temperature got nan"),
        (math.inf, InputError, "temperature got inf"),
        (hc.tensor(-1.0), InputError, "temperature got -1"),
        ("warm", DtypeError, "temperature got 'warm', expected a positive number"),
        ("0.2", DtypeError, "temperature got '0.2'"),
        (None, DtypeError, "temperature got None"),
        (1j, DtypeError, "temperature got 1j"),
        (10**400, DtypeError, "temperature got 1000"),
        (np.array([0.1, 0.2]), InputError, r"temperature got shape \(2,\), expected one number, or \(\d,\)"),
        (np.ones((2, 2)), InputError, r"temperature got shape \(2, 2\)"),
    ],
)
def test_bad_temperatures_are_refused(loss, temperature, error, message):
    with pytest.raises(error, match=message):
        loss(GOOD, GOOD, temperature=temperature)


@losses
def test_off_the_sphere_a_row_of_zeros_is_allowed(loss):
    z = np.zeros((4, 3))
    candidates = 7 if loss is nt_xent else 4
    assert loss(z, z, temperature=0.5, normalize=False) == pytest.approx(math.log(candidates))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chance("triplet", 4), "loss got 'triplet', expected one of info_nce, nt_xent"),
        (lambda: chance("info_nce", 1), "count got 1, expected at least 2"),
        (lambda: floor("triplet", 4, 0.5), "loss got 'triplet'"),
        (lambda: floor("nt_xent", 1, 0.5), "count got 1, expected at least 2"),
        (lambda: floor("info_nce", 4, 0), "temperature got 0"),
    ],
)
def test_chance_and_floor_refuse_what_has_none(call, message):
    with pytest.raises(InputError, match=message):
        call()
