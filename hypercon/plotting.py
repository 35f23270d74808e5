"""Pictures, drawn with matplotlib. Imported only by what draws: it takes longer to load than the rest of hypercon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hypercon.palette import CLASS_COLOURS, FAINT, INK, OTHER, POSITIVE, SAME

if TYPE_CHECKING:  # the experiments draw through this file, so it knows their results by shape alone
    from matplotlib.axes import Axes

    from hypercon.experiments.dilemma import Run

CLASS_MARKERS = ("o", "s", "^", "D", "v", "o", "s", "^", "D", "v")
_MOST_CLASSES = len(CLASS_COLOURS)
_LEAST_SHARE = 1e-8  # of the push; below lies what no training feels
_MOST_LINES = 5  # in a panel; more could not be told apart


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
        1600 pixels wide for up to three temperatures, 2000 for up to five, 360 more for each further one.
    """
    runs = sorted(runs, key=lambda run: run.temperature)
    column = min(16 / 3, max(3.6, 20 / len(runs)))  # inches, as everything here
    coloured = runs[0].labels is not None and runs[0].labels.max() < _MOST_CLASSES
    legend = coloured and classes is not None
    page = _Page(width=max(16.0, column * len(runs)), height=(14.2 if legend else 13.85) + column / 2)
    page.write(0.35, f"What the temperature does to an embedding: {_shortened(data, 50)}", size=20)
    page.write(0.85, f"{len(runs[0].z):,} held-out images. {_LETTERS}", size=12.5)
    page.write(1.13, _PROJECTION + ("" if coloured or runs[0].labels is None else _TOO_MANY), size=12.5)

    top = 2.15 if legend else 1.8
    spheres = page.row(len(runs), top=top, height=column / 2 - 0.25, gap=0.15, projection="hammer")
    below = top + column / 2
    similarities = page.row(len(runs), top=below + 0.75, height=2.1, gap=0.5)
    hardness = page.row(len(runs), top=below + 4.15, height=2.1, gap=0.5)
    for run, *axes in zip(runs, spheres, similarities, hardness, strict=True):
        _draw_sphere(axes[0], run)
        _draw_similarities(axes[1], run)
        _draw_hardness(axes[2], run)
    if legend and classes is not None:
        _add_class_legend(page, spheres[0], classes, y=1.52)
    handles, labels = similarities[0].get_legend_handles_labels()
    page.legend(handles, labels, y=below + 0.55)
    least = max(_LEAST_SHARE, min(ax.get_ylim()[0] for ax in hardness))
    for ax in hardness:  # one scale for all temperatures, so that heights can be compared
        ax.set_ylim(least, 1)
        ax.tick_params(labelleft=ax is hardness[0])
    similarities[0].set_ylabel("pairs (peaks set to 1)")
    hardness[0].set_ylabel("mean share of the push")
    summaries = _SUMMARIES[runs[0].record["tolerance"] is not None]
    for ax, draw in zip(page.row(3, top=below + 7.55, height=2.3, gap=0.8), summaries, strict=True):
        draw(ax, runs)
    return page.figure


_LETTERS = (
    "z: the embedding on the sphere, which the loss sees. h: the features before the projection head, "
    "which a classifier would take."
)
_PROJECTION = (
    "Top: z seen from the middle of the sphere, along its three directions of largest spread, "
    "as a world map (Hammer, equal area)."
)
_TOO_MANY = f" Classes are not coloured: there are more than {_MOST_CLASSES}."


