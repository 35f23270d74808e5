"""The report of a reproduction: a picture for each claim, and all verdicts on one page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hypercon.experiments.papers.claim import VERDICTS, Cloud, Measured, Panel, Scene, outcome
from hypercon.files import atomic
from hypercon.palette import CLASS_COLOURS, CURVES

STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
WORDS = dict(
    zip(VERDICTS, ("hold", "hold in a range", "do not hold here", "contradict the paper's own text"), strict=True)
)
MOST_TICKS = 8  # of a curve's own places; of more an axis shows round numbers
MOST_VALUES = 6  # of one measure in a cell of the documentation
WIDE = 700  # pixels; a picture that is wider takes the whole width of the page


def figure(measured: Measured) -> Figure:
    """A claim's picture: its parts side by side."""
    parts = measured.panels
    wide = [isinstance(part, Scene) for part in parts]
    shares = [3.2 if scene else 6.4 if len(parts) == 1 else 4.8 for scene in wide]
    drawn = Figure(figsize=(sum(shares), 3.5 if all(wide) else 4), dpi=100, facecolor="white", layout="constrained")
    axes = drawn.subplots(1, len(parts), width_ratios=shares, squeeze=False)[0]
    for ax, part in zip(axes, parts, strict=True):
        if isinstance(part, Panel):
            _draw_panel(ax, part)
        elif isinstance(part, Cloud):
            _draw_cloud(drawn, ax, part)
        else:
            _draw_scene(ax, part)
        if part.title:
            ax.set_title(part.title, fontsize=11)
    return drawn


def _draw_panel(ax: Axes, panel: Panel) -> None:
    single = len(panel.curves) + len(panel.levels) == 1
    named = False
    for i, (name, (x, y)) in enumerate(panel.curves.items()):
        dots = panel.dots if isinstance(panel.dots, bool) else name in panel.dots
        colour = CURVES[i % 4]
        (curve,) = ax.plot(x, y, color=colour, label=name or None, linewidth=2, markersize=4.5)
        curve.set(linestyle="" if dots else STYLES[i % 4], alpha=0.75 if dots else 1)
        if dots or len(x) <= 20:
            curve.set_marker(MARKERS[i % 4])
        if name in panel.spreads:
            ax.errorbar(x, y, yerr=panel.spreads[name], fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)
        named |= any(isinstance(value, str) for value in x) and sum(map(len, map(str, x))) > 40
    for i, (name, level) in enumerate(panel.levels.items()):
        ax.axhline(level, color="#555555", linewidth=1.2, linestyle=STYLES[(i + 3) % 4], label=name, zorder=0)
    if panel.log_x:
        ax.set_xscale("log")
        places = sorted({float(value) for x, _ in panel.curves.values() for value in x})
        if len(places) <= MOST_TICKS:
            ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.xaxis.set_minor_formatter(NullFormatter())  # between the powers of ten there is no room for more
    if panel.log_y:
        ax.set_yscale("log")
    if named:
        ax.tick_params(axis="x", labelrotation=35)
    ax.set_xlabel(panel.x)
    ax.set_ylabel(panel.y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#E4E4E4", linewidth=0.6)
    if not single:
        count = len(panel.curves) + len(panel.levels)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(2, count), frameon=False, fontsize=9)


