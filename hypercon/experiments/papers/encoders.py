"""The trained encoders that claims look at: each recipe and seed is trained once, measured, and kept in a folder.

A file holds the weights and all that was measured, so a run that was killed goes on, and a claim costs no training
that another has paid for. Trainings run side by side as processes, each on one thread.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hypercon import threads
from hypercon.data import Dataset, load_both
from hypercon.distributed import executor
from hypercon.errors import DataError, HyperconError, InputError, TrainingError
from hypercon.experiments.papers.making import BATCH, make, train_one
from hypercon.experiments.papers.recipe import Recipe
from hypercon.experiments.settings import plan_for
from hypercon.files import atomic, read_arrays
from hypercon.nn import Encoder

SCHEMA = 1  # of the files: another one is trained anew


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
        self.train, self.test = load_both(self.data)
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
        return functools.partial(
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
            try:
                notes = json.loads(str(read_arrays(path)["notes"]))
                same = notes["settings"] == _settings(recipe, seed, self.described())
            except (KeyError, TypeError, ValueError):
                raise DataError(f"{path}: no encoder that was kept here") from None
            if not same:
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
    from concurrent.futures import BrokenExecutor, as_completed  # with the first pool: it takes a while to load

    try:
        with executor(min(jobs, len(missing))) as pool:
            running = {pool.submit(task(recipe, seed)): (recipe, seed) for recipe, seed in missing}
            for done in as_completed(running):
                yield *running[done], done.result()
    except BrokenExecutor:
        raise TrainingError(
            "a training process was ended from outside: run again, with fewer jobs if memory is short"
        ) from None


@functools.lru_cache(maxsize=1)
def _load(data: str, checksum: str) -> tuple[Dataset, Dataset]:
    """The images, once for all trainings of a process; a file that was changed has another checksum."""
    return load_both(data)


def _train_and_keep(data: str, recipe: Recipe, seed: int, steps: int, path: str, described: dict[str, Any]) -> str:
    """One training in a process of its own; what went wrong, or nothing."""
    try:
        with threads.one_blas_thread():
            train, test = _load(data, described["checksum"])
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


def checksum(*parts: Dataset) -> str:
    """Of images and labels."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
