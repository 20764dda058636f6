"""Tables and figures of the papers as commands."""

import csv
import dataclasses
import json
import types

import numpy as np
import pytest

from mvae_tf import evaluation, presets, reproduce
from mvae_tf.cli import main
from mvae_tf.reproduce import Run, Table, drawings, mvae, records
from mvae_tf.runs import training

SHAPES = {"mnist": (8, 8)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Small files in place of the data sets."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in SHAPES.items():
        path = tmp_path_factory.mktemp("data") / f"{name}.npz"
        y = np.arange(80) % 2
        x = rng.integers(0, 80, (80, *shape)) + 170 * y.reshape(-1, 1, 1)
        x = x.astype(np.uint8)
        np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
        found[name] = f"npz:{path}"
    return found


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    """Runs without a report, which has tests of its own."""

    def write(output):
        (output / "report.html").touch()

    monkeypatch.setattr(training, "_write_report", write)


@pytest.fixture
def two_rows(monkeypatch):
    """Table VI with two of its rows."""
    paper, table = reproduce.get("mvae-table-6")
    table = dataclasses.replace(table, reduced=("mvae-gs-k4-mnist", "vae-mnist"))
    monkeypatch.setitem(reproduce._FOUND, table.name, (paper, table))
    return table.name


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_of_the_presets_stands_in_one_table():
    tables = [reproduce.get(name)[1] for name in reproduce.names()]
    sources = [table.source for table in tables if isinstance(table, Table)]
    assert len(set(sources)) == len(sources)
    numbers = {e.source for name in presets.names() for e in presets.get(name).paper}
    assert numbers - {"TNNLS 2022, text"} == set(sources)


@pytest.mark.parametrize("scale", reproduce.SCALES)
@pytest.mark.parametrize("name", reproduce.names())
def test_every_run_has_a_configuration(name, scale):
    paper, experiment = reproduce.get(name)
    runs = experiment.runs(scale)
    assert runs
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        config = run.config(paper.changes(run, scale), "npz:own.npz", seed=3)
        assert config.data["source"] == "npz:own.npz"
        assert config.seed == 3
        full = presets.get(run.preset).training
        assert (config.training == full) == (scale == "full") or run.changes
        if scale == "smoke":
            assert config.training.epochs == 1
            assert config.data["limit"] == 256


def test_rows_are_those_of_the_presets_that_carry_a_number():
    table = reproduce.get("mvae-table-5")[1]
    assert [run.preset for run in table.runs("full")] == [
        "mvae-gs-k4-mnist",
        "vae-mnist",
        "mvae-gs-k4-mnist@code",
    ]
    numbers = table.reported(Run("vae-mnist"))
    assert {n.metric: n.value for n in numbers} == {
        "accuracy_mlp": 97.21,
        "accuracy_svm": 93.81,
        "accuracy_knn": 96.51,
    }
    assert not table.reported(Run("vae-mnist", ("latent_dim=2",)))


def test_table_has_the_papers_numbers_beside_ours(sources, two_rows, tmp_path, capsys):
    command = ["reproduce", two_rows, "--scale", "smoke", "--output", str(tmp_path)]
    command += ["--data", sources["mnist"]]
    assert main(command) == 0

    rows = read(tmp_path / "smoke" / "mvae-table-6.csv")
    metrics = json.loads(
        (tmp_path / "smoke/runs/mvae-gs-k4-mnist/metrics.json").read_text()
    )["test"]
    (row,) = [r for r in rows if r["metric"] == "selected_components"]
    assert row["row"] == "GS, 3.07 of 4, selected K"
    assert float(row["paper"]) == 3.07
    assert float(row["ours"]) == metrics["selected_components"]
    assert float(row["difference"]) == metrics["selected_components"] - 3.07
    assert (row["run"], row["data"]) == ("mvae-gs-k4-mnist", "npz:mnist.npz")
    assert (row["images"], row["epochs"], row["seeds"]) == ("54", "1", "0")
    assert (row["latent_dim"], row["stddev"]) == ("50", "")
    further = {"sse", "selected_components_of_four"}
    assert {r["metric"] for r in rows if not r["paper"]} == further

    text = (tmp_path / "smoke" / "mvae-table-6.md").read_text()
    assert "--data mnist=npz:mnist.npz" in text
    assert str(tmp_path) not in text
    assert f"| {metrics['selected_components']:.2f} (3.07) |" in text
    assert (tmp_path / "smoke" / "mvae-table-6.png").stat().st_size > 10_000

    models = {p: p.stat().st_mtime_ns for p in tmp_path.glob("smoke/runs/*/*.keras")}
    assert len(models) == 2
    assert main(command) == 0
    assert {p: p.stat().st_mtime_ns for p in models} == models


def test_rows_that_can_be_had_stay(sources, tmp_path, capsys, monkeypatch):
    paper, table = reproduce.get("mvae-table-4")
    table = dataclasses.replace(table, reduced=("mvae-gs-mnist", "mvae-gs-cifar10"))
    monkeypatch.setitem(reproduce._FOUND, table.name, (paper, table))
    command = ["reproduce", table.name, "--scale", "smoke", "--output", str(tmp_path)]
    command += ["--data", f"mnist={sources['mnist']}", "--data", "cifar10=npz:gone.npz"]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "mvae-table-4 is not complete; cifar10: " in error
    assert "gone.npz" in error
    rows = read(tmp_path / "smoke" / "mvae-table-4.csv")
    assert [row["run"] for row in rows] == ["mvae-gs-mnist"]
    assert rows[0]["metric"] == "accuracy_mlp"
    # Two classes, one of them far brighter: no latents of a working model miss that.
    assert float(rows[0]["ours"]) > 80.0


def test_numbers_that_can_be_had_stay(sources, two_rows, tmp_path, capsys, monkeypatch):
    paper, table = reproduce.get(two_rows)
    groups = {"groups": ("scores", "reconstruction"), "also": ("inception_score",)}
    table = dataclasses.replace(table, reduced=("vae-mnist",), **groups)
    monkeypatch.setitem(reproduce._FOUND, table.name, (paper, table))

    def refuse(*_, **__):
        raise ValueError("Expected images to learn from.")

    monkeypatch.setattr(evaluation, "train_classifier", refuse)
    command = ["reproduce", table.name, "--scale", "smoke", "--output", str(tmp_path)]
    assert main([*command, "--data", sources["mnist"]]) == 2
    assert "vae-mnist: Expected images to learn from." in capsys.readouterr().err
    (row,) = read(tmp_path / "smoke" / f"{table.name}.csv")
    assert (row["metric"], row["paper"]) == ("sse_sampled", "9.07")
    assert float(row["ours"]) > 0.0


def test_picture_has_a_line_a_run_or_few_panels():
    def row(metric, name="a", run="r"):
        return {"row": name, "metric": metric, "run": run}

    few = [row("sse"), row("elbo"), row("elbo", "b"), row("elbo", "a", "s")]
    shown = [(r["row"], r["metric"]) for r in records.pictured(few)]
    assert shown == [("r", "sse"), ("r", "elbo"), ("r: b", "elbo"), ("s", "elbo")]

    many = [row(f"accuracy_mlp_component_{i}", f"MLP, {i}") for i in range(7)]
    shown = [(r["row"], r["metric"]) for r in records.pictured(many)]
    assert shown == [(f"MLP, {i}", "accuracy") for i in range(7)]


def test_figures_share_their_runs(sources, tmp_path):
    names = ["mvae-figure-2", "mvae-figure-3"]
    command = ["reproduce", *names, "--scale", "smoke", "--output", str(tmp_path)]
    assert main([*command, "--data", sources["mnist"]]) == 0
    assert len(list(tmp_path.glob("smoke/runs/*"))) == 1
    for name in names:
        assert (tmp_path / "smoke" / f"{name}.png").stat().st_size > 10_000
        assert "epochs=1" in (tmp_path / "smoke" / f"{name}.md").read_text()


def test_a_figure_of_several_runs_has_a_file_for_each(tmp_path):
    class Trained:
        def __init__(self, run):
            self.run = run

    drawn = drawings.each(lambda one: one.run.name.upper())
    assert drawn([Trained(Run("a"))]) == "A"
    assert drawn([Trained(Run("a")), Trained(Run("b", ("k=1",)))]) == {
        "a": "A",
        "b+k=1": "B+K=1",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mvae-table-7"], "Unknown table or figure 'mvae-table-7'"),
        (["mvae-table-6", "--scale", "tiny"], "Unknown scale 'tiny'"),
        (["mvae-table-6", "--data", "mnst=digits"], "Unknown data set 'mnst'"),
        (["mvae-table-4", "--data", "digits"], "which needs mnist, cifar10, got"),
    ],
)
def test_slips_cost_no_work(arguments, message, tmp_path, capsys):
    try:
        status = main(["reproduce", *arguments, "--output", str(tmp_path / "out")])
    except SystemExit as mistake:  # One that the parser of the command line finds.
        status = mistake.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_output_is_needed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "mvae-table-6"])
    assert ended.value.code == 2
    assert "Expected --output DIR, got none." in capsys.readouterr().err


