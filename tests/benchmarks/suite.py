"""The suite: each row computed by every library, compared, then timed in turns, then weighed.

Nothing is timed before its results are right. Every library has a process of its own; they take turns, round by round
and each time in another order, with a short sleep in between that lets the last one's threads come to rest, so that a
busy machine slows them alike. What is reported is the ratio of medians.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, work
from benchmarks.floor import Rates, floor
from benchmarks.libraries import BASE, LIBRARIES, OWN, Library
from benchmarks.processes import NotInstalledError, Process, WorkerError, interpreter, started
from benchmarks.rows import Row

ROUND_SECONDS = 0.15  # a library's turn lasts about so long, if one call does not take longer
ROW_SECONDS = 20.0  # a library's turns at one row: a slow one gets fewer
MOST_CALLS = 50
REST = 0.05
LEAST_ROUNDS = 3
TIMEOUT = 180.0  # of a library's first call at a size, compiling included

Say = Callable[[str], None]
Errors = dict[str, float | None]  # of the loss and of the gradients


class Suite:
    """The libraries that take part, started when a row first needs them."""

    def __init__(self, libraries: Sequence[Library], *, python: str | None, rounds: int, say: Say) -> None:
        self.python = python
        self.rounds = rounds
        self.say = say
        self.libraries = {library.name: library for library in libraries}
        self.descriptions: dict[str, Any] = {}
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Suite:
        try:
            for name in list(self.libraries):
                self._start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.close()

    def run(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Every row's results, as they go into the JSON file."""
        return [self._row(row) for row in rows]

    # --- one row

    def _row(self, row: Row) -> dict[str, Any]:
        inputs = work.draw(row.work, row.settings)
        expected = None if row.alone else work.answer(row.work, inputs, row.settings)
        found, notes = self._compute(row)
        errors, reference = compare(found, expected)
        right, refused = judge(row, errors, reference)
        self.say(f"{row.name}: {_told(errors, reference)}")
        for line in refused:
            self.say(f"{row.name}: {line}")
        entry: dict[str, Any] = {"name": row.name, "reference": reference, "errors": errors, "notes": notes + refused}
        if row.error_target is None and OWN in right:
            entry |= self._timed(right, entry["notes"])
            if (rates := self._ask(OWN, entry["notes"], "rates")) is not None:
                entry["floor"] = floor(row.work, row.settings, Rates(*rates))
            if row.memory:
                entry["memory"] = self._weighed(row, list(entry["seconds"]))
        return entry

    def _compute(self, row: Row) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
        """The results of each library that has this kind of work and manages it, and a line about each that fails."""
        found, notes = {}, []
        with tempfile.TemporaryDirectory() as folder:
            for name in [OWN] if row.alone else list(self.libraries):
                path = Path(folder) / f"{name}.npz"
                try:
                    process = self._process(name)
                    if not process.ask("offers", row.work):
                        continue
                    process.ask("prepare", row.work, row.settings, str(path), timeout=TIMEOUT)
                except WorkerError as failure:
                    notes.append(f"{name}: {failure}")
                    self.say(f"{row.name}: {notes[-1]}")
                    self._drop(name)
                    continue
                with np.load(path) as archive:
                    found[name] = dict(archive)
                wide = {str(value.dtype) for value in found[name].values() if value.ndim} - {"float32"}
                if wide:
                    notes.append(f"{name} computes in {', '.join(sorted(wide))}, not float32")
                    self.say(f"{row.name}: {notes[-1]}")
        return found, notes

    def _timed(self, names: Sequence[str], notes: list[str]) -> dict[str, Any]:
        """Medians of seconds a call, the medians of each round, and what others took of the cores meanwhile."""
        calls, rounds = {}, {}
        turns: dict[str, list[float]] = {}
        for name in names:
            if (seconds := self._ask(name, notes, "warm_up")) is not None:
                calls[name] = max(1, min(MOST_CALLS, int(ROUND_SECONDS / seconds)))
                affordable = int(ROW_SECONDS / (seconds * calls[name]))
                rounds[name] = max(min(LEAST_ROUNDS, self.rounds), min(self.rounds, affordable))
                turns[name] = []
            time.sleep(REST)
        with machine.Meter(process.pid for process in self._processes.values()) as meter:
            for number in range(self.rounds):
                for name in rotated(list(turns), number):
                    if number < rounds[name]:
                        if (seconds := self._ask(name, notes, "time", calls[name])) is None:
                            del turns[name]  # half a measurement is none
                            continue
                        turns[name].append(statistics.median(seconds))
                        time.sleep(REST)
        return {
            "seconds": {name: statistics.median(values) for name, values in turns.items()},
            "rounds": turns,
            "others": meter.others,
        }

    def _weighed(self, row: Row, names: Sequence[str]) -> dict[str, int]:
        """Peak bytes above the inputs in a fresh process, for each library where they can be had."""
        found = {}
        for name in names:
            try:
                weight = measure(self.libraries[name], self.python, row.work, row.settings, row.small)["bytes"]
            except WorkerError as failure:
                self.say(f"{row.name}: memory of {name}: {failure}")
                continue
            if weight is not None:
                found[name] = weight
        return found

    # --- processes

    def _ask(self, name: str, notes: list[str], *question: Any) -> Any:
        """A running library's answer; None, a note and no process any more if it fails."""
        try:
            return self._processes[name].ask(*question, timeout=10 * TIMEOUT)
        except WorkerError as failure:
            notes.append(f"{name}: {failure}")
            self.say(notes[-1])
            self._drop(name)
            return None

    def _process(self, name: str) -> Process:
        if name not in self._processes:
            self._processes[name] = Process(self.libraries[name], interpreter(self.libraries[name], self.python))
        return self._processes[name]

    def _drop(self, name: str) -> None:
        """End a process that failed: the next row gets a new one."""
        if name in self._processes:
            self._processes.pop(name).close()

    def _start(self, name: str) -> None:
        library = self.libraries[name]
        try:
            self.descriptions[name] = self._process(name).description
        except NotInstalledError:
            self.say(
                f"{name} is not installed, and is left out: {self.python or 'python'} -m pip install {library.package}"
            )
            del self.libraries[name]
        except WorkerError as failure:
            if name == OWN:
                raise
            self.say(f"{name} is left out: {failure}")
            del self.libraries[name]


