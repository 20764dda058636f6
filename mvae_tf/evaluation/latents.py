"""Which components and latents a model uses, and how the components depend."""

import math
from typing import Any

import numpy as np

from mvae_tf.evaluation.task import Task, latent_means
from mvae_tf.models.mvae import MVAE
from mvae_tf.parts.masks import GaussianMask

__all__ = ["components", "lacks_components", "latents"]

_ACTIVE_VARIANCE = 0.01


def lacks_components(task: Task) -> str | None:
    """Return why a model has no components to measure, or None if it has some."""
    if task.model.has_components:
        return None
    return (
        "Expected an MVAE or M-VAE of 2 or more components for the group components, "
        f"got {type(task.model).__name__} with {task.model.num_components}."
    )


def components(task: Task) -> dict[str, Any]:
    """Measure use and dependence of a mixture's components on the leading images."""
    model, (x, y) = task.model, task.leading
    selected = model.selected_components(x, y=y)
    usage = np.mean(model.encode(x, y)["weights"], axis=0)
    values: dict[str, Any] = {
        "selected_components": selected.mean,
        "selected_components_expected": selected.closed_form,
        "component_usage": usage.tolist(),
    }
    if len(x) > 1:
        dependence = model.dependence_matrix(x, y, seed=task.seed)
        values["dhsic"] = dependence.numpy().tolist()
    rate = model.dropout_rate() if isinstance(model, MVAE) else None
    if rate is not None:
        values["dropout_rate"] = rate
        kept = selected.mean / model.num_components
        values["selected_components_of_four"] = kept * min(4, model.num_components)
        if isinstance(model.mask, GaussianMask):
            # The dropout rate is p = v^2 / (1 + v^2) for the standard deviation v.
            values["mask_stddev"] = (
                math.sqrt(rate / (1 - rate)) if rate < 1 else math.inf
            )
    return values


def latents(task: Task) -> dict[str, Any]:
    """Count the active units on the leading images.

    These are the latent dimensions whose posterior mean has a variance over images
    above 0.01 (Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders",
    ICLR 2016).
    """
    means = latent_means(task.model, *task.leading)
    active = np.var(means, axis=0, dtype=np.float64) > _ACTIVE_VARIANCE
    values = {"active_units": int(active.sum())}
    if len(active) > 1:
        values["active_units_components"] = active.sum(axis=1).tolist()
    return values
