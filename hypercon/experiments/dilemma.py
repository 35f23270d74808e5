"""The uniformity-tolerance dilemma: one encoder for each temperature, and what each has made of the same images.

Wang & Liu 2021 observe that a small temperature spreads embeddings more evenly and thereby drives apart what belongs
together. `run` trains, measures and judges; `Settings` holds what is varied and, in `_PLANS`, what is not.
"""

from __future__ import annotations

import itertools
import json
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hypercon.version
from hypercon import losses, metrics
from hypercon.backend import resolve_device
from hypercon.data import Augmentation, Dataset, load_both, mild
from hypercon.errors import DataError, HyperconError, InputError
from hypercon.explain import Explanation, explain
from hypercon.files import atomic, write_json
from hypercon.nn import Encoder, cnn, load_encoder, mlp, save_encoder
from hypercon.optim import Adam, cosine
from hypercon.training import fit

SCHEMA = 1


@dataclass(frozen=True)
class Settings:
    """What a run of the experiment depends on. Two runs with equal settings train equal encoders.

    Attributes
    ----------
    data : str
        ``"fashion-mini"``, ``"digits"``, or the path of an ``.npz`` of images.
    temperatures : tuple of float
    seed : int
        Of initialisation, batches, views and evaluation. All temperatures start from the same weights and see the same
        views.
    epochs : int or None
        None takes what suits the data.
    batch_size : int
    loss : {"info_nce", "nt_xent"}
    window : float or None
        Side of the smallest window that a view shows, as a share of the image's; None takes what suits the data.
    device : str
    """

    data: str = "fashion-mini"
    temperatures: tuple[float, ...] = (0.07, 0.2, 1.0)
    seed: int = 0
    epochs: int | None = None
    batch_size: int = 256
    loss: str = "info_nce"
    window: float | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Plan:
    """What suits a size of images: the encoder, how mild the views are, and how long it is trained.

    The views are as strong as still lets the network tell instances apart at the smallest temperature: its training
    loss there gets far below chance.
    """

    make_encoder: Callable[..., Encoder]
    name: str
    window: float
    steps: int
    rate: float


SMALL_IMAGE = 16  # pixels a side; below, a convolution has little to slide over
_PLANS = {
    "small": Plan(
        partial(mlp, widths=(256, 256), dim=64), "mlp 256-256, head 256-64", window=0.8, steps=320, rate=2e-3
    ),
    "large": Plan(
        partial(cnn, widths=(16, 32, 64), strides=(2, 2, 2), dim=64),
        "cnn 16-32-64, head 64-64",
        window=0.9,
        steps=368,
        rate=2e-3,
    ),
}


@dataclass(frozen=True)
class Run:
    """One temperature's encoder as the picture needs it; ``record`` is its entry in results.json."""

    temperature: float
    record: dict[str, Any]
    z: np.ndarray  # held-out embeddings, (M, D)
    labels: np.ndarray | None
    positives: np.ndarray  # similarities of the two views of each held-out image, (M,)
    explanation: Explanation = field(repr=False)