def measure(
    library: Library, python: str | None, kind: str, settings: dict[str, Any], small: dict[str, Any], seconds: float = 0
) -> dict[str, Any]:
    """A piece of work in a process of its own: the peak of its memory, and the seconds of its calls."""
    with started(library, python) as process:
        return process.ask("measure", kind, settings, small, library.compiles, seconds, timeout=10 * TIMEOUT)


# --- what is right


def compare(
    found: dict[str, dict[str, np.ndarray]], expected: dict[str, np.ndarray] | None
) -> tuple[dict[str, Errors], str | None]:
    """Relative errors of each library's loss and gradients, and against what they were taken.

    The answer in float64 where there is one, else the first peer; None if there is nobody to compare with.
    """
    reference: str | None = "float64"
    if expected is None:
        reference = next((name for name in found if name != OWN), None)
        if reference is None:
            return {}, None
        expected = found[reference]
    errors = {name: _errors(results, expected) for name, results in found.items() if name != reference}
    return errors, reference


def judge(row: Row, errors: dict[str, Errors], reference: str | None) -> tuple[list[str], list[str]]:
    """The libraries that may be timed, hypercon first, and a line about each that may not.

    A peer whose results are wrong is left out. If hypercon's are, or nobody can tell which of two are, none is timed.
    """
    if reference is None:
        return [OWN], []
    wrong = [name for name, error in errors.items() if not within(row, error)]
    loss_at_most, gradients_at_most = row.tolerances
    refused = [
        f"{name} is not timed: relative error against {reference} {shown(errors[name]['loss'])} of the loss (at most "
        f"{loss_at_most:g}), {shown(errors[name]['gradients'])} of the gradients (at most {gradients_at_most:g})"
        for name in wrong
    ]
    if row.error_target is not None:
        return [], []
    if OWN in wrong or OWN not in errors:
        return [], refused
    right = [name for name in errors if name not in wrong]
    if reference in LIBRARIES:
        right.insert(1, reference)
    return right, refused


