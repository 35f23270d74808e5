"""Results as a table for the terminal and as a page for the documentation, both from the same figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import growth, machine
from benchmarks.libraries import BASE, LIBRARIES, OWN, PEERS
from benchmarks.rows import ROWS, Row
from benchmarks.suite import floor_ratio, ratio, shown, unmet, worst

_ROWS = {row.name: row for row in ROWS}
Runs = Sequence[Sequence[dict[str, Any]]]


def table(runs: Runs) -> str:
    """A line for each row, and below it what misses its target and who else was at work."""
    lines = _grid(runs)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    return "\n".join([*(line.rstrip() for line in text), "", *_remarks(runs)])


def page(results: dict[str, Any], name: str = "benchmarks") -> str:
    """The documentation of a run: the table, how it was made, and how cost grows, with the picture ``name``.png."""
    part = results["comparison"]
    cells = _grid(part["runs"])
    marked = [f"| {' | '.join(line)} |" for line in cells]
    marked.insert(1, f"|{' --- |' * len(cells[0])}")
    times = len(part["runs"])
    lines = [
        _INTRODUCTION,
        "## The table",
        _HOW_TO_READ.format(of=f"the worst of {times} runs" if times > 1 else "one run"),
        "\n".join(marked),
        "\n".join(f"- {remark}" for remark in _remarks(part["runs"])),
        "## Measured with",
        _machine(part),
    ]
    if "growth" in results:
        grown = results["growth"]
        lines += [growth.PAGE.format(name=name), growth.sentences(grown), "Measured with:", _machine(grown)]
    return "\n\n".join(lines) + "\n"


_INTRODUCTION = """\
<!-- made by `hypercon bench --page`; change tests/benchmarks/report.py, not this -->
# Benchmarks

The same work in hypercon and in other libraries, on the CPU, in float32, forward and backward. Every library is given
the same inputs in a process of its own; what it returns is compared before anything is timed; then all take turns,
round by round. A figure is a ratio of medians and belongs to the machine below: on another, or a busier one, it moves.

```sh
hypercon bench --large --repeat 3 --json docs/benchmarks.json            # the table
hypercon bench --growth --large --json docs/benchmarks.json              # how cost grows
hypercon bench --page docs/benchmarks.json                               # this page
```

`hypercon bench` runs in a source checkout, with whichever libraries are installed; `--python` names another interpreter
that has them."""

_HOW_TO_READ = """\
Time: hypercon's as a multiple of the peer's, {of}; below 1 hypercon is faster. The target is that against
PyTorch, and "met" says whether all of the row's are. Floor: what the row's matrix products and exponentials alone take
at the rates that NumPy reaches on this machine, as a multiple of PyTorch's time, measured beside the row: a
target below it is out of reach. Memory: peak above the inputs, hypercon's and PyTorch's. Error: of hypercon's loss and
of its gradients, relative to float64 or, for the networks, to PyTorch. A dash: not measured, because the library does
not have the work, failed, or was not there."""


def machine_lines(part: dict[str, Any]) -> list[str]:
    """The machine, and each library's version and threads."""
    here = part["machine"]
    lines = [f"{here['processor']}, {here['cores']} core(s) used, {here['system']}"]
    for name, found in part["libraries"].items():
        versions = dict(found["versions"])
        own = versions.pop(LIBRARIES[name].package)
        others = ", ".join(f"{package} {version}" for package, version in versions.items())
        lines.append(f"{LIBRARIES[name].label} {own} ({others}): {found['threads']}")
    return lines


def _machine(part: dict[str, Any]) -> str:
    return "\n".join(f"- {line}" for line in machine_lines(part))


# --- cells


