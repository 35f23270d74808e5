"""What a trained claim trains: a recipe names loss, head, views and steps, and every recipe is trained once.

Claims that look at the same encoder name the same recipe, so equality of recipes is what the sharing rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from hypercon import losses
from hypercon.autograd import clip, exp, log_softmax, matmul, mean, transpose, where
from hypercon.autograd import sum as total
from hypercon.autograd.ops import raw
from hypercon.data import Augmentation
from hypercon.errors import InputError
from hypercon.losses.common import one_hot, onto_sphere
from hypercon.temperature import CosineTemperature, LearnedTemperature, Temperature


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained, apart from data and seed.

    Attributes
    ----------
    loss : str
        A key of `OBJECTIVES`; ``"supervised"`` for cross-entropy with labels; ``"none"`` for an encoder as it starts.
    temperature : float, optional
    alpha : float, optional
        Share of the negatives that a hard loss keeps.
    align, uniform, t : float
        Weights of both parts of the loss of Wang & Isola, and the sharpness of the second.
    head : {"centred", "plain", "free"}
        ``"centred"`` ends in batch normalisation before the sphere; ``"plain"`` goes onto the sphere as it is;
        ``"free"`` stays off it, and the loss sees plain products.
    dim : int
        Of z.
    strength : float
        Of the views; 0 shows every image as it is, 1 is what most claims take.
    batch_size : int
    rate : float, optional
        Learning rate; None takes what suits the data.
    optimizer : {"adam", "sgd"}
    share : float
        Of the usual number of steps.
    moments : int
        How often it is measured on the way.
    start : Recipe, optional
        Whose encoder it goes on from.
    """

    loss: str
    temperature: float | None = None
    alpha: float | None = None
    align: float = 1.0
    uniform: float = 1.0
    t: float = 2.0
    head: str = "centred"
    dim: int = 64
    strength: float = 1.0
    batch_size: int = 256
    rate: float | None = None
    optimizer: str = "adam"
    share: float = 1.0
    moments: int = 1
    start: Recipe | None = None

    @property
    def name(self) -> str:
        """What sets it apart from the usual, in words that a file can be called by."""
        parts = [self.loss]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if isinstance(value, Recipe):
                parts.append(f"after-{value.name}")
            elif value != field.default:
                parts.append(f"{field.name}-{value:g}" if isinstance(value, float | int) else str(value))
        return "-".join(parts)


def views(strength: float, *, flip: bool) -> Augmentation:
    """Windows, turns, light, noise and a black rectangle: views under which instances can still be told apart, and in
    which images of one class come near each other."""
    return Augmentation(
        shift=0.1 * strength,
        scale=(1 - 0.25 * strength, 1 + 0.1 * strength),
        rotation=15 * strength,
        flip=flip,
        brightness=0.1 * strength,
        noise=0.1 * strength,
        erase=min(1.0, 0.3 * strength),
    )


def macl(z1: Any, z2: Any, *, temperature: float, alpha: float = 0.5, normalize: bool = True) -> Any:
    """Model-aware contrastive learning: the temperature rises as positives align, and pairs that are found weigh more.

    InfoNCE at ``tau0 (1 + alpha A)`` with A the mean positive similarity, each anchor's term times ``1 / (1 - P_ii)``
    (Huang et al. 2023, with A_0 = 0). Neither A nor the weights carry a gradient.
    """
    u, v = (onto_sphere(z1), onto_sphere(z2)) if normalize else (z1, z2)
    similarities = matmul(u, transpose(v))
    positive = one_hot(u.shape[0], similarities)
    aligned = float(raw(similarities)[positive].mean())
    log_p = log_softmax(similarities / (temperature * (1 + alpha * aligned)), axis=1)
    found = total(where(positive, log_p, 0.0), axis=1)
    weights = 1 / (1 - clip(exp(raw(found)), 0.0, 0.999))
    return -mean(found * weights)


def _uniformity_alone(z1: Any, z2: Any, *, t: float) -> Any:
    return (losses.uniformity_loss(z1, t=t) + losses.uniformity_loss(z2, t=t)) / 2


def _at_temperature(loss: Callable[..., Any]) -> Callable[[Recipe], Callable[..., Any]]:
    return lambda r: partial(loss, temperature=r.temperature, normalize=r.head != "free")


OBJECTIVES: dict[str, Callable[[Recipe], Callable[..., Any]]] = {
    "info_nce": _at_temperature(losses.info_nce),
    "nt_xent": _at_temperature(losses.nt_xent),
    "dcl": _at_temperature(losses.dcl),
    "debiased": _at_temperature(losses.debiased),
    "hcl": _at_temperature(losses.hcl),
    "macl": _at_temperature(macl),
    "hard_info_nce": lambda r: partial(losses.hard_info_nce, temperature=r.temperature, alpha=r.alpha),
    "hard_simple": lambda r: partial(losses.hard_simple, alpha=r.alpha),
    "simple": lambda r: losses.simple_loss,
    "triplet": lambda r: losses.triplet_limit,
    "align_uniform": lambda r: partial(losses.align_uniform, align_weight=r.align, uniform_weight=r.uniform, t=r.t),
    "alignment": lambda r: losses.alignment_loss,
    "uniformity": lambda r: partial(_uniformity_alone, t=r.t),
}
MOVING = ("cosine", "learned")  # InfoNCE at a temperature that changes


def objective(recipe: Recipe, steps: int) -> tuple[str | Callable[..., Any], Temperature | None]:
    """What `hypercon.fit` takes as loss and temperature."""
    if recipe.loss == "cosine":
        return "info_nce", CosineTemperature(0.07, 0.5, period=max(2, steps // 4))
    if recipe.loss == "learned":
        return "info_nce", LearnedTemperature(0.07)
    if recipe.loss not in OBJECTIVES:
        raise InputError(f"loss got {recipe.loss!r}, expected one of {', '.join([*OBJECTIVES, *MOVING])}")
    return OBJECTIVES[recipe.loss](recipe), None
