"""Batches whose activations do not fit: the encoder runs in chunks, and the loss still sees the whole batch.

A contrastive loss cannot be accumulated over small batches as a sum of squares can: its negatives are the other rows of
the batch. But it depends on images through their embeddings alone, which are small (Gao et al. 2021, GradCache):

    1. embed the batch chunk by chunk without recording       what is kept are embeddings, N x D
    2. the loss of all embeddings, and dL/dZ                  the cache
    3. embed each chunk again, recording, and sweep back      from its rows of dL/dZ
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from hypercon.autograd import Tensor, no_grad, tensor
from hypercon.backend import read, xp
from hypercon.errors import DtypeError, InputError
from hypercon.nn import BatchNorm, Module
from hypercon.validation import as_array, check_whole


def backward_in_chunks(encoder: Module, views: Sequence[Any], *, loss: Callable[..., Any], chunk_size: int) -> float:
    """The loss of a whole batch and its gradients, with the activations of one chunk in memory at a time.

    Parameters
    ----------
    encoder : Module
        Its parameters receive their gradients in ``grad``, as after ``backward()``.
    views : sequence of array, (N, ...) each
        What the encoder takes, such as two views of a batch of images.
    loss : callable
        Takes the embeddings of every view, (N, D) each, and returns a scalar tensor. Its own parameters, such as a
        `LearnedTemperature`'s, receive gradients too.
    chunk_size : int
        Rows that go through the encoder at a time. It decides time and memory: one more forward pass than usual, and
        the activations of so many rows instead of all.

    Returns
    -------
    float
        The loss. With an encoder that treats every row by itself, loss and gradients are those of the whole batch at
        once, up to rounding.

    Raises
    ------
    InputError, DtypeError
        The encoder is no module, the views are no arrays or are empty, the chunk size is no whole number from 1, or the
        loss gives no scalar tensor.

    Warns
    -----
    UserWarning
        The encoder has a `BatchNorm` in training mode, which then normalises every chunk by the chunk's own statistics.

    Notes
    -----
    Batch normalisation ties the rows of a batch together, and a chunk holds only some of them. What is computed is then
    the exact gradient of another function: the encoder that normalises in chunks. Small chunks make its statistics
    noisy, and two views in different chunks are normalised differently. Running statistics are updated once for each
    chunk. To have the whole batch's result: layer normalisation, batch normalisation in evaluation mode (its statistics
    are constants then), or the batch spread over ranks (`hypercon.distributed`), which share their statistics.

    References
    ----------
    Gao, Zhang, Han & Callan 2021, *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*, arXiv
    2101.06983.

    Examples
    --------
    >>> import hypercon as hc
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> encoder = hc.nn.Sequential(hc.nn.Linear(8, 4, rng=rng), hc.nn.Normalize())
    >>> view1, view2 = rng.random((2, 100, 8), dtype=np.float32)
    >>> def loss(z1, z2):
    ...     return hc.info_nce(z1, z2, temperature=0.2)
    >>> value = backward_in_chunks(encoder, [view1, view2], loss=loss, chunk_size=16)
    >>> encoder.parameters()[0].grad.shape, abs(value - float(loss(*map(encoder, (view1, view2))))) < 1e-5
    ((8, 4), True)
    """
    if not isinstance(encoder, Module):
        raise DtypeError(f"encoder got {type(encoder).__name__}, expected one such as hypercon.nn.mlp(...)")
    rows = [_checked(view, f"views[{i}]") for i, view in enumerate(views)]
    if not rows:
        raise InputError("views got none, expected the arrays that the encoder takes, such as [view1, view2]")
    chunk_size = check_whole(chunk_size, "chunk_size", least=1)
    _warn_of_batch_norm(encoder)

    with no_grad():
        before = _statistics(encoder)
        cached = [
            _joined([encoder(tensor(part, device=encoder.device)) for part in _chunks(x, chunk_size)]) for x in rows
        ]
    for array, values in before:
        array[...] = values  # the second pass counts every chunk's statistics, and once is enough
    embeddings = [Tensor(z, requires_grad=True) for z in cached]
    value = check_scalar_loss(loss(*embeddings))
    value.backward()
    for x, z in zip(rows, embeddings, strict=True):
        if z.grad is None:
            continue  # the loss does not depend on this view
        for start, part in zip(range(0, len(x), chunk_size), _chunks(x, chunk_size), strict=True):
            again = _embedded(encoder, part)
            if again.requires_grad:
                again.backward(z.grad.data[start : start + chunk_size])
    return float(read(value.data))


def batch_norms(encoder: Module) -> list[str]:
    """The paths of those layers that would normalise by the statistics of the rows they are given."""
    return [path for path, module in encoder.modules() if isinstance(module, BatchNorm) and module.training]


def check_scalar_loss(value: Any) -> Tensor:
    """What a loss gave, once it is sure that it can be differentiated."""
    if not isinstance(value, Tensor) or value.shape != ():
        shown = f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
        raise DtypeError(f"loss gave {shown}, expected a scalar tensor, made by hypercon's functions from both views")
    return value


def _checked(view: Any, name: str) -> Any:
    array = view.data if isinstance(view, Tensor) else as_array(view, name)
    if array.dtype.kind != "f":
        raise DtypeError(f"{name} got {array.dtype}, expected floats such as images in [0, 1]")
    if array.ndim < 2 or not len(array):
        raise InputError(f"{name} got shape {array.shape}, expected (N, ...) with at least one row")
    return array


def _warn_of_batch_norm(encoder: Module) -> None:
    if found := batch_norms(encoder):
        warnings.warn(
            f"the encoder has {len(found)} BatchNorm layer(s) in training mode, {found[0]} first: each chunk is "
            f"normalised by its own statistics, so the result is not the whole batch's; use evaluation mode, an "
            f"encoder without batch statistics, or hypercon.distributed",
            UserWarning,
            stacklevel=3,
        )


def _statistics(encoder: Module) -> list[tuple[Any, Any]]:
    """Every buffer of the encoder, and a copy of what it holds now."""
    buffers = [getattr(module, name) for _, module in encoder.modules() for name in module.buffers]
    return [(buffer, xp(buffer).array(buffer, copy=True)) for buffer in buffers]


def _chunks(rows: Any, size: int) -> list[Any]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _embedded(encoder: Module, rows: Any) -> Tensor:
    return encoder(tensor(rows, device=encoder.device))


def _joined(parts: list[Tensor]) -> Any:
    arrays = [part.data for part in parts]
    return xp(*arrays).concatenate(arrays)
