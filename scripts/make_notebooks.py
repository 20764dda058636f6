"""Notebooks (.ipynb) from their text sources (.py), without outputs.

The text is what is edited and reviewed; the same text always gives the same bytes.

Usage: python scripts/make_notebooks.py
"""

from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(source):
    """Text of the notebook that a source in the percent format makes.

    Args:
        source: text of the `.py` file.
    """
    made = jupytext.reads(source, fmt="py:percent")
    cells = [
        {**cell, "id": f"cell-{i:02d}", "metadata": {}}
        for i, cell in enumerate(made.cells)
    ]
    made = nbformat.from_dict({**made, "cells": cells, "metadata": METADATA})
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def main():
    """Entry point: writes each notebook beside its source."""
    for source in sorted(FOLDER.glob("*.py")):
        text = notebook(source.read_text("utf-8"))
        source.with_suffix(".ipynb").write_text(text, "utf-8")
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
