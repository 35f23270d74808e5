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
from hypercon.experiments.papers.claim import HOLDS, VERDICTS, Claim, Measured, outcome
from hypercon.experiments.papers.encoders import Encoders
from hypercon.files import atomic, write_json
from hypercon.validation import check_whole
from hypercon.version import __version__

SCHEMA = 2


def choose(names: Sequence[str], say: Callable[[str], None] | None = None) -> list[Claim]:
    """The claims of some ids, or of a kind, in the order of the papers.

    Parameters
    ----------
    names : sequence of str
        Ids, kinds such as ``"exact"`` and ``"trained"``, or ``"all"``.
    say : callable, optional
        Told of names that no claim has; without it, or when none is left, they are an error.

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
    unknown = []
    for name in names:
        if name not in CLAIMS and name not in kinds:
            near = " or ".join(difflib.get_close_matches(name, CLAIMS, n=3))
            unknown.append(
                f"no claim is called {name!r}{f', perhaps {near}' if near else ''}: hypercon reproduce --list shows all"
            )
    if unknown and (say is None or len(unknown) == len(names)):
        raise InputError("; ".join(unknown))
    for line in unknown:
        assert say is not None
        say(line)
    return [made for made in CLAIMS.values() if {made.id, made.kind, "all"} & set(names)]


def run(
    claims: Sequence[Claim],
    out: str | Path,
    *,
    seed: int = 0,
    seeds: int = 5,
    data: str = "digits",
    jobs: int = 1,
    epochs: int | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Measure claims, judge them by their rules, and write what was found.

    Parameters
    ----------
    claims : sequence of Claim
    out : path-like
        Folder for ``ID.json`` and ``ID.png`` of each claim, and in ``encoders`` what was trained. What an earlier run
        left there with the same settings is taken up. ``records.json`` and ``report.html`` are of all the claims whose
        records lie in the folder, those of earlier runs too.
    seed : int, default 0
        Every exact claim draws from a generator of its own, of this seed and its id. Trainings begin with it.
    seeds : int, default 5
        How often each training is repeated.
    data : str, default "digits"
        What is trained on, as `hypercon.data.load_both` takes it.
    jobs : int, default 1
        How many trainings run side by side.
    epochs : int, optional
        Passes over the images; None takes what suits them.
    progress : bool, default False
        Show a bar while training.
    say : callable, optional
        Receives a line for each claim.

    Returns
    -------
    list of dict
        The records of these claims. In the place of ``"verdict"``, a claim that the data are not fit for has
        ``"skipped"``, and one whose measurement failed has ``"error"``.

    Raises
    ------
    InputError, DataError
        The folder cannot be written to, or the data cannot be loaded.
    """
    from hypercon.experiments.papers.page import figure, write_page  # matplotlib is loaded by those who draw

    seed, seeds = check_whole(seed, "seed", least=0), check_whole(seeds, "seeds", least=1)
    jobs = check_whole(jobs, "jobs", least=1)
    if epochs is not None:
        epochs = check_whole(epochs, "epochs", least=1)
    out = folder.named(out)
    encoders, refused = None, dict[str, dict[str, str]]()
    if any(made.recipes for made in claims):
        encoders = Encoders(data, out / "encoders", range(seed, seed + seeds), epochs)
    folder.make(out)
    if encoders is not None:
        refused = _train(claims, encoders, jobs, progress)
    records = []
    for number, made in enumerate(claims, 1):
        record = _opening(made, seed, encoders)
        earlier = _taken_up(out, made, record)
        if made.id in refused:
            record |= refused[made.id]
        elif earlier:
            record = earlier
        else:
            record, measured = examine(made, seed, encoders)
            if measured is not None:
                with atomic(out / f"{made.id}.png") as stream:
                    figure(measured).savefig(stream, format="png")
        write_json(out / f"{made.id}.json", record)
        records.append(record)
        again = " (taken up)" if earlier and made.id not in refused else ""
        say(f"[{number}/{len(claims)}] {made.id}: {outcome(record)}{again}")
    everything = _with_earlier(out, records)
    write_json(out / "records.json", everything)
    write_page(out, everything)
    return records


def examine(made: Claim, seed: int = 0, encoders: Encoders | None = None) -> tuple[dict[str, Any], Measured | None]:
    """One claim's record, and what was measured unless that failed."""
    record = _opening(made, seed, encoders)
    start = time.perf_counter()
    measured = None
    try:
        measured = made.measure(encoders if made.recipes else np.random.default_rng([seed, *made.id.encode()]))
        values = json.loads(json.dumps(measured.values, allow_nan=False))  # what is judged is what is recorded
        record |= {"values": values} | _judged(made, values)
    except HyperconError as error:
        record["error"] = f"could not be measured: {error}"
    record["seconds"] = time.perf_counter() - start
    if made.recipes and encoders is not None and "verdict" in record:
        record["training_seconds"] = encoders.seconds(made.recipes)
    return record, measured


