"""Examples of a part of a data set, which are read by index or in their stored order.

The order of an epoch is a pure function of (seed, epoch): nothing here keeps a random
state.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = [
    "CACHE_BYTES",
    "SHUFFLE_BLOCK",
    "IndexedExamples",
    "StreamedExamples",
    "examples_of",
    "kept_in_memory",
    "leading",
    "read_one_by_one",
]

# Number of stored examples that are shuffled together where they are streamed.
SHUFFLE_BLOCK = 16384
# A part is decoded once and kept in memory if its images take no more bytes.
CACHE_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class IndexedExamples:
    """Examples that can be read in any order: arrays in memory, files in a folder.

    Attributes:
        size: int, number of examples.
        shape: tuple of ints, shape of one example, `(H, W, C)` or `(P,)`.
        read: function from int64 indices `[b]` to `(x, y)`, or to `x` alone where there
            are no labels; `x` is uint8 or float32 `[b, *shape]`.
        one_by_one: bool, whether `read` takes a single index and returns a single
            example. If so, examples are read in parallel.
    """

    size: int
    shape: tuple[int, ...]
    read: Callable
    one_by_one: bool = False

    def limited(self, size: int | None) -> "IndexedExamples":
        """Return the first `size` of these examples, or all for None."""
        if size is None:
            return self
        return dataclasses.replace(self, size=min(self.size, size))

    def batches(
        self, epoch: tf.Tensor, batch_size: int, seed: int | None, steps: int
    ) -> tf.data.Dataset:
        """Return the indices of one epoch, one element per batch.

        Args:
            epoch: int64 scalar, the number of the epoch.
            batch_size: int, number of examples per batch; the last one may be smaller.
            seed: int that, with the epoch, decides the order; None keeps the examples
                as they are stored.
            steps: int, number of batches after which the rest of the epoch is left out;
                -1 keeps all.
        """

        def batch(start: tf.Tensor) -> tf.Tensor:
            indices = tf.range(start, tf.minimum(start + batch_size, self.size))
            if seed is None:
                return indices
            return _shuffled(indices, self.size, tf.stack([seed, epoch]))

        return tf.data.Dataset.range(0, self.size, batch_size).take(steps).map(batch)


@dataclasses.dataclass(frozen=True)
class StreamedExamples:
    """Examples that are read from disk in the order in which they are stored.

    The order of an epoch is drawn within blocks of `SHUFFLE_BLOCK` stored examples.

    Attributes:
        size: int, number of examples.
        shape: tuple of ints, shape of one example, `(H, W, C)`.
        records: `tf.data.Dataset` of undecoded examples, tuples of scalars, in a fixed
            order.
        read: function from the scalars of one record to `(x, y)` or `x`, as in
            `IndexedExamples`; or, if `one_by_one` is False, from the vectors of a batch
            of records.
        one_by_one: bool, whether `read` takes a single record.
    """

    size: int
    shape: tuple[int, ...]
    records: tf.data.Dataset
    read: Callable
    one_by_one: bool = True

    def limited(self, size: int | None) -> "StreamedExamples":
        """Return the first `size` of these examples, or all for None."""
        if size is None:
            return self
        size = min(self.size, size)
        return dataclasses.replace(self, size=size, records=self.records.take(size))

    def batches(
        self, epoch: tf.Tensor, batch_size: int, seed: int | None, steps: int
    ) -> tf.data.Dataset:
        """Return the records of one epoch, one element per batch.

        The arguments are those of `IndexedExamples.batches`.
        """

        def shuffle(block: tf.Tensor, *records: tf.Tensor) -> tuple[tf.Tensor, ...]:
            size = tf.shape(records[0], tf.int64)[0]
            key = tf.random.experimental.stateless_fold_in([seed, epoch], block)
            order = _shuffled(tf.range(size), size, key)
            return tuple(tf.gather(values, order) for values in records)

        if seed is None:
            return self.records.batch(batch_size).take(steps)
        blocks = self.records.batch(SHUFFLE_BLOCK).enumerate()
        blocks = blocks.map(lambda block, records: shuffle(block, *records))
        return blocks.prefetch(1).rebatch(batch_size).take(steps)


Examples = IndexedExamples | StreamedExamples


def examples_of(x: np.ndarray, y: np.ndarray | None) -> IndexedExamples:
    """Make examples that are held in memory.

    Args:
        x: images `[n, H, W, C]` or vectors `[n, P]`, uint8 or float32.
        y: int64 labels `[n]`, or None.
    """
    with tf.device("CPU:0"):
        images = tf.constant(x)
        labels = None if y is None else tf.constant(y)

    def read(indices: tf.Tensor) -> Any:
        x = tf.gather(images, indices)
        return x if labels is None else (x, tf.gather(labels, indices))

    return IndexedExamples(len(x), x.shape[1:], read)


def leading(
    dataset: tf.data.Dataset, num: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the first examples of a data set of batches as arrays.

    Args:
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`.
        num: int, largest number of examples; None for all.

    Returns:
        `(x, y)`, `[n, ...]` and `[n]`; y is None where there are no labels.

    Raises:
        ValueError: the data set is empty.
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


def read_one_by_one(
    examples: Examples,
    batches: tf.data.Dataset,
    batch_size: int,
) -> tf.data.Dataset:
    """Read the examples of each batch one by one, in parallel.

    Args:
        examples: `Examples`, examples with `one_by_one`.
        batches: `tf.data.Dataset` of batches of indices or records, as `batches`
            returns it.
        batch_size: int, number of examples per batch.

    Returns:
        Dataset of `(reference, batch)`: the indices or records of a batch as a tuple,
        and its examples.
    """
    one_by_one = batches.unbatch().map(
        lambda *reference: (reference, examples.read(*reference)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return one_by_one.batch(batch_size)


def kept_in_memory(
    examples: Examples,
) -> Examples:
    """Decode the examples and keep them in memory, if they are small enough.

    Args:
        examples: `Examples`, examples of a part.

    Returns:
        The same examples in memory, or `examples` itself.
    """
    if not examples.one_by_one or examples.size * np.prod(examples.shape) > CACHE_BYTES:
        return examples
    rows = 1024
    stored = examples.batches(tf.constant(0, tf.int64), rows, None, -1)
    batches = read_one_by_one(examples, stored, rows)
    x, y = leading(batches.map(lambda reference, batch: batch))
    kept = examples_of(x, y)
    if isinstance(examples, IndexedExamples):
        return kept
    # The order of an epoch must remain that of shuffled blocks of stored examples.
    rows = tf.data.Dataset.range(examples.size).map(lambda row: (row,))
    return dataclasses.replace(examples, records=rows, read=kept.read, one_by_one=False)


def _shuffled(positions: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Return the images of `positions` under a permutation of `range(size)`.

    Args:
        positions: int64 tensor `[b]`.
        size: int, number of elements that are permuted.
        seed: integer tensor `[2]` that decides the permutation.
    """
    return tf.random.experimental.index_shuffle(
        positions, seed=tf.cast(seed, tf.int64), max_index=tf.cast(size - 1, tf.int64)
    )
