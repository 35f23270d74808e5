"""What `hypercon bench` does with its arguments."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import growth, machine, report, rows
from benchmarks.libraries import LIBRARIES, OWN, PEERS
from benchmarks.processes import FORCED, WorkerError, started
from benchmarks.suite import Suite
from hypercon.errors import DataError, InputError
from hypercon.files import atomic, write_json

Say = Callable[[str], None]


def compare(
    *, peers: Sequence[str], only: Sequence[str] | None, large: bool, rounds: int, repeat: int, python: str | None,
    json_path: Path | None, say: Say,
) -> int:  # fmt: skip
    """Run the rows and print the table. Status 1 if any of hypercon's results are wrong or could not be had.

    Raises
    ------
    InputError
        A peer, row or interpreter is not known, or a number is too small.
    """
    for name in peers:
        if name not in PEERS:
            raise InputError(f"peers got {name!r}, expected some of {','.join(PEERS)}, or none")
    for value, name in ((rounds, "rounds"), (repeat, "repeat")):
        if value < 1:
            raise InputError(f"{name} got {value}, expected at least 1")
    try:
        chosen = rows.select(only, large)
    except ValueError as error:
        raise InputError(f"only {error}") from None
    if python is not None and shutil.which(python) is None:
        raise InputError(f"python got {python!r}, which is no program: give the path of an interpreter")
    _check_folder(json_path)
    if forced := [name for name in FORCED if name in os.environ]:
        say(f"{', '.join(forced)} is set and is taken away for this: it would force a kernel on OpenBLAS")
    libraries = [LIBRARIES[name] for name in (OWN, *dict.fromkeys(peers))]
    with Suite(libraries, python=python, rounds=rounds, say=say) as suite:
        part = {"machine": machine.description(), "libraries": suite.descriptions, "runs": []}
        for line in report.machine_lines(part):
            say(line)
        for number in range(repeat):
            if repeat > 1:
                say(f"run {number + 1} of {repeat}")
            part["runs"].append(suite.run(chosen))
    print(report.table(part["runs"]))
    if json_path is not None:
        write_json(json_path, _kept(json_path) | {"comparison": part})
        say(f"written to {json_path}")
    return int(any(_failed(entry) for run in part["runs"] for entry in run))


def follow_growth(*, large: bool, json_path: Path | None, say: Say) -> int:
    """Measure how cost grows and print the exponents."""
    _check_folder(json_path)
    try:
        with started(LIBRARIES[OWN], None) as process:
            libraries = {OWN: process.description}
        with machine.Meter([]) as meter:
            series = growth.run(large=large, say=say)
    except WorkerError as failure:
        raise InputError(f"hypercon's own process failed: {failure}") from None
    part = {"machine": machine.description(), "libraries": libraries, "series": series, "others": meter.others}
    print(growth.sentences(part))
    if json_path is not None:
        write_json(json_path, _kept(json_path) | {"growth": part})
        say(f"written to {json_path}")
    return 0


def write_page(json_path: Path, say: Say) -> int:
    """Write the page of a JSON file, and its picture, beside it."""
    if not json_path.exists():
        raise InputError(f"page got {str(json_path)!r}, which does not exist: measure first, with --json")
    results = _kept(json_path)
    if "comparison" not in results:
        raise InputError(f"page got {str(json_path)!r}, which holds no comparison: run hypercon bench --json there")
    text, written = report.page(results, json_path.stem), [json_path.with_suffix(".md")]
    if "growth" in results:
        written.append(json_path.with_suffix(".png"))
        with atomic(written[-1]) as stream:
            growth.figure(results["growth"]).savefig(stream, format="png")
    with atomic(written[0]) as stream:
        stream.write(text.encode())
    say(f"written: {', '.join(map(str, written))}")
    return 0


def _failed(entry: dict[str, Any]) -> bool:
    row = next(row for row in rows.ROWS if row.name == entry["name"])
    return OWN not in entry["errors"] and entry["reference"] is not None if row.error_target else "seconds" not in entry


def _kept(path: Path) -> dict[str, Any]:
    """What the file holds already: the table and the growth are measured one after the other."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no JSON file of hypercon bench ({error})") from None
    if not isinstance(found, dict) or not found.keys() <= {"comparison", "growth"}:
        raise DataError(f"{path} is no JSON file of hypercon bench: choose another name")
    return found


def _check_folder(path: Path | None) -> None:
    """Before minutes are spent, not after."""
    if path is not None:
        if not path.parent.is_dir():
            raise InputError(f"json got {str(path)!r}, whose folder does not exist")
        _kept(path)
