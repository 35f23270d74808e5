"""The explanation as a page: a still frame of its own temperature, and what the script needs to move it.

The page carries the similarities of some anchors, from which the script computes every weight, and for each stop of the
slider what the loss is for the whole batch. It asks nothing of the network.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from hypercon.errors import InputError
from hypercon.losses.hard import how_many
from hypercon.validation import as_array

if TYPE_CHECKING:
    from hypercon.explain.anatomy import Explanation

PRESETS = (0.05, 0.07, 0.2, 0.5, 1.0)
STOPS = np.geomspace(0.02, 2, 61)
BAR = 256  # units of the longest bar; page.js has the same
MOST_ANCHORS, MOST_NUMBERS, MOST_DOTS, BARS, PICTURES = 12, 24_000, 400, 20, 6


def page(e: Explanation, *, anchor: int, images: Any, classes: Sequence[str] | None) -> str:
    """The whole page, from its first line."""
    text = Template(asset("page.html"))
    return text.substitute(style=asset("page.css"), body=_content(e, anchor, images, classes))


def fragment(e: Explanation, *, anchor: int, images: Any, classes: Sequence[str] | None) -> str:
    """The same for a notebook, which has a page of its own."""
    return f"<style>{asset('page.css')}</style>{_content(e, anchor, images, classes)}"


def asset(name: str) -> str:
    """A file beside this one, as text."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _content(e: Explanation, anchor: int, images: Any, classes: Sequence[str] | None) -> str:
    pictures = None if images is None else _checked_images(images, len(e._inputs[0]))
    names = _Names(e, classes)
    some = max(1, min(MOST_ANCHORS, MOST_NUMBERS // e.similarities.shape[1], len(e.similarities)))
    others = [i for i in np.linspace(0, len(e.similarities) - 1, some + 1).astype(int).tolist() if i != anchor]
    anchors = [_anchor(e, i, names) for i in [anchor, *others[: some - 1]]]
    taus = sorted({*STOPS.round(4).tolist(), *PRESETS, e.temperature})
    start = taus.index(e.temperature)
    data = {
        "kind": e.kind,
        "even": e.kind == "hard_simple",
        "taus": taus,
        "start": start,
        "reach": 1.0 if e._settings["normalize"] else float(np.abs(e.similarities).max()) or 1.0,
        "batch": _batch(e, taus),
        "anchors": anchors,
        "pictures": {} if pictures is None else _pictures(anchors, pictures),
    }
    # a "<" inside a script element could end it
    carried = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    name = "hc-" + hashlib.sha256(carried.encode()).hexdigest()[:12]
    shown = _still(e, anchor, data, pictures is not None)
    script = asset("page.js").replace("$id", name)
    return (
        f'<div class="hc" id="{name}">{shown}<script type="application/json">{carried}</script>'
        f"<script>{script}</script></div>"
    )


class _Names:
    """What anchors and candidates are called."""

    def __init__(self, e: Explanation, classes: Sequence[str] | None) -> None:
        self.count = len(e._inputs[0])
        self.stacked = len(e.similarities) > self.count
        self.labels = e.labels
        self.classes = None if classes is None else [str(name) for name in classes]

    def __call__(self, row: int) -> str:
        view = f" view {row // self.count + 1}" if self.stacked else ""
        return f"{self.of_class(row)}#{row % self.count}{view}"

    def of_class(self, row: int) -> str:
        if self.labels is None:
            return ""
        label = int(self.labels[row])
        name = self.classes[label] if self.classes and 0 <= label < len(self.classes) else str(label)
        return f"{name if name.lstrip('-')[:1].isalpha() else f'class {name}'} "  # "6 #0" would be two numbers


def _anchor(e: Explanation, row: int, names: _Names) -> dict[str, Any]:
    """One anchor with its negatives, the hardest first."""
    order = e._hardest_first(row)
    similarities = e.similarities[row, order].astype(float)
    settings = e._settings
    kept = how_many(len(order), settings["k"], settings["alpha"]) if e.kind.startswith("hard") else len(order)
    return {
        "row": row % names.count,
        "partner": int(e.positives[row]) % names.count,
        "name": names(row),
        "positive": float(e.similarities[row, e.positives[row]]),
        "similarities": similarities.tolist(),
        "cut": float(similarities[kept - 1]),
        "names": [names(j) for j in order.tolist()],
        "candidates": (order % names.count).tolist(),
        "same": None if e.labels is None else (e.labels[order] == e.labels[row]).tolist(),
    }


def _batch(e: Explanation, taus: Sequence[float]) -> dict[str, Any]:
    """What the whole batch's loss is at every stop."""
    over = e._over(taus)
    if not e._settings["normalize"]:
        over["floor"] = [e.floor if math.isfinite(e.floor) else e.chance - 1] * len(taus)
    return {
        "loss": over["loss"],
        "floor": over["floor"],
        "chance": e.chance,
        "entropy": over["entropy"],
        "effective": over["effective_negatives"],
        "coupling": over["coupling"],
        "same": over.get("false_negative_share"),
        "base": None if e.base_rate is None else float(e.base_rate.mean()),
    }


# --- pictures of instances


def _checked_images(images: Any, count: int) -> np.ndarray:
    array = np.asarray(as_array(images, "images"), dtype=np.float64)
    if array.ndim == 4:
        array = np.moveaxis(array, 1, -1)
    if len(array) != count or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (1, 3)):
        raise InputError(
            f"images got shape {np.shape(images)}, expected ({count}, H, W) or ({count}, C, H, W) with 1 or 3 "
            f"channels: one for each instance"
        )
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InputError("images got values outside [0, 1], expected shares of white: divide by 255")
    return array[..., 0] if array.shape[-1] == 1 and array.ndim == 4 else array


def _pictures(anchors: Sequence[dict[str, Any]], images: np.ndarray) -> dict[int, str]:
    shown = {row for a in anchors for row in (a["row"], a["partner"], *a["candidates"][:PICTURES])}
    return {row: _png(images[row]) for row in sorted(shown)}


def _png(image: np.ndarray) -> str:
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, image, cmap="gray", vmin=0, vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


# --- the still frame


def _still(e: Explanation, row: int, data: dict[str, Any], with_pictures: bool) -> str:
    a = data["anchors"][0]
    weights = e.hardness[row, e._hardest_first(row)]
    return "".join(
        [
            "<h1>What the loss does to an anchor</h1>",
            f"<p>{_kind_in_words(e)} pulls the anchor to its positive and pushes it away from {e.negatives} negatives. "
            "The temperature decides how the push is shared among them: the smaller it is, the more falls on the "
            "hardest, those most similar to the anchor.</p>",
            _controls(data),
            '<div class="grid">',
            _strip(data, a, weights),
            _bars(a, weights),
            _numbers(e, data, a, row),
            _gallery(data, a, weights) if with_pictures else "",
            "</div>",
            "<noscript><p>Without a script this page shows its own temperature alone.</p></noscript>",
        ]
    )


def _kind_in_words(e: Explanation) -> str:
    return {
        "info_nce": "InfoNCE",
        "nt_xent": "NT-Xent",
        "hard_info_nce": "Hard InfoNCE",
        "hard_simple": "The hard simple loss",
        "dcl": "The decoupled loss",
    }[e.kind]


def _controls(data: dict[str, Any]) -> str:
    taus, start = data["taus"], data["start"]
    buttons = "".join(
        f'<button type="button" data-part="preset" data-stop="{taus.index(tau)}" hidden '
        f'aria-pressed="{str(taus.index(tau) == start).lower()}">{tau:g}</button>'
        for tau in PRESETS
    )
    options = "".join(f'<option value="{i}">{html.escape(a["name"])}</option>' for i, a in enumerate(data["anchors"]))
    chosen = f'<label hidden>anchor <select data-part="anchors">{options}</select></label>'
    return (
        f'<div class="controls"><span class="tau" data-part="tau" aria-live="polite">temperature '
        f"{taus[start]:.3g}</span>"
        f'<input type="range" data-part="slider" aria-label="temperature" min="0" max="{len(taus) - 1}" step="1" '
        f'value="{start}" hidden>{buttons}{chosen if len(data["anchors"]) > 1 else ""}</div>'
    )


def _strip(data: dict[str, Any], a: dict[str, Any], weights: np.ndarray) -> str:
    """Every negative at its similarity, its area the push that it receives."""

    def x(s: float) -> float:
        return 20 + 280 * (1 + max(-1.0, min(1.0, s / data["reach"])))

    dots = "".join(
        f'<circle data-part="dot" class="dot {_side(a, i)}" cx="{x(s):.2f}" cy="{30 + 108 * (i * 0.618034 % 1):.1f}" '
        f'r="{2 + 26 * math.sqrt(weights[i]):.2f}"><title>{html.escape(a["names"][i])}: {_percent(weights[i])}</title>'
        f"</circle>"
        for i, s in enumerate(a["similarities"][:MOST_DOTS])
    )
    marks = "".join(
        f'<line class="axis" x1="{x(s)}" x2="{x(s)}" y1="16" y2="152"/><text x="{x(s)}" y="170" '
        f'text-anchor="middle">{s:g}</text>'
        for s in np.linspace(-data["reach"], data["reach"], 5).round(2).tolist()
    )
    shown = len(a["similarities"])
    more = f" The {MOST_DOTS} hardest of {shown} are drawn." if shown > MOST_DOTS else ""
    key = (
        '<span><i style="background:var(--same)"></i>same class as the anchor</span>'
        '<span><i style="background:var(--other)"></i>another class</span>'
        if a["same"]
        else '<span><i style="background:var(--other)"></i>negative</span>'
    )
    return (
        '<section class="wide"><h2>Every negative at its similarity</h2><p>The area of a dot is the share of the push '
        f"that it receives.{more}</p>"
        f'<div class="key">{key}<span><i style="background:var(--positive);border-radius:1px;transform:rotate(45deg)">'
        "</i>the positive</span></div>"
        f'<svg viewBox="0 0 600 192" role="img" aria-label="Negatives by similarity to the anchor">{marks}{dots}'
        f'<path data-part="positive" class="positive" d="M0 -10 L10 0 L0 10 L-10 0 Z" '
        f'transform="translate({x(a["positive"]):.2f} 84)"/>'
        '<text x="300" y="188" text-anchor="middle">similarity to the anchor</text></svg>'
        '<div class="readout" data-part="readout" aria-live="polite"></div></section>'
    )


def _bars(a: dict[str, Any], weights: np.ndarray) -> str:
    some = range(min(BARS, len(weights)))
    lengths = BAR * weights[: len(some)] / weights[0]  # the hardest has the largest
    rows = "".join(
        f'<g data-part="bar" tabindex="0" role="img" transform="translate(0 {22 * i})" '
        f'aria-label="{html.escape(a["names"][i])} receives {_percent(weights[i])} of the push">'
        f'<rect class="track" x="120" y="4" width="{BAR}" height="13" rx="3"/>'
        f'<rect class="fill {_side(a, i)}" x="120" y="4" width="{lengths[i]:.2f}" '
        f'height="13" rx="3"/><text class="name" x="112" y="15" text-anchor="end">{html.escape(a["names"][i])}</text>'
        f'<text class="value" x="{126 + lengths[i]:.2f}" y="15">{_percent(weights[i])}</text></g>'
        for i in some
    )
    return (
        "<section><h2>The hardest negatives and their share of the push</h2><p>A softmax over the negatives alone. "
        f'The longest bar is <span data-part="longest-bar">{_percent(weights[0])}</span> of the push.</p>'
        f'<svg viewBox="0 0 430 {22 * len(some) + 4}">{rows}</svg></section>'
    )


def _numbers(e: Explanation, data: dict[str, Any], a: dict[str, Any], row: int) -> str:
    batch, at = data["batch"], data["start"]
    share = (batch["loss"][at] - batch["floor"][at]) / (batch["chance"] - batch["floor"][at])
    k = len(a["similarities"])
    gauges = (
        "<h2>The whole batch</h2><p>The loss between its floor, on the left, and chance, where nothing is told "
        "apart.</p>"
        '<svg viewBox="-4 0 408 30" role="img" aria-label="The loss between floor and chance">'
        '<rect class="track" x="0" y="8" width="400" height="12" rx="3"/>'
        f'<g data-part="loss-mark" transform="translate({400 * max(0, min(1, share)):.2f} 0)">'
        '<line class="mark" x1="0" x2="0" y1="2" y2="26"/></g></svg>'
        + _list(
            ("loss", "batch-loss", f"{batch['loss'][at]:.4f}"),
            ("floor", "batch-floor", f"{batch['floor'][at]:.4f}"),
            ("chance", "batch-chance", f"{batch['chance']:.4f}"),
            ("coupling", "batch-coupling", f"{batch['coupling'][at]:.4f}"),
            ("entropy of the weights", "batch-entropy", f"{batch['entropy'][at]:.4f} nats"),
            ("effective negatives", "batch-effective", f"{batch['effective'][at]:.1f} of {k}"),
        )
        + _gauge("effective-fill", 400 * batch["effective"][at] / k, "")
    )
    if batch["same"]:
        gauges += (
            _list(("push on the own class", "batch-same", _percent(batch["same"][at])))
            + _gauge("same-fill", 400 * batch["same"][at], "same", 400 * batch["base"])
            + f"<p>The line is the own class's share of the negatives, {_percent(batch['base'])}.</p>"
        )
    own = _list(
        ("loss", "own-loss", f"{e.per_anchor[row]:.4f}"),
        ("coupling", "own-coupling", f"{e.coupling[row]:.4f}"),
        ("entropy of its weights", "own-entropy", f"{e.entropy[row]:.4f} nats, at most {math.log(k):.4f}"),
        ("effective negatives", "own-effective", f"{e.effective_negatives[row]:.1f} of {k}"),
        *(
            [("push on the own class", "own-same", _percent(e.false_negative_share[row]))]
            if e.false_negative_share is not None
            else []
        ),
    )
    return f"<section>{gauges}<h2 style='margin-top:1rem'>This anchor</h2>{own}</section>"


def _list(*entries: tuple[str, str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd data-part={part!r}>{text}</dd>' for name, part, text in entries)}</dl>"


def _gauge(part: str, width: float, look: str, mark: float | None = None) -> str:
    line = "" if mark is None else f'<line class="mark" x1="{mark:.2f}" x2="{mark:.2f}" y1="0" y2="18"/>'
    return (
        '<svg viewBox="-4 0 408 20" aria-hidden="true"><rect class="track" x="0" y="4" width="400" height="10" rx="3"/>'
        f'<rect data-part="{part}" class="fill {look}" x="0" y="4" width="{width:.2f}" height="10" rx="3"/>{line}</svg>'
    )


def _gallery(data: dict[str, Any], a: dict[str, Any], weights: np.ndarray) -> str:
    pictures = data["pictures"]
    hard = "".join(
        f'<figure data-part="hard" class="{_side(a, i)}"><img alt="{html.escape(a["names"][i])}" '
        f'src="{pictures[a["candidates"][i]]}"><figcaption>{_percent(weights[i])}</figcaption></figure>'
        for i in range(min(PICTURES, len(weights)))
    )
    return (
        '<section class="wide"><h2>What it looks like</h2><p>The anchor, the positive\'s instance, and the hardest '
        "negatives with the share of the push that each receives.</p><div class='pictures'>"
        f'<figure class="anchor"><img data-part="anchor-picture" alt="the anchor" src="{pictures[a["row"]]}">'
        f'<figcaption>anchor</figcaption></figure><figure class="positive"><img data-part="positive-picture" '
        f'alt="the positive" src="{pictures[a["partner"]]}"><figcaption>positive</figcaption></figure>{hard}</div>'
        "</section>"
    )


def _side(a: dict[str, Any], i: int) -> str:
    return "same" if a["same"] and a["same"][i] else "other"


def _percent(share: float) -> str:
    return f"{100 * share:.{2 if share < 0.0995 else 1}f} %"