def within(row: Row, error: Errors) -> bool:
    """Are these errors at most the row's? What is no number is not."""
    found = (error["loss"], error["gradients"])
    return all(value is not None and value <= most for value, most in zip(found, row.tolerances, strict=True))


def _errors(results: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> Errors:
    """Of the loss, and the largest of any gradient relative to its largest entry. What is missing has none."""
    by_name = {name: _relative(results.get(name), value) for name, value in expected.items()}
    loss, gradients = by_name.pop("loss"), list(by_name.values())
    return {"loss": loss, "gradients": None if None in gradients else max(gradients)}  # type: ignore[type-var]


def _relative(got: np.ndarray | None, expected: np.ndarray) -> float | None:
    expected = np.asarray(expected, np.float64)
    if got is None or np.shape(got) != expected.shape or not np.isfinite(got).all():
        return None
    largest = np.abs(expected).max() or 1.0
    return float(np.abs(np.asarray(got, np.float64) - expected).max() / largest)


def shown(error: float | None) -> str:
    """An error in the table: "none" is not a small one, but a result that is missing or not finite."""
    return "no number" if error is None else f"{error:.0e}"


def _told(errors: dict[str, Errors], reference: str | None) -> str:
    if reference is None:
        return "compared with nothing"
    told = (f"{name} {shown(error['loss'])} / {shown(error['gradients'])}" for name, error in errors.items())
    return f"relative error of loss / gradients against {reference}: {', '.join(told)}"


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same names, another one first each time."""
    by %= len(names)
    return [*names[by:], *names[:by]]


# --- what it comes to


def ratio(entry: dict[str, Any], peer: str) -> float | None:
    """hypercon's median time as a multiple of a peer's: below 1 it is faster."""
    seconds = entry.get("seconds", {})
    return seconds[OWN] / seconds[peer] if OWN in seconds and peer in seconds else None


def floor_ratio(entry: dict[str, Any], peer: str = BASE) -> float | None:
    """The floor as a multiple of a peer's median time: no target below it can be met."""
    seconds = entry.get("seconds", {})
    return entry["floor"] / seconds[peer] if entry.get("floor") and peer in seconds else None


def memory_ratio(entry: dict[str, Any], peer: str = BASE) -> float | None:
    """hypercon's peak memory above the inputs as a multiple of a peer's."""
    memory = entry.get("memory", {})
    return memory[OWN] / memory[peer] if OWN in memory and memory.get(peer) else None


def worst(entries: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float | None]) -> float | None:
    """The largest of a figure over several runs of a row; None if any run does not have it."""
    values = [of(entry) for entry in entries]
    return None if None in values or not values else max(values)  # type: ignore[type-var]


def unmet(row: Row, entries: Sequence[dict[str, Any]]) -> list[str] | None:
    """A line for each target that the worst of the runs misses; None if none of them could be tried."""
    tried: list[tuple[str, float, float]] = []
    for peer, most in row.targets.items():
        if (value := worst(entries, lambda entry, peer=peer: ratio(entry, peer))) is not None:
            tried.append((f"{value:.3g} times {LIBRARIES[peer].label}'s time", value, most))
    for peer, most in row.memory_targets.items():
        value = worst(
            entries,
            (lambda entry: _mebibytes(entry))
            if peer == "MiB"
            else (lambda entry, peer=peer: memory_ratio(entry, peer)),
        )
        if value is not None:
            whose = "MiB" if peer == "MiB" else f"times {LIBRARIES[peer].label}'s memory"
            tried.append((f"{value:.3g} {whose}", value, most))
    if row.error_target is not None:
        value = worst(entries, lambda entry: entry["errors"].get(OWN, {}).get("loss"))
        if value is not None:
            tried.append((f"relative error {value:.1g}", value, row.error_target))
    if not tried:
        return None
    return [f"{what}, target {most:.3g}" for what, value, most in tried if not value <= most]


def _mebibytes(entry: dict[str, Any]) -> float | None:
    memory = entry.get("memory", {})
    return memory[OWN] / 2**20 if OWN in memory else None
