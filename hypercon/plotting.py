"""Pictures, drawn with matplotlib. Imported only by what draws: it takes longer to load than the rest of hypercon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
        1600 pixels wide for up to three temperatures, 533 more for each further one.
    """
    runs = sorted(runs, key=lambda run: run.temperature)
    columns = max(3, len(runs))
    width, height = 16 / 3 * columns, 17.4
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    rows = figure.add_gridspec(
        4,
        1,
        height_ratios=(0.8, 0.8, 0.8, 1.0),
        hspace=0.36,
        left=0.8 / width,
        right=1 - 0.3 / width,
        top=0.89,
        bottom=0.05,
    )
    above = [rows[i].subgridspec(1, len(runs), wspace=wspace) for i, wspace in enumerate((0.04, 0.1, 0.2))]
    views = [
        [figure.add_subplot(grid[0, i], projection=projection) for i in range(len(runs))]
        for grid, projection in zip(above, ("hammer", None, None), strict=True)
    ]
    for run, sphere, similarities, hardness in zip(runs, *views, strict=True):
        _draw_sphere(sphere, run)
        _draw_similarities(similarities, run)
        _draw_hardness(hardness, run)
    for ax in views[2]:  # one scale for all temperatures, so that heights can be compared
        ax.set_ylim(min(other.get_ylim()[0] for other in views[2]), 1)
    views[1][0].set_ylabel("share of pairs")
    views[2][0].set_ylabel("mean share of the push")
    below = rows[3].subgridspec(1, 3, wspace=0.22)
    labelled = runs[0].record["tolerance"] is not None
    for i, draw in enumerate(_SUMMARIES[labelled]):
        draw(figure.add_subplot(below[0, i]), runs)
    if runs[0].labels is not None and classes is not None:
        _add_class_legend(figure, views[0][0], classes, y=1 - 1.2 / height)
    figure.suptitle(
        f"What the temperature does to an embedding ({data}, held-out images)",
        fontsize=20,
        color=INK,
        y=1 - 0.35 / height,
    )
    figure.text(0.5, 1 - 0.85 / height, _SPHERE_CAPTION, ha="center", va="center", fontsize=12.5, color=INK)
    return figure


_SPHERE_CAPTION = (
    "Top: the embedding as seen from the middle of the sphere, along its three directions of largest spread, "
    "as a world map (Hammer, equal area)"
)
_MOST_CLASSES = len(CLASS_COLOURS)


def _draw_sphere(ax: Axes, run: Run) -> None:
    """Every held-out embedding's direction in the three leading principal axes."""
    longitude, latitude, share = _world_map(run.z)
    if run.labels is None or run.labels.max() >= _MOST_CLASSES:
        ax.scatter(longitude, latitude, s=9, color=SAME, alpha=0.7, linewidths=0)
    else:
        for number, (colour, marker) in enumerate(zip(CLASS_COLOURS, CLASS_MARKERS, strict=True)):
            own = run.labels == number
            ax.scatter(longitude[own], latitude[own], s=13, color=colour, marker=marker, alpha=0.8, linewidths=0)
    ax.grid(color=FAINT, linewidth=0.5)
    ax.set_xticklabels([])
    ax.set_yticklabels([])
    ax.set_title(f"temperature {run.temperature:g}", fontsize=17, color=INK, pad=12, weight="bold")
    ax.text(
        0.5,
        -0.09,
        f"the three directions hold {share:.0%} of the spread",
        transform=ax.transAxes,
        ha="center",
        fontsize=11.5,
        color=INK,
    )


