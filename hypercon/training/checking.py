"""What `fit` is called with, looked at before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hypercon import losses
from hypercon.errors import DtypeError, InputError
from hypercon.nn import Module
from hypercon.nn.encoders import check_images_for
from hypercon.optim import Optimizer
from hypercon.temperature import Temperature, check_temperature
from hypercon.validation import check_flag


def check_training(encoder: Any, images: Any, optimizer: Any, augment: Any) -> np.ndarray:
    """The images, once it is sure that encoder, optimiser and augmentation can do something with them."""
    if not isinstance(encoder, Module):
        raise DtypeError(f"encoder got {type(encoder).__name__}, expected one such as hypercon.nn.mlp(...)")
    if not callable(getattr(augment, "two_views", None)) or isinstance(augment, type):
        raise DtypeError(
            f"augment got {_called(augment)}, expected an object with two_views(images, rng=rng), such as "
            f"hypercon.data.mild(), or hypercon.data.Augmentation() for views that are the image itself"
        )
    if not isinstance(optimizer, Optimizer):
        raise DtypeError(
            f"optimizer got {_called(optimizer)}, expected one such as hypercon.optim.Adam(encoder.parameters(), 1e-3)"
        )
    held = {id(parameter) for parameter in optimizer.parameters}
    trained = [(path, parameter) for path, parameter in encoder.named_parameters() if parameter.requires_grad]
    missing = [path for path, parameter in trained if id(parameter) not in held]
    if len(missing) == len(trained):
        raise InputError(
            "optimizer holds none of the encoder's parameters, so it would train another: "
            "make it from this encoder's, encoder.parameters()"
        )
    if missing:
        raise InputError(
            f"optimizer lacks {len(missing)} of the encoder's {len(trained)} parameters, {missing[0]} first: make it "
            f"from encoder.parameters(), and set requires_grad = False on those that are to stay as they are"
        )
    optimizer.check_devices()
    return check_images_for(encoder, images)


def check_all_take_part(encoder: Module, optimizer: Optimizer) -> None:
    """Refuse an optimiser that also holds what this training does not reach, such as another encoder's parameters."""
    own = {id(parameter) for parameter in encoder.parameters()}
    idle = [p for p in optimizer.parameters if p.requires_grad and p.grad is None and id(p) not in own]
    if idle:
        raise InputError(
            f"optimizer holds {len(idle)} parameter(s) that are not the encoder's and that the loss does not depend "
            f"on, the first of shape {idle[0].shape}: make it from this encoder's parameters"
        )


def objective_of(
    loss: str | Callable[[Any, Any], Any], temperature: float | Temperature | None
) -> Callable[[Any, Any], Any]:
    """The loss as a function of the embeddings of two views."""
    if callable(loss):
        if temperature is not None:
            raise InputError(
                "temperature is for a loss given by name; a callable carries its own: use functools.partial"
            )
        return loss
    losses.infonce.check_loss_name(loss)
    if temperature is None:
        raise InputError(f'loss "{loss}" needs a temperature, for example temperature=0.2')
    check_temperature(temperature)
    return partial(getattr(losses, loss), temperature=temperature)


def check_folder(checkpoint: Any, resume: Any, on_epoch: Any) -> Path | None:
    """The folder of checkpoints, if there is to be one."""
    resume = check_flag(resume, "resume")
    if on_epoch is not None and not callable(on_epoch):
        raise DtypeError(f"on_epoch got {type(on_epoch).__name__}, expected a function of the history")
    if checkpoint is None:
        if resume:
            raise InputError("resume needs the folder that holds the checkpoints: checkpoint=...")
        return None
    if not isinstance(checkpoint, str | Path) or not str(checkpoint).strip():
        raise DtypeError(f"checkpoint got {checkpoint!r:.60}, expected the name of a folder such as runs/first")
    return Path(checkpoint)


def _called(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
