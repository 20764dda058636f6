"""Evidence lower bound, estimated likelihood, and the audit of both."""

import math
from typing import Any

import numpy as np

from mvae_tf.evaluation.audit import audit as audit_model
from mvae_tf.evaluation.task import Task, mean

__all__ = ["audit", "elbo", "lacks_bound", "likelihood"]

_ROWS = 64
_AUDITED = 100


def lacks_bound(task: Task) -> str | None:
    """Return why the model has no bound to measure, or None if it has one."""
    return task.model.lacks_bound()


def elbo(task: Task) -> dict[str, float]:
    """Measure the bound and its two parts, and `elbo_relaxed`, on all images."""
    return task.mean_over_images(_bound, "bound")


def _bound(model, x, y, seed):
    terms = model.elbo_terms(x, y, seed=seed)
    relaxed = {"elbo_relaxed": model.elbo_relaxed(x, seed)} if model.relaxed else {}
    return relaxed | {
        "elbo": -(terms["reconstruction"] + terms["kl"]),
        "elbo_reconstruction": terms["reconstruction"],
        "elbo_kl": terms["kl"],
    }


def likelihood(task: Task) -> dict[str, Any]:
    """Estimate log p(x) of the leading images by importance sampling."""
    model, (x, y) = task.model, task.leading
    starts = range(0, len(x), _ROWS)
    bar = task.bar("likelihood", len(starts))
    parts = []
    for start in starts:
        rows = slice(start, start + _ROWS)
        labels = None if y is None else y[rows]
        parts.append(
            model.importance_sampling(x[rows], task.num_samples, labels, task.seed)
        )
        bar.add(1)
    log_likelihood, sample_size = (
        mean(np.concatenate(values)) for values in zip(*parts, strict=True)
    )
    results = {
        "log_likelihood": log_likelihood,
        "log_likelihood_ess": sample_size,
        "log_likelihood_images": len(x),
        "log_likelihood_samples": task.num_samples,
    }
    if model.likelihood.is_mass(x):
        nats_a_bit = math.log(2.0) * math.prod(model.input_shape)
        results["bits_per_dim"] = -log_likelihood / nats_a_bit
    return results


def audit(task: Task) -> dict[str, Any]:
    """Audit the model on the leading images, at most 100."""
    x, y = task.leading
    labels = None if y is None else y[:_AUDITED]
    # One draw has no standard error.
    draws = max(2, task.num_samples)
    checks = audit_model(task.model, x[:_AUDITED], labels, draws, task.seed)
    return {"audit": {check.name: check.to_dict() for check in checks}}
