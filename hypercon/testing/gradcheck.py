"""Is a gradient right? Compared with extrapolated differences, along a random direction, for a random cotangent.

For a function f with rules J^T, a cotangent u and a direction d, two numbers must agree:

    <J^T u, d>   from the rules            d/dh <u, f(x + h d)> at h = 0   from values of f alone

The cotangent is random because a cotangent of ones cannot see a wrong softmax or a wrong batch normalisation at all.
Order 2 asks the same of the function ``x -> J(x)^T u``, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, concatenate, reshape
from hypercon.autograd.engine import sweep
from hypercon.errors import DtypeError, InputError


class GradientError(AssertionError):
    """A gradient differs from what differences of the function's values say."""


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    rng: np.random.Generator | int = 0,
    rtol: float = 1e-8,
    directions: int = 3,
) -> None:
    """Check derivatives of ``f`` against Richardson-extrapolated differences in float64.

    Parameters
    ----------
    f : callable
        From tensors to one tensor of any shape, smooth at ``inputs``. It must use nothing random.
    *inputs : array_like
        Where to check. They are taken as float64.
    order : int, default 2
        Highest derivative to check; all lower ones are checked as well.
    rng : numpy.random.Generator or int, default 0
        Of cotangents and directions; an int is a seed, which a failure's message repeats.
    rtol : float, default 1e-8
        Largest difference, relative to the lengths of gradient and direction.
    directions : int, default 3
        Random directions for each order, each with a cotangent of its own, at least 1.

    Raises
    ------
    GradientError
        The two numbers differ. The message gives both, the worst entry, the shapes and the seed.
    InputError, DtypeError
        ``f`` is not a function of tensors to a tensor, or an input is not real and finite.

    Examples
    --------
    >>> import hypercon as hc
    >>> gradcheck(hc.tanh, [[0.3, -1.2]])
    >>> wrong = hc.primitive(lambda g, out, x: g * out * 1.001)(lambda x: np.exp(x))
    >>> gradcheck(wrong, [0.5])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    hypercon.testing.gradcheck.GradientError: order 1: the gradient says ... but differences say ...
    """
    for name, value in (("order", order), ("directions", directions)):
        if value < 1:
            raise InputError(f"{name} got {value}, expected at least 1")
    seed = rng if isinstance(rng, int) else "the caller's generator"
    generator = np.random.default_rng(rng) if isinstance(rng, int) else rng
    point = [np.array(x, dtype=np.float64) for x in inputs]
    for i, x in enumerate(point):
        if not np.isfinite(x).all():
            raise InputError(f"input {i} is not finite: check derivatives where the function has them")
    for depth in range(1, order + 1):
        shape = _value(f, point).shape
        for _ in range(directions):
            # a new one each time: a rule that keeps what it was first given would answer to that one rightly
            cotangent = generator.standard_normal(shape)
            _check_direction(f, point, cotangent, generator, f"order {depth}", rtol, seed)
            pulled = _pulled_back(f, cotangent)
            if depth < order:
                _check_recorded(f, pulled, point, cotangent, f"order {depth}", rtol, seed)
        f = pulled


def _check_direction(
    f: Callable[..., Any],
    point: list[np.ndarray],
    cotangent: np.ndarray,
    rng: np.random.Generator,
    label: str,
    rtol: float,
    seed: Any,
) -> None:
    direction = [rng.standard_normal(x.shape) for x in point]
    gradient = _gradient(f, point, cotangent)
    for i, (g, x) in enumerate(zip(gradient, point, strict=True)):
        if g.shape != x.shape:  # what follows would sum over the copies, and see nothing
            raise GradientError(f"{label}: the gradient by input {i} has shape {g.shape}, expected its own {x.shape}")
    claimed = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    measured = slope_along(f, point, direction, cotangent)
    scale = max(_length(gradient) * _length(direction), _least_scale(f, point, cotangent))
    if not abs(claimed - measured) <= rtol * scale:
        raise GradientError(
            f"{label}: the gradient says {claimed:.12g} but differences say {measured:.12g} "
            f"(relative difference {abs(claimed - measured) / scale:.2g}, allowed {rtol:g}); "
            f"{_worst_entry(f, point, gradient, cotangent)}; "
            f"inputs {', '.join(str(x.shape) for x in point)}, output {cotangent.shape}, seed {seed}"
        )


