"""Assignment 4: an encoder from parts. What was trained is judged by pictures that the program has never been sent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hypercon.coursework.exercise import Arguments, Assignment, Case, Exercise, Limits

SIDE, CLASSES = 8, 6
SIZES = (SIDE * SIDE, 64, 16)
BATCH, TEMPERATURE = 64, 0.5
TRAINED_ON, HELD_OUT = 384, 256
ACCURACY = 0.85

# --- pictures


def pictures(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Things photographed twice, each time in another light, and what they are: (N, 64), (N, 64), (N,).

    The light is stronger than the thing, and what it can look like differs from scene to scene, so that pixels say
    little and nothing that was learned elsewhere helps.
    """
    along = np.cos(np.pi * np.arange(3)[:, None] * (np.arange(SIDE) + 0.5) / SIDE)
    lights = np.einsum("kab,ai,bj->kij", rng.normal(size=(6, 3, 3)), along, along).reshape(6, -1)
    lights *= np.sqrt(SIDE**2) / np.linalg.norm(lights, axis=1, keepdims=True)
    labels = rng.permutation(np.arange(count) % CLASSES)
    things = rng.normal(size=(CLASSES, SIDE**2))[labels] + 0.5 * rng.normal(size=(count, SIDE**2))

    def photograph() -> np.ndarray:
        light = 1.8 * rng.normal(size=(count, 6)) @ lights
        return np.tanh((things + light + 0.1 * rng.normal(size=things.shape)) / 2)

    return photograph(), photograph(), labels


def accuracy(bank: np.ndarray, bank_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray) -> float:
    """The share of queries whose five nearest of the bank say what they are."""
    nearest = np.argsort(-(queries @ bank.T), axis=1)[:, :5]
    votes = (bank_labels[nearest][:, :, None] == np.arange(CLASSES)).sum(axis=1)
    return float((votes.argmax(axis=1) == labels).mean())


# --- the encoder by other routes


