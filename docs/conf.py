"""How the site is built: `sphinx-build -W docs docs/_build/html`, offline, after ``pip install ".[docs]"``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from hypercon import __version__  # noqa: E402

project = "hypercon"
author = "The hypercon developers"
copyright = "The hypercon developers, MIT licence"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "mathml",  # formulas, as MathML: no script, no font from elsewhere
    "references",  # the pages of the API, made from the docstrings, with "tested by" and "taught in"
    "lessons",  # the lessons as pages, executed
    "live",  # the start page's temperature
]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
default_role = "py:obj"

# myst_nb
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_excludepatterns = ["*.md"]
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# numpydoc
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say more
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "hypercon"
html_static_path = ["_static"]
html_css_files = ["hypercon.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False
