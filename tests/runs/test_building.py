"""The model of a run, made from its configuration."""

import pytest

from mvae_tf.config import RunConfig, Training
from mvae_tf.runs.building import create, load_data

DENSE = {"latent_dim": 2, "network": {"name": "mlp", "hidden": 8}}


@pytest.mark.parametrize(
    ("settings", "images", "arguments", "expected"),
    [
        ({}, 180, DENSE, 9),
        ({}, 110, DENSE, 1),
        ({"steps_per_execution": 1}, 180, DENSE, 1),
        ({"steps_per_execution": 10**9}, 180, DENSE, 18),
        ({"steps_per_execution": 5}, 120, DENSE, 4),
        ({"checkpoint_every": 4}, 180, DENSE, 3),
        ({}, 180, DENSE | {"network": "conv"}, 1),
    ],
)
def test_executions_fill_an_epoch(settings, images, arguments, expected):
    config = RunConfig(
        "vae",
        arguments,
        {"source": "digits", "limit": images},
        Training(batch_size=10, **settings),
    )
    model = create(config, load_data(config))
    assert model.steps_per_execution == expected
