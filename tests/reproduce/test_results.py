"""RESULTS.md: written from the files in docs/results, which are those of the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from mvae_tf import reproduce
from mvae_tf.reproduce import Table
from mvae_tf.reproduce.records import read_csv

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "docs" / "results").glob("*/*.csv"))

# The least that the page has to show.
DUE = [f"mvae-table-{i}" for i in (1, 4, 5, 6)]
DUE += [f"mvae-figure-{i}" for i in (2, 3, 6, 7, 8, 11, 12, 13, 15, 16)]
DUE += [f"cp-vae-figure-{i}" for i in (3, 6, 9, 10)]
DUE += ["m-vae-table-1", "m-vae-table-2", "cp-vae-table-3", "gmmp-vae-table-4"]
DUE += ["cgm-table-1"]


def load_script():
    path = ROOT / "scripts" / "write_results.py"
    spec = importlib.util.spec_from_file_location("write_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


def test_page_is_what_the_script_writes():
    assert SCRIPT.page() == PAGE


def test_readme_has_the_results_of_today():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert SCRIPT._README.search(text)
    assert SCRIPT.with_results(text) == text


def test_page_shows_what_is_due():
    assert set(DUE) <= {path.stem for path in FILES}


def test_everything_that_was_run_has_a_verdict():
    results = SCRIPT.read_verdicts()["results"]
    assert {path.stem for path in FILES} <= set(results) <= set(reproduce.names())
    assert {result["verdict"] for result in results.values()} <= set(SCRIPT.VERDICTS)
    for name, result in results.items():
        assert result["evidence"].endswith("."), name
        assert f"**{result['verdict']}** | {result['evidence']} |" in PAGE


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_rows_are_those_of_the_code(path):
    paper, experiment = reproduce.get(path.stem)
    scale = path.parent.name
    runs = {run.label: run for run in experiment.runs(scale)}
    for row in read_csv(path):
        run = runs[row["run"]]
        assert row["changes"] == " ".join(paper.changes(run, scale))
        if isinstance(experiment, Table) and row["paper"] is not None:
            numbers = [(n.metric, n.value, n.row) for n in experiment.reported(run)]
            assert (row["metric"], row["paper"], row["row"]) in numbers
            if row["ours"] is not None:
                assert row["difference"] == row["ours"] - row["paper"]


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_the_command_stands_beside(path):
    command = f"python -m mvae_tf reproduce {path.stem} --scale {path.parent.name} "
    assert command in PAGE


def test_numbers_are_looked_up_by_name():
    (row, *_) = read_csv(ROOT / "docs/results/reduced/m-vae-table-1.csv")
    fill = SCRIPT._NUMBER.sub
    name = "m-vae-table-1 m-vae-mnist sse_sampled"
    assert fill(SCRIPT.number, f"{{reduced:{name}}}") == f"{row['ours']:.2f}"
    assert fill(SCRIPT.number, f"{{reduced:{name} paper}}") == "11.54"
    with pytest.raises(SystemExit, match="No number for"):
        fill(SCRIPT.number, "{m-vae-table-1 m-vae-mnist gone}")


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE)
    headings = set(re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE))
    slugs = {heading.lower().replace(" ", "-") for heading in headings}
    assert links
    for link in links:
        assert (ROOT / link).exists() or link.removeprefix("#") in slugs, link
