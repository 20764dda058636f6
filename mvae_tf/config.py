"""The configuration of a run: everything needed to repeat it, as plain JSON.

Nothing here imports TensorFlow.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mvae_tf import storage
from mvae_tf.parts.part import choice

__all__ = [
    "RunConfig",
    "Training",
    "flat",
    "read_config",
    "setting_text",
    "without_retired",
]

# Some counters of TensorFlow have 32 bits, and no run needs greater numbers.
_LARGEST = 2**31 - 1


# Arguments that do not exist any more, each with the default that it had. The keys are
# names of models, and the arguments by which models take their parts.
_RETIRED: dict[str, dict[str, Any]] = {
    "cp_vae": {"decoder_uses_c": True},
    "indq_vae": {"decoder_uses_c": True},
    "indp_vae": {"decoder_uses_c": True},
    "indqp_vae": {"decoder_uses_c": True},
    "gmmp_vae": {
        "matching": "greedy",
        "z_sampling": "stratified",
        "component_encoder": "separate",
    },
    "cgm": {"prototype_update": "learnable"},
    "info_vae": {"unbiased": False},
    "mask": {"clip": [1e-8, 1.0]},
    "mixing": {"floor": 1e-3},
    "independence": {"cap": 10.0},
    "network": {"mask_latents": True},
}


def _adam() -> dict[str, Any]:
    return {"class_name": "Adam", "config": {}}


@dataclass(frozen=True)
class Training:
    """Settings of the training loop.

    Attributes:
        epochs: int, passes over the training images.
        batch_size: int, images per step, over all devices together.
        learning_rate: float, or a schedule as Keras serialises it, such as
            `{"class_name": "CosineDecay", "config": {"initial_learning_rate": 1e-3,
            "decay_steps": 10000}}`. On the command line, `learning_rate=CosineDecay`
            and `learning_rate.decay_steps=10000`.
        optimizer: dict, an optimiser as Keras serialises it, less its learning rate,
            such as `{"class_name": "AdamW", "config": {"weight_decay": 0.01}}`;
            clipping is among its arguments (`clipnorm`, `global_clipnorm`,
            `clipvalue`). On the command line, `optimizer=AdamW` and
            `optimizer.weight_decay=0.01`.
        adam_epsilon: float, epsilon of Adam; 1e-8 as in the authors' graphs.
        normalize_gradients: bool, whether Adam gets the gradient of each variable
            divided by its norm.
        warmup_epochs: int, number of epochs over which the weights of the KL terms grow
            linearly to their final values; 0 for no warm-up.
        patience: int, number of epochs without a lower validation loss, counted from
            the end of the warm-up on, after which training stops and the best weights
            are restored. 0 trains for all epochs and keeps the last weights.
        checkpoint_every: int, steps between checkpoints inside an epoch; 0 for
            checkpoints at the end of each epoch alone.
        steps_per_execution: int, steps that one call of the compiled function runs. The
            greatest divisor of the steps of an epoch up to this number is used. None
            stands for 1, but on a single device with networks of dense layers for the
            greatest common divisor of the steps of an epoch and of `checkpoint_every`
            up to 20.
        jit_compile: bool, whether XLA compiles the step.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float | dict[str, Any] = 1e-3
    optimizer: dict[str, Any] = field(default_factory=_adam)
    adam_epsilon: float = 1e-8
    normalize_gradients: bool = False
    warmup_epochs: int = 0
    patience: int = 0
    checkpoint_every: int = 0
    steps_per_execution: int | None = None
    jit_compile: bool = False

    def __post_init__(self) -> None:
        for name, least in {
            "epochs": 1,
            "batch_size": 1,
            "warmup_epochs": 0,
            "patience": 0,
            "checkpoint_every": 0,
        }.items():
            _check_integer(name, getattr(self, name), least)
        if self.steps_per_execution is not None:
            _check_integer("steps_per_execution (or null)", self.steps_per_execution, 1)
        if not isinstance(self.learning_rate, dict):
            _check_positive("learning_rate", self.learning_rate)
        else:
            _check_serialized("learning_rate", self.learning_rate)
        _check_positive("adam_epsilon", self.adam_epsilon)
        for name in ("normalize_gradients", "jit_compile"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise ValueError(f"Expected {name} as true or false, got {value!r}.")
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        """Refuse arguments of the optimiser that are ignored or prevent a resume."""
        _check_serialized("optimizer", self.optimizer)
        given = self.optimizer["config"]
        adam = self.optimizer["class_name"] == "Adam"
        elsewhere = {"learning_rate": "learning_rate"}
        if adam:
            elsewhere |= {
                "epsilon": "adam_epsilon",
                "normalize_gradients": "normalize_gradients",
            }
        for key, setting in elsewhere.items():
            if key in given:
                raise ValueError(
                    f"Expected the setting {setting}, got optimizer.{key}."
                )
        if not adam and self.normalize_gradients:
            raise ValueError(
                "Expected normalize_gradients as false with optimizer "
                f"{self.optimizer['class_name']}, got true: only Adam has it."
            )
        if not adam and self.adam_epsilon != Training.adam_epsilon:
            raise ValueError(
                f"Expected optimizer.epsilon for {self.optimizer['class_name']}, got "
                "adam_epsilon."
            )
        if given.get("use_ema"):
            # Keras replaces the weights by their averages whenever `fit` ends. In a
            # resumed run, it may end in the middle of the training.
            raise ValueError(
                "Expected optimizer.use_ema as false, got true: a run that was resumed "
                "would differ from one that was not."
            )


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run: a model, data, training settings and a seed.

    Attributes:
        model: str, registered name of the model.
        arguments: dict, arguments of the model, without `seed`. `config.json` holds all
            of them, `input_shape` included.
        data: dict, arguments of `mvae_tf.data.load`, without `batch_size` and `seed`.
        training: `Training`, settings of the training loop.
        seed: int that decides initial weights, noise and the order of the images.
        devices: int, number of devices of each worker that train together.
        workers: int, number of processes that train together; a run takes it from
            `TF_CONFIG` (see `mvae_tf.runs.workers`).
        preset: str, name of the preset that the configuration comes from, or None.
        init_from: str, folder of a run, or `.keras` file, whose weights this run starts
            from; None for new weights.
        imports: list of str, Python files that register the models and parts of the run
            that are not the library's own. Loading a run never executes them: whoever
            opens the run imports them first (`--import FILE`).
        versions: dict, versions of the libraries that made the run, by name.
    """

    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: {"source": "digits"})
    training: Training = field(default_factory=Training)
    seed: int = 0
    devices: int = 1
    workers: int = 1
    preset: str | None = None
    init_from: str | None = None
    imports: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds, what in (
            ("model", str, "the name of a model"),
            ("arguments", dict, "an object"),
            ("data", dict, "an object"),
            ("training", Training, "an object"),
            ("preset", (str, type(None)), "a name or null"),
            ("init_from", (str, type(None)), "a path or null"),
            ("imports", list, "a list of paths"),
            ("versions", dict, "an object"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kinds):  # type: ignore[arg-type]
                raise ValueError(f"Expected {name} as {what}, got {value!r}.")
        for path in self.imports:
            if not isinstance(path, str):
                raise ValueError(f"Expected imports as a list of paths, got {path!r}.")
        if not isinstance(self.data.get("source", "digits"), str):
            source = self.data["source"]
            raise ValueError(f"Expected data.source as a text, got {source!r}.")
        _check_integer("seed", self.seed, 0)
        _check_integer("devices", self.devices, 1)
        _check_integer("workers", self.workers, 1)
        for name, own in (("arguments", ["seed"]), ("data", ["batch_size", "seed"])):
            for key in own:
                if key in getattr(self, name):
                    raise ValueError(f"Expected {key} outside `{name}`, got it there.")

        # Neither Keras' loop around several steps nor XLA works with several replicas.
        for name, single in (("steps_per_execution", 1), ("jit_compile", False)):
            found = getattr(self.training, name)
            if self.devices * self.workers > 1 and found not in (None, single):
                raise ValueError(
                    f"Expected {name} = {single} with several devices, got {found}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, of which `from_dict` makes an equal configuration."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration from what `to_dict` returned.

        Args:
            values: dict that `to_dict` made; arguments that do not exist any more are
                left out.

        Raises:
            ValueError: a key is unknown or missing, or a value has the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"Expected a run's configuration, got {values!r}.")
        values = dict(values)
        known = [item.name for item in dataclasses.fields(cls)]
        for key in values:
            choice(key, known, "key of a run's configuration,")
        if "model" not in values:
            raise ValueError("Expected a run's configuration with a model, got none.")
        settings = values.get("training", {})
        if not isinstance(settings, Mapping):
            raise ValueError(f"Expected training as an object, got {settings!r}.")
        known = [item.name for item in dataclasses.fields(Training)]
        for key in settings:
            choice(key, known, "training setting")
        values["training"] = Training(**settings)
        if isinstance(values.get("arguments"), Mapping):
            model, arguments = values["model"], values["arguments"]
            values["arguments"] = without_retired(model, arguments)
        return cls(**values)

    def check_resumed_by(self, other: "RunConfig") -> None:
        """Check that `other` can continue this run: that only the epochs differ.

        A warning on stderr says so if the versions of the libraries differ.

        Args:
            other: `RunConfig`, configuration of the run that continues.

        Raises:
            ValueError: another setting differs; the error names the first one.
        """
        old, new = flat(self.to_dict()), flat(other.to_dict())
        for key in old | new:
            free = key in ("preset", "imports", "training.epochs")
            free |= key.startswith("versions.")
            if not free and old.get(key) != new.get(key):
                raise ValueError(
                    f"Expected {key} = {old.get(key)!r}, as the run was started with, "
                    f"got {new.get(key)!r}."
                )
        if self.versions != other.versions:
            print(
                f"mvae-tf: warning: the run was started with {self.versions}; with "
                f"{other.versions} its numbers may differ by rounding",
                file=sys.stderr,
            )


def read_config(folder: str | Path) -> RunConfig:
    """Read the configuration of a run.

    Args:
        folder: path of the run folder, which holds `config.json`.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: `config.json` is damaged.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"Expected a run in {folder}, got no config.json.")
    values = storage.read_json(path)
    try:
        config = RunConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    manifest = path.parent / storage.MANIFEST
    if not manifest.is_file():
        storage.warn(f"{manifest} is missing: damage to the run would not be noticed")
    return config


