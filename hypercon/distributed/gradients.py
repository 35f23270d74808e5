"""Whose images are whose, and the one sum that makes a step over ranks that of the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hypercon.autograd import Tensor
from hypercon.backend import to_host, xp
from hypercon.distributed.ranks import Ranks, even
from hypercon.errors import InputError, TrainingError
from hypercon.validation import check_whole


def share(count: int, ranks: Ranks) -> slice:
    """Which of ``count`` rows are this rank's: a stretch of them, as long as the others' or one longer.

    Parameters
    ----------
    count : int
        Rows of the global batch, at least one for each rank.
    ranks : Ranks

    Returns
    -------
    slice

    Raises
    ------
    InputError
        There are fewer rows than ranks.

    Examples
    --------
    >>> from hypercon.distributed import run_in_threads
    >>> run_in_threads(3, lambda ranks: share(8, ranks))
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """
    count = check_whole(count, "count", least=1)
    if count < ranks.size:
        raise InputError(
            f"a batch of {count} cannot be shared by {ranks.size} ranks: take a larger batch or fewer ranks"
        )
    rows = even(count, ranks.size)
    start = sum(rows[: ranks.rank])
    return slice(start, start + rows[ranks.rank])


def sum_gradients(parameters: Sequence[Tensor], ranks: Ranks) -> None:
    """Replace every parameter's ``grad`` by its sum over ranks. All gradients go in one message.

    A sum and no mean: a loss of `hypercon.distributed` is one number for all ranks, and each rank's gradient is the
    part of its derivative that goes through the rank's own rows.

    Parameters
    ----------
    parameters : sequence of Tensor
        The same on all ranks, in the same order. One without a gradient is left out, on all ranks.
    ranks : Ranks

    Examples
    --------
    >>> import hypercon as hc
    >>> from hypercon.distributed import run_in_threads
    >>> def on_a_rank(ranks):
    ...     x = hc.tensor(2.0, requires_grad=True)
    ...     (x * ranks.rank).backward()
    ...     sum_gradients([x], ranks)
    ...     return float(x.grad)
    >>> run_in_threads(3, on_a_rank)
    [3.0, 3.0, 3.0]
    """
    if ranks.size == 1:
        return
    held: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            held.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in held.values():
        m = xp(gradients[0].data)
        total = ranks.sum(m.concatenate([g.data.reshape(-1) for g in gradients]))
        for gradient, part in zip(gradients, ranks.parts(total, [g.size for g in gradients]), strict=True):
            gradient.data = part.reshape(gradient.shape)


def check_alike(what: str, arrays: Sequence[Any], ranks: Ranks) -> None:
    """Refuse to go on where ranks hold different values of what must be the same on all, such as weights.

    Ranks that began alike and add the same sums stay alike to the last bit; another start, other data or another
    library on one machine would otherwise train W different encoders without a word.

    Parameters
    ----------
    what : str
        Begins the error.
    arrays : sequence of array
    ranks : Ranks

    Raises
    ------
    TrainingError
        They differ.
    """
    import hashlib  # when ranks begin: it takes a while to load

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(to_host(array)).data)
    mine = np.frombuffer(digest.digest(), np.uint8)[None]
    told = ranks.gather(mine, [1] * ranks.size)
    others = [rank for rank, theirs in enumerate(told) if (theirs != told[0]).any()]
    if others:
        raise TrainingError(
            f"{what} differ between rank 0 and rank {others[0]}: start every rank with the same seed, data and version"
        )
