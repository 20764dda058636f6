"""Labels from latents: how well simple classifiers read them (MVAE Tables IV, V)."""

import math
import warnings

import numpy as np

from mvae_tf.data import leading
from mvae_tf.evaluation.task import integer_labels, latent_means

__all__ = [
    "accuracies",
    "classification",
    "component_classification",
    "lacks_labels",
]

_IMAGES_SEEN = 10 * 60_000
_NEIGHBOURS = 5


def lacks_labels(task):
    """Why latents cannot be classified, or None."""
    if task.model.conditional:
        return "Expected a model whose encoder sees no labels to classify latents of."
    if task.train is None:
        return "Expected train, images and labels to learn classification from."
    if task.leading[1] is None:
        return "Expected a data set with labels for classification, got none."
    return None


def classification(task):
    """Accuracy of classifiers trained on the latents of all components together.

    The features are posterior means as they are, not standardised.
    """
    (train_x, train, train_y), (x, test, y) = _latents(task)
    results = accuracies(_joined(train), train_y, _joined(test), y, task.seed)
    if hasattr(task.model, "classification_error"):
        error = task.model.classification_error(train_x, train_y, x, y)
        results["classification_error"] = error
    return results | {"classification_images": len(train_x)}


def component_classification(task):
    """As `classification`, of each component alone; nothing where there is but one."""
    results = {}
    if task.model.num_components == 1 or task.model.has_categories:
        return results
    (_, train, train_y), (_, test, y) = _latents(task)
    for i in range(train.shape[1]):
        own = accuracies(train[:, i], train_y, test[:, i], y, task.seed)
        results |= {f"{key}_component_{i}": value for key, value in own.items()}
    return results


def _latents(task):
    """Images, posterior means `[B, K, Z]` and labels, for training and for the test."""
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


def accuracies(train, train_labels, test, test_labels, seed=0):
    """Percent of test labels that three classifiers of features get right.

    - "accuracy_mlp": one hidden layer of 100 ReLU and a softmax, Adam, batches of 128,
      10 epochs of 60,000 images as in the authors' code, or as many steps on fewer if
      the loss falls for so long; without their dropout of 0.5, and on the tenth of the
      images, too, that they hold out;
    - "accuracy_svm": a linear support vector machine, C = 1, one against the rest;
    - "accuracy_knn": 5 nearest neighbours.

    Args:
        train: features `[B, F]`.
        train_labels: `[B]` integers.
        test: features of other images.
        test_labels: their labels.
        seed: int that decides the start of the classifiers.

    Returns:
        dict of the three.
    """
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
            # The numbers of steps are settings, whether or not they suffice.
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(train, train_labels)
        results[name] = 100.0 * float(classifier.score(test, test_labels))
    return results
