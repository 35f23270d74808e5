"""How the cost of a loss grows with the batch, and that of a training step with batch and width: hypercon alone.

Every point is a process of its own. An exponent is the slope of a line through the larger half of the points, both axes
logarithmic: what remains when the fixed costs no longer count.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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

![Three log-log plots: seconds of a loss over the batch, its peak memory above the inputs, and seconds of a training
step over the batch and over the width of the network, each with its fitted exponent.]({name}.png)

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
    half = len(sizes) // 2
    kept = [value for value in values[half:] if value]
    if len(kept) < len(values) - half or len(kept) < 2:
        return None
    return float(np.polyfit(np.log(sizes[half:]), np.log(kept), 1)[0])


def sentences(part: dict[str, Any]) -> str:
    """The fitted exponents as a table."""
    lines = ["| | sizes | time grows as | memory grows as |", "| --- | --- | --- | --- |"]
    for name, found in part["series"].items():
        sizes = found["sizes"]
        time, memory = (exponent(sizes, found[what]) for what in ("seconds", "bytes"))
        told = [f"size^{value:.2f}" if value is not None else "-" for value in (time, memory)]
        half = sizes[len(sizes) // 2]
        lines.append(f"| {name} | {sizes[0]:,} to {sizes[-1]:,}, fitted from {half:,} | {' | '.join(told)} |")
    return "\n".join(lines)


def figure(part: dict[str, Any]) -> Figure:
    """The three log-log plots."""
    from matplotlib.figure import Figure

    from hypercon import plotting

    drawing = Figure(figsize=(16, 5.6), dpi=100, facecolor="white")
    axes = drawing.subplots(1, 3)
    series = part["series"]
    steps = [name for name in series if name not in LOSSES]
    _draw(axes[0], {name: series[name] for name in LOSSES}, "seconds", 1, "time of a loss, forward and backward", "N")
    _draw(axes[1], {name: series[name] for name in LOSSES}, "bytes", 2**20, "its peak memory above the inputs", "N")
    _draw(
        axes[2], {name: series[name] for name in steps}, "seconds", 1, "time of a CNN step, 28x28", "images, or width"
    )
    axes[0].set_ylabel("seconds")
    axes[1].set_ylabel("MiB")
    axes[2].set_ylabel("seconds")
    here = part["machine"]
    drawing.text(
        0.5, 0.02, f"{here['processor']}, {here['cores']} core(s); dashed: the fit, through the larger half of sizes",
        ha="center", fontsize=11, color=plotting.INK,
    )  # fmt: skip
    drawing.subplots_adjust(left=0.055, right=0.99, top=0.9, bottom=0.2, wspace=0.24)
    return drawing


def _draw(ax: Any, series: dict[str, Any], what: str, unit: float, title: str, label: str) -> None:
    from hypercon import plotting

    colours = (plotting.SAME, plotting.OTHER, plotting.POSITIVE)
    for (name, found), colour, marker in zip(series.items(), colours, ("o", "s", "^"), strict=False):
        slope = exponent(found["sizes"], found[what])
        points = [(size, value / unit) for size, value in zip(found["sizes"], found[what], strict=True) if value]
        if not points:
            continue
        sizes, values = (np.array(column, float) for column in zip(*points, strict=True))
        text = name if slope is None else f"{name}: size^{slope:.2f}"
        ax.plot(sizes, values, color=colour, marker=marker, markersize=7, linewidth=2, label=text)
        if slope is not None:
            half = len(sizes) // 2
            middle = np.exp(np.mean(np.log(values[half:])) - slope * np.mean(np.log(sizes[half:])))
            ax.plot(sizes, middle * sizes**slope, color=colour, linewidth=1, linestyle="--", alpha=0.7)
    ax.set(xscale="log", yscale="log", xlabel=label)
    ax.set_title(title, fontsize=13.5, color=plotting.INK)
    ax.grid(color=plotting.FAINT, linewidth=0.5, which="major")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=11, loc="upper left")
