"""Configurations: what they refuse."""

import pytest

from mvae_tf.config import RunConfig, Training


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "Expected epochs as an integer >= 1, got 0"),
        ({"batch_size": 2.5}, "Expected batch_size as an integer >= 1, got 2.5"),
        ({"learning_rate": 0}, "Expected learning_rate as a number > 0, got 0"),
        ({"learning_rate": float("nan")}, "Expected learning_rate as a number > 0"),
        ({"checkpoint_every": True}, "Expected checkpoint_every as an integer >= 0"),
        ({"jit_compile": "yes"}, "Expected jit_compile as true or false, got 'yes'"),
    ],
)
def test_training_settings_are_checked(values, message):
    with pytest.raises(ValueError, match=message):
        Training(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "vae", "sed": 1}, "Unknown key of a run's configuration, 'sed'"),
        (
            {"model": "vae", "training": {"epoch": 1}},
            "training setting 'epoch'",
        ),
        ({"seed": 1}, "configuration with a model, got none"),
        ({"model": "vae", "seed": -1}, r"Expected seed as an integer"),
        ({"model": "vae", "devices": 0}, "Expected devices as an integer >= 1, got 0"),
        ({"model": "vae", "data": {"seed": 1}}, "Expected seed outside `data`"),
        (
            {"model": "vae", "devices": 2, "training": {"steps_per_execution": 2}},
            "Expected steps_per_execution = 1 with several devices, got 2",
        ),
        (
            {"model": "vae", "devices": 2, "training": {"jit_compile": True}},
            "Expected jit_compile = False with several devices, got True",
        ),
    ],
)
def test_run_configuration_is_checked(values, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_dict(values)
