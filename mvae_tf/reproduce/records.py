"""The numbers of a table, ours and those of the paper, as CSV and as Markdown."""

import csv
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mvae_tf import presets, storage
from mvae_tf.evaluation import meaning
from mvae_tf.reproduce.experiment import Figure, Paper, Table, Trained

__all__ = [
    "circumstances",
    "command",
    "file_name",
    "markdown",
    "pictured",
    "read_csv",
    "records",
    "write_markdown",
]

Row = dict[str, Any]

_PANELS = 6
_NUMBERS = ("paper", "ours", "stddev", "difference")
# Such a name has a classifier, which gets a line, and a component, which gets a column.
_CLASSIFIED = re.compile(r"accuracy_([a-z]+)(?:_component_(\d+))?")


def records(table: Table, trained: Iterable[Trained]) -> list[Row]:
    """Return a dict for each number of a table.

    Runs that differ only in their seeds are averaged, incomplete ones only if they have
    the same number of epochs.

    Args:
        table: `Table`, the table.
        trained: list of `Trained`, its runs.

    Returns:
        Dicts with "row", the name of the row in the paper, or of the run if the paper
        has no such number; "metric", a name of `mvae_tf.evaluation.UNITS`; "paper",
        "ours" (the mean over seeds), "stddev" (over seeds) and "difference", which are
        None if they do not exist; and the entries of `circumstances`.
    """
    groups = {}
    for one in trained:
        key = (one.run, one.epochs if not one.complete else None)
        groups.setdefault(key, []).append(one)
    rows = []
    for (run, _), seeds in groups.items():
        reported = table.reported(run)
        entries: list[tuple[str, str, float | None]] = [
            (e.row, e.metric, e.value) for e in reported
        ]
        known = {e.metric for e in reported}
        beside = [m for m in (*table.also, *table.beside) if m not in known]
        entries += [(run.label, metric, None) for metric in beside]
        for row, metric, paper in entries:
            ours, stddev = _mean([_shown(one.metrics).get(metric) for one in seeds])
            if paper is None and ours is None:
                continue
            number = {
                "row": row,
                "metric": metric,
                "paper": paper,
                "ours": ours,
                "stddev": stddev,
                "difference": None if paper is None or ours is None else ours - paper,
            }
            rows.append(number | circumstances(seeds))
    return rows


def _shown(metrics):
    """Return the numbers without the counts of components if the mask is too wide."""
    if metrics.get("mask_stddev", 0.0) < 1.0:
        return metrics
    return {k: v for k, v in metrics.items() if "selected" not in k}


def _mean(values):
    """Return mean and sample standard deviation, or None if they do not exist."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    spread = statistics.stdev(known) if len(known) > 1 else None
    return statistics.fmean(known), spread


def circumstances(trained: Sequence[Trained]) -> Row:
    """Describe how the numbers of a run were computed.

    Args:
        trained: list of `Trained`, the run, trained with one or several seeds.

    Returns:
        Dict with "run", "data", "images" (the number of training images), "epochs"
        ("46 of 100" for an incomplete run), "seeds", "latent_dim" (of each component)
        and "changes" (the settings that differ from the preset).
    """
    one = trained[0]
    epochs = sorted({one.epochs for one in trained}, key=lambda text: (len(text), text))
    return {
        "run": one.run.label,
        "data": file_name(one.config.data["source"]),
        "images": one.splits.num_train,
        "epochs": " to ".join([*epochs[:1], *epochs[1:][-1:]]),
        "seeds": " ".join(str(one.config.seed) for one in trained),
        "latent_dim": one.config.arguments.get("latent_dim"),
        "changes": " ".join(one.changes),
    }


def file_name(source: str) -> str:
    """Return a source of data with the name of its file, without folders."""
    kind, colon, path = source.partition(":")
    return f"{kind}{colon}{Path(path).name}"


def command(name: str, scale: str, rows: Iterable[Row]) -> str:
    """Return the command line that makes a table or a figure.

    Args:
        name: str, name of the table or figure.
        scale: str, its scale.
        rows: what `records` or `circumstances` returned for its runs.
    """
    data, seeds = {}, 1
    for row in rows:
        preset = presets.get(row["run"].split(",")[0])
        if row["data"] != preset.data["source"]:
            data[preset.dataset] = row["data"]
        seeds = max(seeds, 1 + max(int(seed) for seed in row["seeds"].split()))
    options = "".join(f" --data {key}={source}" for key, source in data.items())
    options += f" --seeds {seeds}" if seeds > 1 else ""
    return (
        f"python -m mvae_tf reproduce {name} --scale {scale}{options} --output results"
    )


def pictured(rows: Iterable[Row]) -> list[Row]:
    """Turn records into those of `mvae_tf.figures.comparison`, one line per run.

    If the paper has numbers, metrics for which it has none are left out. If there are
    more metrics than panels, those of one kind, such as accuracies, share a panel, and
    the lines are the rows of the paper.
    """
    rows = [row | {"run": _label(row)} for row in rows]
    compared = {row["metric"] for row in rows if row.get("paper") is not None}
    rows = [row for row in rows if not compared or row["metric"] in compared]
    if len({row["metric"] for row in rows}) > _PANELS:
        return [row | {"metric": row["metric"].split("_")[0]} for row in rows]
    found, seen = [], set()
    for row in rows:
        line = row["run"]
        if (line, row["metric"]) in seen:
            line = f"{line}: {row['row']}"
        seen.add((line, row["metric"]))
        found.append(row | {"row": line})
    return found


def _label(row):
    """Return the name of a run, with the epoch if it is incomplete."""
    unfinished = " of " in str(row.get("epochs"))
    return f"{row['run']}, epoch {row['epochs']}" if unfinished else row["run"]


def read_csv(path: Path) -> list[Row]:
    """Read a table of `records` from its file, with its numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in row.keys() & {*_NUMBERS}:
            row[key] = float(row[key]) if row[key] else None
    return rows


