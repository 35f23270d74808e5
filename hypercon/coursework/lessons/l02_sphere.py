"""Lesson 02: onto the sphere, along it, and how near random directions are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice, scaling, unit
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _two(rng: np.random.Generator, size: int) -> Arguments:
    return lattice(rng, (size, 3)), lattice(rng, (size + 1, 3))


def _huge(rng: np.random.Generator) -> Arguments:
    return lattice(rng, (2, 3)) * 1e200, lattice(rng, (3, 3)) * 1e-200


def _rows(rng: np.random.Generator, size: int) -> Arguments:
    return lattice(rng, (size, 3)), unit(lattice(rng, (size, 3)))


def _step(rng: np.random.Generator, size: int) -> Arguments:
    g, u = _rows(rng, size)
    return g, u, float(rng.choice([0.1, 0.5, 2.0]))


def _at_rest(rng: np.random.Generator) -> Arguments:
    _, u, rate = _step(rng, 3)
    return np.stack([np.zeros(3), 2.5 * u[1], lattice(rng, (3,))]), u, rate  # the first two rows have no tangent


# --- the right answers, by another route


def _cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pair by pair, with lengths by hypot, which cannot overflow."""
    return np.array([[math.fsum(a / math.hypot(*a) * (b / math.hypot(*b))) for b in y] for a in x])


def _tangent(g: np.ndarray, u: np.ndarray) -> np.ndarray:
    """By the matrix I - u u^T of each row."""
    return np.stack([(np.eye(len(row)) - np.outer(row, row)) @ force for force, row in zip(g, u, strict=True)])


def _slide(g: np.ndarray, u: np.ndarray, rate: float) -> np.ndarray:
    """Row by row: the angle turned is the length of the step, in the plane of u and the step."""
    slid = []
    for step, row in zip(-rate * _tangent(g, u), u, strict=True):
        angle = math.hypot(*step)
        slid.append(row if angle < 1e-12 else math.cos(angle) * row + math.sin(angle) * (step / angle))
    return np.stack(slid)


# --- laws


def _right_angles(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the result stands at right angles to u"""
    along = np.abs((np.asarray(answer(*arguments)) * arguments[1]).sum(axis=-1))
    return None if (along < 1e-9).all() else f"a row has {along.max():.3g} along its u"


def _twice(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """applied twice, it changes nothing more"""
    once = np.asarray(answer(*arguments))
    return None if np.allclose(answer(once, arguments[1]), once) else "a tangent is changed by it"


def _on_the_sphere(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """rows stay on the sphere"""
    lengths = np.linalg.norm(np.asarray(answer(*arguments)), axis=-1)
    return None if np.allclose(lengths, 1, atol=1e-9) else f"a row has length {lengths.flat[0]:.6g}"


def _symmetric(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """x and y exchanged: the matrix is transposed"""
    x, y = arguments
    return None if np.allclose(answer(y, x), np.transpose(answer(x, y))) else "exchanged inputs give another matrix"


# --- mistakes


def _after_the_step(g: np.ndarray, u: np.ndarray, rate: float) -> np.ndarray:
    return unit(u - rate * _tangent(g, u))


EXERCISES = (
    Exercise(
        "02.1",
        "cosines",
        _two,
        _cosines,
        "Divide each row by its length. Then all products at once are one matrix product.",
        more_hints=(
            "np.linalg.norm(x, axis=1, keepdims=True). But 1e200 squared overflows: first divide by the largest entry.",
            "x = x / np.abs(x).max(axis=1, keepdims=True), then x / np.linalg.norm(...), the same for y, and x @ y.T",
        ),
        extremes=(_huge,),
        laws=(scaling(0), scaling(1), _symmetric),
        mistakes={
            "not stable: squares overflow": lambda x, y: unit(x) @ unit(y).T,
            "rows are not divided by their length": lambda x, y: x @ y.T,
            "only x is put onto the sphere": lambda x, y: unit(x) @ y.T,
            "columns are divided, not rows": lambda x, y: unit(x.T).T @ unit(y.T),
            "the length is squared": lambda x, y: (x / (x**2).sum(axis=1, keepdims=True)) @ unit(y).T,
            "the matrix is transposed": lambda x, y: unit(y) @ unit(x).T,
        },
    ),
    Exercise(
        "02.2",
        "tangent",
        _rows,
        _tangent,
        "Of each row of g, take away its part along u: that has length g . u and direction u.",
        more_hints=("g - (g * u).sum(axis=1, keepdims=True) * u",),
        laws=(_right_angles, _twice),
        mistakes={
            "that is the part along u: take it away from g": lambda g, u: g - _tangent(g, u),
            "the sum runs over all rows: one number for each row is meant": lambda g, u: g - (g * u).sum() * u,
            "g is not changed": lambda g, u: g,
            "the sign is wrong": lambda g, u: g + (g * u).sum(axis=1, keepdims=True) * u,
        },
    ),
    Exercise(
        "02.3",
        "slide",
        _step,
        _slide,
        "v = -rate * tangent(g, u) is the step. Along a great circle: cos(|v|) u + sin(|v|) v / |v|.",
        more_hints=(
            "Where v is 0 the point stays, and 0 / 0 is nan: divide by np.maximum(|v|, a tiny number).",
            "length = norm of v; np.cos(length) * u + np.sin(length) * v / np.maximum(length, 1e-300)",
        ),
        extremes=(_at_rest,),
        laws=(_on_the_sphere,),
        mistakes={
            "uphill: the step is minus the gradient": lambda g, u, rate: _slide(-g, u, rate),
            "the step leaves the sphere": lambda g, u, rate: u - rate * _tangent(g, u),
            "that is a straight step put back: a shorter way round": _after_the_step,
            "g is not made tangent first": lambda g, u, rate: (
                np.cos(rate * np.linalg.norm(g, axis=1, keepdims=True)) * u
                - np.sin(rate * np.linalg.norm(g, axis=1, keepdims=True)) * unit(g)),
            "cos and sin are exchanged": lambda g, u, rate: (
                np.sin(rate * np.linalg.norm(_tangent(g, u), axis=1, keepdims=True)) * u
                - np.cos(rate * np.linalg.norm(_tangent(g, u), axis=1, keepdims=True)) * unit(_tangent(g, u))),
            "the rate is missing": lambda g, u, rate: _slide(g, u, 1.0),
        },
    ),
)  # fmt: skip
