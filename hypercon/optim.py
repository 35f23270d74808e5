"""Optimisers that update parameters in place, and schedules for their rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypercon.autograd import Tensor
from hypercon.backend import Array, xp
from hypercon.errors import InputError

Schedule = Callable[[int], float]


class Optimizer:
    """Base of the optimisers: holds the parameters, the rate or its schedule, and the count of steps.

    Parameters
    ----------
    parameters : sequence of Tensor
        Leaves that need a gradient.
    rate : float or callable
        The learning rate, or a function from the step (0, 1, ...) to it, such as `cosine` gives.
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float | Schedule) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise InputError("the optimiser got no parameters, expected those of an encoder: encoder.parameters()")
        if not callable(rate) and not (math.isfinite(rate) and rate > 0):
            raise InputError(f"rate got {rate}, expected a positive number such as 1e-3, or a schedule")
        self.rate = rate
        self.steps = 0

    def step(self) -> None:
        """Update every parameter that has a gradient, then forget the gradients."""
        rate = self.rate(self.steps) if callable(self.rate) else self.rate
        self.steps += 1
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                self._update(i, parameter.data, parameter.grad.data, rate)
                parameter.grad = None

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _update")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    ``v <- momentum v + g``, ``x <- x - rate v``.

    Examples
    --------
    >>> import hypercon as hc
    >>> x = hc.tensor([1.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> SGD([x], rate=0.25).step()
    >>> x.data
    array([0.5])
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float | Schedule, *, momentum: float = 0.0) -> None:
        super().__init__(parameters, rate)
        if not 0 <= momentum < 1:
            raise InputError(f"momentum got {momentum}, expected 0 <= momentum < 1")
        self.momentum = momentum
        self._velocity = [xp(p.data).zeros_like(p.data) for p in self.parameters]

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        v = self._velocity[i]
        v *= self.momentum
        v += gradient
        data -= rate * v


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, Algorithm 1), with weight decay apart from the gradient (Loshchilov & Hutter 2019).

    Its step does not depend on the scale of the loss, so a sweep of the temperature is not also a sweep of the rate.

    Examples
    --------
    >>> import hypercon as hc
    >>> x = hc.tensor([1.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> Adam([x], rate=0.25).step()
    >>> x.data.round(6)
    array([0.75])
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        rate: float | Schedule,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, rate)
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"betas got {betas}, expected two numbers in [0, 1)")
        if not 0 <= weight_decay < math.inf:
            raise InputError(f"weight_decay got {weight_decay}, expected 0 or more")
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._mean = [xp(p.data).zeros_like(p.data) for p in self.parameters]
        self._square = [xp(p.data).zeros_like(p.data) for p in self.parameters]

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        beta1, beta2 = self.betas
        mean, square = self._mean[i], self._square[i]
        mean += (1 - beta1) * (gradient - mean)
        square += (1 - beta2) * (gradient * gradient - square)
        unbiased = mean / (1 - beta1**self.steps)
        scale = xp(square).sqrt(square / (1 - beta2**self.steps))
        if self.weight_decay:
            data -= rate * self.weight_decay * data
        data -= rate * unbiased / (scale + self.eps)


def cosine(rate: float, steps: int, *, warmup: int = 0) -> Schedule:
    """A rate that rises linearly over ``warmup`` steps and falls along half a cosine to 0 at ``steps``.

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of the whole training.
    warmup : int, default 0

    Returns
    -------
    callable
        From the step (0, 1, ...) to the rate.

    Examples
    --------
    >>> at = cosine(1.0, 100)
    >>> at(0), round(at(50), 6), round(at(100), 6)
    (1.0, 0.5, 0.0)
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"cosine got rate {rate}, expected a positive number such as 1e-3")
    if steps < 1 or not 0 <= warmup < steps:
        raise InputError(f"cosine got {steps} steps with {warmup} of warm-up, expected 0 <= warmup < steps")

    def at(step: int) -> float:
        if step < warmup:
            return rate * (step + 1) / warmup
        return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup))))

    return at
