"""How the encoder of a recipe is made, trained and measured: everything that claims ask of it, found at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from hypercon import losses, metrics
from hypercon.autograd import log_softmax, mean, tensor, where
from hypercon.autograd import sum as total
from hypercon.data import Dataset, batches
from hypercon.errors import InputError, TrainingError
from hypercon.experiments.papers.recipe import Recipe, objective, views
from hypercon.experiments.settings import NEIGHBOURS, SMALL_IMAGE, plan_for
from hypercon.explain import explain
from hypercon.nn import Encoder, Linear, Module, Normalize, Sequential, mlp
from hypercon.optim import SGD, Adam, Optimizer, cosine
from hypercon.training import fit

SHARPNESSES = tuple(np.geomspace(0.1, 100, 31).round(4).tolist())
CRITICS = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # temperatures at which the bound on information is sought
FEW = 10  # labels a class
BATCH = 256  # the usual one, which epochs are counted by


class _Watched(Optimizer):
    """An optimiser that also notes the length of every gradient."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.parameters, inner.rate)
        self.inner, self.lengths = inner, list[float]()

    def step(self) -> None:
        squares = [float((p.grad.data**2).sum()) for p in self.parameters if p.grad is not None]
        self.lengths.append(float(np.sqrt(sum(squares))))
        self.inner.step()


def make(recipe: Recipe, data: Dataset, seed: int) -> Encoder:
    """An encoder as a recipe starts it: the same backbone and the same weights for every head."""
    rng, shape = np.random.default_rng([seed, 0]), data.images.shape[1:]
    if min(shape[1:]) < SMALL_IMAGE:
        encoder = mlp(shape, widths=(128, 128), dim=recipe.dim, rng=rng)
    else:
        encoder = plan_for(data).make_encoder(shape, dim=recipe.dim, rng=rng)
    head = encoder.head
    assert isinstance(head, Sequential)
    if recipe.head != "centred":
        end: list[Module] = [Normalize()] if recipe.head == "plain" else []
        encoder.head = Sequential(*head.layers[:-2], *end)
    return encoder


def train_one(
    recipe: Recipe,
    train: Dataset,
    test: Dataset,
    seed: int,
    steps: int,
    start: dict[str, np.ndarray] | None = None,
) -> tuple[Encoder, dict[str, Any]]:
    """Train an encoder by a recipe and measure it.

    Returns
    -------
    encoder : Encoder
    measured : dict
        What `look` finds; ``losses`` and ``gradients`` (lengths) of the steps; ``moments``, what `look` found on the
        way; ``diverged``, whether the training ended early because numbers were no longer finite; and ``seconds``.
    """
    begin = time.perf_counter()
    encoder = make(recipe, train, seed)
    if start is not None:
        encoder.load_state(start)
    rng = np.random.default_rng([seed, 1])
    history: dict[str, list[float]] = {"losses": [], "gradients": []}
    moments, diverged, last_temperature = [], False, recipe.temperature
    if recipe.loss == "supervised":
        history["losses"] = _supervised(encoder, train, recipe, steps, rng)
    elif recipe.loss != "none":
        each = len(train) // recipe.batch_size
        epochs = max(1, round(recipe.share * steps / each / recipe.moments))
        loss, temperature = objective(recipe, epochs * each)
        parameters = encoder.parameters() + getattr(temperature, "parameters", list)()
        rate = recipe.rate or plan_for(train).rate
        if recipe.optimizer == "adam":
            optimizer = _Watched(Adam(parameters, cosine(rate, epochs * each * recipe.moments)))
        else:
            optimizer = _Watched(SGD(parameters, rate, momentum=0.9))
        for _ in range(recipe.moments):
            if recipe.moments > 1:
                moments.append(look(encoder, recipe, train, test, seed))
            try:
                with np.errstate(all="ignore"):  # what is no longer finite is told apart below
                    done = fit(
                        encoder,
                        train.images,
                        loss=loss,
                        temperature=temperature,
                        optimizer=optimizer,
                        epochs=epochs,
                        batch_size=recipe.batch_size,
                        augment=views(recipe.strength, flip=train.flip),
                        rng=rng,
                    )
                history["losses"] += done.losses
            except TrainingError:
                if recipe.optimizer != "sgd":  # whose rates are varied to find out where it diverges
                    raise
                diverged = True
                encoder = make(recipe, train, seed)
                break
        history["gradients"] = [length for length in optimizer.lengths if np.isfinite(length)]
        last_temperature = temperature.value if temperature is not None else recipe.temperature
    try:
        found = look(encoder, recipe, train, test, seed, last_temperature)
    except InputError:  # the last step left numbers that are not finite, and no further one has noticed
        if recipe.optimizer != "sgd":
            raise
        diverged, encoder = True, make(recipe, train, seed)
        found = look(encoder, recipe, train, test, seed, last_temperature)
    return encoder, found | {
        "moments": moments,
        "losses": [float(f"{x:.5g}") for x in history["losses"]],
        "gradients": [float(f"{x:.5g}") for x in history["gradients"]],
        "diverged": diverged,
        "temperature": last_temperature,
        "seconds": time.perf_counter() - begin,
    }


