"""Starting a run from the weights of another one (`--init-from`)."""

from pathlib import Path
from typing import Any

from mvae_tf.models.base import BaseVAE
from mvae_tf.runs.checkpoints import load

__all__ = ["start_from"]


def start_from(model: BaseVAE, source: str | Path) -> None:
    """Copy the weights of a trained model into a new one.

    The number of steps and the weights of a warm-up are not copied: they start anew.

    Args:
        model: `BaseVAE`, the new model.
        source: path of the folder of a finished run, or a `.keras` file.

    Raises:
        FileNotFoundError: there is no trained model in `source`.
        ValueError: the weights do not fit the new model; the error names the arguments
            in which the two models differ.
    """
    trained: Any = load(source)
    old, new = _weights(trained), _weights(model)
    same = type(trained) is type(model) and [v.shape for v in old] == [
        v.shape for v in new
    ]
    if not same:
        raise ValueError(
            f"Expected a model that the weights of {source} fit, got one that differs "
            f"in {_differences(trained, model)}."
        )
    for variable, value in zip(new, old, strict=True):
        variable.assign(value)


def _weights(model: BaseVAE) -> list[Any]:
    """List the variables that training changes: weights and statistics of layers."""
    statistics = [v for layer in model.layers for v in layer.non_trainable_variables]
    return [*model.trainable_variables, *statistics]


def _differences(old: BaseVAE, new: BaseVAE) -> str:
    """Name the arguments in which two models differ."""
    names = old.registry_name, new.registry_name
    if names[0] != names[1]:
        return f"the model ({names[1]} instead of {names[0]})"
    theirs, ours = old.get_config(), new.get_config()
    free = ("name", "seed", "trainable", "dtype")
    return ", ".join(
        f"{key} ({ours.get(key)} instead of {value})"
        for key, value in theirs.items()
        if key not in free and ours.get(key) != value
    )
