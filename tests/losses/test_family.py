"""The family of losses: each as its definition reads, its gradient, and what it has to do with the others."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon import losses
from hypercon.errors import DtypeError, HyperconError, InputError
from hypercon.testing import gradcheck

LABELS = np.array([0, 1, 0, 2, 1])
CALLS = {
    "simple": losses.simple_loss,
    "hard simple": partial(losses.hard_simple, k=2),
    "hard info_nce": partial(losses.hard_info_nce, temperature=0.3, k=2),
    "triplet limit": losses.triplet_limit,
    "first order": partial(losses.first_order_limit, temperature=2.0),
    "alignment": losses.alignment_loss,
    "alignment, alpha 1": partial(losses.alignment_loss, alpha=1.0),
    "uniformity": lambda z1, z2, **options: losses.uniformity_loss(z1, **options),
    "align and uniform": partial(losses.align_uniform, align_weight=0.7, t=3.0),
    "dcl": partial(losses.dcl, temperature=0.3),
    "dclw": partial(losses.dcl, temperature=0.3, sigma=0.5),
    "debiased": partial(losses.debiased, temperature=0.5),
    "hcl": partial(losses.hcl, temperature=0.5, beta=0.7),
    "supervised": lambda z1, z2, **options: losses.sup_con(z1, z2, LABELS, temperature=0.3, **options),
    "siglip": losses.siglip,
    "spectral": partial(losses.spectral, mu=2.0),
    "barlow twins": losses.barlow_twins,
    "vicreg": losses.vicreg,
}
WITH_TEMPERATURE = {
    "hard info_nce": partial(losses.hard_info_nce, k=3),
    "first order": losses.first_order_limit,
    "dcl": losses.dcl,
    "dclw": partial(losses.dcl, sigma=0.5),
    "debiased": losses.debiased,
    "hcl": losses.hcl,
    "supervised": lambda z1, z2, temperature: losses.sup_con(z1, z2, LABELS, temperature=temperature),
}
ON_THE_SPHERE = {name: call for name, call in CALLS.items() if name not in ("barlow twins", "vicreg")}
each = pytest.mark.parametrize("name", CALLS)
each_on_the_sphere = pytest.mark.parametrize("name", ON_THE_SPHERE)


def batch(seed=0, count=5, dim=4, noise=0.7):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, dim))
    return z, z + noise * rng.normal(size=z.shape)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


# --- what holds for all


@each
def test_gradients_of_first_and_second_order_agree_with_differences(name):
    gradcheck(CALLS[name], *batch())


@each
def test_arrays_give_floats_and_tensors_give_tensors_with_one_value(name):
    z1, z2 = batch()
    value = CALLS[name](z1, z2)
    assert isinstance(value, float)
    as_tensor = CALLS[name](hc.tensor(z1), hc.tensor(z2, requires_grad=True))
    assert float(as_tensor) == value


@each
def test_float32_stays_float32_and_agrees_with_float64(name):
    z1, z2 = batch()
    loss = CALLS[name](hc.tensor(z1.astype(np.float32), requires_grad=True), hc.tensor(z2.astype(np.float32)))
    assert loss.dtype == np.float32
    assert float(loss) == pytest.approx(CALLS[name](z1, z2), rel=1e-4, abs=1e-5)


@each
def test_the_order_of_the_batch_does_not_matter(name, monkeypatch):
    z1, z2 = batch()
    order = np.array([3, 0, 4, 2, 1])
    value = CALLS[name](z1, z2)
    monkeypatch.setitem(globals(), "LABELS", LABELS[order])
    assert CALLS[name](z1[order], z2[order]) == pytest.approx(value, rel=1e-12)


@each_on_the_sphere
def test_only_directions_count_and_the_gradient_has_no_radial_part(name):
    z1, z2 = batch()
    lengths = np.random.default_rng(1).uniform(0.1, 9, (5, 1))
    assert ON_THE_SPHERE[name](lengths * z1, z2) == pytest.approx(ON_THE_SPHERE[name](z1, z2), rel=1e-10)
    gradient = hc.grad(ON_THE_SPHERE[name])(z1, z2)
    np.testing.assert_allclose((gradient * z1).sum(axis=1), 0, atol=1e-12)


@each_on_the_sphere
@pytest.mark.parametrize("length", [1e-30, 1e-14, 1e25])
def test_rows_whose_squares_vanish_or_overflow_are_brought_to_unit_length_all_the_same(name, length):
    z1, z2 = (z.astype(np.float32) for z in batch())
    expected = ON_THE_SPHERE[name](z1, z2)
    assert ON_THE_SPHERE[name](z1 * np.float32(length), z2) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@each_on_the_sphere
def test_without_normalisation_unit_rows_give_the_same(name):
    if name == "spectral":
        pytest.skip("its radius is that of the sphere it normalises to")
    u, v = map(unit, batch())
    assert ON_THE_SPHERE[name](u, v, normalize=False) == pytest.approx(ON_THE_SPHERE[name](u, v), rel=1e-12)


@each
def test_all_embeddings_in_one_place_give_a_finite_loss_and_no_nan(name):
    z = np.ones((5, 4))
    value, gradients = hc.value_and_grad(CALLS[name], (0, 1))(z, z)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


@each
@pytest.mark.parametrize(
    ("z1", "z2"),
    [
        (np.ones((1, 3)), np.ones((1, 3))),
        (np.ones((3, 3)), np.ones((3, 2))),
        (np.full((3, 3), np.nan), np.ones((3, 3))),
        (np.ones(3), np.ones(3)),
        (np.array([["a"]]), np.ones((3, 3))),
        (np.ones((3, 3)) * 1j, np.ones((3, 3))),
    ],
)
def test_bad_embeddings_are_refused(name, z1, z2):
    if name == "uniformity" and z1.shape == (3, 3) and np.all(z1 == 1):
        pytest.skip("it takes one view")
    with pytest.raises(HyperconError, match=r"z[12]?\b"):
        CALLS[name](z1, z2)


@pytest.mark.parametrize("name", WITH_TEMPERATURE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3])
def test_every_temperature_gives_a_finite_loss_and_gradient(name, dtype, temperature):
    z1, z2 = (z.astype(dtype) for z in batch(noise=1.5))
    value, gradients = hc.value_and_grad(partial(WITH_TEMPERATURE[name], temperature=temperature), (0, 1))(z1, z2)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", WITH_TEMPERATURE)
def test_the_temperature_has_a_gradient(name):
    z1, z2 = map(hc.tensor, batch())
    gradcheck(lambda tau: WITH_TEMPERATURE[name](z1, z2, temperature=tau), 0.4, order=1)


# --- each as its definition reads, in loops


def similarities(z1, z2):
    return unit(z1) @ unit(z2).T


def anchors_of(z1, z2):
    """(positive, negatives) of each of the 2N stacked anchors."""
    s, count = similarities(np.concatenate([z1, z2]), np.concatenate([z1, z2])), len(z1)
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        yield s[i, partner], np.array([s[i, j] for j in range(2 * count) if j not in (i, partner)])


def test_simple_is_minus_the_positive_plus_the_mean_negative():
    z1, z2 = batch()
    s = similarities(z1, z2)
    rows = [-s[i, i] + np.delete(s[i], i).mean() for i in range(5)]
    assert losses.simple_loss(z1, z2) == pytest.approx(np.mean(rows))
    weighted = [-s[i, i] + 0.5 * np.delete(s[i], i).sum() for i in range(5)]
    assert losses.simple_loss(z1, z2, weight=0.5) == pytest.approx(np.mean(weighted))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_hard_losses_keep_the_k_nearest_negatives(k):
    z1, z2 = batch()
    s = similarities(z1, z2)
    nearest = [np.sort(np.delete(s[i], i))[::-1][:k] for i in range(5)]
    simple = [-s[i, i] + nearest[i].mean() for i in range(5)]
    assert losses.hard_simple(z1, z2, k=k) == pytest.approx(np.mean(simple))
    nce = [math.log(1 + np.exp((nearest[i] - s[i, i]) / 0.3).sum()) for i in range(5)]
    assert losses.hard_info_nce(z1, z2, k=k, temperature=0.3) == pytest.approx(np.mean(nce))
    assert losses.hard_simple(z1, z2, alpha=k / 4) == losses.hard_simple(z1, z2, k=k)


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_dcl_leaves_the_positive_out_of_the_denominator(sigma):
    z1, z2 = batch()
    s = similarities(z1, z2)
    weights = np.ones(5) if sigma is None else 2 - 5 * np.exp(np.diag(s) / sigma) / np.exp(np.diag(s) / sigma).sum()
    rows = [
        -weights[i % 5] * positive / 0.3 + math.log(np.exp(negatives / 0.3).sum())
        for i, (positive, negatives) in enumerate(anchors_of(z1, z2))
    ]
    assert losses.dcl(z1, z2, temperature=0.3, sigma=sigma) == pytest.approx(np.mean(rows))


@pytest.mark.parametrize(("beta", "prior", "tau"), [(0.0, 0.1, 0.5), (1.0, 0.1, 0.5), (0.7, 0.3, 0.2), (0.0, 0.9, 0.5)])
def test_hcl_and_debiased_correct_the_sum_of_negatives(beta, prior, tau):
    z1, z2 = batch(noise=0.3)
    rows = []
    for positive, negatives in anchors_of(z1, z2):
        e, e_positive = np.exp(negatives / tau), np.exp(positive / tau)
        weights = e**beta / (e**beta).mean()
        corrected = ((weights * e).sum() - len(e) * prior * e_positive) / (1 - prior)
        rows.append(-math.log(e_positive / (e_positive + max(corrected, len(e) * np.exp(-1 / tau)))))
    assert losses.hcl(z1, z2, temperature=tau, beta=beta, class_prior=prior) == pytest.approx(np.mean(rows))


def test_sup_con_averages_the_log_probability_of_all_of_the_class():
    z1, z2 = batch()
    z, labels = np.concatenate([z1, z2]), np.tile(LABELS, 2)
    s = similarities(z, z) / 0.3
    rows = []
    for i in range(10):
        others = [j for j in range(10) if j != i]
        own = [j for j in others if labels[j] == labels[i]]
        rows.append(-np.mean([s[i, j] for j in own]) + math.log(np.exp(s[i, others]).sum()))
    assert losses.sup_con(z1, z2, LABELS, temperature=0.3) == pytest.approx(np.mean(rows))


def test_siglip_asks_of_every_pair_whether_it_is_one():
    z1, z2 = batch()
    s = similarities(z1, z2)
    pairs = [math.log(1 + math.exp((-1 if i == j else 1) * (7 * s[i, j] - 3))) for i in range(5) for j in range(5)]
    assert losses.siglip(z1, z2, scale=7.0, bias=-3.0) == pytest.approx(sum(pairs) / 5)
    gradcheck(lambda scale, bias: losses.siglip(z1, z2, scale=scale, bias=bias), 7.0, -3.0)


def test_spectral_pulls_positives_and_squares_the_rest():
    z1, z2 = batch()
    s = 2 * similarities(z1, z2)
    off = [s[i, j] ** 2 for i in range(5) for j in range(5) if i != j]
    assert losses.spectral(z1, z2, mu=2.0) == pytest.approx(-2 * np.diag(s).mean() + np.mean(off))


def test_barlow_twins_compares_dimensions_over_the_batch():
    z1, z2 = batch(count=9)
    expected = 0.0
    for d in range(4):
        for e in range(4):
            a, b = (z1[:, d] - z1[:, d].mean()), (z2[:, e] - z2[:, e].mean())
            c = (a * b).mean() / math.sqrt((a.var() + 1e-5) * (b.var() + 1e-5))
            expected += (1 - c) ** 2 if d == e else 5e-3 * c**2
    assert losses.barlow_twins(z1, z2) == pytest.approx(expected)


def test_vicreg_has_three_parts():
    z1, z2 = batch(count=9)
    z1, z2 = z1 / 2, z2 / 2  # so that some standard deviations lie below 1

    def spread(z):
        return np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean()

    def repeated(z):
        c = np.cov(z.T)
        return (c**2).sum() / 4 - (np.diag(c) ** 2).sum() / 4

    parts = ((z1 - z2) ** 2).sum(axis=1).mean(), spread(z1) + spread(z2), repeated(z1) + repeated(z2)
    assert losses.vicreg(z1, z2) == pytest.approx(25 * parts[0] + 25 * parts[1] + parts[2])
    assert losses.vicreg(z1, z2, invariance=1.0, variance=2.0, covariance=3.0) == pytest.approx(
        parts[0] + 2 * parts[1] + 3 * parts[2]
    )


def test_uniformity_off_the_sphere_takes_distances_as_they_are():
    z = batch()[0]
    pairs = [math.exp(-2 * ((z[i] - z[j]) ** 2).sum()) for i in range(5) for j in range(5) if i != j]
    assert losses.uniformity_loss(z, normalize=False) == pytest.approx(math.log(np.mean(pairs)))


# --- what they have to do with each other


def test_keeping_all_negatives_is_info_nce_and_keeping_fewer_is_never_more():
    z1, z2 = batch()
    full = losses.info_nce(z1, z2, temperature=0.3)
    assert losses.hard_info_nce(z1, z2, temperature=0.3, alpha=1.0) == pytest.approx(full, rel=1e-12)
    falling = [losses.hard_info_nce(z1, z2, temperature=0.3, k=k) for k in (4, 3, 2, 1)]
    assert falling == sorted(falling, reverse=True)


def test_easy_negatives_feel_no_push():
    s = np.random.default_rng(0).normal(size=(5, 5))
    similarities = hc.tensor(s, requires_grad=True)
    losses.hard_info_nce(similarities, np.eye(5), temperature=0.3, k=2, normalize=False).backward()
    for i in range(5):
        easy = np.argsort(np.where(np.arange(5) == i, -np.inf, -s[i]))[3:]  # the positive first, then from the hardest
        assert set(np.flatnonzero(similarities.grad.data[i] == 0)) == set(easy)


def test_negatives_that_tie_at_the_cut_are_all_kept():
    z = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert losses.hard_info_nce(z, z, temperature=1.0, k=1) == losses.hard_info_nce(z, z, temperature=1.0, k=2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_tau_times_info_nce_tends_to_the_triplet_limit_as_tau_falls(seed):
    z1, z2 = batch(seed, count=6)
    limit = losses.triplet_limit(z1, z2)
    for tau in (0.1, 0.01, 0.001):
        assert -1e-12 <= tau * losses.info_nce(z1, z2, temperature=tau) - limit <= tau * math.log(6) + 1e-12


def test_the_first_order_form_errs_as_one_over_tau_squared():
    z1, z2 = batch()
    scaled = [
        tau**2 * (losses.first_order_limit(z1, z2, temperature=tau) - losses.info_nce(z1, z2, temperature=tau))
        for tau in (10.0, 100.0, 1000.0)
    ]
    assert scaled[0] == pytest.approx(scaled[1], rel=0.1)
    assert scaled[1] == pytest.approx(scaled[2], rel=0.01)


def test_the_first_order_form_is_the_simple_loss_up_to_scale_and_offset():
    z1, z2 = batch()
    expected = math.log(5) + 4 / (5 * 3.0) * losses.simple_loss(z1, z2)
    assert losses.first_order_limit(z1, z2, temperature=3.0) == pytest.approx(expected, rel=1e-12)


def test_simple_pushes_all_negatives_alike():
    s = hc.tensor(np.random.default_rng(0).normal(size=(4, 4)), requires_grad=True)
    losses.simple_loss(s, np.eye(4), normalize=False).backward()  # the similarities are the entries themselves
    off = s.grad.data[~np.eye(4, dtype=bool)]
    np.testing.assert_allclose(off, off[0])


def test_nt_xent_and_dcl_determine_each_other_anchor_by_anchor():
    z1, z2 = batch()
    rows = [
        math.log(math.exp(positive / 0.3) + np.exp(negatives / 0.3).sum()) - positive / 0.3
        for positive, negatives in anchors_of(z1, z2)
    ]
    assert losses.nt_xent(z1, z2, temperature=0.3) == pytest.approx(np.mean(rows))
    decoupled = [math.log(math.exp(row) - 1) for row in rows]  # e^L = 1 + e^L_dcl
    assert losses.dcl(z1, z2, temperature=0.3) == pytest.approx(np.mean(decoupled))


def test_without_prior_and_hardness_hcl_is_nt_xent():
    z1, z2 = batch()
    full = losses.nt_xent(z1, z2, temperature=0.3)
    assert losses.debiased(z1, z2, temperature=0.3, class_prior=0.0) == pytest.approx(full, rel=1e-12)
    assert losses.hcl(z1, z2, temperature=0.3, beta=0.0, class_prior=0.0) == pytest.approx(full, rel=1e-12)
    assert losses.hcl(z1, z2, temperature=0.3, beta=0.0) == losses.debiased(z1, z2, temperature=0.3)


def test_sup_con_with_all_labels_different_is_nt_xent_and_its_base_temperature_only_scales():
    z1, z2 = batch()
    different = losses.sup_con(z1, z2, np.arange(5), temperature=0.1)
    assert different == pytest.approx(losses.nt_xent(z1, z2, temperature=0.1), rel=1e-12)
    scaled = losses.sup_con(z1, z2, np.arange(5), temperature=0.1, base_temperature=0.07)
    assert scaled == pytest.approx(different * 0.1 / 0.07, rel=1e-12)


def test_the_collapse_values_that_people_report_are_explained():
    """Two threads of the authors' repository: stuck at 8.909 with batch 256, and at 5.5597 with batch 25."""
    for count, reported in [(256, 8.909), (25, 5.5597)]:
        z = np.ones((count, 4))
        stuck = losses.sup_con(z, z, np.arange(count), temperature=0.1, base_temperature=0.07)
        assert stuck == pytest.approx(reported, abs=5e-4)


