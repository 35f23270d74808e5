"""Results in words: the table at the end of an experiment, and the table over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hypercon.distributed import executor
from hypercon.experiments import dilemma, folder
from hypercon.experiments.claims import HOLDS, UNDECIDED
from hypercon.experiments.settings import Settings
from hypercon.files import atomic
from hypercon.validation import check_whole

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
        most = runs[0]["uniformity_limit"][t]
        rows.append((f"uniformity, t = {t} (of {most:.2f})", [f"{run['uniformity'][t]:.3f}" for run in runs]))
    for label, read, form in _ROWS:
        values = [read(run) for run in runs]
        if None not in values:
            rows.append((label, [form.format(*v) if isinstance(v, tuple) else form.format(v) for v in values]))
    lines = _aligned(rows)
    lines.insert(1, "-" * len(lines[0]))
    title = f"{_named(results)}, seed {results['settings']['seed']}; measured on held-out images"
    claims = [f"{claim['verdict']:<14} {claim['claim']}" for claim in results["claims"]]
    return "\n".join([title, "", *lines, "", *claims])


def repeat(
    settings: Settings, out: str | Path, count: int, *, overwrite: bool = False, jobs: int = 1, **options: Any
) -> str:
    """Run the experiment for several seeds and tabulate them; the table is also written as ``seeds.md``.

    Parameters
    ----------
    settings : Settings
        Its seed is the first.
    out : path-like
        Each seed gets a folder in it.
    count : int
        How many seeds.
    overwrite : bool, default False
        As for `dilemma.run`, for the folder of each seed.
    jobs : int, default 1
        Seeds at a time, each in a process with one thread: `hypercon.distributed.executor`, which on a cluster takes
        the processes that ``mpiexec`` has started. No bars are shown then.
    **options
        Of `dilemma.run`.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    InputError, DtypeError, DataError, DeviceError
        As `dilemma.run`, for any of the seeds, or because the table beside them is of other settings: nothing is
        trained or written then.
    """
    out = folder.named(out)
    first = check_whole(settings.seed, "seed", least=0)
    seeds = range(first, first + check_whole(count, "repeat", least=1))
    others = [] if overwrite else [int(path.name[5:]) for path in out.glob("seed-*") if path.name[5:].isdecimal()]
    for seed in sorted({*seeds, *others}):
        dilemma.check(replace(settings, seed=seed), out / f"seed-{seed}", overwrite=overwrite)
    each = [replace(settings, seed=seed) for seed in seeds]
    folders = [out / f"seed-{seed}" for seed in seeds]
    everything = []
    if check_whole(jobs, "jobs", least=1) > 1:
        with executor(min(jobs, count)) as pool:
            everything = list(pool.map(partial(dilemma.run, overwrite=overwrite), each, folders))
    else:
        for own, place in zip(each, folders, strict=True):
            options.get("say", print)(f"seed {own.seed}")
            everything.append(dilemma.run(own, place, overwrite=overwrite, **options))
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
        f"{_named(everything[0])}; each cell: temperature {temperatures}",
        "",
        "| seed | " + " | ".join(label for label, _, _ in columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
    ]
    for results in everything:
        cells = [" / ".join(form.format(read(run)) for run in results["runs"]) for _, read, form in columns]
        lines.append(f"| {results['settings']['seed']} | " + " | ".join(cells) + " |")
    lines.append("")
    for i, claim in enumerate(everything[0]["claims"]):
        verdicts = [results["claims"][i]["verdict"] for results in everything]
        line = f"- {claim['claim']}: holds for {verdicts.count(HOLDS)} of {len(everything)} seeds"
        if UNDECIDED in verdicts:
            line += f", not decided for {verdicts.count(UNDECIDED)}"
        lines.append(line)
    return "\n".join(lines)


def _named(results: dict[str, Any]) -> str:
    """Data and encoder; of a file its name, without the folders."""
    return f"{Path(results['settings']['data']).name}, {results['settings']['encoder']}"


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
