"""Classification of latents: how well they tell the labels (MVAE Tables IV, V)."""

import math
import warnings

import numpy as np

from mvae_tf.data import leading
from mvae_tf.evaluation.task import Task, integer_labels, latent_means
from mvae_tf.models.cgm import CGM

__all__ = [
    "accuracies",
    "classification",
    "component_classification",
    "lacks_labels",
]

_IMAGES_SEEN = 10 * 60_000
_NEIGHBOURS = 5


def lacks_labels(task: Task) -> str | None:
    """Return why latents cannot be classified, or None if they can."""
    if task.model.conditional:
        return "Expected a model whose encoder gets no labels, got a conditional one."
    if task.train is None:
        return "Expected train, images with labels, for classification, got none."
    if task.leading[1] is None:
        return "Expected a data set with labels for classification, got none."
    return None


def classification(task: Task) -> dict[str, float]:
    """Measure classifiers that are trained on the latents of all components together.

    The features are the posterior means, without standardisation.
    """
    (train_x, train, train_y), (x, test, y) = _latents(task)
    results = accuracies(_joined(train), train_y, _joined(test), y, task.seed)
    if isinstance(task.model, CGM):
        error = task.model.classification_error(train_x, train_y, x, y)
        results["classification_error"] = error
    return results | {"classification_images": len(train_x)}


def component_classification(task: Task) -> dict[str, float]:
    """Measure classifiers of each component alone, if there are several components."""
    results: dict[str, float] = {}
    if task.model.num_components == 1 or task.model.has_categories:
        return results
    (_, train, train_y), (_, test, y) = _latents(task)
    for i in range(train.shape[1]):
        own = accuracies(train[:, i], train_y, test[:, i], y, task.seed)
        results |= {f"{key}_component_{i}": value for key, value in own.items()}
    return results


def _latents(task):
    """Return images, posterior means `[B, K, Z]` and labels, of training and test."""
    x, y = leading(task.train, task.num_train)
    if y is None:
        raise ValueError("Expected train with labels for classification, got none.")
    y = integer_labels(y)
    _check_labels(y)
    batches = [
        (images, latent_means(task.model, images), integer_labels(labels))
        for images, labels in task.batches("codes")
    ]
    test = tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    return (x, latent_means(task.model, x), y), test


def _joined(means):
    return means.reshape(len(means), -1)


def _check_labels(labels):
    num_classes = len(np.unique(labels))
    if num_classes < 2 or len(labels) < _NEIGHBOURS:
        raise ValueError(
            f"Expected at least {_NEIGHBOURS} training images, of 2 classes or more, "
            f"to classify, got {len(labels)} of {num_classes}."
        )


def accuracies(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    seed: int = 0,
) -> dict[str, float]:
    """Measure how many test labels three classifiers of features predict correctly.

    - "accuracy_mlp": one hidden layer of 100 ReLU and a softmax, trained by Adam in
      batches of 128, for as many steps as the 10 epochs of 60,000 images in the
      authors' code, or until the loss stops falling. Unlike theirs it has no dropout,
      and it is also trained on the tenth of the images that they hold out;
    - "accuracy_svm": a linear support vector machine, C = 1, one class against the
      others;
    - "accuracy_knn": 5 nearest neighbours.

    Args:
        train: `[B, F]` features.
        train_labels: `[B]` integers.
        test: `[N, F]` features of other images.
        test_labels: `[N]` integers.
        seed: int that decides the initial weights of the classifiers.

    Returns:
        Dict from these names to percentages of correct labels.

    Raises:
        ValueError: features are not finite, because the model has diverged.
    """
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        raise ValueError(
            "Expected finite latents to classify, got NaN or inf: the model diverged."
        )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    classifiers = {
        "accuracy_mlp": MLPClassifier(
            100,
            batch_size=min(128, len(train)),
            max_iter=math.ceil(_IMAGES_SEEN / len(train)),
            random_state=seed,
        ),
        "accuracy_svm": LinearSVC(C=1.0, dual=False, random_state=seed),
        "accuracy_knn": KNeighborsClassifier(_NEIGHBOURS),
    }
    results = {}
    for name, classifier in classifiers.items():
        with warnings.catch_warnings():
            # The number of steps is fixed, also where a fit has not converged.
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(train, train_labels)
        results[name] = 100.0 * float(classifier.score(test, test_labels))
    return results
