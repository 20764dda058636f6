"""Files of models: read in a fresh process, and refused when they hold code."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import harness
import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf

FRESH = """
import json, sys
from pathlib import Path
import numpy as np
import mvae_tf, keras

for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
    expected = np.load(folder / "expected.npz")
    config = json.loads((folder / "config.json").read_text())
    created = mvae_tf.create(**config)
    created.load_weights(folder / "model.weights.h5")
    for model in (keras.saving.load_model(folder / "model.keras"), created):
        for variable, value in enumerate(model.variables):
            stored = expected[f"variable_{variable}"]
            np.testing.assert_array_equal(value.numpy(), stored)
        y = expected["y"] if "y" in expected else None
        answer = model.reconstruct_batch(expected["x"], y)
        np.testing.assert_array_equal(answer, expected["reconstruction"])
    print(folder.name)
"""


def save(case, folder):
    """Files of a model whose every variable has a value of its own, and its answers."""
    model = case.make()
    rng = np.random.default_rng(0)
    for variable in model.variables:
        values = rng.uniform(0.1, 1.0, variable.shape)
        scale = 100 if "int" in variable.dtype else 1
        variable.assign((scale * values).astype(variable.dtype))
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    config = model.get_config()
    config = {key: config[key] for key in config if key not in ("trainable", "dtype")}
    config["name"] = model.registry_name
    (folder / "config.json").write_text(json.dumps(config))
    x, y = case.data(num=5)
    arrays = {f"variable_{i}": v.numpy() for i, v in enumerate(model.variables)}
    arrays["x"] = x
    if y is not None:
        arrays["y"] = np.eye(model.num_classes, dtype="float32")[y]
    answer = model.reconstruct_batch(tf.constant(x), arrays.get("y"))
    np.savez(folder / "expected.npz", reconstruction=answer, **arrays)


def test_a_fresh_process_reads_the_files_of_every_model(tmp_path):
    for case in harness.CASES:
        folder = tmp_path / case.label
        folder.mkdir()
        save(case, folder)
    root = Path(mvae_tf.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, tmp_path],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(case.label for case in harness.CASES)


def rewrite(path, edit):
    """Changes the configuration inside a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.keras"
    harness.Case("vae", "vae").make().save(path)
    return path


def test_code_in_a_file_is_refused(file):
    malicious = file.with_name("malicious.keras")
    inner = keras.layers.Lambda(lambda x: x)
    keras.Sequential([keras.Input((2,)), inner]).save(malicious)
    with pytest.raises(ValueError, match="[Ll]ambda"):
        keras.saving.load_model(malicious)

    def plant(config):
        config["config"]["network"] = keras.saving.serialize_keras_object(inner)

    rewrite(file, plant)
    with pytest.raises((ValueError, TypeError)):
        keras.saving.load_model(file)


def test_an_unknown_class_or_argument_in_a_file_is_refused(file):
    def rename(config):
        config["config"]["latent_dims"] = config["config"].pop("latent_dim")

    rewrite(file, rename)
    with pytest.raises((ValueError, TypeError), match="latent_dims"):
        keras.saving.load_model(file)

    def other(config):
        config["class_name"], config["registered_name"] = "System", "mvae_tf>System"

    rewrite(file, other)
    with pytest.raises((ValueError, TypeError), match="System"):
        keras.saving.load_model(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 3}, "got another one: .*could not be loaded"),
        ({"frozen": 5}, "got another one: .*not iterable"),
    ],
)
def test_a_file_that_is_not_as_it_says_is_refused_in_one_line(file, change, message):
    rewrite(file, lambda config: config["config"].update(change))
    with pytest.raises(ValueError, match=message) as caught:
        mvae_tf.load(file)
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_are_refused(tmp_path):
    case = harness.Case("vae", "vae")
    case.make().save_weights(tmp_path / "model.weights.h5")
    larger = case.make(latent_dim=3)
    with pytest.raises(ValueError, match="could not be loaded"):
        larger.load_weights(tmp_path / "model.weights.h5")


def test_warm_weights_of_terms_are_kept(file):
    model = keras.saving.load_model(file)
    model.term_weights["kl"].assign(0.25)
    model.save(file)
    loaded = keras.saving.load_model(file)
    assert loaded.term_weights["kl"].numpy() == 0.25
    assert loaded.final_weights["kl"] == 1.0
