"""Assignment 4: what was trained is judged by its parameters, on pictures that the program was never sent."""

import numpy as np
import pytest

from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.assignments.a4_encoder import ACCURACY, BATCH, HELD_OUT, SIZES, accuracy, pictures
from hypercon.coursework.judge import InThisProcess, examine
from hypercon.coursework.release import solution

A4 = ASSIGNMENTS["a4"]
TRAIN = A4.exercises[4]
MODEL = {}
exec(solution(A4), MODEL)


@pytest.fixture(scope="module")
def scene():
    return TRAIN.arguments(np.random.default_rng(3), TRAIN.sizes[0])


@pytest.fixture(scope="module")
def trained(scene):
    return tuple(MODEL["train"](*scene))


def verdict(scene, *results):
    return TRAIN.accepts(scene, [np.asarray(result) for result in results])


def test_the_model_is_accepted(scene, trained):
    assert verdict(scene, *trained) is None


def test_what_is_wrong_with_a_training_is_named(scene, trained):
    losses, theta = trained
    start = np.random.default_rng(0).normal(size=theta.size) / 8
    flat = np.full(50, np.log(BATCH))
    for results, expected in {
        "a curve alone": ((losses, losses[:3]), "wrong shape: expected parameters"),
        "too few steps": ((losses[:5], theta), "20 steps or more"),
        "two axes": ((losses[:, None], theta), "wrong shape"),
        "nan": ((losses, np.full_like(theta, np.nan)), "not stable"),
        "nan losses": ((losses * np.nan, theta), "not stable"),
        "a sum in the place of a mean": ((losses * BATCH, theta), "far from chance"),
        "a curve that was made up": ((np.linspace(4.1, 2.3, 300), theta), "does not belong to the parameters"),
        "parameters of the start": ((losses, start), "does not belong to the parameters"),
        "no training": ((flat, np.concatenate([theta[: 64 * 64], 0 * theta[64 * 64 :]]) + start), None),
    }.values():
        said = verdict(scene, *results)
        assert said is not None
        assert expected is None or expected in said, said


def test_an_encoder_of_another_scene_is_not_trained_enough(scene):
    """Nothing that was learned at home helps: what light can look like is drawn anew."""
    other = TRAIN.arguments(np.random.default_rng(4), TRAIN.sizes[0])
    losses, theta = MODEL["train"](*other)
    assert verdict(other, losses, theta) is None
    first, second = scene[:2]
    worth = np.mean([
        MODEL["loss_and_gradient"](theta, first[i : i + BATCH], second[i : i + BATCH], SIZES, 0.5)[0]
        for i in range(0, len(first) - BATCH + 1, BATCH)
    ])  # fmt: skip
    honest = np.concatenate([losses[:30], np.full(30, worth)])
    said = verdict(scene, honest, theta)
    assert said is not None
    assert "not trained enough" in said


def test_pixels_and_an_encoder_before_training_do_not_pass(trained):
    for seed in range(5):
        first, _, labels = pictures(np.random.default_rng(seed), 384 + HELD_OUT)
        start = np.random.default_rng(seed).normal(size=trained[1].size) / 8
        for embed in (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
                      lambda x, start=start: MODEL["embed"](start, x, SIZES)):  # fmt: skip
            z = embed(first)
            assert accuracy(z[:384], labels[:384], z[384:], labels[384:]) < ACCURACY - 0.2


@pytest.mark.slow
def test_the_figures_of_the_guide():
    """Printed with -s: held-out accuracy of pixels, of an encoder before training, and of the model solution."""
    shares = []
    for seed in range(8):
        drawn = TRAIN.arguments(np.random.default_rng(seed), TRAIN.sizes[0])
        labels, held_out, held_out_labels = drawn.known
        theta = MODEL["train"](*drawn)[1]
        start = np.random.default_rng(1).normal(size=theta.size) / 8
        embeddings = [lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)]
        embeddings += [lambda x, t=t: MODEL["embed"](t, x, SIZES) for t in (start, theta)]
        shares.append([accuracy(embed(drawn[0]), labels, embed(held_out), held_out_labels) for embed in embeddings])
    for name, row in zip(("pixels", "before training", "trained"), np.transpose(shares), strict=True):
        print(f"{name}: {row.min():.0%} to {row.max():.0%}")
    pixels, untrained, trained = np.transpose(shares)
    assert max(pixels.max(), untrained.max()) < ACCURACY - 0.3
    assert trained.min() > ACCURACY + 0.05


