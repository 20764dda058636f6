"""The callbacks of the training loop, and what the package never touches."""

import inspect
import pkgutil
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import mvae_tf
from mvae_tf import optimizers
from mvae_tf.parts.networks.branches import BatchNormalization
from mvae_tf.runs.callbacks import KLWarmup

X = np.random.default_rng(0).uniform(size=(8, 6)).astype("float32")


def tiny(name="vae", **arguments):
    network = {"name": "mlp", "hidden": 4}
    model = mvae_tf.create(
        name, input_shape=(6,), latent_dim=2, network=network, **arguments
    )
    model.compile(keras.optimizers.SGD(0.0))
    return model


class Record(keras.callbacks.Callback):
    """Term weights that each epoch trains with."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_train_batch_end(self, batch, logs=None):
        weights = self.model.term_weights.items()
        self.epochs.append({name: float(w.numpy()) for name, w in weights})


def test_warmup_grows_kl_weights_from_its_first_step_to_the_last():
    model = tiny("mvae", num_components=2, kl_weight=0.5, dirichlet_weight=2.0)
    record = Record()
    callbacks = [KLWarmup(4), record]
    logs = model.fit(X, epochs=6, batch_size=8, verbose=0, callbacks=callbacks).history
    fractions = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    for epoch, fraction in enumerate(fractions):
        assert record.epochs[epoch] == {
            "reconstruction": 1.0,
            "kl": 0.5 * fraction,
            "dirichlet_kl": 2.0 * fraction,
            "dhsic": 1.0,
            "mask": 1.0,
        }
        loss = sum(w * logs[name][epoch] for name, w in record.epochs[epoch].items())
        assert logs["loss"][epoch] == pytest.approx(loss, rel=1e-5)


def test_warmup_is_a_function_of_the_epoch():
    model, record = tiny(), Record()
    callbacks = [KLWarmup(4), record]
    model.fit(X, epochs=4, initial_epoch=2, verbose=0, callbacks=callbacks)
    assert [weights["kl"] for weights in record.epochs] == [0.75, 1.0]


def test_evaluation_does_not_see_the_warmup():
    model, plain = tiny(), tiny()
    with pytest.warns(UserWarning, match="warm-up of 9 epochs cannot finish in 1 "):
        model.fit(X, epochs=1, verbose=0, callbacks=[KLWarmup(9)])
    assert float(model.term_weights["kl"].numpy()) == pytest.approx(1 / 9)
    assert model.evaluate(X, verbose=0) == plain.evaluate(X, verbose=0)


def test_warmup_that_finishes_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback = KLWarmup(3)
        callback.set_params({"epochs": 3})
        callback.on_train_begin()


@pytest.mark.parametrize("epochs", [0, -1])
def test_warmup_of_no_epoch_is_refused(epochs):
    with pytest.raises(ValueError, match=f"epochs >= 1, got {epochs}"):
        KLWarmup(epochs)


def test_skipped_steps_are_seen_by_every_other_callback():
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["skipped_steps"])
    )
    model = tiny()
    logs = model.fit(X, epochs=2, verbose=0, callbacks=watch).history
    assert seen == logs["skipped_steps"] == [0, 0]


# === Only public interfaces ===

PACKAGE = Path(mvae_tf.__file__).parent
FORBIDDEN = {
    "private modules": r"keras\.src|(tensorflow|tf)\.python|__internal__|tf_keras",
    "layers of TFP": r"tfp\.layers|probability import layers|DistributionLambda",
    "generators with a state": r"SeedGenerator|tf\.random\.(normal|uniform|set_seed)"
    r"|tf\.random\.Generator|layers\.(Dropout|GaussianNoise)\(",
    "private attributes": r"\b(tf|keras|tfp|tfd|layer|optimizer|variable|strategy"
    r"|context|metric|callback)\._[a-z]",
}


# The classifier of scores is trained in one go and never resumed.
ALLOWED = {("generators with a state", "evaluation/classifiers.py")}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_source_is_free_of(what):
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (what, path.relative_to(PACKAGE).as_posix()) not in ALLOWED
        for line in path.read_text().splitlines()
        if re.search(FORBIDDEN[what], line)
    ]
    assert found == []


def _classes():
    """Classes of the package that inherit from a class of Keras."""
    for module in pkgutil.walk_packages([str(PACKAGE)], "mvae_tf."):
        if module.name.endswith("__main__"):
            continue
        loaded = __import__(module.name, fromlist=["_"])
        for _, cls in inspect.getmembers(loaded, inspect.isclass):
            if cls.__module__ == module.name:
                bases = [b for b in cls.__mro__ if b.__module__.startswith("keras.")]
                if bases:
                    yield cls, bases[0]


def _attributes(base):
    """Names that an instance of a Keras class has, those of its constructor too."""
    required = {keras.layers.Conv2D: {"filters": 1, "kernel_size": 1}}
    instance = base(**required.get(base, {}))
    if hasattr(instance, "build"):
        variables = [keras.Variable([0.0])]
        optimizer = isinstance(instance, keras.optimizers.Optimizer)
        instance.build(variables if optimizer else (None, 2, 2, 1))
    return set(dir(instance))


def test_no_class_uses_private_attributes_of_its_keras_base():
    classes = dict(_classes())
    assert {optimizers.FusedAdam, BatchNormalization, mvae_tf.models.MVAE} <= set(
        classes
    )
    attributes = {base: _attributes(base) for base in set(classes.values())}
    used = [
        f"{cls.__name__}.{name}"
        for cls, base in classes.items()
        for name in re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(cls))
        if name in attributes[base]
    ]
    assert used == []
