"""Training on several replicas: devices of one machine, or of several machines.

Every term of an objective is summed over the global batch, of which one replica may
have fewer examples than another, or none. Replicas exchange tensors by `all_reduce`
alone: each replica fills its own part of a tensor of zeros, and these are summed. The
sum is exact, has a gradient, and does not need shares of equal size.

Keras 3 supports neither shares of unequal size nor `MultiWorkerMirroredStrategy`.
`Replicas` overrides the methods of its TensorFlow trainer that prevent these.
"""

import itertools
import weakref

import keras
import tensorflow as tf

__all__ = [
    "Replicas",
    "gather_rows",
    "global_rows",
    "is_multi_worker",
    "num_replicas",
    "on_all",
    "stack_replicas",
    "sum_replicas",
]


def num_replicas() -> int:
    """Return the number of replicas that train together, 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sum a tensor over all replicas; on one device, return it as it is."""
    if num_replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def on_all(flag: tf.Tensor) -> tf.Tensor:
    """Return whether a flag, a bool scalar, is true on every replica."""
    if num_replicas() == 1:
        return flag
    return sum_replicas(tf.cast(~flag, tf.float32)) < 0.5


def stack_replicas(value: tf.Tensor) -> tf.Tensor:
    """Stack the tensors of all replicas, which have one shape, `[replicas, ...]`."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    mine = tf.range(num_replicas()) == replica
    mine = tf.reshape(mine, [-1, *[1] * value.shape.rank])
    return sum_replicas(tf.where(mine, value, tf.zeros_like(value)))


def global_rows(x: tf.Tensor) -> tuple[tuple | None, tf.Tensor]:
    """Locate the rows of this replica in the global batch.

    Args:
        x: `[B, ...]`, the rows of this replica.

    Returns:
        A pair. The first element is `(first, total)`, int32 scalars: the index of the
        first row of this replica and the number of all rows; None on one device. The
        second is the number of all rows as a float32 scalar.
    """
    # Accelerators can sum floats, which count exactly up to 2^24 rows.
    size = tf.cast(tf.shape(x)[0], tf.float32)
    if num_replicas() == 1:
        return None, size
    sizes = tf.cast(stack_replicas(size), tf.int32)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    total = tf.reduce_sum(sizes)
    return (tf.reduce_sum(sizes[:replica]), total), tf.cast(total, tf.float32)


def gather_rows(value: tf.Tensor) -> tf.Tensor:
    """Return the rows of all replicas, with a gradient to those of each replica.

    Args:
        value: `[B, ...]`, the rows of this replica.

    Returns:
        The rows of the global batch; `value` itself on one device.
    """
    if num_replicas() == 1:
        return value
    (first, total), _ = global_rows(value)
    after = total - first - tf.shape(value)[0]
    paddings = [[first, after]] + [[0, 0]] * (value.shape.rank - 1)
    gathered = sum_replicas(tf.pad(value, paddings))
    return tf.ensure_shape(gathered, (None, *value.shape[1:]))


class Replicas:
    """Overrides that let a Keras model train under any `tf.distribute` strategy."""

    def fit(self, x=None, y=None, batch_size=None, validation_data=None, **kwargs):
        """Train as `keras.Model.fit` does; several workers share each batch.

        All workers have to pass the same data. Arrays are shuffled with the seed of the
        model, in the same order on every worker.

        Raises:
            ValueError: on `validation_split` with several workers.
        """
        if is_multi_worker(self.distribute_strategy):
            if kwargs.get("validation_split"):
                raise ValueError(
                    "Expected validation_data with several workers, got "
                    "validation_split."
                )
            if not isinstance(x, tf.data.Dataset):
                x = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
                if kwargs.pop("shuffle", True):
                    x = x.shuffle(len(x), seed=self.seed)
                x, y = x.batch(batch_size or 32), None
                batch_size = None
            x, validation_data = _shared_by_batch(x), _shared_by_batch(validation_data)
        return super().fit(
            x, y, batch_size=batch_size, validation_data=validation_data, **kwargs
        )

    def evaluate(self, x=None, *args, **kwargs):
        """Evaluate as `keras.Model.evaluate` does; several workers share each batch."""
        if is_multi_worker(self.distribute_strategy):
            x = _shared_by_batch(x)
        return super().evaluate(x, *args, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Build the optimiser; the model was built by its constructor.

        Keras would average the first batch over the replicas to find its shape, which
        fails where their shares have unequal sizes, and with several workers.
        """
        strategy = self.distribute_strategy
        _separate_groups(strategy)
        if self.optimizer is not None and not self.optimizer.built:
            with strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _make_function(self, step_function):
        """Return Keras' function of one execution, or another one for several workers.

        Keras would average the logs of a step over the workers along an axis, which
        scalars do not have. Here a worker shows its own logs during an epoch; the logs
        at its end are those of all workers.

        Raises:
            ValueError: on settings that are not supported with several workers.
        """
        strategy = self.distribute_strategy
        if not is_multi_worker(strategy):
            return super()._make_function(step_function)
        if self.steps_per_execution != 1 or self.jit_compile is True:
            raise ValueError(
                "Expected steps_per_execution=1 and no jit_compile with several "
                f"workers, got {self.steps_per_execution} and {self.jit_compile}."
            )

        @tf.autograph.experimental.do_not_convert
        def step(batch):
            logs = strategy.run(step_function, args=(batch,))
            return keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0], logs
            )

        if not self.run_eagerly:
            step = tf.function(step, reduce_retracing=True)
        return lambda iterator: step(next(iterator))


def _shared_by_batch(data):
    """Return a data set of which workers take parts of each batch, not whole files."""
    if not isinstance(data, tf.data.Dataset):
        return data
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return data.with_options(options)


def is_multi_worker(strategy):
    """Return whether a strategy has several processes."""
    resolver = strategy.cluster_resolver
    return resolver is not None and len(resolver.cluster_spec().as_dict()) > 0


_group_keys = itertools.count(1_000, 1_000)
_separated = weakref.WeakSet()


def _separate_groups(strategy):
    """Give the devices of a `MirroredStrategy` a group key that no other one has.

    TensorFlow gives the devices of every strategy the group key 1, so that training on
    4 devices after training on 2 in the same process would end in an internal error.
    """
    if isinstance(strategy, tf.distribute.MirroredStrategy):
        if strategy in _separated:
            return
        _separated.add(strategy)
        extended = strategy.extended
        given = extended._cross_device_ops is not extended._collective_ops
        extended._collective_key_base = next(_group_keys)
        extended._collective_ops = extended._make_collective_ops_with_fallbacks()
        if not given:
            extended._cross_device_ops = extended._collective_ops
