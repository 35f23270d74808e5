"""How claims read what was measured of trained encoders: one measure of several recipes, over all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from hypercon.experiments.papers.claim import Panel, over_seeds
from hypercon.experiments.papers.encoders import Encoders
from hypercon.experiments.papers.making import SHARPNESSES
from hypercon.experiments.papers.recipe import Recipe

Read = str | Callable[[dict[str, Any]], float]


def uniformity(measured: Mapping[str, Any], t: float = 2.0) -> float:
    """Of one encoder, at any sharpness that the spectrum spans."""
    at_2, *spectrum = measured["uniformity"]
    return float(at_2 if t == 2 else np.interp(np.log(t), np.log(SHARPNESSES), spectrum))


def each(encoders: Encoders, recipes: Mapping[Any, Recipe], read: Read) -> dict[str, dict[str, Any]]:
    """A measure of every recipe, by its name or its number."""
    get = read if callable(read) else lambda measured: measured[read]
    return {
        name if isinstance(name, str) else f"{name:g}": over_seeds([get(m) for m in encoders.measured(recipe)])
        for name, recipe in recipes.items()
    }


def points(leaves: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """A measure over numbers, as a curve of its means."""
    return [float(name) for name in leaves], means(leaves)


def means(leaves: Mapping[str, Any]) -> list[float]:
    """Over the seeds."""
    return [leaf["mean"] for leaf in leaves.values()]


def over_temperature(y: str, **curves: Mapping[str, Any]) -> Panel:
    """The paper's usual picture: a measure over the temperature, with a bar for the spread over seeds."""
    return over("temperature", y, curves)


def over(x: str, y: str, curves: Mapping[str, Mapping[str, Any]], **more: Any) -> Panel:
    """A measure over a number that is varied by factors."""
    return Panel(
        x,
        y,
        {name.replace("_", " "): points(leaves) for name, leaves in curves.items()},
        log_x=True,
        spreads={name.replace("_", " "): spreads(leaves) for name, leaves in curves.items()},
        **more,
    )


def spreads(leaves: Mapping[str, Any]) -> list[float]:
    """Over the seeds."""
    return [leaf["spread"] for leaf in leaves.values()]


def picked(leaves: Mapping[str, Any], keys: Iterable[float]) -> dict[str, Any]:
    """Some of a measure's settings, in this order."""
    return {f"{key:g}": leaves[f"{key:g}"] for key in keys}


def listed(leaves: Mapping[str, Any]) -> str:
    """The means of a measure, in words."""
    return ", ".join(f"{leaf['mean']:.3g} ({name})" for name, leaf in leaves.items())