def _opening(made: Claim, seed: int, encoders: Encoders | None) -> dict[str, Any]:
    """What a record says before anything was measured: two that agree in it are of one measurement."""
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "id": made.id,
        "source": made.source,
        "claim": made.sentence,
        "rule": made.rule,
        "kind": made.kind,
    }
    if made.reported:
        record["reported"] = made.reported
    if made.recipes and encoders is not None:
        record["seeds"] = list(encoders.seeds)
        record["settings"] = encoders.described() | {"recipes": [recipe.name for recipe in made.recipes]}
    else:
        record["seed"] = seed
    record["versions"] = {"hypercon": __version__, "numpy": np.__version__, "python": platform.python_version()}
    return record


def _taken_up(out: Path, made: Claim, opening: dict[str, Any]) -> dict[str, Any] | None:
    """The record that an earlier run with the same settings left, judged anew."""
    try:
        record: dict[str, Any] = json.loads((out / f"{made.id}.json").read_bytes())
        if any(record[key] != value for key, value in opening.items()) or not (out / f"{made.id}.png").exists():
            return None
        return {key: value for key, value in record.items() if key != "why"} | _judged(made, record["values"])
    except (OSError, ValueError, LookupError, TypeError):  # none, or not such a one
        return None


def _with_earlier(out: Path, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These records and those of other claims that lie in the folder, in the order of the papers."""
    mine = {record["id"]: record for record in records}
    found = [mine.pop(name, None) or _earlier(out, made) for name, made in CLAIMS.items()]
    return [record for record in [*found, *mine.values()] if record is not None]


def _earlier(out: Path, made: Claim) -> dict[str, Any] | None:
    """The record that an earlier run left of a claim, with whatever settings; a verdict is that of today's rule."""
    try:
        record: dict[str, Any] = json.loads((out / f"{made.id}.json").read_bytes())
        said = _opening(made, 0, None)
        if any(record[key] != said[key] for key in ("schema", "id", "claim", "rule", "kind")):
            return None
        if made.recipes:
            drawn = [record["seeds"][0], record["settings"]["data"], *record["settings"]["recipes"]]
        else:
            drawn = [record["seed"]]
        if None in drawn:
            return None
        if "verdict" not in record:
            return record if isinstance(record.get("error", record.get("skipped")), str) else None
        return {key: value for key, value in record.items() if key != "why"} | _judged(made, record["values"])
    except (OSError, ValueError, LookupError, TypeError):  # none, or not such a one
        return None


def _judged(made: Claim, values: dict[str, Any]) -> dict[str, str]:
    """The verdict on what was measured, and why where it does not simply hold."""
    verdict = made.judge(values)
    why = "" if verdict == HOLDS else made.why(values)
    return {"verdict": verdict} | ({"why": why} if why else {})


def _train(claims: Sequence[Claim], encoders: Encoders, jobs: int, progress: bool) -> dict[str, dict[str, str]]:
    """Train what the claims look at; of those that cannot be measured, why."""
    refused: dict[str, dict[str, str]] = {}
    for made in claims:
        if made.labels and not encoders.labelled:
            refused[made.id] = {"skipped": f"left out: it needs labels, and {encoders.data} has none"}
        elif made.recipes:
            try:
                encoders.check(made.recipes)
            except InputError as error:
                refused[made.id] = {"skipped": f"left out: {error}"}
    wanted = [recipe for made in claims if made.id not in refused for recipe in made.recipes]
    failed = encoders.prepare(wanted, jobs=jobs, progress=progress)
    for made in claims:
        reasons = [f"{recipe.name}, {failed[recipe]}" for recipe in made.recipes if recipe in failed]
        if reasons and made.id not in refused:
            refused[made.id] = {"error": f"could not be measured: {reasons[0]}"}
    return refused


def table(records: Sequence[dict[str, Any]]) -> str:
    """Every record's id and verdict, and how often each verdict fell."""
    width = max(len(record["id"]) for record in records)
    verdicts = [outcome(record) for record in records]
    lines = [f"{record['id']:<{width}}  {verdict}" for record, verdict in zip(records, verdicts, strict=True)]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return "\n".join([*lines, "", "; ".join(counts)])


def listing(claims: Sequence[Claim]) -> str:
    """Claims, two lines each: id, kind, expected time and source; and the sentence."""
    width = max(len(made.id) for made in claims)
    return "\n".join(
        f"{c.id:<{width}}  {c.kind}, {_expected(c)}; {c.source}\n{'':<{width}}  {c.sentence}" for c in claims
    )


def _expected(made: Claim) -> str:
    """How long it takes, in words; encoders that other claims share are trained once."""
    if not made.recipes:
        return "seconds"
    count = len(made.recipes)
    seconds = count * SECONDS_EACH
    about = f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{count} encoder{'s' if count > 1 else ''}, about {about} a seed"


SECONDS_EACH = 5  # of an encoder of digits, on one quiet core
