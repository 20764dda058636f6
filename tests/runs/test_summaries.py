"""What TensorBoard shows of a mixture."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mvae_tf
from mvae_tf.runs.callbacks import MixtureSummaries
from mvae_tf.optimizers import FusedAdam


def summaries(folder, model, x):
    model.compile(optimizer=FusedAdam(1e-3))
    callback = MixtureSummaries(folder, x[:3])
    model.fit(x, epochs=2, batch_size=8, callbacks=[callback], verbose=0)
    events = EventAccumulator(str(folder))
    events.Reload()
    return events, events.Tags()["tensors"]


def test_a_mixture_shows_its_weights_and_each_component(tmp_path):
    model = mvae_tf.create(
        "mvae",
        input_shape=(4, 4, 1),
        latent_dim=2,
        num_components=2,
        network={"name": "mlp", "hidden": 8},
    )
    x = np.random.default_rng(0).uniform(size=(16, 4, 4, 1)).astype("float32")
    events, tags = summaries(tmp_path, model, x)
    images = {
        f"{kind}/{part}"
        for kind in ("reconstructions", "samples")
        for part in ("mixture", "component_0", "component_1")
    }
    assert images | {"originals", "mixing_weights", "usage/entropy"} <= set(tags)
    assert {f"term_weight/{name}" for name in model.term_weights} <= set(tags)
    steps = [event.step for event in events.Tensors("usage/component_0")]
    assert steps == [0, 1]
    usage = [
        float(tf.make_ndarray(events.Tensors(f"usage/component_{i}")[-1].tensor_proto))
        for i in range(2)
    ]
    weights = model.encode(x[:3])["weights"].numpy()
    assert usage == pytest.approx(weights.mean(axis=0).tolist(), abs=1e-6)


def test_vectors_have_no_pictures(tmp_path):
    model = mvae_tf.create(
        "vae", input_shape=(5,), latent_dim=2, network={"name": "mlp", "hidden": 8}
    )
    x = np.random.default_rng(0).uniform(size=(16, 5)).astype("float32")
    _, tags = summaries(tmp_path, model, x)
    assert "usage/component_0" in tags
    assert "originals" not in tags
