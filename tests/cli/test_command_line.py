"""The command line: what it writes, and one line for every mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import cli, storage
from mvae_tf.evaluation import bounds
from mvae_tf.evaluation.audit import Check
from mvae_tf.runs import training

TINY = [
    "--model=mvae",
    "--set=latent_dim=2",
    "--set=num_components=2",
    '--set=network={"name": "mlp", "hidden": 8}',
    "--limit=64",
    "--epochs=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run that the command line has trained."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert cli.main(["train", *TINY, "--output", str(folder)]) == 0
    return folder


def fails(arguments, capsys):
    """The one line of an error with exit status 2; warnings may stand before it."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2
    *warnings, error = error.splitlines(keepends=True)
    assert all(line.startswith("mvae-tf: warning: ") for line in warnings)
    assert error.startswith("mvae-tf: error: ")
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


def test_generate_from_a_sampler(run, tmp_path):
    command = ["generate", str(run), "--num=3", "--seed=1", f"--to={tmp_path}/a.npz"]
    images = []
    for sampler in ([], ["--sampler=gaussian_mixture"], ["--sampler=vamp_prior"]):
        assert cli.main([*command, *sampler]) == 0
        images.append(np.load(tmp_path / "a.npz")["images"])
    assert (images[0] != images[1]).any()
    assert (images[1] != images[2]).any()
    assert set(mvae_tf.samplers.KINDS) == {"gaussian_mixture", "vamp_prior"}


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


COMMANDS = (
    ("list", "models presets datasets networks likelihoods masks metrics settings"),
    ("show", "PRESET|RUN"),
    (
        "train",
        "--preset --model --data --epochs --batch-size --limit --seed --set --output "
        "--resume --devices --init-from --import",
    ),
    ("evaluate", "--metrics --num-samples --import"),
    ("generate", "--num --component --label --seed --sampler --to --import"),
    ("reconstruct", "--num --component --seed --to"),
    ("interpolate", "--steps --first --second --to"),
    ("export", "--to --version --sampler"),
    ("report", "RUN"),
    ("reproduce", "smoke reduced full --data --output"),
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
        (["trai"], "Unknown command 'trai'"),
        (["trian"], "Did you mean 'train'"),
        (["list", "preset"], "Did you mean 'presets'"),
        (["train", "--model=MVAE", "--output=RUN"], "Did you mean 'mvae'"),
        (["train", "--model=BetaVAE", "--output=RUN"], "Did you mean 'beta_vae'"),
        (
            ["train", "--model=vae", "--batchsize=3", "--output=RUN"],
            "Unrecognized arguments: --batchsize=3. Did you mean --batch-size?",
        ),
        (["train", "--model=vae", "--import=no.py", "--output=RUN"], "a Python file"),
        (["train", "--init-from=no", "--output=RUN"], "Expected a run in no"),
        (
            ["train", "--model=vae", "--set=batch_size=" + "9" * 20, "--output=RUN"],
            "Expected batch_size at most 2^31 - 1",
        ),
        (
            ["train", "--model=vae", "--epochs=" + "9" * 20, "--output=RUN"],
            "Expected --epochs as an integer in [1, 2^31)",
        ),
        (
            ["train", "--model=vae", "--data=mnist", "--output=RUN"]
            + ["--set=data.data_dir=nowhere"],
            "--set data.download=true",
        ),
        (["show", "mvae-gs-mnis"], "Did you mean 'mvae-gs-mnist'"),
        (["train", "--output=RUN"], "Expected --preset NAME or --model NAME"),
        (["train", "--model=vae"], "required: --output"),
        (["train", "--model=vae", "--output="], "--output: expected a path, got ''"),
        (["evaluate", ""], "RUN: expected a path, got ''"),
        (["train", "--model=va", "--output=RUN"], "Unknown model 'va'"),
        (["train", "--model=vae", "--preset=x", "--output=RUN"], "not allowed with"),
        (["train", "--preset=mvae-gs-digit", "--output=RUN"], "Did you mean 'mvae-gs-"),
        (
            ["train", "--model=vae", "--data=mnst", "--output=RUN"],
            "Did you mean 'mnist'",
        ),
        (
            ["train", "--model=vae", "--epochs=0", "--output=RUN"],
            "argument --epochs: expected a whole number >= 1, got 0",
        ),
        (["train", "--model=vae", "--epochs=x", "--output=RUN"], "number >= 1, got x"),
        (["train", "--model=vae", "--data=npz:no", "--output=RUN"], "Expected a file"),
        (
            ["train", "--model=mvae", "--set=num_components=0", "--output=RUN"],
            "Expected num_components as an integer >= 1, got 0",
        ),
        (["train", "--resume", "--output=RUN"], "Expected a run in RUN"),
        (["evaluate", "RUN"], "Expected a run in RUN"),
        (["generate", "RUN", "--num=1", "--to=a.png"], "Expected a run in RUN"),
        (["generate", "RUN", "--num=1", "--to=a.jpg"], "FILE.png or FILE.npz"),
        (["export", "RUN", "--to=BASE"], "Expected a run in RUN"),
        (["report", "RUN"], "Expected a run in RUN"),
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
        (["train", "--resume", "--seed=4", "--output=RUN"], "Expected --seed = 0"),
        (
            ["train", "--resume", "--set=learning_rate=1", "--output=RUN"],
            "Expected learning_rate = ",
        ),
        (
            ["generate", "RUN", "--num=0", "--to=a.npz"],
            "argument --num: expected a whole number >= 1, got 0",
        ),
        (["generate", "RUN", "--num=1", "--component=9", "--to=a.npz"], "in 0..1, got"),
        (["generate", "RUN", "--num=1", "--label=1", "--to=a.npz"], "no --label"),
        (["reconstruct", "RUN", "--num=65", "--to=a.npz"], "in 0..63, got 64."),
        (
            ["reconstruct", "RUN", "--num=0", "--to=a.npz"],
            "argument --num: expected a whole number >= 1, got 0",
        ),
        (["interpolate", "RUN", "--first", "0", "--to=a.npz"], "--first, 1, got 4."),
        (
            ["interpolate", "RUN", "--steps=1", "--to=a.npz"],
            "--steps: expected a whole number >= 2",
        ),
        (["evaluate", "RUN", "--metrics", "fid"], "Unknown group 'fid'"),
        (["evaluate", "RUN", "--num-samples=0"], "expected a whole number >= 1, got 0"),
    ],
)
def test_mistakes_about_a_run_are_one_line(
    run, arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.replace("RUN", str(run)) for argument in arguments]
    assert message in fails(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_what_is_left_out_of_the_data_is_one_warning(tmp_path, monkeypatch, capsys):
    path, x = tmp_path / "data.npz", np.zeros((12, 4, 4), np.uint8)
    np.savez(path, x=x, masks=x)

    def train(config, *_, **__):
        # A run loads its data again for its report.
        training.load_data(config)
        training.load_data(config)
        raise ValueError("Expected another run.")

    monkeypatch.setattr(training, "train", train)
    command = ["train", "--model=vae", f"--data={path}", f"--output={tmp_path / 'run'}"]
    assert cli.main(command) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"mvae-tf: warning: {path}: left out the arrays masks.",
        "mvae-tf: error: Expected another run.",
    ]


