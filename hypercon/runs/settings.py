"""What a run depends on: the settings, what suits the images where they leave it open, and what they are made into."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hypercon import losses, optim
from hypercon.backend import resolve_device
from hypercon.data import Augmentation, Dataset, mild
from hypercon.data.batching import check_batch_size
from hypercon.errors import DtypeError, InputError
from hypercon.experiments.settings import SMALL_IMAGE
from hypercon.nn import Encoder, build
from hypercon.temperature import CosineTemperature, LearnedTemperature, Temperature
from hypercon.validation import check_number, check_positive, check_sizes, check_whole

_RATES = {"adam": 2e-3, "sgd": 0.1}
PURPOSES = ("weights", "training", "evaluation")


@dataclass(frozen=True)
class Settings:
    """What a run depends on. Two runs with equal settings train equal encoders.

    Attributes
    ----------
    temperature : float or str
        A number; ``"learned:0.07"``, trained from 0.07 on; or ``"cosine:0.1:1:500"``, swinging between two bounds with
        a period in steps.
    data : str
        As `hypercon.data.load_both` takes it.
    encoder : {"mlp", "cnn"} or None
        None takes an MLP for images below 16 pixels a side, and a CNN for others.
    widths : tuple of int or None
        Of the backbone's layers.
    strides : tuple of int or None
        Of a CNN's layers.
    dim : int
        Of the embedding.
    loss : {"info_nce", "nt_xent"}
    epochs : int
    batch_size : int
    optimizer : {"adam", "sgd"}
    rate : float or None
        None is 0.002 for Adam and 0.1 for SGD.
    schedule : {"cosine", "constant"}
        Of the rate: a cosine falls to 0 at the end of the epochs.
    warmup : int
        Epochs over which the rate rises to its height.
    momentum : float
        Of SGD.
    weight_decay : float
        Of Adam.
    window : float
        Side of the smallest window that a view shows, as a share of the image's.
    seed : int
        Of weights, batches and views.
    device : str
    """

    temperature: float | str
    data: str = "fashion-mini"
    encoder: str | None = None
    widths: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    dim: int = 64
    loss: str = "info_nce"
    epochs: int = 20
    batch_size: int = 256
    optimizer: str = "adam"
    rate: float | None = None
    schedule: str = "cosine"
    warmup: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0
    window: float = 0.9
    seed: int = 0
    device: str = "cpu"


def decide(settings: Settings, data: Dataset) -> Settings:
    """Settings with nothing left open, and made sure that they can be carried out.

    Raises
    ------
    InputError, DtypeError, DeviceError
        They cannot; the message begins with the name of the setting.
    """
    losses.infonce.check_loss_name(settings.loss)
    small = min(data.images.shape[2:]) < SMALL_IMAGE
    encoder = settings.encoder or ("mlp" if small else "cnn")
    _check_choice(encoder, "encoder", ("mlp", "cnn"))
    _check_choice(settings.optimizer, "optimizer", tuple(_RATES))
    _check_choice(settings.schedule, "schedule", ("cosine", "constant"))
    widths = check_sizes(settings.widths or ((256, 256) if encoder == "mlp" else (16, 32, 64)), "widths")
    strides = None
    if encoder == "cnn":
        strides = check_sizes(settings.strides or (2,) * len(widths), "strides", example="(1, 2, 2)")
        if len(strides) != len(widths):
            raise InputError(f"strides got {len(strides)} numbers, expected one for each of {len(widths)} widths")
    elif settings.strides:
        raise InputError("strides are of a cnn, and the encoder is an mlp: leave them out")
    temperature = settings.temperature
    if not isinstance(temperature, str):
        temperature = check_positive(temperature, "temperature", "0.2")
    epochs = check_whole(settings.epochs, "epochs", least=1)
    warmup = check_whole(settings.warmup, "warmup", least=0)
    if warmup >= epochs:
        raise InputError(f"warmup got {warmup} epochs of {epochs}, expected fewer")
    window = check_positive(settings.window, "window", "0.9")
    if window > 1:
        raise InputError(f"window got {window:g}, expected a share of the image's side such as 0.9")
    momentum = float(check_number(settings.momentum, "momentum"))
    if not 0 <= momentum < 1:
        raise InputError(f"momentum got {momentum:g}, expected a number from 0 to below 1")
    decay = float(check_number(settings.weight_decay, "weight_decay"))
    if decay < 0:
        raise InputError(f"weight_decay got {decay:g}, expected 0 or more")
    decided = replace(
        settings,
        temperature=temperature,
        data=str(settings.data),
        encoder=encoder,
        widths=widths,
        strides=strides,
        dim=check_whole(settings.dim, "dim", least=2, why="the sphere needs a direction to turn to"),
        epochs=epochs,
        batch_size=check_batch_size(settings.batch_size, len(data.images)),
        rate=check_positive(_RATES[settings.optimizer] if settings.rate is None else settings.rate, "rate", "1e-3"),
        warmup=warmup,
        momentum=momentum,
        weight_decay=decay,
        window=window,
        seed=check_whole(settings.seed, "seed", least=0),
        device=resolve_device(settings.device),
    )
    temperature_of(decided)
    return decided


def describe(settings: Settings) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def settings_from(described: Any) -> Settings:
    """The settings that `describe` wrote down.

    Raises
    ------
    DtypeError
        They are of another form.
    """
    try:
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in described.items()}
        return Settings(**values)
    except (TypeError, AttributeError) as error:
        raise DtypeError(f"settings of another form ({error})") from None


def make_encoder(settings: Settings, data: Dataset) -> Encoder:
    """A fresh encoder on the settings' device."""
    assert settings.widths is not None, "the settings are not decided"
    recipe = {
        "name": settings.encoder,
        "shape": list(data.images.shape[1:]),
        "widths": list(settings.widths),
        "dim": settings.dim,
    }
    if settings.strides:
        recipe["strides"] = list(settings.strides)
    encoder = build(recipe, rng=generator(settings, "weights"))
    encoder.to(settings.device)
    return encoder


