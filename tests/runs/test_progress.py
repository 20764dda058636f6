"""How many steps one call of the compiled function runs, and what is left of it."""

import keras
import numpy as np
import pytest

import mvae_tf
from mvae_tf.config import RunConfig, Training
from mvae_tf.runs import training
from mvae_tf.runs.progress import steps_in_a_call

DENSE = {"latent_dim": 2, "network": {"name": "mlp", "hidden": 8}}
CONV = DENSE | {"network": "conv"}


def configured(arguments=DENSE, devices=1, **settings):
    settings = Training(batch_size=10, **settings)
    data = {"source": "digits", "limit": 180}
    return RunConfig("vae", arguments, data, settings, devices=devices)


@pytest.mark.parametrize(
    ("steps", "config", "expected"),
    [
        (18, configured(), 18),
        (540, configured(), 20),
        (11, configured(), 11),
        (23, configured(), 1),
        (18, configured(steps_per_execution=1), 1),
        (18, configured(steps_per_execution=10**9), 18),
        (12, configured(steps_per_execution=5), 4),
        (18, configured(checkpoint_every=4), 2),
        (18, configured(checkpoint_every=18), 18),
        (18, configured(devices=2), 1),
        (18, configured(CONV), 1),
        (18, configured(CONV, steps_per_execution=6), 6),
    ],
)
def test_calls_fill_an_epoch_and_end_where_checkpoints_are_due(steps, config, expected):
    model = training.create(config, training.load_data(config))
    assert steps_in_a_call(steps, config, model) == expected


def test_a_trained_model_runs_single_steps(tmp_path):
    config = configured(epochs=1)
    model = training.train(config, tmp_path / "run", verbose=0)
    assert int(model.step.numpy()) == 18
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    images = np.zeros([50, 8, 8, 1], np.float32)
    for each in (model, mvae_tf.load(tmp_path / "run")):
        before = int(each.step.numpy())
        each.fit(images, batch_size=10, callbacks=[watch], verbose=0)
        assert int(each.step.numpy()) == before + 5
    assert seen == [0, 1, 2, 3, 4] * 2
