"""The groups of metrics, and `evaluate`, which measures some of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mvae_tf.evaluation import (
    bounds,
    classification,
    clustering,
    errors,
    latents,
    scores,
)
from mvae_tf.evaluation.classifiers import Classifier
from mvae_tf.evaluation.task import Task
from mvae_tf.models.hooks import check_model
from mvae_tf.parts.part import check_count, choice

__all__ = ["GROUPS", "evaluate"]


class Group(NamedTuple):
    """A group of metrics.

    Attributes:
        measure: function from a `Task` to a dict of results.
        lacks: function from a `Task` to a line that says why the group cannot be
            measured, or to None if it can.
        by_default: bool, whether the group is measured if the user names no groups.
    """

    measure: Callable[[Task], dict[str, Any]]
    lacks: Callable[[Task], str | None] = lambda task: None
    by_default: bool = True


_GROUPS = {
    "reconstruction": Group(errors.reconstruction),
    "elbo": Group(bounds.elbo, bounds.lacks_bound),
    "likelihood": Group(bounds.likelihood),
    "components": Group(latents.components, latents.lacks_components),
    "latents": Group(latents.latents),
    "categories": Group(clustering.categories, clustering.lacks_categories),
    "clustering": Group(clustering.clustering, clustering.lacks_labelled_categories),
    "classification": Group(
        classification.classification, classification.lacks_labels, by_default=False
    ),
    "component_classification": Group(
        classification.component_classification,
        classification.lacks_labels,
        by_default=False,
    ),
    "scores": Group(scores.scores, scores.lacks_classifier, by_default=False),
    "audit": Group(bounds.audit, bounds.lacks_bound),
}
GROUPS = tuple(_GROUPS)


def evaluate(
    model: keras.Model,
    dataset: tf.data.Dataset,
    metrics: Sequence[str] | None = None,
    num_samples: int = 100,
    num_images: int = 1000,
    seed: int = 0,
    verbose: int = 0,
    train: tf.data.Dataset | None = None,
    classifier: Classifier | None = None,
    num_train: int = 20_000,
) -> dict[str, Any]:
    """Measure a model on a data set.

    Args:
        model: model of this library.
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`, in the same order
            whenever it is read.
        metrics: list of str, names among `GROUPS`; None for all that the model and the
            data have, except for "classification", "component_classification" and
            "scores", which take long.
        num_samples: int, number of importance samples per image.
        num_images: int, number of leading images on which the likelihood, the
            components and the latents are measured; the audit takes the first 100 of
            them. All other groups are measured on every image.
        seed: int that decides all noise.
        verbose: int, 1 shows progress bars, 0 does not.
        train: batches `(x, y)` of other images and their labels, for "classification".
        classifier: `mvae_tf.evaluation.Classifier`, for "scores".
        num_train: int, number of leading images of `train` that classifiers are trained
            on.

    Returns:
        Dict from the names in `UNITS` to numbers or nested lists of numbers, for
        "classifier" to a text, and for "audit" to a dict.

    Raises:
        ValueError: a name is unknown, a number is less than 1, the data set has no or
            too few images, or the model or the data do not have one of the groups.
    """
    check_model(model)
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            "Expected a tf.data.Dataset of batches to evaluate on, got "
            f"{type(dataset).__name__}."
        )
    if isinstance(metrics, str):
        raise ValueError(f"Expected metrics as a list of names, got {metrics!r}.")
    if classifier is not None and not isinstance(classifier, Classifier):
        raise ValueError(f"Expected a Classifier, got {classifier!r}.")
    numbers = {"num_samples": num_samples, "num_images": num_images}
    for name, number in (numbers | {"num_train": num_train}).items():
        check_count(name, number)
    task = Task(
        model=model,
        dataset=dataset,
        train=train,
        classifier=classifier,
        num_samples=num_samples,
        num_images=num_images,
        num_train=num_train,
        seed=seed,
        verbose=verbose,
    )
    if metrics is None:
        metrics = [
            name
            for name, group in _GROUPS.items()
            if group.by_default and not group.lacks(task)
        ]
    for name in metrics:
        lacking = _GROUPS[choice(name, GROUPS, "group of metrics")].lacks(task)
        if lacking:
            raise ValueError(lacking)
    results: dict[str, Any] = {}
    for name in metrics:
        results |= _GROUPS[name].measure(task)
    return results
