"""The command line: what it writes, and one line for every mistake."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import models, presets, storage
from mvae_tf.cli import parser as cli
from mvae_tf.config import RunConfig
from mvae_tf.evaluation import bounds
from mvae_tf.evaluation.audit import Check
from mvae_tf.runs import overrides, training

TINY = [
    "--model=mvae",
    "--set=latent_dim=2",
    "--set=num_components=2",
    '--set=network={"name": "mlp", "hidden": 8}',
    "--limit=64",
    "--epochs=1",
]


@pytest.fixture(scope="module", autouse=True)
def _nondeterministic():
    """Op determinism would outlast these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run that the command line has trained."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert cli.main(["train", *TINY, "--output", str(folder)]) == 0
    return folder


def fails(arguments, capsys):
    """The one line of an error with exit status 2."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("mvae-tf: error: ")
    assert error.count("\n") == 1
    return error


def test_run_is_complete(run):
    for name in ("config.json", "history.csv", "model.keras", "report.html"):
        assert (run / name).stat().st_size
    assert list((run / "figures").glob("*.png"))
    numbers = json.loads((run / "metrics.json").read_text())["test"]
    assert np.isfinite([numbers["sse"], numbers["elbo"]]).all()
    assert json.loads((run / "config.json").read_text())["data"]["limit"] == 64


def test_evaluate_writes_what_it_measures(run, capsys):
    before = json.loads((run / "metrics.json").read_text())["test"]
    arguments = ["evaluate", str(run), "--metrics", "likelihood", "--num-samples", "3"]
    assert cli.main(arguments) == 0
    after = json.loads((run / "metrics.json").read_text())["test"]
    assert after["log_likelihood_samples"] == 3
    assert after["sse"] == before["sse"]
    assert "log_likelihood_samples: 3" in capsys.readouterr().out


def test_audit_says_what_holds_and_evaluate_marks_what_does_not(
    run, capsys, monkeypatch
):
    arguments = ["audit", str(run), "--num-images", "6", "--num-samples", "20"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    records = json.loads((run / "audit.json").read_text())
    assert set(records) == {"elbo", "kl_monte_carlo"}
    for name, record in records.items():
        assert record["holds"]
        assert record["num_images"] == 6
        assert f"audit: {name} " in printed

    failing = Check("elbo", 2.0, 1.0, 0.1, 1, 6)
    monkeypatch.setattr(bounds, "audit_model", lambda *arguments: [failing])
    before = (run / "metrics.json").read_bytes()
    metrics = ["--metrics", "elbo", "audit"]
    assert cli.main(["evaluate", str(run), *metrics]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if "(!)" in line]
    assert [line.split(":")[0] for line in marked] == ["elbo", "log_likelihood"]
    storage.write_text(run / "metrics.json", before.decode())


def test_generate_is_decided_by_its_seed(run, tmp_path):
    def generate(name, *options):
        path = tmp_path / name
        command = ["generate", str(run), "--num=5", f"--to={path}", *options]
        assert cli.main(command) == 0
        return path

    first, second, other = (
        np.load(generate(f"{name}.npz", f"--seed={seed}"))["images"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.shape == (5, 8, 8, 1)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    picture = generate("a.png", "--component=1")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_reconstruct_and_interpolate(run, tmp_path):
    model = mvae_tf.load(run)
    file = tmp_path / "reconstructions.npz"
    assert cli.main(["reconstruct", str(run), "--num=3", f"--to={file}"]) == 0
    with np.load(file) as arrays:
        expected = model.reconstruct(arrays["originals"])
        np.testing.assert_allclose(arrays["reconstructions"], expected, atol=1e-6)

    file = tmp_path / "frames.npz"
    ends = ["--first", "0", "2", "--second", "1", "1", "--steps=4"]
    assert cli.main(["interpolate", str(run), *ends, f"--to={file}"]) == 0
    x = np.concatenate(
        [x for x, _ in training.load_data(training.read_config(run)).test]
    )
    frames = np.load(file)["frames"]
    assert frames.shape == (2, 4, 8, 8, 1)
    np.testing.assert_allclose(frames[:, 0], model.reconstruct(x[[0, 2]]), atol=1e-6)
    np.testing.assert_allclose(frames[:, 3], model.reconstruct(x[[1, 1]]), atol=1e-6)
    for command in ("reconstruct", "interpolate"):
        file = tmp_path / f"{command}.png"
        assert cli.main([command, str(run), f"--to={file}"]) == 0
        assert file.stat().st_size


def test_report_draws_what_is_missing(run):
    (run / "report.html").unlink()
    assert cli.main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size


@pytest.mark.parametrize(
    ("kind", "names"),
    [("models", models.names()), ("presets", presets.names()), ("datasets", ["mnist"])],
)
def test_list_names_everything(kind, names, capsys):
    assert cli.main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= set(names)


COMMANDS = (
    ("list", "models presets datasets"),
    (
        "train",
        "--preset --model --data --epochs --batch-size --limit --seed --set --output "
        "--resume --devices",
    ),
    ("evaluate", "--metrics --num-samples"),
    ("generate", "--num --component --label --seed --to"),
    ("reconstruct", "--num --component --seed --to"),
    ("interpolate", "--steps --first --second --to"),
    ("export", "--to --version"),
    ("report", "RUN"),
)


@pytest.mark.parametrize(("command", "options"), COMMANDS)
def test_help_names_every_option(command, options, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for option in options.split():
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["trai"], "invalid choice: 'trai'"),
        (["train", "--output=RUN"], "Expected --preset NAME or --model NAME"),
        (["train", "--model=vae"], "required: --output"),
        (["train", "--model=va", "--output=RUN"], "Unknown model 'va'"),
        (["train", "--model=vae", "--preset=x", "--output=RUN"], "not allowed with"),
        (["train", "--preset=mvae-gs-digit", "--output=RUN"], "Did you mean 'mvae-gs-"),
        (["train", "--model=vae", "--data=mnst", "--output=RUN"], "did you mean mnist"),
        (["train", "--model=vae", "--epochs=0", "--output=RUN"], "epochs an integer"),
        (["train", "--model=vae", "--epochs=x", "--output=RUN"], "invalid int value"),
        (["train", "--model=vae", "--data=npz:no", "--output=RUN"], "expected a file"),
        (
            ["train", "--model=mvae", "--set=num_components=0", "--output=RUN"],
            "Expected num_components an integer >= 1, got 0",
        ),
        (["train", "--resume", "--output=RUN"], "expected a run in RUN"),
        (["evaluate", "RUN"], "expected a run in RUN"),
        (["generate", "RUN", "--num=1", "--to=a.png"], "expected a model at RUN"),
        (["generate", "RUN", "--num=1", "--to=a.jpg"], "FILE.png or FILE.npz"),
        (["export", "RUN", "--to=BASE"], "expected a model at RUN"),
        (["report", "RUN"], "expected a run in RUN"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in fails(arguments, capsys)
    assert not (tmp_path / "RUN" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--model=vae", "--output=RUN"],
            "holds a run: continue it",
        ),
        (["train", "--resume", "--seed=4", "--output=RUN"], "Expected seed = 0"),
        (["generate", "RUN", "--num=0", "--to=a.npz"], "Expected num >= 1, got 0"),
        (["generate", "RUN", "--num=1", "--component=9", "--to=a.npz"], "in 0..1, got"),
        (["generate", "RUN", "--num=1", "--label=1", "--to=a.npz"], "conditioned on"),
        (["reconstruct", "RUN", "--num=65", "--to=a.npz"], "by index in 0..63"),
        (["reconstruct", "RUN", "--num=0", "--to=a.npz"], "by index in 0..63, got []"),
        (["interpolate", "RUN", "--first", "0", "--to=a.npz"], "Expected 1 indices"),
        (["interpolate", "RUN", "--steps=1", "--to=a.npz"], "Expected steps >= 2"),
        (["evaluate", "RUN", "--metrics", "fid"], "invalid choice: 'fid'"),
        (["evaluate", "RUN", "--num-samples=0"], "Expected num_samples >= 1, got 0"),
    ],
)
def test_mistakes_about_a_run_are_one_line(
    run, arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.replace("RUN", str(run)) for argument in arguments]
    assert message in fails(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_unwritable_output_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    command = ["train", *TINY, "--output", tmp_path / "file" / "run"]
    assert "Not a directory" in fails(command, capsys)


def test_interruption_says_how_to_go_on(run, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    assert cli.main(["train", "--resume", "--output", str(run)]) == 130
    error = capsys.readouterr().err
    assert f"continue with: mvae-tf train --output {run} --resume" in error


def test_bugs_are_not_hidden(run, monkeypatch):
    def fail(path):
        raise AttributeError("a bug")

    monkeypatch.setattr(mvae_tf, "load", fail)
    with pytest.raises(AttributeError, match="a bug"):
        cli.main(["generate", str(run), "--num=1", "--to=a.npz"])


def test_process_is_quiet_and_exits_with_its_status(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "mvae_tf", "evaluate", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"mvae-tf: error: expected a run in {tmp_path}, found no config.json\n"
    )


# === --set ===


def test_settings_reach_their_place():
    config = overrides.apply(
        RunConfig("mvae"),
        [
            "learning_rate=0.01",
            "latent_dim=3",
            "mask.temperature=0.2",
            "mixing.prior=1.0",
            "likelihood=continuous_bernoulli",
            "data.image_size=16",
            "dtype=mixed_bfloat16",
        ],
    )
    assert config.training.learning_rate == 0.01
    assert config.data == {"source": "digits", "image_size": 16}
    assert config.arguments["dtype"] == "mixed_bfloat16"
    model = models.create(config.model, input_shape=(4, 4, 1), **config.arguments)
    assert model.latent_dim == 3
    assert model.mask.temperature == 0.2
    assert model.mixing.prior == 1.0
    assert model.likelihood.name == "continuous_bernoulli"


def test_settings_apply_in_turn():
    config = overrides.apply(
        RunConfig("mvae"), ["mask=gaussian", "mask.clip=[0.1, 2]", "mask.initial=-3"]
    )
    mask = config.arguments["mask"]
    assert (mask["name"], mask["clip"], mask["initial"]) == ("gaussian", [0.1, 2], -3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("latent_dm=3", r"Unknown --set key 'latent_dm'.*Did you mean 'latent_dim'"),
        ("mask.temperatur=1", r"key of mask, 'temperatur'.*mean 'temperature'"),
        ("data.sorce=x", r"argument of the data, 'sorce'.*mean 'source'"),
        ("maks.temperature=1", r"Unknown --set key 'maks.temperature'"),
        ("seed=1", r"Unknown --set key 'seed'"),
        ("latent_dim", r"Expected --set key=value, got 'latent_dim'"),
        ("=3", r"Expected --set key=value, got '=3'"),
        ("latent_dim=three", r"Expected latent_dim a number, got 'three'"),
        ("kl_weight=NaN", r"Expected kl_weight a number, got 'NaN'"),
        ("kl_weight=true", r"Expected kl_weight a number, got True"),
        ("mask.renormalize=1", r"Expected mask.renormalize true or false, got 1"),
        ("input_shape=5", r"Expected input_shape a list, got 5"),
        ("epochs=1.5", r"Expected epochs an integer >= 1, got 1.5"),
        ("mask.temperature=-1", r"Expected temperature > 0, got -1"),
        ("mask.placement=here", r"Unknown placement 'here'"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    def make():
        config = overrides.apply(RunConfig("mvae"), [setting])
        return models.create(config.model, **config.arguments)

    with pytest.raises(ValueError, match=message):
        make()


def test_a_part_that_is_not_there_has_no_settings():
    with pytest.raises(ValueError, match="Expected a mask to set 'temperature' of"):
        overrides.apply(RunConfig("mvae"), ["mask=null", "mask.temperature=1"])
