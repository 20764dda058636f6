"""Checkpoints: damaged, too large, of another model; and the loading of models."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from killed_runs import flip_a_byte

import mvae_tf
from mvae_tf import storage
from mvae_tf.runs import checkpoints as checkpoints_module
from mvae_tf.runs.checkpoints import Checkpoints

TINY = {"name": "mlp", "hidden": 2}


@pytest.fixture
def checkpoints(tmp_path):
    model = mvae_tf.create("vae", input_shape=(2, 2, 1), latent_dim=1, network=TINY)
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(0.1))
    model.optimizer.build(model.trainable_variables)
    return Checkpoints(tmp_path / "checkpoints", model)


def assign(model, value):
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(tf.fill(variable.shape, tf.cast(value, variable.dtype)))


def values(model):
    variables = (*model.weights, *model.optimizer.variables)
    return {float(np.max(v.numpy())) for v in variables if v.shape.num_elements != 0}


def test_checkpoints_keep_the_newest_two(checkpoints):
    for step in (1, 2, 3):
        assign(checkpoints.model, step)
        checkpoints.save(step, [{"epoch": step}], inside_epoch=False)
    names = sorted(path.name for path in checkpoints.folder.glob("*.npz"))
    assert names == ["step-00000002.npz", "step-00000003.npz"]
    assign(checkpoints.model, 9)
    assert checkpoints.restore() == (3, [{"epoch": 3}], {})
    assert values(checkpoints.model) == {3.0}


@pytest.mark.parametrize("damage", [flip_a_byte, lambda path: path.write_bytes(b"")])
def test_damaged_checkpoint_is_passed_over(checkpoints, damage, capsys):
    for step in (1, 2):
        assign(checkpoints.model, step)
        checkpoints.save(step, [], inside_epoch=False)
    damage(checkpoints.folder / "step-00000002.npz")
    assert checkpoints.restore()[0] == 1
    assert values(checkpoints.model) == {1.0}
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "step-00000002.npz is damaged" in error
    assert "passed over" in error

    damage(checkpoints.folder / "step-00000001.npz")
    with pytest.raises(storage.DamagedFile, match="Expected an intact checkpoint in"):
        checkpoints.restore()


@pytest.mark.parametrize("line", range(2))
def test_damaged_checksums_cost_no_checkpoint(checkpoints, line, capsys):
    for step in (1, 2):
        assign(checkpoints.model, step)
        checkpoints.save(step, [], inside_epoch=False)
    manifest = checkpoints.folder / storage.MANIFEST
    content = manifest.read_bytes()
    start = sum(map(len, content.splitlines(keepends=True)[:line]))
    end = content.index(b"\n", start)
    # A digit, the space and a letter of the name, each bit of the first.
    for position, bit in [
        *((start, i) for i in range(8)),
        (start + 64, 0),
        (end - 1, 2),
    ]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        manifest.write_bytes(damaged)
        assert checkpoints.restore()[0] == 2
    manifest.write_bytes(content)
    flip_a_byte(checkpoints.folder / "step-00000002.npz")
    manifest.unlink()
    capsys.readouterr()
    assert checkpoints.restore()[0] == 1
    assert "passed over" in capsys.readouterr().err


def test_checkpoint_of_another_model_is_refused(checkpoints):
    checkpoints.save(1, [], inside_epoch=False)
    model = mvae_tf.create("vae", input_shape=(3, 3, 1), latent_dim=1, network=TINY)
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(0.1))
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="Expected a checkpoint of this model"):
        Checkpoints(checkpoints.folder, model).restore()


def test_full_disk_leaves_the_last_checkpoint(checkpoints, monkeypatch):
    checkpoints.save(1, [], inside_epoch=False)

    def full(path, **arrays):
        path.write_bytes(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(storage.StorageError, match="No space left on device"):
        checkpoints.save(2, [], inside_epoch=False)
    assert checkpoints.restore()[0] == 1
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_checkpoint_that_claims_too_much_is_passed_over(checkpoints, capsys):
    with zipfile.ZipFile(
        checkpoints.folder.parent / "bomb", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("record.npy", bytes(10**7))
    checkpoints.save(1, [], inside_epoch=False)
    bomb = checkpoints.folder.parent / "bomb"
    bomb.rename(checkpoints.folder / "step-00000002.npz")
    assert checkpoints.restore()[0] == 1
    assert "claims to unpack to 10000000 bytes" in capsys.readouterr().err


# === Loading ===


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a finished run, of which loading needs the model alone."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    model = mvae_tf.create("vae", input_shape=(2, 2, 1), latent_dim=1, network=TINY)
    with storage.write(folder / "model.keras") as temporary:
        model.save(temporary)
    return folder


def test_load_takes_a_run_or_a_file(finished):
    run, file = mvae_tf.load(finished), mvae_tf.load(finished / "model.keras")
    np.testing.assert_array_equal(run.generate(3, seed=0), file.generate(3, seed=0))


def test_load_of_nothing_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a model at .*model.keras"):
        mvae_tf.load(tmp_path)
    storage.write_json(tmp_path / "config.json", {})
    with pytest.raises(FileNotFoundError, match="finish the run with `train --resume`"):
        mvae_tf.load(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="Expected a run folder or a .keras file"):
        mvae_tf.load(tmp_path / "model.h5")


def test_damaged_model_is_refused(finished, tmp_path):
    inside = tmp_path / "run"
    with storage.write(inside / "model.keras") as temporary:
        temporary.write_bytes((finished / "model.keras").read_bytes())
    flip_a_byte(inside / "model.keras")
    with pytest.raises(storage.DamagedFile, match="model.keras is damaged"):
        mvae_tf.load(inside)
    alone = tmp_path / "alone.keras"
    alone.write_bytes((inside / "model.keras").read_bytes())
    with pytest.raises(storage.DamagedFile, match="alone.keras is damaged"):
        mvae_tf.load(alone)
    alone.write_bytes(b"no archive")
    with pytest.raises(storage.DamagedFile, match="is no .keras file"):
        mvae_tf.load(alone)


def test_model_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match="Expected a model of mvae_tf"):
        mvae_tf.load(path)


def test_metrics_of_version_0_1_are_read_from_its_checkpoints():
    """It kept a sum and a number of examples for the loss and for each term."""
    old = {
        "metrics/0000": np.array([30.0, 12.0]),
        "metrics/0001": np.array([3.0, 2.0]),
        "metrics/0002": np.array([24.0, 8.0]),
        "metrics/0003": np.array([3.0, 2.0]),
    }
    expected = [[30.0, 24.0, 3.0], [12.0, 8.0, 2.0]]
    np.testing.assert_array_equal(checkpoints_module._metrics_of(old), expected)
    new = {"metrics": np.array(expected)}
    np.testing.assert_array_equal(checkpoints_module._metrics_of(new), expected)