def _grid(runs: Runs) -> list[list[str]]:
    """The header and a line for each row; peers that were never timed have no column."""
    names = [entry["name"] for entry in runs[0]]
    peers = [peer for peer in PEERS if any(ratio(entry, peer) is not None for run in runs for entry in run)]
    weighed = any(entry.get("memory") for run in runs for entry in run)
    header = ["work", "error"] + [f"/ {LIBRARIES[peer].label}" for peer in peers] + ["target"]
    floors = any(floor_ratio(entry) is not None for run in runs for entry in run)
    header += ["floor"] if floors else []
    header += ["MiB", f"{LIBRARIES[BASE].label}'s MiB"] if weighed else []
    lines = [[*header, "met"]]
    for name in names:
        entries = of_row(runs, name)
        row = _ROWS[name]
        cells = [row.label, _error(entries)]
        cells += [_figure(worst(entries, lambda entry, peer=peer: ratio(entry, peer))) for peer in peers]
        cells.append(_target(row))
        if floors:
            cells.append(_figure(worst(entries, floor_ratio)))
        if weighed:
            cells += [_mebibytes(entries, OWN), _mebibytes(entries, BASE)]
        missed = unmet(row, entries)
        lines.append([*cells, "-" if missed is None else "no" if missed else "yes"])
    return lines


def of_row(runs: Runs, name: str) -> list[dict[str, Any]]:
    """A row's entries, one for each run that has it."""
    return [entry for run in runs for entry in run if entry["name"] == name]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def _error(entries: Sequence[dict[str, Any]]) -> str:
    values = [worst(entries, _own_error(what)) for what in ("loss", "gradients")]
    return " / ".join("-" if value is None else shown(value) for value in values)


def _own_error(what: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda entry: entry["errors"].get(OWN, {}).get(what)


def _target(row: Row) -> str:
    """The one against PyTorch, or what stands in its place."""
    if row.error_target is not None:
        return f"{row.error_target:.0e}"
    return f"{row.targets[BASE]:.2f}" if BASE in row.targets else "-"


def _mebibytes(entries: Sequence[dict[str, Any]], name: str) -> str:
    value = worst(entries, lambda entry: entry.get("memory", {}).get(name))
    return "-" if value is None else f"{value / 2**20:,.0f}"


# --- remarks


def _remarks(runs: Runs) -> list[str]:
    return [*_targets_missed(runs), *_accuracies(runs), *_speeds(runs), *_notes(runs), *_neighbours(runs)]


def _targets_missed(runs: Runs) -> list[str]:
    lines = []
    for entry in runs[0]:
        row = _ROWS[entry["name"]]
        lines += [f"not met: {row.label}: {miss}" for miss in unmet(row, of_row(runs, row.name)) or ()]
    return lines or ["every target that could be tried is met"]


def _accuracies(runs: Runs) -> list[str]:
    """Where accuracy is the point, what each library's is."""
    lines = []
    for entry in runs[0]:
        if _ROWS[entry["name"]].error_target is not None:
            told = (f"{LIBRARIES[name].label} {shown(error['loss'])} / {shown(error['gradients'])}"
                    for name, error in entry["errors"].items())  # fmt: skip
            lines.append(f"{_ROWS[entry['name']].label}: relative error of loss / gradients: {', '.join(told)}")
    return lines


def _speeds(runs: Runs) -> list[str]:
    """Images a second, where that is how people think of it: never alone, but beside the peers'."""
    lines = []
    for entry in runs[0]:
        row = _ROWS[entry["name"]]
        if row.items and entry.get("seconds"):
            told = (f"{LIBRARIES[name].label} {row.items / seconds:,.0f}" for name, seconds in entry["seconds"].items())
            lines.append(f"{row.label}: images a second: {', '.join(told)}")
    return lines


def _notes(runs: Runs) -> list[str]:
    return list(dict.fromkeys(f"{entry['name']}: {note}" for run in runs for entry in run for note in entry["notes"]))


def _neighbours(runs: Runs) -> list[str]:
    shares = {entry["name"]: entry["others"] for run in runs for entry in run if entry.get("others") is not None}
    busy = {name: share for name, share in shares.items() if share > machine.BUSY}
    if not busy:
        return []
    most = max(busy, key=lambda name: busy[name])
    return [
        f"other processes were busy during {len(busy)} of {len(shares)} rows (most in {most}: {busy[most]:.0%} of the "
        f"cores' time): {machine.ADVICE}"
    ]