def test_a_model_of_classes_needs_data_with_labels(tmp_path, capsys):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((12, 4, 4), np.uint8))
    command = ["train", "--model=cgm", "--set=supervised=true", f"--data={path}"]
    error = fails([*command, f"--output={tmp_path / 'run'}"], capsys)
    assert "Expected data of 10 classes, got no labels from" in error


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal that this process does not ignore, as one under `nohup` does."""
    usual = signal.SIG_DFL
    if request.param == signal.SIGINT:
        usual = signal.default_int_handler
    before = signal.signal(request.param, usual)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_is_one_line_that_says_how_to_go_on(run, monkeypatch, capsys, number):
    def train(*arguments, **options):
        signal.raise_signal(number)

    monkeypatch.setattr(training, "train", train)
    before = signal.getsignal(number)
    arguments = ["train", "--resume", "--output", str(run)]
    assert cli.main(arguments) == 128 + number
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"mvae_tf train --output {run} --resume" in error
    assert signal.getsignal(number) == before


UNEXPECTED = (
    AttributeError("a mistake of the library"),
    tf.errors.InternalError(None, None, "too\nlarge"),
)


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
def test_an_unexpected_error_is_one_line_and_status_1(run, monkeypatch, capsys, error):
    def fail(path):
        raise error

    monkeypatch.setattr(mvae_tf, "load", fail)
    arguments = ["generate", str(run), "--num=1", "--to=a.npz"]
    assert cli.main(arguments) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"mvae-tf: error: {type(error).__name__}: ")
    assert "MVAE_TF_TRACEBACK=1" in line
    assert line.count("\n") == 1

    monkeypatch.setenv("MVAE_TF_TRACEBACK", "1")
    assert cli.main(arguments) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{node x}} OOM when allocating tensor with shape[2,3] and"
            ),
            "memory of this machine is not enough for a tensor of shape[2,3]; make",
        ),
        (MemoryError(), "memory of this machine is not enough; make the model,"),
        (
            tf.errors.InvalidArgumentError(
                None, None, "{{node x}} Encountered overflow when multiplying 3 with 5"
            ),
            "memory of this machine is not enough; make the model,",
        ),
        (
            ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
            f"The Python at {sys.executable} has no package 'tensorflow'; activate",
        ),
    ],
)
def test_what_the_machine_lacks_is_named(run, monkeypatch, capsys, error, message):
    def fail(path):
        raise error

    monkeypatch.setattr(mvae_tf, "load", fail)
    assert message in fails(["generate", run, "--num=1", "--to=a.npz"], capsys)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    for output in file, file / "run":
        line = fails(["train", "--model=vae", f"--output={output}"], capsys)
        assert f"{output}: expected a folder here" in line
    assert file.read_text() == "mine"


def test_warnings_are_one_line(run, monkeypatch, capsys):
    def load(path):
        warnings.warn("take\ncare", stacklevel=2)
        raise ValueError("no")

    monkeypatch.setattr(mvae_tf, "load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["generate", str(run), "--num=1", "--to=a.npz"]) == 2
    expected = "mvae-tf: warning: take care\nmvae-tf: error: no\n"
    assert capsys.readouterr().err == expected


STRANGE = {
    "no_object": ("values", [1, 2]),
    "model": ("model", 3),
    "arguments": ("arguments", [1]),
    "data": ("data", "digits"),
    "source": ("data", {"source": 5}),
    "limit": ("data", {"source": "digits", "limit": "many"}),
    "training": ("training", []),
    "epochs": ("training", {"epochs": {}}),
    "learning_rate": ("training", {"learning_rate": "fast"}),
    "schedule": ("training", {"learning_rate": {"class_name": 1, "config": {}}}),
    "optimizer": ("training", {"optimizer": {"class_name": "AdamW"}}),
    "seed": ("seed", 10**30),
    "devices": ("devices", None),
    "preset": ("preset", ["a"]),
    "imports": ("imports", "own.py"),
    "unknown": ("sed", 1),
}


@pytest.mark.parametrize(("key", "value"), STRANGE.values(), ids=list(STRANGE))
def test_a_strange_config_is_one_line(run, tmp_path, capsys, key, value):
    config = json.loads((run / "config.json").read_text()) | {key: value}
    config = value if key == "values" else config
    (tmp_path / "config.json").write_text(json.dumps(config))
    fails(["evaluate", tmp_path], capsys)
    fails(["train", "--resume", "--output", tmp_path], capsys)


@pytest.mark.parametrize("content", ["[]", "{}", '{"test": 5, "step": 1}', ""])
def test_numbers_that_are_none_are_one_line(run, tmp_path, capsys, content):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checksums.sha256").unlink()
    (tmp_path / "run" / "metrics.json").write_text(content)
    for command in (["show"], ["report"]):
        assert "metrics.json" in fails([*command, tmp_path / "run"], capsys)


@pytest.mark.parametrize("content", ["[1]", '{"started": 5, "training_seconds": "x"}'])
def test_times_that_are_none_are_one_line(run, tmp_path, capsys, content):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checksums.sha256").unlink()
    (tmp_path / "run" / "model.keras").unlink()
    (tmp_path / "run" / "times.json").write_text(content)
    assert "holds no times of a run" in fails(["report", tmp_path / "run"], capsys)


def test_pictures_leave_nothing_beside_them(run, tmp_path):
    for name in ("a.png", "b.PNG", "c.npz"):
        assert (
            cli.main(["generate", str(run), "--num=2", f"--to={tmp_path}/{name}"]) == 0
        )
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.PNG", "c.npz"}


def test_home_is_expanded(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["generate", str(run), "--num=1", "--to=~/a.npz"]) == 0
    assert (tmp_path / "a.npz").is_file()


def test_training_says_what_it_does(run, capsys, tmp_path):
    output = tmp_path / "run"
    assert cli.main(["train", *TINY, "--set=latent_dim=3", f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "No --data given",
        f"Run       {output}",
        "Data      digits: 64 training, 64 validation and 64 test images of 8 x 8 x 1",
        "mvae: K = 2, 3 latent dimensions",
        "epochs 1, steps per epoch 1, steps in all 1, images per step 128; Adam, ",
        "Device    CPU",
        f"tensorboard --logdir {output}/logs",
        "First step after",
        "epoch 1/1  loss",
        "Evaluating the model on 64 test images",
        "Drawing the figures",
        "  elbo ",
        f"Report  {output}/report.html",
        f"generate {output} --num 64",
    ):
        assert text in printed
    epochs = [line for line in printed.splitlines() if line.startswith("epoch")]
    assert len(epochs) == 1
    assert len(epochs[0]) < 88


def test_a_finished_run_is_shown(run, capsys):
    assert cli.main(["show", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "finished, 1 of 1 epochs" in printed
    assert re.search(r"^  latent_dim +2$", printed, re.M)
    elbo = json.loads((run / "metrics.json").read_text())["test"]["elbo"]
    assert re.search(rf"^elbo +{re.escape(f'{elbo:.5g}')}$", printed, re.M)


def test_process_is_quiet_and_exits_with_its_status(run, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "mvae_tf", "evaluate", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"mvae-tf: error: Expected a run in {tmp_path}, got no config.json.\n"
    )


# === Starting from another run ===


def test_training_continues_from_the_weights_of_another_run(run, tmp_path, capsys):
    output = tmp_path / "tuned"
    # No step changes a weight at so small a rate.
    arguments = ["--set=learning_rate=1e-30", "--epochs=1", "--seed=5"]
    command = ["train", f"--init-from={run}", *arguments, f"--output={output}"]
    assert cli.main(command) == 0
    assert f"starts from the weights of {run}" in capsys.readouterr().out
    old, new = mvae_tf.load(run), mvae_tf.load(output)
    assert new.latent_dim == 2
    for one, other in zip(
        old.trainable_variables, new.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert json.loads((output / "config.json").read_text())["init_from"] == str(run)
    # What is counted starts anew.
    assert int(new.step.numpy()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set=latent_dim=3"], "differs in latent_dim (3 instead of 2)"),
        (["--model=vae"], "differs in the model (vae instead of mvae)"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    run, tmp_path, capsys, arguments, message
):
    output = tmp_path / "other"
    command = ["train", f"--init-from={run}", *arguments, f"--output={output}"]
    assert message in fails(command, capsys)


# === Parts of one's own ===

OWN = """
import keras
from mvae_tf.models import VAE, register

