"""Methods about the categories of a trained model of the CP-VAE family.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models.hooks import Hooks
from mvae_tf.noise import RowNoise, content_seeds

__all__ = ["CategoryInspection", "CategoryTable"]


class CategoryTable(NamedTuple):
    """The most probable categories of each label (Tables 2 and A1).

    Attributes:
        rows: dict from label to a list of pairs (category, probability), the mean of
            q(c | x) over the images of the label, the greatest first.
    """

    rows: dict[int, list[tuple[int, float]]]

    @classmethod
    def of(
        cls, probabilities: np.ndarray, labels: np.ndarray, top: int = 5
    ) -> "CategoryTable":
        """Make the table from the category probabilities of images.

        Args:
            probabilities: `[B, K]`, q(c | x).
            labels: `[B]` integers.
            top: int, number of categories to list for each label, at most K.
        """
        rows = {}
        for label in np.unique(labels):
            mean = probabilities[labels == label].mean(axis=0)
            best = np.argsort(-mean, kind="stable")[:top]
            rows[int(label)] = [(int(k), float(mean[k])) for k in best]
        return cls(rows)

    @property
    def distinct(self) -> int:
        """The number of different categories in the table."""
        return len(self._uses())

    @property
    def reused(self) -> dict[int, int]:
        """A dict from each category with several labels to the number of these."""
        return {category: n for category, n in self._uses().items() if n > 1}

    def _uses(self):
        listed = [category for row in self.rows.values() for category, _ in row]
        return {category: listed.count(category) for category in listed}


class CategoryInspection(Hooks):
    """Methods about the categories of a model with a posterior q(c | x).

    Attributes:
        aggregate: variable `[K]`, the proportions of the categories in `generate`.
        relaxation: str, see `CategoricalVAE`.
    """

    aggregate: keras.Variable
    relaxation: str

    def category_probabilities(self, x: Any) -> tf.Tensor:
        """Compute q(c | x), `[B, K]`, which are the "weights" of `encode`.

        Args:
            x: `[B, ...]` images.
        """
        return self._in_chunks(self._probabilities_batch, *self.input_checks.pair(x))

    def _probabilities_batch(self, x, y):
        return self.infer(x, y).weights

    def fit_aggregate(self, x: Any) -> np.ndarray:
        """Set `aggregate` to q(c), the mean of q(c | x) over images (Eq 18).

        Afterwards `generate` draws categories in these proportions; the variable is
        saved with the model. `aggregate.assign` sets other proportions.

        Args:
            x: `[N, ...]` training images, or a data set of batches x or (x, y), which
                is read once.

        Returns:
            q(c), a float32 array `[K]`.

        Raises:
            ValueError: on images that do not fit the model, and on an endless data set.
        """
        self.input_checks.check(x)
        batches: Iterable = [x]
        if isinstance(x, tf.data.Dataset):
            if x.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise ValueError("Expected a data set with an end, got an endless one.")
            batches = (b[0] if isinstance(b, tuple) else b for b in x)
        total, num = np.zeros(self.num_components), 0
        for batch in batches:
            total += np.sum(self.category_probabilities(batch), 0, dtype=np.float64)
            num += len(batch)
        self.aggregate.assign(total / num)
        return self.aggregate.numpy()

    def after_training(self, dataset):
        """Fit the aggregate to the training images of a run."""
        self.fit_aggregate(dataset)

    def category_table(self, x: Any, labels: Any, top: int = 5) -> CategoryTable:
        """List the most probable categories of each label (Tables 2 and A1).

        Args:
            x: `[B, ...]` images.
            labels: `[B]` integers, which the model itself does not get.
            top: int, number of categories to list for each label, at most K.

        Raises:
            ValueError: on labels of another form, and on a `top` out of range.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(x),):
            raise ValueError(
                f"Expected {len(x)} labels, got shape {list(labels.shape)}."
            )
        if not 1 <= top <= self.num_components:
            raise ValueError(f"Expected top in 1..{self.num_components}, got {top}.")
        probabilities = self.category_probabilities(x).numpy()
        return CategoryTable.of(probabilities, labels, top)

    def elbo_relaxed(self, x: Any, seed: int | None = None) -> tf.Tensor:
        """Compute -1 times the objective with a relaxed c, which is not a bound.

        It is the number that the authors' code of CP-VAE reports: log p(x | z, c) at
        relaxed draws of c, minus all KL terms in full. A relaxed c gives the decoder
        more information than `category_kl` accounts for, so this number should be
        compared only with numbers of that code.

        Args:
            x: `[B, ...]` images.
            seed: int that decides the draws; None for the seed of the model.

        Returns:
            `[B]` nats.

        Raises:
            ValueError: unless the model was made with `relaxation="relaxed"`.
        """
        if not self.relaxed:
            raise ValueError(
                "Expected relaxation='relaxed' for elbo_relaxed, got "
                f"{self.relaxation!r}."
            )
        x = self.input_checks.images(x)
        return self._in_chunks(
            self._elbo_relaxed_batch, x, self._row_seeds(len(x), seed)
        )

    def _elbo_relaxed_batch(self, x, seed):
        noise = RowNoise(content_seeds(x, seed))
        terms = self.loss_terms(x, None, noise, training=False)
        constant = self.likelihood.constant(math.prod(self.input_shape))
        return -sum(terms.values()) - constant
