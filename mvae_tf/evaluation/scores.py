"""Inception score and Frechet distance, computed with any classifier of images."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvae_tf.evaluation.task import Task

__all__ = ["frechet_distance", "inception_score", "lacks_classifier", "scores"]

_SPLITS = 10


def inception_score(
    probabilities: ArrayLike, num_splits: int = _SPLITS
) -> tuple[float, float]:
    """Compute the inception score exp E KL(p(label | x) || p(label)), MVAE Eq 37.

    Salimans et al., "Improved Techniques for Training GANs" (NeurIPS 2016). The images
    are split into parts in their order, and p(label) is the mean over a part. The score
    of few images is biased downwards.

    Args:
        probabilities: `[B, L]`, p(label | x) of a classifier, whose rows sum to 1.
        num_splits: int, number of parts.

    Returns:
        `(mean, stddev)` of the scores of the parts; the mean is in 1..L.

    Raises:
        ValueError: a part would have fewer than 2 images.
    """
    from scipy.special import rel_entr

    probabilities = np.asarray(probabilities, np.float64)
    if len(probabilities) < 2 * num_splits:
        raise ValueError(
            f"Expected at least {2 * num_splits} images for an inception score of "
            f"{num_splits} splits, got {len(probabilities)}."
        )
    values = []
    for part in np.array_split(probabilities, num_splits):
        divergence = rel_entr(part, part.mean(axis=0)).sum(axis=1)
        values.append(math.exp(divergence.mean()))
    return float(np.mean(values)), float(np.std(values))


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Compute the squared Frechet distance between Gaussians fitted to two sets.

    It is |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) with means m and covariances
    C (Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium", NeurIPS 2017). With C = R^T R, the trace of the root is the sum
    of the singular values of R_a R_b^T. This needs no inverse and no root of a matrix,
    so that covariances may be singular, as they are for fewer images than features.

    Args:
        features_a: `[A, F]`.
        features_b: `[B, F]`.

    Returns:
        The distance, 0 or more. The estimate from few images is biased upwards. It is
        NaN if a feature is not finite, as for images of a diverged model.

    Raises:
        ValueError: a set has fewer than 2 images, or the features have two sizes.
    """
    a, b = (np.asarray(values, np.float64) for values in (features_a, features_b))
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(
            "Expected features of at least 2 images each, of one size, got "
            f"{list(a.shape)} and {list(b.shape)}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    (mean_a, root_a), (mean_b, root_b) = _moments(a), _moments(b)
    squared = np.sum((mean_a - mean_b) ** 2) + np.sum(root_a**2) + np.sum(root_b**2)
    common = np.linalg.norm(root_a @ root_b.T, "nuc")
    return max(0.0, float(squared - 2.0 * common))


def _moments(features):
    """Return the mean `[F]` of features and a matrix R with R^T R = covariance."""
    mean = features.mean(axis=0)
    root = np.linalg.qr(features - mean, mode="r") / math.sqrt(len(features) - 1)
    return mean, root


def lacks_classifier(task: Task) -> str | None:
    """Return why scores cannot be computed, or None if they can."""
    if task.classifier is None:
        return "Expected a classifier for scores (evaluation.inception), got none."
    return task.classifier.misfit(task.model.input_shape)


def scores(task: Task) -> dict[str, Any]:
    """Compute the scores of reconstructions, of samples and of the images."""
    model, classify = task.model, task.classifier.probabilities_and_features
    of_data, of_reconstructions = [], []
    for x, y in task.batches("scores"):
        of_data.append(classify(x))
        of_reconstructions.append(classify(model.reconstruct(x, y, seed=task.seed)))
    data, features_of_data = _joined(of_data)
    reconstructions, features = _joined(of_reconstructions)
    score, stddev = inception_score(reconstructions)
    drawn = model.generate(len(data), seed=task.seed)
    samples, features_of_samples = classify(drawn)
    return {
        "classifier": task.classifier.name,
        "inception_score": score,
        "inception_score_stddev": stddev,
        "inception_score_samples": inception_score(samples)[0],
        "inception_score_data": inception_score(data)[0],
        "frechet_distance": frechet_distance(features, features_of_data),
        "frechet_distance_samples": frechet_distance(
            features_of_samples, features_of_data
        ),
    }


def _joined(parts):
    return [np.concatenate(values) for values in zip(*parts, strict=True)]