@register("own_vae_of_the_command_line")
class OwnVAE(VAE):
    \"\"\"A VAE that only this file knows.\"\"\"
"""


@pytest.mark.slow
def test_own_models_are_imported_where_the_user_says_so(tmp_path):
    file, output = tmp_path / "own_models.py", tmp_path / "run"
    file.write_text(OWN)

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mvae_tf", *arguments],
            capture_output=True,
            text=True,
            timeout=500,
        )

    tiny = ["--limit=32", "--epochs=1", "--set=latent_dim=2", "--set=network.hidden=8"]
    own = ["--model=own_vae_of_the_command_line", f"--import={file}"]
    result = command("train", *own, *tiny, f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert json.loads((output / "config.json").read_text())["imports"] == [str(file)]

    generate = ["generate", str(output), "--num=1", f"--to={tmp_path}/a.npz"]
    result = command(*generate)
    assert result.returncode == 2
    assert f"--import {file}" in result.stderr
    assert result.stderr.count("\n") == 1
    result = command(*generate, f"--import={file}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken_syntax.py", "def f(:", "SyntaxError: invalid syntax"),
        ("ends_the_process.py", "raise SystemExit(0)", "SystemExit: 0"),
        ("json.py", "", "a name that no other module has"),
        ("sklearn.py", "", "a name that no other module has"),
        ("text.txt", "x = 1", "expected a Python file"),
    ],
)
def test_files_that_may_not_be_imported(tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    command = ["train", "--model=vae", f"--import={tmp_path / name}", "--output"]
    assert message in fails([*command, tmp_path / "run"], capsys)
    assert json.loads("[1]") == [1]
    assert not (tmp_path / "run").exists()


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, capsys):
    file = tmp_path / "broken_file.py"
    file.write_text("import mvae_tf\nraise RuntimeError('on purpose')\n")
    command = ["train", "--model=vae", f"--import={file}", f"--output={tmp_path}/run"]
    assert f"{file}: RuntimeError: on purpose" in fails(command, capsys)


@pytest.mark.parametrize(
    ("command", "part"),
    [("evaluate", "logs"), ("audit", "checkpoints"), ("report", "figures")],
)
def test_one_process_at_a_time_writes_into_a_run(tmp_path, capsys, command, part):
    (tmp_path / "config.json").write_text("{}")
    left = tmp_path / part / f".tmp-{os.getppid()}-checksums.sha256"
    left.parent.mkdir()
    with storage.in_use(tmp_path):
        left.write_text("half")
        assert cli.main([command, str(tmp_path)]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert left.exists()
    assert cli.main([command, str(tmp_path)]) == 2
    assert not left.exists()
