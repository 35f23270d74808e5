"""A run, or several beside each other, as a picture: the loss between chance and floor, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from hypercon import losses
from hypercon.errors import InputError
from hypercon.files import atomic
from hypercon.palette import CURVES, FAINT, INK
from hypercon.runs.reading import Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = [
    ("loss", "loss in training (mean of an epoch)"),
    ("knn", "accuracy of 5 nearest neighbours, %"),
    ("effective_rank", "effective rank, centred: dimensions filled"),
    ("uniformity", "uniformity at t = 2: higher is more even"),
    ("alignment", "alignment: squared distance of two views"),
    ("tolerance_gap", "tolerance gap: within minus between classes"),
]
_LEAST_SPAN = {"knn": 6, "effective_rank": 6, "tolerance_gap": 0.1, "alignment": 0.05}  # no drama of what hardly moves
_STYLES = ("-", "--", "-.", ":")
_LAYOUT = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.04)
MOST = len(CURVES) * len(_STYLES)


def compare(folders: Sequence[str | Path], out: str | Path) -> list[Run]:
    """Draw runs beside each other.

    Parameters
    ----------
    folders : sequence of path-like
        Those that `hypercon.runs.train` wrote, finished or not.
    out : path-like
        The picture, a PNG file.

    Returns
    -------
    list of Run

    Raises
    ------
    RunError
        A folder holds no run.
    InputError
        No run has finished an epoch, there are more than can be told apart, or ``out`` is no name of a PNG file that
        can be written.
    """
    if Path(out).suffix.lower() != ".png":
        raise InputError(f"out got {str(out)!r}, expected a name that ends in .png: the picture is of that kind")
    runs = [read_run(folder) for folder in folders]
    if not 1 <= len(runs) <= MOST:
        raise InputError(f"runs got {len(runs)} folders, expected 1 to {MOST}, which can be told apart")
    if not any(run.epochs for run in runs):
        raise InputError(f"no epoch is finished in {', '.join(str(run.folder) for run in runs)}: nothing to draw yet")
    with atomic(out) as stream:
        progress_figure(runs).savefig(stream, format="png")
    return runs


def progress_figure(runs: Sequence[Run]) -> Figure:
    """The loss and every measure over the epochs, a curve for each run."""
    figure = Figure(figsize=(15, 8.4), dpi=100, facecolor="white", layout=_LAYOUT)
    names = labels_of(runs)
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    figure.suptitle(f"{title}: training and held-out images, epoch by epoch", fontsize=16, color=INK)
    for place, (name, words) in enumerate(_PANELS):
        ax = figure.add_subplot(2, 3, place + 1)
        for i, run in enumerate(runs):
            points = [(record["epoch"], record[name]) for record in run.epochs if name in record]
            colour, style = CURVES[i % len(CURVES)], _STYLES[i // len(CURVES)]
            scale = 100 if name == "knn" else 1
            ax.plot(
                [epoch for epoch, _ in points],
                [scale * value for _, value in points],
                style,
                color=colour,
                linewidth=2,
                marker="" if len(points) > 25 else "o",
                markersize=5,
                label=names[i],
            )
        if name == "loss":
            _draw_bounds(ax, runs)
        low, high = ax.get_ylim()
        middle, least = (low + high) / 2, _LEAST_SPAN.get(name, 0) / 2
        ax.set_ylim(min(low, middle - least), max(high, middle + least))
        if not any(name in record for run in runs for record in run.epochs):
            ax.text(0.5, 0.5, "needs labels", transform=ax.transAxes, ha="center", color=INK, fontsize=12)
            ax.set_yticks([])
        _dress(ax, words)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=12)
    return figure


def labels_of(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its folder's, whole where another has the same, and the settings in which they differ."""
    described = [vars(run.settings) for run in runs]
    names = [run.folder.resolve().name for run in runs]
    names = [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]
    varied = [name for name in described[0] if len({str(one[name]) for one in described}) > 1]
    return [
        name + "".join(f", {setting} {one[setting]}" for setting in varied[:3])
        for name, one in zip(names, described, strict=True)
    ]


def _draw_bounds(ax: Axes, runs: Sequence[Run]) -> None:
    """Each run's floor, which moves with its temperature, and chance, which all share that have one size of batch."""
    for i, run in enumerate(runs):
        loss, batch_size = run.settings.loss, run.settings.batch_size
        floors = [losses.floor(loss, batch_size, record["temperature"]) for record in run.epochs]
        label = ("floor" if len(runs) == 1 else "floor of each") if i == len(runs) - 1 else None
        colour = CURVES[i % len(CURVES)]
        ax.plot([record["epoch"] for record in run.epochs], floors, color=colour, linewidth=1, alpha=0.7, label=label)
    for chance in {losses.chance(run.settings.loss, run.settings.batch_size) for run in runs}:
        ax.axhline(chance, color=INK, linewidth=1.2, linestyle=(0, (1, 2)), label="chance")


def _dress(ax: Axes, words: str) -> None:
    ax.set_title(words, fontsize=12.5, color=INK, loc="left")
    ax.set_xlabel("epoch", fontsize=11, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color=FAINT, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=11)
    ax.margins(y=0.08)
