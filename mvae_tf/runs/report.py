"""The report of a run: one HTML page with its numbers, figures and settings."""

import base64
import json
import math
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import keras

from mvae_tf import presets, storage
from mvae_tf.config import RunConfig, read_config, setting_text
from mvae_tf.data import Splits
from mvae_tf.evaluation import meaning
from mvae_tf.figures import CAPTIONS, DESCRIPTIONS, draw_run
from mvae_tf.runs import caveats, page
from mvae_tf.runs.building import load_data
from mvae_tf.runs.checkpoints import load
from mvae_tf.runs.console import duration
from mvae_tf.runs.history import read_history, read_metrics, read_times

__all__ = ["write_report"]


class _Run(NamedTuple):
    """A run, with everything that its page shows.

    Attributes:
        folder: path of the run folder.
        config: `RunConfig`, configuration of the run.
        history: list of rows of `history.csv`.
        results: dict, test numbers of `metrics.json` by name; empty before the
            evaluation.
        times: dict, content of `times.json`; empty where there is no such file.
        model: `keras.Model`, the trained model, or None for a run that is not finished.
        splits: `Splits`, data of the run, or None where they cannot be loaded.
        note: str, why the figures were not drawn, or an empty text.
    """

    folder: Path
    config: RunConfig
    history: list[dict[str, float]]
    results: dict[str, Any]
    times: dict[str, Any]
    model: keras.Model | None
    splits: Splits | None
    note: str

    @property
    def diverged(self):
        """How the run diverged; an empty text if it did not."""
        shape = self.config.arguments.get("input_shape", ())
        return caveats.divergence(self.history, self.results, shape)


def write_report(run_folder: str | Path) -> Path:
    """Draw the figures of a run and write its `report.html`.

    The page holds the facts of the run, the test numbers beside those of the preset's
    paper, the last epoch, the figures and the settings. A number that is not to be
    trusted or compared is marked. The page says what the run does not have yet. If the
    data of the run cannot be loaded any more, it shows the figures in `figures/`.

    Args:
        run_folder: path of the folder of a run, finished, unfinished or diverged.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: a file of the run is damaged.
        OSError: a file cannot be written.
    """
    folder = Path(run_folder)
    config = read_config(folder)
    history = read_history(folder)
    model, splits, note = _draw(folder, config, history)
    results = read_metrics(folder).get("test", {})
    times = read_times(folder)
    run = _Run(folder, config, history, results, times, model, splits, note)
    sections = {
        "Test numbers": _numbers(run),
        "Last epoch": _last_epoch(run),
        "Figures": _figures(run),
        "To use it": _use(run),
        "Settings": _settings(run),
        "To repeat the run": _repetition(run),
    }
    body = [_heading(run), _contents(sections)]
    body += [page.section(title, *parts) for title, parts in sections.items()]
    path = folder / "report.html"
    storage.write_text(path, page.document(_title(config), "\n".join(body)))
    return path


def _draw(folder, config, history):
    """Draw the figures; return the model, the data, and why none were drawn."""
    if not (folder / "model.keras").is_file():
        return None, None, "The run has no model yet: it is not finished."
    model = load(folder)
    try:
        splits = load_data(config)
    except (OSError, ValueError) as error:
        return model, None, f"The figures could not be drawn anew: {error}"
    draw_run(model, splits, history, folder / "figures")
    return model, splits, ""


# === Sections ===


def _title(config):
    kind, _, path = config.data["source"].partition(":")
    return f"{config.preset or config.model} on {Path(path).stem or kind}"


