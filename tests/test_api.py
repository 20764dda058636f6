"""The public face: names, docstrings, and what Keras users expect."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import harness
import keras
import numpy as np

import mvae_tf
from mvae_tf import models
from mvae_tf.models import registry

METHODS = [
    "decode",
    "elbo",
    "encode",
    "evaluate",
    "fit",
    "generate",
    "get_config",
    "interpolate",
    "log_likelihood",
    "predict",
    "reconstruct",
    "save",
]
OF_MIXTURES = ["cross_reconstruct", "dependence_matrix", "prune", "selected_components"]


CLASSES = {name: registry.get(name) for name in mvae_tf.names()}


def all_modules():
    yield mvae_tf
    for found in pkgutil.walk_packages(mvae_tf.__path__, "mvae_tf."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def public_members():
    """(name, object) of every public name, and of the methods of every class."""
    for module in all_modules():
        yield module.__name__, module
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not callable(value):
                continue
            yield f"{module.__name__}.{name}", value
            for key in vars(value) if inspect.isclass(value) else ():
                if not key.startswith("_") and callable(getattr(value, key)):
                    yield f"{module.__name__}.{name}.{key}", getattr(value, key)


def test_everything_public_is_documented():
    members = dict(public_members())
    assert len(members) > 200
    lacking = [name for name, value in members.items() if not inspect.getdoc(value)]
    assert not lacking


def test_every_model_has_the_methods_of_the_contract():
    assert all(cls.registry_name == name for name, cls in CLASSES.items())
    for case in harness.CASES:
        model = case.make()
        of_mixtures = case.model in ("mvae", "m_vae")
        kinds = METHODS + (OF_MIXTURES if of_mixtures else [])
        assert all(callable(getattr(model, name)) for name in kinds)
        assert model.input_shape == case.arguments.get("input_shape", (4, 4, 1))
        assert set(model.final_weights) == set(model.term_weights)


def test_every_model_is_imported_by_name():
    folder = Path(models.__file__).parent
    for path in folder.glob("*.py"):
        names = re.findall(r"^@register.*\nclass (\w+)", path.read_text("utf-8"), re.M)
        for name in names:
            line = f"from mvae_tf.models.{path.stem} import {name}"
            assert hasattr(models, name), f"models/__init__.py lacks: {line}"
            assert name in models.__all__, f"models.__all__ lacks {name}"
    assert {cls.__name__ for cls in CLASSES.values()} <= set(models.__all__)


def test_signatures_show_the_arguments_of_all_parents():
    parameters = inspect.signature(models.VAE).parameters
    assert [*parameters][0] == "input_shape"
    assert parameters["likelihood"].default == "bernoulli"
    assert {"kl_weight", "seed", "name", "dtype"} <= set(parameters)
    assert "num_components" not in parameters


def test_create_needs_nothing_but_a_name():
    for name in mvae_tf.names():
        model = mvae_tf.create(name)
        assert model.registry_name == name
        assert model.input_shape == (28, 28, 1)
        assert model.built


def test_other_optimizers_and_callbacks_as_keras_users_expect():
    case = harness.Case("vae", "vae")
    x, _ = case.data(num=6)
    for optimizer in ("sgd", "rmsprop", "adamw"):
        model = case.make()
        before = model.get_weights()
        model.compile(optimizer, run_eagerly=True)
        stop = keras.callbacks.EarlyStopping("loss")
        history = model.fit(x, epochs=2, callbacks=stop, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        assert harness.differ(before, model.get_weights())
        assert np.isscalar(model.evaluate(x, None, 3, verbose=0)[0])
        assert len(model.predict(x, verbose=0)) == 6


def test_a_fresh_seed_follows_the_global_seed_of_keras():
    model = harness.uncompiled(harness.Case("vae", "vae").make())
    drawn = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        drawn.append(model.generate(2).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
