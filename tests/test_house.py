"""The structure of the package: imports run downward, and importing it is cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hypercon

PACKAGE = Path(hypercon.__file__).parent

# from the ground up; what stands on one line is one floor and may import within itself
FLOORS = [
    {"errors", "version"},
    {"backend", "threads", "memory", "files", "locks", "palette"},
    {"configuration"},
    {"autograd"},
    {"validation"},
    {"temperature"},
    {"losses"},
    {"metrics", "nn"},
    {"explain", "optim", "data", "gradient_cache", "distributed"},
    {"training"},
    {"plotting"},
    {"testing", "experiments", "runs"},
    {"coursework"},
    {"cli"},
    {"__main__", "__init__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Rooms that a file imports when it runs; imports for the type checker alone do not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hypercon":
            below = node.module.split(".")[1:2]
            yield from below or [name.name for name in node.names]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("hypercon."))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    here = room_of(path)
    for room in imports(path):
        if room != here:
            assert FLOOR_OF[room] <= FLOOR_OF[here], f"{here} imports {room}, which stands above it"


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    assert rooms == set(FLOOR_OF)


def test_every_file_says_what_lives_there():
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path.name} has no docstring"


def test_nothing_unpickles():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"allow_pickle=True|\bpickle\.load|import pickle", path.read_text()), path.name


def test_the_checks_are_there_without_an_import_of_their_own_and_loaded_when_asked_for():
    code = (
        "import sys, hypercon as hc; assert 'testing' in dir(hc); before = 'hypercon.testing' in sys.modules; "
        "print(before, hc.testing.gradcheck.__name__, 'hypothesis' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "gradcheck", "False"]


def test_importing_leaves_heavy_packages_for_later():
    code = (
        "import sys, hypercon; print(*[m for m in ('matplotlib', 'tqdm', 'threadpoolctl', 'cupy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
