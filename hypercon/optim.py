"""Optimisers that update parameters in place, and schedules for their rate.

An update is written as operators that change an array, with one more array to work in: a step makes none of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hypercon import memory
from hypercon.autograd import Tensor
from hypercon.backend import Array, is_array, to_device, to_host, xp
from hypercon.errors import DeviceError, DtypeError, InputError
from hypercon.validation import check_number, check_positive, check_whole

Schedule = Callable[[int], float]


class Optimizer:
    """Base of the optimisers: holds the parameters, the rate or its schedule, and the count of steps.

    A subclass defines ``_update``, and names in ``averages`` the lists of arrays, one for each parameter, that a step
    leaves for the next.

    Parameters
    ----------
    parameters : sequence of Tensor
        Leaves that need a gradient.
    rate : float or callable
        The learning rate, or a function from the step (0, 1, ...) to it, such as `cosine` gives.

    Raises
    ------
    InputError, DtypeError
        The parameters are no leaves that need a gradient, each once, or the rate is not positive.
    DeviceError
        At a step: a parameter was moved after the optimiser was made, which keeps its averages where it lay.
    """

    averages: tuple[str, ...] = ()

    def __init__(self, parameters: Sequence[Tensor], rate: float | Schedule) -> None:
        self.parameters = _checked_parameters(parameters)
        self.rate = rate if callable(rate) and not isinstance(rate, type) else check_positive(rate, "rate", "1e-3")
        self.steps = 0
        self._devices = tuple(parameter.device for parameter in self.parameters)

    def step(self) -> None:
        """Update every parameter that has a gradient, then forget the gradients."""
        self.check_devices()
        rate = self.rate_at(self.steps)
        self.steps += 1
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                self._update(i, parameter.data, parameter.grad.data, rate)
                parameter.grad = None

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0.

        Raises
        ------
        InputError, DtypeError
            The schedule gives no number of 0 or more.
        """
        if not callable(self.rate):
            return self.rate
        rate = float(check_number(self.rate(step), f"the schedule's rate at step {step}"))
        if rate < 0:
            raise InputError(f"the schedule's rate at step {step} got {rate:g}, expected 0 or more")
        return rate

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the count of steps and of all averages, on the host: what a step needs beside the parameters."""
        arrays = {"steps": np.array(self.steps)}
        for name in self.averages:
            for i, average in enumerate(getattr(self, name)):
                arrays[f"{name.strip('_')}.{i}"] = np.array(to_host(average))
        return arrays

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave.

        Raises
        ------
        InputError
            It is that of another optimiser, or of one over other parameters; nothing is changed then.
        """
        mine = self.state()
        if mine.keys() != state.keys():
            raise InputError(f"load_state got {', '.join(state) or 'nothing'}, expected {', '.join(mine)}")
        for name, value in mine.items():
            if state[name].shape != value.shape or state[name].dtype != value.dtype:
                theirs = f"{state[name].dtype} {state[name].shape}"
                raise InputError(f"load_state: {name!r} has {theirs}, expected {value.dtype} {value.shape}")
        self.steps = int(state["steps"])
        for name in self.averages:
            for i, average in enumerate(getattr(self, name)):
                average[...] = to_device(state[f"{name.strip('_')}.{i}"], self._devices[i])

    def check_devices(self) -> None:
        """Refuse to go on after a parameter was moved to another device."""
        for parameter, device in zip(self.parameters, self._devices, strict=True):
            if parameter.device != device:
                raise DeviceError(
                    f"a parameter lies on {parameter.device}, and the optimiser was made when it lay on {device}: "
                    f"move the encoder first, then make its optimiser"
                )

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

    averages = ("_velocity",)

    def __init__(self, parameters: Sequence[Tensor], rate: float | Schedule, *, momentum: float = 0.0) -> None:
        super().__init__(parameters, rate)
        self.momentum = _check_momentum(momentum)
        self._velocity = [xp(p.data).zeros_like(p.data) for p in self.parameters]

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        v, room = self._velocity[i], memory.like(data)
        v *= self.momentum
        v += gradient
        room[...] = v
        room *= rate
        data -= room


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

    averages = ("_mean", "_square")

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
        if not isinstance(betas, list | tuple) or len(betas) != 2:
            raise DtypeError(f"betas got {betas!r}, expected two numbers such as (0.9, 0.999)")
        beta1, beta2 = (float(check_number(beta, "betas")) for beta in betas)
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise InputError(f"betas got {betas}, expected two numbers in [0, 1)")
        self.betas = beta1, beta2
        self.eps = check_positive(eps, "eps", "1e-8")
        self.weight_decay = _check_decay(weight_decay)
        self._mean = [xp(p.data).zeros_like(p.data) for p in self.parameters]
        self._square = [xp(p.data).zeros_like(p.data) for p in self.parameters]

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        beta1, beta2 = self.betas
        mean, square = self._mean[i], self._square[i]
        room = memory.like(data)
        room[...] = gradient
        room -= mean
        room *= 1 - beta1
        mean += room
        room[...] = gradient
        room *= gradient
        room -= square
        room *= 1 - beta2
        square += room
        if self.weight_decay:
            data *= 1 - rate * self.weight_decay
        # mean / (sqrt(square) + eps), both unbiased
        room[...] = square
        room /= 1 - beta2**self.steps
        room **= 0.5
        room += self.eps
        room **= -1
        room *= mean
        room *= rate / (1 - beta1**self.steps)
        data -= room


