"""The explanation as a picture: its matrices, an anchor's weights, and the forces where embeddings can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hypercon.autograd import normalize
from hypercon.palette import FAINT, INK, OTHER, POSITIVE, SAME

if TYPE_CHECKING:
    from hypercon.explain.anatomy import Explanation

MOST_ARROWS = 40


def figure(e: Explanation, anchor: int) -> Figure:
    """All panels that a batch allows."""
    on_sphere, dim = e._settings["normalize"], e._inputs[0].shape[1]
    forces = on_sphere and dim in (2, 3)
    drawn = Figure(figsize=(15, 9.2 if forces else 5.2), dpi=100, facecolor="white", layout="constrained")
    drawn.suptitle(
        f"{e.kind} at temperature {e.temperature:g}: loss {e.loss:.3f}, {e._where()}", fontsize=14, color=INK
    )
    grid = drawn.add_gridspec(2 if forces else 1, 12)
    matrices = (
        ("similarities", e.similarities, "RdBu_r", np.abs(e.similarities).max() or 1),
        ("P: softmax with the positive", e.probabilities, "viridis", None),
        ("r: softmax over the negatives", e.hardness, "viridis", None),
    )
    for i, (title, matrix, colours, reach) in enumerate(matrices):
        ax = drawn.add_subplot(grid[0, 3 * i : 3 * i + 3])
        low = -reach if reach else 0
        image = ax.imshow(matrix, cmap=colours, vmin=low, vmax=reach, interpolation="nearest")
        drawn.colorbar(image, ax=ax, shrink=0.72, location="bottom", pad=0.02)
        ax.set_title(title, fontsize=12, color=INK)
        ax.set_xlabel("candidate")
        ax.set_ylabel("anchor" if i == 0 else "")
    _weights(drawn.add_subplot(grid[0, 9:]), e, anchor)
    if forces:
        for i, (title, arrows, colour) in enumerate(
            (("pull, towards the positive", e.pull, POSITIVE), ("push, away from the negatives", e.push, OTHER))
        ):
            place = grid[1, 6 * i : 6 * i + 6]
            ax = drawn.add_subplot(place, projection="3d") if dim == 3 else drawn.add_subplot(place)
            _forces(ax, e, arrows, colour, title)
    return drawn


def _weights(ax: Any, e: Explanation, anchor: int) -> None:
    hardest = e.hardest(anchor, min(20, e.negatives))
    same = e.labels is not None
    colours = [SAME if same and e.labels[j] == e.labels[anchor] else OTHER for j, _, _ in hardest]  # type: ignore[index]
    ax.bar(range(len(hardest)), [r for _, _, r in hardest], color=colours)
    ax.set_title(f"anchor {anchor}: its hardest negatives", fontsize=12, color=INK)
    ax.set_xlabel("hardest first")
    ax.set_ylabel("share of the push")
    ax.spines[["top", "right"]].set_visible(False)
    even = 1 / e.negatives
    ax.axhline(even, color=INK, linewidth=1, linestyle="--", label="if shared evenly")
    if same:
        ax.bar([0], [0], color=SAME, label="own class")
        ax.bar([0], [0], color=OTHER, label="another class")
    ax.legend(frameon=False, loc="upper right")


def _forces(ax: Any, e: Explanation, arrows: np.ndarray, colour: str, title: str) -> None:
    """Arrows from some anchors, on the circle or sphere; only the part along the surface moves them."""
    rows = np.concatenate([normalize(z) for z in e._inputs])[: len(arrows)]
    some = np.linspace(0, len(rows) - 1, min(MOST_ARROWS, len(rows))).astype(int)
    at, along = rows[some], arrows[some] - (arrows[some] * rows[some]).sum(axis=1, keepdims=True) * rows[some]
    strongest = np.linalg.norm(along, axis=1).max() or 1.0
    steps = 0.45 * along / strongest
    ax.set_title(f"{title} (strongest: {strongest:.3g})", fontsize=12, color=INK)
    if rows.shape[1] == 2:
        turn = np.linspace(0, 2 * np.pi, 200)
        ax.plot(np.cos(turn), np.sin(turn), color=FAINT, linewidth=1.5, zorder=0)
        ax.scatter(*at.T, color=INK, s=16, zorder=2)
        ax.quiver(*at.T, *steps.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.006, zorder=3)
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    else:
        across, down = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
        sphere = np.sin(down) * np.cos(across), np.sin(down) * np.sin(across), np.cos(down)
        ax.plot_wireframe(*sphere, color=FAINT, linewidth=0.5, alpha=0.6)
        ax.scatter(*at.T, color=INK, s=16, depthshade=False)
        ax.quiver(*at.T, *steps.T, color=colour, linewidth=1.6, arrow_length_ratio=0.35)
        ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()
