"""Means of the objective and of its terms, which training and evaluation log."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

__all__ = ["TermMeans"]


class TermMeans(keras.metrics.Metric):
    """Means per example of the loss and of all terms, kept in one vector.

    Keras' own `Mean` takes about twenty operations for each metric in each step; here,
    a step adds one vector to another. Seen as a Keras metric, the object is the mean of
    the loss, which is the first entry of the vector.

    Args:
        names: list of str, names of the terms.

    Attributes:
        terms: list of metrics, one for each name, that show the other means.
    """

    def __init__(self, names: Sequence[str]):
        super().__init__(name="loss", dtype="float32")
        # The sums over examples, and the number of these.
        self.sums = self.add_variable((len(names) + 2,), "zeros", name="sums")
        self.terms = [_TermMean(self, i, name) for i, name in enumerate(names, 1)]

    def update_state(
        self, loss: tf.Tensor, values: Mapping[str, tf.Tensor], counted: tf.Tensor
    ) -> None:
        """Add a batch.

        Args:
            loss: `[B]`, the objective of each example.
            values: dict from each name to `[B]`, or to a scalar that is the value of
                every example.
            counted: bool scalar, whether the batch counts; without it the values may be
                NaN.
        """
        ones = tf.ones_like(loss)
        ordered = [loss, *(values[term.name] for term in self.terms), ones]
        ordered = [tf.cast(value, tf.float32) for value in ordered]
        rows = [value if value.shape.rank else ones * value for value in ordered]
        sums = tf.reduce_sum(tf.stack(rows), axis=1)
        self.sums.assign_add(tf.where(counted, sums, 0.0))

    def mean(self, place: int) -> tf.Tensor:
        """Return the mean at a place of the vector, a scalar; 0 before any batch."""
        return tf.math.divide_no_nan(self.sums[place], self.sums[-1])

    def result(self):
        """Return the mean of the loss."""
        return self.mean(0)

    def logs(self) -> dict[str, tf.Tensor]:
        """Return a dict from names to means, "loss" first."""
        sums, num = tf.split(tf.convert_to_tensor(self.sums), [len(self.terms) + 1, 1])
        means = tf.unstack(tf.math.divide_no_nan(sums, num))
        names = [self.name, *(term.name for term in self.terms)]
        return dict(zip(names, means, strict=True))


class _TermMean(keras.metrics.Metric):
    """One of the means that `TermMeans` keeps, under its own name."""

    def __init__(self, means, place, name):
        super().__init__(name=name, dtype="float32")
        self._show = lambda: means.mean(place)

    def update_state(self, *args, **kwargs):
        """Do nothing, because `TermMeans` updates all means."""

    def result(self):
        """Return the mean."""
        return self._show()
