"""Checks of the images and labels that a user hands to a model."""

import math
import numbers
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.data.pipeline import Splits
from mvae_tf.parts.likelihoods import Likelihood

__all__ = ["Inputs"]

_WHICH_PART = (
    "Expected one part of the data, got all of them: pass `splits.train`, or arrays of "
    '`splits.arrays("train")`.'
)


class Inputs:
    """The examples that one model takes, and checks of them.

    Args:
        image_shape: tuple of ints, shape of one image.
        likelihood: `Likelihood` that has the range of valid pixels.
        num_classes: int, number of classes of the labels, or None.
        labels: str, how labels are used. "condition" is a model of p(x | y), which
            needs them in every method; "training" is a model that needs them only to be
            trained and evaluated; None is a model that ignores them.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        likelihood: Likelihood,
        num_classes: int | None = None,
        labels: Literal["condition", "training"] | None = None,
    ):
        self.image_shape = image_shape
        self.likelihood = likelihood
        self.num_classes = num_classes
        self.labels_for = labels

    # === Arrays ===

    def check(self, x: Any, y: Any = None, *, with_labels: bool = True) -> None:
        """Check arrays of images and labels to train on, or the types of a data set.

        Generators and similar objects pass; their batches are checked in each step.

        Args:
            x: `[N, ...]` images, or a data set of batches x or (x, y).
            y: `[N]` labels, or None.
            with_labels: bool, whether labels are checked, too.

        Raises:
            ValueError: on images or labels that the model does not take.
        """
        if x is None:
            raise ValueError("Expected images or a data set, got None.")
        if isinstance(x, dict):
            raise ValueError(
                f"Expected an array of images or a data set, got a dict of {list(x)}."
            )
        if isinstance(x, list):
            raise ValueError(
                "Expected an array of images or a data set, got a list: np.asarray(x) "
                "makes an array of it."
            )
        if isinstance(x, Splits):
            raise ValueError(_WHICH_PART)
        if isinstance(x, (tuple, set, str, bytes, numbers.Number)):
            raise ValueError(
                f"Expected an array of images or a data set, got a {type(x).__name__}."
            )
        if isinstance(x, tf.data.Dataset):
            self._check_elements(x.element_spec)
            if x.cardinality() == 0:
                raise ValueError("Expected at least one batch, got an empty data set.")
        elif hasattr(x, "__array__"):
            if not len(self.images(x)):
                raise ValueError("Expected at least one image, got none.")
            if self.labels_for and with_labels:
                self.require_labels(y)
                self.one_hot(y, len(x))
            shape = np.shape(_array_of_labels(y))
            if y is not None and shape[:1] != (len(x),):
                raise ValueError(f"Expected {len(x)} labels, got shape {list(shape)}.")
            self._refuse_targets(np.shape(x), shape)

    def for_keras(self, x: Any, y: Any) -> Any:
        """Return checked labels in the form that Keras takes beside an array x."""
        if y is None or not hasattr(x, "__array__"):
            return y
        return np.asarray(y) if self.labels_for else None

    def images(self, x: Any) -> np.ndarray:
        """Return images as a float32 array after checking them.

        It is no tensor, because a device may lack the memory for all images at once. It
        is `x` itself where that is a float32 array.

        Args:
            x: `[B, ...]` images.

        Raises:
            ValueError: on a wrong shape, dtype or range.
        """
        if isinstance(x, tf.data.Dataset):
            raise ValueError(
                "Expected an array of images, got a data set: pass its batches one by "
                "one."
            )
        if isinstance(x, Splits):
            raise ValueError(_WHICH_PART)
        x = np.asarray(x)
        self._check_signature(x.shape, x.dtype)
        if len(x):
            self._check_range(x)
        with np.errstate(over="ignore"):
            return x.astype(np.float32, copy=False)

    def pair(self, x: Any, y: Any = None) -> tuple[np.ndarray, tf.Tensor | None]:
        """Return images as float32 and labels as one-hot rows after checking both.

        Args:
            x: `[B, ...]` images.
            y: `[B]` labels of a conditional model.

        Raises:
            ValueError: on images or labels that the model does not take.
        """
        x = self.images(x)
        return x, self.one_hot(y, len(x))

    def one_hot(self, y: Any, num: int) -> tf.Tensor | None:
        """Return labels of any usual form as one-hot rows.

        Args:
            y: integers `[num]` or `[num, 1]`, one-hot rows `[num, num_classes]`, or one
                label for all rows.
            num: int, number of rows.

        Returns:
            float32 `[num, num_classes]`; None for a model that ignores labels, and for
            one that needs them only in training and gets none.

        Raises:
            ValueError: on labels of another form, and on missing labels of a
                conditional model.
        """
        if self.labels_for is None:
            return None
        if y is None:
            if self.labels_for == "condition":
                self.require_labels(y)
            return None
        classes = self.num_classes
        y = _array_of_labels(y)
        if y.dtype.kind not in "biuf":
            raise ValueError(
                f"Expected labels in 0..{self.last_label}, got {y.dtype.name} values."
            )
        if y.ndim == 0:
            y = np.full([num], y)
        if y.shape == (num, classes):
            if not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
                raise ValueError("Expected one-hot rows of labels, got other rows.")
            return tf.cast(y, tf.float32)
        y = y.reshape(num, -1)[:, 0] if y.shape == (num, 1) else y
        if y.shape != (num,):
            raise ValueError(f"Expected {num} labels, got shape {list(y.shape)}.")
        whole = np.isfinite(y).all() and (y == np.floor(y)).all()
        if num and (not whole or y.min() < 0 or y.max() >= classes):
            raise ValueError(
                f"Expected labels in 0..{self.last_label}, got {y.min()}..{y.max()}."
            )
        return tf.one_hot(y.astype(np.int32), classes)

    @property
    def last_label(self) -> int:
        """The greatest label; -1 for a model without labels."""
        return (self.num_classes or 0) - 1

    def require_labels(self, y: Any) -> None:
        """Check that there are labels, if the model is trained with labels.

        Raises:
            ValueError: there are none.
        """
        if self.labels_for and y is None:
            use = {"condition": "conditioned on", "training": "trained with labels of"}
            raise ValueError(
                f"Expected labels in 0..{self.last_label} for a model "
                f"{use[self.labels_for]} {self.num_classes} classes, got none."
            )

    def refuse_labels(self, y: Any) -> None:
        """Check that there are no labels, if the model ignores labels.

        Raises:
            ValueError: there are labels.
        """
        if self.labels_for is None and y is not None:
            raise ValueError("Expected no labels for a model without labels, got some.")

    def _check_elements(self, element_spec):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element_spec)
        if not isinstance(x, tf.TensorSpec) or sample_weight is not None:
            raise ValueError(
                f"Expected a data set of x or (x, y), got elements {element_spec}."
            )
        if x.shape.rank is not None:
            self._check_signature(x.shape, x.dtype)
        self.require_labels(y)
        if isinstance(y, tf.TensorSpec) and x.shape.rank and y.shape.rank:
            self._refuse_targets(x.shape, y.shape)

    def _refuse_targets(self, x_shape, y_shape):
        # In other libraries `fit(noisy, clean)` trains on both; here it would train on
        # `noisy` alone.
        if tuple(y_shape[1:]) == (self.num_classes,):
            return  # These are one-hot labels of vectors of the same length.
        if len(y_shape) > 1 and tuple(y_shape[1:]) == tuple(x_shape[1:]) != (1,):
            raise ValueError(
                "Expected labels as y, or none, got examples like those of x: a model "
                "reconstructs x itself, so call it without y."
            )

    def _check_signature(self, shape, dtype):
        shape = tuple(shape)
        if len(shape) != len(self.image_shape) + 1 or any(
            side not in (None, expected)
            for side, expected in zip(shape[1:], self.image_shape, strict=True)
        ):
            expected = ", ".join(str(side) for side in self.image_shape)
            raise ValueError(f"Expected images [B, {expected}], got {list(shape)}.")
        if not tf.as_dtype(dtype).is_floating:
            likelihood = self.likelihood
            raise ValueError(
                f"Expected float images in [{likelihood.low}, {likelihood.high}], got "
                f"{tf.as_dtype(dtype).name}: cast and scale them (x / 255)."
            )

    def _check_range(self, x):
        if not np.isfinite(x).all():
            bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
            raise ValueError(f"Expected finite pixels, got NaN or inf in image {bad}.")
        low, high = self.bounds
        if x.min() < low or x.max() > high:
            raise ValueError(
                f"Expected {self.described_range}, got [{x.min():g}, {x.max():g}]."
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest pixel that are accepted, with a little slack."""
        low, high = self.likelihood.low, self.likelihood.high
        slack = 1e-3 * (high - low) if math.isfinite(high - low) else 0.0
        return low - slack, high + slack

    @property
    def described_range(self) -> str:
        """The range of valid pixels in words, for messages."""
        likelihood = self.likelihood
        return (
            f"pixels in [{likelihood.low}, {likelihood.high}] for likelihood "
            f"{likelihood.name!r}"
        )

    # === Batches inside a step ===

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return float32 images and one-hot labels of a batch, in graph code.

        The row of an unknown label is NaN, which `StepGuard` finds; where there are not
        as many labels as images, all rows are.

        Args:
            data: tensor x or tuple (x, y), a batch.

        Raises:
            ValueError: while the step is traced, on a wrong shape or dtype, on missing
                labels, and on sample weights.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError("Expected batches of x or (x, y), got sample weights too.")
        composite = isinstance(x, (tf.RaggedTensor, tf.SparseTensor))
        if composite or not (tf.is_tensor(x) or hasattr(x, "__array__")):
            raise ValueError(
                f"Expected batches of x or (x, y), got x as a {type(x).__name__}."
            )
        x = tf.convert_to_tensor(x)
        if x.shape.rank is not None:
            self._check_signature(x.shape, x.dtype)
        x = tf.ensure_shape(tf.cast(x, tf.float32), (None, *self.image_shape))
        if self.labels_for is None:
            return x, None
        if y is None:
            return x, self.one_hot(None, 0)
        y = self._graph_one_hot(tf.convert_to_tensor(y))
        # Where there are not as many labels as images, all of them are unknown.
        rows, found = tf.shape(x)[0], tf.shape(y)[0]
        y = tf.pad(y[:rows], [[0, tf.maximum(rows - found, 0)], [0, 0]])
        return x, tf.where(found == rows, y, np.nan)

    def _graph_one_hot(self, y):
        classes = self.num_classes
        if not (y.dtype.is_floating or y.dtype.is_integer or y.dtype.is_bool):
            raise ValueError(
                f"Expected labels in 0..{self.last_label}, got {y.dtype.name} values."
            )
        # In float64 every integer that can be a label is exact.
        y = tf.cast(y, tf.float64)

        def numbers():
            flat = tf.reshape(y, [-1])
            known = (flat >= 0.0) & (flat < classes) & (flat == tf.floor(flat))
            index = tf.cast(tf.where(known, flat, tf.zeros_like(flat)), tf.int32)
            return tf.where(known[:, tf.newaxis], tf.one_hot(index, classes), np.nan)

        def rows():
            whole = tf.reshape(y, [-1, classes])
            zeros_and_ones = tf.reduce_all((whole == 0.0) | (whole == 1.0), axis=1)
            known = zeros_and_ones & (tf.reduce_sum(whole, axis=1) == 1.0)
            return tf.where(known[:, tf.newaxis], tf.cast(whole, tf.float32), np.nan)

        if y.shape.rank is None:
            # A function that was called with both forms is traced for any rank.
            are_rows = tf.logical_and(tf.rank(y) == 2, tf.shape(y)[-1] == classes)
            return tf.cond(are_rows, rows, numbers)
        return rows() if y.shape.rank == 2 and y.shape[-1] == classes else numbers()


def _array_of_labels(y):
    """Return labels as an array; None stays None."""
    try:
        return None if y is None else np.asarray(y)
    except ValueError as error:
        raise ValueError(
            "Expected labels as one number or one row of numbers for each image, got "
            "rows of different lengths."
        ) from error