def _supervised(encoder: Encoder, train: Dataset, recipe: Recipe, steps: int, rng: np.random.Generator) -> list[float]:
    """Cross-entropy of a linear classifier on z, trained with the encoder."""
    if train.labels is None:
        raise InputError(f"a supervised training needs labels, and {train.name} has none")
    classes = int(train.labels.max()) + 1
    classifier = Linear(recipe.dim, classes, rng=rng)
    optimizer = Adam([*encoder.parameters(), *classifier.parameters()], cosine(plan_for(train).rate, steps))
    augment, found = views(recipe.strength, flip=train.flip), list[float]()
    encoder.train()
    while len(found) < steps:
        for chosen in batches(len(train), recipe.batch_size, rng=rng):
            log_p = log_softmax(classifier(encoder(tensor(augment(train.images[chosen], rng=rng)))), axis=1)
            right = np.eye(classes, dtype=bool)[train.labels[chosen]]
            loss = -mean(total(where(right, log_p, 0.0), axis=1))
            loss.backward()
            optimizer.step()
            found.append(float(loss))
    encoder.eval()
    return found


# --- measuring one


def look(
    encoder: Encoder,
    recipe: Recipe,
    train: Dataset,
    test: Dataset,
    seed: int,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Everything that claims ask of an encoder, on held-out images; what needs labels is None without them."""
    rng = np.random.default_rng([seed, 2])
    h, z = encoder.embed(test.images)
    one, other = (
        encoder.embed(view)[1] for view in views(recipe.strength, flip=test.flip).two_views(test.images, rng=rng)
    )
    one, other = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (one, other))
    some = rng.permutation(len(test))[:BATCH]
    u, v = one[some], other[some]
    similarities = u @ v.T
    negatives = np.sort(similarities[~np.eye(len(u), dtype=bool)].reshape(len(u), -1), axis=1)[:, ::-1]
    tau = temperature or recipe.temperature or 0.2
    labels = None if test.labels is None else test.labels[some]
    opened = explain(u, v, temperature=tau, labels=labels)
    found: dict[str, Any] = {
        "uniformity": metrics.uniformity_spectrum(z, [2.0, *SHARPNESSES]).tolist(),
        "alignment": float(metrics.alignment(one, other)),
        "positive": float((one * other).sum(axis=1).mean()),
        "nearest": negatives[:, :10].mean(axis=0).tolist(),
        "effective_rank": metrics.effective_rank(z),
        "singular_values": np.linalg.svd(z / np.linalg.norm(z, axis=1, keepdims=True), compute_uv=False).tolist(),
        "entropy": float(opened.entropy.mean() / np.log(len(u) - 1)),
        "information": max(float(np.log(len(u)) - losses.info_nce(u, v, temperature=t)) for t in CRITICS),
    }
    found |= dict.fromkeys(("tolerance", "gap", "knn_z", "linear_z", "linear_h", "margin", "false_negatives"))
    if train.labels is not None and test.labels is not None:
        found |= _with_labels(encoder, train, test, h, z, rng)
        assert opened.false_negative_share is not None
        found["false_negatives"] = float(opened.false_negative_share.mean())
    return found


def _with_labels(
    encoder: Encoder, train: Dataset, test: Dataset, h: np.ndarray, z: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Tolerance and its gap, accuracies with few labels, and the margin of the classifier of class means."""
    assert train.labels is not None
    assert test.labels is not None
    train_h, train_z = encoder.embed(train.images)
    few = [metrics.few_labels(train.labels, FEW, rng=rng) for _ in range(5)]  # the draw matters: five are averaged
    labels, asked = train.labels, test.labels

    def average(score: Callable[..., float], known: np.ndarray, tested: np.ndarray) -> float:
        return float(np.mean([score(known[i], labels[i], tested, asked) for i in few]))

    neighbours = partial(metrics.knn_accuracy, k=NEIGHBOURS)
    return {
        "tolerance": float(metrics.tolerance(z, asked)),
        "gap": float(metrics.tolerance_gap(z, asked)),
        "knn_z": average(neighbours, train_z, z),
        "linear_z": average(metrics.linear_probe, train_z, z),
        "linear_h": average(metrics.linear_probe, train_h, h),
        "margin": _margin(train_z, labels, z, asked),
    }


def _margin(z: np.ndarray, labels: np.ndarray, test_z: np.ndarray, test_labels: np.ndarray) -> float:
    """How much nearer to its class's mean direction than to any other a held-out embedding lies, on average.

    The means are a linear classifier that nothing was fitted for; where every margin is positive, the classes are
    linearly separable.
    """
    kinds = np.unique(labels)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    means = np.stack([unit[labels == kind].mean(axis=0) for kind in kinds])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    scores = test_z / np.linalg.norm(test_z, axis=1, keepdims=True) @ means.T
    own = test_labels[:, None] == kinds
    return float((scores[own] - np.where(own, -np.inf, scores).max(axis=1)).mean())
