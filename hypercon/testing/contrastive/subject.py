"""A loss under test: what it is called with, what it may return, and what is claimed of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, grad, value_and_grad
from hypercon.errors import DtypeError, InputError
from hypercon.testing.contrastive.cases import Case
from hypercon.testing.contrastive.definition import Meant
from hypercon.testing.gradcheck import extrapolated


class CallError(Exception):
    """The loss raised, or returned what is no number."""

    def __init__(self, said: str, case: Case, error: Exception) -> None:
        super().__init__(said)
        self.case = case
        self.error = error


@dataclass(frozen=True)
class Claim:
    """Something that a property says of one call of a loss."""

    what: str
    got: Any
    expected: Any
    case: Case
    holds: bool


def equal(what: str, got: Any, expected: Any, case: Case, *, within: float = 1e-9, scale: float = 1.0) -> Claim:
    """``got`` is ``expected``, within a tolerance relative to the larger of ``scale`` and the largest number expected.

    The tolerance is far above the rounding of float64 in any order of summation and far below that of float32.
    """
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if got.shape != expected.shape:
        return Claim(f"the shape of {what}", got.shape, expected.shape, case, False)
    allowed = within * max(scale, float(np.abs(expected).max(initial=0.0)))
    holds = bool((np.abs(got - expected) <= allowed).all())  # nan is no more than anything, so it does not hold
    return Claim(what, got, expected, case, holds)


def between(what: str, got: float, lowest: float, highest: float, case: Case, *, within: float = 1e-9) -> Claim:
    """``got`` is finite and not outside the limits by more than rounding."""
    slack = within * max(1.0, abs(got))
    if lowest == -np.inf:
        limits = "a finite number" if highest == np.inf else f"at most {highest:.10g}"
    else:
        limits = f"at least {lowest:.10g}" if highest == np.inf else f"between {lowest:.10g} and {highest:.10g}"
    return Claim(what, got, limits, case, lowest - slack <= got <= highest + slack and np.isfinite(got))


class Subject:
    """A loss with its gradient, from wherever it comes, called with copies that it may spoil."""

    def __init__(
        self,
        f: Callable[..., Any],
        gradient: Callable[..., Any] | None,
        meant: Meant,
        *,
        order: int,
        learned_temperature: bool,
    ) -> None:
        self.f = f
        self.meant = meant
        self._gradient = gradient
        self.takes_tensors, self.why_no_gradient = (False, "") if gradient else self._takes_tensors()
        self.has_gradient = gradient is not None or self.takes_tensors
        self.has_second_order = self.takes_tensors and order > 1
        self.has_temperature_gradient = self.takes_tensors and learned_temperature

        self.functions = (self._on_arrays, *([gradient] if gradient else []))

    @property
    def gradients_come_from(self) -> str:
        return "autograd" if self.takes_tensors else "the function given" if self.has_gradient else "nowhere"

    def _takes_tensors(self) -> tuple[bool, str]:
        z = np.array([[1.0, 0.0], [0.6, 0.8]])
        reason = "no gradient was given, and the loss returned {} for tensors"
        try:
            with np.errstate(all="ignore"):
                returned = self.f(Tensor(z, requires_grad=True), Tensor(z, requires_grad=True), temperature=1.0)
        except Exception as error:
            return False, reason.format(f"{type(error).__name__} ({_one_line(error)})")
        if isinstance(returned, Tensor) and returned.requires_grad:
            return True, ""
        return False, reason.format(f"a {type(returned).__name__} that autograd cannot follow")

    # --- calls

    def _on_arrays(self, z1: np.ndarray, z2: np.ndarray, *, temperature: float) -> Any:
        wrap = Tensor if self.takes_tensors else np.asarray
        return self.f(wrap(z1), wrap(z2), temperature=temperature)

    def value(self, case: Case) -> float:
        """The loss."""
        return self.number(self._call(self.functions[0], case, "the loss"), case)

    def number(self, returned: Any, case: Case) -> float:
        """What a call returned, if that is one real number."""
        returned = returned.data if isinstance(returned, Tensor) else returned
        try:
            if np.ndim(returned) != 0 or isinstance(returned, str):
                raise DtypeError
            return float(returned)
        except TypeError as error:
            shown = f"an array of shape {np.shape(returned)}" if np.ndim(returned) else repr(returned)
            raise CallError(f"the loss returned {shown}, expected one real number", case, error) from None

    def gradients(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """By both views."""
        if self._gradient is None:
            returned = self._by_autograd(case)[:2]
        else:
            returned = self._call(self._gradient, case, "the gradient")
        try:
            g1, g2 = (np.asarray(g, dtype=np.float64) for g in returned)
        except (TypeError, ValueError) as error:
            said = f"the gradient returned {type(returned).__name__}, expected two arrays (g1, g2)"
            raise CallError(said, case, error) from None
        if (g1.shape, g2.shape) != (case.z1.shape, case.z2.shape):
            said = f"the gradients have shapes {g1.shape} and {g2.shape}, expected {case.z1.shape} twice"
            raise CallError(said, case, InputError(said))
        return g1, g2

    def temperature_gradient(self, case: Case) -> float:
        return float(self._by_autograd(case, (0, 1, 2))[2])

    def second_derivative(self, case: Case, first: tuple[Any, Any], second: tuple[Any, Any]) -> float:
        """The second derivative along two directions, each one array for each view."""

        def along_first(z1: Any, z2: Any) -> Any:
            g1, g2 = grad(lambda a, b: self.f(a, b, temperature=case.temperature), (0, 1))(z1, z2)
            return (g1 * first[0]).sum() + (g2 * first[1]).sum()

        def along_both(z1: Any, z2: Any, *, temperature: float) -> float:
            return float(sum((g * d).sum() for g, d in zip(grad(along_first, (0, 1))(z1, z2), second, strict=True)))

        return float(self._call(along_both, case, "the gradient of the gradient"))

    def slope_of(self, measured: Callable[[Case], float], case: Case, directions: tuple[Any, Any]) -> float:
        """The derivative of something measured of cases as both views move, from differences."""

        def central(h: float) -> float:
            ahead, behind = (case.with_views(case.z1 + s * directions[0], case.z2 + s * directions[1]) for s in (h, -h))
            return (measured(ahead) - measured(behind)) / (2 * h)

        # short rows turn far in a small step
        shortest = min(float(np.sqrt((z * z).sum(axis=1)).min()) for z in (case.z1, case.z2))
        return extrapolated(central, 1e-2 * min(1.0, shortest) * min(1.0, case.temperature))

    def slope_by_temperature(self, case: Case) -> float:
        """The derivative of the loss by the temperature, from differences."""

        def central(h: float) -> float:
            ahead, behind = (replace(case, temperature=case.temperature + s) for s in (h, -h))
            return (self.value(ahead) - self.value(behind)) / (2 * h)

        return extrapolated(central, 1e-2 * case.temperature)

    def _by_autograd(self, case: Case, argnums: tuple[int, ...] = (0, 1)) -> tuple[Any, ...]:
        def differentiated(z1: Any, z2: Any, *, temperature: float) -> Any:
            tau = np.asarray(temperature, dtype=z1.dtype)
            both = value_and_grad(
                lambda a, b, t: self.f(a, b, temperature=t if 2 in argnums else temperature), argnums=argnums
            )
            return both(z1, z2, tau)[1]

        return tuple(self._call(differentiated, case, "the gradient by autograd"))

    def _call(self, function: Callable[..., Any], case: Case, name: str) -> Any:
        # copies keep the layout, which a property may be about
        copies = np.copy(case.z1, order="K"), np.copy(case.z2, order="K")
        return self.call_on(function, case, *copies, name=name)

    def call_on(
        self, function: Callable[..., Any], case: Case, z1: np.ndarray, z2: np.ndarray, name: str = "the loss"
    ) -> Any:
        """Call with these very arrays."""
        try:
            # an overflow shows itself in what is returned
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function(z1, z2, temperature=case.temperature)
        except Exception as error:
            raise CallError(f"{name} raised {type(error).__name__}: {_one_line(error)}", case, error) from error


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or "without a message"