def test_list_shows_every_name(capsys):
    assert main(["reproduce", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == reproduce.names()
    assert len(lines) >= len(mvae.PAPER.experiments)


def test_missing_data_costs_one_line_and_no_work(tmp_path, capsys):
    gone = tmp_path / "gone.npz"
    command = ["reproduce", "mvae-table-6", "--scale", "smoke", "--data", f"npz:{gone}"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mvae-tf: error: mvae-table-6 is not computed; mnist: ")
    assert str(gone) in line
    assert not (tmp_path / "out").exists()


def test_missing_data_set_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    command = ["reproduce", "mvae-table-2", "--scale", "smoke"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "`tfds build cifar100`" in line
    assert "--data cifar100=npz:FILE" in line


def test_full_scale_holds_no_mnist_image_out():
    for name in "mvae-table-6", "m-vae-table-1":
        paper, table = reproduce.get(name)
        for run in table.runs("full"):
            config = run.config(paper.changes(run, "full"))
            # The script of M-VAE reads MNIST by TensorFlow's old tutorial.
            held_out = 5000 if run.preset == "m-vae-mnist@code" else 0
            assert config.data["validation_size"] == held_out


class Fake:
    """What `records` reads of a run."""

    def __init__(self, seed, metrics, epochs=100, preset="vae-mnist"):
        self.run, self.metrics = Run(preset), metrics
        self.complete = epochs == 100
        self.epochs = str(epochs) if self.complete else f"{epochs} of 100"
        self.config = self.run.config((), seed=seed)
        self.changes = ()
        self.splits = types.SimpleNamespace(num_train=60_000)


def test_seeds_have_a_mean_and_a_standard_deviation():
    table = reproduce.get("mvae-table-6")[1]
    runs = [Fake(seed, {"sse_sampled": 9.0 + seed, "sse": 6.0}) for seed in range(3)]
    first, second = records.records(table, runs)
    assert (first["metric"], first["ours"], first["stddev"]) == ("sse_sampled", 10, 1)
    assert first["difference"] == pytest.approx(0.93)
    assert (first["seeds"], first["epochs"]) == ("0 1 2", "100")
    assert (second["metric"], second["stddev"]) == ("sse", 0)
    line = list(records.markdown([first, second]))[2]
    assert line == "| `vae-mnist` | 100 | 0 1 2 | 10.00 ± 1.00 (9.07) | 6.00 ± 0.00 |"
    assert "--seeds 3" in records.command(table.name, "full", [first])


def test_an_unfinished_run_stands_apart_with_its_epoch():
    table = reproduce.get("mvae-table-6")[1]
    runs = [Fake(0, {"sse_sampled": 9.0}), Fake(1, {"sse_sampled": 12.0}, 46)]
    first, second = records.records(table, runs)
    assert (first["ours"], first["epochs"], first["seeds"]) == (9, "100", "0")
    assert (second["ours"], second["epochs"], second["seeds"]) == (12, "46 of 100", "1")
    lines = [row["row"] for row in records.pictured([first, second])]
    assert lines == ["vae-mnist", "vae-mnist, epoch 46 of 100"]


def test_unfinished_runs_of_the_same_length_are_averaged():
    table = reproduce.get("mvae-table-6")[1]
    runs = [Fake(s, {"sse_sampled": 9.0 + 2 * s}, (46, 46, 50)[s]) for s in range(3)]
    first, second = records.records(table, runs)
    assert (first["ours"], first["epochs"], first["seeds"]) == (10, "46 of 100", "0 1")
    assert (second["ours"], second["epochs"], second["seeds"]) == (13, "50 of 100", "2")


def test_wide_masks_select_nothing():
    table, preset = reproduce.get("mvae-table-6")[1], "mvae-gau-mnist@code"
    metrics = {"selected_components": 3.08, "mask_stddev": 5.6}
    for width, shown in (5.6, None), (0.2, 3.08):
        rows = records.records(
            table, [Fake(0, metrics | {"mask_stddev": width}, preset=preset)]
        )
        numbers = {row["metric"]: row["ours"] for row in rows}
        assert numbers["selected_components"] == shown
        assert numbers["mask_stddev"] == width


def test_seeds_are_counted_from_one(tmp_path, capsys):
    command = ["reproduce", "mvae-table-6", "--seeds", "0", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as exit:
        main(command)
    assert exit.value.code == 2
    assert "--seeds: expected a whole number >= 1, got 0" in capsys.readouterr().err
