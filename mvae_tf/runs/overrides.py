"""Changes of a run's settings, given as texts `key=value` on the command line."""

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from mvae_tf import data, optimizers
from mvae_tf.config import RunConfig, Training
from mvae_tf.models import registry
from mvae_tf.parts import independence, likelihoods, masks, mixing, networks
from mvae_tf.parts.part import choice, like_default
from mvae_tf.runs.assignments import check_key, like_argument, parse

__all__ = ["apply"]

_PARTS = {
    "mask": masks,
    "mixing": mixing,
    "network": networks,
    "likelihood": likelihoods,
    "independence": independence,
}


def apply(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """Change some settings of a configuration.

    A key is a training setting (`learning_rate`), an argument of the optimiser
    (`optimizer.clipnorm`) or of a learning rate schedule
    (`learning_rate.decay_steps`), an argument of the model (`latent_dim`) or of a part
    of it (`mask.temperature`), or an argument of the data (`data.image_size`). A value
    is a constant as JSON or Python writes it (`null` and `None` are the same); anything
    else is taken for a text.

    Args:
        config: `RunConfig`, the configuration to start from.
        assignments: texts `key=value`, which are applied one after the other.

    Returns:
        A new configuration.

    Raises:
        ValueError: a key is unknown, and the error says which is nearest; or a value
            has the wrong type.
    """
    for assignment in assignments:
        config = _set(config, *parse(assignment))
    # The arguments of the optimiser are checked by making it, in a graph of its own
    # because a strategy must be made before TensorFlow runs its first operation.
    with tf.Graph().as_default():
        optimizers.from_settings(config.training)
    return config


def _set(config: RunConfig, key: str, value: Any) -> RunConfig:
    """Return the configuration with one setting changed."""
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
    value = like_argument(key, value, arguments.get(key))
    return dataclasses.replace(config, arguments=config.arguments | {key: value})


def _data_keys() -> list[str]:
    known = inspect.signature(data.load).parameters
    return [name for name in known if name not in ("batch_size", "seed")]


def _check_key(key: str, known: list[str], arguments: dict[str, Any]) -> None:
    """Refuse an unknown key; the error names the key that was probably meant."""
    dotted = [f"data.{name}" for name in _data_keys()]
    for head, module in _PARTS.items():
        if key not in known and arguments.get(head) is not None:
            names = module.get(arguments[head]).get_config()
            dotted += [f"{head}.{name}" for name in names if name != "name"]
    check_key(key, known, dotted)


def _set_part(part: Any, head: str, key: str, value: Any) -> dict[str, Any]:
    """Return the configuration of a part of the model with one argument changed."""
    if part is None:
        raise ValueError(f"Expected a {head} to set {key!r} of, got none.")
    values = _PARTS[head].get(part).get_config()
    choice(key, [name for name in values if name != "name"], f"key of {head},")
    return values | {key: like_default(f"{head}.{key}", value, values[key])}


def _set_training(training: Training, key: str, value: Any) -> Training:
    """Return training settings with one of them changed.

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
    """Return training settings with an argument of optimiser or schedule changed."""
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
