"""What a group of metrics has at hand: the model, the data and the settings."""

import dataclasses
import functools
import operator
from typing import Any

import keras
import numpy as np

from mvae_tf.data import leading

__all__ = ["Task", "integer_labels", "latent_means"]

_ROWS = 512


@dataclasses.dataclass
class Task:
    """A model to measure on a data set; see `evaluate` for the settings."""

    model: keras.Model
    dataset: Any
    train: Any = None
    classifier: Any = None
    num_samples: int = 100
    num_images: int = 1000
    num_train: int = 20_000
    seed: int = 0
    verbose: int = 0

    def batches(self, title):
        """NumPy batches `(x, y)` of all images, counted on a progress bar."""
        bar = self.bar(title, operator.length_hint(self.dataset) or None)
        found = False
        for batch in self.dataset:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            yield np.asarray(x), None if y is None else np.asarray(y)
            found = True
            bar.add(1)
        if not found:
            raise ValueError("Expected a data set of at least one image, got none.")

    @functools.cached_property
    def category_probabilities(self):
        """q(c | x) of all images, `[N, K]`, and their labels `[N]` or None."""
        probabilities, labels = [], []
        for x, y in self.batches("categories"):
            # A supervised model would return the labels that it is given.
            probabilities.append(self.model.encode(x)["weights"].numpy())
            labels.append(None if y is None else integer_labels(y))
        unlabelled = any(part is None for part in labels)
        return (
            np.concatenate(probabilities),
            None if unlabelled else np.concatenate(labels),
        )

    def bar(self, title, size):
        """Progress bar of `size` steps."""
        return keras.utils.Progbar(size, verbose=self.verbose, unit_name=title)

    @functools.cached_property
    def leading(self):
        """The first `num_images` images and their labels, `(x, y)`; y may be None."""
        return leading(self.dataset, self.num_images)

    def mean_over_images(self, function, title):
        """Means of what `function(model, x, y, seed)` gives for each image.

        Args:
            function: returns a dict of arrays `[B]`.
            title: of the progress bar.

        Returns:
            dict from the same names to floats.
        """
        values = {}
        for x, y in self.batches(title):
            for key, of_batch in function(self.model, x, y, self.seed).items():
                values.setdefault(key, []).append(np.asarray(of_batch))
        return {key: mean(np.concatenate(parts)) for key, parts in values.items()}


def mean(values):
    """Mean of an array as a float, summed in double precision."""
    return float(np.mean(values, dtype=np.float64))


def integer_labels(y):
    """Labels `[B]` as integers, from these or from one-hot rows."""
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def latent_means(model, x, y=None):
    """Means of q(z given x), `[B, K, Z]`.

    Components that are categories share one latent: it then has the axis to itself,
    `[B, 1, Z]`, and its mean is that over categories.
    """
    parts = []
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        posterior = model.encode(x[rows], None if y is None else y[rows])
        means = posterior["mean"].numpy()
        if model.has_categories:
            weights = posterior["weights"].numpy()
            means = np.einsum("bk,bkz->bz", weights, means)[:, np.newaxis]
        parts.append(means)
    return np.concatenate(parts)
