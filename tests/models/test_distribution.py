"""Two and four replicas train as one device, for batches that do not divide.

Logical devices must be made before TensorFlow starts, so that all runs are made by one
process of their own, this file run as a script; the tests look at what it wrote.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf.optimizers import FusedAdam

pytestmark = pytest.mark.slow

MLP = {
    "input_shape": (4, 4, 1),
    "latent_dim": 2,
    "network": {"name": "mlp", "hidden": 8, "dropout": 0.2},
}
MIXTURE = MLP | {"num_components": 3, "independence_weight": 5.0}
CONV = {
    "input_shape": (8, 8, 3),
    "latent_dim": 2,
    "num_components": 2,
    "mask": None,
    "likelihood": "sse",
    "network": {
        "name": "conv",
        "filters": [4, 8],
        "units": 8,
        "feature_map": [2, 2, 4],
        "decoder": [[4, 2], [4, 2]],
    },
}


@keras.saving.register_keras_serializable("replicas")
def own_layers(spec):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, "tanh")])


@keras.saving.register_keras_serializable("replicas")
def own_image(spec):
    pixels = keras.layers.Dense(math.prod(spec.output_shape))
    return keras.Sequential([pixels, keras.layers.Reshape(spec.output_shape)])


FROM_KERAS = {
    "name": "from_keras",
    "encoder": "replicas>own_layers",
    "mix_decoder": "replicas>own_image",
}
MODELS = {
    "vae": ("vae", MLP),
    "gumbel": ("mvae", MIXTURE),
    "gaussian": ("mvae", MIXTURE | {"mask": "gaussian", "num_classes": 3}),
    "conv": ("mvae", CONV),
    "from_keras": ("mvae", MIXTURE | {"network": FROM_KERAS}),
    # Terms and draws that belong to the whole batch.
    "info_vae": ("info_vae", MLP | {"mmd_weight": 5.0}),
    "cgm": ("cgm", MLP | {"num_components": 3, "mmd_weight": 5.0}),
}
EVALUATED = ("gaussian", "conv")
BATCH = 16
# The first batch of all, and the last one of the second, have one example: the other
# replicas get none.
SIZES = (1, 33, 17)


def make(label, **compilation):
    name, arguments = MODELS[label]
    model = mvae_tf.create(name, **arguments)
    # Adam divides a gradient by its size, which makes whole steps of the rounding of a
    # gradient that is 0, as that of biases before a batch normalisation is.
    model.compile(FusedAdam(1e-2, epsilon=1e-3), **compilation)
    return model


def examples(label, num):
    _, arguments = MODELS[label]
    rng = np.random.default_rng(num)
    x = rng.uniform(size=(num, *arguments["input_shape"])).astype("float32")
    return x, rng.integers(0, 3, num) if "num_classes" in arguments else None


# === The process with two devices ===


def train(model, label):
    """Logs of an epoch on each data set, and of evaluations of the first."""
    options = {"batch_size": BATCH, "verbose": 0}
    logs = []
    for size in SIZES:
        history = model.fit(*examples(label, size), shuffle=False, **options).history
        logs.append({name: value for name, (value,) in history.items()})
    if label in EVALUATED:
        x, y = examples(label, SIZES[1])
        logs.append(model.evaluate(x, y, return_dict=True, **options))
    return logs


def learned(model):
    return [v.numpy() for v in (*model.trainable_variables, *model.optimizer.variables)]


def in_one_shard(value):
    """One batch, as a data set, with a pixel of the second replica's share changed."""
    x, _ = examples("vae", BATCH)
    x[-1, 0, 0, 0] = value
    return tf.data.Dataset.from_tensor_slices(x).batch(BATCH)


def refuse(model):
    """What a model on two replicas makes of batches that it cannot train on."""
    before = learned(model)
    history = model.fit(in_one_shard(np.nan), verbose=0).history
    try:
        model.fit(in_one_shard(255.0), verbose=0)
        message = None
    except ValueError as error:
        message = str(error)
    same = map(np.array_equal, before, learned(model))
    return {
        "history": history,
        "unchanged": all(same),
        "counters": [int(v.numpy()) for v in (model.step, model.skipped_steps)],
        "message": message,
    }