def without_retired(model: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in an old file without those that do not exist any more.

    Args:
        model: str, registered name of the model.
        arguments: dict, arguments of the model as plain JSON.

    Raises:
        ValueError: an argument that does not exist any more had another value than its
            default.
    """
    kept = _without(_RETIRED.get(model, {}), arguments)
    for key, value in kept.items():
        if isinstance(value, dict) and key in _RETIRED:
            kept[key] = _without(_RETIRED[key], value)
    return kept


def _without(retired, arguments):
    for key, value in retired.items():
        if arguments.get(key, value) != value:
            raise ValueError(
                f"Expected {key} = {value!r}, the only value in this version, got "
                f"{arguments[key]!r}: the version of mvae-tf that wrote the file can "
                "read it."
            )
    return {key: value for key, value in arguments.items() if key not in retired}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested dicts into one dict with dotted keys, such as "training.epochs".

    Args:
        values: dict, perhaps nested, whose keys are texts.
        prefix: str, text that all keys begin with.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def setting_text(value: Any) -> str:
    """Write the value of a setting as a text, as `--set` takes it.

    Args:
        value: str, or another value that JSON can hold.
    """
    return value if isinstance(value, str) else json.dumps(value)


def _check_integer(name: str, value: Any, least: int) -> None:
    if type(value) is not int or not least <= value <= _LARGEST:
        # The upper limit is named only to someone who has exceeded it.
        too_large = type(value) is int and value > _LARGEST
        limits = f"in [{least}, 2^31)" if too_large else f">= {least}"
        raise ValueError(f"Expected {name} as an integer {limits}, got {value!r}.")


def _check_positive(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0.0 < value < math.inf:
        raise ValueError(f"Expected {name} as a number > 0, got {value!r}.")


def _check_serialized(name: str, value: Any) -> None:
    """Check that a value has the form in which Keras serialises an object."""
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("class_name"), str)
        or not isinstance(value.get("config"), dict)
    ):
        raise ValueError(
            f'Expected {name} as {{"class_name": NAME, "config": {{...}}}}, got '
            f"{value!r}."
        )
    for key, item in value["config"].items():
        plain = item is None or isinstance(item, bool | int | float | list)
        if not plain and key != "name":
            raise ValueError(
                f"Expected {name}.{key} as a number, true, false, null or a list, "
                f"got {item!r}."
            )
