"""Stateless noise: every random number is a pure function of what identifies it.

A model never keeps the state of a random generator. Training draws are a function of
(seed, step, row of the global batch), whatever the number of replicas, so that a run
can be killed and resumed, or spread over devices, without changing a single draw.
Evaluation draws are a function of (seed, content of the row), so that an answer does
not depend on the batch that the row is in. Seeded generation draws are a function of
(seed, index of the row).

These functions are not the same with and without XLA, which reads its random bits in
an order of its own: a run is repeatable under either, and differs between the two.

Both kinds of noise have the same methods, such as `noise.uniform(name, like)`. The name
("z", "mask", ...) separates the draws of one step: two draws under one name would be
the same numbers, so that the second is refused. `noise.child(name)` gives other noise
to code that has its own names.
"""

import copy
import numbers
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

__all__ = [
    "BatchNoise",
    "Noise",
    "RowNoise",
    "check_seed",
    "content_seeds",
    "index_seeds",
    "standard_exponentials",
    "standard_normals",
    "step_seed",
]

_LEAST_UNIFORM = np.finfo(np.float32).tiny


def _salt(name):
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def check_seed(seed: int) -> int:
    """Return the seed as a Python int.

    Raises:
        ValueError: unless it is an integer in 0..2^31 - 1.
    """
    if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**31:
        raise ValueError(f"Expected a seed in 0..{2**31 - 1}, got {seed!r}.")
    return int(seed)


def step_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Make the seed of one training step.

    Args:
        seed: int, the model's seed.
        step: int64 scalar tensor, the number of steps done before this one.

    Returns:
        int32 tensor `[2]`.
    """
    seed = tf.constant([seed, _salt("step")], tf.int32)
    return tf.random.experimental.stateless_fold_in(seed, step)


def content_seeds(x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """Make row seeds that depend on nothing but `seed` and the row's own values.

    The bits of the row are hashed in exact integer arithmetic, so the result does not
    depend on the order of summation. Equal rows get equal seeds.

    Args:
        x: float32 tensor `[B, ...]`.
        seed: int, int32 scalar, or int32 tensor `[B]`.

    Returns:
        int32 tensor `[B, 2]`.
    """
    bits = tf.bitcast(tf.cast(x, tf.float32), tf.int32)
    bits = tf.cast(tf.reshape(bits, [tf.shape(x)[0], -1]), tf.int64)
    position = tf.range(1, tf.shape(bits)[1] + 1, dtype=tf.int64)
    multiplier = (position * 0x9E3779B1) % 0x7FFFFFFF
    digest = tf.reduce_sum(bits * multiplier, axis=1)
    low = tf.cast(tf.bitwise.bitwise_and(digest, 0x7FFFFFFF), tf.int32)
    high = tf.bitwise.right_shift(digest, tf.constant(31, tf.int64))
    high = tf.cast(tf.bitwise.bitwise_and(high, 0x7FFFFFFF), tf.int32)
    return tf.stack([low, tf.bitwise.bitwise_xor(high, tf.cast(seed, tf.int32))], 1)


def index_seeds(num, seed, start=0) -> tf.Tensor:
    """Make row seeds `[num, 2]` that depend on `seed` and on the index of the row.

    Args:
        num: int or int32 scalar, the number of rows.
        seed: int or int32 scalar.
        start: int or int32 scalar, the index of the first row.

    Returns:
        int32 tensor `[num, 2]`.
    """
    index = tf.range(start, start + num, dtype=tf.int32)
    return tf.stack([index, tf.fill(tf.shape(index), tf.cast(seed, tf.int32))], 1)


# === Draws from a seed ===

# These are the numbers that TensorFlow Probability draws with the same seed. Its
# distributions take some thirty operations for a draw, which a small model feels in
# every step.


def standard_normals(seed: tf.Tensor, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draw float32 numbers from N(0, 1).

    Args:
        seed: integer tensor `[2]`.
        shape: of the draw.
    """
    return _draw(tf.raw_ops.StatelessRandomNormalV2, seed, shape)


def standard_exponentials(
    seed: tf.Tensor, shape: Sequence[int] | tf.Tensor
) -> tf.Tensor:
    """Draw float32 numbers from the exponential distribution of rate 1, as above."""
    return -tf.math.log(_positive_uniforms(seed, shape))


def _standard_logistics(seed, shape):
    uniform = _positive_uniforms(seed, shape)
    return tf.math.log(uniform) - tf.math.log1p(-uniform)


def _standard_gumbels(seed, shape):
    return -tf.math.log(standard_exponentials(seed, shape))


def _positive_uniforms(seed, shape):
    return _draw(tf.raw_ops.StatelessRandomUniformV2, seed, shape) + _LEAST_UNIFORM


def _draw(operation, seed, shape):
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    algorithm = tf.random.Algorithm.AUTO_SELECT.value
    return operation(shape=shape, key=key, counter=counter, alg=algorithm)


# === Draws by name ===


