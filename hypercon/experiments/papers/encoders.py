"""The trained encoders that claims look at: each recipe and seed is trained once, measured, and kept in a folder.

A file holds the weights and all that was measured, so a run that was killed goes on, and a claim costs no training
that another has paid for. Trainings run side by side as processes, each on one thread.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hypercon import losses, metrics, threads
from hypercon.autograd import log_softmax, mean, tensor, where
from hypercon.autograd import sum as total
from hypercon.data import Dataset, batches, load_both
from hypercon.errors import DataError, HyperconError, InputError, TrainingError
from hypercon.experiments.papers.recipe import Recipe, objective, views
from hypercon.experiments.settings import NEIGHBOURS, SMALL_IMAGE, plan_for
from hypercon.explain import explain
from hypercon.files import atomic, read_arrays
from hypercon.nn import Encoder, Linear, Module, Normalize, Sequential, mlp
from hypercon.optim import SGD, Adam, Optimizer, cosine
from hypercon.training import fit

SCHEMA = 1  # of the files: another one is trained anew
SHARPNESSES = tuple(np.geomspace(0.1, 100, 31).round(4).tolist())
CRITICS = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # temperatures at which the bound on information is sought
FEW = 10  # labels a class
BATCH = 256  # the usual one, which epochs are counted by


class Encoders:
    """The encoders of one data set over several seeds, in a folder.

    Parameters
    ----------
    data : str
        As `hypercon.data.load_both` takes it.
    folder : path-like
        Where they are kept, those of each data set and length of training in a folder of their own.
    seeds : sequence of int
    epochs : int, optional
        Passes over the images at the usual batch size; None takes what suits the data.
    """

    def __init__(self, data: str, folder: str | Path, seeds: Sequence[int], epochs: int | None = None) -> None:
        self.data, self.seeds = str(data), tuple(seeds)
        self.train, self.test = _load(self.data)
        size = min(BATCH, len(self.train))
        self.steps = plan_for(self.train).steps if epochs is None else epochs * (len(self.train) // size)
        self.folder = Path(folder) / f"{Path(self.data).stem}-{self.steps}-steps"
        self._checksum = checksum(self.train, self.test)
        self._known: dict[tuple[str, int], dict[str, Any]] = {}

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.train.labels is not None and self.test.labels is not None

    def check(self, recipes: Sequence[Recipe]) -> None:
        """Refuse what these images are too few for, before anything is trained."""
        needed = max((recipe.batch_size for recipe in recipes), default=0)
        if len(self.train) < needed:
            raise InputError(f"it needs {needed} training images for a batch, and {self.data} has {len(self.train)}")
        if len(self.test) < 50:
            raise InputError(f"it needs 50 held-out images to measure on, and {self.data} has {len(self.test)}")
        if self.labelled:
            known, labels = self.train.labels, self.test.labels
            assert known is not None
            assert labels is not None
            if len(np.unique(labels)) < 2 or np.bincount(labels).max() < 2:
                raise InputError(f"it needs two classes with two held-out images, and {self.data} has not")
            if not np.isin(labels, known).all():
                raise InputError(f"{self.data} holds out a class that it does not train on")

    def prepare(self, recipes: Sequence[Recipe], *, jobs: int = 1, progress: bool = False) -> dict[Recipe, str]:
        """Train what is not there yet.

        Parameters
        ----------
        recipes : sequence of Recipe
        jobs : int
            How many trainings run side by side.
        progress : bool
            Show a bar.

        Returns
        -------
        dict
            Of the recipes whose training failed, and why.
        """
        from tqdm import tqdm  # imported when training starts: it would slow the library's own import

        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = dict.fromkeys(recipes)
        starts = dict.fromkeys(r.start for r in wanted if r.start)  # what others go on from comes first
        missing = [
            [(r, seed) for seed in self.seeds for r in stage if not self._finished(r, seed)]
            for stage in (list(starts), [r for r in wanted if r not in starts])
        ]
        count, failed = sum(map(len, missing)), dict[Recipe, str]()
        with tqdm(total=count, disable=not (progress and count), unit="training", smoothing=0) as bar:
            for stage in missing:
                for recipe, seed, reason in _in_processes(self._task, stage, jobs):
                    if reason:
                        failed[recipe] = f"seed {seed}: {reason}"
                    bar.set_postfix_str(f"{recipe.name[:40]}, seed {seed}", refresh=False)
                    bar.update()
        return failed

    def measured(self, recipe: Recipe) -> list[dict[str, Any]]:
        """All that was measured, by seed."""
        return [self._read(recipe, seed) for seed in self.seeds]

    def encoder(self, recipe: Recipe, seed: int) -> Encoder:
        """The encoder itself."""
        made = make(recipe, self.train, seed)
        if recipe.loss == "none":
            return made
        made.load_state(_weights(self.path(recipe, seed)))
        made.eval()
        return made

    def seconds(self, recipes: Sequence[Recipe]) -> float:
        """What these trainings took, one after the other."""
        return sum(record["seconds"] for recipe in dict.fromkeys(recipes) for record in self.measured(recipe))

    def path(self, recipe: Recipe, seed: int) -> Path:
        """The file of an encoder."""
        return self.folder / f"{recipe.name}-seed-{seed}.npz"

    def described(self) -> dict[str, Any]:
        """What trained them, beside recipe and seed."""
        return {
            "data": Path(self.data).name,
            "images": len(self.train),
            "checksum": self._checksum,
            "steps": self.steps,
        }

    def _task(self, recipe: Recipe, seed: int) -> Callable[[], str]:
        return partial(
            _train_and_keep, self.data, recipe, seed, self.steps, str(self.path(recipe, seed)), self.described()
        )

    def _finished(self, recipe: Recipe, seed: int) -> bool:
        try:
            self._read(recipe, seed)
        except DataError:
            return False
        return True

    def _read(self, recipe: Recipe, seed: int) -> dict[str, Any]:
        key = recipe.name, seed
        if key not in self._known:
            path = self.path(recipe, seed)
            notes = json.loads(str(read_arrays(path).get("notes", "{}")))
            if notes.get("settings") != _settings(recipe, seed, self.described()):
                raise DataError(f"{path}: trained with other settings")
            self._known[key] = notes["measured"]
        return self._known[key]


def _in_processes(
    task: Callable[[Recipe, int], Callable[[], str]], missing: Sequence[tuple[Recipe, int]], jobs: int
) -> Iterator[tuple[Recipe, int, str]]:
    """Carry out trainings, side by side where there is more than one job; the reason of each that failed."""
    if jobs == 1 or len(missing) < 2:
        for recipe, seed in missing:
            yield recipe, seed, task(recipe, seed)()
        return
    import multiprocessing
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(missing)), context, initializer=_become_worker)
    try:
        running = {pool.submit(task(recipe, seed)): (recipe, seed) for recipe, seed in missing}
        for done in as_completed(running):
            yield *running[done], done.result()
    except BrokenExecutor:
        raise TrainingError(
            "a training process was ended from outside: run again, with fewer jobs if memory is short"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _become_worker() -> None:
    """One thread, and no end at an interrupt: the process that started this one lets it finish what it has begun. Where
    that one is killed, this one ends too; it would wait for work for ever."""
    import multiprocessing
    import os
    import signal
    import threading

    threads.set_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


@functools.lru_cache(maxsize=1)
def _load(data: str) -> tuple[Dataset, Dataset]:
    return load_both(data)


def _train_and_keep(data: str, recipe: Recipe, seed: int, steps: int, path: str, described: dict[str, Any]) -> str:
    """One training in a process of its own; what went wrong, or nothing."""
    try:
        with threads.one_blas_thread():
            train, test = _load(data)
            start = None
            if recipe.start:
                start = _weights(Path(path).parent / f"{recipe.start.name}-seed-{seed}.npz")
            encoder, measured = train_one(recipe, train, test, seed, steps, start)
        notes = {"settings": _settings(recipe, seed, described), "measured": measured}
        with atomic(path) as stream:
            weights: dict[str, Any] = {_WEIGHT + name: value for name, value in encoder.state().items()}
            np.savez(stream, notes=np.array(json.dumps(notes)), **weights)
    except HyperconError as error:
        return str(error)
    return ""


_WEIGHT = "weight/"


def _weights(path: Path) -> dict[str, np.ndarray]:
    """What `Module.load_state` takes, from a kept encoder."""
    return {name.removeprefix(_WEIGHT): value for name, value in read_arrays(path).items() if name.startswith(_WEIGHT)}


def _settings(recipe: Recipe, seed: int, described: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, "recipe": asdict(recipe), "seed": seed}))
    return told | described


# --- training one


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
        parameters = encoder.parameters() + (getattr(temperature, "parameters", list)())
        rate = recipe.rate or plan_for(train).rate
        schedule = cosine(rate, epochs * each * recipe.moments)
        plain = Adam(parameters, schedule) if recipe.optimizer == "adam" else SGD(parameters, rate, momentum=0.9)
        optimizer = _Watched(plain)
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
                if recipe.optimizer != "sgd":
                    raise
                diverged = True
                encoder = make(recipe, train, seed)
                break
        history["gradients"] = [length for length in optimizer.lengths if np.isfinite(length)]
        last_temperature = temperature.value if temperature is not None else recipe.temperature
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


def checksum(*parts: Dataset) -> str:
    """Of images and labels."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
