"""Runs: their folder, and that no kill and no damage changes what they end with."""

import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import killed_runs
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import storage
from mvae_tf.cli import main
from mvae_tf.config import RunConfig, Training
from mvae_tf.runs import progress, training
from mvae_tf.runs.interruption import Interrupted

SMALL = {"latent_dim": 2, "network": {"name": "mlp", "hidden": 8}}
SINGLE = RunConfig(
    "vae",
    SMALL,
    {"source": "digits", "limit": 64},
    Training(epochs=2, batch_size=32, steps_per_execution=1),
)


# Loads the module alone, which needs no TensorFlow.
STORAGE_ALONE = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("storage", {storage.__file__!r})
storage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(storage)
"""


def end_state(folder):
    """Weights, optimiser, history and files at the end of a run, as bytes."""
    (newest,) = sorted((folder / "checkpoints").glob("step-*.npz"))[-1:]
    with np.load(newest) as file:
        state = {key: (file[key].dtype, file[key].tobytes()) for key in file}
    for name in ("history.csv", "config.json", "metrics.json"):
        state[name] = (folder / name).read_bytes()
    weights = mvae_tf.load(folder).get_weights()
    return state | {"model.keras": [weight.tobytes() for weight in weights]}


def assert_dies(process):
    process.join()
    assert process.exitcode == -signal.SIGKILL


def assert_ends(process):
    process.join()
    assert process.exitcode == 0


# === XLA ===


def test_xla_compiles_a_run_that_asks_for_it(tmp_path):
    whole = dataclasses.replace(SINGLE.training, jit_compile=True)
    half = dataclasses.replace(whole, epochs=1)
    for name, parts in (("whole", [whole]), ("resumed", [half, whole])):
        for i, part in enumerate(parts):
            config = dataclasses.replace(SINGLE, training=part)
            model = training.train(config, tmp_path / name, resume=i > 0, verbose=0)
            assert model.jit_compile
    assert end_state(tmp_path / "whole") == end_state(tmp_path / "resumed")


@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
def test_xla_is_refused_where_keras_would_do_without_it(tmp_path):
    tf.config.experimental.enable_op_determinism()
    asked = dataclasses.replace(SINGLE.training, jit_compile=True)
    config = dataclasses.replace(SINGLE, training=asked)
    with pytest.raises(ValueError, match="^Expected a network that XLA can compile"):
        training.train(config, tmp_path / "run", verbose=0)


# === Killed runs ===


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """State at the end of an undisturbed run of `killed_runs.CONFIG`."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert_ends(killed_runs.start(folder, killed_runs.CONFIG))
    return end_state(folder)


@pytest.mark.extra
def test_run_killed_again_and_again_ends_the_same(undisturbed, tmp_path):
    folder = tmp_path / "run"
    # As config.json appears, between the checkpoint and the history of an epoch, in the
    # writing of a checkpoint, and as the next one appears.
    for kill_at in (3, 10, "checkpoint", 12):
        assert_dies(killed_runs.start(folder, killed_runs.CONFIG, kill_at))
    assert_ends(killed_runs.start(folder, killed_runs.CONFIG))
    assert end_state(folder) == undisturbed
    assert not list(folder.rglob(".tmp-*"))


def test_run_killed_at_a_random_moment_ends_the_same(undisturbed, tmp_path):
    folder = tmp_path / "run"
    process = killed_runs.start(folder, killed_runs.CONFIG, slow=0.2)
    while not list(folder.glob("checkpoints/*.npz")):
        time.sleep(0.02)
        assert process.is_alive()
    time.sleep(random.uniform(0.0, 0.6))
    process.kill()
    assert_dies(process)
    assert_ends(killed_runs.start(folder, killed_runs.CONFIG))
    assert end_state(folder) == undisturbed


def test_run_with_a_damaged_checkpoint_ends_the_same(undisturbed, tmp_path):
    folder = tmp_path / "run"
    assert_dies(killed_runs.start(folder, killed_runs.CONFIG, kill_at=10))
    newest = sorted(folder.glob("checkpoints/*.npz"))[-1]
    assert newest.name == "step-00000004.npz"
    killed_runs.flip_a_byte(newest)
    assert_ends(killed_runs.start(folder, killed_runs.CONFIG))
    assert end_state(folder) == undisturbed


@pytest.mark.extra
def test_two_devices_resume_inside_an_epoch(tmp_path):
    config = dataclasses.replace(killed_runs.CONFIG, devices=2)
    assert_ends(killed_runs.start(tmp_path / "undisturbed", config))
    assert_dies(killed_runs.start(tmp_path / "killed", config, kill_at=7))
    (only,) = (tmp_path / "killed" / "checkpoints").glob("step-*.npz")
    assert only.name == "step-00000003.npz"
    assert_ends(killed_runs.start(tmp_path / "killed", config))
    assert end_state(tmp_path / "killed") == end_state(tmp_path / "undisturbed")


# === One process ===


