"""Changes of a run's settings, given as texts `key=value` on the command line."""

import ast
import dataclasses
import inspect
import json
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from mvae_tf import data, optimizers
from mvae_tf.config import RunConfig, Training
from mvae_tf.models import registry
from mvae_tf.parts import independence, likelihoods, masks, mixing, networks
from mvae_tf.parts.part import choice

__all__ = ["apply"]

_PARTS = {
    "mask": masks,
    "mixing": mixing,
    "network": networks,
    "likelihood": likelihoods,
    "independence": independence,
}

# Arguments that are a number or a part, which is given by its name or configuration.
_NUMBER_OR_PART = ("temperature",)

# Names by which other libraries and the papers know a setting.
_OTHER_NAMES = {
    "lr": "learning_rate",
    "opt": "optimizer",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "k": "num_components",
    "z": "latent_dim",
    "z_dim": "latent_dim",
    "latent_size": "latent_dim",
    "n_components": "num_components",
    "clipnorm": "optimizer.clipnorm",
    "clipvalue": "optimizer.clipvalue",
    "weight_decay": "optimizer.weight_decay",
    "decay_steps": "learning_rate.decay_steps",
}

# Settings of a run that are options of the command line.
_OPTIONS = ("data", "devices", "init_from", "model", "output", "preset", "seed")

_LARGEST = 2**31 - 1


