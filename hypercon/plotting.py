"""Pictures, drawn with matplotlib. Imported only by what draws: it takes longer to load than the rest of hypercon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:  # the experiments draw through this file, so it knows their results by shape alone
    from matplotlib.axes import Axes

    from hypercon.experiments.dilemma import Run

# ten colours that stay apart for colour-blind readers (Paul Tol's "muted" scheme and a grey), with markers beside them
CLASS_COLOURS = (
    "#332288",
    "#88CCEE",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
    "#777777",
)
CLASS_MARKERS = ("o", "s", "^", "D", "v", "o", "s", "^", "D", "v")
POSITIVE, SAME, OTHER = "#117733", "#0072B2", "#D55E00"
INK, FAINT = "#222222", "#B8B8B8"


def dilemma_figure(runs: Sequence[Run], classes: Sequence[str] | None, data: str) -> Figure:
    """The picture of the uniformity-tolerance dilemma, a column for each temperature.

    Parameters
    ----------
    runs : sequence of hypercon.experiments.dilemma.Run
    classes : sequence of str, optional
        Names for the legend.
    data : str
        Name of the data set, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        1600 pixels wide for up to three temperatures.
    """
    runs = sorted(runs, key=lambda run: run.temperature)
    columns = max(3, len(runs))
    figure = Figure(figsize=(16 / 3 * columns, 18.4), dpi=100, facecolor="white")
    grid = figure.add_gridspec(
        4, columns, height_ratios=(1.35, 0.9, 0.9, 1.0), hspace=0.42, wspace=0.2, left=0.055, right=0.975, top=0.92, bottom=0.045
    )
    for i, run in enumerate(runs):
        sphere = figure.add_subplot(grid[0, i], projection="hammer")
        _draw_sphere(sphere, run)
        _draw_similarities(figure.add_subplot(grid[1, i]), run, first=i == 0)
        _draw_hardness(figure.add_subplot(grid[2, i]), run, first=i == 0)
    _draw_uniformity(figure.add_subplot(grid[3, 0]), runs)
    _draw_tolerance(figure.add_subplot(grid[3, 1]), runs)
    _draw_accuracy(figure.add_subplot(grid[3, 2]), runs)
    figure.suptitle(f"What the temperature does to an embedding: {data}, held-out images", fontsize=19, color=INK, y=0.985)
    return figure
