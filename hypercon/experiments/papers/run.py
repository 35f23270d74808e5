"""Claims measured and judged: a record and a picture for each, and one page of all."""

from __future__ import annotations

import difflib
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypercon.errors import HyperconError, InputError
from hypercon.experiments import folder
from hypercon.experiments.papers import CLAIMS
from hypercon.experiments.papers.claim import VERDICTS, Claim, Measured
from hypercon.files import atomic, write_json
from hypercon.validation import check_whole
from hypercon.version import __version__

SCHEMA = 1


def choose(names: Sequence[str]) -> list[Claim]:
    """The claims of some ids, or of a kind, in the order of the papers.

    Parameters
    ----------
    names : sequence of str
        Ids, kinds such as ``"exact"``, or ``"all"``.

    Returns
    -------
    list of Claim

    Raises
    ------
    InputError
        No claim has such an id; the nearest ids are named.

    Examples
    --------
    >>> [claim.id for claim in choose(["wl-eq5", "wl-eq4"])]
    ['wl-eq4', 'wl-eq5']
    """
    kinds = {made.kind for made in CLAIMS.values()} | {"all"}
    for name in names:
        if name not in CLAIMS and name not in kinds:
            near = " or ".join(difflib.get_close_matches(name, CLAIMS, n=3))
            raise InputError(
                f"no claim is called {name!r}{f', perhaps {near}' if near else ''}: hypercon reproduce --list shows all"
            )
    return [made for made in CLAIMS.values() if {made.id, made.kind, "all"} & set(names)]


def run(
    claims: Sequence[Claim], out: str | Path, *, seed: int = 0, say: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """Measure claims, judge them by their rules, and write what was found.

    Parameters
    ----------
    claims : sequence of Claim
    out : path-like
        Folder for ``ID.json`` and ``ID.png`` of each claim, ``records.json`` with all of them, and ``report.html``.
    seed : int, default 0
        Every claim draws from a generator of its own, of this seed and its id.
    say : callable, optional
        Receives a line for each claim.

    Returns
    -------
    list of dict
        The records. A claim that could not be measured has ``"error"`` in the place of ``"verdict"``.

    Raises
    ------
    InputError
        The folder cannot be written to.
    """
    from hypercon.experiments.papers.page import figure, write_page  # matplotlib is loaded by those who draw

    seed = check_whole(seed, "seed", least=0)
    out = folder.named(out)
    folder.make(out)
    records = []
    for number, made in enumerate(claims, 1):
        record, measured = examine(made, seed)
        if measured is not None:
            with atomic(out / f"{made.id}.png") as stream:
                figure(measured.panel).savefig(stream, format="png")
        write_json(out / f"{made.id}.json", record)
        records.append(record)
        say(f"[{number}/{len(claims)}] {made.id}: {record.get('verdict') or record['error']}")
    write_json(out / "records.json", records)
    write_page(out, records)
    return records


def examine(made: Claim, seed: int = 0) -> tuple[dict[str, Any], Measured | None]:
    """One claim's record, and what was measured unless that failed."""
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "id": made.id,
        "source": made.source,
        "claim": made.sentence,
        "rule": made.rule,
        "kind": made.kind,
        "seed": seed,
    }
    start = time.perf_counter()
    measured = None
    try:
        measured = made.measure(np.random.default_rng([seed, *made.id.encode()]))
        values = json.loads(json.dumps(measured.values, allow_nan=False))  # what is judged is what is recorded
        record |= {"verdict": made.judge(values), "values": values}
    except HyperconError as error:
        record["error"] = f"could not be measured: {error}"
    record["seconds"] = time.perf_counter() - start
    record["versions"] = {"hypercon": __version__, "numpy": np.__version__, "python": platform.python_version()}
    return record, measured


def table(records: Sequence[dict[str, Any]]) -> str:
    """Every record's id and verdict, and how often each verdict fell."""
    width = max(len(record["id"]) for record in records)
    verdicts = [record.get("verdict") or record["error"] for record in records]
    lines = [f"{record['id']:<{width}}  {verdict}" for record, verdict in zip(records, verdicts, strict=True)]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return "\n".join([*lines, "", "; ".join(counts)])


def listing() -> str:
    """All claims, a line each: id, kind, source and sentence."""
    width = max(map(len, CLAIMS))
    return "\n".join(f"{c.id:<{width}}  {c.kind}  {c.source}\n{'':<{width}}  {c.sentence}" for c in CLAIMS.values())