class LARS(Optimizer):
    """Layer-wise adaptive rates for large batches (You et al. 2017, Algorithm 1), as SimCLR is trained.

    ``v <- momentum v + rate trust |x| / (|g| + decay |x|) (g + decay x)``, ``x <- x - v``: a layer moves by a share of
    its own length, however long its gradient is. Scales, shifts and biases (parameters of one axis, or none) move as
    under `SGD`, without decay (Chen et al. 2020, B.9).

    Parameters
    ----------
    parameters : sequence of Tensor
    rate : float or callable
    momentum : float, default 0.9
    weight_decay : float, default 0
    trust : float, default 1e-3
        The share, before the rate.

    Raises
    ------
    InputError, DtypeError
        As `Optimizer`, or a number is out of its range.

    Examples
    --------
    >>> import hypercon as hc
    >>> x = hc.tensor([[3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> LARS([x], rate=1.0, trust=0.1).step()
    >>> x.data
    array([[2.7, 3.6]])
    """

    averages = ("_velocity",)

    def __init__(
        self,
        parameters: Sequence[Tensor],
        rate: float | Schedule,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        super().__init__(parameters, rate)
        self.momentum = _check_momentum(momentum)
        self.weight_decay = _check_decay(weight_decay)
        self.trust = check_positive(trust, "trust", "1e-3")
        self._velocity = [xp(p.data).zeros_like(p.data) for p in self.parameters]

    def _update(self, i: int, data: Array, gradient: Array, rate: float) -> None:
        v, room, m = self._velocity[i], memory.like(data), xp(data)
        if len(data.shape) > 1:
            length, slope = (m.sqrt(m.einsum("i,i->", x, x)) for x in (data.reshape(-1), gradient.reshape(-1)))
            pace = self.trust * length / m.maximum(slope + self.weight_decay * length, float(np.finfo(data.dtype).tiny))
            room[...] = data
            room *= self.weight_decay
            room += gradient
            # a layer of zeros has no length to move by, and one without a slope no need: they move as under SGD
            room *= m.where((length > 0) & (slope > 0), pace, 1.0)
        else:
            room[...] = gradient
        room *= rate
        v *= self.momentum
        v += room
        data -= v


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

    Raises
    ------
    InputError, DtypeError
        The rate is not positive, or not ``0 <= warmup < steps``.

    Examples
    --------
    >>> at = cosine(1.0, 100)
    >>> at(0), round(at(50), 6), round(at(100), 6)
    (1.0, 0.5, 0.0)
    """
    rate = check_positive(rate, "rate", "1e-3")
    steps, warmup = check_whole(steps, "steps", least=1), check_whole(warmup, "warmup", least=0)
    if warmup >= steps:
        raise InputError(f"cosine got {steps} steps with {warmup} of warm-up, expected 0 <= warmup < steps")

    def at(step: int) -> float:
        if step < warmup:
            return rate * (step + 1) / warmup
        return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup))))

    return at


def warmup(rate: float | Schedule, steps: int) -> Schedule:
    """A rate, or a schedule, that is reached over the first ``steps`` in equal stairs.

    ``min(1, (step + 1) / steps)`` times the rate: a large batch needs a large rate, and at the start it would diverge
    (Goyal et al. 2017, section 2.2).

    Parameters
    ----------
    rate : float or callable
        From where the stairs end; a callable takes the step.
    steps : int
        How many stairs.

    Returns
    -------
    callable
        From the step (0, 1, ...) to the rate.

    Raises
    ------
    InputError, DtypeError
        The rate is not positive, or ``steps`` is no whole number from 1.

    Examples
    --------
    >>> at = warmup(1.0, 4)
    >>> [at(step) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    then = rate if callable(rate) and not isinstance(rate, type) else check_positive(rate, "rate", "1e-3")
    steps = check_whole(steps, "steps", least=1)

    def at(step: int) -> float:
        reached = then(step) if callable(then) else then
        return reached * min(1.0, (step + 1) / steps)

    return at


def _check_momentum(momentum: Any) -> float:
    if not 0 <= check_number(momentum, "momentum") < 1:
        raise InputError(f"momentum got {momentum}, expected 0 <= momentum < 1")
    return float(momentum)


def _check_decay(weight_decay: Any) -> float:
    if check_number(weight_decay, "weight_decay") < 0:
        raise InputError(f"weight_decay got {weight_decay}, expected 0 or more")
    return float(weight_decay)


def _checked_parameters(parameters: Any) -> list[Tensor]:
    """Leaves, each once, of which at least one needs a gradient."""
    if hasattr(parameters, "parameters"):
        name = type(parameters).__name__
        raise DtypeError(f"parameters got {name}, expected its tensors: {name.lower()}.parameters()")
    if isinstance(parameters, Tensor):
        raise DtypeError("parameters got one Tensor, expected several, or a list of one: [tensor]")
    if not isinstance(parameters, Iterable) or is_array(parameters):
        raise DtypeError(f"parameters got {type(parameters).__name__}, expected those of encoder.parameters()")
    checked = list(parameters)
    if not checked:
        raise InputError("the optimiser got no parameters, expected those of an encoder: encoder.parameters()")
    for i, parameter in enumerate(checked):
        if not isinstance(parameter, Tensor):
            raise DtypeError(f"parameter {i} got {type(parameter).__name__}, expected a Tensor that needs a gradient")
        if parameter.primitive is not None:
            raise InputError(
                f"parameter {i} was computed by {parameter.primitive.name}, expected a leaf: "
                f"hypercon.tensor(data, requires_grad=True)"
            )
    if len({id(parameter) for parameter in checked}) < len(checked):
        raise InputError("parameters hold the same tensor twice, expected each once: it would be updated twice a step")
    if not any(parameter.requires_grad for parameter in checked):
        raise InputError("no parameter needs a gradient: make them with requires_grad=True")
    return checked
