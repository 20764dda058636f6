"""What a run is made of: everything needed to repeat it, as plain JSON.

Nothing here imports TensorFlow.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from typing import Any

from mvae_tf.parts.part import choice

__all__ = ["RunConfig", "Training"]


@dataclass(frozen=True)
class Training:
    """Settings of the training loop.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of one step, over all devices.
        learning_rate: of Adam, constant.
        adam_epsilon: of Adam; 1e-8 as in the authors' graphs.
        normalize_gradients: whether Adam sees each gradient divided by its norm.
        warmup_epochs: length of the linear growth of the KL weights; 0 for none.
        patience: epochs without a lower validation loss, counted from the end of the
            warm-up on, after which training stops; the best weights come back. 0
            trains for all epochs and keeps the last weights.
        checkpoint_every: steps between checkpoints inside an epoch; 0 for checkpoints
            at the end of each epoch alone.
        steps_per_execution: steps that one call of the compiled function runs. The
            greatest divisor of the steps of an epoch up to this number is used.
        jit_compile: whether XLA compiles the step.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-8
    normalize_gradients: bool = False
    warmup_epochs: int = 0
    patience: int = 0
    checkpoint_every: int = 0
    steps_per_execution: int = 1
    jit_compile: bool = False

    def __post_init__(self):
        for name, least in {
            "epochs": 1,
            "batch_size": 1,
            "warmup_epochs": 0,
            "patience": 0,
            "checkpoint_every": 0,
            "steps_per_execution": 1,
        }.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"Expected {name} an integer >= {least}, got {value!r}."
                )
        for name in ("learning_rate", "adam_epsilon"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0.0 < value < float("inf"):
                raise ValueError(f"Expected {name} a number > 0, got {value!r}.")
        for name in ("normalize_gradients", "jit_compile"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise ValueError(f"Expected {name} true or false, got {value!r}.")


@dataclass(frozen=True)
class RunConfig:
    """A run: a model, data, training settings and a seed.

    Attributes:
        model: registered name of the model.
        arguments: its arguments, less `seed`. A finished configuration (`config.json`)
            holds all of them, `input_shape` included.
        data: arguments of `mvae_tf.data.load`, less `batch_size` and `seed`.
        training: settings of the training loop.
        seed: int that decides initial weights, noise and the order of the images.
        devices: number of devices that train together.
        preset: name of the preset that the configuration comes from, or None.
        versions: versions of the libraries that made the run.
    """

    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: {"source": "digits"})
    training: Training = Training()
    seed: int = 0
    devices: int = 1
    preset: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise ValueError(
                f"Expected seed an integer in [0, 2^31), got {self.seed!r}."
            )
        if type(self.devices) is not int or self.devices < 1:
            raise ValueError(f"Expected devices an integer >= 1, got {self.devices!r}.")
        for name, own in (("arguments", ["seed"]), ("data", ["batch_size", "seed"])):
            for key in own:
                if key in getattr(self, name):
                    raise ValueError(f"Expected {key} outside `{name}`, got it there.")

        if self.devices > 1 and self.training.steps_per_execution > 1:
            # Keras' loop around several steps of several replicas fails in TensorFlow.
            raise ValueError(
                "Expected steps_per_execution 1 with several devices, got "
                f"{self.training.steps_per_execution}."
            )

    def to_dict(self):
        """Plain dict that `from_dict` turns back into an equal configuration."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Configuration from what `to_dict` made.

        Raises:
            ValueError: on an unknown or a missing key.
        """
        values = dict(values)
        known = [item.name for item in dataclasses.fields(cls)]
        for key in values:
            choice(key, known, "key of a run's configuration,")
        if "model" not in values:
            raise ValueError("Expected a run's configuration to name a model.")
        settings = values.get("training", {})
        known = [item.name for item in dataclasses.fields(Training)]
        for key in settings:
            choice(key, known, "training setting")
        return cls(**values | {"training": Training(**settings)})

    def check_resumed_by(self, other):
        """Checks that `other` continues this run: the same, but for more epochs.

        Other versions of the libraries get a line on stderr.

        Raises:
            ValueError: naming the first key that differs.
        """
        old, new = _flat(self.to_dict()), _flat(other.to_dict())
        for key in old | new:
            free = key in ("preset", "training.epochs") or key.startswith("versions.")
            if not free and old.get(key) != new.get(key):
                raise ValueError(
                    f"Expected {key} = {old.get(key)!r}, as the run was started with, "
                    f"got {new.get(key)!r}."
                )
        if self.versions != other.versions:
            print(
                f"mvae-tf: warning: the run was started with {self.versions}; with "
                f"{other.versions} it may continue with other rounding",
                file=sys.stderr,
            )


def _flat(values, prefix=""):
    """Dict of dicts as one dict with dotted keys."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