def _heading(run):
    parts = [f"<h1>{page.escape(_title(run.config))}</h1>"]
    arguments = run.config.arguments
    facts = [f"model {run.config.model}"]
    if "num_components" in arguments:
        facts.append(f"{arguments['num_components']} components")
    if "latent_dim" in arguments:
        facts.append(f"latents of {arguments['latent_dim']} dimensions")
    facts += [f"{run.config.training.epochs} epochs", f"seed {run.config.seed}"]
    name = run.folder.resolve().name
    parts.append(page.quiet(f"Run {name}: {', '.join(facts)}."))
    if run.diverged:
        parts.append(
            page.note(
                f"Careful: {run.diverged}. The numbers of this run say nothing about "
                "the method."
            )
        )
    parts.append(page.table(None, _facts(run), ""))
    parts.append(_files(run.folder))
    return "\n".join(parts)


def _facts(run):
    """List rows about how the run was made, as far as this is known."""
    rows = []
    if run.times:
        started = run.times["started"].replace("T", " ").replace("+00:00", " UTC")
        rows.append(["trained on", started])
        rows.append(["training time", duration(run.times["training_seconds"])])
        rows.append(["device", run.times["device"]])
    if run.model is not None:
        sizes = [math.prod(v.shape) for v in run.model.trainable_variables]
        rows.append(["parameters", f"{sum(sizes):,}"])
    if run.splits is not None:
        counts = [f"{run.splits.num_train:,} for training"]
        if run.splits.num_validation:
            counts.append(f"{run.splits.num_validation:,} for validation")
        counts.append(f"{run.splits.num_test:,} for the test")
        rows.append(["images", ", ".join(counts)])
    return rows


def _files(folder):
    """Make links to the other files in the run folder."""
    names = ("config.json", "metrics.json", "history.csv", "model.keras", "times.json")
    names += ("figures", "checkpoints", "logs")
    items = []
    for name in names:
        path = folder / name
        if path.exists():
            shown = f"{name}/" if path.is_dir() else name
            items.append(f'<li><a href="{shown}">{shown}</a></li>')
    return f'<ul class="files"><li class="quiet">Files:</li>{"".join(items)}</ul>'


def _contents(sections):
    items = [
        f'<li><a href="#{page.anchor(title)}">{page.escape(title)}</a></li>'
        for title in sections
    ]
    title = '<li class="quiet">Contents:</li>'
    return f'<nav aria-label="Contents"><ul>{title}{"".join(items)}</ul></nav>'


def _numbers(run):
    if not run.results:
        return [page.note("The run has no numbers yet: it was not evaluated.")]
    reported = presets.reported(run.config)
    checks = run.results.get("audit", {})
    values = {name: v for name, v in run.results.items() if name != "audit"}
    reasons = caveats.of_numbers(run.results, run.diverged)
    num_train = None if run.splits is None else run.splits.num_train
    differences = ["the run diverged"] if run.diverged else []
    if reported:
        differences += presets.differences(run.config, num_train)
    rows = []
    for name, value in values.items():
        number = _format(value)
        if name in reasons:
            number = page.Marked(number, reasons[name])
        papers = [item for item in reported if item.metric == name]
        paper = "\n".join(f"{e.value:g}  {e.source}: {e.row}" for e in papers)
        if papers and differences:
            paper = page.Marked(paper, "not comparable, see below")
        row = [name, number, meaning(name)]
        rows.append([*row, paper] if reported else row)
    header = ["name", "value", "meaning"] + (["paper"] if reported else [])
    parts = [page.table(header, rows)]
    if reported:
        parts.append(
            page.quiet(
                "The paper's numbers belong to the preset "
                f"{run.config.preset}, trained in full on its own data."
            )
        )
    if reported and differences:
        text = f"(!) Not comparable with the paper's: {'; '.join(differences)}."
        parts.append(page.note(text))
    others = [
        [item.source, item.row, item.metric, f"{item.value:g}"]
        for item in reported
        if item.metric not in values
    ]
    if others:
        table = page.table(["source", "row", "quantity", "value"], others)
        title = "<summary>What else the paper reports</summary>"
        parts.append(f"<details>{title}{table}</details>")
    return parts + _audit(checks)


