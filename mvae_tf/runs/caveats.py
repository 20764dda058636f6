"""Reasons not to trust a number of a run, or not to compare it with a paper's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mvae_tf import presets
from mvae_tf.config import RunConfig
from mvae_tf.evaluation.audit import suspects

__all__ = ["divergence", "of_comparison", "of_numbers"]

# The error of a model that guesses all 256 values of a pixel is 5.5 nats per value.
_DIVERGED_NATS = 1e6
_FEW_DRAWS = 10
# Numbers that are finite for every model that is one.
_ALWAYS_FINITE = ("sse", "elbo", "log_likelihood")
# Settings that change how fast a run is, or where its files are, and no number.
_FREE = ("checkpoint_every", "steps_per_execution", "jit_compile", "data_dir")
_TRAINING_IMAGES = {
    "mnist": 60_000,
    "fashion_mnist": 60_000,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "celeb_a": 162_770,
    "imagenet64": 1_281_149,
}


def divergence(
    history: Sequence[Mapping[str, float]],
    results: Mapping[str, Any] | None = None,
    num_values: int = 1,
) -> str:
    """Says how a run diverged.

    Args:
        history: Rows of `history.csv`.
        results: Numbers of `metrics.json`, with None for what is not finite.
        num_values: Number of pixel values of an image.

    Returns:
        A phrase, such as "the loss of epoch 3 is nan"; empty if it did not diverge. A
        run has diverged if the loss of its last epoch is not finite or exceeds a
        million nats for each pixel value, or if a basic test number is not finite.
    """
    for name in ("loss", "val_loss"):
        value = history[-1].get(name, 0.0) if history else 0.0
        if not abs(value) <= _DIVERGED_NATS * num_values:
            epoch = history[-1].get("epoch", len(history))
            return f"the {name} of epoch {epoch:g} is {value:.3g}"
    for name in _ALWAYS_FINITE:
        if results and name in results and results[name] is None:
            return f"the test number {name} is not finite"
    return ""


def of_numbers(results: Mapping[str, Any], diverged: str = "") -> dict[str, str]:
    """Finds the test numbers that are not to be trusted.

    Args:
        results: Numbers of `metrics.json`, the audit included.
        diverged: What `divergence` returned.

    Returns:
        Dict from the name of a number to the reason, in a few words.
    """
    if diverged:
        return {name: "the run diverged" for name in results if name != "audit"}
    reasons = {name: "fails the audit" for name in suspects(results)}
    draws = results.get("log_likelihood_ess")
    if draws is not None and draws < _FEW_DRAWS:
        reason = f"effective sample size of {draws:.2g}: likely too low"
        for name in ("log_likelihood", "log_likelihood_ess"):
            reasons.setdefault(name, reason)
        reasons.setdefault("bits_per_dim", reason.replace("too low", "too high"))
    return reasons


def of_comparison(config: RunConfig, num_train: int | None = None) -> list[str]:
    """Lists how a run differs from its preset, which the paper's numbers belong to.

    Args:
        config: Configuration of the run.
        num_train: Number of its training images, if known.

    Returns:
        Texts such as "2 epochs in place of 100"; empty without a preset of this
        version, and where nothing differs that numbers depend on.
    """
    if config.preset not in presets.names():
        return []
    preset = presets.get(config.preset)
    planned, actual = preset.config().to_dict(), config.to_dict()
    epochs, expected = config.training.epochs, preset.training.epochs
    found = []
    if epochs != expected:
        found.append(f"{epochs} epochs in place of {expected}")
    if not _is_dataset(actual["data"]["source"], preset.dataset):
        source = actual["data"]["source"].rpartition("/")[2]
        found.append(f"data {source} in place of {preset.dataset}")
    elif num_train is not None and preset.dataset in _TRAINING_IMAGES:
        images = _TRAINING_IMAGES[preset.dataset]
        images -= planned["data"].get("validation_size") or 0
        if num_train < images:
            found.append(f"{num_train:,} training images in place of {images:,}")
    limit = actual["data"].get("limit")
    if limit != planned["data"].get("limit"):
        found.append(f"the first {limit:,} images" if limit else "all images")
    for group in ("arguments", "data", "training"):
        for key, value in planned[group].items():
            if key in (*_FREE, "epochs", "source", "limit"):
                continue
            if key in actual[group] and not _agrees(value, actual[group][key]):
                found.append(f"{key} {actual[group][key]} in place of {value}")
    return found


def _is_dataset(source, dataset):
    kind, _, path = source.partition(":")
    return dataset in (kind, Path(path).stem)


def _agrees(planned, actual):
    """Whether a complete setting is that of a preset, which may abbreviate."""
    if isinstance(actual, Mapping) and isinstance(planned, str):
        return actual.get("name") == planned
    if isinstance(actual, Mapping) and isinstance(planned, Mapping):
        return all(
            key in actual and _agrees(value, actual[key])
            for key, value in planned.items()
        )
    if isinstance(planned, list | tuple) and isinstance(actual, list | tuple):
        return len(planned) == len(actual) and all(map(_agrees, planned, actual))
    if isinstance(planned, float) and isinstance(actual, int | float):
        return math.isclose(planned, actual)
    return planned == actual