def test_neither_labels_nor_held_out_pictures_are_sent(scene):
    sent = []

    class Watched(InThisProcess):
        def call(self, name, arguments, outputs):
            sent.extend(arguments)
            return super().call(name, arguments, outputs)

    examine(TRAIN, Watched({"train": lambda *a: (_ for _ in ()).throw(ValueError())}), np.random.default_rng(3))
    assert type(sent) is list
    assert [getattr(value, "shape", None) for value in sent] == [(384, 64), (384, 64), None, None]
    assert np.array_equal(sent[0], scene[0])
    held_out = scene.known[1]
    assert not any((sent[0] == row).all(axis=1).any() for row in held_out)


def test_a_training_that_is_not_repeatable_is_named():
    noise = np.random.default_rng(0)

    def train(first, second, sizes, seed):
        return MODEL["train"](first, second, sizes, int(noise.integers(1000)))

    outcome = examine(TRAIN, InThisProcess({"train": train}), np.random.default_rng(0))
    assert "the same seed gives another training" in outcome.reason


MISTAKES = {
    ("4.1", "bias sums along the wrong axis"): lambda g, x, w: (g @ w.T, x.T @ g, g.sum(axis=1)),
    ("4.2", "ReLU is missing"): lambda theta, x, sizes: _embed(theta, x, sizes, lambda h: h),
    ("4.2", "wrong dtype"): lambda theta, x, sizes: MODEL["embed"](theta.astype(float), x, sizes),
    ("4.3", "only the first view's gradient"): lambda theta, a, b, sizes, tau: _one_sided(theta, a, b, sizes, tau),
    ("4.3", "missing temperature everywhere"): lambda theta, a, b, sizes, tau: (
        MODEL["loss_and_gradient"](theta, a, b, sizes, 1.0)),
    ("4.3", "sign of the gradient"): lambda *a: (
        MODEL["loss_and_gradient"](*a)[0], -MODEL["loss_and_gradient"](*a)[1]),
    ("4.4", "correction of the moments is missing"): lambda *a: MODEL["adam_step"](*a[:4], 10**6, a[5]),
    ("4.4", "sign of the step"): lambda *a: MODEL["adam_step"](*a[:5], -a[5]),
    ("4.6", "chance counts the negatives alone"): lambda losses, batch, tau: (
        np.log(batch - 1), *MODEL["landmarks"](losses, batch, tau)[1:]),
}  # fmt: skip


def _embed(theta, x, sizes, activation):
    w1, b1, w2, b2 = MODEL["cut"](theta, sizes)
    z = activation(x @ w1 + b1) @ w2 + b2
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _one_sided(theta, first, second, sizes, tau):
    loss, both = MODEL["loss_and_gradient"](theta, first, second, sizes, tau)
    u, v = (MODEL["embed"](theta, x, sizes) for x in (first, second))
    p = np.exp(u @ v.T / tau)
    slope = (p / p.sum(axis=1, keepdims=True) - np.eye(len(u))) / len(u) / tau
    return loss, both - MODEL["backward"](slope.T @ u, theta, second, sizes)


@pytest.mark.parametrize(("case", "wrong"), MISTAKES.items(), ids=lambda value: value[0] if value is tuple else None)
def test_a_mistake_in_a_part_is_named(case, wrong):
    identity, nature = case
    exercise = next(e for e in A4.exercises if e.id == identity)
    outcome = examine(exercise, InThisProcess({exercise.name: wrong}), np.random.default_rng(0))
    assert nature in outcome.reason
