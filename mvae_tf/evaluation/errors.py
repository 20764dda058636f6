"""Squared errors of reconstructed images."""

import math

import numpy as np

from mvae_tf.evaluation.task import Task
from mvae_tf.models.mvae import MVAE

__all__ = ["reconstruction"]


def reconstruction(task: Task) -> dict[str, float]:
    """Measure the squared errors of reconstructions of all images."""
    results = task.mean_over_images(_squared_errors, "errors")
    pixels = math.prod(task.model.input_shape)
    return results | {
        "rmse": math.sqrt(results["sse_sampled"]),
        "rmse_per_pixel": math.sqrt(results["sse"] / pixels),
    }


def _squared_errors(model, x, y, seed):
    def error(images):
        squared = np.square(np.asarray(images) - x).reshape(len(x), -1)
        return squared.sum(axis=1, dtype=np.float64)

    values = {
        "sse": error(model.reconstruct(x, y)),
        "sse_sampled": error(model.reconstruct(x, y, seed=seed)),
    }
    if isinstance(model, MVAE) and model.dropout_rate() is not None:
        drawn = model.reconstruct(x, y, seed=seed, masked=False)
        values["sse_unmasked"] = error(drawn)
    return values
