"""What the sources ask of an array library: names from the closed lists, with arguments that CuPy takes as NumPy does.

Held against a table of a real CuPy wheel's signatures, so that a name or keyword that only NumPy has is found without
CuPy and without a GPU.
"""

import ast
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import hypercon
from hypercon.backend import FUNCTIONS, METHODS
from hypercon.testing import cupy_signatures

PACKAGE = Path(hypercon.__file__).parent
TABLE = cupy_signatures.load()
ON_DEVICES = [
    "autograd",
    "distributed",
    "gradient_cache.py",
    "losses",
    "metrics",
    "nn",
    "optim.py",
    "training",
    "validation.py",
]
# these compute on the host alone, whatever device their inputs come from
ON_THE_HOST = {
    "autograd/drawing.py",
    "autograd/products.py",
    "autograd/strips.py",
    "metrics/diagnosis.py",
    "metrics/probes.py",
    "metrics/retrieval.py",
} | {f"training/{name}.py" for name in ("checkpoint", "describing", "state")}
SOURCES = sorted(
    path
    for room in ON_DEVICES
    for path in ([PACKAGE / room] if room.endswith(".py") else (PACKAGE / room).glob("*.py"))
    if str(path.relative_to(PACKAGE)) not in ON_THE_HOST
)
# methods of a list and of a string, called as an array's are, and functions of modules
NOT_OF_ARRAYS = {"sort", "partition"}
MODULES = {"backend", "functions", "json", "memory", "np", "ops"}
# where arrays are on the host by then, and its own methods may be called
HOST_METHODS = {
    "distributed/in_threads.py": {"put"},  # of a mailbox
    "validation.py": {"min", "max"},  # of images, which lie on the host
    "autograd/functions.py": {"tolist"},  # of pad's widths
    "autograd/ops.py": {"tolist"},  # of an order of axes
    "autograd/engine.py": {"item"},  # of NumPy's scalars
    "autograd/tensor.py": {"item"},  # the tensor's own
}


def library_calls(tree):
    """Every ``xp(...).name`` and ``m.name``, with the call that it is part of, if any."""
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (_is_xp(node.value) or _is_name(node.value, "m")):
            yield node.attr, node, calls.get(id(node))


def method_calls(tree):
    """Every call of something by a name that arrays of NumPy have a method of, but for those of library_calls."""
    library = {id(node) for _, node, _ in library_calls(tree)}
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if not isinstance(function, ast.Attribute) or id(function) in library:
            continue
        of_module = isinstance(function.value, ast.Name) and function.value.id in MODULES
        if callable(getattr(np.ndarray, function.attr, None)) and not function.attr.startswith("_") and not of_module:
            yield function.attr, node


def _is_xp(node):
    return isinstance(node, ast.Call) and _is_name(node.func, "xp")


def _is_name(node, name):
    return isinstance(node, ast.Name) and node.id == name


def complaints(source, allowed=frozenset()):
    """What is wrong with a file's use of the array library, in words."""
    tree = ast.parse(source)
    for name, node, call in library_calls(tree):
        signature = TABLE.find(name)
        if name not in FUNCTIONS:
            yield f"line {node.lineno}: xp().{name} is not in backend.FUNCTIONS"
        elif signature is None:
            yield f"line {node.lineno}: CuPy has no {name}"
        elif call is not None:
            yield from _misfit(name, signature, call, getattr(np, name))
    for name, call in method_calls(tree):
        if name in NOT_OF_ARRAYS | allowed:
            continue
        if name not in METHODS:
            yield f"line {call.lineno}: .{name}() is not in backend.METHODS"
        else:
            yield from _misfit(name, TABLE.methods[name], call, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node.targets[0], node.value):
                if _is_xp(value) and not _is_name(target, "m"):
                    yield f"line {node.lineno}: a library is called something else than m, which hides it from here"


