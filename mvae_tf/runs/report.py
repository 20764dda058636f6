"""One HTML page about a run, which opens without a network."""

import base64
import html
import json
import shlex
from pathlib import Path

from mvae_tf import presets, storage
from mvae_tf.evaluation import meaning
from mvae_tf.evaluation.audit import suspects
from mvae_tf.figures import CAPTIONS, draw_run
from mvae_tf.runs import checkpoints as checkpoint
from mvae_tf.runs import training

__all__ = ["write_report"]

_STYLE = """
:root { color: #1f2328; background: #fff; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 0 auto;
  padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; }
.quiet, figcaption { color: #59636e; font-size: .9rem; }
.note { border-left: 3px solid #e76300; padding-left: .75rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid #e4e8ec; white-space: pre-line; overflow-wrap: anywhere; }
th { font-weight: 600; }
th, td:first-child { white-space: nowrap; }
figure { margin: 0 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { margin: .4rem 0 0; max-width: 46rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
pre { background: #f4f6f8; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; }
"""


def write_report(run_folder):
    """Draws the figures of a run and writes its `report.html`.

    The page holds the settings, the test numbers beside those of the preset's paper,
    the last epoch and the figures, all in one file without scripts. What a run does
    not have yet is named. Where the data are not at hand any more, the figures that
    lie in `figures/` are shown.

    Args:
        run_folder: folder of a run.

    Returns:
        `Path` of the page.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: a file of the run is damaged.
        OSError: a file cannot be written.
    """
    folder = Path(run_folder)
    config = training.read_config(folder)
    history = training.read_history(folder)
    note = _draw(folder, config, history)
    body = [
        _heading(folder, config),
        _numbers(folder, config),
        _last_epoch(history),
        _figures(folder, note),
        _settings(config),
        _repetition(folder, config),
    ]
    path = folder / "report.html"
    storage.write_text(path, _page(_title(config), "\n".join(body)))
    return path


def _draw(folder, config, history):
    """Draws the figures; returns what keeps it from doing so, or an empty text."""
    if not (folder / "model.keras").is_file():
        return "The run has no model yet: it is not finished."
    try:
        splits = training.load_data(config)
    except (OSError, ValueError) as error:
        return f"The figures could not be drawn anew: {error}"
    draw_run(checkpoint.load(folder), splits, history, folder / "figures")
    return ""


# === Sections ===


def _title(config):
    kind, _, path = config.data["source"].partition(":")
    return f"{config.preset or config.model} on {Path(path).stem or kind}"


def _heading(folder, config):
    arguments = config.arguments
    facts = [f"model {config.model}"]
    if "num_components" in arguments:
        facts.append(f"{arguments['num_components']} components")
    if "latent_dim" in arguments:
        facts.append(f"latents of {arguments['latent_dim']} dimensions")
    facts += [f"{config.training.epochs} epochs", f"seed {config.seed}"]
    run = _quiet(f"Run {folder.resolve().name}: {', '.join(facts)}.")
    return f"<h1>{_escape(_title(config))}</h1>\n{run}"


def _numbers(folder, config):
    path = folder / "metrics.json"
    if not path.is_file():
        note = "The run has no numbers yet: it was not evaluated."
        return _section("Test numbers", _note(note))
    values = dict(storage.read_json(path)["test"])
    reported = _reported(config)
    checks = values.pop("audit", {})
    doubtful = suspects({"audit": checks})
    rows = []
    for name, value in values.items():
        paper = [
            f"{item.value:g}  {item.source}: {item.row}"
            for item in reported
            if item.metric == name
        ]
        mark = " (!)" if name in doubtful else ""
        row = [name, _format(value) + mark, meaning(name)]
        rows.append([*row, "\n".join(paper)] if reported else row)
    header = ["name", "value", "meaning"] + (["paper"] if reported else [])
    parts = [_table(header, rows), *_audit(checks)]
    if reported:
        parts.append(
            _quiet(
                f"The paper's numbers belong to the preset {config.preset}, trained in "
                "full on its own data."
            )
        )
        others = [
            [item.source, item.row, item.metric, f"{item.value:g}"]
            for item in reported
            if item.metric not in values
        ]
        if others:
            table = _table(["source", "row", "quantity", "value"], others)
            parts.append(
                "<details><summary>What else the paper reports</summary>"
                f"{table}</details>"
            )
    return _section("Test numbers", *parts)


