"""The groups of metrics, and `evaluate`, which measures the ones asked for."""

from collections.abc import Callable
from typing import NamedTuple

from mvae_tf.evaluation import (
    bounds,
    classification,
    clustering,
    errors,
    latents,
    scores,
)
from mvae_tf.evaluation.task import Task
from mvae_tf.parts.part import choice

__all__ = ["GROUPS", "evaluate"]


class Group(NamedTuple):
    """A group of metrics.

    Attributes:
        measure: function from a `Task` to a dict of results.
        lacks: function from a `Task` to a line that says why it cannot be measured, or
            None.
        by_default: whether it is measured where none is asked for.
    """

    measure: Callable
    lacks: Callable = lambda task: None
    by_default: bool = True


_GROUPS = {
    "reconstruction": Group(errors.reconstruction),
    "elbo": Group(bounds.elbo, bounds.lacks_bound),
    "likelihood": Group(bounds.likelihood),
    "components": Group(latents.components),
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
    model,
    dataset,
    metrics=None,
    num_samples=100,
    num_images=1000,
    seed=0,
    verbose=0,
    train=None,
    classifier=None,
    num_train=20_000,
):
    """Metrics of a model on a data set.

    Args:
        model: a model of this library.
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`, in the same order
            whenever it is read.
        metrics: names among `GROUPS`; None for all that model and data have, but for
            "classification", "component_classification" and "scores", which take long.
        num_samples: importance samples an image.
        num_images: number of leading images that the likelihood, the components and
            the latents are measured on, and the first 100 of them the audit; all else
            is measured on every image.
        seed: int that decides all noise.
        verbose: 1 shows progress bars.
        train: such batches with labels, for "classification".
        classifier: `mvae_tf.evaluation.Classifier`, for "scores".
        num_train: number of leading images of `train` to learn from.

    Returns:
        dict from the names in `UNITS` to numbers or nested lists of numbers; to a text
        for "classifier", and to a dict for "audit".

    Raises:
        ValueError: on an unknown name, on a data set without an image, on too few
            images, and where a group is asked for that model or data do not have.
    """
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
    results = {}
    for name in metrics:
        results |= _GROUPS[name].measure(task)
    return results
