"""How the categories that a model finds agree with labels that it does not see."""

import numpy as np

from mvae_tf.evaluation.task import integer_labels
from mvae_tf.models.categorical import CategoryTable

__all__ = ["clustering", "lacks_categories"]

_TOP = 5


def lacks_categories(task):
    """Why there is nothing to cluster by or to compare with, or None."""
    model = task.model
    if not model.has_categories:
        return f"Expected a model with categories, got {type(model).__name__}."
    if task.leading[1] is None:
        return "Expected a data set with labels for clustering, got none."
    return None


def clustering(task):
    """Agreement of categories and labels, over all images."""
    probabilities, labels = [], []
    for x, y in task.batches("categories"):
        # A supervised model would return the labels that it is given.
        probabilities.append(task.model.encode(x)["weights"].numpy())
        labels.append(integer_labels(y))
    return agreement(np.concatenate(probabilities), np.concatenate(labels))


def agreement(probabilities, labels):
    """Numbers about categories of the probabilities `[B, K]` and labels `[B]`."""
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    num_categories = probabilities.shape[1]
    found = probabilities.argmax(axis=1)
    counts = metrics.cluster.contingency_matrix(labels, found)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    aggregate = probabilities.mean(axis=0, dtype=np.float64)
    table = CategoryTable.of(probabilities, labels, min(_TOP, num_categories))
    return {
        "cluster_accuracy": 100.0 * float(matched) / len(labels),
        "cluster_purity": 100.0 * float(counts.max(axis=0).sum()) / len(labels),
        "cluster_nmi": float(metrics.normalized_mutual_info_score(labels, found)),
        "cluster_ari": float(metrics.adjusted_rand_score(labels, found)),
        "categories_used": float(np.mean(aggregate > 1.0 / num_categories)),
        "top_categories_distinct": table.distinct,
        "top_categories_shared": len(table.reused),
    }
