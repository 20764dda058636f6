"""Numbers of a table, ours beside the paper's, as CSV and as Markdown."""

import csv
import io
from pathlib import Path

from mvae_tf import storage
from mvae_tf.evaluation import meaning

__all__ = [
    "command",
    "number_table",
    "pictured",
    "records",
    "write_csv",
    "write_markdown",
]

_PANELS = 6


def records(table, trained):
    """One dict a number.

    Args:
        table: `mvae_tf.reproduce.Table`.
        trained: list of `mvae_tf.reproduce.Trained`.

    Returns:
        list of dicts with "row", as the paper names it, or the run where the paper has
        no such number; "metric", a name of `mvae_tf.evaluation.UNITS`; "paper", "ours"
        and their "difference", None where one is missing; and what it took: "run",
        "data", "images" (for training), "epochs", "seed" and "changes" of the preset.
    """
    found = []
    for one in trained:
        metrics = one.metrics
        reported = table.reported(one.run)
        entries = [(e.row, e.metric, e.value) for e in reported]
        known = {e.metric for e in reported}
        entries += [
            (one.run.label, name, None) for name in table.also if name not in known
        ]
        for row, metric, paper in entries:
            ours = metrics.get(metric)
            if paper is None and ours is None:
                continue
            both = paper is not None and ours is not None
            number = {
                "row": row,
                "metric": metric,
                "paper": paper,
                "ours": ours,
                "difference": ours - paper if both else None,
            }
            found.append(number | _circumstances(one))
    return found


def _circumstances(trained):
    return {
        "run": trained.run.label,
        "data": _file_name(trained.config.data["source"]),
        "images": trained.splits.num_train,
        "epochs": len(trained.history),
        "seed": trained.config.seed,
        "changes": " ".join(trained.changes),
    }


def _file_name(source):
    """The source without the folders of its file, which are of one machine."""
    kind, colon, path = source.partition(":")
    return f"{kind}{colon}{Path(path).name}"


def command(experiment, scale, sources):
    """The command line that makes an experiment."""
    data = "".join(f" --data {n}={_file_name(s)}" for n, s in sources.items())
    return (
        f"python -m mvae_tf reproduce {experiment.name} --scale {scale}{data} "
        "--output results"
    )


def pictured(rows):
    """Records as `mvae_tf.figures.comparison` takes them: few panels, a line a run.

    Where there are more metrics than panels fit, those of one kind, such as accuracies,
    share a panel, and lines are the rows of the paper.
    """
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


def write_csv(path, rows):
    """Writes the records of a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    storage.write_text(path, text.getvalue())


def write_markdown(path, experiment, paper, scale, sources, trained, rows=()):
    """Writes what was run, with the numbers of a table."""
    lines = [
        f"# {experiment.name}: {experiment.title}",
        "",
        f"{paper.title}. Scale: {scale}.",
        "",
        "```bash",
        command(experiment, scale, sources),
        "```",
        "",
    ]
    if experiment.remark:
        lines += [experiment.remark, ""]
    if rows:
        lines += [*number_table(rows), "", *_units(rows), ""]
    lines += [*_runs(trained), ""]
    storage.write_text(path, "\n".join(lines))


def number_table(rows):
    """Lines of the Markdown table of records."""
    yield "| row of the paper | metric | paper | ours | difference | run |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        own = row["paper"] is None
        cells = [
            "" if own else row["row"],
            f"`{row['metric']}`",
            _text(row["paper"]),
            _text(row["ours"]),
            _text(row["difference"], "+"),
            f"`{row['run']}`",
        ]
        yield f"| {' | '.join(cells)} |"


def _text(value, sign=""):
    if value is None:
        return ""
    return f"{value:{sign}.2f}" if isinstance(value, float) else str(value)


def _units(rows):
    first = {}
    for row in rows:
        first.setdefault(meaning(row["metric"]), row["metric"])
    for text, metric in first.items():
        yield f"- `{metric}`: {text}"


def _runs(trained):
    yield "| run | training images | data | epochs | seed | beside the preset |"
    yield "|---|---|---|---|---|---|"
    for one in trained:
        found = _circumstances(one)
        changes = f"`{found['changes']}`" if found["changes"] else ""
        yield (
            f"| `{one.run.label}` | {found['images']:,} | `{found['data']}` | "
            f"{found['epochs']} | {found['seed']} | {changes} |"
        )
