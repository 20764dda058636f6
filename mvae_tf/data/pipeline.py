"""Order, batches, binarisation and scaling: from examples to `tf.data` pipelines.

Nothing here keeps a random state. The order of an epoch is a pure function of
(seed, epoch), and a binarised pixel of (seed, epoch, index of its example), so that a
pipeline can start at any step and give what an undisturbed run would have seen.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.parts.part import choice

__all__ = ["IndexedExamples", "Splits", "StreamedExamples", "examples_of", "leading"]

# Examples that are shuffled together when they cannot be read in any order.
SHUFFLE_BLOCK = 16384
# Parts whose decoded images take at most so many bytes are decoded once and kept.
CACHE_BYTES = 2**29


@dataclasses.dataclass(frozen=True)
class IndexedExamples:
    """Examples that can be read in any order: arrays in memory, files in a folder.

    Attributes:
        size: Number of examples.
        shape: Shape of one example, `(H, W, C)` or `(P,)`.
        read: Function from int64 indices `[b]` to `(x, y)`, or to `x` alone where there
            are no labels; `x` is uint8 or float32 `[b, *shape]`.
        one_by_one: Whether `read` takes a single index and returns a single example.
            Examples are then read in parallel.
    """

    size: int
    shape: tuple[int, ...]
    read: Callable
    one_by_one: bool = False

    def limited(self, size: int | None) -> "IndexedExamples":
        """Return the first `size` of these examples, or all for None."""
        return (
            self
            if size is None
            else dataclasses.replace(self, size=min(self.size, size))
        )

    def batches(
        self, epoch: tf.Tensor, batch_size: int, seed: int | None, steps: int
    ) -> tf.data.Dataset:
        """Return the indices of one epoch, one element per batch.

        Args:
            epoch: int64 scalar, the number of the epoch.
            batch_size: Number of examples per batch; the last one may be smaller.
            seed: int that, with the epoch, decides the order; None keeps the examples
                as they are stored.
            steps: Number of batches after which the rest of the epoch is left out; -1
                keeps all.
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
        size: Number of examples.
        shape: Shape of one example, `(H, W, C)`.
        records: Dataset of undecoded examples, tuples of scalars, in a fixed order.
        read: Function from the scalars of one record to `(x, y)` or `x`, as in
            `IndexedExamples`, or from vectors of them if not `one_by_one`.
        one_by_one: Whether `read` takes a single record.
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
        """Return the records of one epoch, as in `IndexedExamples`."""

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


def examples_of(x: np.ndarray, y: np.ndarray | None) -> IndexedExamples:
    """Make examples that are held in memory.

    Args:
        x: Images `[n, H, W, C]` or vectors `[n, P]`, uint8 or float32.
        y: int64 labels `[n]`, or None.
    """
    with tf.device("CPU:0"):
        images = tf.constant(x)
        labels = None if y is None else tf.constant(y)

    def read(indices: tf.Tensor) -> Any:
        x = tf.gather(images, indices)
        return x if labels is None else (x, tf.gather(labels, indices))

    return IndexedExamples(len(x), x.shape[1:], read)


