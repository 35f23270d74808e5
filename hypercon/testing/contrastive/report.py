"""What was found about a loss: a table to read, results to go through, plain data to store."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hypercon.testing.contrastive.cases import Case

_MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


class LossPropertyError(AssertionError):
    """A loss lacks a property that the loss it means to be has."""


@dataclass(frozen=True)
class Result:
    """What was found about one property.

    Attributes
    ----------
    number : str
        Short and stable, such as ``"P19"``.
    name, statement, source : str
        What the property is called, what it states, and who says so.
    status : {"passed", "failed", "skipped"}
    reason : str
        Why it was skipped, or which part of it was.
    what : str
        What was looked at when it failed.
    got, expected
        What the loss gave and what it should have given; None unless it failed.
    counterexample : Case or None
        ``z1``, ``z2`` and ``temperature`` of the call that failed, made as simple as was found.
    cases : int
        How many cases were looked at before shrinking.
    seed : int or None
        Draws the same cases again; None if the caller brought a generator.
    """

    number: str
    name: str
    statement: str
    source: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""
    what: str = ""
    got: Any = None
    expected: Any = None
    counterexample: Case | None = None
    cases: int = 0
    seed: int | None = None

    def __str__(self) -> str:
        head = f"{self.number} {self.name}: {self.status}"
        if self.status != "failed":
            return f"{head} ({self.reason})" if self.reason else head
        lines = [head, *textwrap.wrap(self.statement, 100), f"  {self.what}"]
        lines += [_told("got", self.got), _told("expected", self.expected)] if self.expected is not None else []
        lines.append(textwrap.indent(str(self.counterexample), "  "))
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, which any JSON library writes."""
        case = self.counterexample
        return {
            **{name: getattr(self, name) for name in ("number", "name", "statement", "source", "status", "reason")},
            "what": self.what,
            "got": _plain(self.got),
            "expected": _plain(self.expected),
            "counterexample": case
            and {"z1": _plain(case.z1), "z2": _plain(case.z2), "temperature": float(case.temperature)},
            "cases": self.cases,
            "seed": self.seed,
        }


@dataclass(frozen=True, repr=False)
class Report:
    """All properties of one loss, in their order. Printing it gives a table, then each failure in full.

    Attributes
    ----------
    results : tuple of Result
    meant : str
        Which loss the function was held against.
    gradients : str
        Where gradients came from.
    """

    results: tuple[Result, ...]
    meant: str
    gradients: str

    @property
    def passed(self) -> bool:
        """Whether no property failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.status == "failed")

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, number: str) -> Result:
        """The result of the property of this number or name."""
        for result in self.results:
            if number in (result.number, result.name):
                return result
        raise KeyError(f"{number!r} is none of {', '.join(result.number for result in self.results)}")

    def __str__(self) -> str:
        counts = {status: sum(r.status == status for r in self.results) for status in _MARKS}
        lines = [
            f"{self.meant}; gradients from {self.gradients}",
            ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == "passed"),
            "",
        ]
        for r in self.results:
            lines.append(f"{r.number:<4} {r.name:<18} {_MARKS[r.status]:<8} {r.reason}".rstrip())
        return "\n\n".join(["\n".join(lines), *map(str, self.failures)])

    __repr__ = __str__

    def raise_if_failed(self) -> None:
        """Raise `LossPropertyError`, an AssertionError with the report as its text, if a property failed."""
        if self.failures:
            raise LossPropertyError(f"{len(self.failures)} of {len(self)} properties failed\n{self}")

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, which any JSON library writes."""
        return {
            "meant": self.meant,
            "gradients": self.gradients,
            "passed": self.passed,
            "results": [result.as_dict() for result in self.results],
        }


def _told(label: str, value: Any) -> str:
    if isinstance(value, str):
        return f"  {label} {value}"
    text = np.array2string(np.asarray(value), separator=", ", threshold=60, precision=10)
    return f"  {label} " + text.replace("\n", "\n" + " " * (len(label) + 3))


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity: those become strings."""
    if value is None or isinstance(value, str):
        return value
    if np.ndim(value):
        return [_plain(part) for part in np.asarray(value)]
    number = float(value)
    return number if math.isfinite(number) else str(number)
