"""InfoNCE against a queue: negatives from earlier batches, so that their number is not tied to the batch's (MoCo)."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.autograd.ops import raw
from hypercon.backend import Array, device_of, to_device, to_host
from hypercon.errors import InputError
from hypercon.losses.common import onto_sphere, plain, wants_gradient
from hypercon.losses.infonce import info_nce_beside
from hypercon.temperature import check_temperatures
from hypercon.validation import check_embeddings, check_flag, check_generator, check_memory, check_whole


class Queue:
    """The keys of the last batches, the oldest replaced first (He et al. 2020, section 3.2).

    Parameters
    ----------
    size : int
        K, how many keys are kept: 65,536 in the paper, 4,096 in Wang & Liu's hard negatives.
    dim : int
        D, the number of dimensions of an embedding.
    rng : numpy.random.Generator
        Draws the random directions that the queue holds at first, so that the number of negatives never changes.
    dtype : {"float32", "float64"}
    device : str, default "cpu"

    Attributes
    ----------
    keys : array, (K, D)
        On the unit sphere, in no particular order.

    Raises
    ------
    InputError, DtypeError
        The size or the dimension is not a whole number from 1.

    Examples
    --------
    >>> queue = Queue(4, 2, rng=np.random.default_rng(0))
    >>> queue.push(np.array([[3.0, 4.0], [0.0, 2.0]]))
    >>> queue.keys[:2].round(2)
    array([[0.6, 0.8],
           [0. , 1. ]], dtype=float32)
    """

    def __init__(
        self, size: int, dim: int, *, rng: np.random.Generator, dtype: Any = "float32", device: str = "cpu"
    ) -> None:
        size, dim = check_whole(size, "size", least=1), check_whole(dim, "dim", least=1)
        directions = onto_sphere(check_generator(rng).standard_normal((size, dim)))
        self.keys: Array = to_device(directions.astype(dtype), device)
        self._next = 0

    def push(self, keys: Any) -> None:
        """Put the keys of a batch in the place of the oldest.

        Parameters
        ----------
        keys : array_like or Tensor, (N, D)
            Rows are put onto the sphere. Of more than K only the last K stay.

        Raises
        ------
        InputError, DtypeError
            They are not (N, D) with finite, non-zero rows, or lie on another device.
        """
        found = raw(check_embeddings(keys, "keys", least=1))
        size, dim = self.keys.shape
        if found.shape[1] != dim:
            raise InputError(f"keys got {found.shape[1]} dimensions, expected {dim}, those of the queue")
        newest = onto_sphere(found[-size:]).astype(self.keys.dtype)
        at = (self._next + np.arange(len(newest))) % size
        self.keys[to_device(at, device_of(self.keys))] = newest
        self._next = int((self._next + len(newest)) % size)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        size, dim = self.keys.shape
        return f"Queue({size} keys of {dim} dimensions on {device_of(self.keys)})"

    def state(self) -> dict[str, np.ndarray]:
        """The keys and which of them is replaced next, as arrays on the host."""
        return {"keys": np.array(to_host(self.keys)), "next": np.array(self._next)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave.

        Raises
        ------
        InputError
            The state is that of a queue of another shape.
        """
        if state["keys"].shape != self.keys.shape:
            raise InputError(f"load_state got keys {state['keys'].shape}, expected {self.keys.shape}")
        self.keys[...] = to_device(state["keys"].astype(self.keys.dtype), device_of(self.keys))
        self._next = int(state["next"])


def queue_info_nce(
    z1: Any, z2: Any, queue: Any, *, temperature: Any, normalize: bool = True, memory: Any = "auto"
) -> Any:
    """InfoNCE with the keys of a queue as negatives, MoCo's loss: row i of ``z1`` looks for row i of ``z2`` among the
    queue.

    ``mean_i -log( e^{s_i+ / tau} / (e^{s_i+ / tau} + sum_k e^{s_ik / tau}) )`` with ``s_i+`` the similarity of
    ``z1_i`` and ``z2_i``, and ``s_ik`` that of ``z1_i`` and the k-th key of the queue (He et al. 2020, eq. 1). The
    other rows of ``z2`` are no negatives, and no gradient reaches ``z2`` or the queue: keys come from a
    `hypercon.nn.MomentumEncoder`.

    Parameters
    ----------
    z1 : array_like or Tensor, (N, D)
        Queries: embeddings of one view, by the encoder that is trained.
    z2 : array_like or Tensor, (N, D)
        Keys of the other view; row i of both is the same instance.
    queue : Queue or array_like, (K, D)
        The negatives. They are pushed onto the queue by the caller, after the loss.
    temperature : float, Tensor, (N,) array or temperature object
        tau > 0; a vector has one for each query. The paper takes 0.07.
    normalize : bool, default True
        Put queries and keys onto the unit sphere first; the keys of a `Queue` are there already.
    memory : "auto" or int, default "auto"
        As `hypercon.info_nce`.

    Returns
    -------
    float or Tensor
        At least 0; ``log(K + 1)`` when all embeddings coincide. A tensor if ``z1`` or the temperature is one.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`, but one query is enough; or the queue has other dimensions.

    Examples
    --------
    >>> round(queue_info_nce(np.eye(3), np.eye(3), -np.eye(3), temperature=1.0), 4)  # log(1 + (2 + e^-1) / e)
    0.6265
    """
    on_sphere = check_flag(normalize, "normalize")
    u, positives, negatives = (
        check_embeddings(z, name, directions=on_sphere, least=1)
        for z, name in ((z1, "z1"), (z2, "z2"), (queue.keys if isinstance(queue, Queue) else queue, "queue"))
    )
    if u.shape != positives.shape:
        raise InputError(
            f"z1 and z2 got shapes {u.shape} and {positives.shape}, expected one shape: row i of both is one instance"
        )
    if negatives.shape[1] != u.shape[1]:
        raise InputError(f"queue got {negatives.shape[1]} dimensions, expected {u.shape[1]}, those of z1")
    if on_sphere:
        u, positives, negatives = onto_sphere(u), onto_sphere(positives), onto_sphere(negatives)
    tau, memory = check_temperatures(temperature, u), check_memory(memory)
    positives, negatives = raw(positives), raw(negatives)
    gradient = wants_gradient(u, tau)
    return plain(info_nce_beside(u, positives, negatives, tau, gradient=gradient, fixed=True, memory=memory))
