"""Stateless noise: every random number is a pure function of what identifies it.

A model never keeps the state of a random generator. The draws of training are a
function of (seed, step, row of the global batch), whatever the number of replicas, so
that a run can be killed and resumed, or spread over devices, without any change of its
draws. The draws of an evaluation are a function of (seed, content of the row), so that
a result does not depend on the batch that the row is in. The draws of a generation with
a seed are a function of (seed, index of the row).

XLA uses random bits in another order than TensorFlow without it. A run can be repeated
with or without XLA, but the two have different draws.

All kinds of noise have the same methods, such as `noise.uniform(name, like)`. Each draw
of a step has its own name ("z", "mask", ...). Two draws with one name would be the same
numbers, and the second is refused. `noise.child(name)` is noise for code that has names
of its own.
"""

import copy
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mvae_tf.parts.part import is_integer

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
        ValueError: the seed is no integer in 0..2^31 - 1.
    """
    if not is_integer(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"Expected a seed in 0..{2**31 - 1}, got {seed!r}.")
    return int(seed)


def step_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Make the seed of one training step.

    Args:
        seed: int, the seed of the model.
        step: int64 scalar tensor, the number of steps done before this one.

    Returns:
        int32 tensor `[2]`.
    """
    seed = tf.constant([seed, _salt("step")], tf.int32)
    return tf.random.experimental.stateless_fold_in(seed, step)


def content_seeds(x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """Make row seeds that depend only on `seed` and the values of the row.

    The bits of the row are hashed in exact integer arithmetic, so that the result does
    not depend on the order of summation. Equal rows get equal seeds.

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


def index_seeds(num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """Make row seeds that depend on `seed` and on the index of the row.

    Args:
        num: int or int32 scalar, the number of rows.
        seed: int or int32 scalar.

    Returns:
        int32 tensor `[num, 2]`.
    """
    index = tf.range(num, dtype=tf.int32)
    return tf.stack([index, tf.fill(tf.shape(index), tf.cast(seed, tf.int32))], 1)


# === Draws from a seed ===

# These are the numbers that TensorFlow Probability draws with the same seed. Its
# distributions take about thirty operations for a draw, which makes the steps of small
# models slower.


def standard_normals(seed: tf.Tensor, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draw float32 numbers from N(0, 1).

    Args:
        seed: integer tensor `[2]`.
        shape: list of ints or int32 tensor, shape of the draw.
    """
    return _draw(tf.raw_ops.StatelessRandomNormalV2, seed, shape)


def standard_exponentials(
    seed: tf.Tensor, shape: Sequence[int] | tf.Tensor
) -> tf.Tensor:
    """Draw float32 numbers from the exponential distribution of rate 1.

    Arguments are those of `standard_normals`.
    """
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
    """Random numbers by name, of which each name can be drawn once."""

    def __init__(self):
        self._drawn: set[str] = set()
        self._prefix = ""
        self._graph = tf.compat.v1.get_default_graph()

    def sample(
        self, name: str, sampler: Callable[..., tf.Tensor], *parameters: tf.Tensor
    ) -> tf.Tensor:
        """Draw float32 numbers from a distribution with parameters for each row.

        Args:
            name: str, name of the draw.
            sampler: function from a seed, int32 `[2]`, and the parameters to the draw.
                It is called either once with all rows, and returns a tensor with the
                same leading axis, or with single rows without this axis.
            *parameters: tensors `[B, ...]`.

        Raises:
            ValueError: the name has been drawn before, or is drawn in a loop of
                TensorFlow, each pass of which would draw the same numbers.
        """
        name = self._prefix + name
        graph = tf.compat.v1.get_default_graph()
        while graph is not self._graph and hasattr(graph, "outer_graph"):
            if "while_body" in graph.name:
                raise ValueError(
                    f"Expected {name!r} to be drawn outside of loops of TensorFlow, "
                    "got a draw in one, each pass of which would have the same "
                    "numbers: draw all of them before the loop."
                )
            graph = graph.outer_graph
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
        """Return noise for code with names of its own, to which `name` is prefixed."""
        child = copy.copy(self)
        child._prefix = f"{self._prefix}{name}/"
        return child

    def normal(self, name: str, mean: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
        """Draw from N(mean, stddev^2), `[B, ...]`, with gradients to both."""

        def sampler(seed, mean, stddev):
            return standard_normals(seed, tf.shape(mean)) * stddev + mean

        return self.sample(name, sampler, mean, stddev)

    def standard_normal(
        self, name: str, like: tf.Tensor, event: Sequence[int] = ()
    ) -> tf.Tensor:
        """Draw from N(0, 1), in the shape of `like` followed by the axes `event`."""

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
        """Draw from the uniform distribution on [least, 1), shaped like `like`."""

        def sampler(seed, rows):
            return tf.random.stateless_uniform(tf.shape(rows), seed, least)

        return self.sample(name, sampler, like)

    def integers(self, name: str, like: tf.Tensor, num: int) -> tf.Tensor:
        """Draw int32 numbers that are uniform in 0..num - 1, shaped like `like`."""

        def sampler(seed, rows):
            shape = tf.shape(rows)
            drawn = tf.random.stateless_uniform(shape, seed, 0, num, tf.int32)
            return tf.cast(drawn, tf.float32)

        return tf.cast(self.sample(name, sampler, like), tf.int32)


class BatchNoise(Noise):
    """Noise of one training step, drawn for the global batch at once.

    Under a distribution strategy every replica draws the noise of all rows and keeps
    that of its own rows, so that any number of replicas has the draws of one device.

    Args:
        seed: int32 tensor `[2]` (see `step_seed`).
        rows: `(offset, total)`, int32 scalars: the index of the first row of this
            replica in the global batch, and the number of all rows. None if the batch
            is not divided.
    """

    def __init__(self, seed: tf.Tensor, rows: tuple | None = None):
        super().__init__()
        self.seed = seed
        self.rows = rows
        # `stateless_fold_in` would return this number and the salt of the name.
        self._folded = tf.random.stateless_uniform([], seed, None, None, tf.int32)

    def _sample(self, salt, sampler, *parameters):
        seed = tf.stack([self._folded, salt])
        if self.rows is None:
            return sampler(seed, *parameters)
        offset, total = self.rows
        size = tf.shape(parameters[0])[0]

        def widen(value):
            after = total - offset - size
            paddings = [[offset, after]] + [[0, 0]] * (value.shape.rank - 1)
            # In the rows of other replicas all parameters are 1, which is valid.
            return tf.pad(value, paddings, constant_values=1)

        drawn = sampler(seed, *(widen(value) for value in parameters))
        return drawn[offset : offset + size]


class RowNoise(Noise):
    """Noise in which each row has a seed of its own.

    Args:
        seeds: int32 tensor `[B, 2]` (see `content_seeds` and `index_seeds`).
        draws: int, number of consecutive rows of the parameters that have one seed in
            common. The parameters then have `B * draws` rows, and a sampler gets
            `draws` of them at a time. None is one row for each seed.
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
