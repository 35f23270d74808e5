"""The API's pages, one for each room, made from what it makes public; under every entry, who tests and teaches it."""

import importlib
import inspect
import re
from collections import defaultdict
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]

# page, title, module, and which of its names: all that are public where none are given
PAGES = [
    ("engine", "The engine", "hypercon.autograd", None),
    ("losses", "Losses", "hypercon.losses", None),
    ("temperature", "Temperatures", "hypercon", ["Temperature", "LearnedTemperature", "CosineTemperature"]),
    ("explain", "Explanations", "hypercon", ["explain", "explain_similarities", "Explanation"]),
    ("metrics", "Metrics", "hypercon.metrics", None),
    ("nn", "Layers and encoders", "hypercon.nn", None),
    ("optim", "Optimisers and schedules", "hypercon.optim", None),
    ("data", "Images, views and batches", "hypercon.data", None),
    ("training", "Training", "hypercon.training", None),
    ("gradient_cache", "Batches larger than memory", "hypercon", ["backward_in_chunks"]),
    ("distributed", "Several processes", "hypercon.distributed", None),
    ("coursework", "Lessons and coursework", "hypercon.coursework", None),
    ("testing", "Checks for your own operations and losses", "hypercon.testing", None),
    ("threads", "Threads", "hypercon.threads", ["set_threads", "cores"]),
    ("errors", "Errors", "hypercon.errors", None),
]


def names_of(module: str) -> list[str]:
    """What a room makes public: its ``__all__``, or the functions and classes written there."""
    room = importlib.import_module(module)
    public = getattr(room, "__all__", None)
    if public is None:
        public = [
            name
            for name, value in vars(room).items()
            if not name.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module
        ]
    return [name for name in public if callable(getattr(room, name))]


def page(title: str, module: str, names: list[str]) -> str:
    room = importlib.import_module(module)
    lines = [title, "=" * len(title), ""]
    if module != "hypercon":
        lines += [inspect.getdoc(room) or "", ""]
    lines += [f".. currentmodule:: {module}", "", ".. autosummary::", ""]
    lines += [f"   {name}" for name in names] + [""]
    for name in names:
        kind = "class" if inspect.isclass(getattr(room, name)) else "function"
        lines += [f".. auto{kind}:: {name}"]
        if kind == "class" and not issubclass(getattr(room, name), BaseException):
            lines += ["   :members:"]
        lines += [""]
    return "\n".join(lines) + "\n"


def write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    made = {f"{name}.rst": page(title, module, names or names_of(module)) for name, title, module, names in PAGES}
    index = ["The API, room by room", "=====================", "", "As ``import hypercon as hc`` shows it.", ""]
    index += [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name, *_ in PAGES)]
    made["index.rst"] = "\n".join(index) + "\n"
    for name, text in made.items():
        target = folder / name
        if not target.exists() or target.read_text() != text:  # an unchanged page is not built anew
            target.write_text(text)


def mentions(folder: Path, pattern: str) -> dict[str, list[str]]:
    """For every word of the files in a folder, which of them have it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob(pattern)):
        for word in set(re.findall(r"[A-Za-z_]\w+", path.read_text())):
            found[word].append(path.relative_to(ROOT).as_posix())
    return found


def link_back(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Under a function or class: the tests that name it most nearly, and the lessons that use it."""
    if what not in ("function", "class"):
        return
    word = name.rpartition(".")[2]
    tests = [path for path in app.hypercon_tests.get(word, []) if "/test_" in path]
    lessons = [path for path in app.hypercon_lessons.get(word, []) if re.match(r"tutorials/\d\d_", path)]
    said = []
    if tests:
        said.append("Tested by " + ", ".join(f"``{path}``" for path in nearest(tests, value)) + ".")
    if lessons:
        links = (f":doc:`lesson {Path(path).stem[:2]} </lessons/{Path(path).stem}>`" for path in lessons)
        said.append("Taught in " + ", ".join(links) + ".")
    if said:
        lines += ["", ".. container:: hypercon-links", "", "   " + " ".join(said), ""]


def nearest(tests: list[str], value: object, most: int = 3) -> list[str]:
    """The tests whose names share most with the module's come first."""
    module = set(re.split(r"[._]", getattr(value, "__module__", "") or ""))
    return sorted(tests, key=lambda path: (-len(module & set(re.split(r"[/._]", path))), path))[:most]


def setup(app: Sphinx) -> dict[str, bool]:
    app.hypercon_tests = mentions(ROOT / "tests", "*.py")
    app.hypercon_lessons = mentions(ROOT / "tutorials", "*.py") if (ROOT / "tutorials").exists() else {}
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", link_back, priority=900)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
