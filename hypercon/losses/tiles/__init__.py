"""Losses in blocks, on the host: time without traffic, memory linear in the batch, gradients found on the way forward.

What a contrastive loss costs is not arithmetic but carrying an N x N matrix to memory and back, once for every step of
its formula. Here a block of similarities is made, exponentiated, summed and multiplied while it is in the cache, and is
then written over by the next. The loss is a scalar, so its gradient is found in the same sweep and the way back only
has to multiply.

    one_direction     anchors among candidates: InfoNCE, a queue's, and with the hardest negatives alone
    two_directions    the mean of both, from one exponential for each pair
    stacked_views     NT-Xent, from one exponential for each two pairs
    gaussian          uniformity, likewise
    hardest           the k nearest negatives of every anchor
    blocks            how a batch is divided, and which shift keeps exponentials within range
    scratch           working memory, kept from call to call

Each returns a `Found`. Blocks fall to threads in a fixed way and partial sums are added in a fixed order, so the same
number of threads gives the same bits.
"""

from typing import Any

import numpy as np

from hypercon.backend import xp
from hypercon.losses.tiles.blocks import Found
from hypercon.losses.tiles.gaussian import potential
from hypercon.losses.tiles.hardest import nearest
from hypercon.losses.tiles.one_direction import one_way
from hypercon.losses.tiles.stacked_views import stacked
from hypercon.losses.tiles.two_directions import both_ways

__all__ = ["Found", "both_ways", "nearest", "one_way", "potential", "serve", "stacked"]


def serve(array: Any) -> bool:
    """Whether blocks serve this array: NumPy's. On a GPU the plain formulas are as fast, and hold the whole matrix."""
    return xp(array) is np