def _audit(checks):
    """Table of the audit, under a warning where a check fails."""
    if not checks:
        return []
    rows = [
        [
            name,
            f"{check['value']:.5g}",
            f"{check['limit']:.5g} + {check['slack']:.2g}",
            "holds" if check["holds"] else f"fails ({check['failures']})",
        ]
        for name, check in checks.items()
    ]
    table = _table(["audit", "value", "must not exceed", ""], rows)
    if all(check["holds"] for check in checks.values()):
        return [table]
    return [_note("Numbers marked (!) fail the audit: do not trust them."), table]


def _reported(config):
    if config.preset in presets.names():
        return presets.get(config.preset).paper
    return ()


def _last_epoch(history):
    if not history:
        note = "The run has no history yet: no epoch is finished."
        return _section("Last epoch", _note(note))
    last = dict(history[-1])
    epoch = last.pop("epoch", len(history))
    names = [name for name in last if not name.startswith("val_")]
    rows = [
        [name, _format(last[name]), _format(last.get(f"val_{name}", ""))]
        for name in names
    ]
    return _section(
        f"Epoch {epoch:g}, the last",
        _table(["quantity", "training", "validation"], rows),
        _quiet(
            "Means over the epoch. loss is the weighted sum of the terms, in nats an "
            "image; the terms stand before their weights."
        ),
    )


def _figures(folder, note):
    parts = [_note(note)] if note else [_quiet("Numbers of figures: TNNLS 2022.")]
    for name, caption in CAPTIONS.items():
        path = folder / "figures" / f"{name}.png"
        if path.is_file():
            storage.verify(path)
            image = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(
                f'<figure id="{name}">'
                f'<img alt="{_escape(caption)}" src="data:image/png;base64,{image}">'
                f"<figcaption>{_escape(caption)}</figcaption></figure>"
            )
    return _section("Figures", *parts)


def _settings(config):
    values = config.to_dict()
    groups = {
        "run": {key: values[key] for key in ("model", "preset", "seed", "devices")},
        "arguments of the model": values["arguments"],
        "data": values["data"],
        "training": values["training"],
    }
    parts = []
    for title, group in groups.items():
        rows = [[key, _setting(value)] for key, value in group.items()]
        parts.append(_table([title, ""], rows))
    return _section("Settings", *parts)


def _repetition(folder, config):
    name = folder.resolve().name
    old, new = json.dumps(name), json.dumps(f"{name}-again")
    code = (
        "from mvae_tf import training; "
        f"training.train(training.read_config({old}), {new})"
    )
    rows = [[package, version] for package, version in config.versions.items()]
    return _section(
        "To repeat the run",
        "<p>Beside the run's folder, which holds all settings:</p>",
        f"<pre>python -c {_escape(shlex.quote(code))}</pre>",
        "<p>The same machine and versions give the same weights, bit for bit.</p>",
        _table(["package", "version"], rows) if rows else "",
    )


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
    return "\n".join([f"<section>\n<h2>{_escape(title)}</h2>", *parts, "</section>"])


def _note(text):
    return f'<p class="note">{_escape(text)}</p>'


def _quiet(text):
    return f'<p class="quiet">{_escape(text)}</p>'


def _table(header, rows):
    """Table of texts, which keep their line breaks."""
    lines = []
    for tag, cells in [("th", header), *(("td", row) for row in rows)]:
        cells = "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells)
        lines.append(f"<tr>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _escape(text):
    return html.escape(str(text))


def _format(value):
    """Number, list or matrix as a text."""
    if value is None:
        return "not finite"
    if isinstance(value, list):
        if isinstance(value[0], list):
            return _format_matrix(value)
        return "  ".join("?" if v is None else f"{v:.3f}" for v in value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value)


def _format_matrix(rows):
    # The figure prints all of it.
    others = [v for i, row in enumerate(rows) for j, v in enumerate(row) if i != j]
    if not others or None in others:
        return f"{len(rows)} x {len(rows)}"
    return f"{min(others):.3f} to {max(others):.3f} off the diagonal"


def _setting(value):
    return value if isinstance(value, str) else json.dumps(value)