def _parts(theta: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    inputs, hidden, outputs = sizes
    ends = np.cumsum([inputs * hidden, hidden, hidden * outputs])
    w1, b1, w2, b2 = np.split(theta, ends)
    return [w1.reshape(inputs, hidden), b1, w2.reshape(hidden, outputs), b2]


def _embed(theta: np.ndarray, x: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """For real and complex parameters: a complex step has no modulus and no maximum."""
    w1, b1, w2, b2 = _parts(theta, sizes)
    before = x @ w1 + b1
    z = np.where(before.real > 0, before, 0) @ w2 + b2
    return z / np.sqrt((z * z).sum(axis=1, keepdims=True))


def _unnormalised(theta: np.ndarray, x: np.ndarray, sizes: Sequence[int], relu: bool = True) -> np.ndarray:
    w1, b1, w2, b2 = _parts(theta, sizes)
    before = x @ w1 + b1
    return (np.maximum(before, 0) if relu else before) @ w2 + b2


def _rows_on_sphere(z: np.ndarray, axis: int = 1) -> np.ndarray:
    return z / np.linalg.norm(z, axis=axis, keepdims=True)


def _loss(u: np.ndarray, v: np.ndarray, tau: float) -> Any:
    logits = u @ v.T / tau
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def _slope(theta: np.ndarray, first: np.ndarray, second: np.ndarray, sizes: Sequence[int], temperature: float) -> Any:
    """The loss, and its gradient parameter by parameter with complex steps."""
    value = _loss(_embed(theta, first, sizes), _embed(theta, second, sizes), temperature)
    gradient = np.zeros_like(theta)
    for place in range(len(theta)):
        moved = theta.astype(complex)
        moved[place] += 1e-30j
        gradient[place] = _loss(_embed(moved, first, sizes), _embed(moved, second, sizes), temperature).imag / 1e-30
    return value, gradient


def _one_view(which: int) -> Callable[..., Any]:
    """The gradient where the other view's embeddings are taken for constants."""

    def wrong(theta: np.ndarray, first: np.ndarray, second: np.ndarray, sizes: Sequence[int], tau: float) -> Any:
        views = [_embed(theta, first, sizes), _embed(theta, second, sizes)]
        gradient = np.zeros_like(theta)
        for place in range(len(theta)):
            moved = theta.astype(complex)
            moved[place] += 1e-30j
            pair = list(views)
            pair[which] = _embed(moved, (first, second)[which], sizes)
            gradient[place] = _loss(pair[0], pair[1], tau).imag / 1e-30
        return _loss(views[0], views[1], tau), gradient

    return wrong


def _adam(
    theta: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, count: int, rate: float, corrected: bool = True
) -> tuple[np.ndarray, ...]:
    m, v = m + (1 - 0.9) * (g - m), v + (1 - 0.999) * (g * g - v)
    mean, square = (m / (1 - 0.9**count), v / (1 - 0.999**count)) if corrected else (m, v)
    return theta - rate * mean / (np.sqrt(square) + 1e-8), m, v


# --- what is drawn


def _dense(rng: np.random.Generator, size: int) -> Arguments:
    return rng.normal(size=(size, 3)), rng.normal(size=(size, size + 1)), rng.normal(size=(size + 1, 3))


def _dense_backward(g: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    rows = range(len(g))
    return (
        np.stack([weight @ g[i] for i in rows]),
        sum(np.multiply.outer(x[i], g[i]) for i in rows),
        np.array([math.fsum(column) for column in g.T]),
    )


def _encoder(rng: np.random.Generator, size: int) -> Arguments:
    sizes = (3, size + 2, 2)
    theta = rng.normal(size=3 * sizes[1] + sizes[1] + sizes[1] * 2 + 2)
    return theta, rng.normal(size=(size, 3)), sizes


def _batch(rng: np.random.Generator, size: int) -> Arguments:
    theta, first, sizes = _encoder(rng, size)
    return theta, first, first + 0.5 * rng.normal(size=first.shape), sizes, float(rng.choice([0.3, 0.5, 0.7]))


def _moments(rng: np.random.Generator, size: int) -> Arguments:
    theta, g, m = rng.normal(size=(3, size))
    return theta, g, m, rng.uniform(0.1, 2, size), size - 1, 0.05


def _scene(rng: np.random.Generator, count: int) -> Case:
    first, second, labels = pictures(rng, count + HELD_OUT)
    held_out = first[count:], labels[count:]
    arguments = first[:count], second[:count], SIZES, int(rng.integers(1 << 30))
    return Case.of(arguments, (labels[:count], *held_out))


def _trained(arguments: Arguments, results: Sequence[np.ndarray]) -> str | None:
    """What is wrong with a training: its curve, its parameters, or what these are worth on pictures held back."""
    assert isinstance(arguments, Case)
    first, second, sizes, _ = arguments
    labels, held_out, held_out_labels = arguments.known
    losses, theta = results
    expected = sum(a * b + b for a, b in itertools.pairwise(sizes))
    if losses.ndim != 1 or not 20 <= len(losses) <= 100_000:
        return f"wrong shape: expected the losses of 20 steps or more, (steps,), got {losses.shape}"
    if theta.shape != (expected,):
        return f"wrong shape: expected parameters ({expected},), got {theta.shape}"
    if not (np.isfinite(losses).all() and np.isfinite(theta).all()):
        return "not stable: a loss or a parameter is nan or infinite"
    chance = math.log(BATCH)
    if abs(losses[0] - chance) > 1.5:
        return (
            f"the curve begins at {losses[0]:.3g}, far from chance, log {BATCH} = {chance:.3g}: take the mean over a "
            f"batch of {BATCH}, at temperature {TEMPERATURE}"
        )
    u, v = (_rows_on_sphere(_unnormalised(theta, x, sizes)) for x in (first, second))
    starts = range(0, len(first) - BATCH + 1, BATCH)
    worth = float(np.mean([_loss(u[i : i + BATCH], v[i : i + BATCH], TEMPERATURE) for i in starts]))
    ends = float(losses[-max(1, len(losses) // 10) :].mean())
    if abs(ends - worth) > 0.3:
        return (
            f"the curve does not belong to the parameters: it ends at {ends:.3g}, and they have a loss of {worth:.3g} "
            f"on batches of {BATCH} at temperature {TEMPERATURE}"
        )
    found = accuracy(u, labels, _rows_on_sphere(_unnormalised(theta, held_out, sizes)), held_out_labels)
    if found < ACCURACY:
        return (
            f"not trained enough: {found:.0%} of held-out pictures are next to their kind, expected {ACCURACY:.0%}; "
            f"the loss went from {losses[0]:.3g} to {ends:.3g}"
        )
    return None


def _repeatable(answer: Callable[..., Any], arguments: Arguments, rng: np.random.Generator) -> str | None:
    first, again = answer(*arguments), answer(*arguments)
    same = all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(first, again, strict=True))
    return None if same else "the same seed gives another training: draw from np.random.default_rng(seed) alone"


def _curve(rng: np.random.Generator, size: int) -> Arguments:
    batch, tau = int(rng.choice([16, 64, 256])), float(rng.choice([0.2, 0.5]))
    steps, (chance, floor) = 10 * size, _levels(batch, tau)
    reached = rng.uniform(0, 1)
    way = reached * (1 - np.exp(-np.arange(steps) / (2 * size)))
    return chance + (floor - chance) * way + 0.01 * rng.normal(size=steps), batch, tau


def _levels(batch: int, tau: float) -> tuple[float, float]:
    """All embeddings alike; and positives together, the instances a regular simplex."""
    return math.log(batch), math.log1p((batch - 1) * math.exp(-batch / (batch - 1) / tau))


def _landmarks(losses: np.ndarray, batch: int, temperature: float) -> tuple[float, float, float, int]:
    chance, floor = _levels(batch, temperature)
    tenth = losses[len(losses) - len(losses) // 10 :]
    way = [(chance - loss) / (chance - floor) for loss in losses]
    half = next((step for step, share in enumerate(way) if share > 0.5), len(losses))
    return chance, floor, (chance - math.fsum(tenth) / len(tenth)) / (chance - floor), half


_SLOPE = "Back through both views: their gradients add up in the same parameters."

A4 = Assignment(
    "a4",
    "An encoder from parts",
    (
        Exercise(
            "4.1", "dense_backward", _dense, _dense_backward,
            "y = x W + b: g reaches x through W, W through x, and b once for each row.", 3, keeps_dtype=True,
            mistakes={
                "a mean where the sum over rows is meant": lambda g, x, w: (g @ w.T, x.T @ g, g.mean(axis=0)),
                "the gradient of the bias sums along the wrong axis": lambda g, x, w: (g @ w.T, x.T @ g, g.sum(axis=1)),
                "missing 1/N is not wanted here: g holds it already": lambda g, x, w: (
                    g @ w.T, x.T @ g / len(g), g.sum(axis=0) / len(g)),
            },
        ),
        Exercise(
            "4.2", "embed", _encoder, _embed, "Cut the vector into W1, b1, W2, b2 in this order; normalise rows last.",
            keeps_dtype=True,
            mistakes={
                "rows are not normalised": _unnormalised,
                "columns are normalised: the wrong axis": lambda theta, x, sizes: _rows_on_sphere(
                    _unnormalised(theta, x, sizes), axis=0),
                "the ReLU is missing": lambda theta, x, sizes: _rows_on_sphere(
                    _unnormalised(theta, x, sizes, relu=False)),
                "a ReLU stands behind the last layer too": lambda theta, x, sizes: _rows_on_sphere(
                    np.maximum(_unnormalised(theta, x, sizes), 0)),
            },
        ),
        Exercise(
            "4.3", "loss_and_gradient", _batch, _slope, _SLOPE, 2, sizes=(2, 3, 4, 6), points=2.0,
            mistakes={
                "only the first view's gradient is counted": _one_view(0),
                "only the second view's gradient is counted": _one_view(1),
                "the sign of the gradient is wrong": lambda theta, a, b, sizes, tau: (
                    _slope(theta, a, b, sizes, tau)[0], -_slope(theta, a, b, sizes, tau)[1]),
                "missing 1/N in the gradient": lambda theta, a, b, sizes, tau: (
                    _slope(theta, a, b, sizes, tau)[0], len(a) * _slope(theta, a, b, sizes, tau)[1]),
                "missing temperature in the gradient's denominator": lambda theta, a, b, sizes, tau: (
                    _slope(theta, a, b, sizes, tau)[0], tau * _slope(theta, a, b, sizes, tau)[1]),
                "missing temperature everywhere": lambda theta, a, b, sizes, tau: _slope(theta, a, b, sizes, 1.0),
            },
        ),
        Exercise(
            "4.4", "adam_step", _moments, _adam,
            "Moments first, then both corrected by 1 - beta^count, then the step.", 3,
            mistakes={
                "the correction of the moments is missing": lambda theta, g, m, v, count, rate: _adam(
                    theta, g, m, v, count, rate, corrected=False),
                "the sign of the step is wrong": lambda theta, g, m, v, count, rate: _adam(
                    theta, g, m, v, count, -rate),
                "the corrected moments are returned": lambda theta, g, m, v, count, rate: (
                    _adam(theta, g, m, v, count, rate)[0],
                    _adam(theta, g, m, v, count, rate)[1] / (1 - 0.9**count),
                    _adam(theta, g, m, v, count, rate)[2] / (1 - 0.999**count)),
                "the step counts from 0: 1 too many is taken": lambda theta, g, m, v, count, rate: _adam(
                    theta, g, m, v, count + 1, rate),
            },
        ),
        Exercise(
            "4.5", "train", _scene, None,
            "Some 300 steps of Adam at a rate of 0.003, each on 64 pairs drawn anew; He's initialisation.", 2,
            accepts=_trained, laws=(_repeatable,), sizes=(TRAINED_ON, TRAINED_ON), points=4.0,
            seconds=60.0,
        ),
        Exercise(
            "4.6", "landmarks", _curve, _landmarks,
            "Chance is log N; the floor is a regular simplex, whose cosines are -1 / (N - 1).", 4,
            mistakes={
                "the floor takes negatives for opposite: they can only be a simplex": lambda losses, batch, tau: (
                    _landmarks(losses, batch, tau)[0], math.log1p((batch - 1) * math.exp(-2 / tau)),
                    *_landmarks(losses, batch, tau)[2:]),
                "chance counts the negatives alone": lambda losses, batch, tau: (
                    math.log(batch - 1), *_landmarks(losses, batch, tau)[1:]),
            },
        ),
    ),
    limits=Limits(seconds_per_call=20.0, seconds=120.0, cpu_seconds=90),
)  # fmt: skip
