"""What happened during training, step by step and epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypercon.errors import InputError
from hypercon.validation import check_whole


@dataclass(repr=False)
class History:
    """What happened during training.

    Attributes
    ----------
    losses : list of float
        Of every step.
    batch_size : int
    seconds : float
        Of all steps, augmentation included; of a training that was resumed, those of all its parts. What ``on_epoch``
        takes, and the writing of checkpoints, is not among them.
    rates : list of float
        The learning rate of every step.
    epochs : list of dict
        For every epoch its number from 1 (``"epoch"``), the steps made by its end (``"step"``), its mean ``"loss"``,
        the ``"rate"`` of its last step, the ``"temperature"`` at its end if the loss was given by name, the
        ``"seconds"`` since the start, and what `hypercon.fit`'s ``on_epoch`` returned.
    """

    losses: list[float] = field(default_factory=list)
    batch_size: int = 0
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.losses)

    @property
    def images_per_second(self) -> float:
        """Images (not views) that went through a step each second."""
        return self.steps * self.batch_size / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        if not self.losses:
            return "History(no steps)"
        return (
            f"History({self.steps} steps of {self.batch_size} images in {self.seconds:.1f} s, "
            f"loss {self.losses[0]:.3f} to {self.final_loss():.3f})"
        )

    def final_loss(self, steps: int = 20) -> float:
        """The mean loss of the last steps."""
        steps = check_whole(steps, "steps", least=1)
        if not self.losses:
            raise InputError("the history holds no steps, and so no loss")
        return float(np.mean(self.losses[-steps:]))
