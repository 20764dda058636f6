"""Checks of what users hand to a model: images, labels, seeds and components."""

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.noise import check_seed

__all__ = ["Checks"]


class Checks:
    """Checks against a model's `input_shape`, `num_classes` and `likelihood`."""

    def check_arrays(self, x, y=None):
        """Checks arrays of images and labels, and the element types of a data set.

        Generators and the like pass; their batches are checked as they come.

        Raises:
            ValueError: naming what was expected and what came.
        """
        if x is None:
            raise ValueError("Expected images or a data set, got None.")
        if isinstance(x, tf.data.Dataset):
            self._check_elements(x.element_spec)
            if x.cardinality() == 0:
                raise ValueError("Expected at least one batch, got an empty data set.")
        if isinstance(x, (np.ndarray, list, tf.Tensor)):
            x = np.asarray(x)
            self._check_signature(x.shape, x.dtype)
            if not len(x):
                raise ValueError("Expected at least one image, got none.")
            self._check_range(x)
            if self.num_classes is not None:
                self._one_hot(y, len(x))

    def _check_elements(self, element_spec):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element_spec)
        if not isinstance(x, tf.TensorSpec) or sample_weight is not None:
            raise ValueError(
                f"Expected a data set of x or (x, y), got elements {element_spec}."
            )
        if x.shape.rank is not None:
            self._check_signature(x.shape, x.dtype)
        if y is None:
            self._one_hot(None, 0)

    def _check_signature(self, shape, dtype):
        shape = tuple(shape)
        if len(shape) != len(self.input_shape) + 1 or any(
            side not in (None, expected)
            for side, expected in zip(shape[1:], self.input_shape, strict=True)
        ):
            expected = ", ".join(str(side) for side in self.input_shape)
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
        low, high = self.likelihood.low, self.likelihood.high
        slack = 1e-3 * (high - low)
        if x.min() < low - slack or x.max() > high + slack:
            raise ValueError(
                f"Expected pixels in [{low}, {high}] for likelihood "
                f"{self.likelihood.name!r}, got [{x.min():g}, {x.max():g}]."
            )

    def _one_hot(self, y, num):
        """One-hot labels `[B, num_classes]` from labels of any usual form."""
        if self.num_classes is None:
            return None
        classes = self.num_classes
        if y is None:
            raise ValueError(
                f"Expected labels in 0..{classes - 1} for a model conditioned on "
                f"{classes} classes, got none."
            )
        y = np.asarray(y)
        if y.ndim == 0:
            y = np.full([num], y)
        if y.shape == (num, classes):
            return tf.cast(y, tf.float32)
        y = y.reshape(num, -1)[:, 0] if y.shape == (num, 1) else y
        if y.shape != (num,):
            raise ValueError(f"Expected {num} labels, got shape {list(y.shape)}.")
        if num and (y.min() < 0 or y.max() >= classes or (y != y.astype(int)).any()):
            raise ValueError(
                f"Expected labels in 0..{classes - 1}, got {y.min()}..{y.max()}."
            )
        return tf.one_hot(y.astype(np.int32), classes)

    def _checked_images(self, x):
        x = np.asarray(x)
        self._check_signature(x.shape, x.dtype)
        if len(x):
            self._check_range(x)
        return tf.cast(x, tf.float32)

    def _images(self, x, y=None):
        """Checked float32 images and one-hot labels."""
        x = self._checked_images(x)
        return x, self._one_hot(y, len(x))

    def unpack(self, data):
        """Float32 images and one-hot labels of a batch inside a step.

        Raises:
            ValueError: while the step is traced, on a wrong shape or dtype, on missing
                labels, or on sample weights.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError("Expected batches of x or (x, y), got sample weights too.")
        x = tf.convert_to_tensor(x)
        if x.shape.rank is not None:
            self._check_signature(x.shape, x.dtype)
        x = tf.ensure_shape(tf.cast(x, tf.float32), (None, *self.input_shape))
        if self.num_classes is None:
            return x, None
        if y is None:
            return x, self._one_hot(None, 0)
        y = tf.convert_to_tensor(y)
        if y.shape.rank == 2 and y.shape[-1] == self.num_classes:
            return x, tf.cast(y, tf.float32)
        y = tf.cast(tf.reshape(y, [-1]), tf.int32)
        known = (y >= 0) & (y < self.num_classes)
        # A loss that is not a number is what the guard of a training step refuses.
        return x, tf.where(
            known[:, tf.newaxis], tf.one_hot(y, self.num_classes), np.nan
        )

    def _check_component(self, component):
        if component is not None and component not in range(self.num_components):
            raise ValueError(
                f"Expected component in 0..{self.num_components - 1}, got "
                f"{component!r}."
            )

    def _fill_seed(self, num, seed):
        """The seed, or the model's own for None, as a tensor `[num]`."""
        return tf.fill([num], self.seed if seed is None else check_seed(seed))