def apply(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """Changes some settings of a configuration.

    A key is a training setting (`learning_rate`), an argument of the optimiser
    (`optimizer.clipnorm`) or of a learning rate schedule
    (`learning_rate.decay_steps`), an argument of the model (`latent_dim`) or of a part
    of it (`mask.temperature`), or an argument of the data (`data.image_size`). A value
    is a constant as JSON or Python writes it (`null` and `None` are the same); anything
    else is taken for a text.

    Args:
        config: the configuration to start from.
        assignments: texts `key=value`, which are applied one after the other.

    Returns:
        A new configuration.

    Raises:
        ValueError: a key is unknown, and the error says which is nearest; or a value
            has the wrong type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not (key and equals):
            raise ValueError(f"Expected --set key=value, got {assignment!r}.")
        value = _parse(text)
        _check_size(key, value)
        config = _set(config, key, value)
    # The arguments of the optimiser are checked by making it, in a graph of its own
    # because a strategy must be made before TensorFlow runs its first operation.
    with tf.Graph().as_default():
        optimizers.from_settings(config.training)
    return config


def _parse(text: str) -> Any:
    """Returns the constant that a text stands for, or else the text itself."""
    if text.lower() in ("null", "none", "true", "false"):
        return {"true": True, "false": False}.get(text.lower())
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
            # Tuples become lists. A value that JSON cannot hold, such as infinity,
            # stays a text.
            return json.loads(json.dumps(value, allow_nan=False))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _check_size(key: str, value: Any) -> None:
    """Refuses integers that TensorFlow cannot hold, also in lists and objects."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_size(key, item)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"Expected {key} at most 2^31 - 1, got {value}.")


def _set(config: RunConfig, key: str, value: Any) -> RunConfig:
    """Returns the configuration with one setting changed."""
    head, dot, tail = key.partition(".")
    if dot and head == "data":
        choice(tail, _data_keys(), "argument of the data,")
        return dataclasses.replace(config, data=config.data | {tail: value})
    arguments = registry.arguments(registry.get(config.model)) | config.arguments
    del arguments["seed"]
    if dot and head in ("optimizer", "learning_rate"):
        changed = _set_serialized(config.training, head, tail, value)
        return dataclasses.replace(config, training=changed)
    if dot and head in _PARTS and head in arguments:
        value = _set_part(arguments[head], head, tail, value)
        return dataclasses.replace(config, arguments=config.arguments | {head: value})
    training = [item.name for item in dataclasses.fields(Training)]
    _check_key(key, [*training, *arguments, "dtype"], arguments)
    if key in training:
        changed = _set_training(config.training, key, value)
        return dataclasses.replace(config, training=changed)
    if not (key in _NUMBER_OR_PART and isinstance(value, str | dict)):
        value = _checked(key, arguments.get(key), value)
    return dataclasses.replace(config, arguments=config.arguments | {key: value})


def _data_keys() -> list[str]:
    known = inspect.signature(data.load).parameters
    return [name for name in known if name not in ("batch_size", "seed")]


def _check_key(key: str, known: list[str], arguments: dict[str, Any]) -> None:
    """Refuses an unknown key; the error names the key that was probably meant."""
    if key in known:
        return
    if key in _OPTIONS:
        option = key.replace("_", "-")
        raise ValueError(f"Unknown --set key {key!r}: use the option --{option}.")
    meant = _OTHER_NAMES.get(key.lower(), key)
    dotted = [f"data.{name}" for name in _data_keys()]
    for head, module in _PARTS.items():
        if arguments.get(head) is not None:
            names = module.get(arguments[head]).get_config()
            dotted += [f"{head}.{name}" for name in names if name != "name"]
    # "temperature" means "mask.temperature" where no other part has one.
    meant = next((name for name in dotted if name.endswith(f".{key}")), meant)
    if meant != key and (meant in known or "." in meant):
        raise ValueError(f"Unknown --set key {key!r}. Did you mean {meant!r}?")
    choice(key, known, "--set key", "those that `mvae-tf list settings` shows")


def _set_part(part: Any, head: str, key: str, value: Any) -> dict[str, Any]:
    """Returns the configuration of a part of the model with one argument changed."""
    if part is None:
        raise ValueError(f"Expected a {head} to set {key!r} of, got none.")
    values = _PARTS[head].get(part).get_config()
    choice(key, [name for name in values if name != "name"], f"key of {head},")
    return values | {key: _checked(f"{head}.{key}", values[key], value)}


def _set_training(training: Training, key: str, value: Any) -> Training:
    """Returns training settings with one of them changed.

    The name of an optimiser or of a schedule becomes what Keras serialises.
    """
    if key == "optimizer" and isinstance(value, str):
        optimizers.find(value)
        value = {"class_name": value, "config": {}}
    elif key == "learning_rate" and isinstance(value, str):
        schedule = optimizers.find_schedule(value)
        started = "initial_learning_rate" in inspect.signature(schedule).parameters
        rate = training.learning_rate
        if started and not isinstance(rate, dict):
            value = {"class_name": value, "config": {"initial_learning_rate": rate}}
        else:
            value = {"class_name": value, "config": {}}
    changes: dict[str, Any] = {key: value}
    return dataclasses.replace(training, **changes)


def _set_serialized(training: Training, head: str, key: str, value: Any) -> Training:
    """Returns training settings with an argument of optimiser or schedule changed."""
    old = getattr(training, head)
    if not isinstance(old, dict):
        raise ValueError(
            f"Expected a schedule to set {key!r} of, such as --set "
            f"learning_rate=CosineDecay before it, got {old!r}."
        )
    find = optimizers.find if head == "optimizer" else optimizers.find_schedule
    known = optimizers.arguments(find(old["class_name"]))
    choice(key, known, f"argument of {old['class_name']},")
    changed = {**old, "config": old["config"] | {key: value}}
    changes: dict[str, Any] = {head: changed}
    return dataclasses.replace(training, **changes)


def _checked(key: str, old: Any, new: Any) -> Any:
    """Returns the new value of a setting, if it has the type of the old one."""
    integer = type(old) is int
    for kind, what in (
        (bool, "true or false"),
        (int if integer else (int, float), "an integer" if integer else "a number"),
        ((list, tuple), "a list"),
    ):
        if isinstance(old, kind):
            if not isinstance(new, kind) or isinstance(new, bool) != (kind is bool):
                raise ValueError(f"Expected {key} {what}, got {new!r}.")
            break
    return new
