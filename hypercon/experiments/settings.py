"""What a run of the dilemma depends on: the settings, what suits a size of images, and what cannot be carried out.

`decide` is the one place where open settings are filled in and impossible ones refused, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from hypercon import losses
from hypercon.backend import resolve_device
from hypercon.data import Augmentation, Dataset, mild
from hypercon.errors import DataError, DtypeError, InputError
from hypercon.files import checksum
from hypercon.nn import Encoder, cnn, mlp
from hypercon.validation import check_positive, check_whole


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
NEIGHBOURS = 5  # votes of the accuracies by nearest neighbours


def plan_for(data: Dataset) -> Plan:
    """The encoder and training that suit a data set's images."""
    return _PLANS["small" if min(data.images.shape[2:]) < SMALL_IMAGE else "large"]


def decide(settings: Settings, train: Dataset, test: Dataset) -> Settings:
    """Settings with nothing left open, made sure that they can be carried out and measured.

    Raises
    ------
    InputError, DtypeError, DataError, DeviceError
        They cannot; the message begins with the name of the setting, or with the data set's.
    """
    temperatures = _checked_temperatures(settings.temperatures)
    batch_size = check_whole(settings.batch_size, "batch_size", least=2, why="a contrastive batch needs a negative")
    if batch_size > len(train.images):
        raise InputError(
            f"batch_size got {batch_size}, but {settings.data} has {len(train.images)} training images: "
            f"choose a smaller batch or more images"
        )
    plan = plan_for(train)
    if settings.epochs is None:
        epochs = max(1, round(plan.steps / (len(train.images) // batch_size)))
    else:
        epochs = check_whole(settings.epochs, "epochs", least=1)
    window = plan.window if settings.window is None else check_positive(settings.window, "window", "0.9")
    if window > 1:
        raise InputError(f"window got {window:g}, expected a share of the image's side such as 0.9")
    losses.infonce.check_loss_name(settings.loss)
    _check_can_be_measured(str(settings.data), train, test)
    return replace(
        settings,
        data=str(settings.data),
        temperatures=temperatures,
        seed=check_whole(settings.seed, "seed", least=0),
        epochs=epochs,
        batch_size=batch_size,
        window=window,
        device=resolve_device(settings.device),
    )


def describe(settings: Settings, train: Dataset, test: Dataset) -> dict[str, Any]:
    """What results.json and every checkpoint say of the decided settings, and of the images by their checksums."""
    plan = plan_for(train)
    return {
        **asdict(settings),
        "temperatures": list(settings.temperatures),
        "encoder": plan.name,
        "rate": plan.rate,
        "train_sha256": checksum(train.images, np.array(train.flip)),
        "test_sha256": checksum(test.images, test.labels, train.labels),
    }


def views_of(settings: Settings, data: Dataset) -> Augmentation:
    """The random views of the experiment."""
    assert settings.window is not None, "the settings are not decided"
    return mild(flip=data.flip, window=settings.window)


def generator(settings: Settings, purpose: str) -> np.random.Generator:
    """Generators for different purposes that share nothing, the same for every temperature."""
    return np.random.default_rng([settings.seed, ("weights", "training", "evaluation").index(purpose)])


def _checked_temperatures(temperatures: Any) -> tuple[float, ...]:
    if not isinstance(temperatures, list | tuple):
        raise DtypeError(f"temperatures got {temperatures!r}, expected several numbers such as (0.07, 0.2, 1.0)")
    if not temperatures:
        raise InputError("temperatures got none, expected at least one such as 0.2")
    checked = tuple(check_positive(temperature, "temperatures", "0.2") for temperature in temperatures)
    names = [f"{temperature:g}" for temperature in checked]
    if len(set(names)) < len(names):
        raise InputError(f"temperatures got {' '.join(names)}, expected each once")
    return checked


def _check_can_be_measured(name: str, train: Dataset, test: Dataset) -> None:
    """Find out now, not after minutes of training, whether every measure has something to measure."""
    if len(test.images) < 2:
        raise DataError(f"{name}: {len(test.images)} held-out image(s), expected at least 2 to measure on")
    if train.labels is None or test.labels is None:
        return
    if len(train.labels) < NEIGHBOURS:
        raise DataError(
            f"{name}: {len(train.labels)} labelled training images, expected at least {NEIGHBOURS}, "
            f"which vote as nearest neighbours; add images, or leave the labels out"
        )
    known, counts = np.unique(train.labels), np.bincount(test.labels)
    for number in np.flatnonzero(counts):
        if number not in known:
            label = test.classes[number] if test.classes else str(number)
            raise DataError(
                f"{name}: class {label!r} is held out {counts[number]} time(s) but not trained on, so nothing could "
                f"recognise it; add such images to the training part, or take the class out"
            )
    remedy = "hold out more images as test_images and test_labels, or leave the labels out"
    if counts.max() < 2:
        raise DataError(
            f"{name}: no two of the {len(test.labels)} held-out images share a class, "
            f"so there is no similarity within a class to measure; {remedy}"
        )
    if np.count_nonzero(counts) < 2:
        raise DataError(f"{name}: all held-out images are of one class, expected at least two classes; {remedy}")
