"""The temperature: a number, a tensor, one for each instance, or an object whose value changes during training.

Every loss that takes a ``temperature`` takes all of these. `check_temperature` and `check_temperatures` are where a
loss gets the number of the moment from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, clip, exp, reshape, tensor
from hypercon.backend import device_of, is_array, read, to_device, to_host, xp
from hypercon.errors import DtypeError, InputError
from hypercon.validation import as_array, check_positive, check_whole


class Temperature:
    """Base of temperatures that change. A subclass defines ``__call__``, which returns the temperature of the moment.

    Examples
    --------
    >>> import hypercon as hc
    >>> import numpy as np
    >>> class Halving(Temperature):
    ...     now = 1.0
    ...     def __call__(self):
    ...         self.now /= 2
    ...         return self.now
    >>> hc.info_nce(np.eye(3), np.eye(3), temperature=Halving()) == hc.info_nce(np.eye(3), np.eye(3), temperature=0.5)
    True
    """

    def __call__(self) -> float | Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self)")

    @property
    def value(self) -> float:
        """The temperature of the moment, as a plain number."""
        return float(self())

    def step(self) -> None:
        """Go on by one step of training. `hypercon.fit` calls it; here it does nothing."""

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps of it: here every attribute that is a number or a tensor. A temperature that depends
        on more defines its own, and `load_state`."""
        held = {name: value.data if isinstance(value, Tensor) else value for name, value in vars(self).items()}
        return {
            name: np.array(to_host(value) if is_array(value) else value)
            for name, value in held.items()
            if is_array(value) or isinstance(value, bool | int | float)
        }

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        for name, value in state.items():
            mine: Any = getattr(self, name, None)
            if isinstance(mine, Tensor):
                mine.data[...] = to_device(value.astype(mine.dtype), mine.device)
            elif is_array(mine):
                mine[...] = to_device(value.astype(mine.dtype), device_of(mine))
            elif isinstance(mine, bool | int | float):
                setattr(self, name, type(mine)(value.item()))
            else:
                raise InputError(f"load_state: {name!r} is neither a number nor a tensor of {type(self).__name__}")


class LearnedTemperature(Temperature):
    """A temperature that is trained like a weight, as in CLIP.

    What is trained is the logarithm of the scale ``1 / tau``, so that a step changes tau by a share of itself
    (Radford et al. 2021, section 2.5). Its gradient is ``(E_P[s] - s_ii) / tau``: it has an equilibrium where the
    positive's similarity is the mean under the softmax, and falls for ever once the positives lead. So the temperature
    is held within bounds: a value that a step has moved out of them is put back onto the bound when it is next used.

    Parameters
    ----------
    initial : float, default 0.07
        The temperature at the start.
    lowest, highest : float, default 0.01 and 100
        The bounds. CLIP's own is the lower one: similarities are never multiplied by more than 100.
    dtype : {"float32", "float64"}
        That of the embeddings it will be used with.

    Raises
    ------
    InputError, DtypeError
        A number is not positive, or they are not in order.

    Examples
    --------
    >>> import hypercon as hc
    >>> import numpy as np
    >>> temperature = LearnedTemperature(0.5, dtype="float64")
    >>> z1, z2 = np.eye(3), np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.2], [0.2, 0.0, 1.0]])
    >>> optimizer = hc.optim.SGD(temperature.parameters(), rate=1.0)
    >>> hc.info_nce(z1, z2, temperature=temperature).backward()
    >>> optimizer.step()
    >>> round(temperature.value, 4)  # the positives lead, so it falls
    0.3198
    """

    def __init__(
        self, initial: float = 0.07, *, lowest: float = 0.01, highest: float = 100.0, dtype: Any = "float32"
    ) -> None:
        initial = check_positive(initial, "initial", "0.07")
        self.lowest = check_positive(lowest, "lowest", "0.01")
        self.highest = check_positive(highest, "highest", "100")
        if not self.lowest <= initial <= self.highest:
            raise InputError(f"initial got {initial:g}, expected a temperature from {lowest:g} to {highest:g}")
        self.log_scale: Tensor = tensor(-math.log(initial), dtype=dtype, requires_grad=True)

    def parameters(self) -> list[Tensor]:
        """The trained logarithm, to be given to an optimiser beside the encoder's parameters."""
        return [self.log_scale]

    def state(self) -> dict[str, np.ndarray]:
        """The logarithm as it stands; the bounds are no state."""
        return {"log_scale": np.array(to_host(self.log_scale.data))}

    def __call__(self) -> Tensor:
        """The temperature of the moment, as a tensor that a loss can be differentiated by."""
        bounds = -math.log(self.highest), -math.log(self.lowest)
        # put back, not clipped: a clipped value has no gradient and could never leave the bound again
        self.log_scale.data[...] = clip(self.log_scale.data, *bounds)
        return exp(-self.log_scale)

    def __repr__(self) -> str:
        return f"LearnedTemperature({self.value:.4g}, lowest={self.lowest:g}, highest={self.highest:g})"


