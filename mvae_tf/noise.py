"""Stateless noise: every random number is a pure function of what identifies it.

A model never keeps the state of a random generator. Training draws are a function of
(seed, step, row of the global batch), whatever the number of replicas, so that a run
can be killed and resumed, or spread over devices, without changing a single draw.
Evaluation draws are a function of (seed, content of the row), so that an answer does
not depend on the batch that the row rides in. Seeded generation draws are a function
of (seed, index of the row).

These functions are not the same with and without XLA, which reads its random bits in
an order of its own: a run is repeatable under either, and differs between the two.

Both kinds of noise are called alike, `noise(name, sampler, *parameters)`:

- `name` separates the draws of one step ("z", "mask", ...);
- `sampler(seed, *parameters)` draws from `seed`, a `[2]` int32 tensor, and returns a
  tensor whose leading axis is the one of `parameters` (it is given single rows,
  without that axis, by `RowNoise`).
"""

import numbers
import zlib

import tensorflow as tf

__all__ = [
    "BatchNoise",
    "RowNoise",
    "check_seed",
    "content_seeds",
    "index_seeds",
    "step_seed",
]


def _salt(name):
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def check_seed(seed):
    """The seed as a Python int.

    Raises:
        ValueError: unless it is an integer in 0..2^31 - 1.
    """
    if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**31:
        raise ValueError(f"Expected a seed in 0..{2**31 - 1}, got {seed!r}.")
    return int(seed)


def step_seed(seed, step):
    """Seed of one training step.

    Args:
        seed: int, the model's seed.
        step: int64 scalar tensor, the number of steps done before this one.

    Returns:
        int64 tensor `[2]`.
    """
    seed = tf.constant([seed, _salt("step")], tf.int32)
    return tf.random.experimental.stateless_fold_in(seed, step)


def content_seeds(x, seed):
    """Row seeds that depend on nothing but `seed` and the row's own values.

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


def index_seeds(num, seed, start=0):
    """Row seeds `[num, 2]` that depend on `seed` and on the index of the row.

    Args:
        num: int or int32 scalar, the number of rows.
        seed: int or int32 scalar.
        start: int or int32 scalar, the index of the first row.

    Returns:
        int32 tensor `[num, 2]`.
    """
    index = tf.range(start, start + num, dtype=tf.int32)
    return tf.stack([index, tf.fill(tf.shape(index), tf.cast(seed, tf.int32))], 1)


class BatchNoise:
    """Noise of one training step, drawn for the global batch at once.

    Under a distribution strategy every replica draws the noise of all rows and keeps
    its own, so any number of replicas sees the draws that one device would.

    Args:
        seed: int64 tensor `[2]` (see `step_seed`).
        rows: `(offset, total)`, int32 scalars that locate this replica's rows in the
            global batch, or None when the batch is whole.
    """

    def __init__(self, seed, rows=None):
        self.seed = seed
        self.rows = rows

    def __call__(self, name, sampler, *parameters):
        seed = tf.random.experimental.stateless_fold_in(self.seed, _salt(name))
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


class RowNoise:
    """Noise whose rows each have a seed of their own.

    Args:
        seeds: int32 tensor `[B, 2]` (see `content_seeds` and `index_seeds`).
        draws: number of consecutive rows of the parameters that one seed serves;
            these then hold `B * draws` rows, and a sampler sees `draws` of them.
    """

    def __init__(self, seeds, draws=None):
        self.seeds = seeds
        self.draws = draws

    def __call__(self, name, sampler, *parameters):
        first, second = tf.unstack(self.seeds, axis=1)
        second = tf.bitwise.bitwise_xor(second, tf.constant(_salt(name), tf.int32))
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
