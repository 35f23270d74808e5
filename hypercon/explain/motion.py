"""Points that move on the circle or the sphere, as a piece of a page: a still frame, and a script that moves it.

It asks nothing of the network. It does not start by itself; a slider, a button and the arrow keys move it.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import InputError
from hypercon.explain.page import asset
from hypercon.files import atomic
from hypercon.palette import CLASS_COLOURS
from hypercon.validation import as_array, check_labels

MOST_FRAMES, MOST_POINTS = 120, 400
TURN, TILT = 0.6, 0.35  # radians: how the sphere stands at first
_RADIUS = 150


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """A motion of points, made by `moving_points`. A notebook shows it for itself."""

    text: str
    _fragment: str

    def __repr__(self) -> str:
        return f"[moving points: {self.text}]"

    def _repr_html_(self) -> str:
        return self._fragment

    def to_html(self, path: str | Path) -> None:
        """Write a page of its own, complete in itself.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        InputError
            The file cannot be written.
        """
        title = html.escape(self.text)
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><title>{title}</title></head><body>{self._fragment}</body>'
            "</html>\n"
        )
        with atomic(path) as stream:
            stream.write(page.encode())


def moving_points(
    frames: Any,
    text: str,
    *,
    labels: Any = None,
    values: Mapping[str, Sequence[float]] | None = None,
) -> Motion:
    """Points on the circle or the sphere that move, for a notebook or a page.

    Parameters
    ----------
    frames : array_like, (T, N, 2) or (T, N, 3)
        N points of unit length at each of T moments. Of more than 120 moments, 120 evenly spaced ones are shown.
    text : str
        What moves, and what is to be seen: it stands above the picture and describes it to who does not see it.
    labels : array_like of int, (N,), optional
        One colour for each label, of at most ten.
    values : mapping of str to (T,) numbers, optional
        What to tell of each moment, such as a loss.

    Returns
    -------
    Motion

    Raises
    ------
    InputError
        Shapes that do not fit, points off the sphere, more than 400 of them, or more than ten labels.

    Examples
    --------
    >>> angles = np.linspace(0, 1, 5)[:, None] * np.linspace(0, 6, 8)
    >>> moving_points(np.stack([np.cos(angles), np.sin(angles)], axis=-1), "eight points spread over the circle")
    [moving points: eight points spread over the circle]
    """
    points = _checked(frames)
    told = {name: np.asarray(row, dtype=float) for name, row in (values or {}).items()}
    for name, row in told.items():
        if row.shape != (len(points),) or not np.isfinite(row).all():
            raise InputError(f"values got shape {row.shape} for {name!r}, expected {len(points)} finite numbers")
    classes = np.zeros(points.shape[1], int) if labels is None else check_labels(labels, points.shape[1])
    groups = np.unique(classes, return_inverse=True)[1]
    if groups.max(initial=0) >= len(CLASS_COLOURS):
        raise InputError(
            f"labels got {groups.max() + 1} classes, expected at most {len(CLASS_COLOURS)}: colours are few"
        )
    if not text.strip():
        raise InputError("text got nothing, expected what moves and what is to be seen, in a sentence or two")
    shown = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_FRAMES)).round().astype(int))
    data = {
        "frames": points[shown].round(3).tolist(),
        "values": {name: [f"{value:.4g}" for value in row[shown]] for name, row in told.items()},
        "moments": shown.tolist(),
        "turn": TURN,
        "tilt": TILT,
        "radius": _RADIUS,
    }
    carried = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    name = "hc-" + hashlib.sha256((carried + text).encode()).hexdigest()[:12]
    content = (
        f'<style>{asset("page.css")}{asset("motion.css")}</style><div class="hc motion" id="{name}">'
        f"<p>{html.escape(text)}</p>{_still(points[shown[-1]], groups, text)}{_controls(data)}"
        f'<script type="application/json">{carried}</script>'
        f"<script>{asset('motion.js').replace('$id', name)}</script></div>"
    )
    return Motion(text, content)


def _checked(frames: Any) -> np.ndarray:
    points = np.asarray(as_array(frames, "frames"), dtype=float)
    if points.ndim != 3 or points.shape[2] not in (2, 3) or 0 in points.shape:
        raise InputError(f"frames got shape {points.shape}, expected (T, N, 2) or (T, N, 3)")
    if points.shape[1] > MOST_POINTS:
        raise InputError(f"frames got {points.shape[1]} points, expected at most {MOST_POINTS}: show some of them")
    lengths = np.linalg.norm(points, axis=2)
    if not (np.abs(lengths - 1) < 1e-3).all():  # also where they are nan
        frame, point = np.argwhere(~(np.abs(lengths - 1) < 1e-3))[0]
        raise InputError(
            f"frames got length {lengths[frame, point]:.4g} for point {point} of frame {frame}, expected 1: "
            "put them onto the sphere with hypercon.normalize"
        )
    return points


def _still(points: np.ndarray, groups: np.ndarray, text: str) -> str:
    """The last frame, as the script would draw it."""
    if points.shape[1] == 3:
        cos, sin = np.cos([TURN, TILT]), np.sin([TURN, TILT])
        x = cos[0] * points[:, 0] + sin[0] * points[:, 1]
        far = -sin[0] * points[:, 0] + cos[0] * points[:, 1]
        y, depth = cos[1] * points[:, 2] - sin[1] * far, -(sin[1] * points[:, 2] + cos[1] * far)
    else:
        (x, y), depth = points.T, np.ones(len(points))
    near = (depth + 1) / 2
    dots = "".join(
        f'<circle data-part="point" cx="{_RADIUS * x[i]:.1f}" cy="{-_RADIUS * y[i]:.1f}" r="{3 + 3 * near[i]:.2f}" '
        f'fill="{CLASS_COLOURS[groups[i]]}" fill-opacity="{0.25 + 0.75 * near[i]:.2f}"/>'
        for i in range(len(points))
    )
    return (
        f'<svg viewBox="-165 -165 330 330" role="img" aria-label="{html.escape(text)}" data-part="stage" tabindex="0">'
        f'<circle class="globe" r="{_RADIUS}"/>{dots}</svg>'
    )


def _controls(data: dict[str, Any]) -> str:
    last = len(data["frames"]) - 1
    values = "".join(
        f'<span>{html.escape(name)} <b data-part="value">{row[-1]}</b></span>' for name, row in data["values"].items()
    )
    turning = " Drag the sphere or use the arrow keys to turn it." if len(data["frames"][0][0]) == 3 else ""
    return (
        '<div class="controls"><button type="button" data-part="play" aria-pressed="false">play</button>'
        f'<input type="range" data-part="slider" min="0" max="{last}" value="{last}" aria-label="moment"></div>'
        f'<div class="told"><span>step <b data-part="moment">{data["moments"][-1]}</b></span>{values}</div>'
        f"<noscript><p>Without scripts this is the last moment.</p></noscript><p class='aid'>{turning}</p>"
    )
