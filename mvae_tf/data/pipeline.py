"""Order, batches, binarisation and scaling: from examples to `tf.data` pipelines.

Nothing here keeps a random state. The order of an epoch is a pure function of
(seed, epoch), and a binarised pixel of (seed, epoch, index of its example), so that a
pipeline can start at any step and give what an undisturbed run would have seen.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

__all__ = ["IndexedExamples", "Splits", "StreamedExamples", "leading"]

# Examples that are shuffled together when they cannot be read in any order.
SHUFFLE_BLOCK = 16384


@dataclasses.dataclass(frozen=True)
class IndexedExamples:
    """Examples that can be read in any order: arrays in memory, files in a folder.

    Attributes:
        size: Number of examples.
        shape: Shape of one example, `(H, W, C)` or `(P,)`.
        read: Function from int64 indices `[b]` to `(x, y)`, or to `x` alone where there
            are no labels; `x` is uint8, or float32 in [0, 1], `[b, *shape]`.
    """

    size: int
    shape: tuple[int, ...]
    read: Callable

    def limited(self, size):
        """The first `size` of these examples."""
        return dataclasses.replace(self, size=min(self.size, size))

    def batches(self, epochs, batch_size, seed=None, steps=-1):
        """Dataset of `(epoch, indices)`, one element per batch.

        Args:
            epochs: Dataset of int64 epoch numbers.
            batch_size: int; the last batch of an epoch may be smaller.
            seed: int that, with the epoch, decides the order; None keeps the examples
                as they are stored.
            steps: int, the number of batches of an epoch after which the rest of it
                is left out; -1 keeps all.
        """

        def batch(epoch, start):
            indices = tf.range(start, tf.minimum(start + batch_size, self.size))
            if seed is not None:
                indices = _shuffled(indices, self.size, tf.stack([seed, epoch]))
            return epoch, indices

        def one_epoch(epoch):
            starts = tf.data.Dataset.range(0, self.size, batch_size).take(steps)
            return starts.map(lambda start: batch(epoch, start))

        return epochs.flat_map(one_epoch)


@dataclasses.dataclass(frozen=True)
class StreamedExamples:
    """Examples that are read from disk in the order in which they are stored.

    The order of an epoch is drawn within blocks of `SHUFFLE_BLOCK` stored examples.

    Attributes:
        size: Number of examples.
        shape: Shape of one example, `(H, W, C)`.
        records: Dataset of undecoded examples, tuples of scalars, in a fixed order.
        read: Function from a tuple of batched values to `(x, y)` or `x`, as in
            `IndexedExamples`.
    """

    size: int
    shape: tuple[int, ...]
    records: tf.data.Dataset
    read: Callable

    def limited(self, size):
        """The first `size` of these examples."""
        size = min(self.size, size)
        return dataclasses.replace(self, size=size, records=self.records.take(size))

    def batches(self, epochs, batch_size, seed=None, steps=-1):
        """Dataset of `(epoch, records)`, as in `IndexedExamples`."""

        def shuffle(epoch, block, records):
            size = tf.shape(records[0], tf.int64)[0]
            key = tf.random.experimental.stateless_fold_in([seed, epoch], block)
            order = _shuffled(tf.range(size), size, key)
            return tuple(tf.gather(values, order) for values in records)

        def one_epoch(epoch):
            if seed is None:
                batches = self.records.batch(batch_size)
            else:
                blocks = self.records.batch(SHUFFLE_BLOCK).enumerate()
                blocks = blocks.map(lambda i, records: shuffle(epoch, i, records))
                batches = blocks.prefetch(1).rebatch(batch_size)
            return batches.take(steps).map(lambda *records: (epoch, records))

        return epochs.flat_map(one_epoch)


class Splits:
    """Training, validation and test parts of a source, as `tf.data` pipelines.

    Batches are `(x, y)`, or `x` alone where the source has no labels: `x` is float32
    `[b, *input_shape]` in `value_range`, `y` is int64 `[b]`. The last batch of an epoch
    may be smaller than `batch_size`; no batch holds examples of two epochs.

    Attributes:
        train: One epoch, of known cardinality. Each new iteration over it is the next
            epoch (0, 1, 2, ...) and has an order of its own.
        validation: Validation part in a fixed order, or None if it is empty.
        test: Test part in a fixed order.
        name: Name of the data set.
        input_shape: Shape of one example, `(H, W, C)` or `(P,)`.
        num_classes: Number of classes, or None where there are no labels.
        num_train, num_validation, num_test: Numbers of examples.
        batch_size: Examples a batch.
        steps_per_epoch: Batches in a training epoch, at most as many as asked for.
        value_range: `(low, high)`, what black and white are mapped to.
        seed: Seed of order and dynamic binarisation.
    """

    def __init__(
        self,
        name,
        train,
        validation,
        test,
        num_classes,
        batch_size,
        seed,
        value_range,
        binarize,
        steps_per_epoch=None,
    ):
        self.name = name
        self.input_shape = train.shape
        self.num_classes = num_classes
        self.num_train = train.size
        self.num_validation = validation.size if validation else 0
        self.num_test = test.size
        self.batch_size = batch_size
        steps = -(-train.size // batch_size)
        self.steps_per_epoch = min(steps, steps_per_epoch or steps)
        self.value_range = value_range
        self.seed = seed
        self._train_examples = train
        self._binarize = binarize
        self.train = self._finite(train, _counted_epoch(), seed, "train")
        self.validation = validation and self._fixed(validation, "validation")
        self.test = self._fixed(test, "test")

    def train_from(self, step):
        """Endless training pipeline that starts at a global step.

        It continues exactly as an undisturbed run from step 0 would: batch `i` of it is
        batch `(step + i) % steps_per_epoch` of epoch `(step + i) // steps_per_epoch`.

        Args:
            step: int, the number of batches already seen.

        Returns:
            `tf.data.Dataset` of infinite cardinality.

        Raises:
            ValueError: `step` is negative.
        """
        if step < 0:
            raise ValueError(f"expected a step of at least 0, got {step}")
        epoch, skipped = divmod(int(step), self.steps_per_epoch)
        epochs = tf.data.Dataset.range(epoch, tf.int64.max)
        dataset = self._pipeline(
            self._train_examples, epochs, self.seed, "train", skipped
        )
        return dataset.apply(
            tf.data.experimental.assert_cardinality(
                tf.data.experimental.INFINITE_CARDINALITY
            )
        )

    def _fixed(self, examples, split):
        return self._finite(examples, tf.data.Dataset.range(1), None, split)

    def _finite(self, examples, epochs, seed, split):
        steps = self._steps(examples, split)
        dataset = self._pipeline(examples, epochs, seed, split)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))

    def _steps(self, examples, split):
        if split == "train":
            return self.steps_per_epoch
        return -(-examples.size // self.batch_size)

    def _pipeline(self, examples, epochs, seed, split, skipped=0):
        def finish(epoch, reference):
            batch = examples.read(reference)
            x, *y = batch if isinstance(batch, tuple) else (batch,)
            if x.dtype == tf.uint8:
                x = tf.cast(x, tf.float32) / 255.0
            if self._binarize:
                x = _bernoulli(x, self._draw_key(split, epoch), reference)
            low, high = self.value_range
            if (low, high) != (0.0, 1.0):
                x = low * (1.0 - x) + high * x
            x = tf.ensure_shape(x, (None, *examples.shape))
            return (x, *y) if y else x

        dataset = (
            examples.batches(
                epochs, self.batch_size, seed, self._steps(examples, split)
            )
            .skip(skipped)
            .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return dataset.with_options(options)

    def _draw_key(self, split, epoch):
        if split == "train" and self._binarize == "dynamic":
            seed = tf.stack([self.seed, epoch])
        else:
            # One draw for everybody: results of different seeds stay comparable.
            part = ("train", "validation", "test").index(split)
            seed = tf.constant([-1, part], tf.int64)
        # Folding hashes the seed into the first element, and leaves data in the second.
        zero = tf.zeros([], tf.int64)
        return tf.random.experimental.stateless_fold_in(seed, zero)[0]


def leading(dataset, num=None):
    """Leading examples of a data set of batches, as arrays.

    Args:
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`.
        num: how many at most; None for all.

    Returns:
        `(x, y)`, `[N, ...]` and `[N]`; y is None where there are no labels.

    Raises:
        ValueError: there is no image.
    """
    parts, found = [], 0
    for batch in dataset:
        batch = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        parts.append((np.asarray(x), None if y is None else np.asarray(y)))
        found += len(x)
        if num is not None and found >= num:
            break
    if not found:
        raise ValueError("Expected a data set of at least one image, got none.")
    x, y = zip(*parts, strict=True)
    labels = None if y[0] is None else np.concatenate(y)[:num]
    return np.concatenate(x)[:num], labels


def _counted_epoch():
    """Dataset of one number: how often it has been iterated over before."""
    with tf.device("CPU:0"):
        iterations = tf.Variable(0, dtype=tf.int64, trainable=False)
    return tf.data.Dataset.range(1).map(lambda _: iterations.assign_add(1) - 1)


def _shuffled(positions, size, seed):
    """Where a permutation of `range(size)`, drawn from `seed`, sends `positions`."""
    return tf.random.experimental.index_shuffle(
        positions, seed=tf.cast(seed, tf.int64), max_index=tf.cast(size - 1, tf.int64)
    )


def _bernoulli(x, key, indices):
    """Pixels 0. or 1. with the probabilities `x`, a function of (key, index of row)."""
    seeds = tf.stack([tf.fill(tf.shape(indices), key), indices], axis=1)
    uniform = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(x.shape[1:], seed),
        seeds,
        fn_output_signature=tf.float32,
    )
    return tf.cast(uniform < x, tf.float32)