def overflow(strategy):
    """State of a loss-scaling optimiser after an overflow on one replica."""
    with strategy.scope():
        model = mvae_tf.create("vae", **MLP, dtype="mixed_float16")
        optimizer = keras.optimizers.LossScaleOptimizer(FusedAdam(1e-2), 1024.0)
        model.compile(optimizer)
    loss_terms = model.loss_terms

    def faulty(x, y, noise, training):
        terms = loss_terms(x, y, noise, training)
        flat = tf.where(tf.reduce_any(x == 0.8125), 0.0, 1.0)
        terms["kl"] += tf.sqrt(flat * terms["kl"])
        return terms

    model.loss_terms = faulty
    model.fit(in_one_shard(0.8125), verbose=0)
    return {
        "finite": all(np.all(np.isfinite(value)) for value in learned(model)),
        "scale": float(optimizer.dynamic_scale.numpy()),
        "skipped": int(model.skipped_steps.numpy()),
    }


def main(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 4
    )
    # Both groups of devices are made in one process, and used in turn.
    four = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    report = {}
    for label in MODELS:
        # The eager model is the plainest reference, and needs no tracing.
        one = make(label, run_eagerly=True)
        with strategy.scope():
            two = make(label)
        report[label] = {}
        for devices, model in (("one", one), ("two", two)):
            report[label][devices] = train(model, label)
            model.save(folder / f"{label}_{devices}.keras")
        np.save(folder / f"{label}.npy", two.reconstruct(*examples(label, 3), seed=1))
        if label == "gumbel":
            report["refused"] = refuse(two)
    report["overflow"] = overflow(strategy)
    with four.scope():
        model = make("info_vae")
    report["info_vae"]["four"] = train(model, "info_vae")
    model.save(folder / "info_vae_four.keras")
    (folder / "report.json").write_text(json.dumps(report))


# === The tests ===


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with the trained models, and what their process reported."""
    folder = tmp_path_factory.mktemp("runs")
    path = Path(__file__)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, path.parents[1:3]))
    }
    subprocess.run([sys.executable, path, folder], check=True, env=environment)
    return folder, json.loads((folder / "report.json").read_text())


EVERY = [*((label, "two") for label in MODELS), ("info_vae", "four")]


@pytest.mark.parametrize(("label", "several"), EVERY)
def test_logs_are_those_of_one_device(runs, label, several):
    _, report = runs
    for one, two in zip(report[label]["one"], report[label][several], strict=True):
        assert two == pytest.approx(one, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize(("label", "several"), EVERY)
def test_weights_and_moments_are_those_of_one_device(runs, label, several):
    folder, _ = runs
    one, two = (
        keras.saving.load_model(folder / f"{label}_{devices}.keras")
        for devices in ("one", several)
    )
    assert int(two.step.numpy()) == 6
    for first, second in (
        (one.variables, two.variables),
        (one.optimizer.variables, two.optimizer.variables),
    ):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=2e-6, err_msg=a.path)


@pytest.mark.parametrize("label", ["gumbel", "conv"])
def test_model_of_two_replicas_answers_alone_once_saved(runs, label):
    folder, _ = runs
    model = keras.saving.load_model(folder / f"{label}_two.keras")
    answer = model.reconstruct(*examples(label, 3), seed=1)
    np.testing.assert_allclose(answer, np.load(folder / f"{label}.npy"), atol=1e-6)


def test_replicas_refuse_a_bad_batch_together(runs):
    refused = runs[1]["refused"]
    assert refused["unchanged"]
    assert refused["history"]["skipped_steps"] == [1]
    assert np.isnan(refused["history"]["loss"]).all()
    # Six steps of training, one with NaN, one out of range.
    assert refused["counters"] == [8, 2]
    assert "got [0.0" in refused["message"]
    assert "255] in batch 1 of epoch 1" in refused["message"]


def test_replicas_agree_on_an_overflow(runs):
    assert runs[1]["overflow"] == {"finite": True, "scale": 512.0, "skipped": 0}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
