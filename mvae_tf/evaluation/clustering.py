"""How a model uses its categories, and how these agree with labels."""

import numpy as np

from mvae_tf.evaluation.task import Task
from mvae_tf.models.category_inspection import CategoryTable

__all__ = ["categories", "clustering", "lacks_categories", "lacks_labelled_categories"]

_TOP = 5


def lacks_categories(task: Task) -> str | None:
    """Return why there are no categories to measure, or None if there are."""
    if task.model.has_categories:
        return None
    return f"Expected a model with categories, got {type(task.model).__name__}."


def lacks_labelled_categories(task: Task) -> str | None:
    """Return why categories cannot be compared with labels, or None if they can."""
    lacking = lacks_categories(task)
    if lacking is None and task.leading[1] is None:
        lacking = "Expected a data set with labels for clustering, got none."
    return lacking


def categories(task: Task) -> dict[str, float]:
    """Measure the use of categories on all images."""
    return usage(task.category_probabilities[0])


def usage(probabilities: np.ndarray) -> dict[str, float]:
    """Measure the use of categories, from the probabilities q(c | x) `[B, K]`.

    The information is I(c; x) = H(q(c)) - E[H(q(c | x))] for the empirical distribution
    of the images (CP-VAE Eq 17).
    """
    probabilities = probabilities.astype(np.float64)
    aggregate = probabilities.mean(axis=0)
    entropy = _entropy(aggregate)
    return {
        "category_information": float(entropy - _entropy(probabilities).mean()),
        "category_entropy": float(entropy),
        "categories_used": float(np.mean(aggregate > 1.0 / len(aggregate))),
    }


def _entropy(probabilities):
    """Compute the entropy over the last axis in nats, in which 0 log 0 is 0."""
    return -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=-1)


def clustering(task: Task) -> dict[str, float]:
    """Measure how categories and labels agree on all images."""
    return agreement(*task.category_probabilities)


def agreement(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure how probabilities of categories `[B, K]` agree with labels `[B]`."""
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    num_categories = probabilities.shape[1]
    found = probabilities.argmax(axis=1)
    counts = metrics.cluster.contingency_matrix(labels, found)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    table = CategoryTable.of(probabilities, labels, min(_TOP, num_categories))
    return {
        "cluster_accuracy": 100.0 * float(matched) / len(labels),
        "cluster_purity": 100.0 * float(counts.max(axis=0).sum()) / len(labels),
        "cluster_nmi": float(metrics.normalized_mutual_info_score(labels, found)),
        "cluster_ari": float(metrics.adjusted_rand_score(labels, found)),
        "top_categories_distinct": table.distinct,
        "top_categories_shared": len(table.reused),
    }
