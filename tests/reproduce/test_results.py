"""RESULTS.md: its numbers are those of the files, its links lead somewhere."""

import csv
import re
from pathlib import Path

import pytest

from mvae_tf import reproduce
from mvae_tf.reproduce import Table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
FILES = ROOT / "docs" / "results"
BLOCKS = dict(
    re.findall(r"<!-- begin (\S+) -->\n(.*?)<!-- end \1 -->", PAGE, re.DOTALL)
)
TABLES = [n for n in BLOCKS if isinstance(reproduce.get(n)[1], Table)]

# The least that the page has to show.
DUE = [f"mvae-table-{i}" for i in (1, 4, 5, 6)]
DUE += [f"mvae-figure-{i}" for i in (2, 3, 6, 7, 8, 11, 12, 13, 15, 16)]
DUE += [f"cp-vae-figure-{i}" for i in (3, 6, 9, 10)]
DUE += ["m-vae-table-1", "m-vae-table-2", "cp-vae-table-3", "gmmp-vae-table-4"]
DUE += ["cgm-table-1"]


def rows(name):
    with (FILES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        for key in ("paper", "ours", "difference"):
            row[key] = float(row[key]) if row[key] else None
    return found


def test_page_shows_what_is_due():
    assert set(DUE) <= set(BLOCKS)


@pytest.mark.parametrize("name", TABLES)
def test_papers_numbers_are_those_of_the_presets(name):
    table = reproduce.get(name)[1]
    runs = {run.label: run for run in table.runs("full")}
    for row in rows(name):
        if row["paper"] is None:
            continue
        numbers = table.reported(runs[row["run"]])
        assert (row["metric"], row["paper"]) in [(n.metric, n.value) for n in numbers]
        if row["ours"] is not None:
            assert row["difference"] == row["ours"] - row["paper"]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_command_stands_beside(name):
    assert f"python -m mvae_tf reproduce {name} --scale" in BLOCKS[name]


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", PAGE)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
