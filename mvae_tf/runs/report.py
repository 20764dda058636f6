"""One HTML page about a run, which opens without a network."""

import base64
import html
import json
import math
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import keras

from mvae_tf import presets, storage
from mvae_tf.config import RunConfig, read_config
from mvae_tf.data import Splits
from mvae_tf.evaluation import meaning
from mvae_tf.figures import CAPTIONS, DESCRIPTIONS, draw_run
from mvae_tf.runs import caveats
from mvae_tf.runs import checkpoints as checkpoint
from mvae_tf.runs.history import read_history
from mvae_tf.runs.loading import load_data

__all__ = ["write_report"]

# Sections stand below each other; tables of numbers turn into cards on a telephone.
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --paper: #fff;
  --line: #e4e8ec; --box: #f4f6f8; --mark: #b34700; --link: #0a5dc2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #a3adb8;
  --paper: #16191d; --line: #30363d; --box: #21262c; --mark: #ff9d5c;
  --link: #7db8ff; } }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink);
  -webkit-text-size-adjust: 100%; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 0 auto;
  padding: 2.5rem 1.25rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
nav ul, .files { list-style: none; margin: 1rem 0; padding: 0; display: flex;
  flex-wrap: wrap; align-items: baseline; gap: .25rem 1.25rem; }
nav a, .files a { display: inline-block; padding: .25rem 0; }
.quiet, figcaption { color: var(--quiet); font-size: .9rem; }
.note { border-left: 3px solid var(--mark); padding-left: .75rem; }
.mark { color: var(--mark); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line); white-space: pre-line; }
th { font-weight: 600; }
table + table { margin-top: 1.5rem; }
.plain :is(th, td:not(:first-child)) { overflow-wrap: normal; }
figure { margin: 0 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; background: #fff;
  border-radius: 6px; }
