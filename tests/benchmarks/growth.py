"""How the cost of a loss grows with the batch, and that of a training step with batch and width: hypercon alone.

Every point is a process of its own. An exponent is the slope of a line through the larger half of the points, both axes
logarithmic: what remains when the fixed costs no longer count.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.libraries import LIBRARIES, OWN
from benchmarks.suite import measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = 1.0  # calls go on for so long at each point
_LOSS = {"dim": 128, "temperature": 0.1}
_STEP = {"count": 512, "side": 28, "channels": 1, "kernels": (32, 64, 128), "dim": 128, "temperature": 0.2,
         "rate": 0.05, "momentum": 0.9}  # fmt: skip
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "InfoNCE, one way": ("info_nce", _LOSS | {"symmetric": False}),
    "InfoNCE, symmetric": ("info_nce", _LOSS | {"symmetric": True}),
    "NT-Xent": ("nt_xent", _LOSS),
}
COUNTS = [256, 512, 1024, 2048, 4096, 8192, 16384]
LARGE_COUNTS = [32768, 65536]
BATCHES = [32, 64, 128, 256, 512]
WIDTHS = [8, 16, 32, 64]

PAGE = """\
## How cost grows

![Four log-log plots: time of a loss over the batch, its peak memory above the inputs, and time of a training step over
the batch and over the width of the network, each with its fitted exponent.]({name}.png)

The loss compares every embedding with every other, so its time is of order N squared; its memory need not be, since no
matrix of pairs is ever whole. A training step is linear in the batch as long as the network, and not the loss, is what
takes the time."""


def run(*, large: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """All series: for each the sizes, the median seconds and the peak bytes above the inputs.

    Parameters
    ----------
    large : bool
        Go on to N = 65,536, which takes minutes a point.
    say : callable
        Told of each point.
    """
    counts = COUNTS + (LARGE_COUNTS if large else [])
    series = {
        name: _series(name, kind, [settings | {"count": count} for count in counts], counts, {"count": 16}, say)
        for name, (kind, settings) in LOSSES.items()
    }
    by_batch = [_STEP | {"count": 2 * batch} for batch in BATCHES]
    by_width = [_STEP | {"kernels": (width, 2 * width, 4 * width)} for width in WIDTHS]
    series["step over the batch"] = _series("step over the batch", "cnn_step", by_batch, BATCHES, {"count": 8}, say)
    series["step over the width"] = _series("step over the width", "cnn_step", by_width, WIDTHS, {"count": 8}, say)
    return series


def _series(
    name: str,
    kind: str,
    points: Sequence[dict[str, Any]],
    sizes: Sequence[int],
    small: dict[str, Any],
    say: Callable[[str], None],
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"sizes": list(sizes), "seconds": [], "bytes": []}
    for size, settings in zip(sizes, points, strict=True):
        measured = measure(LIBRARIES[OWN], None, kind, settings, small, SECONDS)
        found["seconds"].append(statistics.median(measured["seconds"]))
        found["bytes"].append(measured["bytes"])
        say(f"{name}, {size:,}: {found['seconds'][-1]:.3g} s")
    return found


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float | None:
    """The slope through the larger half of the points in logarithms; None if a value is missing or zero."""
    line = _fit(sizes, values)
    return None if line is None else line[0]


def _fit(sizes: Sequence[float], values: Sequence[float | None]) -> tuple[float, float] | None:
    """The exponent, and the logarithm of the value at size 1."""
    kept = values[_first_fitted(sizes) :]
    if len(kept) < 2 or not all(kept):
        return None
    slope, start = np.polyfit(np.log(sizes[-len(kept) :]), np.log(np.array(kept, float)), 1)
    return float(slope), float(start)


def _first_fitted(sizes: Sequence[float]) -> int:
    """Where the larger half begins; three points at least, if there are so many."""
    return max(0, min(len(sizes) // 2, len(sizes) - 3))


def sentences(part: dict[str, Any]) -> str:
    """The fitted exponents as a table, and a word on who else was at work."""
    lines = ["| | sizes | time grows as | memory grows as |", "| --- | --- | --- | --- |"]
    for name, found in part["series"].items():
        sizes = found["sizes"]
        time, memory = (exponent(sizes, found[what]) for what in ("seconds", "bytes"))
        told = [f"size^{value:.2f}" if value is not None else "-" for value in (time, memory)]
        half = sizes[_first_fitted(sizes)]
        lines.append(f"| {name} | {sizes[0]:,} to {sizes[-1]:,}, fitted from {half:,} | {' | '.join(told)} |")
    if (share := part.get("others")) is not None and share > machine.BUSY:
        lines += ["", f"Other processes took {share:.0%} of the cores' time meanwhile: {machine.ADVICE}."]
    return "\n".join(lines)


def figure(part: dict[str, Any]) -> Figure:
    """Log-log plots of the loss's time and memory, and of the step's time over batch and width."""
    from matplotlib.figure import Figure

    from hypercon import plotting

    drawing = Figure(figsize=(16, 12), dpi=100, facecolor="white")
    axes = drawing.subplots(2, 2).flat
    series = part["series"]
    losses = {name: series[name] for name in LOSSES}
    _draw(axes[0], losses, "seconds", 1, "seconds", "a loss, forward and backward: time", "N")
    _draw(axes[1], losses, "bytes", 2**20, "MiB", "a loss, forward and backward: peak memory above the inputs", "N")
    batch, width = ({name: series[name]} for name in series if name not in LOSSES)
    _draw(axes[2], batch, "seconds", 1, "seconds", "a CNN step, 28x28: time", "images in a batch, two views each")
    _draw(axes[3], width, "seconds", 1, "seconds", "a CNN step, 28x28: time", "kernels of the first layer")
    here = part["machine"]
    caption = f"{here['processor']}, {here['cores']} core(s); dashed: the fit, through the larger half of the sizes"
    drawing.text(0.5, 0.015, caption, ha="center", fontsize=12, color=plotting.INK)
    drawing.subplots_adjust(left=0.06, right=0.985, top=0.955, bottom=0.09, wspace=0.16, hspace=0.27)
    return drawing


def _draw(ax: Any, series: dict[str, Any], what: str, unit: float, unit_name: str, title: str, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from hypercon import plotting

    colours = (plotting.SAME, plotting.OTHER, plotting.POSITIVE)
    for (name, found), colour, marker in zip(series.items(), colours, ("o", "s", "^"), strict=False):
        sizes = np.array(found["sizes"], float)
        values = np.array([np.nan if value is None else value / unit for value in found[what]])
        fit = _fit(found["sizes"], found[what])
        text = name if fit is None else f"{name}: size$^{{{fit[0]:.2f}}}$"
        ax.plot(sizes, values, color=colour, marker=marker, markersize=8, linewidth=2, label=text)
        if fit is not None:
            line = np.exp(fit[1]) / unit * sizes ** fit[0]
            ax.plot(sizes, line, color=colour, linewidth=1.2, linestyle="--", alpha=0.7)
    ax.set(xscale="log", yscale="log", xlabel=label, ylabel=unit_name)
    ax.set_xticks(found["sizes"], [f"{size:,}" for size in found["sizes"]])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    low, high = ax.get_ylim()
    ax.set_ylim(10 ** np.floor(np.log10(low)), high * (high / low) ** (0.1 * len(series)))  # room for the legend
    ax.set_title(title, fontsize=14, color=plotting.INK)
    ax.tick_params(labelsize=11.5)
    ax.xaxis.label.set_size(12)
    ax.yaxis.label.set_size(12)
    ax.grid(color=plotting.FAINT, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=12.5, loc="upper left")
