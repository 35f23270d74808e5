"""The training loop: two views of a batch, a loss, a step, and a history of what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from hypercon import losses
from hypercon.autograd import tensor
from hypercon.backend import read, xp
from hypercon.data.batching import batches, check_batch_size
from hypercon.errors import InputError, TrainingError
from hypercon.nn import Encoder
from hypercon.optim import Optimizer
from hypercon.temperature import Temperature, check_temperature


class TwoViews(Protocol):
    """What `fit` asks of an augmentation."""

    def two_views(self, images: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class History:
    """What happened during training.

    Attributes
    ----------
    losses : list of float
        Of every step.
    batch_size : int
    seconds : float
        Of the loop, augmentation included.
    """

    losses: list[float] = field(default_factory=list)
    batch_size: int = 0
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.losses)

    @property
    def images_per_second(self) -> float:
        """Images (not views) that went through a step each second."""
        return self.steps * self.batch_size / self.seconds if self.seconds else 0.0

    def final_loss(self, steps: int = 20) -> float:
        """The mean loss of the last steps."""
        return float(np.mean(self.losses[-steps:]))


def fit(
    encoder: Encoder,
    images: np.ndarray,
    *,
    loss: str | Callable[[Any, Any], Any],
    temperature: float | Temperature | None = None,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    augment: TwoViews,
    rng: np.random.Generator,
    progress: bool | str = False,
) -> History:
    """Train an encoder in place.

    Parameters
    ----------
    encoder : Encoder
        Its device is where the work is done; batches are drawn and augmented on the host, so every device sees the
        same.
    images : ndarray, (N, C, H, W)
        float32 in [0, 1].
    loss : {"info_nce", "nt_xent"} or callable
        A callable takes the embeddings of two views and returns a scalar tensor.
    temperature : float or Temperature
        For a loss given by name; a callable carries its own. One that changes goes on with every step. A
        `LearnedTemperature` is trained if the optimiser has its parameters as well.
    optimizer : Optimizer
        Over the encoder's parameters.
    epochs : int
        Passes over the images; a last batch that is not full is left out.
    batch_size : int
    augment : object
        Makes two views of a batch: ``augment.two_views(images, rng=rng)``.
    rng : numpy.random.Generator
        Of the order and the views. The same generator and the same encoder give the same weights, bit for bit.
    progress : bool or str, default False
        Show a bar, with this text before it. With a named loss it shows where the loss lies between floor and chance.

    Returns
    -------
    History

    Raises
    ------
    InputError
        The arguments do not fit each other.
    TrainingError
        The embeddings or the loss are no longer finite; the weights are those of the step before.

    Examples
    --------
    >>> import hypercon as hc
    >>> images = hc.data.load("digits").images
    >>> rng = np.random.default_rng(0)
    >>> encoder = hc.nn.mlp(images.shape[1:], rng=rng)
    >>> history = hc.fit(
    ...     encoder, images, loss="info_nce", temperature=0.2, optimizer=hc.optim.Adam(encoder.parameters(), 1e-3),
    ...     epochs=1, batch_size=256, augment=hc.data.mild(flip=False), rng=rng,
    ... )
    >>> history.steps
    5
    """
    objective = _objective(loss, temperature)
    if epochs < 1:
        raise InputError(f"epochs got {epochs}, expected at least 1")
    check_batch_size(batch_size, len(images))
    history = History(batch_size=batch_size)
    total = epochs * (len(images) // batch_size)
    encoder.train()
    with _bar(total, progress) as bar:
        start = time.perf_counter()
        for _ in range(epochs):
            for chosen in batches(len(images), batch_size, rng=rng):
                history.losses.append(_step(encoder, images[chosen], objective, optimizer, augment, rng, history.steps))
                history.seconds = time.perf_counter() - start
                bar.update(1)
                note = _bounds_note(loss, batch_size, temperature)
                bar.set_postfix_str(f"loss {history.final_loss():.3f}{note}", refresh=False)
                if isinstance(temperature, Temperature):
                    temperature.step()
    encoder.eval()
    return history


def _step(
    encoder: Encoder,
    images: np.ndarray,
    objective: Callable[[Any, Any], Any],
    optimizer: Optimizer,
    augment: TwoViews,
    rng: np.random.Generator,
    number: int,
) -> float:
    """One step; both views go through the encoder as one batch, so that batch normalisation sees them alike."""
    views = np.concatenate(augment.two_views(images, rng=rng))
    z = encoder(tensor(views, device=encoder.device))
    _check_finite("the embeddings are", z, number)
    value = objective(z[: len(images)], z[len(images) :])
    _check_finite("the loss is", value, number)
    value.backward()
    optimizer.step()
    return float(value)


def _check_finite(what: str, value: Any, number: int) -> None:
    if not read(xp(value.data).isfinite(value.data).all()):
        raise TrainingError(f"{what} no longer finite at step {number}: use a smaller learning rate")


def _objective(
    loss: str | Callable[[Any, Any], Any], temperature: float | Temperature | None
) -> Callable[[Any, Any], Any]:
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


def _bounds_note(loss: Any, batch_size: int, temperature: float | Temperature | None) -> str:
    if not isinstance(loss, str) or temperature is None:
        return ""
    tau = temperature.value if isinstance(temperature, Temperature) else temperature
    note = f" (floor {losses.floor(loss, batch_size, tau):.3f}, chance {losses.chance(loss, batch_size):.3f})"
    return note + (f", temperature {tau:.3f}" if isinstance(temperature, Temperature) else "")


def _bar(total: int, progress: bool | str) -> Any:
    from tqdm import tqdm  # imported when training starts: it would slow the library's own import

    return tqdm(total=total, desc=progress if isinstance(progress, str) else None, disable=not progress, unit="step")
