"""What `check` found, as it shows itself in a terminal and in a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Property:
    """One property: whether it holds, or None where it was not reached, and what is wrong."""

    name: str
    holds: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """What `check` found. It is true where every property holds, and shows itself in a terminal and in a notebook.

    Attributes
    ----------
    id, name : str
        Of the exercise.
    properties : tuple of Property
        Each with a ``name``, whether it ``holds`` (None: not reached) and the ``reason`` where it does not.
    case : str
        The smallest input that failed, with what was got and what was expected.
    hint : str
        One hint, where an answer is wrong. After another wrong answer there is another.
    notes : tuple of str
        What is no fault and yet worth a word.
    """

    id: str
    name: str
    properties: tuple[Property, ...]
    case: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return all(p.holds for p in self.properties)

    def __repr__(self) -> str:
        lines = [self._title()]
        for p in self.properties:
            lines.append(f"  {_WORDS[p.holds]:<11} {p.name}" + (f": {p.reason}" if p.reason else ""))
        if self.case:
            lines += ["the smallest input that fails", self.case]
        lines += [f"note: {note}" for note in self.notes]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<div><span style="display:inline-block;min-width:8em;font-weight:600;color:{_COLOURS[p.holds]}">'
            f"{_WORDS[p.holds]}</span>{html.escape(p.name)}{html.escape(f': {p.reason}') if p.reason else ''}</div>"
            for p in self.properties
        )
        case = (
            '<div style="margin-top:.5em">The smallest input that fails:</div>'
            f'<pre style="margin:.2em 0;overflow:auto">{html.escape(self.case)}</pre>'
            if self.case
            else ""
        )
        said = "".join(f"<div>{html.escape(line)}</div>" for line in (*self.notes, *filter(None, [self.hint])))
        border = _COLOURS[bool(self)]
        return (
            f'<div role="status" style="border-left:4px solid {border};padding:.3em .9em">'
            f"<strong>{html.escape(self._title())}</strong>{rows}{case}{said}</div>"
        )

    def _title(self) -> str:
        held = sum(bool(p.holds) for p in self.properties)
        count = len(self.properties)
        told = f"all {count} properties hold" if held == count else f"{held} of {count} properties hold"
        return f"{self.id} {self.name}: {told}"


_WORDS = {True: "holds", False: "fails", None: "not reached"}
_COLOURS = {True: "#0a7d4b", False: "#c24a00", None: "#7a7a7a"}  # read on white and on black