def run(
    settings: Settings, out: str | Path, *, progress: bool = False, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Train one encoder for each temperature, measure all, judge the claims, and write the results.

    Parameters
    ----------
    settings : Settings
    out : path-like
        Folder for ``results.json``, ``dilemma.png`` and a checkpoint for each temperature. Temperatures finished there
        under the same settings are taken up and not trained again.
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
    InputError, DataError, DeviceError
        The settings cannot be carried out; nothing is written then.
    TrainingError
        A loss is no longer finite.
    """
    from hypercon.plotting import dilemma_figure  # matplotlib is loaded by those who draw

    train, test = load_both(settings.data, seed=settings.seed)
    device = _check(settings, train, test)
    out = Path(out)
    _check_writable(out)
    if train.labels is None:
        say(f"{settings.data} has no labels: tolerance, accuracies and false negatives are left out")
    plan = plan_for(train)
    runs = []
    for temperature in settings.temperatures:
        path = out / f"encoder-tau-{temperature:g}.npz"
        done = _finished_run(path, settings, temperature, say)
        if done:
            encoder, record = done
            say(f"temperature {temperature:g}: taken up from {path}")
        else:
            encoder, trained = _train(settings, plan, temperature, train, device, progress)
            record = trained | measure(encoder, train, test, settings, temperature)
            save_encoder(path, encoder, {"settings": _fingerprint(settings), "temperature": temperature, "run": record})
        runs.append(_for_picture(encoder, record, test, settings, temperature))
    results = {
        "schema": SCHEMA,
        "data": settings.data,
        "encoder": plan.name,
        "seed": settings.seed,
        "device": device,
        "versions": {
            "hypercon": hypercon.version.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "settings": _fingerprint(settings)
        | {
            "epochs": _epochs(settings, plan, len(train.images)),
            "window": settings.window or plan.window,
            "rate": plan.rate,
        },
        "runs": [r.record for r in runs],
        "claims": judge([r.record for r in runs]),
    }
    with atomic(out / "dilemma.png") as stream:
        dilemma_figure(runs, train.classes, settings.data).savefig(stream, format="png")
    write_json(out / "results.json", results)
    return results


def plan_for(data: Dataset) -> Plan:
    """The encoder and training that suit a data set's images."""
    return _PLANS["small" if min(data.images.shape[2:]) < SMALL_IMAGE else "large"]


# --- training


def _train(
    settings: Settings, plan: Plan, temperature: float, train: Dataset, device: str, progress: bool
) -> tuple[Encoder, dict[str, Any]]:
    """A trained encoder, and what its training says for the record."""
    epochs = _epochs(settings, plan, len(train.images))
    steps = epochs * (len(train.images) // settings.batch_size)
    encoder = plan.make_encoder(train.images.shape[1:], rng=_rng(settings, "weights"))
    encoder.to(device)
    history = fit(
        encoder,
        train.images,
        loss=settings.loss,
        temperature=temperature,
        optimizer=Adam(encoder.parameters(), cosine(plan.rate, steps)),
        epochs=epochs,
        batch_size=settings.batch_size,
        augment=_views(settings, train),
        rng=_rng(settings, "training"),
        progress=f"temperature {temperature:g}" if progress else False,
    )
    return encoder, {
        "temperature": temperature,
        "loss": history.final_loss(),
        "chance": losses.chance(settings.loss, settings.batch_size),
        "floor": losses.floor(settings.loss, settings.batch_size, temperature),
        "steps": history.steps,
        "seconds": history.seconds,
        "images_per_second": history.images_per_second,
    }


def _views(settings: Settings, data: Dataset) -> Augmentation:
    return mild(flip=data.flip, window=settings.window or plan_for(data).window)


def _epochs(settings: Settings, plan: Plan, count: int) -> int:
    return settings.epochs or max(1, round(plan.steps / (count // settings.batch_size)))


def _rng(settings: Settings, purpose: str) -> np.random.Generator:
    """Generators for different purposes that share nothing, the same for every temperature."""
    return np.random.default_rng([settings.seed, ("weights", "training", "evaluation").index(purpose)])


# --- measuring


def measure(encoder: Encoder, train: Dataset, test: Dataset, settings: Settings, temperature: float) -> dict[str, Any]:
    """Everything that results.json says of a trained encoder, measured on held-out images."""
    rng = _rng(settings, "evaluation")
    train_h, train_z = encoder.embed(train.images)
    h, z = encoder.embed(test.images)
    z1, z2 = _two_views(encoder, test, settings)
    explanation = _explain_held_out(z1, z2, test, settings, temperature)
    sharpnesses = sorted({2.0, *(1 / (2 * tau) for tau in settings.temperatures)})
    record: dict[str, Any] = {
        "uniformity": {f"{t:.3g}": metrics.uniformity(z, t) for t in sharpnesses},
        "uniformity_floor": {f"{t:.3g}": metrics.uniformity_floor(z.shape[1], t) for t in sharpnesses},
        "alignment": metrics.alignment(z1, z2),
        "entropy": float(explanation.entropy.mean()),
        "effective_negatives": float(explanation.effective_negatives.mean()),
    }
    labelled = (
        "tolerance",
        "tolerance_gap",
        "knn_z",
        "knn_h",
        "knn_z_10",
        "linear_h",
        "linear_h_10",
        "false_negative_share",
    )
    record |= dict.fromkeys(labelled)
    if train.labels is None or test.labels is None:
        return record
    few = [
        metrics.few_labels(train.labels, 10, rng=rng) for _ in range(5)
    ]  # the draw of ten matters: five are averaged
    record["tolerance"] = metrics.tolerance(z, test.labels)
    record["tolerance_gap"] = metrics.tolerance_gap(z, test.labels)
    record["knn_z"] = metrics.knn_accuracy(train_z, train.labels, z, test.labels)
    record["knn_h"] = metrics.knn_accuracy(train_h, train.labels, h, test.labels)
    record["knn_z_10"] = _mean(metrics.knn_accuracy(train_z[i], train.labels[i], z, test.labels) for i in few)
    record["linear_h"] = metrics.linear_probe(train_h, train.labels, h, test.labels)
    record["linear_h_10"] = _mean(metrics.linear_probe(train_h[i], train.labels[i], h, test.labels) for i in few)
    assert explanation.false_negative_share is not None
    record["false_negative_share"] = float(explanation.false_negative_share.mean())
    return record


def _two_views(encoder: Encoder, test: Dataset, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    views = _views(settings, test).two_views(test.images, rng=_rng(settings, "evaluation"))
    z1, z2 = (encoder.embed(view)[1] for view in views)
    return z1, z2


def _explain_held_out(
    z1: np.ndarray, z2: np.ndarray, test: Dataset, settings: Settings, temperature: float
) -> Explanation:
    """The loss laid open on as many held-out images as a training batch has, or all where there are fewer."""
    some = _rng(settings, "evaluation").permutation(len(z1))[: settings.batch_size]
    labels = None if test.labels is None else test.labels[some]
    return explain(z1[some], z2[some], temperature=temperature, labels=labels, loss=settings.loss)


def _for_picture(
    encoder: Encoder, record: dict[str, Any], test: Dataset, settings: Settings, temperature: float
) -> Run:
    z1, z2 = _two_views(encoder, test, settings)
    return Run(
        temperature=temperature,
        record=record,
        z=encoder.embed(test.images)[1],
        labels=test.labels,
        positives=(z1 * z2).sum(axis=1),
        explanation=_explain_held_out(z1, z2, test, settings, temperature),
    )


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


# --- judging


def judge(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hold the paper's orderings against the measured values.

    Parameters
    ----------
    records : sequence of dict
        The ``runs`` of results.json, for at least two temperatures.

    Returns
    -------
    list of dict
        ``claim``, the ``values`` by temperature, and whether it ``holds``. Claims that need labels are left out without
        them.
    """
    records = sorted(records, key=lambda record: record["temperature"])
    if len(records) < 2:
        return []
    sharpest = f"{1 / (2 * records[0]['temperature']):.3g}"
    checks: list[tuple[str, Callable[[dict[str, Any]], Any], Callable[[list[float]], bool]]] = [
        (f"uniformity at t = {sharpest} falls as the temperature rises", lambda r: r["uniformity"][sharpest], _falls),
        ("uniformity at t = 2 is lowest at the highest temperature", lambda r: r["uniformity"]["2"], _last_is_lowest),
        ("the tolerance gap rises with the temperature", lambda r: r["tolerance_gap"], _rises),
        ("tolerance is highest at the highest temperature", lambda r: r["tolerance"], _last_is_highest),
    ]
    claims = []
    for claim, read, holds in checks:
        values = {f"{record['temperature']:g}": read(record) for record in records}
        if None not in values.values():
            claims.append({"claim": claim, "values": values, "holds": holds(list(values.values()))})
    return claims


def _rises(values: list[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


def _falls(values: list[float]) -> bool:
    return _rises([-v for v in values])


def _last_is_highest(values: list[float]) -> bool:
    return max(values[:-1]) < values[-1]


def _last_is_lowest(values: list[float]) -> bool:
    return min(values[:-1]) > values[-1]


# --- before and between


def _check(settings: Settings, train: Dataset, test: Dataset) -> str:
    """Refuse settings that cannot be carried out before anything is trained; the device, made sure of."""
    if not settings.temperatures:
        raise InputError("temperatures got none, expected at least one such as 0.2")
    for temperature in settings.temperatures:
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperatures got {temperature:g}, expected positive finite numbers such as 0.07 0.2 1.0")
    names = [f"{temperature:g}" for temperature in settings.temperatures]
    if len(set(names)) < len(names):
        raise InputError(f"temperatures got {' '.join(names)}, expected each once")
    if settings.epochs is not None and settings.epochs < 1:
        raise InputError(f"epochs got {settings.epochs}, expected at least 1")
    if settings.batch_size < 2:
        raise InputError(
            f"batch_size got {settings.batch_size}, expected at least 2: a contrastive batch needs a negative"
        )
    if settings.batch_size > len(train.images):
        raise InputError(
            f"batch_size got {settings.batch_size}, but {settings.data} has {len(train.images)} training images: "
            f"choose a smaller batch or more images"
        )
    if len(test.images) < 2:
        raise DataError(f"{settings.data}: {len(test.images)} held-out image(s), expected at least 2 to measure on")
    if settings.window is not None and not 0 < settings.window <= 1:
        raise InputError(f"window got {settings.window:g}, expected a share of the image's side such as 0.9")
    if settings.seed < 0:
        raise InputError(f"seed got {settings.seed}, expected a whole number from 0")
    losses.infonce.check_loss_name(settings.loss)
    return resolve_device(settings.device)


def _check_writable(out: Path) -> None:
    """Find out now, not after minutes of training, whether results can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic(out / "write-test"):
            pass
        (out / "write-test").unlink()
    except (OSError, HyperconError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"out got {str(out)!r}, a folder that cannot be written to ({reason}): choose another"
        ) from None


def _fingerprint(settings: Settings) -> dict[str, Any]:
    """The settings that decide a temperature's weights and record, as JSON gives them back."""
    return json.loads(json.dumps(asdict(settings)))


def _finished_run(
    path: Path, settings: Settings, temperature: float, say: Callable[[str], None]
) -> tuple[Encoder, dict[str, Any]] | None:
    """What an earlier run with these very settings left for a temperature."""
    if not path.exists():
        return None
    try:
        encoder, notes = load_encoder(path)
    except DataError as error:
        say(f"{error}; training it anew")
        return None
    same = notes.get("settings") == _fingerprint(settings) and notes.get("temperature") == temperature
    return (encoder, notes["run"]) if same else None