def _misfit(name, signature, call, numpy):
    positional = [argument for argument in call.args if not isinstance(argument, ast.Starred)]
    keywords = [keyword.arg for keyword in call.keywords if keyword.arg]
    if reason := signature.refusal(len(positional), keywords):
        yield f"line {call.lineno}: {name} {reason}"
    if numpy is None or isinstance(numpy, np.ufunc):
        return
    try:
        theirs = [p.name for p in inspect.signature(numpy).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    except ValueError:  # older versions of NumPy do not tell of some
        return
    if missing := set(keywords) - set(theirs):
        yield f"line {call.lineno}: {name} of NumPy has no {missing.pop()!r}"
    for at in range(1, min(len(positional), len(theirs))):  # the first is the array, whatever it is called
        if not signature.open_ended and theirs[at] != signature.positional[at]:
            both = f"{theirs[at]} in NumPy and {signature.positional[at]} in CuPy"
            yield f"line {call.lineno}: argument {at} of {name} is {both}"


def _pairs(target, value):
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_sources_ask_for_what_cupy_has(path):
    allowed = HOST_METHODS.get(str(path.relative_to(PACKAGE)), set())
    assert list(complaints(path.read_text(encoding="utf-8"), allowed)) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("xp(x).vecdot(x, x)", "xp().vecdot is not in backend.FUNCTIONS"),
        ("m = xp(x)\nm.nanmax(x)", "line 2: xp().nanmax is not in backend.FUNCTIONS"),
        ("m.sum(x, axis=0, where=mask)", "sum has no keyword 'where'"),
        ("m.exp(x, where=mask)", "exp has no keyword 'where'"),
        ("m.zeros(3, device='cpu')", "zeros has no keyword 'device'"),
        ("m.broadcast_to(x, 3, True)", "broadcast_to takes 2 positional arguments, not 3"),
        ("m.argsort(x, 0, None, None)", "argsort takes 3 positional arguments, not 4"),
        ("f = m.cumsum", "xp().cumsum is not in backend.FUNCTIONS"),
        ("x.cumsum(0)", ".cumsum() is not in backend.METHODS"),
        ("x.sum(axis=0, initial=1)", "sum has no keyword 'initial'"),
        ("x.item()", ".item() is not in backend.METHODS"),
        ("library = xp(x)", "called something else than m"),
        ("a, library = x, xp(x)", "called something else than m"),
    ],
)
def test_what_cupy_lacks_is_found(source, complaint):
    assert any(complaint in found for found in complaints(source))


def test_what_cupy_has_is_left_alone():
    source = "m = xp(x)\nm.add.at(m.zeros(3, x.dtype), i, m.exp(x))\nx.sum(axis=0, keepdims=True).astype(y, copy=False)"
    assert list(complaints(source)) == []


def test_the_lists_are_short_and_hold_what_is_used_and_no_more():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    assert {name for tree in trees for name, _, _ in library_calls(tree)} == FUNCTIONS
    assert {name for tree in trees for name, _ in method_calls(tree)} >= METHODS
    assert len(FUNCTIONS) <= 45


def test_every_listed_name_is_in_both_libraries():
    for name in FUNCTIONS:
        assert TABLE.find(name) is not None
        assert callable(getattr(np, name))
    for name in METHODS:
        assert name in TABLE.methods
        assert callable(getattr(np.ndarray, name))


def test_the_table_knows_how_cupy_differs():
    assert TABLE.version.split(".")[0].isdigit()
    assert TABLE.find("errstate") is None
    assert TABLE.find("vecdot") is None
    assert TABLE.ufuncs["exp"].keywords == {"out", "dtype", "casting"}
    assert "where" not in TABLE.functions["sum"].keywords
    assert "setflags" not in TABLE.methods
    assert {"shape", "dtype", "device"} <= TABLE.attributes


@pytest.mark.cupy_wheel
@pytest.mark.filterwarnings("ignore")  # CuPy warns of what it misses of CUDA
def test_the_table_is_that_of_the_installed_cupy():
    pytest.importorskip("cupy")
    made = json.loads(json.dumps(cupy_signatures.generate()))
    kept = json.loads(cupy_signatures.PATH.read_text(encoding="utf-8"))
    assert made == kept, "make the table anew: see hypercon/testing/cupy_signatures.py"
