"""Makes the notebooks (.ipynb) from their text sources (.py), without outputs.

The text is edited and reviewed; the same text always gives the same bytes. This script
adds what all notebooks share: the cell that installs the package and, if
`pyproject.toml` names the address of the repository, the badge that opens the notebook
in Colab.

Usage: python scripts/make_notebooks.py
"""

import json
import re
import tomllib
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{path}/blob/main/notebooks/{name}.ipynb)"
)

# Requirements that are met already, such as Colab's own TensorFlow, stay as they are.
INSTALL = '''\
# Install mvae_tf, unless it is installed: {from_where}.
import importlib.util
from pathlib import Path

if importlib.util.find_spec("mvae_tf") is None:
    here = Path.cwd()
    wheels = sorted(here.glob("mvae_tf-*.whl"))
    folders = [p for p in (here, *here.parents) if (p / "mvae_tf/version.py").exists()]
    source = next(iter([*wheels, *folders]), {address})
    if not source:
        raise FileNotFoundError(
            f"Expected a wheel mvae_tf-*.whl in {{here}}, or this notebook inside a "
            "checkout of mvae_tf, got neither."
        )
    %pip install -q "{{source}}"'''


def repository():
    """Read the repository's address in `pyproject.toml`, "" while there is none."""
    text = ROOT.joinpath("pyproject.toml").read_text("utf-8")
    return tomllib.loads(text)["tool"]["mvae_tf"]["repository"]


def notebook(source, name, address):
    """Make the text of a notebook from its source in the percent format.

    Args:
        source: text of the `.py` file.
        name: name of the notebook, without a suffix.
        address: address of the repository, or "".

    Returns:
        The JSON of the notebook, a text.
    """
    made = jupytext.reads(source, fmt="py:percent").cells
    if address:
        path = re.sub(r"^https://github\.com/|/$|\.git$", "", address)
        title, rest = made[0].source.split("\n", 1)
        badge = BADGE.format(path=path, name=name)
        made[0].source = f"{title}\n\n{badge}\n{rest}"
    install = INSTALL.format(
        from_where="from a wheel or a checkout at hand"
        + (", or from its repository" if address else ""),
        address=json.dumps(f"git+{address}" if address else ""),
    )
    made.insert(1, nbformat.v4.new_code_cell(install))
    cells = [
        {**cell, "id": f"cell-{i:02d}", "metadata": {}} for i, cell in enumerate(made)
    ]
    # In the documentation, the cell is folded.
    cells[1]["metadata"] = {"tags": ["hide-cell"]}
    made = nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 5, "cells": cells, "metadata": METADATA}
    )
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def main():
    """Write each notebook beside its source."""
    for source in sorted(FOLDER.glob("*.py")):
        text = notebook(source.read_text("utf-8"), source.stem, repository())
        source.with_suffix(".ipynb").write_text(text, "utf-8")
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
