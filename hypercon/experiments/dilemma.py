"""The uniformity-tolerance dilemma: one encoder for each temperature, and what each has made of the same images.

Wang & Liu 2021 observe that a small temperature spreads embeddings more evenly and thereby drives apart what belongs
together. `run` trains, measures and judges. `settings` says what is varied and what is not, `measuring` what is
measured, `claims` what is concluded, and `folder` what of an earlier run is taken up.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hypercon.version
from hypercon import losses
from hypercon.data import Dataset, load_both
from hypercon.experiments import folder
from hypercon.experiments.claims import judge
from hypercon.experiments.folder import SCHEMA
from hypercon.experiments.measuring import Run, measure, run_for_picture, sharpnesses
from hypercon.experiments.settings import Settings, decide, describe, generator, plan_for, views_of
from hypercon.files import atomic, write_json
from hypercon.nn import Encoder
from hypercon.optim import Adam, cosine
from hypercon.training import fit

__all__ = ["SCHEMA", "Run", "Settings", "check", "judge", "measure", "plan_for", "run"]


def run(
    settings: Settings,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train one encoder for each temperature, measure all, judge the claims, and write the results.

    Parameters
    ----------
    settings : Settings
    out : path-like
        Folder for ``results.json``, ``dilemma.png`` and a checkpoint for each temperature. Temperatures finished there
        under the same settings are taken up and not trained again.
    overwrite : bool, default False
        Remove what a run with other settings left in the folder. Otherwise such a folder is refused.
    progress : bool, default False
        Show a bar for each training.
    say : callable, optional
        Receives a line for each thing worth telling.

    Returns
    -------
    dict
        What results.json holds.

    Raises
    ------
    InputError, DtypeError, DataError, DeviceError
        The settings cannot be carried out, or the folder holds results of others; nothing is trained or written then.
    TrainingError
        A loss is no longer finite.
    """
    from hypercon.plotting import dilemma_figure  # matplotlib is loaded by those who draw

    out = folder.named(out)
    settings, described, train, test = check(settings, out, overwrite=overwrite)
    folder.make(out)
    if overwrite:
        folder.clear(out, described)
    if train.labels is None:
        say(f"{train.name} has no labels: tolerance, accuracies and false negatives are left out")
    for path in folder.left_out(out, settings.temperatures):
        say(f"{path} stays, and is not part of these results")
    runs = []
    for temperature in settings.temperatures:
        encoder, record = _finished(out, described, settings, temperature, train, test, progress, say)
        runs.append(run_for_picture(encoder, record, test, settings, temperature))
    results = {
        "schema": SCHEMA,
        "settings": described,
        "versions": {
            "hypercon": hypercon.version.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "runs": [r.record for r in runs],
        "claims": judge([r.record for r in runs]),
    }
    with atomic(out / "dilemma.png") as stream:
        dilemma_figure(runs, train.classes, train.name).savefig(stream, format="png")
    write_json(out / "results.json", results)
    return results


def check(
    settings: Settings, out: Path, *, overwrite: bool = False
) -> tuple[Settings, dict[str, Any], Dataset, Dataset]:
    """Whether `run` would refuse; otherwise the decided settings, what results.json says of them, and the images."""
    train, test = load_both(settings.data, seed=settings.seed)
    settings = decide(settings, train, test)
    described = describe(settings, train, test)
    if not overwrite:
        folder.check_results(out, described)
    return settings, described, train, test


def _finished(
    out: Path,
    described: dict[str, Any],
    settings: Settings,
    temperature: float,
    train: Dataset,
    test: Dataset,
    progress: bool,
    say: Callable[[str], None],
) -> tuple[Encoder, dict[str, Any]]:
    """A temperature's encoder and record: taken up as far as an earlier run got, and made and saved from there on."""
    path = folder.checkpoint(out, temperature)
    at = list(sharpnesses(settings))
    if earlier := folder.load(path, described, temperature, say):
        encoder, notes = earlier
        encoder.to(settings.device)
        if notes["sharpnesses"] == at:
            say(f"temperature {temperature:g}: taken up from {path}")
            return encoder, {"temperature": temperature} | notes["trained"] | notes["measured"]
        say(f"temperature {temperature:g}: taken up from {path}, and measured beside the other temperatures")
        trained = notes["trained"]
    else:
        encoder, trained = _train(settings, temperature, train, progress)
    measured = measure(encoder, train, test, settings, temperature)
    folder.save(
        path,
        encoder,
        {
            "settings": described,
            "temperature": temperature,
            "trained": trained,
            "sharpnesses": at,
            "measured": measured,
        },
    )
    return encoder, {"temperature": temperature} | trained | measured


def _train(settings: Settings, temperature: float, train: Dataset, progress: bool) -> tuple[Encoder, dict[str, Any]]:
    """A trained encoder, and what its training says for the record."""
    plan = plan_for(train)
    assert settings.epochs is not None, "the settings are not decided"
    steps = settings.epochs * (len(train.images) // settings.batch_size)
    encoder = plan.make_encoder(train.images.shape[1:], rng=generator(settings, "weights"))
    encoder.to(settings.device)
    history = fit(
        encoder,
        train.images,
        loss=settings.loss,
        temperature=temperature,
        optimizer=Adam(encoder.parameters(), cosine(plan.rate, steps)),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        augment=views_of(settings, train),
        rng=generator(settings, "training"),
        progress=f"temperature {temperature:g}" if progress else False,
    )
    return encoder, {
        "loss": history.final_loss(),
        "chance": losses.chance(settings.loss, settings.batch_size),
        "floor": losses.floor(settings.loss, settings.batch_size, temperature),
        "steps": history.steps,
        "seconds": history.seconds,
        "images_per_second": history.images_per_second,
    }