class _Page:
    """A figure laid out in inches from its top, so that nothing moves when columns are added."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=100, facecolor="white")

    def row(self, count: int, *, top: float, height: float, gap: float, projection: str | None = None) -> list[Axes]:
        """So many axes side by side over the whole width, or centred in columns of a third of it where they are few."""
        left, right = 0.8, 0.3
        cell = (self.width - left - right) / max(3, count)
        left += (self.width - left - right - cell * count) / 2
        return [
            self.figure.add_axes(
                (
                    (left + i * cell) / self.width,
                    1 - (top + height) / self.height,
                    (cell - gap) / self.width,
                    height / self.height,
                ),
                projection=projection,
            )
            for i in range(count)
        ]

    def write(self, y: float, text: str, *, size: float) -> None:
        """A centred line."""
        self.figure.text(0.5, 1 - y / self.height, text, ha="center", va="center", fontsize=size, color=INK)

    def legend(self, handles: Sequence[Any], labels: Sequence[str], y: float, **options: Any) -> None:
        """A centred legend in one row, or as many as ``ncols`` makes."""
        options = {"ncols": len(labels), "fontsize": 12.5, "columnspacing": 1.4, "handletextpad": 0.4} | options
        place = (0.5, 1 - y / self.height)
        self.figure.legend(handles, labels, loc="center", bbox_to_anchor=place, frameon=False, **options)


def _draw_sphere(ax: Axes, run: Run) -> None:
    """Every held-out embedding's direction in the three leading principal axes."""
    longitude, latitude, share = _world_map(run.z)
    size = float(np.clip(26_000 / len(run.z), 8, 40)) * (ax.get_window_extent().width / 500) ** 2
    if run.labels is None or run.labels.max() >= _MOST_CLASSES:
        ax.scatter(longitude, latitude, s=size, color=SAME, alpha=0.6, linewidths=0)
    else:
        for number, (colour, marker) in enumerate(zip(CLASS_COLOURS, CLASS_MARKERS, strict=True)):
            own = run.labels == number
            ax.scatter(longitude[own], latitude[own], s=size, color=colour, marker=marker, alpha=0.8, linewidths=0)
    ax.grid(color=FAINT, linewidth=0.5)
    ax.set_xticklabels([])
    ax.set_yticklabels([])
    ax.set_title(f"temperature {run.temperature:g}", fontsize=17, color=INK, pad=10, weight="bold")
    ax.text(
        0.5,
        -0.1,
        f"{share:.0%} of the spread is shown",
        transform=ax.transAxes,
        ha="center",
        fontsize=11,
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
    """How similar positives, same-class pairs and other-class pairs are.

    Each histogram reaches the same height: at a high temperature that of the positives is so narrow that no other could
    be seen beside it.
    """
    pairs = run.z @ run.z.T
    upper = np.triu(np.ones(pairs.shape, dtype=bool), 1)
    groups = [("the two views of an image", run.positives, POSITIVE, "-")]
    if run.labels is None:
        groups.append(("two images", pairs[upper], OTHER, "--"))
    else:
        same = run.labels[:, None] == run.labels[None, :]
        groups += [
            ("two images of one class", pairs[upper & same], SAME, "-."),
            ("images of two classes", pairs[upper & ~same], OTHER, "--"),
        ]
    edges = np.linspace(-1, 1, 81)
    for label, values, colour, style in groups:
        if len(values):
            heights, _ = np.histogram(values, bins=edges)
            heights = heights / heights.max()
            ax.stairs(heights, edges, fill=True, color=colour, alpha=0.22)
            ax.stairs(heights, edges, color=colour, linewidth=1.8, linestyle=style, label=label)
            ax.axvline(float(values.mean()), color=colour, linewidth=1.3, linestyle=":")
    ax.set(xlim=(-1.0, 1.0), ylim=(0, 1.05), xlabel="similarity (dotted: the means)", yticks=[])
    ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
    _finish(ax)


def _draw_hardness(ax: Axes, run: Run) -> None:
    """The share of the push on the k-th hardest negative, averaged over anchors."""
    weights = -np.sort(-run.explanation.hardness, axis=1)
    negatives = run.explanation.negatives
    rank = np.arange(1, negatives + 1)
    ax.plot(rank, weights[:, :negatives].mean(axis=0), color=SAME, linewidth=2.4)
    ax.axhline(1 / negatives, color=INK, linewidth=1.1, linestyle=":")
    ax.set(xscale="log", yscale="log", xlim=(1, max(2, negatives)), xlabel="k-th hardest negative (dotted: equal)")
    note = f"effective negatives: {run.explanation.effective_negatives.mean():.0f} of {negatives}"
    if run.explanation.false_negative_share is not None:
        note = f"{run.explanation.false_negative_share.mean():.0%} of the push is on the own class\n{note}"
    ax.set_title(note, fontsize=12, color=INK, loc="left")
    _finish(ax)


def _draw_uniformity(ax: Axes, runs: Sequence[Run]) -> None:
    """Uniformity over the temperature, a line for each sharpness t, with what a uniform distribution reaches."""
    names = sorted(runs[0].record["uniformity"], key=float)
    names = [names[i] for i in _spread(len(names), names.index("2"))]
    for t, style in zip(names, _ramp(len(names)), strict=True):
        values = [run.record["uniformity"][t] for run in runs]
        _line(ax, runs, values, f"t = {t} (uniform: {runs[0].record['uniformity_limit'][t]:.2f})", *style)
    _finish_summary(ax, runs, "uniformity of z at scale t")


def _draw_tolerance(ax: Axes, runs: Sequence[Run]) -> None:
    """Tolerance and its gap over the temperature."""
    for (key, label), style in zip(
        [("tolerance", "tolerance: mean within a class"), ("tolerance_gap", "gap: within minus between classes")],
        _series(2),
        strict=True,
    ):
        _line(ax, runs, [run.record[key] for run in runs], label, *style)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, (low + high) / 2 - 0.1), max(high, (low + high) / 2 + 0.1))  # no drama where little happens
    _finish_summary(ax, runs, "tolerance: similarity within a class")


