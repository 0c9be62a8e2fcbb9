"""Sphinx configuration: guides in Markdown, and a reference made from the docstrings.

The source folder is the root of the repository (``sphinx-build -c docs .``), so that the links
between README.md, the guides and the examples lead to the same places here and in the repository.
Nothing is fetched while building: fonts and icons come with the theme, and no inventory of
another project is read. ``make docs`` builds with warnings as errors.
"""

import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the extension below
sys.path.insert(0, str(HERE.parent))  # the checkout that is documented, installed or not

project = "sciddiff"
release = version = installed("sciddiff")
copyright = "the authors of sciddiff"  # noqa: A001 - Sphinx chose the name

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference_pages",
    "mathml",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/reference/*.rst",
    "configs/*.md",
    "examples/**.md",
    "protein/pretrained/*/README.md",
    "weather/pretrained/*/README.md",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
# A `Name` in a docstring links where the name is known, and is plain code elsewhere.
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a dataclass are listed once, with their description
python_use_unqualified_type_names = True
suppress_warnings = ["ref.python"]  # a short name in a type hint may be known in two places

html_math_renderer = "mathml"
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "sciddiff"
html_extra_path = ["root"]  # an index.html that leads to docs/index.html
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
