"""What an explanation says of a loss: each identity of Wang & Liu 2021, section 3, on drawn batches."""

import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import DtypeError, InputError
from hypercon.losses.common import stacked_masks
from hypercon.losses.infonce import take_apart

explain_module = importlib.import_module(
    "hypercon.explain.anatomy"
)  # the package's attribute of that name is the function

drawn = settings(max_examples=25, deadline=None, derandomize=True)
NAMES = ["info_nce", "nt_xent"]
names = pytest.mark.parametrize("name", NAMES)
both_ways = pytest.mark.parametrize("normalize", [True, False], ids=["sphere", "plain"])


@st.composite
def batches(draw):
    """Two related views and a temperature."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(2, 8)), draw(st.integers(2, 5))
    z = rng.normal(size=shape)
    return z, z + draw(st.sampled_from([0.1, 1.0])) * rng.normal(size=shape), draw(st.floats(0.05, 5))


def explained(batch, name, **settings):
    z1, z2, tau = batch
    return hc.explain(z1, z2, temperature=tau, loss=name, **settings)


def masks(e):
    """Where an anchor's positive, its negatives and what is neither lie."""
    count = len(e.grad_z1)
    if e.kind == "info_nce":
        positive, excluded = np.eye(count, dtype=bool), np.zeros((count, count), dtype=bool)
    else:
        positive, excluded = stacked_masks(count, e.similarities)
    return positive, ~positive & ~excluded, excluded


# --- values


@names
@both_ways
@given(batches())
@drawn
def test_loss_is_that_of_the_library(name, normalize, batch):
    z1, z2, tau = batch
    e = explained(batch, name, normalize=normalize)
    assert e.loss == pytest.approx(getattr(hc, name)(z1, z2, temperature=tau, normalize=normalize), rel=1e-12)
    assert e.loss == pytest.approx(e.per_anchor.mean(), rel=1e-12)
    assert e.information == pytest.approx(e.chance - e.loss)
    assert e.chance == pytest.approx(math.log(1 + e.negatives))
    assert (e.temperature, e.kind) == (tau, name)


@names
@given(batches())
@drawn
def test_on_the_sphere_the_loss_lies_above_its_floor(name, batch):
    e = explained(batch, name)
    assert e.floor == pytest.approx(hc.losses.floor(name, len(e.grad_z1), e.temperature))
    assert e.floor <= e.loss * (1 + 1e-12)


def test_off_the_sphere_there_is_no_floor_but_zero():
    assert explained((np.eye(3), np.eye(3), 0.5), "info_nce", normalize=False).floor == 0


