"""Labels from latents: how well simple classifiers read them (MVAE Tables IV, V)."""

import math
import warnings

import numpy as np

from mvae_tf.data import leading
from mvae_tf.evaluation.task import integer_labels, latent_means

__all__ = ["accuracies", "classification", "lacks_labels"]

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
    """Accuracy of classifiers trained on the latents of training images.

    The features are posterior means as they are, not standardised.
    """
    model = task.model
    train_x, train_y = leading(task.train, task.num_train)
    if train_y is None:
        raise ValueError("Expected train with labels for classification, got none.")
    train_y = integer_labels(train_y)
    _check_labels(train_y)
    images, means, labels = [], [], []
    own = hasattr(model, "classification_error")
    for x, y in task.batches("codes"):
        means.append(latent_means(model, x))
        labels.append(integer_labels(y))
        if own:
            images.append(x)
    labels = np.concatenate(labels)
    train_means, test_means = latent_means(model, train_x), np.concatenate(means)
    results = _of_components(train_means, train_y, test_means, labels, task.seed)
    if own:
        results["classification_error"] = model.classification_error(
            train_x, train_y, np.concatenate(images), labels
        )
    return results | {"classification_images": len(train_x)}


def _check_labels(labels):
    num_classes = len(np.unique(labels))
    if num_classes < 2 or len(labels) < _NEIGHBOURS:
        raise ValueError(
            f"Expected at least {_NEIGHBOURS} training images, of 2 classes or more, "
            f"to classify, got {len(labels)} of {num_classes}."
        )


def _of_components(train_means, train_labels, test_means, labels, seed):
    """Accuracies on means `[B, K, Z]`: of all components, and of each of several."""

    def score(train, test):
        train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
        return accuracies(train, train_labels, test, labels, seed)

    results = score(train_means, test_means)
    num_components = train_means.shape[1]
    for i in range(num_components if num_components > 1 else 0):
        own = score(train_means[:, i], test_means[:, i])
        results |= {f"{key}_component_{i}": value for key, value in own.items()}
    return results


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
