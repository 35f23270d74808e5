"""Lesson 01: rules, the sweep, and an operation of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hypercon.autograd import grad
from hypercon.autograd import sum as sum_of
from hypercon.coursework.assignments.draws import lattice
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _factors(rng: np.random.Generator, size: int) -> Arguments:
    return lattice(rng, (size,)), lattice(rng, (size,)), lattice(rng, (size,))


def _graph(rng: np.random.Generator, size: int) -> Arguments:
    """Every node has an output, some have several. The smallest has a node used twice, and its edges as they were made,
    in which order nobody can walk along them; those of the others come in no order."""
    pairs = [(i, j) for j in range(1, size + 1) for i in range(j) if j == i + 1 or rng.random() < 0.5 or size == 2]
    edges = np.array(pairs)[rng.permutation(len(pairs)) if size > 2 else slice(None)]
    return size + 1, edges, lattice(rng, (len(edges),))


def _entries(rng: np.random.Generator, size: int) -> Arguments:
    return lattice(rng, (size,)), lattice(rng, (size,))


def _far(rng: np.random.Generator) -> Arguments:
    return np.array([1.0, -2.0, 0.5]), np.array([1000.0, -1000.0, 0.0])


# --- the right answers, by another route


def _product_rule(g: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = 1e-30j  # complex steps, which know no rule
    return (g * ((x + step) * y)).imag / 1e-30, (g * (x * (y + step))).imag / 1e-30


def _sweep(count: int, edges: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """As a linear system: every node is the last one's indicator plus what its outputs hand on."""
    handed = np.zeros((count, count))
    np.add.at(handed, (edges[:, 0], edges[:, 1]), slopes)
    return np.linalg.solve(np.eye(count) - handed, np.eye(count)[-1])


def _softplus_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    return g * (1 + np.tanh(x / 2)) / 2


def _softplus(g: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    share = (1 + np.tanh(x / 2)) / 2
    return np.logaddexp(x, 0), g * share, g * g * share * (1 - share)


def _asked(operation: Callable[[Any], Any]) -> Callable[..., Any]:
    """Value, first and second derivative of what was registered."""

    def answer(g: np.ndarray, x: np.ndarray) -> Any:
        first = grad(lambda t: sum_of(g * operation(t)))
        return np.asarray(operation(x)), first(x), grad(lambda t: sum_of(g * first(t)))(x)

    return answer


# --- mistakes


def _walked(count: int, edges: np.ndarray, slopes: np.ndarray, nodes: Any, adds: bool = True) -> np.ndarray:
    cotangents = np.eye(count)[-1]
    for node in nodes:
        for (source, target), slope in zip(edges, slopes, strict=True):
            if target == node:
                cotangents[source] = slope * cotangents[node] + (cotangents[source] if adds else 0)
    return cotangents


EXERCISES = (
    Exercise(
        "01.1",
        "product_rule",
        _factors,
        _product_rule,
        "How much does x * y change when x grows by a little? By y times that. And g?",
        more_hints=("The cotangent of x is g times y. That of y is written in the same way.",),
        outputs=2,
        mistakes={
            "the factors are exchanged": lambda g, x, y: (g * x, g * y),
            "g is missing": lambda g, x, y: (y, x),
            "that is the rule of a sum": lambda g, x, y: (g, g),
            "the sign is wrong": lambda g, x, y: (-g * y, -g * x),
        },
    ),
    Exercise(
        "01.2",
        "sweep",
        _graph,
        _sweep,
        "Start with 1 at the last node and 0 elsewhere. Visit the nodes from the last to the first.",
        more_hints=(
            "At a node, look for the edges that end there: each hands slope * cotangents[node] to where it begins.",
            "cotangents[source] += slope * cotangents[node]",
        ),
        mistakes={
            "a node hands on before it has received everything: the last node comes first": lambda n, e, s: _walked(
                n, e, s, range(n)
            ),
            "a later use wipes out the others: add them": lambda n, e, s: _walked(
                n, e, s, reversed(range(n)), adds=False
            ),
            "the slopes are not used": lambda n, e, s: _sweep(n, e, np.ones_like(s)),
            "the last node has no 1 to hand on": lambda n, e, s: np.zeros(n),
        },
    ),
    Exercise(
        "01.3",
        "softplus_rule",
        _entries,
        _softplus_rule,
        "exp(1000) is infinite, and exp(-1000) is 0: which of them can you do without?",
        more_hints=(
            "With small = exp(-|x|), the derivative is 1 / (1 + small) for x > 0, and small / (1 + small) else.",
        ),
        extremes=(_far,),
        mistakes={
            "not stable: exp overflows": lambda g, x: g * np.exp(x) / (1 + np.exp(x)),
            "g is missing": lambda g, x: _softplus_rule(np.ones_like(g), x),
            "that is the function, not its derivative": lambda g, x: g * np.logaddexp(x, 0),
            "the sign in the exponent is wrong": lambda g, x: _softplus_rule(g, -x),
        },
    ),
    Exercise(
        "01.4",
        "softplus",
        _entries,
        _softplus,
        "The derivative of softplus is the sigmoid, which hypercon has; g multiplies it.",
        more_hints=("return g * hc.sigmoid(x)",),
        outputs=3,
        extremes=(_far,),
        adapt=_asked,
    ),
)