def write_markdown(
    path: Path,
    experiment: Table | Figure,
    paper: Paper,
    scale: str,
    rows: Sequence[Row],
) -> None:
    """Write a Markdown file with the runs and, for a table, their numbers.

    Args:
        path: path of the file.
        experiment: `Table` or `Figure`.
        paper: `Paper`, its paper.
        scale: str, the scale.
        rows: what `records` or `circumstances` returned for its runs.
    """
    lines = [
        f"# {experiment.name}: {experiment.title}",
        "",
        f"{paper.title}. Scale: {scale}.",
        "",
        "```bash",
        command(experiment.name, scale, rows),
        "```",
        "",
        *([experiment.remark, ""] if experiment.remark else []),
        *markdown(rows),
        "",
    ]
    storage.write_text(path, "\n".join(lines))


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """Yield lines of Markdown: the numbers, what they mean, and the runs.

    Args:
        rows: what `records` returned for a table, or `circumstances` for the runs of a
            figure.
    """
    if "metric" in rows[0]:
        yield from _numbers(rows)
        yield ""
        first = {}
        for row in rows:
            first.setdefault(meaning(row["metric"]), row["metric"])
        for text, metric in first.items():
            yield f"- `{metric}`: {text}"
        yield ""
    yield from _runs(rows)


def _numbers(rows):
    """Yield a table of our numbers and the paper's, a line per run."""
    lines, columns = {}, {}
    for row in rows:
        label, column = f"`{row['run']}`", f"`{row['metric']}`"
        if match := _CLASSIFIED.fullmatch(row["metric"]):
            classifier, component = match.groups()
            label += f", {classifier.upper()}"
            column = "all" if component is None else f"component {component}"
        columns[column] = None
        line = lines.setdefault((label, row["epochs"], row["seeds"]), {})
        line.setdefault(column, []).append(row)
    yield f"| run | epochs | seeds | {' | '.join(columns)} |"
    yield "|---|---|---|" + "---|" * len(columns)
    for heads, line in lines.items():
        cells = [_cell(line.get(column, [])) for column in columns]
        yield f"| {' | '.join([*heads, *cells])} |"


def _cell(rows):
    if not rows:
        return ""
    ours, stddev = rows[0]["ours"], rows[0]["stddev"]
    text = "not measured" if ours is None else f"{ours:.2f}"
    if stddev is not None:
        text += f" ± {stddev:.2f}"
    papers = [f"{row['paper']:.2f}" for row in rows if row["paper"] is not None]
    return f"{text} ({' or '.join(papers)})" if papers else text


def _runs(rows):
    yield "| run | training images | data | latent size | differs from the preset in |"
    yield "|---|---|---|---|---|"
    found = {(row["run"], row["epochs"], row["seeds"]): row for row in rows}
    for (run, _, _), row in found.items():
        changes = f"`{row['changes']}`" if row["changes"] else ""
        yield (
            f"| `{run}` | {int(row['images']):,} | `{row['data']}` | "
            f"{row['latent_dim'] or ''} | {changes} |"
        )
