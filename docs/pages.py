"""Writes the pages that are made from the code: API, presets, results, notebooks."""

import csv
import importlib
import inspect
from pathlib import Path

import docstrings

from mvae_tf import presets
from mvae_tf.models import registry

__all__ = ["write"]

# The modules with a page in the API reference, and what the page is about.
MODULES = {
    "mvae_tf": "create, load and export a model",
    "mvae_tf.models": "the models",
    "mvae_tf.networks": "encoders and decoders",
    "mvae_tf.likelihoods": "p(x | z) of the pixels",
    "mvae_tf.priors": "p(z)",
    "mvae_tf.masks": "which components are kept",
    "mvae_tf.mixing": "the mixing weights",
    "mvae_tf.independence": "terms that keep the components apart",
    "mvae_tf.divergences": "the terms of the objectives as functions",
    "mvae_tf.data": "data sets as `tf.data` pipelines",
    "mvae_tf.optimizers": "Adam in one pass over memory",
    "mvae_tf.training": "runs: train, stop, resume, evaluate",
    "mvae_tf.callbacks": "warm-up of the KL terms, duration of a run, TensorBoard",
    "mvae_tf.evaluation": "the numbers of a trained model",
    "mvae_tf.audit": "inequalities that valid numbers fulfil",
    "mvae_tf.samplers": "samplers fitted to the latents of a trained model",
    "mvae_tf.figures": "pictures of a trained model",
    "mvae_tf.presets": "the settings and numbers of the papers",
    "mvae_tf.reproduce": "the tables and figures of the papers",
    "mvae_tf.noise": "noise that is a function of seed, step and row",
    "mvae_tf.storage": "files that appear whole or not at all",
}


def write(folder):
    """Write all generated pages below the folder of the documentation.

    Args:
        folder: path of `docs/`.
    """
    for notebook in folder.parent.glob("notebooks/*.ipynb"):
        _write(folder / "tutorials" / notebook.name, notebook.read_text("utf-8"))
    results = _results(folder / "results")
    for name in registry.names():
        text = _presets_of(name) + _results_of(name, results)
        _write(folder / "models" / "_generated" / f"{name}.md", text)
    written = [
        module for module, about in MODULES.items() if _api(folder, module, about)
    ]
    toctree = "\n".join(f"   {module}" for module in written)
    rows = "\n".join(f"   * - :doc:`{m}`\n     - {MODULES[m]}" for m in written)
    _write(
        folder / "reference" / "index.rst",
        f"API reference\n=============\n\n{_API}\n\n.. list-table::\n\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{toctree}\n",
    )


_API = """You can rely on the names that are documented here and on the command line;
everything else may change. All of them are reachable after ``import mvae_tf``."""


def _write(path, text):
    """Write a page that has changed, so that Sphinx reads no other page again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


# === Models ===


def _presets_of(model):
    found = [p for p in map(presets.get, presets.names()) if p.model == model]
    if not found:
        return "## Presets\n\nNo preset uses this model.\n\n"
    lines = [
        "## Presets\n",
        f"`python -m mvae_tf train --preset NAME --output RUN` trains one of these "
        f"{len(found)}; `...@code` follows the authors' scripts where they differ "
        "from the paper.\n",
        "| preset | data | numbers that the paper reports |",
        "|---|---|---|",
    ]
    for preset in found:
        numbers = "; ".join(f"{n.metric} {n.value:g}" for n in preset.paper)
        lines.append(f"| `{preset.name}` | `{preset.dataset}` | {numbers} |")
    return "\n".join(lines) + "\n\n"


def _results(folder):
    """Read the rows of all tables of results, each with the name of its table."""
    rows = []
    for path in sorted(Path(folder).glob("*/*-table-*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += [{"table": path.stem} | row for row in csv.DictReader(file)]
    return rows


def _results_of(model, results):
    known = set(presets.names())
    mine = [
        row
        for row in results
        if row.get("run") in known
        and presets.get(row["run"]).model == model
        and row["paper"]
        and row["ours"]
    ]
    if not mine:
        return "## Results\n\nNone of the runs in the results is of this model.\n"
    lines = [
        "## Results\n",
        "The paper's number and ours. [All results](../results.md) say how each run "
        "was made and what can be compared.\n",
        "| table | row of the paper | number | paper | ours | images | epochs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in mine:
        paper, ours = float(row["paper"]), float(row["ours"])
        lines.append(
            f"| {row['table']} | {row['row']} | `{row['metric']}` | {paper:.2f} | "
            f"{ours:.2f} | {row['images']} | {row['epochs']} |"
        )
    return "\n".join(lines) + "\n"


# === API ===


def _api(folder, name, about):
    """Write the page of a module; return False if there is no such module."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return False
    parts = [f"{name}\n{'=' * len(name)}\n", f".. automodule:: {name}\n"]
    public = [(n, getattr(module, n)) for n in module.__all__]
    shown = [(n, o) for n, o in public if not inspect.ismodule(o) and n[:2] != "__"]
    if shown:
        names = "\n".join(f"   {n}" for n, _ in shown)
        parts.append(f".. autosummary::\n   :nosignatures:\n\n{names}\n")
    for n, o in shown:
        parts.append(_entry(name, n, o))
    _write(folder / "reference" / f"{name}.rst", "\n".join(parts))
    return True


def _entry(module, name, value):
    """Return the directive that documents one public name."""
    if not callable(value):
        return _data(module, name, value)
    directive, options = "autofunction", []
    if inspect.isclass(value):
        directive, options = "autoclass", [":members:"]
        # The methods of all models are documented once, with the class that they share.
        # Those of Keras are documented by Keras.
        if name == "BaseVAE":
            options = [f":members: {', '.join(_own_members(value))}"]
    lines = [f".. {directive}:: {module}.{name}", *(f"   {o}" for o in options)]
    return "\n".join(lines) + "\n"


def _own_members(cls):
    """List the public methods of a class that this package defines, in order."""
    own = [c for c in reversed(cls.__mro__) if c.__module__.startswith("mvae_tf")]
    names = dict.fromkeys(name for c in own for name in vars(c) if name[0] != "_")
    return [name for name in names if callable(getattr(cls, name))]


def _data(module, name, value):
    """Return the entry of a constant, as a table if it maps names to texts."""
    lines = [f".. py:data:: {module}.{name}\n"]
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        lines.append("   .. list-table::\n")
        for key, text in value.items():
            (text,) = docstrings.restructured([text])
            lines.append(f"      * - ``{key}``\n        - {text}")
    else:
        items = [value] if isinstance(value, int | float | str) else value
        lines.append("   " + ", ".join(f"``{item}``" for item in items))
    return "\n".join(lines) + "\n"
