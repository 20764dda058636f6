"""The examples in CONTRIBUTING.md work as the text says."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import harness
import numpy as np
import pytest
from scipy import stats

import mvae_tf
from mvae_tf.data import registry as data_registry
from mvae_tf.models import registry
from mvae_tf.optimizers import FusedAdam
from mvae_tf.parts import likelihoods

TEXT = Path(__file__).parent.parent.joinpath("CONTRIBUTING.md").read_text("utf-8")
FILES = dict(
    re.findall(r"a test runs this file: (\w+) -->\n```python\n(.*?)```", TEXT, re.S)
)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Function that imports an example of the page as a module."""

    def load(name):
        path = tmp_path / f"{name}.py"
        path.write_text(FILES[name])
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
    kinds = likelihoods._KINDS
    monkeypatch.setattr(kinds, "classes", dict(kinds.classes))
    monkeypatch.setattr(data_registry, "_SOURCES", dict(data_registry._SOURCES))
    return load


def small(name, **arguments):
    """A small model for images of 4 x 4."""
    network = {"name": "mlp", "hidden": 8}
    arguments = {"latent_dim": 2, "network": network} | arguments
    return mvae_tf.create(name, input_shape=(4, 4, 1), **arguments)


X = np.random.default_rng(0).uniform(size=(8, 4, 4, 1)).astype("float32")


def test_the_model_trains_and_keeps_its_configuration(example):
    cls = example("free_bits_vae").FreeBitsVAE
    model = small("free_bits_vae", free_nats=50.0)
    model.compile(optimizer=FusedAdam(1e-3))
    model.fit(X, verbose=0)
    assert model.evaluate(X, verbose=0, return_dict=True)["kl"] == pytest.approx(50.0)
    twin = cls.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert twin.free_nats == 50.0


PARTS = ("encoder", "sub_decoder", "mix_decoder")
NETWORK = {"name": "from_keras"} | {part: f"my_networks>{part}" for part in PARTS}
CASES = [
    harness.Case("free_bits_vae", "free_bits_vae", {"free_nats": 0.01}),
    harness.Case("laplace", "vae", {"likelihood": "laplace"}),
    harness.Case("convolutions", "mvae", {"network": NETWORK}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_models_with_the_example_pass_the_harness(case, example, tmp_path):
    example(case.label)
    harness.check_config(case)
    harness.check_gradients(case)
    model, (x, y) = case.compiled(), case.data()
    model.fit(harness.dataset(x, y), verbose=0)
    harness.perturb(model)
    harness.uncompiled(model)
    harness.check_shapes(model, x, y)
    harness.check_answers(model, x, y)
    harness.check_seeded_answers(model, x, y)
    harness.check_evaluation(model, x, y)
    harness.check_keras_file(model, x, y, tmp_path)


def test_an_argument_that_no_parent_has_is_refused(example):
    example("free_bits_vae")
    with pytest.raises(ValueError, match="Did you mean 'free_nats'"):
        mvae_tf.create("free_bits_vae", free_nat=1.0)


def test_the_likelihood_has_the_density_of_scipy_and_is_saved(example, tmp_path):
    cls = example("laplace").Laplace
    mean = np.random.default_rng(1).uniform(size=X.shape).astype("float32")
    expected = stats.laplace(mean, 0.2).logpdf(X).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(cls(scale=0.2).log_prob(X, mean), expected, rtol=1e-5)
    model = small("vae", likelihood={"name": "laplace", "scale": 0.2})
    model.compile(optimizer=FusedAdam(1e-3))
    model.fit(X, verbose=0)
    model.save(tmp_path / "laplace.keras")
    twin = mvae_tf.load(tmp_path / "laplace.keras")
    assert twin.likelihood.scale == 0.2
    np.testing.assert_array_equal(twin.reconstruct(X), model.reconstruct(X))


def test_the_network_trains_and_is_saved(example, tmp_path):
    functions = example("convolutions")
    network = mvae_tf.networks.FromKeras(
        functions.encoder, functions.mix_decoder, functions.sub_decoder
    )
    model = small("mvae", network=network, num_components=2)
    model.compile(optimizer=FusedAdam(1e-3))
    model.fit(X, verbose=0)
    assert model.encode(X)["mean"].shape == (8, 2, 2)
    model.save(tmp_path / "convolutions.keras")
    twin = mvae_tf.load(tmp_path / "convolutions.keras")
    np.testing.assert_array_equal(twin.reconstruct(X), model.reconstruct(X))


def test_the_data_source_is_loaded_by_its_name(example):
    example("moons")
    moons = mvae_tf.data.load("moons")
    assert moons.input_shape == (2,)
    x, y = moons.arrays("train")
    assert x.shape == (1600, 2)
    assert x.min() >= 0
    assert x.max() <= 1
    assert {*y} == {0, 1}
    assert "moons" in mvae_tf.data.sources()


def test_a_file_in_its_folder_adds_a_model_and_a_data_source(tmp_path):
    package = Path(mvae_tf.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    copy = shutil.copytree(package, tmp_path / "mvae_tf", ignore=ignored)
    for folder, name in (("models", "free_bits_vae"), ("data/readers", "moons")):
        (copy / folder / f"{name}.py").write_text(FILES[name])
    code = (
        "import mvae_tf\n"
        "model = mvae_tf.create('free_bits_vae', (4, 4, 1), free_nats=3.0)\n"
        "assert model.get_config()['free_nats'] == 3.0\n"
        "assert 'free_bits_vae' in mvae_tf.names()\n"
        "assert mvae_tf.data.load('moons').input_shape == (2,)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_example_is_tested():
    assert {*FILES} == {"convolutions", "free_bits_vae", "laplace", "moons"}
