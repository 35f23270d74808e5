"""What CuPy calls things: every function, ufunc and array method of a real CuPy wheel, with its arguments.

The table beside this file, ``cupy_signatures.json``, is read from the wheel, which needs no GPU for that. So code can
be held to CuPy on a machine that has neither: the strict device takes its names and keywords from here, and the tests
hold the library's sources to it. To make the table anew, in an environment with CuPy::

    python -m hypercon.testing.cupy_signatures hypercon/testing/cupy_signatures.json
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Signature:
    """How a function of CuPy may be called.

    Attributes
    ----------
    positional : tuple of str
        Arguments that may be given by position, in order, without ``self``.
    keywords : frozenset of str
        Arguments that may be given by name.
    open_ended : bool
        Any number of positional arguments is taken.
    """

    positional: tuple[str, ...]
    keywords: frozenset[str]
    open_ended: bool

    def refusal(self, count: int, keywords: Any) -> str | None:
        """In words, why CuPy would not take ``count`` positional arguments and these keywords; None where it would.

        Examples
        --------
        >>> parse("(a, axis=None, keepdims=False)").refusal(1, ["axis", "where"])
        "has no keyword 'where', only a, axis, keepdims"
        """
        for name in keywords:
            if name not in self.keywords:
                return f"has no keyword {name!r}, only {', '.join(sorted(self.keywords)) or 'positional arguments'}"
        if count > len(self.positional) and not self.open_ended:
            return f"takes {len(self.positional)} positional arguments, not {count}"
        return None


@dataclass(frozen=True)
class Table:
    """The names of one version of CuPy.

    Attributes
    ----------
    version : str
        Of CuPy.
    functions, ufuncs, methods : dict of str to Signature
        By name; the methods are those of ``cupy.ndarray``.
    attributes : frozenset of str
        Of ``cupy.ndarray``, without the methods.
    """

    version: str
    functions: dict[str, Signature]
    ufuncs: dict[str, Signature]
    methods: dict[str, Signature]
    attributes: frozenset[str]

    def find(self, name: str) -> Signature | None:
        """The function or ufunc called ``cupy.<name>``."""
        return self.functions.get(name) or self.ufuncs.get(name)


def parse(signature: str) -> Signature:
    """Read a signature as Python writes it.

    Examples
    --------
    >>> parse("(x, /, out=None, *, dtype=None)").positional
    ('x', 'out')
    """
    definition = ast.parse(f"def f{signature}: ...").body[0]
    assert isinstance(definition, ast.FunctionDef)
    given = definition.args
    positional = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    named = [argument.arg for argument in (*given.args, *given.kwonlyargs)]
    if positional[:1] == ["self"]:
        positional, named = positional[1:], [name for name in named if name != "self"]
    return Signature(tuple(positional), frozenset(named), given.vararg is not None)


@functools.cache
def load() -> Table:
    """The table that ships with the package.

    Examples
    --------
    >>> table = load()
    >>> "where" in table.methods["sum"].keywords  # as NumPy's has
    False
    """
    raw = json.loads(PATH.read_text(encoding="utf-8"))

    def parsed(group: str) -> dict[str, Signature]:
        return {name: parse(signature) for name, signature in raw[group].items()}

    return Table(raw["cupy"], parsed("functions"), parsed("ufuncs"), parsed("methods"), frozenset(raw["attributes"]))


# --- making the table


def generate() -> dict[str, Any]:
    """The table of the CuPy that is installed here, as JSON holds it.

    Raises
    ------
    ImportError
        CuPy is not installed.
    """
    import cupy

    table: dict[str, Any] = {"cupy": cupy.__version__, "functions": {}, "ufuncs": {}, "methods": {}, "attributes": []}
    for name, value in _public(cupy):
        if isinstance(value, type):
            continue  # dtypes and exceptions: no part of what arrays are computed with
        group = "ufuncs" if isinstance(value, cupy.ufunc) else "functions"
        if callable(value) and (signature := _signature(value)):
            table[group][name] = signature
    for name, value in _public(cupy.ndarray):
        if not callable(value):
            table["attributes"].append(name)
        elif signature := _signature(value):
            table["methods"][name] = signature
    return table


def _public(owner: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(owner, name)) for name in sorted(dir(owner)) if not name.startswith("_")]


def _signature(function: Any) -> str | None:
    """As Python tells it; where compiled code hides it, or a ``**kwargs`` does, as the first line of the docstring."""
    documented = _documented(function)
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return documented
    parameters = [p.replace(annotation=p.empty, default=_literal(p.default)) for p in signature.parameters.values()]
    hidden = any(p.kind is p.VAR_KEYWORD for p in parameters)
    bare = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return documented if hidden and documented else str(bare).replace("=Ellipsis", "=...")


def _documented(function: Any) -> str | None:
    first = (function.__doc__ or "").strip().partition("\n")[0].replace("\\", "")
    found = re.match(r"(?:_ndarray_base\.)?\w+(\(.*\))(?: -> .*)?$", first)
    if not found:
        return None
    signature = re.sub(r"([(,] ?)(?:int|bool|tuple|Py_ssize_t|_ndarray_base) (?=\w)", r"\1", found[1])  # C's types
    try:
        parse(signature)
    except SyntaxError:
        return None
    return signature


def _literal(default: Any) -> Any:
    """A default that prints as Python reads it: what is no literal becomes ``...``."""
    simple = default is inspect.Parameter.empty or isinstance(default, int | float | str | tuple | None)
    return default if simple else ...


def main(path: str) -> None:
    """Write the table of the installed CuPy to ``path``."""
    Path(path).write_text(json.dumps(generate(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