class Splits:
    """Training, validation and test parts of a source, as `tf.data` pipelines.

    Batches are `(x, y)`, or `x` alone where the source has no labels: `x` is float32
    `[b, *input_shape]` in `value_range`, `y` is int64 `[b]`. The last batch of an epoch
    may be smaller than `batch_size`; no batch holds examples of two epochs.

    Attributes:
        train: One epoch, of known cardinality. Each new iteration over it is the next
            epoch (0, 1, 2, ...) and has an order of its own. In another process the
            count begins at 0 again: to continue a training (after Keras'
            `BackupAndRestore`, for example) use `train_from`.
        validation: Validation part in a fixed order, or None if it is empty.
        test: Test part in a fixed order.
        name: Name of the data set.
        input_shape: Shape of one example, `(H, W, C)` or `(P,)`.
        num_classes: Number of classes, or None where there are no labels.
        num_train, num_validation, num_test: Numbers of examples.
        batch_size: Number of examples per batch.
        steps_per_epoch: Number of batches in a training epoch.
        value_range: `(low, high)`, what black and white are mapped to, or None for
            values in any range.
        seed: Seed of order and dynamic binarisation.
        notes: Sentences about what was left out when the source was read.
    """

    def __init__(
        self,
        name: str,
        train: IndexedExamples | StreamedExamples,
        validation: IndexedExamples | StreamedExamples | None,
        test: IndexedExamples | StreamedExamples,
        num_classes: int | None,
        batch_size: int,
        seed: int,
        value_range: tuple[float, float] | None,
        binarize: str | None,
        steps_per_epoch: int | None = None,
        notes: tuple[str, ...] = (),
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
        self.notes = notes
        self._examples: dict[str, Any] = {
            "train": train,
            "validation": validation if self.num_validation else None,
            "test": test,
        }
        self._binarize = binarize
        self._epochs = _counted_epoch()

    def __repr__(self) -> str:
        """Name, sizes and shapes in one line, then the notes."""
        kind = "images" if len(self.input_shape) == 3 else "vectors"
        values = "any range" if self.value_range is None else list(self.value_range)
        labels = (
            "no labels" if self.num_classes is None else (f"{self.num_classes} classes")
        )
        return "\n".join(
            (
                f"<Splits {self.name!r}: {self.num_train} training, "
                f"{self.num_validation} validation and {self.num_test} test examples; "
                f"{kind} {self.input_shape} in {values}; {labels}; batches of "
                f"{self.batch_size}, {self.steps_per_epoch} steps per epoch>",
                *self.notes,
            )
        )

    @functools.cached_property
    def train(self) -> tf.data.Dataset:
        """One epoch; each new iteration over it is the next one."""
        dataset = self._pipeline("train", self._epochs)
        return _of_cardinality(dataset, self.steps_per_epoch)

    @functools.cached_property
    def validation(self) -> tf.data.Dataset | None:
        """Validation part in a fixed order, or None if it is empty."""
        return self._in_order("validation") if self.num_validation else None

    @functools.cached_property
    def test(self) -> tf.data.Dataset:
        """Test part in a fixed order."""
        return self._in_order("test")

    def train_from(self, step: int) -> tf.data.Dataset:
        """Return an endless training pipeline that starts at a global step.

        It continues exactly as an undisturbed run from step 0 would: batch `i` of it is
        batch `(step + i) % steps_per_epoch` of epoch `(step + i) // steps_per_epoch`.

        Args:
            step: Number of batches already seen.

        Returns:
            `tf.data.Dataset` of infinite cardinality.

        Raises:
            ValueError: `step` is negative.
        """
        if step < 0:
            raise ValueError(f"Expected a step of at least 0, got {step}.")
        epoch, skipped = divmod(int(step), self.steps_per_epoch)
        epochs = tf.data.Dataset.range(epoch, tf.int64.max)
        dataset = self._pipeline("train", epochs, (epoch, skipped))
        return _of_cardinality(dataset, tf.data.experimental.INFINITE_CARDINALITY)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a part as NumPy arrays, in the order in which it is stored.

        Args:
            split: "train", "validation" or "test".

        Returns:
            Images `[n, *input_shape]` float32 in `value_range`, as the pipelines give
            them (training images binarised dynamically are those of epoch 0), and
            int64 labels `[n]` or None. The arrays of an empty part have no rows.

        Raises:
            ValueError: There is no such part.
        """
        if self._examples.get(choice(split, self._examples, "part")) is None:
            x = np.zeros((0, *self.input_shape), np.float32)
            return x, None if self.num_classes is None else np.zeros(0, np.int64)
        return leading(self._in_order(split))

    def _in_order(self, split: str) -> tf.data.Dataset:
        """The whole part in its stored order."""
        steps = -(-self._examples[split].size // self.batch_size)
        dataset = self._pipeline(split, tf.data.Dataset.range(1), stored_order=True)
        return _of_cardinality(dataset, steps)

    def _pipeline(
        self,
        split: str,
        epochs: tf.data.Dataset,
        start: tuple[int, int] = (0, 0),
        stored_order: bool = False,
    ) -> tf.data.Dataset:
        """Batches of some epochs.

        Args:
            split: Name of the part.
            epochs: Dataset of int64 epoch numbers.
            start: An epoch, and the number of its batches to skip.
            stored_order: Whether to keep all examples as they are stored.
        """
        examples = self._examples[split] = _kept(self._examples[split])
        seed, steps = (None, -1) if stored_order else (self.seed, self.steps_per_epoch)
        first, skipped = (tf.constant(n, tf.int64) for n in start)

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            batches = examples.batches(epoch, self.batch_size, seed, steps)
            # Skipped before anything is read.
            batches = batches.skip(tf.where(epoch == first, skipped, 0))
            if not examples.one_by_one:
                return batches.map(lambda *reference: (epoch, reference))
            read = _read_one_by_one(examples, batches, self.batch_size)
            return read.map(lambda *batch: (epoch, *batch))

        def finish(epoch: tf.Tensor, reference: tuple, batch: Any = None) -> Any:
            batch = examples.read(*reference) if batch is None else batch
            x, *y = batch if isinstance(batch, tuple) else (batch,)
            if x.dtype == tf.uint8:
                x = tf.cast(x, tf.float32) / 255.0
            if self._binarize:
                x = _bernoulli(x, self._draw_key(split, epoch), reference[0])
            if self.value_range not in (None, (0.0, 1.0)):
                low, high = self.value_range
                x = low * (1.0 - x) + high * x
            x = tf.ensure_shape(x, (None, *examples.shape))
            return (x, *y) if y else x

        dataset = (
            epochs.flat_map(one_epoch)
            .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return dataset.with_options(options)

    def _draw_key(self, split: str, epoch: tf.Tensor) -> tf.Tensor:
        """What the draws of a binarised part depend on."""
        if split == "train" and self._binarize == "dynamic":
            seed = tf.stack([self.seed, epoch])
        else:
            # One draw for everybody: results of different seeds stay comparable.
            part = ("train", "validation", "test").index(split)
            seed = tf.constant([-1, part], tf.int64)
        # Folding hashes the seed into the first element, and leaves data in the second.
        zero = tf.zeros([], tf.int64)
        return tf.random.experimental.stateless_fold_in(seed, zero)[0]


def leading(
    dataset: tf.data.Dataset, num: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the leading examples of a data set of batches as arrays.

    Args:
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`.
        num: How many at most; None for all.

    Returns:
        `(x, y)`, `[n, ...]` and `[n]`; y is None where there are no labels.

    Raises:
        ValueError: The data set is empty.
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


def _read_one_by_one(
    examples: IndexedExamples | StreamedExamples,
    batches: tf.data.Dataset,
    batch_size: int,
) -> tf.data.Dataset:
    """Dataset of `(reference, batch)` of batches of references."""
    one_by_one = batches.unbatch().map(
        lambda *reference: (reference, examples.read(*reference)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return one_by_one.batch(batch_size)


def _kept(
    examples: IndexedExamples | StreamedExamples,
) -> IndexedExamples | StreamedExamples:
    """The same examples, decoded once and kept in memory if they are small enough."""
    if not examples.one_by_one or examples.size * np.prod(examples.shape) > CACHE_BYTES:
        return examples
    rows = 1024
    stored = examples.batches(tf.constant(0, tf.int64), rows, None, -1)
    batches = _read_one_by_one(examples, stored, rows)
    x, y = leading(batches.map(lambda reference, batch: batch))
    kept = examples_of(x, y)
    if isinstance(examples, IndexedExamples):
        return kept
    # The order is still that of blocks of the stored examples.
    rows = tf.data.Dataset.range(examples.size).map(lambda row: (row,))
    return dataclasses.replace(examples, records=rows, read=kept.read, one_by_one=False)


def _of_cardinality(dataset: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _counted_epoch() -> tf.data.Dataset:
    """Dataset of one number: how often it has been iterated over before."""
    with tf.device("CPU:0"):
        iterations = tf.Variable(0, dtype=tf.int64, trainable=False)
    return tf.data.Dataset.range(1).map(lambda _: iterations.assign_add(1) - 1)


def _shuffled(positions: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Where a permutation of `range(size)`, drawn from `seed`, sends `positions`."""
    return tf.random.experimental.index_shuffle(
        positions, seed=tf.cast(seed, tf.int64), max_index=tf.cast(size - 1, tf.int64)
    )


def _bernoulli(x: tf.Tensor, key: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Pixels 0. or 1. with the probabilities `x`, a function of (key, index of row)."""
    seeds = tf.stack([tf.fill(tf.shape(indices), key), indices], axis=1)
    uniform = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(x.shape[1:], seed),
        seeds,
        fn_output_signature=tf.float32,
    )
    return tf.cast(uniform < x, tf.float32)