figcaption { margin: .4rem 0 0; max-width: 46rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
pre { background: var(--box); padding: .8rem 1rem; border-radius: 6px;
  white-space: pre-wrap; font-size: .85rem; }
@media (min-width: 40.01rem) { .wide td:first-child { min-width: 17rem; } }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; }
  td:first-child { min-width: 6rem; }
  table.wide, .wide tbody, .wide tr, .wide td { display: block; }
  .wide tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .wide tr:has(th) { display: none; }
  .wide td { border: 0; padding: 0; }
  .wide td:empty { display: none; }
  .wide td:first-child { font-weight: 600; }
  .wide td[data-head]:not(:first-child)::before { content: attr(data-head) ": ";
    color: var(--quiet); }
}
@media print { details:not([open]) > *:not(summary) { display: block; } }
"""


class _Run(NamedTuple):
    """What the page is about."""

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
        """How the run diverged, or an empty text."""
        shape = self.config.arguments.get("input_shape", ())
        return caveats.divergence(self.history, self.results, shape)


def write_report(run_folder: str | Path) -> Path:
    """Draws the figures of a run and writes its `report.html`.

    The page is one file without scripts, made for screens of any width, for paper and
    for dark surroundings. It holds the facts of the run, the test numbers beside those
    of the preset's paper, the last epoch, the figures and the settings; a number that
    is not to be trusted or compared is marked where it stands. What a run does not
    have yet is named. Where the data are not at hand any more, the page shows the
    figures that lie in `figures/`.

    Args:
        run_folder: Folder of a run, finished, unfinished or diverged.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: The folder holds no run.
        ValueError: A file of the run is damaged.
        OSError: A file cannot be written.
    """
    folder = Path(run_folder)
    config = read_config(folder)
    history = read_history(folder)
    model, splits, note = _draw(folder, config, history)
    results = _read(folder / "metrics.json").get("test", {})
    times = _read(folder / "times.json")
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
    body += [_section(title, *parts) for title, parts in sections.items()]
    path = folder / "report.html"
    storage.write_text(path, _page(_title(config), "\n".join(body)))
    return path


def _draw(folder, config, history):
    """Draws the figures; returns model, data and what kept it from drawing, if any."""
    if not (folder / "model.keras").is_file():
        return None, None, "The run has no model yet: it is not finished."
    model = checkpoint.load(folder)
    try:
        splits = load_data(config)
    except (OSError, ValueError) as error:
        return model, None, f"The figures could not be drawn anew: {error}"
    draw_run(model, splits, history, folder / "figures")
    return model, splits, ""


def _read(path):
    return storage.read_json(path) if path.is_file() else {}


# === Sections ===


def _title(config):
    kind, _, path = config.data["source"].partition(":")
    return f"{config.preset or config.model} on {Path(path).stem or kind}"


def _heading(run):
    parts = [f"<h1>{_escape(_title(run.config))}</h1>"]
    arguments = run.config.arguments
    facts = [f"model {run.config.model}"]
    if "num_components" in arguments:
        facts.append(f"{arguments['num_components']} components")
    if "latent_dim" in arguments:
        facts.append(f"latents of {arguments['latent_dim']} dimensions")
    facts += [f"{run.config.training.epochs} epochs", f"seed {run.config.seed}"]
    name = run.folder.resolve().name
    parts.append(_quiet(f"Run {name}: {', '.join(facts)}."))
    if run.diverged:
        parts.append(
            _note(
                f"Careful: {run.diverged}. No number of it says anything about the "
                "method."
            )
        )
    parts.append(_table(None, _facts(run), ""))
    parts.append(_files(run.folder))
    return "\n".join(parts)


def _facts(run):
    """Rows of what is known about how the run was made."""
    rows = []
    if run.times:
        started = run.times["started"].replace("T", " ").replace("+00:00", " UTC")
        rows.append(["trained on", started])
        rows.append(["training time", _duration(run.times["training_seconds"])])
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


def _duration(seconds):
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _files(folder):
    """Links to what else lies in the folder of the run."""
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
        f'<li><a href="#{_anchor(title)}">{_escape(title)}</a></li>'
        for title in sections
    ]
    title = '<li class="quiet">Contents:</li>'
    return f'<nav aria-label="Contents"><ul>{title}{"".join(items)}</ul></nav>'


def _numbers(run):
    if not run.results:
        return [_note("The run has no numbers yet: it was not evaluated.")]
    reported = _reported(run.config)
    checks = run.results.get("audit", {})
    values = {name: v for name, v in run.results.items() if name != "audit"}
    reasons = caveats.of_numbers(run.results, run.diverged)
    num_train = None if run.splits is None else run.splits.num_train
    differences = ["the run diverged"] if run.diverged else []
    if reported:
        preset = presets.get(run.config.preset)
        differences += preset.differences(run.config, num_train)
    rows = []
    for name, value in values.items():
        number = _format(value)
        if name in reasons:
            number = _Marked(number, reasons[name])
        papers = [item for item in reported if item.metric == name]
        paper = "\n".join(f"{e.value:g}  {e.source}: {e.row}" for e in papers)
        if papers and differences:
            paper = _Marked(paper, "not comparable, see below")
        row = [name, number, meaning(name)]
        rows.append([*row, paper] if reported else row)
    header = ["name", "value", "meaning"] + (["paper"] if reported else [])
    parts = [_table(header, rows)]
    if reported:
        parts.append(
            _quiet(
                "The paper's numbers belong to the preset "
                f"{run.config.preset}, trained in full on its own data."
            )
        )
    if reported and differences:
        text = f"(!) Not comparable with the paper's: {'; '.join(differences)}."
        parts.append(_note(text))
    others = [
        [item.source, item.row, item.metric, f"{item.value:g}"]
        for item in reported
        if item.metric not in values
    ]
    if others:
        table = _table(["source", "row", "quantity", "value"], others)
        title = "<summary>What else the paper reports</summary>"
        parts.append(f"<details>{title}{table}</details>")
    return parts + _audit(checks)


def _audit(checks):
    """Table of the audit, under a warning where a check fails."""
    if not checks:
        return []
    rows = []
    for name, check in checks.items():
        limit = f"{_format(check['limit'])} + {_format(check['slack'])}"
        failures = check["failures"] or "not finite"
        result = "holds" if check["holds"] else f"fails ({failures})"
        rows.append([name, _format(check["value"]), limit, result])
    table = _table(["audit", "value", "must not exceed", "result"], rows)
    if all(check["holds"] for check in checks.values()):
        return [table]
    return [_note("Numbers marked (!) fail the audit: do not trust them."), table]


def _reported(config):
    if config.preset in presets.names():
        return presets.get(config.preset).paper
    return ()


def _last_epoch(run):
    if not run.history:
        return [_note("The run has no history yet: no epoch is finished.")]
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
        parts.append(_note(f"Training ended after {epoch:g} of {planned} epochs."))
    return [
        *parts,
        _table(["quantity", "training", "validation"], rows, "plain"),
        _quiet(
            "Means over the epoch. The loss is the weighted sum of the terms, in nats "
            "per image; the terms stand before their weights."
        ),
    ]


def _figures(run):
    note = run.note
    parts = [_note(note)] if note else [_quiet("Numbers of figures: TNNLS 2022.")]
    for name, caption in CAPTIONS.items():
        path = run.folder / "figures" / f"{name}.png"
        if path.is_file():
            storage.verify(path)
            image = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(
                f'<figure id="{name}"><img alt="{_escape(DESCRIPTIONS[name])}" '
                f'src="data:image/png;base64,{image}">'
                f"<figcaption>{_escape(caption)}</figcaption></figure>"
            )
    return parts


def _use(run):
    if run.model is None:
        return [_note("The run has no model yet: it is not finished.")]
    name = json.dumps(run.folder.resolve().name)
    lines = [
        "import mvae_tf",
        f"model = mvae_tf.load({name})",
        "images = model.generate(16, seed=0)",
    ]
    code = _escape("\n".join(lines))
    return [
        "<p>Beside the run's folder, in Python:</p>",
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
        _table([title, "value"], [[k, _setting(v)] for k, v in group.items()], "")
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
        "<p>Beside the run's folder, which holds all settings:</p>",
        f"<pre>python -c {_escape(shlex.quote(code))}</pre>",
        "<p>The same machine and versions give the same weights, bit for bit.</p>",
        _table(["package", "version"], rows, "plain"),
    ]


# === HTML ===


def _page(title, body):
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _section(title, *parts):
    heading = f'<section id="{_anchor(title)}">\n<h2>{_escape(title)}</h2>'
    return "\n".join([heading, *parts, "</section>"])


def _anchor(title):
    return title.lower().replace(" ", "-")


def _note(text):
    return f'<p class="note">{_escape(text)}</p>'


def _quiet(text):
    return f'<p class="quiet">{_escape(text)}</p>'


def _table(header, rows, kind="wide"):
    """Makes a table of texts, which keep their line breaks.

    Args:
        header: Names of the columns, or None.
        rows: Sequence of rows of texts.
        kind: "wide" for a table whose cells stand below each other on a narrow screen,
            "plain" for one of short words and numbers that do not break, "" for others.
    """
    if not rows:
        return ""
    lines = []
    if header is not None:
        cells = "".join(f'<th scope="col">{_escape(cell)}</th>' for cell in header)
        lines.append(f"<tr>{cells}</tr>")
    for row in rows:
        heads = [""] * len(row) if header is None else header
        cells = "".join(map(_cell, row, heads))
        lines.append(f"<tr>{cells}</tr>")
    return f'<table class="{kind}">\n' + "\n".join(lines) + "\n</table>"


class _Marked(NamedTuple):
    """Text of a cell, and why it is not to be trusted or compared."""

    text: str
    reason: str


def _cell(cell, head):
    name = f' data-head="{_escape(head)}"' if head else ""
    if isinstance(cell, _Marked):
        mark = f'<span class="mark"> (!) {_escape(cell.reason)}</span>'
        return f"<td{name}>{_escape(cell.text)}{mark}</td>"
    return f"<td{name}>{_escape(cell)}</td>"


def _escape(text):
    return html.escape(str(text))


def _format(value):
    """Number, list or matrix as a text."""
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
    # The figure prints all of it.
    others = [v for i, row in enumerate(rows) for j, v in enumerate(row) if i != j]
    if not others or None in others:
        return f"{len(rows)} x {len(rows)}"
    return f"{min(others):.3f} to {max(others):.3f} off the diagonal"


def _setting(value):
    return value if isinstance(value, str) else json.dumps(value)
