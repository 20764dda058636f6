"""The data and the model of a run, made from its configuration."""

import dataclasses
import importlib.metadata
import inspect
import math

import keras

from mvae_tf import data, models, optimizers
from mvae_tf.config import RunConfig
from mvae_tf.data import Splits
from mvae_tf.version import __version__

__all__ = ["complete", "create", "load_data", "versions"]


def load_data(config: RunConfig) -> Splits:
    """Load the data of a run.

    Args:
        config: `RunConfig`, configuration of the run.

    Returns:
        The three parts, in batches of the run's size and in the order of its seed.

    Raises:
        ValueError: an argument of the data is unknown or has an impossible value.
        OSError: a file is missing or damaged.
    """
    size = config.training.batch_size
    try:
        return data.load(**config.data, batch_size=size, seed=config.seed)
    except TypeError as error:
        # The arguments come from a file or the command line: a user's mistake.
        raise ValueError(str(error)) from error


def create(config: RunConfig, splits: Splits) -> keras.Model:
    """Make the compiled model of a run, with the variables of its optimiser.

    Args:
        config: `RunConfig`, configuration of the run.
        splits: `Splits`, its data, which the model must fit.

    Raises:
        ValueError: the arguments of the model are wrong, or do not fit the data.
    """
    arguments = {"input_shape": splits.input_shape} | config.arguments
    shape = arguments["input_shape"]
    if not isinstance(shape, list | tuple) or [*shape] != [*splits.input_shape]:
        raise ValueError(
            f"Expected images of {shape}, got {list(splits.input_shape)} from "
            f"{config.data['source']!r}."
        )
    try:
        model = models.create(config.model, seed=config.seed, **arguments)
    except TypeError as error:
        # The arguments come from a file or the command line: a user's mistake.
        raise ValueError(
            f"Expected arguments of types that {config.model} takes, got: {error}."
        ) from error
    if model.num_classes not in (None, splits.num_classes):
        found = splits.num_classes or "no labels"
        raise ValueError(
            f"Expected data of {model.num_classes} classes, got {found} from "
            f"{config.data['source']!r}."
        )
    low, high = model.likelihood.low, model.likelihood.high
    given = splits.value_range or (-math.inf, math.inf)
    if given[0] < low or given[1] > high:
        raise ValueError(
            f"Expected data.value_range within [{low}, {high}] for likelihood "
            f"{model.likelihood.name!r}, got {list(given)}."
        )
    training = config.training
    model.compile(
        optimizer=optimizers.from_settings(training),
        jit_compile=training.jit_compile,
    )
    if model.jit_compile != training.jit_compile:
        raise ValueError(
            "Expected a network that XLA can compile, and a process without op "
            "determinism (an earlier run switches it on), for training.jit_compile."
        )
    model.optimizer.build(model.trainable_variables)
    return model


def complete(config: RunConfig, model: keras.Model) -> RunConfig:
    """Return the configuration with every argument of the model and of the data.

    Args:
        config: `RunConfig`, configuration of the run.
        model: `keras.Model`, its model, as `create` makes it.
    """
    arguments = model.get_config() | {"dtype": model.dtype_policy.name}
    for key in ("name", "trainable", "seed"):
        del arguments[key]
    defaults = {
        key: list(item.default) if isinstance(item.default, tuple) else item.default
        for key, item in inspect.signature(data.load).parameters.items()
        if key not in ("batch_size", "seed")
    }
    return dataclasses.replace(
        config,
        arguments=arguments,
        data=defaults | config.data,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return the versions of the libraries that the numbers depend on, by name."""
    names = ("tensorflow", "keras", "tensorflow-probability", "numpy")
    return {"mvae_tf": __version__} | {
        name: importlib.metadata.version(name) for name in names
    }