def _world_map(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Longitude and latitude of rows in their three leading axes, and the share of the spread that those hold."""
    centred = z.astype(np.float64) - z.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    leading = (centred @ axes[:3].T).T
    x, y, up = np.pad(leading, ((0, 3 - len(leading)), (0, 0)))  # an embedding in a plane has no third direction
    share = float((spread[:3] ** 2).sum() / (spread**2).sum())
    return np.arctan2(y, x), np.arctan2(up, np.hypot(x, y)), share


def _draw_similarities(ax: Axes, run: Run) -> None:
    """How similar positives, same-class pairs and other-class pairs are."""
    pairs = run.z @ run.z.T
    upper = np.triu(np.ones(pairs.shape, dtype=bool), 1)
    groups = [("the two views of an image", run.positives, POSITIVE, "-")]
    if run.labels is None:
        groups.append(("other images", pairs[upper], OTHER, "--"))
    else:
        same = run.labels[:, None] == run.labels[None, :]
        groups += [
            ("images of one class", pairs[upper & same], SAME, "-."),
            ("images of two classes", pairs[upper & ~same], OTHER, "--"),
        ]
    edges = np.linspace(-1, 1, 81)
    for label, values, colour, style in groups:
        if len(values):
            heights, _ = np.histogram(values, bins=edges, density=True)
            ax.stairs(heights, edges, fill=True, color=colour, alpha=0.22)
            ax.stairs(heights, edges, color=colour, linewidth=1.8, linestyle=style, label=label)
            ax.axvline(float(values.mean()), color=colour, linewidth=1.1, linestyle=":")
    ax.set(xlim=(-0.8, 1.0), xlabel="similarity (dotted: the means)", yticks=[])
    _finish(ax)
    ax.legend(edgecolor="none", framealpha=0.85, fontsize=11, loc="upper left")


def _draw_hardness(ax: Axes, run: Run) -> None:
    """The share of the push on the k-th hardest negative, averaged over anchors."""
    weights = -np.sort(-run.explanation.hardness, axis=1)
    negatives = run.explanation.negatives
    rank = np.arange(1, negatives + 1)
    ax.plot(rank, weights[:, :negatives].mean(axis=0), color=SAME, linewidth=2.4)
    ax.axhline(1 / negatives, color=INK, linewidth=1.1, linestyle=":")
    ax.text(negatives, 1.15 / negatives, "equal shares", ha="right", va="bottom", fontsize=11, color=INK)
    ax.set(xscale="log", yscale="log", xlim=(1, negatives), xlabel="k-th hardest negative")
    note = f"effective negatives: {run.explanation.effective_negatives.mean():.0f} of {negatives}"
    if run.explanation.false_negative_share is not None:
        note += f"\n{run.explanation.false_negative_share.mean():.0%} of the push hits the own class"
    ax.text(0.03, 0.05, note, transform=ax.transAxes, fontsize=12, color=INK, va="bottom")
    _finish(ax)


def _draw_uniformity(ax: Axes, runs: Sequence[Run]) -> None:
    """Uniformity over the temperature, a line for each sharpness t, with what a uniform distribution reaches."""
    sharpnesses = sorted(runs[0].record["uniformity"], key=float)
    for t, (colour, marker) in zip(sharpnesses, _series(len(sharpnesses)), strict=True):
        values = [run.record["uniformity"][t] for run in runs]
        most = runs[0].record["uniformity_limit"][t]
        _line(ax, runs, values, f"t = {t} (at most {most:.2f})", colour, marker)
    ax.set_title("uniformity: evenly spread over the sphere", fontsize=13.5, color=INK)
    _finish_summary(ax, runs)


def _draw_tolerance(ax: Axes, runs: Sequence[Run]) -> None:
    """Tolerance and its gap over the temperature."""
    for (key, label), (colour, marker) in zip(
        [("tolerance", "tolerance: mean within a class"), ("tolerance_gap", "gap: within minus between classes")],
        _series(2),
        strict=True,
    ):
        _line(ax, runs, [run.record[key] for run in runs], label, colour, marker)
    ax.set_title("tolerance: similarity within a class", fontsize=13.5, color=INK)
    _finish_summary(ax, runs)


def _draw_accuracy(ax: Axes, runs: Sequence[Run]) -> None:
    """What simple classifiers make of the embedding."""
    rows = [
        ("knn_z", "neighbours on z, all labels"),
        ("knn_z_10", "neighbours on z, 10 labels a class"),
        ("linear_h", "linear on h, all labels"),
        ("linear_h_10", "linear on h, 10 labels a class"),
    ]
    for (key, label), (colour, marker) in zip(rows, _series(len(rows)), strict=True):
        _line(ax, runs, [100 * run.record[key] for run in runs], label, colour, marker)
    ax.set_title("accuracy on held-out images, %", fontsize=13.5, color=INK)
    _finish_summary(ax, runs)


def _draw_alignment(ax: Axes, runs: Sequence[Run]) -> None:
    """Distance of positives, for data without labels."""
    _line(ax, runs, [run.record["alignment"] for run in runs], "mean squared distance", *_series(1)[0])
    ax.set_title("alignment: how far apart two views lie", fontsize=13.5, color=INK)
    _finish_summary(ax, runs)


def _draw_effective_negatives(ax: Axes, runs: Sequence[Run]) -> None:
    """How many negatives share the push, for data without labels."""
    values = [run.record["effective_negatives"] for run in runs]
    _line(ax, runs, values, f"of {runs[0].explanation.negatives}", *_series(1)[0])
    ax.set_title("effective negatives: how many share the push", fontsize=13.5, color=INK)
    _finish_summary(ax, runs)


_SUMMARIES = {
    True: (_draw_uniformity, _draw_tolerance, _draw_accuracy),
    False: (_draw_uniformity, _draw_alignment, _draw_effective_negatives),
}


def _line(ax: Axes, runs: Sequence[Run], values: Sequence[float], label: str, colour: str, marker: str) -> None:
    temperatures = [run.temperature for run in runs]
    ax.plot(temperatures, values, color=colour, marker=marker, markersize=8, linewidth=2, label=label)


def _series(count: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of several lines."""
    colours, markers = (SAME, OTHER, POSITIVE, "#AA4499", "#777777"), ("o", "s", "^", "D", "v")
    return [(colours[i % 5], markers[i % 5]) for i in range(count)]


def _finish(ax: Axes) -> None:
    """The look that all panels with axes share."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=11)
    ax.xaxis.label.set(size=12, color=INK)
    ax.yaxis.label.set(size=12, color=INK)


def _finish_summary(ax: Axes, runs: Sequence[Run]) -> None:
    temperatures = [run.temperature for run in runs]
    ax.set(xscale="log", xlabel="temperature")
    ax.set_xticks(temperatures, [f"{tau:g}" for tau in temperatures])
    ax.minorticks_off()
    ax.margins(x=0.08, y=0.1)
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low, high + 0.1 * len(ax.lines) * (high - low))  # room for the legend above the lines
    ax.grid(axis="y", color=FAINT, linewidth=0.5)
    _finish(ax)
    ax.legend(frameon=False, fontsize=11, loc="upper left")


def _add_class_legend(figure: Figure, ax: Axes, classes: Sequence[str], y: float) -> None:
    handles = list(ax.collections)[: len(classes)]
    if len(handles) == len(classes):
        figure.legend(
            handles, classes, loc="center", bbox_to_anchor=(0.5, y), ncols=len(classes), frameon=False, fontsize=12.5,
            markerscale=2, handletextpad=0.1, columnspacing=1.1,
        )  # fmt: skip
