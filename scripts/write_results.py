"""Writes RESULTS.md, and the results in README.md, from docs/results/.

    python scripts/write_results.py [results/full results/reduced ...]

A folder that is named is the output of `mvae-tf reproduce --output results` at one
scale: its numbers (CSV) and pictures (PNG) are first copied to docs/results/<scale>/.

docs/results/verdicts.toml has the sentences. In them, `{mvae-table-6 vae-mnist sse}`
stands for a number of a table: its name, the run and the metric, and perhaps "paper",
"stddev", "difference" or "epochs" for another column than "ours". The scale "full" is
looked up first; `{reduced:mvae-table-6 vae-mnist sse}` names it.
"""

import argparse
import re
import shutil
import tomllib
from pathlib import Path

from mvae_tf import reproduce
from mvae_tf.reproduce import SCALES
from mvae_tf.reproduce.records import command, markdown, read_csv

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "results"

VERDICTS = {
    "holds": "the paper's statement comes out, by and large with its numbers",
    "holds in order only": "the order of the rows comes out, the numbers do not",
    "does not hold": "the statement does not come out",
    "cannot hold": "the paper's numbers contradict themselves or mathematics",
    "not run": "nothing can be said here",
}
_NUMBER = re.compile(r"\{(?:(\w+):)?([\w-]+)\s([^\s{}]+)\s(\w+)(?:\s(\w+))?\}")
_README = re.compile(r"(<!-- begin results -->\n).*?(<!-- end results -->)", re.DOTALL)
# A figure of several runs has a suffix for each.
_BASE = re.compile(r"[a-z-]+-(?:table|figure)-[a-z]?\d+")


def main():
    """Copy the folders that the command line names, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folders", nargs="*", type=Path, help="DIR/SCALE of `mvae-tf reproduce`"
    )
    for folder in parser.parse_args().folders:
        copy(folder)
    (ROOT / "RESULTS.md").write_text(page(), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_results(text), encoding="utf-8")


def copy(folder):
    """Copy the numbers and pictures of a scale."""
    if folder.name not in SCALES:
        raise SystemExit(f"Expected a folder DIR/SCALE, got {folder}.")
    target = FOLDER / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.png")]):
        shutil.copyfile(path, target / path.name)


# === RESULTS.md ===


def page():
    """Return the text of RESULTS.md."""
    verdicts = read_verdicts()
    parts = [INTRODUCTION, "## In short", *summary(verdicts), DATA]
    for key, paper in verdicts["papers"].items():
        names = names_of(key)
        parts += [f"## {paper['name']}", paper["title"], *overview(names, verdicts)]
        for name in names:
            parts += section(name, verdicts)
    return "\n\n".join(parts) + "\n"


def read_verdicts():
    """Read verdicts.toml, and replace the names of numbers by the numbers."""

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return " ".join(_NUMBER.sub(number, value).split())

    with (FOLDER / "verdicts.toml").open("rb") as file:
        return filled(tomllib.load(file))


def number(match):
    """Return the number that a name stands for, as a text."""
    scale, table, run, metric, column = match.groups()
    for folder in [scale] if scale else ("full", "reduced"):
        path = FOLDER / folder / f"{table}.csv"
        for row in read_csv(path) if path.exists() else ():
            if (row["run"], row["metric"]) == (run, metric):
                value = row[column or "ours"]
                if value is not None:
                    return value if isinstance(value, str) else f"{value:.2f}"
    raise SystemExit(f"No number for {match[0]} in {FOLDER}.")


def names_of(paper):
    """List the names of the tables and figures of a paper."""
    return [name for name in reproduce.names() if name.startswith(f"{paper}-")]


def summary(verdicts):
    """Yield the first table: what holds of each paper."""
    lines = ["| paper | what holds | what does not | verdicts |", "|---|---|---|---|"]
    for key, paper in verdicts["papers"].items():
        found = [verdict(name, verdicts) for name in names_of(key)]
        counts = [f"{v}: {found.count(v)}" for v in VERDICTS if v in found]
        cells = [
            f"[{paper['name']}](#{paper['name'].lower()})",
            paper["holds"],
            paper["fails"],
        ]
        lines.append(f"| {' | '.join([*cells, ', '.join(counts)])} |")
    yield "\n".join(lines)


def verdict(name, verdicts):
    """Return the verdict on a table or a figure."""
    return verdicts["results"].get(name, {}).get("verdict", "not run")


def overview(names, verdicts):
    """Yield a table of the verdicts on a paper, and the names of what was not run."""
    lines = ["| table or figure | verdict | evidence |", "|---|---|---|"]
    for name in names:
        if name in verdicts["results"]:
            evidence = verdicts["results"][name]["evidence"]
            link = f"[{name}](#{name})" if files(name) else name
            lines.append(f"| {link} | **{verdict(name, verdicts)}** | {evidence} |")
    yield "\n".join(lines)
    rest = [name for name in names if name not in verdicts["results"]]
    if rest:
        yield f"Not run: {', '.join(f'`{name}`' for name in rest)}."


def section(name, verdicts):
    """Yield the numbers and pictures of a table or a figure, if it was run."""
    if not files(name):
        return
    result, experiment = verdicts["results"][name], reproduce.get(name)[1]
    yield f"### {name}"
    yield f"{experiment.title}: **{result['verdict']}**."
    for key, label in (
        ("measured", "Cause, measured"),
        ("guess", "Cause, not measured"),
        ("note", "Note"),
    ):
        if key in result:
            yield f"{label}: {result[key]}"
    if experiment.remark:
        yield experiment.remark
    for path in files(name):
        rows, scale = read_csv(path), path.parent.name
        done = f"At the scale `{scale}` ([CSV](docs/results/{scale}/{path.name})):"
        yield f"{done}\n\n```bash\n{command(name, scale, rows)}\n```"
        for picture in pictures(path):
            yield f"![{picture.stem}](docs/results/{scale}/{picture.name})"
        yield "\n".join(markdown(rows))


def files(name):
    """List the CSV files of a table or a figure, the fullest scale first."""
    paths = (FOLDER / scale / f"{name}.csv" for scale in reversed(SCALES))
    return [path for path in paths if path.exists()]


def pictures(path):
    """List the pictures that belong to a CSV file."""
    found = sorted(path.parent.glob(f"{path.stem}*.png"))
    return [p for p in found if _BASE.match(p.stem)[0] == path.stem]


# === README.md ===


def with_results(text):
    """Return the text of README.md with the present results between its two marks."""
    verdicts = read_verdicts()
    (table,) = summary(verdicts)
    table = table.replace("](#", "](RESULTS.md#")
    path = files("mvae-table-6")[0]
    lines = list(markdown(read_csv(path)))
    body = "\n\n".join(
        [table, verdicts["readme"]["text"], "\n".join(lines[: lines.index("")])]
    )
    return _README.sub(lambda match: f"{match[1]}{body}\n{match[2]}", text)


INTRODUCTION = (
    """# Results