class CosineTemperature(Temperature):
    """A temperature that swings between two bounds, starting from the higher.

    ``tau = lowest + (highest - lowest) (1 + cos(2 pi step / period)) / 2`` (Kukleva et al. 2023, eq. 5): phases of a
    high temperature sort embeddings into groups, phases of a low one tell instances apart.

    Parameters
    ----------
    lowest, highest : float
        The bounds, 0.1 and 1 in the paper.
    period : int
        Steps from one maximum to the next. The paper's 400 epochs are longer than most trainings here.

    Raises
    ------
    InputError, DtypeError
        A bound is not positive, they are not in order, or the period is not a whole number from 2.

    Examples
    --------
    >>> temperature = CosineTemperature(0.1, 1.0, period=4)
    >>> [round(temperature.at(step), 2) for step in range(5)]
    [1.0, 0.55, 0.1, 0.55, 1.0]
    >>> temperature.step()
    >>> round(temperature.value, 2)
    0.55
    """

    def __init__(self, lowest: float, highest: float, period: int) -> None:
        self.lowest = check_positive(lowest, "lowest", "0.1")
        self.highest = check_positive(highest, "highest", "1")
        self.period = check_whole(period, "period", least=2)
        if not self.lowest <= self.highest:
            raise InputError(f"lowest got {lowest:g}, expected at most {highest:g}, the highest")
        self.steps = 0

    def at(self, step: int) -> float:
        """The temperature after ``step`` steps."""
        swing = (1 + math.cos(2 * math.pi * step / self.period)) / 2
        return self.lowest + (self.highest - self.lowest) * swing

    def step(self) -> None:
        """Go on by one step of training. `hypercon.fit` calls it."""
        self.steps += 1

    def state(self) -> dict[str, np.ndarray]:
        """The count of steps; bounds and period are no state."""
        return {"steps": np.array(self.steps)}

    def __call__(self) -> float:
        """The temperature of the moment."""
        return self.at(self.steps)

    def __repr__(self) -> str:
        return f"CosineTemperature({self.lowest:g} to {self.highest:g}, period={self.period}, now {self.value:.4g})"


# --- what a loss makes of its argument


def check_temperature(temperature: Any, name: str = "temperature") -> Any:
    """A positive finite number, or a tensor holding one; of a temperature object, the value of the moment."""
    if isinstance(temperature, Temperature):
        temperature = temperature()
    number = check_positive(temperature, name, "0.2")
    return temperature if isinstance(temperature, Tensor) else number


def check_temperatures(temperature: Any, z: Any) -> Any:
    """As `check_temperature`, or one temperature for each row of ``z``: a vector of its length and dtype."""
    if isinstance(temperature, Temperature):
        temperature = temperature()
    given = temperature.data if isinstance(temperature, Tensor) else temperature
    if not isinstance(given, list | tuple) and getattr(given, "size", 1) == 1:
        one = check_temperature(temperature)
        return reshape(one, ()) if isinstance(one, Tensor) else one
    vector = temperature if isinstance(temperature, Tensor) else as_array(temperature, "temperature")
    data = vector.data if isinstance(vector, Tensor) else vector
    if data.shape != (z.shape[0],):
        raise InputError(
            f"temperature got shape {data.shape}, expected one number, or ({z.shape[0]},): one for each instance"
        )
    if data.dtype.kind not in "iuf":
        raise DtypeError(f"temperature got an array of {data.dtype}, expected numbers such as 0.2")
    sound = xp(data).isfinite(data) & (data > 0)
    if not read(sound.all()):
        first = read((~sound).argmax())
        raise InputError(
            f"temperature got {read(data[first]):g} for instance {first}, expected positive finite numbers such as 0.2"
        )
    return vector if isinstance(vector, Tensor) else vector.astype(z.dtype)
