"""Results in words: the table at the end of an experiment, and the table over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypercon.experiments import dilemma
from hypercon.files import atomic

_ROWS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("loss in training", lambda r: r["loss"], "{:.3f}"),
    ("  chance / floor", lambda r: (r["chance"], r["floor"]), "{:.3f} / {:.3f}"),
    ("tolerance", lambda r: r["tolerance"], "{:.3f}"),
    ("tolerance gap", lambda r: r["tolerance_gap"], "{:.3f}"),
    ("alignment (distance^2)", lambda r: r["alignment"], "{:.3f}"),
    ("effective negatives", lambda r: r["effective_negatives"], "{:.1f}"),
    ("push on the own class", lambda r: r["false_negative_share"], "{:.1%}"),
    ("kNN on z, 10 labels a class", lambda r: r["knn_z_10"], "{:.1%}"),
    ("kNN on z, all labels", lambda r: r["knn_z"], "{:.1%}"),
    ("kNN on h, all labels", lambda r: r["knn_h"], "{:.1%}"),
    ("linear on h, 10 labels a class", lambda r: r["linear_h_10"], "{:.1%}"),
    ("linear on h, all labels", lambda r: r["linear_h"], "{:.1%}"),
    ("training, seconds", lambda r: r["seconds"], "{:.1f}"),
]


def table(results: dict[str, Any]) -> str:
    """The runs of a dilemma side by side, and what became of the claims.

    Parameters
    ----------
    results : dict
        What `hypercon.experiments.dilemma.run` returns.

    Returns
    -------
    str
    """
    runs = results["runs"]
    rows = [("temperature", [f"{run['temperature']:g}" for run in runs])]
    for t in runs[0]["uniformity"]:
        most = -runs[0]["uniformity_floor"][t]
        rows.append((f"uniformity, t = {t} (of {most:.2f})", [f"{run['uniformity'][t]:.3f}" for run in runs]))
    for label, read, form in _ROWS:
        values = [read(run) for run in runs]
        if None not in values:
            rows.append((label, [form.format(*v) if isinstance(v, tuple) else form.format(v) for v in values]))
    lines = _aligned(rows)
    lines.insert(1, "-" * len(lines[0]))
    title = f"{results['data']}, {results['encoder']}, seed {results['seed']}; measured on held-out images"
    claims = [
        f"{'holds         ' if claim['holds'] else 'does not hold '} {claim['claim']}" for claim in results["claims"]
    ]
    return "\n".join([title, "", *lines, "", *claims])


def repeat(settings: dilemma.Settings, out: Path, count: int, **options: Any) -> str:
    """Run the experiment for several seeds and tabulate them; the table is also written as ``seeds.md``.

    Parameters
    ----------
    settings : dilemma.Settings
        Its seed is the first.
    out : Path
        Each seed gets a folder in it.
    count : int
        How many seeds.
    **options
        Of `dilemma.run`.

    Returns
    -------
    str
        Markdown.
    """
    everything = []
    for seed in range(settings.seed, settings.seed + count):
        options.get("say", print)(f"seed {seed}")
        everything.append(dilemma.run(replace(settings, seed=seed), out / f"seed-{seed}", **options))
    text = seeds_table(everything)
    with atomic(out / "seeds.md") as stream:
        stream.write(text.encode() + b"\n")
    return text


def seeds_table(everything: Sequence[dict[str, Any]]) -> str:
    """What each seed measured, temperature by temperature, and for how many seeds each claim holds, as Markdown."""
    first = everything[0]["runs"]
    temperatures = " / ".join(f"{run['temperature']:g}" for run in first)
    columns: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
        *(_uniformity_column(t) for t in first[0]["uniformity"]),
        ("tolerance", lambda r: r["tolerance"], "{:.3f}"),
        ("tolerance gap", lambda r: r["tolerance_gap"], "{:.3f}"),
        ("kNN z, 10 labels", lambda r: r["knn_z_10"], "{:.3f}"),
        ("linear h, all", lambda r: r["linear_h"], "{:.3f}"),
    ]
    columns = [column for column in columns if column[1](first[0]) is not None]
    lines = [
        f"{everything[0]['data']}, {everything[0]['encoder']}; each cell: temperature {temperatures}",
        "",
        "| seed | " + " | ".join(label for label, _, _ in columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
    ]
    for results in everything:
        cells = [" / ".join(form.format(read(run)) for run in results["runs"]) for _, read, form in columns]
        lines.append(f"| {results['seed']} | " + " | ".join(cells) + " |")
    lines.append("")
    for i, claim in enumerate(everything[0]["claims"]):
        count = sum(results["claims"][i]["holds"] for results in everything)
        lines.append(f"- {claim['claim']}: holds for {count} of {len(everything)} seeds")
    return "\n".join(lines)


def _uniformity_column(t: str) -> tuple[str, Callable[[dict[str, Any]], Any], str]:
    return f"uniformity t = {t}", lambda run: run["uniformity"][t], "{:.2f}"


def _aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Labels to the left, values in columns to the right."""
    label_width = max(len(label) for label, _ in rows)
    widths = [max(len(values[i]) for _, values in rows) for i in range(len(rows[0][1]))]
    return [
        f"{label:<{label_width}}  "
        + "  ".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        for label, values in rows
    ]