def temperature_of(settings: Settings) -> float | Temperature:
    """The number, or the object that a word stands for."""
    told = settings.temperature
    if not isinstance(told, str):
        return told
    kind, *numbers = told.split(":")
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if kind == "learned" and len(values) == 1:
        return LearnedTemperature(values[0])
    if kind == "cosine" and len(values) == 3:
        return CosineTemperature(values[0], values[1], period=check_whole(values[2], "temperature's period", least=2))
    raise InputError(f"temperature got {told!r:.60}, expected a number such as 0.2, learned:0.07, or cosine:0.1:1:500")


def optimizer_of(settings: Settings, encoder: Encoder, temperature: float | Temperature, steps: int) -> optim.Optimizer:
    """The optimiser over the encoder, and over a temperature that is trained; ``steps`` are those of an epoch."""
    assert settings.rate is not None, "the settings are not decided"
    parameters = encoder.parameters()
    if isinstance(temperature, LearnedTemperature):
        parameters += temperature.parameters()
    rate: float | optim.Schedule = settings.rate
    warm = settings.warmup * steps
    if settings.schedule == "cosine":
        rate = optim.cosine(settings.rate, settings.epochs * steps, warmup=warm)
    elif warm:
        rate = _Rising(settings.rate, warm)
    if settings.optimizer == "adam":
        return optim.Adam(parameters, rate, weight_decay=settings.weight_decay)
    return optim.SGD(parameters, rate, momentum=settings.momentum)


@dataclass(frozen=True)
class _Rising:
    """A rate that rises over so many steps and stays."""

    rate: float
    steps: int

    def __call__(self, step: int) -> float:
        return self.rate * min(1.0, (step + 1) / self.steps)


def views_of(settings: Settings, data: Dataset) -> Augmentation:
    """The random views."""
    return mild(flip=data.flip, window=settings.window)


def generator(settings: Settings, purpose: str) -> np.random.Generator:
    """Generators for different purposes that share nothing."""
    return np.random.default_rng([settings.seed, PURPOSES.index(purpose)])


def _check_choice(value: Any, name: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} got {value!r:.60}, expected one of {', '.join(known)}")