class Noise:
    """Random numbers by name; each name can be drawn once from one object."""

    def __init__(self):
        self._drawn: set[str] = set()
        self._prefix = ""

    def sample(
        self, name: str, sampler: Callable[..., tf.Tensor], *parameters: tf.Tensor
    ) -> tf.Tensor:
        """Draw float32 numbers from a distribution with a parameter per row.

        Args:
            name: of the draw.
            sampler: function from a `[2]` int32 seed and the parameters to a tensor
                whose leading axis is theirs; it may be given all rows, or single rows
                without that axis.
            *parameters: tensors `[B, ...]`.

        Raises:
            ValueError: the name has been drawn before.
        """
        name = self._prefix + name
        if name in self._drawn:
            raise ValueError(
                f"Expected a name that was not drawn yet, got {name!r} twice, which "
                "would be the same numbers: take another name or noise.child(name)."
            )
        self._drawn.add(name)
        return self._sample(_salt(name), sampler, *parameters)

    def _sample(self, salt, sampler, *parameters):
        raise NotImplementedError

    def child(self, name: str) -> "Noise":
        """Return noise for code with names of its own, all of them below `name`."""
        child = copy.copy(self)
        child._prefix = f"{self._prefix}{name}/"
        return child

    def normal(self, name: str, mean: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
        """Draw from N(mean, stddev^2), `[B, ...]`, differentiably in both."""

        def sampler(seed, mean, stddev):
            return standard_normals(seed, tf.shape(mean)) * stddev + mean

        return self.sample(name, sampler, mean, stddev)

    def standard_normal(
        self, name: str, like: tf.Tensor, event: Sequence[int] = ()
    ) -> tf.Tensor:
        """Draw from N(0, 1), shaped like `like` with the axes `event` added."""

        def sampler(seed, rows):
            shape = tf.concat([tf.shape(rows), event], 0) if event else tf.shape(rows)
            return standard_normals(seed, shape)

        return self.sample(name, sampler, like)

    def logistic(self, name: str, like: tf.Tensor) -> tf.Tensor:
        """Draw from the standard logistic distribution, shaped like `like`."""
        return self._standard(name, _standard_logistics, like)

    def gumbel(self, name: str, like: tf.Tensor) -> tf.Tensor:
        """Draw from the standard Gumbel distribution, shaped like `like`."""
        return self._standard(name, _standard_gumbels, like)

    def _standard(self, name, draw, like):
        return self.sample(name, lambda seed, rows: draw(seed, tf.shape(rows)), like)

    def uniform(self, name: str, like: tf.Tensor, least: float = 0.0) -> tf.Tensor:
        """Draw evenly from [least, 1), shaped like `like`."""

        def sampler(seed, rows):
            return tf.random.stateless_uniform(tf.shape(rows), seed, least)

        return self.sample(name, sampler, like)

    def integers(self, name: str, like: tf.Tensor, num: int) -> tf.Tensor:
        """Draw int32 numbers evenly from 0..num - 1, shaped like `like`."""

        def sampler(seed, rows):
            shape = tf.shape(rows)
            drawn = tf.random.stateless_uniform(shape, seed, 0, num, tf.int32)
            return tf.cast(drawn, tf.float32)

        return tf.cast(self.sample(name, sampler, like), tf.int32)


class BatchNoise(Noise):
    """Noise of one training step, drawn for the global batch at once.

    Under a distribution strategy every replica draws the noise of all rows and keeps
    its own, so any number of replicas sees the draws that one device would.

    Args:
        seed: int32 tensor `[2]` (see `step_seed`).
        rows: `(offset, total)`, int32 scalars that locate this replica's rows in the
            global batch, or None when the batch is whole.
    """

    def __init__(self, seed: tf.Tensor, rows: tuple | None = None):
        super().__init__()
        self.seed = seed
        self.rows = rows
        # All that `stateless_fold_in` makes of a seed, but for the salt.
        self._folded, _ = tf.unstack(tf.random.experimental.stateless_fold_in(seed, 0))

    def _sample(self, salt, sampler, *parameters):
        seed = tf.stack([self._folded, salt])
        if self.rows is None:
            return sampler(seed, *parameters)
        offset, total = self.rows
        size = tf.shape(parameters[0])[0]

        def widen(value):
            after = total - offset - size
            paddings = [[offset, after]] + [[0, 0]] * (value.shape.rank - 1)
            # Ones keep every parameter valid in the rows that are thrown away.
            return tf.pad(value, paddings, constant_values=1)

        drawn = sampler(seed, *(widen(value) for value in parameters))
        return drawn[offset : offset + size]


class RowNoise(Noise):
    """Noise whose rows each have a seed of their own.

    Args:
        seeds: int32 tensor `[B, 2]` (see `content_seeds` and `index_seeds`).
        draws: number of consecutive rows of the parameters that one seed serves;
            these then hold `B * draws` rows, and a sampler sees `draws` of them.
    """

    def __init__(self, seeds: tf.Tensor, draws: int | None = None):
        super().__init__()
        self.seeds = seeds
        self.draws = draws

    def _sample(self, salt, sampler, *parameters):
        first, second = tf.unstack(self.seeds, axis=1)
        second = tf.bitwise.bitwise_xor(second, tf.constant(salt, tf.int32))
        if self.draws is not None:
            parameters = [_split_rows(value, self.draws) for value in parameters]
        drawn = tf.map_fn(
            lambda row: sampler(row[0], *row[1:]),
            (tf.stack([first, second], 1), *parameters),
            fn_output_signature=tf.float32,
        )
        return drawn if self.draws is None else _join_rows(drawn)


def _split_rows(value, draws):
    return tf.reshape(value, tf.concat([[-1, draws], tf.shape(value)[1:]], 0))


def _join_rows(value):
    return tf.reshape(value, tf.concat([[-1], tf.shape(value)[2:]], 0))