@pytest.fixture(scope="module", autouse=True)
def _alone():
    """Runs of this process end with their training."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("evaluate", "_write_report"):
            patch.setattr(training, name, getattr(training, name))
        patch.setattr(progress, "MixtureSummaries", progress.MixtureSummaries)
        killed_runs.leave_out_what_follows_training()
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a finished run of `SINGLE`."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.train(SINGLE, folder, verbose=0)
    return folder


def test_run_folder_holds_what_the_documentation_says(finished):
    for name in ("config.json", "history.csv", "model.keras", "metrics.json"):
        assert storage.verify(finished / name)
    checkpoints = sorted(path.name for path in finished.glob("checkpoints/*.npz"))
    assert checkpoints == ["step-00000002.npz", "step-00000004.npz"]
    history = training.read_history(finished)
    assert [row["epoch"] for row in history] == [1, 2]
    assert {"loss", "kl", "reconstruction", "val_loss", "val_kl"} <= set(history[0])
    assert history[1]["loss"] < history[0]["loss"]
    assert json.loads((finished / "metrics.json").read_text()) == {
        "test": {},
        "step": 4,
    }


def test_configuration_on_disk_is_enough_to_repeat_the_run(finished, tmp_path):
    config = training.read_config(finished)
    assert set(config.arguments) >= {"input_shape", "likelihood", "kl_weight", "dtype"}
    assert config.data["value_range"] == [0.0, 1.0]
    assert set(config.versions) >= {"mvae_tf", "tensorflow", "keras"}
    training.train(config, tmp_path / "again", verbose=0)
    assert end_state(tmp_path / "again") == end_state(finished)


def test_extended_run_is_a_longer_run(finished, tmp_path):
    longer = dataclasses.replace(
        SINGLE, training=dataclasses.replace(SINGLE.training, epochs=3)
    )
    training.train(longer, tmp_path / "straight", verbose=0)
    training.train(SINGLE, tmp_path / "extended", verbose=0)
    training.train(longer, tmp_path / "extended", resume=True, verbose=0)
    assert end_state(tmp_path / "extended") == end_state(tmp_path / "straight")


def test_folder_with_a_run_is_left_alone(finished):
    before = end_state(finished)
    with pytest.raises(FileExistsError, match="holds a run: continue it with --resume"):
        training.train(SINGLE, finished)
    assert end_state(finished) == before


def test_finished_run_is_not_trained_again(finished, capsys, monkeypatch):
    monkeypatch.setattr(training, "fit", None)
    training.train(training.read_config(finished), finished, resume=True)
    assert "finished: 2 epochs, 4 steps" in capsys.readouterr().out


def test_lost_result_is_written_again_without_training(tmp_path):
    training.train(SINGLE, tmp_path, verbose=0)
    before = end_state(tmp_path)
    killed_runs.flip_a_byte(tmp_path / "model.keras")
    training.train(SINGLE, tmp_path, resume=True, verbose=0)
    assert end_state(tmp_path) == before


def test_missing_history_is_named_and_written_again(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = (run / "history.csv").read_bytes()
    (run / "history.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"history.csv beside the model"):
        training.read_history(run)
    training.train(SINGLE, run, resume=True, verbose=0)
    assert (run / "history.csv").read_bytes() == before


def test_missing_checkpoints_are_named(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FileNotFoundError, match="got none, though history.csv says"):
        training.train(SINGLE, run, resume=True)


def test_missing_checksums_are_named(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / storage.MANIFEST).unlink()
    training.read_config(run)
    assert "checksums.sha256 is missing" in capsys.readouterr().err


def test_second_process_leaves_the_folder_alone(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = end_state(run)
    code = "import sys\n"
    code += "with storage.in_use(sys.argv[1]): print('locked', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", STORAGE_ALONE + code, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        settings = dataclasses.replace(SINGLE.training, epochs=3)
        longer = dataclasses.replace(SINGLE, training=settings)
        with pytest.raises(OSError, match=f"in use by process {other.pid} of"):
            training.train(longer, run, resume=True)
        assert end_state(run) == before
        other.kill()
    # The lock has died with its process.
    with storage.in_use(run):
        pass


def test_a_signal_ends_a_run_after_a_checkpoint(
    finished, tmp_path, monkeypatch, capsys
):
    end_of_batch = progress.Progress.on_train_batch_end

    def interrupted(self, batch, logs=None):
        if self.step == 0:
            signal.raise_signal(signal.SIGTERM)
        end_of_batch(self, batch, logs)

    monkeypatch.setattr(progress.Progress, "on_train_batch_end", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="interrupted by SIGTERM") as caught:
        training.train(SINGLE, tmp_path, verbose=0)
    assert caught.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    (newest,) = sorted((tmp_path / "checkpoints").glob("step-*.npz"))[-1:]
    assert newest.name == "step-00000001.npz"
    monkeypatch.undo()
    training.train(SINGLE, tmp_path, resume=True, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split("  ")[0] for line in lines if line.startswith("epoch")]
    assert epochs == ["epoch 1/2", "epoch 2/2"]
    assert end_state(tmp_path) == end_state(finished)


def test_a_diverged_run_says_so_and_stops(tmp_path, capsys):
    settings = Training(epochs=3, batch_size=32, learning_rate=1e10)
    config = dataclasses.replace(SINGLE, training=settings)
    with pytest.raises(FloatingPointError, match="diverged in epoch 1: its loss is"):
        training.train(config, tmp_path, verbose=0)
    assert "warning: the run diverged in epoch 1" in capsys.readouterr().err
    assert len(training.read_history(tmp_path)) == 1
    assert (tmp_path / "report.html").exists()
    with pytest.raises(FloatingPointError, match="the run diverged in epoch 1"):
        training.train(config, tmp_path, resume=True, verbose=0)


@pytest.mark.filterwarnings("ignore:Figure")
def test_a_run_whose_steps_are_all_skipped_is_complete(tmp_path, capsys):
    settings = Training(epochs=3, batch_size=4, learning_rate=1e38, patience=1)
    config = dataclasses.replace(SINGLE, training=settings)
    run = tmp_path / "run"
    for resume in (False, True):
        with pytest.raises(FloatingPointError, match="diverged in epoch 1: its loss"):
            training.train(config, run, resume=resume, verbose=0)
    # The first of the 16 steps of the only call takes the weights out of range.
    assert "Skipped 15 steps in a row by batch 16" in capsys.readouterr().err
    (row,) = training.read_history(run)
    assert row["epoch"] == 1
    assert np.isnan(row["loss"])
    for command in (["report"], ["evaluate"], ["audit"], ["show"]):
        assert main([*command, str(run)]) in (0, 2)
        assert "diverged in epoch 1" in capsys.readouterr().err
    served = ["export", str(run), "--to", str(tmp_path / "served")]
    assert main(served) in (0, 2)
    assert "diverged in epoch 1" in capsys.readouterr().err


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a run in .*no config.json"):
        training.train(SINGLE, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"Expected seed = 0, as the run was started with, got 1"),
        (
            {"arguments": SMALL | {"latent_dim": 3}},
            r"arguments.latent_dim = 2",
        ),
        ({"batch_size": 16}, r"training.batch_size = 32"),
        ({"epochs": 1}, r"at least the 2 epochs"),
    ],
)
def test_resumed_run_is_the_one_that_was_started(finished, change, message):
    if not change.keys() & {"seed", "arguments"}:
        change = {"training": dataclasses.replace(SINGLE.training, **change)}
    with pytest.raises(ValueError, match=message):
        training.train(dataclasses.replace(SINGLE, **change), finished, resume=True)


def test_a_run_that_lacks_newer_arguments_had_their_defaults(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    values = storage.read_json(folder / "config.json")
    assert values["arguments"].pop("kl_weight") == 1.0
    assert values["arguments"]["network"].pop("dropout") == 0.0
    storage.write_json(folder / "config.json", values)
    training.train(SINGLE, folder, resume=True)
    other = dataclasses.replace(SINGLE, arguments=SMALL | {"kl_weight": 0.5})
    with pytest.raises(ValueError, match=r"arguments.kl_weight = 1.0, .* got 0.5"):
        training.train(other, folder, resume=True)


def test_other_versions_are_named(finished, capsys):
    config = training.read_config(finished)
    older = dataclasses.replace(config, versions=config.versions | {"keras": "3.13"})
    older.check_resumed_by(config)
    assert "warning: the run was started with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"arguments": SMALL | {"input_shape": [9, 9, 1]}},
            r"Expected images of \[9, 9, 1\], got \[8, 8, 1\] from 'digits'",
        ),
        (
            {"arguments": SMALL | {"num_classes": 7}},
            r"Expected data of 7 classes, got 10 from 'digits'",
        ),
        (
            {"data": {"source": "digits", "value_range": [-1.0, 1.0]}},
            r"value_range within \[0.0, 1.0\] for likelihood 'bernoulli', got \[-1",
        ),
        ({"data": {"source": "digit"}}, r"Did you mean .digits."),
        ({"data": {"source": "digits", "limit": "x"}}, r"Expected limit as an int"),
        ({"model": "va"}, r"Unknown model 'va'"),
        ({"devices": 999}, r"Expected at most \d+ devices \(CPU\), got 999"),
    ],
)
def test_what_cannot_be_trained_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        training.train(dataclasses.replace(SINGLE, **change), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_preset_is_not_taken_for_a_configuration(tmp_path):
    with pytest.raises(TypeError, match=r"RunConfig, such as .* got Preset\."):
        training.train(mvae_tf.presets.get("mvae-gs-digits"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_is_found_before_the_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        training.train(SINGLE, tmp_path / "file" / "run")


def test_executions_of_several_steps_train_alike(finished, tmp_path):
    settings = dataclasses.replace(SINGLE.training, steps_per_execution=None)
    config = dataclasses.replace(SINGLE, training=settings)
    model = training.train(config, tmp_path / "run", verbose=0)
    assert int(model.step) == 4
    for ours, theirs in zip(
        model.get_weights(), mvae_tf.load(finished).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert training.read_history(tmp_path / "run") == training.read_history(finished)
