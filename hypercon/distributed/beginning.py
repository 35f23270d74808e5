"""What is made sure of before ranks begin a training: that they can share a batch, and will train one encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.distributed.gradients import check_alike, share
from hypercon.distributed.ranks import Ranks
from hypercon.errors import DtypeError, InputError
from hypercon.gradient_cache import batch_norms
from hypercon.nn import Module


def check_ranks(ranks: Any) -> Ranks:
    """Ranks; one alone where none are given."""
    if ranks is not None and not isinstance(ranks, Ranks):
        raise DtypeError(f"ranks got {type(ranks).__name__}, expected hypercon.distributed.ranks_of_this_job()")
    return Ranks() if ranks is None else ranks


def check_can_share(
    ranks: Ranks, encoder: Module, images: np.ndarray, rng: np.random.Generator, batch_size: int, chunk_size: int | None
) -> None:
    """Refuse ranks that cannot share a batch, and such as would train different encoders.

    Raises
    ------
    InputError
        The batch has fewer rows than there are ranks, or chunks are asked for where rows are normalised together.
    TrainingError
        Weights, images or generators differ between ranks.
    """
    share(batch_size, ranks)
    if ranks.size == 1:
        return
    if chunk_size is not None and batch_norms(encoder):
        raise InputError(
            f"chunk_size got {chunk_size} with {ranks.size} ranks, whose batch normalisation needs all rows at once: "
            f"leave it out and take more ranks, or an encoder without batch statistics"
        )
    check_alike("the encoder's weights", list(encoder.state().values()), ranks)
    check_alike("the images", [images], ranks)
    check_alike("the generators' states", [np.frombuffer(repr(rng.bit_generator.state).encode(), np.uint8)], ranks)