@names
@both_ways
@given(batches())
@drawn
def test_probabilities_are_a_softmax_over_positive_and_negatives(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    positive, _, excluded = masks(e)
    for i, row in enumerate(e.similarities):
        logits = row / e.temperature - row.max() / e.temperature
        weights = np.where(excluded[i], 0, np.exp(logits))
        np.testing.assert_allclose(e.probabilities[i], weights / weights.sum(), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(e.probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(e.coupling, 1 - e.probabilities[positive], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(e.per_anchor, -np.log(e.probabilities[positive]), rtol=1e-9, atol=1e-12)


@names
@both_ways
@given(batches())
@drawn
def test_hardness_is_a_softmax_over_negatives_alone(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    _, negative, _ = masks(e)
    assert (e.hardness[~negative] == 0).all()
    np.testing.assert_allclose(e.hardness.sum(axis=1), 1, rtol=1e-12)
    for i, row in enumerate(e.similarities):
        weights = np.exp((row[negative[i]] - row[negative[i]].max()) / e.temperature)
        np.testing.assert_allclose(e.hardness[i, negative[i]], weights / weights.sum(), rtol=1e-11, atol=1e-300)


@names
def test_a_positive_that_lost_by_far_keeps_its_probability(name):
    z = np.eye(3)
    e = explained((z, -z, 0.02), name)
    positive, _, _ = masks(e)
    assert 0 < e.probabilities[positive].max() < 1e-20
    np.testing.assert_allclose(-np.log(e.probabilities[positive]), e.per_anchor, rtol=1e-12)


# --- the gradient by similarities, eq. 4 and 5


@names
@both_ways
@given(batches())
@drawn
def test_negatives_feel_together_what_the_positive_feels(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    positive, negative, _ = masks(e)
    pulled, pushed = -e.grad_similarities[positive], (e.grad_similarities * negative).sum(axis=1)
    np.testing.assert_allclose(pushed, pulled, rtol=1e-12)
    np.testing.assert_allclose(e.grad_similarities.sum(axis=1), 0, atol=1e-15 / e.temperature)
    np.testing.assert_allclose(e.grad_similarities * negative / pulled[:, None], e.hardness, rtol=1e-11)


@names
@both_ways
@given(batches())
@drawn
def test_gradient_by_similarities_is_autograds(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    positive, _, excluded = masks(e)
    loss = lambda s: take_apart(s, e.temperature, positive, excluded).loss.mean()  # noqa: E731
    np.testing.assert_allclose(e.grad_similarities, hc.grad(loss)(e.similarities), rtol=1e-9, atol=1e-14)
    p = np.where(positive, e.probabilities - 1, e.probabilities)
    np.testing.assert_allclose(e.grad_similarities, p / (len(p) * e.temperature), rtol=1e-9, atol=1e-14)


# --- entropy and temperature


@names
@given(batches())
@drawn
def test_entropy_grows_with_temperature_by_the_variance_of_similarities(name, batch):
    z1, z2, tau = batch
    tau = max(tau, 0.2)
    h = 1e-4 * tau
    below, here, above = (explained((z1, z2, t), name) for t in (tau - h, tau, tau + h))
    mean = (here.hardness * here.similarities).sum(axis=1, keepdims=True)
    variance = (here.hardness * (here.similarities - mean) ** 2).sum(axis=1)
    np.testing.assert_allclose((above.entropy - below.entropy) / (2 * h), variance / tau**3, rtol=1e-5, atol=1e-9)


@names
def test_entropy_rises_strictly_from_one_negative_to_all(name):
    rng = np.random.default_rng(0)
    z1, z2 = rng.normal(size=(2, 8, 4))
    taus = [1e-3, 0.02, 0.05, 0.1, 0.3, 1, 5, 1e3]
    entropies = np.array([explained((z1, z2, tau), name).entropy for tau in taus])
    assert (np.diff(entropies, axis=0) > 0).all()
    coldest, hottest = (explained((z1, z2, tau), name).effective_negatives for tau in (1e-4, 1e4))
    np.testing.assert_allclose(coldest, 1, rtol=1e-6)
    np.testing.assert_allclose(hottest, 7 if name == "info_nce" else 14, rtol=1e-6)


@names
def test_the_hardest_negatives_share_falls_with_temperature(name):
    rng = np.random.default_rng(0)
    z1, z2 = rng.normal(size=(2, 8, 4))
    shares = [explained((z1, z2, tau), name).hardness.max(axis=1) for tau in (0.05, 0.1, 0.3, 1, 5)]
    assert (np.diff(shares, axis=0) < 0).all()


@names
@both_ways
@given(batches())
@drawn
def test_effective_negatives_lie_between_one_and_all(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    np.testing.assert_allclose(e.effective_negatives, np.exp(e.entropy))
    assert (e.entropy >= 0).all()
    assert (e.effective_negatives >= 1).all()
    assert (e.effective_negatives <= e.negatives * (1 + 1e-12)).all()


@names
def test_equal_negatives_all_count(name):
    e = explained((np.ones((6, 3)), np.ones((6, 3)), 0.1), name)
    np.testing.assert_allclose(e.effective_negatives, e.negatives)
    assert e.loss == pytest.approx(e.chance)


@names
@both_ways
@given(batches())
@drawn
def test_gradient_by_temperature(name, normalize, batch):
    z1, z2, tau = batch
    e = explained(batch, name, normalize=normalize)
    positive, _, _ = masks(e)
    expected = (e.similarities[positive] - (e.probabilities * e.similarities).sum(axis=1)).mean() / tau**2
    assert e.grad_temperature == pytest.approx(expected, rel=1e-9, abs=1e-12 / tau**2)
    loss = lambda t: getattr(hc, name)(z1, z2, temperature=t, normalize=normalize)  # noqa: E731
    assert e.grad_temperature == pytest.approx(float(hc.grad(loss)(tau)), rel=1e-10, abs=1e-13 / tau**2)


# --- forces and gradients by embeddings


@given(batches())
@drawn
def test_pull_and_push_make_up_the_anchors_gradient(batch):
    e = explained(batch, "info_nce")
    u, v = (hc.normalize(z) for z in batch[:2])
    loss = lambda anchors: hc.info_nce(anchors, v, temperature=e.temperature, normalize=False)  # noqa: E731
    np.testing.assert_allclose(e.pull + e.push, -hc.grad(loss)(u), rtol=1e-10, atol=1e-14 / e.temperature)


@names
@both_ways
@given(batches())
@drawn
def test_pull_points_to_the_positive_and_push_away_from_the_negatives(name, normalize, batch):
    e = explained(batch, name, normalize=normalize)
    positive, _, _ = masks(e)
    z1, z2 = (hc.normalize(z) if normalize else z for z in batch[:2])
    candidates = z2 if name == "info_nce" else np.concatenate([z1, z2])
    strength = (e.coupling / (e.temperature * len(e.coupling)))[:, None]
    np.testing.assert_allclose(e.pull, strength * candidates[positive.argmax(axis=1)], rtol=1e-12)
    np.testing.assert_allclose(e.push, -strength * (e.hardness @ candidates), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(e.pull + e.push, -e.grad_similarities @ candidates, rtol=1e-9, atol=1e-13)


@names
@both_ways
@given(batches())
@drawn
def test_gradients_by_embeddings_are_the_losss(name, normalize, batch):
    z1, z2, tau = batch
    e = explained(batch, name, normalize=normalize)
    loss = lambda a, b: getattr(hc, name)(a, b, temperature=tau, normalize=normalize)  # noqa: E731
    for mine, autograds in zip((e.grad_z1, e.grad_z2), hc.grad(loss, argnums=(0, 1))(z1, z2), strict=True):
        np.testing.assert_allclose(mine, autograds, rtol=1e-10, atol=1e-14 / tau)


# --- labels


@names
@given(batches(), st.integers(0, 2**32 - 1))
@drawn
def test_false_negative_share_is_the_push_on_the_own_class(name, batch, seed):
    labels = np.random.default_rng(seed).integers(0, 3, len(batch[0]))
    e = explained(batch, name, labels=labels)
    classes = labels if name == "info_nce" else np.concatenate([labels, labels])
    for i, row in enumerate(e.hardness):
        own = sum(r for r, c in zip(row, classes, strict=True) if c == classes[i])
        assert e.false_negative_share[i] == pytest.approx(own, rel=1e-12)


@names
def test_false_negative_share_is_all_with_one_class_and_none_with_a_class_each(name):
    batch = (*np.random.default_rng(0).normal(size=(2, 5, 3)), 0.5)
    np.testing.assert_allclose(explained(batch, name, labels=[7] * 5).false_negative_share, 1)
    assert (explained(batch, name, labels=range(5)).false_negative_share == 0).all()
    assert explained(batch, name).false_negative_share is None


# --- verification


@names
@both_ways
@given(batches())
@drawn
def test_formula_autograd_and_differences_agree(name, normalize, batch):
    errors = explained(batch, name, normalize=normalize).verify()
    assert set(errors) == {"formula_autograd", "formula_differences", "autograd_differences"}
    assert max(errors.values()) < 1e-8


@names
@given(batches(), st.sampled_from([1e-4, 1e4]), st.sampled_from([1e-3, 0.01, 100, 1000]))
@drawn
def test_they_agree_for_embeddings_of_any_length_and_extreme_temperatures(name, batch, length, tau):
    z1, z2, _ = batch
    assert max(explained((length * z1, length * z2, tau), name).verify().values()) < 1e-7


@names
def test_they_agree_where_the_gradient_vanishes(name):
    collapsed, solved = np.ones((5, 3)), np.eye(5)
    for z, tau in ((collapsed, 0.2), (solved, 0.01)):
        assert max(explained((z, z, tau), name).verify().values()) < 1e-8


@names
def test_they_agree_for_float32_embeddings(name):
    z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    assert max(explained((z1, z2, 0.3), name).verify().values()) < 1e-8


@names
@pytest.mark.parametrize("length", [1e-3, 1, 1e3])
def test_a_wrong_formula_is_found_and_the_other_two_still_agree(name, length, monkeypatch):
    right = explain_module._parts
    monkeypatch.setattr(explain_module, "_parts", lambda *args: (right(*args)[0], right(*args)[1] * 1.001))
    z1, z2 = length * np.random.default_rng(0).normal(size=(2, 6, 4))
    errors = explained((z1, z2, 0.3), name).verify()
    assert errors["formula_autograd"] > 1e-4
    assert errors["formula_differences"] > 1e-5
    assert errors["autograd_differences"] < 1e-8


# --- the hardest negatives


@names
@pytest.mark.parametrize("tau", [1e-4, 0.1, 10.0])
def test_hardest_lists_negatives_alone_most_similar_first(name, tau):
    z = np.random.default_rng(0).normal(size=(6, 4))
    e = explained((z, z, tau), name)
    _, negative, _ = masks(e)
    for anchor in (0, 3, -1):
        found = e.hardest(anchor, k=e.negatives)
        candidates = [j for j, _, _ in found]
        assert sorted(candidates) == np.flatnonzero(negative[anchor]).tolist()
        assert [s for _, s, _ in found] == sorted((s for _, s, _ in found), reverse=True)
        assert all(s == e.similarities[anchor, j] and r == e.hardness[anchor, j] for j, s, r in found)
    assert e.hardest(0, k=2) == e.hardest(0, k=5)[:2]


@pytest.mark.parametrize(
    ("anchor", "k", "message"),
    [
        (4, 1, "anchor got 4, expected 0 to 3"),
        (-5, 1, "anchor got -5"),
        (0, 0, "k got 0, expected 1 to 3, the number of negatives"),
        (0, 4, "k got 4, expected 1 to 3"),
    ],
)
def test_hardest_refuses_what_there_is_not(anchor, k, message):
    with pytest.raises(InputError, match=message):
        explained((np.eye(4), np.eye(4), 0.5), "info_nce").hardest(anchor, k)


# --- form


@names
def test_tensors_in_plain_arrays_out(name):
    z1, z2 = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    e = hc.explain(hc.tensor(z1, requires_grad=True), hc.tensor(z2), temperature=hc.tensor(0.5), loss=name)
    plain = hc.explain(z1, z2, temperature=0.5, loss=name)
    for field in ("similarities", "hardness", "entropy", "coupling", "grad_z1", "grad_z2", "pull", "push"):
        value = getattr(e, field)
        assert type(value) is np.ndarray
        assert value.dtype == np.float32
        assert (value == getattr(plain, field)).all()
    for field in ("loss", "chance", "floor", "information", "grad_temperature", "temperature"):
        assert type(getattr(e, field)) is float


@names
@pytest.mark.parametrize("tau", [1e-3, 1e3])
def test_everything_is_finite_at_extreme_temperatures(name, tau):
    z1, z2 = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)
    e = explained((z1, z2, tau), name, labels=[0, 1, 2] * 3)
    for field, value in vars(e).items():
        if isinstance(value, float | np.ndarray):
            assert np.isfinite(value).all(), field


# --- the other losses


OTHERS = {
    "hard_info_nce": {"k": 2},
    "hard_simple": {"k": 2},
    "dcl": {},
    "hard_info_nce, half": {"alpha": 0.5},
}
others = pytest.mark.parametrize(("name", "kept"), OTHERS.items(), ids=OTHERS)
PUBLIC = {
    "hard_info_nce": lambda a, b, tau, **kept: hc.losses.hard_info_nce(a, b, temperature=tau, **kept),
    "hard_simple": lambda a, b, tau, **kept: hc.losses.hard_simple(a, b, **kept),
    "dcl": lambda a, b, tau: hc.losses.dcl(a, b, temperature=tau),
}


def of_others(name, kept, count=7, seed=0, tau=0.3, **settings):
    z1, z2 = np.random.default_rng(seed).normal(size=(2, count, 4))
    return z1, z2, hc.explain(z1, z2, temperature=tau, loss=name.partition(",")[0], **kept, **settings)


@others
@pytest.mark.parametrize("seed", range(5))
def test_other_losses_are_explained_by_one_formula(name, kept, seed):
    z1, z2, e = of_others(name, kept, seed=seed)
    value, gradients = hc.value_and_grad(lambda a, b, t: PUBLIC[e.kind](a, b, t, **kept), (0, 1, 2))(z1, z2, 0.3)
    assert e.loss == pytest.approx(value, rel=1e-12)
    for found, expected in zip((e.grad_z1, e.grad_z2, e.grad_temperature), gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(e.hardness.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(e.grad_similarities.sum(axis=1), 0, atol=1e-14)
    assert max(e.verify().values()) < 1e-8


@others
def test_other_losses_lie_at_chance_when_collapsed_and_at_their_floor_on_a_simplex(name, kept):
    loss = name.partition(",")[0]
    collapsed = hc.explain(np.ones((7, 3)), np.ones((7, 3)), temperature=0.3, loss=loss, **kept)
    if not loss.startswith("hard"):  # points in one place tie, and all that tie are kept
        assert collapsed.loss == pytest.approx(collapsed.chance, rel=1e-12)
    simplex = np.eye(7) + 1e-9 * np.random.default_rng(0).normal(size=(7, 7)) - 1 / 7
    e = hc.explain(simplex, simplex, temperature=0.3, loss=loss, **kept)
    assert e.loss == pytest.approx(e.floor, rel=1e-6)
    assert of_others(name, kept)[2].loss > of_others(name, kept)[2].floor


def test_hard_losses_push_the_negatives_they_keep_and_no_other():
    _, _, e = of_others("hard_info_nce", {"k": 2})
    assert ((e.hardness > 0).sum(axis=1) == 2).all()
    assert all(e.hardness[i, j] > 0 for i in range(7) for j, _, _ in e.hardest(i, 2))
    assert e.chance == pytest.approx(math.log(3))
    assert (e.effective_negatives <= 2 + 1e-12).all()
    assert e.information is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_the_three_ways_agree_on_a_thousand_batches(name):
    kept, worst = OTHERS.get(name, {}), 0.0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        z1, z2 = rng.normal(size=(2, int(rng.integers(4, 12)), int(rng.integers(2, 8))))
        tau = float(np.exp(rng.uniform(np.log(0.05), np.log(5))))
        e = hc.explain(z1, z2, temperature=tau, loss=name.partition(",")[0], **kept)
        worst = max(worst, *e.verify().values())
    assert worst < 1e-7, worst


# --- from elsewhere


@pytest.mark.parametrize("loss", ["info_nce", "hard_info_nce", "hard_simple"])
def test_similarities_alone_are_enough(loss):
    kept = {"k": 3} if loss.startswith("hard") else {}
    z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4))
    e = hc.explain(z1, z2, temperature=0.2, loss=loss, labels=[0, 1] * 3, **kept)
    alone = hc.explain_similarities(e.similarities, temperature=0.2, loss=loss, labels=[0, 1] * 3, **kept)
    for field in ("loss", "per_anchor", "hardness", "entropy", "coupling", "grad_similarities", "false_negative_share"):
        np.testing.assert_allclose(getattr(alone, field), getattr(e, field), rtol=1e-10, atol=1e-15, err_msg=field)
    np.testing.assert_allclose(alone.grad_z1, e.grad_similarities, rtol=1e-10, atol=1e-15)


class Foreign:
    """An array of another library, known by the DLPack protocol alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **settings):
        return self._array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Recording:
    """An array that refuses to leave its library, as one does that records gradients."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach first")


def test_embeddings_of_other_libraries_come_through_dlpack():
    z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4))
    assert hc.explain(Foreign(z1), Foreign(z2), temperature=0.2).loss == hc.explain(z1, z2, temperature=0.2).loss
    with pytest.raises(InputError, match=r"z1 got a Recording that .* \(call detach first\)"):
        hc.explain(Recording(), z2, temperature=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hc.explain_similarities(np.ones((2, 3)), temperature=1), r"similarities got shape \(2, 3\)"),
        (lambda: hc.explain_similarities(np.eye(3), temperature=1, loss="dcl"), "loss got 'dcl', which stacks"),
        (lambda: hc.explain_similarities([[1.0, np.nan], [0, 1]], temperature=1), "row 0 is not finite"),
        (lambda: hc.explain(np.eye(3), np.eye(3), temperature=1, k=1), "k and alpha are for the hard losses"),
        (
            lambda: hc.explain(np.eye(3), np.eye(3), temperature=1, loss="hard_simple"),
            "k and alpha got both or neither",
        ),
    ],
)
def test_what_does_not_fit_a_loss_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# --- as text


def test_its_text_says_when_a_loss_is_above_chance_and_how_many_negatives_are_of_the_class():
    z = np.eye(4)
    text = repr(hc.explain(z, -z, temperature=0.5, labels=[0, 0, 1, 1]))
    assert "above chance 1.3863: negatives are nearer than positives" in text
    assert "of the push falls on the own class, which is 33.3% of the negatives" in text


def test_its_text_says_where_the_loss_lies():
    text = repr(explained((np.eye(4), np.eye(4), 0.5), "nt_xent", labels=[0, 0, 1, 1]))
    for part in ("nt_xent at temperature 0.5: 8 anchors, 6 negatives each", "floor", "chance", "of 6", "33.3%"):
        assert part in text


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "triplet"}, InputError, "loss got 'triplet', expected one of info_nce, nt_xent"),
        ({"temperature": 0}, InputError, "temperature got 0"),
        ({"temperature": "0.2"}, DtypeError, "temperature got '0.2'"),
        ({"z2": np.eye(3)}, InputError, "z1 and z2 got shapes"),
        ({"z1": np.zeros((4, 4))}, InputError, "z1: row 0 is all zeros"),
        ({"z1": np.full((4, 4), np.nan)}, InputError, "z1: row 0 is not finite"),
        ({"labels": [0, 1]}, InputError, r"labels got shape \(2,\), expected \(4,\)"),
        ({"labels": [0.5] * 4}, DtypeError, "labels got float64, expected whole numbers"),
    ],
)
def test_bad_input_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        hc.explain(**{"z1": np.eye(4), "z2": np.eye(4), "temperature": 0.5} | settings)