def _check_recorded(
    f: Callable[..., Any],
    pulled: Callable[..., Any],
    point: list[np.ndarray],
    cotangent: np.ndarray,
    label: str,
    rtol: float,
    seed: Any,
) -> None:
    """A fused rule may compute one way in an ordinary sweep and another way where the sweep itself is recorded."""
    plain = np.concatenate([g.ravel() for g in _gradient(f, point, cotangent)])
    recorded = _value(pulled, point)
    if not _length([plain - recorded]) <= rtol * max(_length([plain]), _least_scale(f, point, cotangent)):
        worst = int(np.abs(plain - recorded).argmax())
        raise GradientError(
            f"{label}: the rule says {plain[worst]:.12g} but {recorded[worst]:.12g} where it is recorded "
            f"(entry {worst} of all inputs' gradients, laid flat); seed {seed}"
        )


def slope_along(
    f: Callable[..., Any], point: list[np.ndarray], direction: list[np.ndarray], cotangent: np.ndarray | float = 1.0
) -> float:
    """The derivative of ``<cotangent, f(point + h direction)>`` at h = 0, from values of ``f`` alone."""
    scale = max(1.0, max(float(np.abs(d).max(initial=0)) for d in direction))

    def central(h: float) -> float:
        ahead = _value(f, [x + h * d for x, d in zip(point, direction, strict=True)])
        behind = _value(f, [x - h * d for x, d in zip(point, direction, strict=True)])
        return float((cotangent * (ahead - behind)).sum() / (2 * h))

    return extrapolated(central, 2e-2 / scale)


def extrapolated(central: Callable[[float], float], h: float) -> float:
    """What central differences tend to as their step tends to 0, from steps that halve, beginning with ``h``.

    Extrapolated (Richardson 1911, in Ridders' tableau); of all estimates the one whose neighbours agree best is
    returned.
    """
    row = [central(h)]
    best, error = row[0], np.inf
    for _ in range(9):
        h /= 2
        previous, row = row, [central(h)]
        for level, coarser in enumerate(previous):
            row.append(row[level] + (row[level] - coarser) / (4.0 ** (level + 1) - 1))
            spread = max(abs(row[-1] - row[-2]), abs(row[-1] - coarser))
            if spread <= error:
                best, error = row[-1], spread
    return best


def _value(f: Callable[..., Any], point: list[np.ndarray]) -> np.ndarray:
    out = f(*(Tensor(np.asarray(x)) for x in point))  # sums of 0-d arrays are NumPy scalars
    if not isinstance(out, Tensor):
        raise DtypeError(f"the function returned {type(out).__name__}, expected a tensor made by hypercon's operations")
    return out.data


def _gradient(f: Callable[..., Any], point: list[np.ndarray], cotangent: np.ndarray) -> list[np.ndarray]:
    leaves = [Tensor(x, requires_grad=True) for x in point]
    return [g.data for g in sweep(f(*leaves), leaves, cotangent)]


def _pulled_back(f: Callable[..., Any], cotangent: np.ndarray) -> Callable[..., Any]:
    """``x -> J(x)^T cotangent`` as one flat tensor on the graph of x."""

    def pulled(*xs: Tensor) -> Any:
        inner = [x if x.requires_grad else Tensor(x.data, requires_grad=True) for x in xs]
        gradients = sweep(f(*inner), inner, cotangent, create_graph=True)
        return concatenate([reshape(g, (-1,)) for g in gradients])

    return pulled


def _worst_entry(
    f: Callable[..., Any], point: list[np.ndarray], gradient: list[np.ndarray], cotangent: np.ndarray
) -> str:
    """In words, the single input number whose derivative is most wrong."""
    if max((x.size for x in point), default=0) > 2000:
        return "worst entry not searched for in so large an input"
    worst, said = -1.0, "no input has entries"
    for i, x in enumerate(point):
        for index in np.ndindex(x.shape):
            direction = [np.zeros_like(p) for p in point]
            direction[i][index] = 1.0
            measured = slope_along(f, point, direction, cotangent)
            claimed = float(gradient[i][index])
            off = abs(claimed - measured)
            off = np.inf if np.isnan(off) else off  # nan compares with nothing, and is as wrong as can be
            if off > worst:
                worst, said = off, f"worst at input {i}{list(index)}: {claimed:.9g} against {measured:.9g}"
    return said


def _least_scale(f: Callable[..., Any], point: list[np.ndarray], cotangent: np.ndarray) -> float:
    # a zero gradient leaves only rounding in what it is compared with, which grows with the value itself
    return max(1e-30, 1e-3 * float(np.abs(cotangent * _value(f, point)).sum()))


def _length(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float((p * p).sum()) for p in parts)))
