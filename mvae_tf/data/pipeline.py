"""`Splits`: the parts of a data set as `tf.data` pipelines, scaled and binarised.

Nothing here keeps a random state. The order of an epoch is a pure function of
(seed, epoch), and a binarised pixel one of (seed, epoch, index of its example). So a
pipeline can start at any step and give the same batches as one that started at 0.
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from mvae_tf.data.examples import Examples, kept_in_memory, leading, read_one_by_one
from mvae_tf.parts.part import choice

__all__ = ["Splits"]


class Splits:
    """Training, validation and test parts of a source, as `tf.data` pipelines.

    Batches are `(x, y)`, or `x` alone where the source has no labels: `x` is float32
    `[b, *input_shape]` in `value_range`, `y` is int64 `[b]`. The last batch of an epoch
    may be smaller than `batch_size`; no batch holds examples of two epochs.

    Attributes:
        train: `tf.data.Dataset` of one epoch, of known cardinality. Each new iteration
            over it is the next epoch (0, 1, 2, ...) and has an order of its own. In
            another process the count begins at 0 again: to continue a training (after
            Keras' `BackupAndRestore`, for example) use `train_from`.
        validation: `tf.data.Dataset`, the validation part in a fixed order, or None if
            it is empty.
        test: `tf.data.Dataset`, the test part in a fixed order.
        name: str, name of the data set.
        input_shape: tuple of ints, shape of one example, `(H, W, C)` or `(P,)`.
        num_classes: int, number of classes, or None where there are no labels.
        num_train, num_validation, num_test: ints, numbers of examples.
        batch_size: int, number of examples per batch.
        steps_per_epoch: int, number of batches in a training epoch.
        value_range: `(low, high)`, what black and white are mapped to, or None for
            values in any range.
        seed: int, seed of order and dynamic binarisation.
        notes: tuple of str, sentences about what was left out when the source was read.
    """

    def __init__(
        self,
        name: str,
        train: Examples,
        validation: Examples | None,
        test: Examples,
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
        """Describe the parts in one line, and add the notes."""
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
        """Pipeline of one epoch; each new iteration over it gives the next epoch."""
        dataset = self._pipeline("train", self._epochs)
        return _of_cardinality(dataset, self.steps_per_epoch)

    @functools.cached_property
    def validation(self) -> tf.data.Dataset | None:
        """Pipeline of the validation part in a fixed order, or None if it is empty."""
        return self._in_order("validation") if self.num_validation else None

    @functools.cached_property
    def test(self) -> tf.data.Dataset:
        """Pipeline of the test part in a fixed order."""
        return self._in_order("test")

    def train_from(self, step: int) -> tf.data.Dataset:
        """Return an endless training pipeline that starts at a global step.

        It continues exactly as an undisturbed run from step 0 would: batch `i` of it is
        batch `(step + i) % steps_per_epoch` of epoch `(step + i) // steps_per_epoch`.

        Args:
            step: int, number of batches already seen.

        Returns:
            `tf.data.Dataset` of infinite cardinality.

        Raises:
            ValueError: `step` is negative.
        """
        if step < 0:
            raise ValueError(f"Expected step >= 0, got {step}.")
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
            ValueError: there is no such part.
        """
        if self._examples.get(choice(split, self._examples, "part")) is None:
            x = np.zeros((0, *self.input_shape), np.float32)
            return x, None if self.num_classes is None else np.zeros(0, np.int64)
        return leading(self._in_order(split))

    def _in_order(self, split: str) -> tf.data.Dataset:
        """Return the pipeline of a whole part in its stored order."""
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
        """Return the pipeline of some epochs of a part.

        Args:
            split: str, name of the part.
            epochs: `tf.data.Dataset` of int64 epoch numbers.
            start: pair of ints: number of an epoch, and number of batches to skip in
                it.
            stored_order: bool, whether to read all examples in their stored order.
        """
        examples = self._examples[split] = kept_in_memory(self._examples[split])
        seed, steps = (None, -1) if stored_order else (self.seed, self.steps_per_epoch)
        first, skipped = (tf.constant(n, tf.int64) for n in start)

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            batches = examples.batches(epoch, self.batch_size, seed, steps)
            # Batches are skipped before their examples are read.
            batches = batches.skip(tf.where(epoch == first, skipped, 0))
            if not examples.one_by_one:
                return batches.map(lambda *reference: (epoch, reference))
            read = read_one_by_one(examples, batches, self.batch_size)
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
        """Return an int64 scalar that, with its index, decides the draws of an image.

        Args:
            split: str, name of the part.
            epoch: int64 scalar, the number of the epoch.
        """
        if split == "train" and self._binarize == "dynamic":
            seed = tf.stack([self.seed, epoch])
        else:
            # The draws do not depend on the seed, so that results can be compared.
            part = ("train", "validation", "test").index(split)
            seed = tf.constant([-1, part], tf.int64)
        # Folding writes a hash of the seed into the first element.
        zero = tf.zeros([], tf.int64)
        return tf.random.experimental.stateless_fold_in(seed, zero)[0]


def _of_cardinality(dataset: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _counted_epoch() -> tf.data.Dataset:
    """Return a dataset of one number: how often it has been iterated over before."""
    with tf.device("CPU:0"):
        iterations = tf.Variable(0, dtype=tf.int64, trainable=False)
    return tf.data.Dataset.range(1).map(lambda _: iterations.assign_add(1) - 1)


def _bernoulli(x: tf.Tensor, key: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Draw each pixel as 1.0 with its value as probability, or else as 0.0.

    Args:
        x: float32 images `[b, ...]` in [0, 1].
        key: int64 scalar; the draws of an image are a function of this key and of the
            index of the image.
        indices: int64 `[b]`, indices of the images.
    """
    seeds = tf.stack([tf.fill(tf.shape(indices), key), indices], axis=1)
    uniform = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(x.shape[1:], seed),
        seeds,
        fn_output_signature=tf.float32,
    )
    return tf.cast(uniform < x, tf.float32)
