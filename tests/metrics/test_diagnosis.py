"""diagnose: sound encoders raise no alarm, and each planted sickness raises its own."""

import json
import math

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.metrics import (
    alignment,
    contrastive_accuracy,
    diagnose,
    effective_rank,
    knn_accuracy,
    mean_similarity,
    tolerance,
    tolerance_gap,
    uniformity,
    uniformity_floor,
)


def sphere(rng, count, dim):
    z = rng.normal(size=(count, dim))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def views_of(z, rng, noise=0.1):
    """Two views of each instance, as near as a trained encoder puts them."""
    return z, z + noise * rng.normal(size=z.shape) / math.sqrt(z.shape[1])


def clusters(rng, classes=5, per_class=40, dim=16, spread=0.5):
    labels = np.repeat(np.arange(classes), per_class)
    z = rng.normal(size=(classes, dim))[labels] + spread * rng.normal(size=(len(labels), dim))
    return z - z.mean(axis=0), labels


# --- no false alarm


@pytest.mark.parametrize("seed", range(200))
def test_uniform_and_aligned_embeddings_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    count, dim, tau = int(rng.integers(16, 150)), int(rng.integers(2, 65)), float(rng.choice([0.07, 0.2, 0.5]))
    assert diagnose(*views_of(sphere(rng, count, dim), rng), temperature=tau).alarms == []


def test_training_raises_no_alarm_and_each_measure():
    rng = np.random.default_rng(0)
    train, test = hc.data.load("digits"), hc.data.load("digits", "test")
    encoder, views = hc.nn.mlp(train.images.shape[1:], dim=16, rng=rng), hc.data.mild(window=0.8)
    before = diagnose(*(encoder.embed(view)[1] for view in views.two_views(test.images, rng=rng)), test.labels, 0.2)
    optimizer = hc.optim.Adam(encoder.parameters(), 2e-3)
    hc.fit(
        encoder, train.images, loss="info_nce", temperature=0.2, epochs=12, batch_size=256, optimizer=optimizer,
        augment=views, rng=rng,
    )  # fmt: skip
    after = diagnose(*(encoder.embed(view)[1] for view in views.two_views(test.images, rng=rng)), test.labels, 0.2)
    assert after.alarms == []
    for better in ("contrastive accuracy", "neighbours", "uniformity", "information"):
        assert after[better].value > before[better].value


# --- each sickness


def sick(kind):
    rng = np.random.default_rng(3)
    z = sphere(rng, 300, 32)
    if kind == "collapsed":
        return *views_of(1 + 0.02 * z, rng, 0.002), "collapsed: all embeddings nearly in one place"
    if kind == "cone":
        return *views_of(z + 0.6, rng), "a common direction holds"
    if kind == "dimensions":
        return *views_of(z * (np.arange(32) < 6), rng, 0.05), "dimensionally collapsed: 6 of 32"
    if kind == "two poles":
        poles = np.where(np.arange(300)[:, None] % 2, 1, -1) * z[0] * 3 + z
        return *views_of(poles, rng), "concentrated: "
    return z, sphere(rng, 300, 32), "not aligned: positives are hardly nearer than other instances"


@pytest.mark.parametrize("kind", ["collapsed", "cone", "dimensions", "two poles", "strangers"])
def test_each_sickness_is_named(kind):
    z1, z2, says = sick(kind)
    assert any(alarm.startswith(says) for alarm in diagnose(z1, z2).alarms)
    assert f"! {says}" in repr(diagnose(z1, z2))


def test_a_loss_at_chance_is_named():
    rng = np.random.default_rng(0)
    z = 1 + 1e-3 * sphere(rng, 200, 8)
    found = diagnose(z, z[rng.permutation(200)], temperature=0.2)
    assert found["loss"].value == pytest.approx(math.log(200), rel=1e-3)
    assert "at chance" in found.alarms
    strangers = diagnose(sphere(rng, 200, 8), sphere(rng, 200, 8), temperature=0.05)
    assert "above chance: negatives are nearer than positives" in strangers.alarms
    assert strangers["information"].says == "none shown"


def test_equal_embeddings_are_collapsed_at_chance_and_nothing_is_nan():
    found = diagnose(np.ones((6, 3)), np.ones((6, 3)), [0, 0, 1, 1, 2, 2], 0.1)
    assert found["loss"].value == pytest.approx(math.log(6), abs=1e-12)
    assert found["contrastive accuracy"].value == pytest.approx(1 / 6)
    assert found["effective negatives"].value == pytest.approx(5)
    assert found["push on own class"].value == pytest.approx(0.2)
    assert {"at chance", "collapsed: all embeddings nearly in one place"} <= set(found.alarms)
    assert all(math.isfinite(reading.value) for reading in found)


def test_classes_that_neighbours_do_not_share_are_named():
    rng = np.random.default_rng(0)
    z, labels = clusters(rng)
    assert not diagnose(*views_of(z, rng), labels)["neighbours"].alarm
    assert diagnose(*views_of(z, rng), rng.permutation(labels))["neighbours"].alarm


# --- what the table says is what the measures say


