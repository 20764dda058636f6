"""The model, the data and the settings that a group of metrics measures with."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from mvae_tf.data import leading

__all__ = ["Task", "integer_labels", "latent_means"]

_ROWS = 512


@dataclasses.dataclass
class Task:
    """A model to measure, a data set and the settings of `evaluate`."""

    model: keras.Model
    dataset: Any
    train: Any = None
    classifier: Any = None
    num_samples: int = 100
    num_images: int = 1000
    num_train: int = 20_000
    seed: int = 0
    verbose: int = 0

    def batches(self, title: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yields NumPy batches `(x, y)` of all images and counts them on a bar."""
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

    def bar(self, title: str, size: int | None) -> keras.utils.Progbar:
        """Makes a progress bar of `size` steps."""
        return keras.utils.Progbar(size, verbose=self.verbose, unit_name=title)

    @functools.cached_property
    def leading(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The first `num_images` images and their labels, `(x, y)`; y may be None."""
        return leading(self.dataset, self.num_images)

    def mean_over_images(
        self, function: Callable[..., dict[str, Any]], title: str
    ) -> dict[str, float]:
        """Averages what `function(model, x, y, seed)` returns over all images.

        Args:
            function: Returns a dict of arrays `[B]`, one value for each image.
            title: Title of the progress bar.

        Returns:
            Dict from the same names to means.
        """
        values: dict[str, list[np.ndarray]] = {}
        for x, y in self.batches(title):
            for key, of_batch in function(self.model, x, y, self.seed).items():
                values.setdefault(key, []).append(np.asarray(of_batch))
        return {key: mean(np.concatenate(parts)) for key, parts in values.items()}


def mean(values: Any) -> float:
    """Computes the mean of an array in double precision."""
    return float(np.mean(values, dtype=np.float64))


def integer_labels(y: ArrayLike) -> np.ndarray:
    """Returns labels `[B]` as integers, from integers or from one-hot rows."""
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def latent_means(
    model: keras.Model, x: np.ndarray, y: np.ndarray | None = None
) -> np.ndarray:
    """Computes the means of q(z | x), `[B, K, Z]`.

    Categories share one latent, so a model with categories has the means `[B, 1, Z]`:
    the average over categories, weighted with their probabilities.
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
