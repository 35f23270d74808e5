"""The momentum encoder: a slow copy that makes the keys of a queue."""

from __future__ import annotations

import copy
from typing import Any

from hypercon.autograd import no_grad
from hypercon.errors import InputError
from hypercon.nn.layers import Module
from hypercon.validation import check_number


class MomentumEncoder:
    """A copy of an encoder whose weights follow it slowly, without being trained themselves.

    ``theta_k <- m theta_k + (1 - m) theta_q`` (He et al. 2020, eq. 2). Keys made over many steps then lie in nearly one
    space, which is what lets a queue of them serve as negatives. Running statistics are its own, from the views that it
    sees.

    Parameters
    ----------
    encoder : Module
        The encoder that is trained.
    momentum : float, default 0.999
        m, from 0 (always equal to the encoder) to below 1.

    Raises
    ------
    InputError, DtypeError
        The momentum is not a number from 0 to below 1.

    Examples
    --------
    One step of MoCo on random images:

    >>> import hypercon as hc
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> encoder = hc.nn.mlp((1, 8, 8), rng=rng)
    >>> keys_of = MomentumEncoder(encoder, 0.99)
    >>> queue = hc.losses.Queue(512, 64, rng=rng)
    >>> optimizer = hc.optim.Adam(encoder.parameters(), 1e-3)
    >>> view1, view2 = rng.random((2, 32, 1, 8, 8), dtype=np.float32)
    >>> keys = keys_of(hc.tensor(view2))
    >>> hc.losses.queue_info_nce(encoder(hc.tensor(view1)), keys, queue, temperature=0.2).backward()
    >>> optimizer.step()
    >>> keys_of.follow()
    >>> queue.push(keys)
    """

    def __init__(self, encoder: Module, momentum: float = 0.999) -> None:
        self.momentum = float(check_number(momentum, "momentum"))
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum got {momentum:g}, expected a number from 0 to below 1, such as 0.999")
        self.encoder = encoder
        self.slow = copy.deepcopy(encoder)

    def __call__(self, x: Any) -> Any:
        """The copy's output, in its training mode and without recording."""
        with no_grad():
            return self.slow(x)

    def follow(self) -> None:
        """Move every weight of the copy towards the encoder's. Called once after each step of the optimiser."""
        for slow, fast in zip(self.slow.parameters(), self.encoder.parameters(), strict=True):
            slow.data *= self.momentum
            slow.data += (1 - self.momentum) * fast.data

    def __repr__(self) -> str:
        return f"MomentumEncoder({type(self.encoder).__name__}, momentum={self.momentum:g})"
