"""What uniformity is compared with: both estimators, their noise, the spectrum and the classes' own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.metrics import (
    alignment,
    alignment_by_class,
    mean_similarity,
    spectrum_against_floor,
    tolerance,
    tolerance_by_class,
    uniformity,
    uniformity_by_class,
    uniformity_floor,
    uniformity_noise,
    uniformity_spectrum,
    with_self_pairs,
    without_self_pairs,
)
from hypercon.testing import gradcheck

drawn = settings(max_examples=25, deadline=None, derandomize=True)


def sphere(rng, count, dim):
    z = rng.normal(size=(count, dim))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@st.composite
def labelled(draw):
    """Unit embeddings with three classes, of which the first two have pairs."""
    count = draw(st.integers(5, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, 3, count)
    labels[:4] = 0, 0, 1, 1
    return sphere(rng, count, draw(st.integers(2, 5))), labels


# --- both estimators


@given(labelled(), st.floats(0.1, 10))
@drawn
def test_with_self_pairs_it_is_the_mean_over_all_pairs(data, t):
    # Wang & Isola 2020, appendix A.1.1, the first estimator
    z, _ = data
    distances = ((z[:, None] - z[None]) ** 2).sum(axis=2)
    assert uniformity(z, t, self_pairs=True) == pytest.approx(-math.log(np.exp(-t * distances).mean()), rel=1e-9)


@given(labelled(), st.floats(0.1, 4))
@drawn
def test_the_conversion_is_what_both_estimators_give_and_can_be_undone(data, t):
    z, _ = data
    without, with_self = uniformity(z, t), uniformity(z, t, self_pairs=True)
    assert with_self_pairs(without, len(z)) == pytest.approx(with_self, rel=1e-12, abs=1e-14)
    assert without_self_pairs(with_self, len(z)) == pytest.approx(without, rel=1e-8, abs=1e-12)


def test_uniformity_with_self_pairs_can_be_differentiated():
    z = np.random.default_rng(0).normal(size=(5, 3))
    gradcheck(lambda x: uniformity(x, 2.0, self_pairs=True), z, order=2)


def test_the_first_estimator_tells_the_batch_size_and_the_second_the_encoder():
    # theory of the uniform distribution in 128 dimensions: 1.95, 2.99, 3.61, 3.84 for 8, 32, 128, 512 points
    rng = np.random.default_rng(0)
    batches = [sphere(rng, count, 128) for count in (8, 32, 128, 512)]
    assert [uniformity(z, self_pairs=True) for z in batches] == pytest.approx([1.95, 2.99, 3.61, 3.84], abs=0.01)
    for z in batches:
        assert uniformity(z) == pytest.approx(3.9375, abs=4 * uniformity_noise(128, len(z)))


# --- noise


@pytest.mark.parametrize(("dim", "count", "t"), [(2, 40, 2.0), (3, 60, 4.0), (16, 200, 4.0), (64, 300, 7.0)])
def test_noise_is_the_spread_of_uniform_draws(dim, count, t):
    rng = np.random.default_rng(1)
    values = [uniformity(sphere(rng, count, dim), t) for _ in range(400)]
    # the spread of 400 draws is known to about 4 %; that of the potential is exact, its logarithm's nearly the same
    assert np.std(values) == pytest.approx(uniformity_noise(dim, count, t), rel=0.15)
    assert np.mean(values) == pytest.approx(-uniformity_floor(dim, t), abs=0.2 * np.std(values) + np.var(values))


def test_noise_grows_with_the_sharpness_and_falls_with_the_points():
    assert uniformity_noise(64, 500, 2.0) < uniformity_noise(64, 500, 8.0) < uniformity_noise(64, 500, 32.0)
    assert uniformity_noise(64, 500) == pytest.approx(10 * uniformity_noise(64, 5000), rel=0.01)
    assert uniformity_noise(2000, 500, 1e4) == math.inf


# --- the spectrum


def test_the_spectrum_holds_uniformity_its_most_and_the_gap_between_them():
    z = np.random.default_rng(0).normal(size=(50, 6)) + 0.5
    found = spectrum_against_floor(z, [4.0, 1.0, 2.0])
    assert found.ts.tolist() == [1.0, 2.0, 4.0]
    assert found.uniformity.tolist() == uniformity_spectrum(z, [1.0, 2.0, 4.0]).tolist()
    assert found.most.tolist() == [-uniformity_floor(6, t) for t in (1.0, 2.0, 4.0)]
    assert found.gap == pytest.approx(found.most - found.uniformity)
    assert found.noise.tolist() == [uniformity_noise(6, 50, t) for t in (1.0, 2.0, 4.0)]
    assert found.marked is None


@pytest.mark.parametrize("temperature", [0.07, 0.25, hc.CosineTemperature(lowest=0.1, highest=1.0, period=10)])
def test_the_spectrum_marks_the_scale_that_a_temperature_acts_on(temperature):
    tau = temperature if isinstance(temperature, float) else 1.0
    z = np.random.default_rng(0).normal(size=(20, 4))
    found = spectrum_against_floor(z, [1.0, 2.0], temperature=temperature)
    assert found.marked == pytest.approx(1 / (2 * tau))
    assert found.marked in found.ts
    assert repr(found).count(f"temperature {tau:.3g}") == 1
    assert len(found.plot().axes[0].lines) == 3


def test_uniform_points_have_no_gap_beyond_their_noise():
    found = spectrum_against_floor(sphere(np.random.default_rng(0), 500, 16))
    known = found.noise < 0.5
    assert known.sum() >= 4
    assert (abs(found.gap[known]) < 4 * found.noise[known]).all()


# --- classes


@given(labelled(), st.floats(0.5, 4))
@drawn
def test_measures_by_class_are_those_of_the_classes_alone(data, t):
    z, labels = data
    spread, kept = uniformity_by_class(z, labels, t), tolerance_by_class(z, labels)
    moved = z + 0.1
    aligned = alignment_by_class(z, moved, labels)
    assert list(spread) == list(kept) == [c for c in range(3) if (labels == c).sum() > 1]
    for c in spread:
        members = labels == c
        assert spread[c] == pytest.approx(uniformity(z[members], t), rel=1e-9, abs=1e-12)
        assert kept[c] == pytest.approx(tolerance(z[members], [0] * members.sum()), abs=1e-12)
        assert aligned[c] == pytest.approx(alignment(z[members], moved[members]), abs=1e-12)


@given(labelled())
@drawn
def test_the_classes_together_make_the_whole(data):
    z, labels = data
    pairs = {c: int(n * (n - 1)) for c, n in zip(*np.unique(labels, return_counts=True), strict=True)}
    kept = tolerance_by_class(z, labels)
    assert sum(kept[c] * pairs[c] for c in kept) / sum(pairs.values()) == pytest.approx(tolerance(z, labels), abs=1e-12)
    sizes = {c: int((labels == c).sum()) for c in np.unique(labels)}
    aligned = alignment_by_class(z, -z[::-1], labels)
    assert sum(aligned[c] * sizes[c] for c in aligned) / len(z) == pytest.approx(alignment(z, -z[::-1]), abs=1e-12)


@given(labelled())
@drawn
def test_equation_11_as_printed_is_tolerance_times_the_share_of_same_class_pairs(data):
    # Wang & Liu 2021, eq. 11: E[ f(x)^T f(y) 1{l(x) = l(y)} ], over pairs i != j
    z, labels = data
    off = ~np.eye(len(z), dtype=bool)
    printed = ((z @ z.T) * (labels[:, None] == labels))[off].mean()
    share = (labels[:, None] == labels)[off].mean()
    assert tolerance(z, labels, literal=True) == pytest.approx(printed, abs=1e-12)
    assert tolerance(z, labels, literal=True) == pytest.approx(share * tolerance(z, labels), abs=1e-12)


@given(labelled())
@drawn
def test_mean_similarity_is_over_all_pairs(data):
    z, _ = data
    off = ~np.eye(len(z), dtype=bool)
    assert mean_similarity(3 * z) == pytest.approx((z @ z.T)[off].mean(), abs=1e-12)


Z = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: uniformity(Z, self_pairs=1), DtypeError, "self_pairs got int, expected True or False"),
        (lambda: with_self_pairs(math.nan, 8), InputError, "uniformity got nan, expected a finite number"),
        (lambda: with_self_pairs(1.0, 1), InputError, "count got 1, expected at least 2"),
        (lambda: without_self_pairs(2.5, 8), InputError, r"less than log\(8\) = 2.07944, .* computed without them"),
        (lambda: uniformity_noise(1, 8), InputError, "dim got 1, expected at least 2"),
        (lambda: uniformity_noise(8, 1), InputError, "count got 1, expected at least 2"),
        (lambda: spectrum_against_floor(Z, []), InputError, "ts got list, expected several numbers"),
        (lambda: spectrum_against_floor(Z, temperature=0), InputError, "temperature got 0, expected a positive"),
        (lambda: uniformity_by_class(Z, [0, 1, 2, 3]), InputError, "no two embeddings share a class"),
        (lambda: tolerance_by_class(Z, [0, 1, 2, 3]), InputError, "no two embeddings share a class"),
        (lambda: tolerance(Z, [0, 0, 1, 1], literal="no"), DtypeError, "literal got str, expected True or False"),
        (lambda: alignment_by_class(Z, Z[:3], [0, 0, 1, 1]), InputError, r"shapes \(4, 3\) and \(3, 3\)"),
        (lambda: alignment_by_class(Z, Z, [0, 0, 1]), InputError, r"labels got shape \(3,\), expected \(4,\)"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
