"""Nearest neighbours, the linear probe and few labels: right on data where the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import ConvergenceWarning, DtypeError, InputError
from hypercon.metrics import few_labels, knn_accuracy, linear_probe, probes

drawn = settings(max_examples=25, deadline=None, derandomize=True)


def clusters(rng, classes=4, per_class=20, spread=0.1):
    """Points around as many orthogonal directions as there are classes."""
    labels = np.repeat(np.arange(classes), per_class)
    return np.eye(classes + 2)[labels] + spread * rng.normal(size=(len(labels), classes + 2)), labels


# --- nearest neighbours


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_solve_separate_clusters(k):
    rng = np.random.default_rng(0)
    assert knn_accuracy(*clusters(rng), *clusters(rng), k=k) == 1


def test_neighbours_guess_where_there_is_nothing_to_find():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(2000, 4)), rng.integers(0, 4, 2000)
    assert knn_accuracy(z[:1000], labels[:1000], z[1000:], labels[1000:]) == pytest.approx(0.25, abs=0.05)


@given(st.integers(0, 2**32 - 1), st.integers(2, 10), st.integers(1, 10))
@drawn
def test_neighbours_vote_as_written(seed, n, k):
    rng = np.random.default_rng(seed)
    z, test_z = rng.normal(size=(n, 2)), rng.normal(size=(6, 2))
    labels, test_labels = rng.integers(0, 3, n), rng.integers(0, 3, 6)
    labels[:2] = 0, 1
    k, right = min(k, n), 0
    for x, label in zip(test_z, test_labels, strict=True):
        cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in z]
        voters = [labels[i] for i in sorted(range(n), key=lambda i: -cosines[i])[:k]]
        right += max(voters, key=lambda c: (voters.count(c), -voters.index(c))) == label
    assert knn_accuracy(z, labels, test_z, test_labels, k=k) == pytest.approx(right / 6)


def test_a_tie_goes_to_the_class_of_the_nearest_vote():
    angles = np.deg2rad([10, 20, 30, 40])
    z = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    query = [[1.0, 0.0], [0.5, 0.0]]
    assert knn_accuracy(z, [7, 3, 3, 7], query, [7, 7], k=4) == 1
    assert knn_accuracy(z, [3, 7, 7, 3], query, [3, 3], k=4) == 1


def test_a_tie_is_broken_however_many_vote():
    labels = np.array([9] * 60 + [1, 0] * 70)  # the nearest class has fewer votes than the two that tie
    angles = np.linspace(0.01, 1, len(labels))
    z = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert knn_accuracy(z, labels, [[1.0, 0.0]], [1], k=len(labels)) == 1


def test_only_directions_count_for_neighbours():
    rng = np.random.default_rng(0)
    (z, labels), (test_z, test_labels) = clusters(rng, spread=0.6), clusters(rng, spread=0.6)
    lengths = 10 ** rng.uniform(-3, 3, (len(z), 1))
    plain = knn_accuracy(z, labels, test_z, test_labels)
    assert 0.5 < plain < 1
    assert knn_accuracy(z * lengths, labels, test_z, test_labels) == plain


# --- the linear probe


def test_the_probe_solves_what_a_plane_separates():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=5)
    h = rng.normal(size=(400, 5))
    margin = h @ normal - 0.5
    h, labels = h[abs(margin) > 0.3], (margin > 0)[abs(margin) > 0.3]
    assert linear_probe(h[:200], labels[:200], h[200:], labels[200:]) > 0.98


def test_the_probe_solves_separate_clusters_of_any_numbering():
    rng = np.random.default_rng(0)
    (h, labels), (test_h, test_labels) = clusters(rng), clusters(rng)
    assert linear_probe(h, 10 * labels - 7, test_h, 10 * test_labels - 7) == 1


def test_the_probe_cannot_solve_what_no_plane_separates():
    h = np.random.default_rng(0).uniform(-1, 1, size=(1000, 2))
    checkerboard = (h[:, 0] * h[:, 1] > 0).astype(int)
    assert linear_probe(h[:500], checkerboard[:500], h[500:], checkerboard[500:]) < 0.65


def test_the_probe_standardises_its_features():
    rng = np.random.default_rng(0)
    (h, labels), (test_h, test_labels) = clusters(rng, spread=0.5), clusters(rng, spread=0.5)
    scale, offset = 10 ** rng.uniform(-4, 4, h.shape[1]), 100 * rng.normal(size=h.shape[1])
    plain = linear_probe(h, labels, test_h, test_labels)
    assert 0.5 < plain < 1
    assert linear_probe(h * scale + offset * scale, labels, test_h * scale + offset * scale, test_labels) == plain


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e6, 0.1])
def test_a_constant_feature_tells_the_probe_nothing(constant):
    rng = np.random.default_rng(0)
    (h, labels), (test_h, test_labels) = clusters(rng, spread=0.5), clusters(rng, spread=0.5)
    more = np.column_stack([h, np.full(len(h), constant)])
    test_more = np.column_stack([test_h, constant + 100 * rng.normal(size=len(test_h))])  # whatever it does later
    assert linear_probe(more, labels, test_more, test_labels) == linear_probe(h, labels, test_h, test_labels)


def test_rows_of_zeros_are_features_though_no_directions():
    h, labels = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0], [1.1, 1.0]]), [0, 0, 1, 1]
    assert linear_probe(h, labels, h, labels) == 1
    with pytest.raises(InputError, match="z: row 0 is all zeros"):
        knn_accuracy(h, labels, h, labels, k=1)


def test_a_class_that_only_the_test_has_is_missed():
    z = np.eye(3)
    for accuracy in (knn_accuracy(z, [0, 1, 2], z, [0, 1, 5], k=1), linear_probe(z, [0, 1, 2], z, [0, 1, 5])):
        assert accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("probe", [knn_accuracy, linear_probe])
def test_probes_take_tensors_float32_and_a_single_query(probe):
    z, labels = clusters(np.random.default_rng(0))
    z = z.astype(np.float32)
    assert probe(hc.tensor(z, requires_grad=True), hc.tensor(labels), z[:1], labels[:1]) == 1


@pytest.mark.parametrize("decay", [1e-4, 1e-2])
@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_the_probe_minimises_its_objective(decay, spread):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    h, labels = clusters(rng, spread=spread)
    x = np.hstack([(h - h.mean(axis=0)) / h.std(axis=0), np.ones((len(h), 1))])
    target = np.eye(4)[labels]

    def objective(w):
        logits = x @ w.reshape(x.shape[1], 4)
        return (np.logaddexp.reduce(logits, axis=1) - (logits * target).sum(axis=1)).mean() + decay / 2 * (w @ w)

    best = optimize.minimize(objective, np.zeros(4 * x.shape[1]), tol=1e-8).fun
    w, gap = probes._fit_softmax(x, target, decay, 1000)
    assert gap <= probes.GAP
    assert best - 1e-8 <= objective(w.ravel()) <= best + gap + 1e-8


def test_a_probe_that_has_not_converged_says_so():
    rng = np.random.default_rng(0)
    (h, labels), (test_h, test_labels) = clusters(rng, spread=0.6), clusters(rng, spread=0.6)
    with pytest.warns(ConvergenceWarning, match="after 1 steps the objective may be .* nats above its minimum; raise"):
        linear_probe(h, labels, test_h, test_labels, steps=1)


def test_features_that_say_nearly_the_same_do_not_hold_the_probe_up():
    rng = np.random.default_rng(0)
    (h, labels), (test_h, test_labels) = clusters(rng), clusters(rng)
    twins = [np.hstack([part, part + 1e-4 * rng.normal(size=part.shape)]) for part in (h, test_h)]
    assert linear_probe(twins[0], labels, twins[1], test_labels) == 1  # a warning would be an error


# --- leave one out, and blocks


def test_without_test_embeddings_each_is_judged_by_the_others():
    rng = np.random.default_rng(0)
    z, labels = clusters(rng, spread=0.7)
    everyone = np.arange(len(z))
    alone = [knn_accuracy(z[everyone != i], labels[everyone != i], z[[i]], labels[[i]], k=3) for i in everyone]
    assert knn_accuracy(z, labels, k=3) == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("block", [1, 37, 1000])
def test_neighbours_are_the_same_however_the_rows_are_divided(block, monkeypatch):
    rng = np.random.default_rng(0)
    (z, labels), (test_z, test_labels) = clusters(rng, spread=0.7), clusters(rng, spread=0.7)
    whole = knn_accuracy(z, labels, test_z, test_labels), knn_accuracy(z, labels)
    monkeypatch.setattr("hypercon.metrics.retrieval.BLOCK", block)
    assert (knn_accuracy(z, labels, test_z, test_labels), knn_accuracy(z, labels)) == whole


def test_of_equally_near_embeddings_the_first_vote():
    z = np.repeat([[1.0, 0.0], [0.0, 1.0]], [6, 2], axis=0)
    assert knn_accuracy(z, [3, 3, 5, 5, 5, 5, 3, 5], [[1.0, 0.0]], [3], k=3) == 1
    assert knn_accuracy(z, [3, 5, 5, 3, 3, 3, 3, 5], [[1.0, 0.0]], [5], k=3) == 1


# --- few labels


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@drawn
def test_few_labels_gives_each_class_its_share(seed, per_class):
    labels = np.random.default_rng(seed).integers(0, 4, 15)
    chosen = few_labels(labels, per_class, rng=np.random.default_rng(seed))
    assert len(set(chosen)) == len(chosen)
    for c in np.unique(labels):
        assert (labels[chosen] == c).sum() == min(per_class, (labels == c).sum())


def test_few_labels_are_drawn_by_the_generator():
    labels = np.repeat([0, 1], 50)
    first, again, other = (few_labels(labels, 10, rng=np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other


# --- refusals

Z, LABELS = np.eye(4), [0, 0, 1, 1]


@pytest.mark.parametrize("probe", [knn_accuracy, linear_probe])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Z, LABELS[:3], Z, LABELS), InputError, r"labels got shape \(3,\), expected \(4,\)"),
        ((Z, LABELS, Z, LABELS[:3]), InputError, r"test_labels got shape \(3,\), expected \(4,\)"),
        ((Z, [0.5] * 4, Z, LABELS), DtypeError, "labels got float64, expected whole numbers"),
        ((Z, LABELS, np.ones((4, 3)), LABELS), InputError, "z and test_z have 4 and 3 dimensions"),
        ((Z, LABELS, Z * np.nan, LABELS), InputError, "test_z: row 0 is not finite"),
        ((Z, LABELS, Z[:0], []), InputError, r"test_z got 0 row\(s\), expected at least 1"),
        ((Z[0], LABELS, Z, LABELS), InputError, r"z got shape \(4,\), expected \(N, D\)"),
        ((Z.astype(str), LABELS, Z, LABELS), DtypeError, "z got an array of <U"),
        ((Z, [1] * 4, Z, LABELS), InputError, "labels: all are 1, expected at least two classes"),
    ],
)
def test_bad_input_is_refused(probe, arguments, error, message):
    with pytest.raises(error, match=message):
        probe(*arguments)


def test_half_a_test_set_is_refused():
    with pytest.raises(InputError, match="test_z and test_labels: got one of them, expected both"):
        knn_accuracy(Z, LABELS, Z)


@pytest.mark.parametrize("setting", [{"steps": 0}, {"decay": 0.0}])
def test_a_probe_that_cannot_be_fitted_is_refused(setting):
    with pytest.raises(InputError, match=f"{next(iter(setting))} got 0, expected"):
        linear_probe(Z, LABELS, Z, LABELS, **setting)


@pytest.mark.parametrize(("k", "expected"), [(0, "at least 1"), (5, "1 to 4")])
def test_votes_must_be_among_the_labelled(k, expected):
    with pytest.raises(InputError, match=f"k got {k}, expected {expected}"):
        knn_accuracy(Z, LABELS, Z, LABELS, k=k)


@pytest.mark.parametrize(
    ("labels", "per_class", "error", "message"),
    [
        (LABELS, 0, InputError, "per_class got 0, expected at least 1"),
        ([LABELS], 1, InputError, "labels got shape"),
        (["a", "b"], 1, DtypeError, "labels got <U1"),
    ],
)
def test_few_labels_refuses_bad_input(labels, per_class, error, message):
    with pytest.raises(error, match=message):
        few_labels(labels, per_class, rng=np.random.default_rng(0))