What came out when this library ran the tables and figures of the five papers, beside
what the papers print. This page is written by `scripts/write_results.py` from the
numbers in [docs/results/](docs/results/), where each one stands with its run, its data,
its number of epochs and its seeds.

Each table and figure has one verdict:

"""
    + "\n".join(f"- **{name}**: {text};" for name, text in VERDICTS.items())[:-1]
    + """.

In the tables below, the paper's number stands in brackets behind ours. Epochs such as
"150 of 2000" are those of a run that was not complete. `@code` is a model as the
authors' scripts have it; without it, a model follows the paper's equations. A cause is
called measured where a run without it, or a computation, showed its effect."""
)

DATA = """## Data

The scale `full` is the paper's protocol: on MNIST, 60,000 images and 100 epochs. The
scale `reduced` took hours on two processor cores, with one seed: 20,250 images of MNIST
and 30 epochs; Fashion-MNIST and Frey Faces are complete, with fewer epochs than the
papers'; CIFAR10 is 4,577 images with a quarter of the networks' widths. There, errors
lie above the papers' and bounds below, and only the order of rows can be compared.

Every command here takes data that you can have: `mnist.npz` and `fashion_mnist.npz`
hold the arrays of Keras' data sets, `frey_faces.npz` the array `x` of 1,965 images of
28 x 20, and `cifar10_small.npz` the first 1,017 images of each of CIFAR10's batches:

```python
import keras
import numpy as np

for name in ("mnist", "fashion_mnist", "cifar10"):
    (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    if name == "cifar10":
        few = np.concatenate([np.arange(i, i + 1017) for i in range(0, 50_000, 10_000)])
        name, x, y, x_test, y_test = (
            "cifar10_small",
            x[few],
            y[few, 0],
            x_test[:1017],
            y_test[:1017, 0],
        )
    np.savez(f"{name}.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
```

With TensorFlow Datasets instead of files, leave `--data` out."""


if __name__ == "__main__":
    main()
