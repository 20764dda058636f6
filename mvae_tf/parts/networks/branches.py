"""What the convolutional networks share: K branches of layers run in turn.

On CPU a list of convolutions is faster than one grouped convolution
(`scripts/benchmark.py` measures it).
"""

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import ComponentNetwork, Network, gaussian_head

__all__ = [
    "BatchNormalization",
    "Branch",
    "ConvEncoder",
    "ConvMixDecoder",
    "ConvNetwork",
    "ConvSubDecoder",
    "leaky_relu",
]


@keras.saving.register_keras_serializable(package="mvae_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation through TF's fused kernel where one device trains.

    Under several replicas the statistics are those of the global batch (Keras'
    synchronised form), so that N devices train as one.

    Args:
        batch_statistics: whether inference, too, normalises by the statistics of its
            batch, as the authors' code does; answers then depend on the batch.
        **kwargs: arguments of the Keras layer.
    """

    def __init__(self, batch_statistics=False, **kwargs):
        kwargs.setdefault("momentum", 0.9)
        kwargs.setdefault("epsilon", 1e-5)
        super().__init__(**kwargs, synchronized=True)
        self.batch_statistics = batch_statistics

    def call(self, x, training=False):
        """`[B, H, W, C]` or `[B, C]` normalised by channel, in the dtype of `x`."""
        if not training and self.batch_statistics:
            mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
            return self._normalize(x, mean, variance)
        if not training or x.shape.rank != 4:
            return super().call(x, training=training)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            mean, variance, count = _global_moments(x)
            y = self._normalize(x, mean, variance)
            # The fused kernel, too, reports the unbiased estimate.
            variance *= count / (count - 1.0)
        else:
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x,
                tf.cast(self.gamma, tf.float32),
                tf.cast(self.beta, tf.float32),
                epsilon=self.epsilon,
                is_training=True,
            )
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return y

    def _normalize(self, x, mean, variance):
        return tf.nn.batch_normalization(
            x,
            tf.cast(mean, x.dtype),
            tf.cast(variance, x.dtype),
            tf.cast(self.beta, x.dtype),
            tf.cast(self.gamma, x.dtype),
            self.epsilon,
        )


def _global_moments(x):
    """Mean, variance and number of the values of each channel over all replicas."""
    context = tf.distribute.get_replica_context()

    def total(value):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

    x = tf.cast(x, tf.float32)
    count = total(tf.reduce_prod(tf.cast(tf.shape(x)[:3], tf.float32)))
    mean = total(tf.reduce_sum(x, [0, 1, 2])) / count
    deviation = tf.math.squared_difference(x, mean)
    return mean, total(tf.reduce_sum(deviation, [0, 1, 2])) / count, count


def leaky_relu(slope):
    """Function max(x, slope x), for a step of a `Branch`."""

    @tf.custom_gradient
    def activate(x):
        y = tf.nn.leaky_relu(x, slope)

        def gradient(upstream):
            # Of y rather than x, whose sign is the same: TF's graph optimiser fuses
            # the layer before with this one only where nothing else reads x, and
            # fails aloud where its gradient does.
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=slope)

        return y, gradient

    return activate


class Branch(keras.layers.Layer):
    """Layers and functions in a row.

    Args:
        steps: the layers and functions; a branch may be a step of another.
        input_shape: of one row.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(self, steps, input_shape, **kwargs):
        super().__init__(**kwargs)
        self.steps = list(steps)
        shape = (None, *input_shape)
        for step in self.steps:
            if isinstance(step, keras.layers.Layer):
                step.build(shape)
                shape = step.compute_output_shape(shape)
        self.reached_shape = tuple(shape)[1:]
        self.built = True

    def build(self, input_shape):
        """Nothing to do: every variable is made by the constructor."""

    def compute_output_shape(self, input_shape):
        """Shape `(B, ...)` of what the steps make."""
        return (input_shape[0], *self.reached_shape)

    def call(self, x, training=False):
        """The steps in turn; batch normalisation alone is told whether it trains."""
        for step in self.steps:
            if isinstance(step, BatchNormalization | Branch):
                x = step(x, training=training)
            elif isinstance(step, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
                x = self._convolve(step, x, training)
            else:
                x = step(x)
        return x

    def _convolve(self, layer, x, training):
        """A convolution that takes empty batches, to which oneDNN gives a bad shape."""
        if training and tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return layer(x)
        rows = tf.shape(x)[0]
        at_least_one = tf.pad(x, [[0, tf.maximum(1 - rows, 0)], [0, 0], [0, 0], [0, 0]])
        return layer(at_least_one)[:rows]


class Branches(ComponentNetwork):
    """K branches of the same shape; `shared` networks have one."""

    def __init__(self, make_steps, input_shape, num_components, **kwargs):
        super().__init__(**kwargs)
        self.branches = [
            Branch(
                make_steps(i, self.dtype_policy),
                input_shape,
                dtype=self.dtype_policy,
                name=f"component_{i}",
            )
            for i in range(num_components)
        ]
        self.built = True

    def copy_components(self, source, kept):
        for branch, index in zip(self.branches, kept, strict=True):
            branch.set_weights(source.branches[index].get_weights())


class ConvEncoder(Branches):
    """K convolutional encoders; labels are appended to the flattened features."""

    def __init__(self, latent_dim, make_head, head_units, deviations=True, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.deviations = deviations
        self.heads = [
            make_head(i, self.dtype_policy) for i in range(len(self.branches))
        ]
        for head in self.heads:
            head.build((None, head_units))

    def call(self, x, labels=None, noise=None, training=False):
        """Mean and stddev `[B, K, Z]`, and scores `[B, K]` or None, of `x`."""
        del noise
        features = []
        for branch, head in zip(self.branches, self.heads, strict=True):
            hidden = branch(x, training=training)
            if labels is not None:
                hidden = tf.concat([hidden, tf.cast(labels, hidden.dtype)], axis=-1)
            features.append(head(hidden))
        return self.split_head(tf.stack(features, axis=1))

    def split_head(self, features):
        """Mean, standard deviation and scores from the heads' `[B, K, ...]`."""
        return gaussian_head(features, self.latent_dim, self.deviations)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        for head, index in zip(self.heads, kept, strict=True):
            head.set_weights(source.heads[index].get_weights())


class ConvSubDecoder(Branches):
    """K sub-decoders: one dense layer to a feature map each."""

    def call(self, z, labels=None, noise=None, training=False):
        """Features `[K, B, ...]` from z `[B, K, Z]`."""
        del noise
        outputs = []
        for latent, branch in zip(tf.unstack(z, axis=1), self.branches, strict=True):
            if labels is not None:
                latent = tf.concat([latent, tf.cast(labels, latent.dtype)], axis=-1)
            outputs.append(branch(latent, training=training))
        return tf.stack(outputs)


class ConvMixDecoder(Branches):
    """Convolutions to the image, shared or one stack per component."""

    def __init__(self, shared, **kwargs):
        super().__init__(**kwargs)
        self.shared = shared

    def call(self, features, noise=None, training=False):
        """`[B, ...]` -> `[B, H, W, C]` if shared, else `[K, B, ...]` alike."""
        del noise
        if self.shared:
            return self.branches[0](features, training=training)
        parts = zip(tf.unstack(features), self.branches, strict=True)
        return tf.stack([branch(part, training=training) for part, branch in parts])


class ConvNetwork(Network):
    """A network of convolutions, which takes images alone."""

    def check_images(self, image_shape):
        """Raises ValueError on vectors."""
        if len(image_shape) != 3:
            raise ValueError(
                f"Expected images [H, W, C] for network {self.name!r}, "
                f"got {tuple(image_shape)}."
            )
