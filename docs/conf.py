"""Settings of the documentation, which `scripts/build_docs.sh` builds."""

import os
import shutil
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "scripts")]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import docstrings
import pages

from mvae_tf.version import __version__

# === The project ===

project = "mvae_tf"
author = "the mvae_tf contributors"
copyright = author
version = release = __version__
_settings = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))
repository = _settings["tool"]["mvae_tf"]["repository"]

# === Sphinx ===

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**/_generated", "results", "images", "tutorials/runs"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # the fields of a tuple are members already

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_merge_streams = True
nb_execution_timeout = 1800
nb_execution_raise_on_error = True

# === The pages ===

html_theme = "furo"
html_title = f"mvae_tf {version}"
html_static_path = ["_static"]
html_copy_source = False
html_theme_options = {"source_repository": repository} if repository else {}

# MathJax sets the equations in the browser. Its file, which contains the fonts, comes
# from the package `django-static-mathjax`, so that the pages need no network.
mathjax_path = "mathjax/tex-svg.js"


def setup(app):
    """Write the pages that are made from the code, and prepare docstrings."""
    generated = HERE / "_static" / "_generated" / "mathjax"
    generated.mkdir(parents=True, exist_ok=True)
    shutil.copy(files("mathjax") / "static/mathjax/es5/tex-svg.js", generated)
    html_static_path.append("_static/_generated")
    pages.write(HERE)
    # This runs before napoleon (500) turns the sections of Google's style into fields.
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)
