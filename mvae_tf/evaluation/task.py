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
    """The arguments of `evaluate`, and what several groups compute from them."""

    model: keras.Model
    dataset: Any
    train: Any
    classifier: Any
    num_samples: int
    num_images: int
    num_train: int
    seed: int
    verbose: int

    def batches(self, title: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield NumPy batches `(x, y)` of all images and count them on a bar."""
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
        """The q(c | x) of all images, `[N, K]`, and their labels `[N]` or None."""
        probabilities, labels = [], []
        for x, y in self.batches("categories"):
            # If it got labels, a supervised model would return these.
            probabilities.append(self.model.encode(x)["weights"].numpy())
            labels.append(None if y is None else integer_labels(y))
        unlabelled = any(part is None for part in labels)
        return (
            np.concatenate(probabilities),
            None if unlabelled else np.concatenate(labels),
        )

    def bar(self, title: str, size: int | None) -> keras.utils.Progbar:
        """Make a progress bar of `size` steps."""
        return keras.utils.Progbar(size, verbose=self.verbose, unit_name=title)

    @functools.cached_property
    def leading(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The first `num_images` images and their labels, `(x, y)`; y may be None."""
        return leading(self.dataset, self.num_images)

    def mean_over_images(
        self, function: Callable[..., dict[str, Any]], title: str
    ) -> dict[str, float]:
        """Average values over all images.

        Args:
            function: function from (model, x, y, seed) to a dict of arrays `[B]`, which
                have one value for each image.
            title: str, title of the progress bar.

        Returns:
            Dict from the same names to means.
        """
        values: dict[str, list[np.ndarray]] = {}
        for x, y in self.batches(title):
            for key, of_batch in function(self.model, x, y, self.seed).items():
                values.setdefault(key, []).append(np.asarray(of_batch))
        return {key: mean(np.concatenate(parts)) for key, parts in values.items()}


def mean(values: Any) -> float:
    """Compute the mean of an array in double precision."""
    return float(np.mean(values, dtype=np.float64))


def integer_labels(y: ArrayLike) -> np.ndarray:
    """Return labels, integers or one-hot rows, as integers `[B]`."""
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)


def latent_means(
    model: keras.Model, x: np.ndarray, y: np.ndarray | None = None
) -> np.ndarray:
    """Compute the means of q(z | x), `[B, K, Z]`.

    In a model of categories, which share one latent, they are `[B, 1, Z]`: the averages
    over categories, weighted with their probabilities.
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
