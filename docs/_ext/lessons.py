"""The lessons' pages: notebooks made of the sources in tutorials/, with solutions, executed as the site is built."""

from pathlib import Path

from sphinx.application import Sphinx

from hypercon.coursework.editions import notebook, with_solutions

SOURCES = Path(__file__).parents[2] / "tutorials"


def write_lessons(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "lessons"
    folder.mkdir(exist_ok=True)
    sources = sorted(SOURCES.glob("[0-9][0-9]_*.py"))
    for source in sources:
        text, target = notebook(with_solutions(source.read_text())), folder / f"{source.stem}.ipynb"
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
    for old in {path.stem for path in folder.glob("*.ipynb")} - {source.stem for source in sources}:
        (folder / f"{old}.ipynb").unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_lessons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
