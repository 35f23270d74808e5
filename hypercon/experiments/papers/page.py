"""The report of a reproduction: a picture for each claim, and all verdicts on one page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hypercon.experiments.papers.claim import VERDICTS, Panel
from hypercon.files import atomic
from hypercon.palette import CURVES

STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")


def figure(panel: Panel) -> Figure:
    """A claim's picture."""
    drawn = Figure(figsize=(6.4, 4), dpi=110, facecolor="white", layout="constrained")
    ax = drawn.subplots()
    single = len(panel.curves) + len(panel.levels) == 1
    for i, (name, (x, y)) in enumerate(panel.curves.items()):
        (curve,) = ax.plot(x, y, color=CURVES[i % 4], label=name, linewidth=2, markersize=4.5)
        curve.set(linestyle="" if panel.dots else STYLES[i % 4], alpha=0.75 if panel.dots else 1)
        if panel.dots or len(x) <= 20:
            curve.set_marker(MARKERS[i % 4])
    for i, (name, level) in enumerate(panel.levels.items()):
        ax.axhline(level, color="#555555", linewidth=1.2, linestyle=STYLES[(i + 3) % 4], label=name, zorder=0)
    if panel.log_x:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())  # between the powers of ten there is no room for more
    if panel.log_y:
        ax.set_yscale("log")
    ax.set_xlabel(panel.x)
    ax.set_ylabel(panel.y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#E4E4E4", linewidth=0.6)
    if not single:
        drawn.legend(loc="outside upper center", ncols=min(3, len(panel.curves) + len(panel.levels)), frameon=False)
    return drawn


def write_page(out: Path, records: Sequence[dict[str, Any]]) -> Path:
    """``report.html``: every record of this run with its picture."""
    text = (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    page = Template(text).substitute(
        summary=_summary(records), claims="\n".join(_article(record, out) for record in records)
    )
    with atomic(out / "report.html") as stream:
        stream.write(page.encode())
    return out / "report.html"


def _summary(records: Sequence[dict[str, Any]]) -> str:
    counts = {verdict: sum(r.get("verdict") == verdict for r in records) for verdict in VERDICTS}
    counts["could not be measured"] = sum("error" in r for r in records)
    return "".join(f"<li><b>{count}</b> {html.escape(name)}</li>" for name, count in counts.items() if count)


def _article(record: dict[str, Any], out: Path) -> str:
    escaped = {key: html.escape(str(record[key])) for key in ("id", "source", "claim", "rule")}
    verdict = html.escape(record.get("verdict") or record["error"])
    picture = out / f"{record['id']}.png"
    image = ""
    if "verdict" in record and picture.exists():
        data = base64.b64encode(picture.read_bytes()).decode()
        image = f'<img alt="The measurement of {escaped["id"]}" src="data:image/png;base64,{data}">'
    values = "".join(
        f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(_in_words(value))}</td></tr>"
        for name, value in record.get("values", {}).items()
    )
    kind = ("holds", "range", "refuted", "text")[VERDICTS.index(record["verdict"])] if "verdict" in record else "error"
    return (
        f'<article id="{escaped["id"]}"><header><p class="verdict {kind}">{verdict}</p>'
        f'<h2>{escaped["claim"]}</h2><p class="source">{escaped["source"]}</p></header>{image}'
        f"<table>{values}</table><p><b>Rule.</b> {escaped['rule']}.</p>"
        f"<p><code>hypercon reproduce {escaped['id']} --seed {record['seed']}</code></p></article>"
    )


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(item)}" for name, item in value.items())
    return str(value)


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """The records as a table for the documentation."""
    lines = ["| id | source | claim | verdict | measured |", "| --- | --- | --- | --- | --- |"]
    for record in records:
        values = "; ".join(f"{k.replace('_', ' ')}: {_in_words(v)}" for k, v in record.get("values", {}).items())
        cells = (f"`{record['id']}`", record["source"], record["claim"], f"**{record['verdict']}**", values)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