@pytest.mark.parametrize("block", [None, 100])
def test_each_value_is_that_of_its_measure(block, monkeypatch):
    if block:
        monkeypatch.setattr("hypercon.metrics.retrieval.BLOCK", block)  # so small that there are many
    rng = np.random.default_rng(0)
    z, labels = clusters(rng)
    z1, z2 = views_of(z, rng, 2.0)
    found, laid_open = diagnose(z1, z2, labels, 0.2), hc.explain(z1, z2, temperature=0.2, labels=labels)
    expected = {
        "alignment": alignment(z1, z2),
        "uniformity": uniformity(z1),
        "uniformity at its scale": uniformity(z1, 2.5),
        "common direction": mean_similarity(z1),
        "effective rank": effective_rank(z1, centred=True),
        "loss": laid_open.loss,
        "information": laid_open.information,
        "effective negatives": laid_open.effective_negatives.mean(),
        "push on own class": laid_open.false_negative_share.mean(),
        "tolerance": tolerance(z1, labels),
        "tolerance gap": tolerance_gap(z1, labels),
        "neighbours": knn_accuracy(z1, labels),
        "contrastive accuracy": (laid_open.similarities.argmax(axis=1) == np.arange(len(z1))).mean(),
    }
    assert {reading.name: reading.value for reading in found} == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found["push on own class"].chance == pytest.approx(laid_open.base_rate.mean())
    assert (found["loss"].best, found["loss"].chance) == pytest.approx((laid_open.floor, laid_open.chance))
    assert found["uniformity"].best == -uniformity_floor(16)


@pytest.mark.parametrize(("count", "dim"), [(2, 2), (4, 3), (64, 128), (129, 128)])
def test_the_best_uniformity_of_few_points_is_that_of_a_regular_simplex(count, dim):
    z = np.eye(count, max(dim, count)) - 1 / count * (np.arange(max(dim, count)) < count)
    if dim < count:  # the corners of a simplex in their own space of N - 1 dimensions
        z = z @ np.linalg.svd(z)[2][: count - 1].T
    found = diagnose(z, z, temperature=0.2)
    for name in ("uniformity", "uniformity at its scale"):
        assert found[name].value == pytest.approx(found[name].best, rel=1e-9)
        assert "even" in found[name].says or "too few" in found[name].says
    orthonormal = diagnose(np.eye(64, 128), np.eye(64, 128))["uniformity"]
    assert orthonormal.value == pytest.approx(4)
    assert orthonormal.best == pytest.approx(4 * 64 / 63)


def test_what_is_not_known_is_not_in_the_table():
    rng = np.random.default_rng(0)
    z1, z2 = views_of(sphere(rng, 30, 4), rng)
    names = {reading.name for reading in diagnose(z1, z2)}
    assert names == {"alignment", "contrastive accuracy", "uniformity", "common direction", "effective rank"}
    with pytest.raises(InputError, match="'loss' was not measured, expected one of: alignment, "):
        diagnose(z1, z2)["loss"]


def test_it_is_written_as_json():
    rng = np.random.default_rng(0)
    found = diagnose(*views_of(sphere(rng, 30, 4), rng), rng.integers(0, 3, 30), 0.2)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [reading["name"] for reading in back["readings"]] == [reading.name for reading in found]
    assert (back["count"], back["dim"], back["temperature"], back["alarms"]) == (30, 4, 0.2, found.alarms)


# --- contrastive accuracy


def test_ties_share_what_is_found():
    z = np.eye(3)
    assert contrastive_accuracy(z, z[[0, 0, 0]]) == pytest.approx(1 / 3)
    assert contrastive_accuracy(np.ones((7, 2)), np.ones((7, 2))) == pytest.approx(1 / 7)


Z = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: diagnose(Z, Z[:3]), InputError, r"z1 and z2 got shapes \(4, 3\) and \(3, 3\)"),
        (lambda: diagnose(Z[:1], Z[:1]), InputError, r"z1 got 1 row\(s\), expected at least 2"),
        (lambda: diagnose(Z[:, :1], Z[:, :1]), InputError, "expected at least 2 dimensions"),
        (lambda: diagnose(Z, np.where(Z[2] == Z, np.nan, Z)), InputError, "z2: row 2 is not finite"),
        (lambda: diagnose(Z, Z, [0, 1]), InputError, r"labels got shape \(2,\), expected \(4,\)"),
        (lambda: diagnose(Z, Z, list("abab")), DtypeError, r"as np.unique\(labels, return_inverse=True\)\[1\] does"),
        (lambda: diagnose(Z, Z, [0, 1, 2, 3]), InputError, "no two embeddings share a class"),
        (lambda: diagnose(Z, Z, temperature=-1), InputError, "temperature got -1"),
        (lambda: diagnose(Z, Z, temperature="0.2"), DtypeError, "temperature got '0.2'"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_one_class_has_no_gap_and_no_neighbours():
    names = {reading.name for reading in diagnose(Z, Z, [1, 1, 1, 1])}
    assert "tolerance" in names
    assert not names & {"tolerance gap", "neighbours"}
