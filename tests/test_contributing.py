"""The model in CONTRIBUTING.md works as the text says."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import mvae_tf
from mvae_tf.models import registry
from mvae_tf.optimizers import FusedAdam

TEXT = Path(__file__).parent.parent.joinpath("CONTRIBUTING.md").read_text("utf-8")


@pytest.fixture
def free_bits_vae(tmp_path, monkeypatch):
    (code,) = re.findall(r"a test runs this file -->\n```python\n(.*?)```", TEXT, re.S)
    path = tmp_path / "free_bits_vae.py"
    path.write_text(code)
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
    spec = importlib.util.spec_from_file_location("free_bits_vae", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "free_bits_vae", module)
    spec.loader.exec_module(module)
    return module.FreeBitsVAE


def test_the_model_of_the_guide_trains_and_keeps_its_configuration(free_bits_vae):
    network = {"name": "mlp", "hidden": 8}
    arguments = {"latent_dim": 2, "network": network, "free_nats": 50.0}
    model = mvae_tf.create("free_bits_vae", input_shape=(4, 4, 1), **arguments)
    x = np.random.default_rng(0).uniform(size=(8, 4, 4, 1)).astype("float32")
    model.compile(optimizer=FusedAdam(1e-3))
    model.fit(x, verbose=0)
    assert model.evaluate(x, verbose=0, return_dict=True)["kl"] == pytest.approx(50.0)
    twin = free_bits_vae.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert twin.free_nats == 50.0


def test_the_guide_is_refused_an_argument_that_no_parent_has(free_bits_vae):
    with pytest.raises(ValueError, match="Did you mean 'free_nats'"):
        mvae_tf.create("free_bits_vae", free_nat=1.0)