def _draw_accuracy(ax: Axes, runs: Sequence[Run]) -> None:
    """What simple classifiers make of the embedding."""
    rows = [
        ("knn_z", "neighbours on z, all labels"),
        ("knn_z_10", "neighbours on z, 10 labels a class"),
        ("linear_h", "linear on h, all labels"),
        ("linear_h_10", "linear on h, 10 labels a class"),
    ]
    for (key, label), style in zip(rows, _series(len(rows)), strict=True):
        _line(ax, runs, [100 * run.record[key] for run in runs], label, *style)
    _finish_summary(ax, runs, "accuracy on held-out images, %")


def _draw_alignment(ax: Axes, runs: Sequence[Run]) -> None:
    """Distance of positives, for data without labels."""
    _line(ax, runs, [run.record["alignment"] for run in runs], "mean squared distance", *_series(1)[0])
    _finish_summary(ax, runs, "alignment: how far apart two views lie")


def _draw_effective_negatives(ax: Axes, runs: Sequence[Run]) -> None:
    """How many negatives share the push, for data without labels."""
    values = [run.record["effective_negatives"] for run in runs]
    _line(ax, runs, values, f"of {runs[0].explanation.negatives}", *_series(1)[0])
    _finish_summary(ax, runs, "effective negatives: how many share the push")


_SUMMARIES = {
    True: (_draw_uniformity, _draw_tolerance, _draw_accuracy),
    False: (_draw_uniformity, _draw_alignment, _draw_effective_negatives),
}


def _line(ax: Axes, runs: Sequence[Run], values: Sequence[float], label: str, colour: str, marker: str) -> None:
    temperatures = [run.temperature for run in runs]
    ax.plot(temperatures, values, color=colour, marker=marker, markersize=8, linewidth=2, label=label)


def _series(count: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of up to five lines of different kinds."""
    return list(zip((SAME, OTHER, POSITIVE, "#AA4499", "#777777"), _MARKERS, strict=True))[:count]


def _ramp(count: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of up to five lines of one kind in order, from light to dark."""
    colours = ("#7FB8DA", "#3F95C6", "#0072B2", "#00507D", "#002E48")
    chosen = [round(x) for x in np.linspace(0, _MOST_LINES - 1, count)]
    return [(colours[i], _MARKERS[i]) for i in chosen]


_MARKERS = ("o", "s", "^", "D", "v")


def _spread(count: int, wanted: int) -> list[int]:
    """Up to five positions of ``count`` in order: both ends, the one that is wanted, and others evenly between."""
    evenly = [round(x) for x in np.linspace(0, count - 1, min(count, _MOST_LINES))]
    if wanted not in evenly:
        nearest = min(evenly[1:-1], key=lambda i: abs(i - wanted))
        evenly[evenly.index(nearest)] = wanted
    return sorted(evenly)


def _finish(ax: Axes) -> None:
    """The look that all panels with axes share."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=11)
    ax.xaxis.label.set(size=12, color=INK)
    ax.yaxis.label.set(size=12, color=INK)


def _finish_summary(ax: Axes, runs: Sequence[Run], title: str) -> None:
    """The look of the panels over the temperature; their legend stands below, where no line comes."""
    temperatures = [run.temperature for run in runs]
    ax.set_title(title, fontsize=13.5, color=INK)
    ax.set(xscale="log", xlabel="temperature")
    ax.set_xticks(temperatures, [f"{tau:g}" for tau in temperatures])
    ax.minorticks_off()
    ax.margins(x=0.08, y=0.1)
    ax.grid(axis="y", color=FAINT, linewidth=0.5)
    _finish(ax)
    ax.legend(frameon=False, fontsize=11, loc="upper center", bbox_to_anchor=(0.5, -0.24))


def _add_class_legend(page: _Page, ax: Axes, classes: Sequence[str], y: float) -> None:
    handles = list(ax.collections)[: len(classes)]
    names = [_shortened(name, 16) for name in classes]
    wide = sum(len(name) + 3 for name in names) > 9 * page.width  # characters that fit into a line
    page.legend(
        handles,
        names,
        y,
        ncols=-(-len(names) // 2) if wide else len(names),
        markerscale=1.6,
        handletextpad=0.1,
        columnspacing=1.1,
    )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"
