"""What a training was started with, in words and numbers: enough to say later what differs."""

from __future__ import annotations

import platform
from functools import partial
from typing import Any

import numpy as np

from hypercon import threads
from hypercon.autograd import Tensor
from hypercon.files import checksum
from hypercon.nn import Module
from hypercon.optim import Optimizer
from hypercon.version import __version__


def settings_of(
    encoder: Module,
    images: np.ndarray,
    loss: Any,
    temperature: Any,
    optimizer: Optimizer,
    batch_size: int,
    augment: Any,
) -> dict[str, Any]:
    """The arguments of `hypercon.fit` that decide the weights, but for epochs and rate: those may go on differently."""
    trained = dict(encoder.named_parameters())
    return {
        "loss": described(loss),
        "temperature": described(temperature),
        "batch_size": batch_size,
        "augment": described(augment),
        "optimizer": {name: value for name, value in described(optimizer).items() if name != "rate"},
        "encoder": described(getattr(encoder, "recipe", None)) or type(encoder).__name__,
        "frozen": [path for path, parameter in trained.items() if not parameter.requires_grad],
        "images": {"shape": list(images.shape), "sha256": checksum(images)},
    }


def described(value: Any) -> Any:
    """Anything as JSON: numbers and text as they are, a function by its name, an object by its kind and its settings.

    What an object gives as its ``state()`` changes during training and is no setting.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, dict):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, Tensor | np.ndarray):
        fixed = value.size == 1 and not getattr(value, "requires_grad", False)
        return float(value) if fixed else f"{value.dtype} {list(value.shape)}"
    if isinstance(value, partial):
        given = dict(enumerate(value.args)) | value.keywords
        return {"function": described(value.func), **described(given)}
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    changing = value.state() if callable(getattr(value, "state", None)) else {}
    return {
        "kind": type(value).__name__,
        **{
            name: described(item)
            for name, item in getattr(value, "__dict__", {}).items()
            if name[0] != "_" and name not in changing and _is_plain(item)
        },
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def environment(device: str) -> dict[str, Any]:
    """What beside the arguments may change the last bits of a training."""
    return {
        "hypercon": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device,
        "threads": threads.cores(),
    }


def differences(there: Any, now: Any, name: str = "") -> list[str]:
    """In words, where two descriptions differ."""
    if isinstance(there, dict) and isinstance(now, dict) and there.get("kind") == now.get("kind"):
        return [
            words
            for key in dict.fromkeys([*now, *there])
            for words in differences(there.get(key), now.get(key), f"{name} {key}".strip())
        ]
    if there == now:
        return []
    shown, ours = (
        value.get("kind") or value.get("name") or value if isinstance(value, dict) else value for value in (there, now)
    )
    if name == "images sha256":  # a sum says little to a reader
        return ["the images have changed"]
    return [f"{name} {shown} there, {ours} now"]
