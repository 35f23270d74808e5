"""Batch normalisation over ranks: the global batch's mean and variance, and the gradient through them.

Both directions need one message. Forward, each rank tells the count, mean and sum of squared deviations of its rows,
which merge without cancellation (Chan et al. 1983). Backward, the two sums over the batch that batch normalisation
projects out of a cotangent are sums over all ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hypercon.autograd import primitive
from hypercon.autograd.normalization import channel_moments
from hypercon.autograd.ops import raw
from hypercon.backend import Array, read, xp
from hypercon.distributed.ranks import Ranks
from hypercon.errors import GraphError
from hypercon.nn import BatchNorm, Module


@contextmanager
def synchronised(encoder: Module, ranks: Ranks) -> Iterator[Module]:
    """Let the batch normalisation of an encoder see the rows of all ranks until the block ends.

    Its layers are replaced by ones with the same parameters and running statistics, and put back. Inside, all ranks
    run the encoder equally often, each on at least one row.

    Parameters
    ----------
    encoder : Module
    ranks : Ranks

    Yields
    ------
    Module
        The encoder.

    Examples
    --------
    >>> import hypercon as hc
    >>> from hypercon.distributed import run_in_threads
    >>> def on_a_rank(ranks):
    ...     net = hc.nn.Sequential(hc.nn.BatchNorm(1, affine=False, eps=0.0))
    ...     with synchronised(net, ranks):
    ...         return net(hc.tensor([[float(ranks.rank)]])).item()
    >>> run_in_threads(2, on_a_rank)  # the mean of 0 and 1 is 0.5, and so is their deviation
    [-1.0, 1.0]
    """
    replaced = [part for _, module in encoder.modules() for part in _places(module)] if ranks.size > 1 else []
    for holder, key, layer in replaced:
        holder[key] = SyncedBatchNorm(layer, ranks)
    try:
        yield encoder
    finally:
        for holder, key, layer in replaced:
            layer.training = holder[key].training
            holder[key] = layer


def _places(module: Module) -> Iterator[tuple[Any, Any, BatchNorm]]:
    """Where the batch normalisations among a module's own parts stand: in its attributes, or in a list of them."""
    for name, value in vars(module).items():
        if type(value) is BatchNorm:
            yield vars(module), name, value
        elif isinstance(value, list):
            yield from ((value, i, part) for i, part in enumerate(value) if type(part) is BatchNorm)


class SyncedBatchNorm(BatchNorm):
    """A `BatchNorm` that normalises by the statistics of all ranks' rows; parameters and buffers are the layer's."""

    def __init__(self, layer: BatchNorm, ranks: Ranks) -> None:
        vars(self).update(vars(layer))
        self.ranks = ranks

    def __call__(self, x: Any) -> Any:
        if not self.training:
            return super().__call__(x)
        mean, var, count = global_moments(raw(x), self.ranks)
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (var * (count / max(count - 1, 1)) - self.running_var)
        scale = 1.0 if self.scale is None else self.scale
        shift = 0.0 if self.shift is None else self.shift
        return _batch_norm(x, scale, shift, eps=self.eps, moments=(mean, var), count=count, ranks=self.ranks)


def global_moments(x: Array, ranks: Ranks) -> tuple[Array, Array, int]:
    """Mean and variance of each channel over all ranks' (N, C, ...) arrays, and how many numbers a channel has."""
    m, channels = xp(x), x.shape[1]
    own_mean, own_var = (moment.astype(np.float64) for moment in channel_moments(x))
    own_count = x.size // channels
    mine = m.concatenate([m.ones(1, np.float64) * own_count, own_mean, own_var * own_count])
    told = m.concatenate(ranks.gather(mine[None], [1] * ranks.size))
    counts, means, squares = told[:, :1], told[:, 1 : channels + 1], told[:, channels + 1 :]
    total = counts.sum(axis=0)
    mean = (counts * means).sum(axis=0) / total
    var = (squares + counts * (means - mean) ** 2).sum(axis=0) / total
    return mean.astype(x.dtype), var.astype(x.dtype), int(read(total))


def _rule(
    g: Any, out: Any, saved: Any, x: Any, gamma: Any, beta: Any, *, eps: float, moments: Any, count: int, ranks: Ranks
) -> tuple[Any, Any, Any]:
    """What `batch_norm` projects out of a cotangent are means over all ranks; scale and shift get this rank's part."""
    if saved is None:
        raise GraphError("batch normalisation over ranks has no second derivative: compute it in one process")
    standard, scale = saved
    axes, shape = (0, *range(2, len(x.shape))), _per_channel(x)
    own = xp(g).concatenate([g.sum(axis=axes)[None], (g * standard).sum(axis=axes)[None]])
    sums = ranks.sum(own) / count
    projected = g - sums[0].reshape(shape) - standard * sums[1].reshape(shape)
    gain = scale * gamma if isinstance(gamma, float) else scale * gamma.reshape(shape)
    return projected * gain, own[1], own[0]


@primitive(fused=_rule)
def _batch_norm(
    x: Any, gamma: Any, beta: Any, *, eps: float, moments: Any, count: int, ranks: Ranks
) -> tuple[Any, Any]:
    shape = _per_channel(x)
    mean, var = (moment.reshape(shape) for moment in moments)
    scale = (var + eps) ** -0.5
    standard = (x - mean) * scale
    out = standard if isinstance(gamma, float) else standard * gamma.reshape(shape)
    if not isinstance(beta, float):
        out = out + beta.reshape(shape)
    return out, (standard, scale)


def _per_channel(x: Any) -> tuple[int, ...]:
    return (1, -1, *([1] * (len(x.shape) - 2)))
