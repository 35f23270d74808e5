"""All that changes from step to step, to be put into a checkpoint and taken up from one.

What is taken up is exactly what a training with the same arguments came to, or it is refused. Random draws are no
arguments: those of the first start go on.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.backend import to_device, to_host
from hypercon.data.batching import batches
from hypercon.errors import CheckpointError, HyperconError, InputError
from hypercon.files import checksum, checksum_by_name
from hypercon.nn import Module
from hypercon.optim import Optimizer
from hypercon.temperature import Temperature
from hypercon.training.checkpoint import Checkpoint
from hypercon.training.describing import differences, environment
from hypercon.training.history import History

# what was drawn before the first step is replaced by what a checkpoint holds; what was given must be the same
_GIVEN = {"temperature": "the temperature's start", "others": "the start of the loss's parameters"}
_REPLACED = _GIVEN | {
    "encoder": "the encoder's first weights",
    "optimizer": "the optimiser's state",
    "loss": "the loss's state",
    "rng": "rng's state",
}


class Training:
    """A training between two steps: encoder, optimiser, temperature, loss, generator and history, all in place."""

    def __init__(
        self,
        encoder: Module,
        optimizer: Optimizer,
        temperature: float | Temperature | None,
        loss: Any,
        rng: np.random.Generator,
        history: History,
    ) -> None:
        self.encoder, self.optimizer, self.rng, self.history = encoder, optimizer, rng, history
        self._temperature = temperature if isinstance(temperature, Temperature) else None
        self._losses = _with_state(loss)
        own = {id(parameter) for parameter in encoder.parameters()}
        self._others = [parameter for parameter in optimizer.parameters if id(parameter) not in own]
        self._rng_of_epoch = rng.bit_generator.state
        self._settings: dict[str, Any] = {}
        self._started: dict[str, str] = {}
        self._versions: dict[str, Any] = {}

    def batches(self, count: int, batch_size: int) -> Iterator[np.ndarray]:
        """What remains of the epoch: its order is drawn at its beginning, and drawn again where it was interrupted."""
        made = self.history.steps % (count // batch_size)
        if not made:
            self._rng_of_epoch = self.rng.bit_generator.state
            return iter(batches(count, batch_size, rng=self.rng))
        now = self.rng.bit_generator.state
        self.rng.bit_generator.state = self._rng_of_epoch
        order = batches(count, batch_size, rng=self.rng)
        self.rng.bit_generator.state = now
        return islice(order, made, None)

    def describe(self, settings: dict[str, Any]) -> None:
        """Before the first step: what every checkpoint says of where the training came from."""
        self._settings, self._started = settings, self._sums()
        self._versions = environment(self.encoder.device)

    def checkpoint(self) -> Checkpoint:
        """The training as it stands."""
        return Checkpoint(
            self._settings,
            self._started,
            self._versions,
            _as_json(self.rng.bit_generator.state),
            _as_json(self._rng_of_epoch),
            self.history,
            self._parts(),
        )

    def take_up(self, path: Path, found: Checkpoint, steps: int) -> None:
        """Go on where a checkpoint is, or change nothing.

        Raises
        ------
        CheckpointError
            It is not of a training with these arguments, or does not fit this encoder.
        """
        otherwise = self._began_otherwise(found)
        self._refuse_another(path, found, steps, otherwise)
        before, states = self._parts(), (self.rng.bit_generator.state, self._rng_of_epoch)
        try:
            self._load(found.parts)
            self._rng_of_epoch = _state_of(self.rng, found.rng_of_epoch)
            self.rng.bit_generator.state = _state_of(self.rng, found.rng)
        except (HyperconError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            self._load(before)
            self.rng.bit_generator.state, self._rng_of_epoch = states
            raise CheckpointError(f"{path} does not fit this training ({error}): another encoder, perhaps") from None
        self._started = found.started
        for name in ("losses", "rates", "epochs", "seconds"):
            setattr(self.history, name, getattr(found.history, name))
        if replaced := [_REPLACED[part] for part in otherwise]:
            warnings.warn(
                f"{path.name} began with other values than were given now ({', '.join(replaced)}): its own go on",
                stacklevel=4,
            )
        if told := differences(found.versions, self._versions):
            warnings.warn(
                f"{path.name} was written elsewhere ({'; '.join(told)}): the last bits may come out differently",
                stacklevel=4,
            )

    def _refuse_another(self, path: Path, found: Checkpoint, steps: int, otherwise: list[str]) -> None:
        """Raise where a training with these arguments, whatever its draws, could not have come there."""
        told = differences(found.settings, self._settings)
        if not told:  # else these say little
            told = self._other_rate(found.history.rates)
            told += [f"{_GIVEN[part]} is another" for part in otherwise if part in _GIVEN]
        if told:
            raise CheckpointError(
                f"{path} is of a training with other arguments ({'; '.join(told)}): give those again, or choose "
                f"another folder"
            )
        if found.step > steps:
            raise CheckpointError(
                f"{path} is of step {found.step}, and these epochs have {steps}: ask for more, or choose another folder"
            )

    def _other_rate(self, made: list[float]) -> list[str]:
        """The first step that would have been made with another rate."""
        for step, there in enumerate(made):
            if (now := self.optimizer.rate_at(step)) != there:
                return [f"rate {there:g} at step {step} there, {now:g} now"]
        return []

    def _began_otherwise(self, found: Checkpoint) -> list[str]:
        """The parts that began otherwise. What stands just where the checkpoint does is right too: it never stopped."""
        now = self._sums()
        there = {part: checksum_by_name(arrays) for part, arrays in found.parts.items()}
        if now == there | {"rng": _sum_of(found.rng)}:
            return []
        return [part for part, value in now.items() if found.started.get(part) != value]

    def _sums(self) -> dict[str, str]:
        """A checksum of each part, and of the generator."""
        return {part: checksum_by_name(arrays) for part, arrays in self._parts().items()} | {
            "rng": _sum_of(_as_json(self.rng.bit_generator.state))
        }

    def _parts(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            "encoder": self.encoder.state(),
            "optimizer": self.optimizer.state(),
            "temperature": self._temperature.state() if self._temperature else {},
            "loss": {
                f"{name}.{key}": np.array(value)
                for name, part in self._losses.items()
                for key, value in part.state().items()
            },
            "others": {str(i): np.array(to_host(parameter.data)) for i, parameter in enumerate(self._others)},
        }

    def _load(self, parts: dict[str, dict[str, np.ndarray]]) -> None:
        others = parts["others"]
        if others.keys() != {str(i) for i in range(len(self._others))}:
            raise InputError(f"it holds {len(others)} parameters of the loss, expected {len(self._others)}")
        self.encoder.load_state(parts["encoder"])
        self.optimizer.load_state(parts["optimizer"])
        if self._temperature:
            self._temperature.load_state(parts["temperature"])
        for name, part in self._losses.items():
            own = {k.removeprefix(f"{name}."): v for k, v in parts["loss"].items() if k.startswith(f"{name}.")}
            part.load_state(own)
        for i, parameter in enumerate(self._others):
            if others[str(i)].shape != parameter.shape:
                raise InputError(
                    f"its parameter {i} of the loss has {others[str(i)].shape}, expected {parameter.shape}"
                )
            parameter.data[...] = to_device(others[str(i)].astype(parameter.dtype), parameter.device)


def _with_state(loss: Any) -> dict[str, Any]:
    """What of a loss carries state from step to step: itself, or what it was given by `functools.partial`."""
    held = {"itself": loss, **getattr(loss, "keywords", {})}
    return {
        name: value
        for name, value in held.items()
        if callable(getattr(value, "state", None)) and callable(getattr(value, "load_state", None))
    }


# --- generators


def _as_json(state: Any) -> Any:
    """A generator's state with its arrays as lists."""
    if isinstance(state, dict):
        return {name: _as_json(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": str(state.dtype), "values": state.tolist()}
    return state if isinstance(state, str) else int(state)


def _from_json(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    if state.keys() == {"dtype", "values"}:
        return np.array(state["values"], dtype=state["dtype"])
    return {name: _from_json(value) for name, value in state.items()}


def _state_of(rng: np.random.Generator, told: dict[str, Any]) -> Any:
    """A state that this generator takes; tried on another one of its kind."""
    trial = type(rng.bit_generator)()
    trial.state = _from_json(told)
    return trial.state


def _sum_of(state: dict[str, Any]) -> str:
    return checksum(np.array(json.dumps(state, sort_keys=True)))