def test_uniformity_and_alignment_are_the_metrics_with_their_signs():
    z1, z2 = batch()
    assert losses.uniformity_loss(z1) == -hc.metrics.uniformity(z1)
    assert losses.alignment_loss(z1, z2) == hc.metrics.alignment(z1, z2)
    parts = losses.alignment_loss(z1, z2), losses.uniformity_loss(z1), losses.uniformity_loss(z2)
    together = losses.align_uniform(z1, z2, align_weight=2.0, uniform_weight=3.0)
    assert together == pytest.approx(2 * parts[0] + 3 * (parts[1] + parts[2]) / 2)


def test_both_families_are_dual():
    """Garrido et al. 2023: off the diagonal, Z Z^T and Z^T Z differ by the norms of rows and columns alone."""
    z = batch()[0]

    def off(matrix):
        return (matrix**2).sum() - (np.diag(matrix) ** 2).sum()

    rows, columns = np.linalg.norm(z, axis=1), np.linalg.norm(z, axis=0)
    assert off(z @ z.T) - off(z.T @ z) == pytest.approx((columns**4).sum() - (rows**4).sum())


# --- bad settings


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(losses.hard_simple), InputError, "both or neither"),
        (partial(losses.hard_simple, k=1, alpha=0.5), InputError, "both or neither"),
        (partial(losses.hard_simple, k=5), InputError, "k got 5, expected 1 to 4"),
        (partial(losses.hard_info_nce, temperature=0.2, k=0), InputError, "k got 0"),
        (partial(losses.hard_info_nce, temperature=0.2, alpha=1.5), InputError, "alpha got 1.5"),
        (partial(losses.hard_info_nce, temperature=0, k=1), InputError, "temperature got 0"),
        (partial(losses.first_order_limit, temperature=-1), InputError, "temperature got -1"),
        (partial(losses.simple_loss, weight=0), InputError, "weight got 0"),
        (partial(losses.alignment_loss, alpha=0), InputError, "alpha got 0"),
        (partial(losses.dcl, temperature="warm"), DtypeError, "temperature got 'warm'"),
        (partial(losses.dcl, temperature=0.2, sigma=-1), InputError, "sigma got -1"),
        (partial(losses.debiased, temperature=0.2, class_prior=1.0), InputError, "class_prior got 1"),
        (partial(losses.hcl, temperature=0.2, beta=-1), InputError, "beta got -1"),
        (partial(losses.sup_con, labels=[0, 1], temperature=0.2), InputError, "labels got shape"),
        (partial(losses.sup_con, labels=[0.5] * 5, temperature=0.2), DtypeError, "whole numbers"),
        (partial(losses.siglip, scale=0), InputError, "scale got 0"),
        (partial(losses.siglip, bias=math.inf), InputError, "bias got inf"),
        (partial(losses.spectral, mu=-1), InputError, "mu got -1"),
        (partial(losses.barlow_twins, weight=0), InputError, "weight got 0"),
        (partial(losses.vicreg, variance=-1), InputError, "variance got -1"),
        (partial(losses.simple_loss, normalize="yes"), DtypeError, "normalize got str"),
    ],
)
def test_bad_settings_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(*batch())
