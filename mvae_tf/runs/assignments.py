"""Texts `key=value` that change a setting, read without importing TensorFlow."""

import ast
import json
from collections.abc import Sequence
from typing import Any

from mvae_tf.parts.part import choice, like_default

__all__ = ["check_key", "like_argument", "parse"]

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

# Arguments that are a number or a part, which is given by its name or configuration.
_NUMBER_OR_PART = ("temperature",)


def parse(assignment: str) -> tuple[str, Any]:
    """Split a text `key=value`.

    Args:
        assignment: str, the text. The value is a constant as JSON or Python writes it;
            anything else is taken for a text.

    Returns:
        The key and the value.

    Raises:
        ValueError: the text does not have this form, or an integer is too large for
            TensorFlow.
    """
    key, equals, text = assignment.partition("=")
    if not (key and equals):
        raise ValueError(f"Expected --set key=value, got {assignment!r}.")
    value = _constant(text)
    _check_size(key, value)
    return key, value


def check_key(key: str, known: Sequence[str], dotted: Sequence[str]) -> None:
    """Refuse an unknown key; the error names the key that was probably meant.

    Args:
        key: str, the key that was given.
        known: list of str, the keys that exist.
        dotted: list of str, keys of parts and of the data, such as "mask.temperature",
            which the error may name.

    Raises:
        ValueError: the key is unknown.
    """
    if key in known:
        return
    if key in _OPTIONS:
        option = key.replace("_", "-")
        raise ValueError(f"Unknown --set key {key!r}: use the option --{option}.")
    meant = _OTHER_NAMES.get(key.lower(), key)
    # "temperature" means "mask.temperature" where no other part has one.
    meant = next((name for name in dotted if name.endswith(f".{key}")), meant)
    if meant != key and (meant in known or "." in meant):
        raise ValueError(f"Unknown --set key {key!r}. Did you mean {meant!r}?")
    choice(key, known, "--set key", "those that `mvae-tf list settings` shows")


def like_argument(key: str, value: Any, default: Any) -> Any:
    """Return a value of the kind of the default, or one that names a part.

    Args:
        key: str, key of the setting, for the error.
        value: any object, the value that was given.
        default: any object, the value that it replaces.

    Raises:
        ValueError: the value is of another kind.
    """
    if key in _NUMBER_OR_PART and isinstance(value, str | dict):
        return value
    return like_default(key, value, default)


def _constant(text: str) -> Any:
    """Return the constant that a text stands for, or else the text itself."""
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
    """Refuse integers that TensorFlow cannot hold, also in lists and objects."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_size(key, item)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"Expected {key} at most 2^31 - 1, got {value}.")
