"""Settings of a run given as `key=value`, as on the command line."""

import dataclasses
import inspect
import json

from mvae_tf import data
from mvae_tf.config import Training
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


def apply(config, assignments):
    """The configuration with some settings changed.

    A key is a training setting (`learning_rate`), an argument of the model
    (`latent_dim`), an argument of a part of it (`mask.temperature`), or an argument of
    the data (`data.image_size`). A value is JSON, or else text.

    Args:
        config: `RunConfig`.
        assignments: strings `key=value`, applied in turn.

    Returns:
        A new `RunConfig`.

    Raises:
        ValueError: on an unknown key, with the nearest one, or a value of another type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not (key and equals):
            raise ValueError(f"Expected --set key=value, got {assignment!r}.")
        config = _set(config, key, _parse(text))
    return config


def _parse(text):
    def refuse(constant):
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def _set(config, key, value):
    head, dot, tail = key.partition(".")
    training = dataclasses.asdict(config.training)
    arguments = registry.arguments(registry.get(config.model)) | config.arguments
    del arguments["seed"]
    if dot and head == "data":
        known = inspect.signature(data.load).parameters
        known = [name for name in known if name not in ("batch_size", "seed")]
        choice(tail, known, "argument of the data,")
        return dataclasses.replace(config, data=config.data | {tail: value})
    if dot and head in _PARTS and head in arguments:
        part = _PARTS[head].get(arguments[head])
        if part is None:
            raise ValueError(f"Expected a {head} to set {tail!r} of, got none.")
        values = part.get_config()
        choice(tail, [name for name in values if name != "name"], f"key of {head},")
        value = values | {tail: _checked(key, values[tail], value)}
        return dataclasses.replace(config, arguments=config.arguments | {head: value})
    choice(key, [*training, *arguments, "dtype"], "--set key")
    if key in training:
        changed = Training(**training | {key: value})
        return dataclasses.replace(config, training=changed)
    value = _checked(key, arguments.get(key), value)
    return dataclasses.replace(config, arguments=config.arguments | {key: value})


def _checked(key, old, new):
    """The new value, if it may stand where the old one stands."""
    for kind, what in (
        (bool, "true or false"),
        ((int, float), "a number"),
        ((list, tuple), "a list"),
    ):
        if isinstance(old, kind):
            if not isinstance(new, kind) or isinstance(new, bool) != (kind is bool):
                raise ValueError(f"Expected {key} {what}, got {new!r}.")
            break
    return new