def _audit(checks):
    """Make the table of the audit, under a warning if a check fails."""
    if not checks:
        return []
    rows = []
    for name, check in checks.items():
        limit = f"{_format(check['limit'])} + {_format(check['slack'])}"
        failures = check["failures"] or "not finite"
        result = "holds" if check["holds"] else f"fails ({failures})"
        rows.append([name, _format(check["value"]), limit, result])
    table = page.table(["audit", "value", "must not exceed", "result"], rows)
    if all(check["holds"] for check in checks.values()):
        return [table]
    return [page.note("Numbers marked (!) fail the audit: do not trust them."), table]


def _last_epoch(run):
    if not run.history:
        return [page.note("The run has no history yet: no epoch is finished.")]
    last = dict(run.history[-1])
    epoch = last.pop("epoch", len(run.history))
    names = [name for name in last if not name.startswith("val_")]
    rows = [
        [name, _format(last[name]), _format(last.get(f"val_{name}", ""))]
        for name in names
    ]
    parts = [f"<p>Epoch {epoch:g}, the last.</p>"]
    planned = run.config.training.epochs
    if epoch < planned:
        parts.append(page.note(f"Training ended after {epoch:g} of {planned} epochs."))
    return [
        *parts,
        page.table(["quantity", "training", "validation"], rows, "plain"),
        page.quiet(
            "Means over the epoch. The loss is the weighted sum of the terms, in nats "
            "per image; the terms stand before their weights."
        ),
    ]


def _figures(run):
    source = page.quiet("Numbers of figures: TNNLS 2022.")
    parts = [page.note(run.note) if run.note else source]
    for name, caption in CAPTIONS.items():
        path = run.folder / "figures" / f"{name}.png"
        if path.is_file():
            storage.verify(path)
            image = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(
                f'<figure id="{name}"><img alt="{page.escape(DESCRIPTIONS[name])}" '
                f'src="data:image/png;base64,{image}">'
                f"<figcaption>{page.escape(caption)}</figcaption></figure>"
            )
    return parts


def _use(run):
    if run.model is None:
        return [page.note("The run has no model yet: it is not finished.")]
    name = json.dumps(run.folder.resolve().name)
    lines = [
        "import mvae_tf",
        f"model = mvae_tf.load({name})",
        "images = model.generate(16, seed=0)",
    ]
    code = page.escape("\n".join(lines))
    return [
        "<p>In Python, in the folder that holds the run's folder:</p>",
        f"<pre><code>{code}</code></pre>",
    ]


def _settings(run):
    values = run.config.to_dict()
    groups = {
        "run": {key: values[key] for key in ("model", "preset", "seed", "devices")},
        "arguments of the model": values["arguments"],
        "data": values["data"],
        "training": values["training"],
    }
    return [
        page.table(
            [title, "value"],
            [[key, setting_text(value)] for key, value in group.items()],
            "",
        )
        for title, group in groups.items()
    ]


def _repetition(run):
    name = run.folder.resolve().name
    old, new = json.dumps(name), json.dumps(f"{name}-again")
    code = (
        "from mvae_tf import training; "
        f"training.train(training.read_config({old}), {new})"
    )
    rows = [[package, version] for package, version in run.config.versions.items()]
    return [
        "<p>In the folder that holds the run's folder, where all settings are:</p>",
        f"<pre>python -c {page.escape(shlex.quote(code))}</pre>",
        "<p>The same machine and versions give the same weights, bit for bit.</p>",
        page.table(["package", "version"], rows, "plain"),
    ]


# === Texts ===


def _format(value):
    """Write a number, a list or a matrix as a text."""
    if value is None:
        return "not finite"
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return _format_matrix(value)
        return "  ".join(map(_format_entry, value))
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value)


def _format_entry(value):
    if value is None:
        return "?"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _format_matrix(rows):
    # The figure of the matrix prints every number.
    others = [v for i, row in enumerate(rows) for j, v in enumerate(row) if i != j]
    if not others or None in others:
        return f"{len(rows)} x {len(rows)}"
    return f"{min(others):.3f} to {max(others):.3f} off the diagonal"
