"""Editions of a source: with its solutions for teachers, without them for students, and either as a notebook.

A source is a Python script in Jupytext's percent format. A solution stands between two comment lines,
``# BEGIN SOLUTION`` and ``# END SOLUTION``. In the student's edition a solution within a function is a line that raises
NotImplementedError and says what to write; one outside of any function is gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from hypercon.errors import DataError, InputError

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"


def with_solutions(source: str) -> str:
    """The source without the lines of the fence.

    Raises
    ------
    DataError
        A fence is opened or closed twice, or not at all.
    """
    return _edited(source, lambda lines, before: lines)


def without_solutions(source: str, ids: Mapping[str, str] | None = None) -> str:
    """The source with a stub in the place of each solution. Raises as `with_solutions`.

    ``ids`` has the exercises' ids by the names of their functions, for stubs that say which exercise they are.

    Examples
    --------
    >>> source = "def half(x):\\n    # BEGIN SOLUTION\\n    return x / 2\\n    # END SOLUTION"
    >>> print(without_solutions(source), end="")
    def half(x):
        raise NotImplementedError("write half")
    """
    return _edited(source, partial(_stub, ids=ids or {}))


def notebook(text: str) -> str:
    """An edition as a Jupyter notebook (nbformat 4.5, JSON), without outputs; the same text gives the same notebook.

    Raises
    ------
    InputError
        Jupytext is not installed.
    """
    try:
        import jupytext
    except ImportError:
        raise InputError(
            'a notebook is made by jupytext, which is not here: pip install "hypercon[notebooks]"'
        ) from None
    made: Any = jupytext.reads(text, fmt="py:percent")
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made.nbformat, made.nbformat_minor = 4, 5
    for place, cell in enumerate(made.cells):
        cell["id"] = f"cell-{place}"  # jupytext draws them at random
        cell.metadata = {}
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _edited(source: str, edit: Any) -> str:
    lines = source.splitlines()
    made: list[str] = []
    opened: int | None = None
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if word not in (BEGIN, END):
            if opened is None:
                made.append(line)
            continue
        if (word == BEGIN) != (opened is None):
            raise DataError(f"line {number}: {word} without its other end before it")
        if word == BEGIN:
            opened = number
        elif opened is not None:
            made += edit(lines[opened : number - 1], lines[:opened])
            opened = None
    if opened is not None:
        raise DataError(f"line {opened}: {BEGIN} without {END} after it")
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(made)) + "\n"


def _stub(lines: list[str], before: list[str], ids: Mapping[str, str]) -> list[str]:
    indent = len(before[-1]) - len(before[-1].lstrip())
    if indent == 0:
        return []
    for line in reversed(before):
        opening = re.match(r"(\s*)def (\w+)", line)
        if opening and len(opening[1]) < indent:
            exercise = f"exercise {ids[opening[2]]}: " if opening[2] in ids else ""
            return [f'{" " * indent}raise NotImplementedError("{exercise}write {opening[2]}")']
    raise DataError(f"line {len(before)}: a solution that is indented but within no function")