def _draw_cloud(drawn: Figure, ax: Axes, cloud: Cloud) -> None:
    points = ax.scatter(*cloud.at, c=cloud.colour, cmap="viridis", s=34, edgecolors="#444444", linewidths=0.4)
    drawn.colorbar(points, ax=ax, label=cloud.meaning)
    ax.set_xlabel(cloud.x)
    ax.set_ylabel(cloud.y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#E4E4E4", linewidth=0.6)


def _draw_scene(ax: Axes, scene: Scene) -> None:
    if scene.labels is None or len(np.unique(scene.labels)) > len(CLASS_COLOURS):
        ax.scatter(scene.points[:, 0], scene.points[:, 1], s=7, color=CURVES[0], linewidths=0)
    else:
        for kind in np.unique(scene.labels):
            here = scene.points[scene.labels == kind]
            ax.scatter(here[:, 0], here[:, 1], s=7, color=CLASS_COLOURS[kind % len(CLASS_COLOURS)], linewidths=0)
    limit = 1.08 * float(np.abs(scene.points).max())
    ax.set(aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
    ax.spines[:].set_color("#CCCCCC")


def write_page(out: Path, records: Sequence[dict[str, Any]]) -> Path:
    """``report.html``: every record with its picture."""
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
    counts["left out"] = sum("skipped" in r for r in records)
    return "".join(f"<li><b>{count}</b> {html.escape(name)}</li>" for name, count in counts.items() if count)


def _article(record: dict[str, Any], out: Path) -> str:
    escaped = {key: html.escape(str(record[key])) for key in ("id", "source", "claim", "rule")}
    verdict = html.escape(outcome(record))
    picture = out / f"{record['id']}.png"
    image, wide = "", ""
    if "verdict" in record and picture.exists():
        png = picture.read_bytes()
        wide = ' class="wide"' if int.from_bytes(png[16:20]) > WIDE else ""  # where a PNG says how wide it is
        data = base64.b64encode(png).decode()
        image = f'<img alt="The measurement of {escaped["id"]}" src="data:image/png;base64,{data}">'
    values = "".join(
        f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(_in_words(value))}</td></tr>"
        for name, value in record.get("values", {}).items()
    )
    kind = ("holds", "range", "refuted", "text")[VERDICTS.index(record["verdict"])] if "verdict" in record else "error"
    lines = [("Why", record.get("why")), ("The paper", record.get("reported")), ("Rule", f"{record['rule']}.")]
    notes = "".join(f"<p><b>{name}.</b> {html.escape(str(text))}</p>" for name, text in lines if text)
    return (
        f'<article id="{escaped["id"]}"{wide}><header><p class="verdict {kind}">{verdict}</p>'
        f'<h2>{escaped["claim"]}</h2><p class="source">{escaped["source"]}; {_how(record)}</p></header>{image}'
        f"<details><summary>Measured</summary><table>{values}</table></details>{notes}"
        f"<p><code>{html.escape(command(record))}</code></p></article>"
    )


def command(record: dict[str, Any]) -> str:
    """What measures a claim again."""
    if record["kind"] == "exact":
        return f"hypercon reproduce {record['id']} --seed {record['seed']}"
    first, count = record["seeds"][0], len(record["seeds"])
    more = f" --seed {first}" if first else ""
    return f"hypercon reproduce {record['id']} --data {record['settings']['data']} --seeds {count}{more}"


def _how(record: dict[str, Any]) -> str:
    if record["kind"] == "exact":
        return "by arithmetic"
    settings, seeds, count = record["settings"], record["seeds"], len(record["settings"]["recipes"])
    return (
        f"{count} encoder{'s' if count > 1 else ''} of {html.escape(str(settings['data']))}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    )


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    if isinstance(value, dict) and value.keys() == {"mean", "spread", "seeds"}:
        return f"{value['mean']:.3g}" + (f" ± {value['spread']:.1g}" if len(value["seeds"]) > 1 else "")
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(item)}" for name, item in value.items())
    return "none" if value is None else str(value)


def markdown(records: Sequence[dict[str, Any]], pictures: Collection[str] = ()) -> str:
    """The records as a table for the documentation: what was found, and what the paper reports.

    Parameters
    ----------
    records : sequence of dict
    pictures : collection of str
        Ids of those that lie as pictures in ``reproductions/`` beside the page.
    """
    lines = ["| id | source | claim | verdict | measured | the paper |", "|" + " --- |" * 6]
    for record in records:
        name = f"`{record['id']}`"
        cells = [
            f"[{name}](reproductions/{record['id']}.png)" if record["id"] in pictures else name,
            record["source"],
            record["claim"],
            f"**{outcome(record)}**",
            "; ".join(
                f"{name.replace('_', ' ')}: {_in_words(_some(value))}"
                for name, value in record.get("values", {}).items()
                if name != "sweep"  # what the record has beside what was judged
            ),
            record.get("reported", ""),
        ]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def document(records: Sequence[dict[str, Any]], pictures: Collection[str]) -> str:
    """The page of the documentation, made of the records of a full run.

    Parameters
    ----------
    records : sequence of dict
        Exact ones and trained ones.
    pictures : collection of str
        Ids of those that lie as pictures in ``reproductions/`` beside the page.
    """
    exact, trained = ([r for r in records if r["kind"] == kind] for kind in ("exact", "trained"))
    settings, seeds = trained[0]["settings"], trained[0]["seeds"]
    encoders = len({recipe for record in trained for recipe in record["settings"]["recipes"]})
    uneven = sorted({len(record["seeds"]) for record in trained} - {len(seeds)})
    text = (Path(__file__).parent / "documentation.md").read_text(encoding="utf-8")
    return Template(text).substitute(
        all=len(records),
        counts=_counted(records),
        reasons="".join(f"- `{r['id']}`, *{r['verdict']}*: {r['why']}.\n" for r in records if "why" in r),
        exact_how=f"{len(exact)} claims: {_counted(exact)}. They were drawn with seed {exact[0]['seed']}.",
        exact=markdown(exact),
        trained_how=(
            f"{len(trained)} claims: {_counted(trained)}. They look at {encoders} encoders of {settings['data']} "
            f"({settings['images']:,} images, {settings['steps']} steps), each trained with seeds "
            f"{', '.join(map(str, seeds))}" + (f" (some with {uneven[0]} seeds)" if uneven else "") + "."
        ),
        trained=markdown(trained, pictures),
        pictures="\n".join(
            f"**`{r['id']}`**, {r['source']}: {r['claim']} *{r['verdict'].capitalize()}.*\n\n"
            f"![{r['id']}](reproductions/{r['id']}.png)\n"
            for r in trained
            if r["id"] in pictures
        ),
        data=settings["data"],
        seeds=len(seeds),
    )


def _counted(records: Sequence[dict[str, Any]]) -> str:
    """How often each verdict fell, in words."""
    verdicts = [record["verdict"] for record in records]
    return ", ".join(f"{verdicts.count(verdict)} {WORDS[verdict]}" for verdict in VERDICTS if verdict in verdicts)


def _some(value: Any) -> Any:
    """Of many settings of a measure a few, spread evenly."""
    if not isinstance(value, dict) or len(value) <= MOST_VALUES:
        return value
    names = list(value)
    return {names[i]: value[names[i]] for i in np.linspace(0, len(names) - 1, MOST_VALUES).round().astype(int)}
