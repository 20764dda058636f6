"""`reproduce --runs`: runs that were trained elsewhere."""

import csv
import dataclasses
import re

import numpy as np
import pytest

import mvae_tf
from mvae_tf import models, reproduce, storage
from mvae_tf.cli import main
from mvae_tf.reproduce import Run, runner
from mvae_tf.reproduce.elsewhere import Elsewhere, NoRun
from mvae_tf.runs import training

SHAPE = (8, 8, 1)
VAE = Run("vae-mnist")


def stored(folder, name="run", epochs=5, run=VAE, seed=0, **settings):
    """Writes what a run folder says of itself, after `epochs` epochs."""
    config = run.config(("data.validation_size=0",), "npz:there/mnist.npz", seed)
    config = training.complete(
        config, models.create(config.model, SHAPE, **config.arguments)
    )
    values = config.to_dict()
    for key, value in settings.items():
        group, _, key = key.rpartition("__")
        (values[group] if group else values)[key] = value
    storage.write_json(folder / name / "config.json", values)
    history = [{"epoch": i + 1, "loss": 1.0} for i in range(epochs)]
    training.write_history(folder / name, history)
    return folder / name


def said(capsys):
    """Lines on stderr that are not TensorFlow's, which may start only here."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("mvae-tf: ")]


def wanted(*changes, seed=0, run=VAE):
    changes = ("data.validation_size=0", *changes)
    return run, run.config(changes, "npz:here/mnist.npz", seed)


def test_a_run_is_found_by_what_decides_its_numbers(tmp_path):
    stored(tmp_path, "other-seed", seed=1)
    stored(tmp_path, "other-weight", arguments__kl_weight=2.0, epochs=9)
    stored(tmp_path, "short", epochs=2)
    free = {"steps_per_execution": 67, "checkpoint_every": 9, "jit_compile": True}
    free = {f"training__{key}": value for key, value in free.items()}
    run = stored(tmp_path, "run", training__epochs=7, **free)
    assert Elsewhere([tmp_path]).find(*wanted()) == run
    # The run's own folder will do.
    assert Elsewhere([run]).find(*wanted()) == run


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"arguments__kl_weight": 2.0}, "arguments.kl_weight = 2.0"),
        ({"training__learning_rate": 0.1}, "training.learning_rate = 0.1"),
        ({"data__limit": 100}, "data.limit = 100"),
        ({"data__source": "npz:there/fashion.npz"}, "'npz:fashion.npz'"),
        ({"epochs": 101}, "has 101 epochs"),
        ({"epochs": 0}, "has 0 epochs"),
        ({"arguments__of_another_version": 1}, "of_another_version"),
    ],
)
def test_another_run_is_named_with_what_differs(settings, differs, tmp_path):
    stored(tmp_path, **settings)
    with pytest.raises(NoRun, match="no such run in") as error:
        Elsewhere([tmp_path]).find(*wanted())
    assert differs in str(error.value)


def test_the_data_may_have_another_name_where_none_is_asked_for(tmp_path):
    run = stored(tmp_path, data__source="npz:there/digits.npz")
    assert Elsewhere([tmp_path]).find(*wanted(), any_source=True) == run


def test_a_run_of_other_versions_costs_one_line(tmp_path, capsys):
    run = stored(tmp_path, versions={"mvae_tf": "0.0.1"})
    assert Elsewhere([tmp_path]).find(*wanted()) == run
    (line,) = said(capsys)
    assert f"{run} was trained with mvae_tf 0.0.1 (here" in line


def test_a_damaged_run_costs_one_line(tmp_path, capsys):
    run = stored(tmp_path)
    storage.write_text(tmp_path / "damaged" / "config.json", "{")
    assert Elsewhere([tmp_path]).find(*wanted()) == run
    (line,) = said(capsys)
    assert line.startswith(f"mvae-tf: {tmp_path / 'damaged'} is left out: ")


def test_a_missing_folder_costs_one_line(tmp_path, capsys):
    command = ["reproduce", "mvae-table-6", "--runs", str(tmp_path / "gone")]
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    (line,) = said(capsys)
    assert line.endswith(f"Expected a folder at {tmp_path / 'gone'}, got none.")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of a VAE, and one of a mixture that is in its last epoch."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.integers(0, 80, (80, 8, 8)).astype(np.uint8) + 170 * y[:, None, None]
    parts = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    path = folder / "mnist.npz"
    np.savez(path, **{key: value.astype(np.uint8) for key, value in parts.items()})
    for preset, epochs in ("vae-mnist", 3), ("mvae-gs-k4-mnist", 2):
        options = [f"--data=npz:{path}", f"--epochs={epochs}", "--batch-size=20"]
        options += ["--set=data.validation_size=0", "--set=steps_per_execution=3"]
        output = ["--output", str(folder / preset)]
        assert main(["train", "--preset", preset, *options, *output]) == 0
    for name in "model.keras", "report.html", "metrics.json":
        storage.remove(folder / "mvae-gs-k4-mnist" / name)
    return folder


@pytest.fixture
def table(monkeypatch):
    """Table VI with three rows, of three epochs."""
    paper, table = reproduce.get("mvae-table-6")
    rows = ("vae-mnist", "mvae-gs-k4-mnist", "mvae-fixed-mnist")
    table = dataclasses.replace(table, reduced=rows)
    settings = ("epochs=3", "batch_size=20", "data.validation_size=0")
    paper = dataclasses.replace(paper, reduced={"mnist": settings})
    monkeypatch.setitem(reproduce._FOUND, table.name, (paper, table))
    return table.name


def test_many_missing_runs_are_counted(tmp_path, capsys):
    command = ["reproduce", "cp-vae-table-3", "--scale", "full", "--runs"]
    assert main([*command, str(tmp_path), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    names = r"not computed; cp-vae-k10-mnist(, [\w@-]+){4} and \d{2,} more"
    assert re.search(f"{names}: no such run in", error)
    assert len(error) < 400


def test_runs_are_measured_in_copies(runs, table, tmp_path, capsys):
    before = {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()}
    command = ["reproduce", table, "--runs", str(runs), "--output", str(tmp_path)]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "mvae-table-6 is not complete; mvae-fixed-mnist: no such run in" in error
    assert {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "reduced" / "runs").exists()

    with (tmp_path / "reduced" / f"{table}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs = {row["run"]: row["epochs"] for row in rows}
    assert epochs == {"vae-mnist": "3", "mvae-gs-k4-mnist": "2 of 3"}

    copies = tmp_path / "reduced" / "copies"
    for ours, theirs in zip(
        mvae_tf.load(copies / "vae-mnist").get_weights(),
        mvae_tf.load(runs / "vae-mnist").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert int(mvae_tf.load(copies / "mvae-gs-k4-mnist").step.numpy()) == 6

    # What was measured is not measured again.
    written = {p: p.stat().st_mtime_ns for p in copies.rglob("*") if p.is_file()}
    assert main(command) == 2
    assert {p: p.stat().st_mtime_ns for p in written} == written


def test_full_scale_estimates_likelihoods_from_more_draws(
    runs, table, tmp_path, monkeypatch
):
    monkeypatch.setattr(runner, "LIKELIHOOD_DRAWS", 150)
    paper, experiment = reproduce.get(table)
    rows = [run for run in experiment.runs("full") if run.preset == "vae-mnist"]
    monkeypatch.setattr(type(experiment), "runs", lambda *_: rows)
    wants = {"groups": ("likelihood", "categories"), "also": ("log_likelihood",)}
    experiment = dataclasses.replace(experiment, **wants)
    paper = dataclasses.replace(paper, full=paper.reduced)
    monkeypatch.setitem(reproduce._FOUND, table, (paper, experiment))
    command = ["reproduce", table, "--scale", "full", "--runs", str(runs)]
    # The paper's number of this row is an error, which this table does not measure.
    assert main([*command, "--output", str(tmp_path)]) == 0
    # The run's own file has 100 draws.
    path = tmp_path / "full" / "copies" / "vae-mnist" / "metrics.json"
    numbers = storage.read_json(path)["test"]
    assert numbers["log_likelihood_samples"] == 150
    assert numbers["log_likelihood_images"] == 20
    assert "category_information" not in numbers
