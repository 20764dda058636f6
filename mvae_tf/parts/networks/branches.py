"""What the convolutional networks share: one branch of layers for each component.

The K branches run one after the other, which is faster on a CPU than one grouped
convolution (`scripts/benchmark.py` measures it).
"""

import keras
import tensorflow as tf

from mvae_tf.parts.networks.network import (
    ComponentNetwork,
    Network,
    append_labels,
    copy_each,
    gaussian_head,
)

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
    """Batch normalisation through TensorFlow's fused kernel where one device trains.

    Under several replicas the statistics are those of the global batch, so that N
    devices train like one.

    Args:
        batch_statistics: bool, whether inference, too, normalises by the statistics of
            its batch, as the MVAE authors' code does; an answer then depends on the
            batch that the image is in.
        **kwargs: keyword arguments of the Keras layer.
    """

    def __init__(self, batch_statistics=False, **kwargs):
        kwargs.setdefault("momentum", 0.9)
        kwargs.setdefault("epsilon", 1e-5)
        super().__init__(**kwargs, synchronized=True)
        self.batch_statistics = batch_statistics

    def call(self, x, training=False):
        """Normalise `x`, `[B, H, W, C]` or `[B, C]`, by channel, in its own dtype."""
        if not training and self.batch_statistics:
            mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
            return self._normalize(x, mean, variance)
        if not training or x.shape.rank != 4:
            return super().call(x, training=training)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            mean, variance, count = _global_moments(x)
            y = self._normalize(x, mean, variance)
            # The fused kernel below also reports the unbiased estimate.
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
    """Compute mean, variance and number of values per channel over all replicas."""
    context = tf.distribute.get_replica_context()

    def total(value):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

    x = tf.cast(x, tf.float32)
    count = total(tf.reduce_prod(tf.cast(tf.shape(x)[:3], tf.float32)))
    mean = total(tf.reduce_sum(x, [0, 1, 2])) / count
    deviation = tf.math.squared_difference(x, mean)
    return mean, total(tf.reduce_sum(deviation, [0, 1, 2])) / count, count


def leaky_relu(slope):
    """Return the function max(x, slope x), for a step of a `Branch`."""

    @tf.custom_gradient
    def activate(x):
        y = tf.nn.leaky_relu(x, slope)

        def gradient(upstream):
            # The gradient reads y rather than x, which has the same sign: TensorFlow's
            # graph optimiser fuses this function with the layer before it only where
            # nothing else reads x, and logs an error where a gradient does.
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=slope)

        return y, gradient

    return activate


class Branch(keras.layers.Layer):
    """Layers and functions, each applied to the output of the last.

    Args:
        steps: list of layers and functions; a branch may be a step of another.
        input_shape: tuple of ints, shape of one row of the input.
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
        """Do nothing, because the constructor makes every variable."""

    def compute_output_shape(self, input_shape):
        """Return the shape `(B, ...)` of the output."""
        return (input_shape[0], *self.reached_shape)

    def call(self, x, training=False):
        """Apply the steps; only batch normalisation is told whether it trains."""
        for step in self.steps:
            if isinstance(step, BatchNormalization | Branch):
                x = step(x, training=training)
            elif isinstance(step, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
                x = self._convolve(step, x, training)
            else:
                x = step(x)
        return x

    def _convolve(self, layer, x, training):
        """Apply a convolution, also to no rows, for which oneDNN makes a bad shape."""
        if training and tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return layer(x)
        rows = tf.shape(x)[0]
        at_least_one = tf.pad(x, [[0, tf.maximum(1 - rows, 0)], [0, 0], [0, 0], [0, 0]])
        return layer(at_least_one)[:rows]


class Branches(ComponentNetwork):
    """K branches of the same shape.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        make_steps: function from the index of a component and a dtype policy to the
            steps of its branch.
        input_shape: tuple of ints, shape of one row of the input.
    """

    def __init__(self, spec, make_steps, input_shape):
        super().__init__(**spec.layer)
        self.spec = spec
        self.branches = [
            Branch(
                make_steps(i, self.dtype_policy),
                input_shape,
                dtype=self.dtype_policy,
                name=f"component_{i}",
            )
            for i in range(spec.sets)
        ]
        self.built = True

    def copy_components(self, source, kept):
        copy_each(self.branches, source.branches, kept)


class ConvEncoder(Branches):
    """K convolutional encoders; labels are appended to the flattened features.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        make_steps: function, see `Branches`.
        make_head: function from the index of a component and a dtype policy to its last
            layer, which has `spec.head_units` outputs.
    """

    def __init__(self, spec, make_steps, make_head):
        super().__init__(spec, make_steps, spec.image_shape)
        self.heads = [make_head(i, self.dtype_policy) for i in range(spec.sets)]
        for branch, head in zip(self.branches, self.heads, strict=True):
            head.build((None, branch.reached_shape[0] + spec.num_classes))

    def call(self, x, labels=None, noise=None, training=False):
        """Compute mean and stddev `[B, K, Z]` and scores `[B, K]` of images `x`."""
        del noise
        features = [
            head(append_labels(branch(x, training=training), labels))
            for branch, head in zip(self.branches, self.heads, strict=True)
        ]
        return self.split_head(tf.stack(features, axis=1))

    def split_head(self, features):
        """Split the outputs `[B, K, ...]` of the heads into mean, stddev and scores."""
        return gaussian_head(features, self.spec.latent_dim, self.spec.deviations)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        copy_each(self.heads, source.heads, kept)


class ConvSubDecoder(Branches):
    """K sub-decoders; labels are appended to the latent of each component.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        make_steps: function, see `Branches`.
    """

    def __init__(self, spec, make_steps):
        super().__init__(spec, make_steps, (spec.code_size,))

    def call(self, z, labels=None, noise=None, training=False):
        """Compute features `[K, B, ...]` from latents `z` `[B, K, Z]`."""
        del noise
        latents = zip(tf.unstack(z, axis=1), self.branches, strict=True)
        return tf.stack(
            [
                branch(append_labels(z, labels), training=training)
                for z, branch in latents
            ]
        )


class ConvMixDecoder(Branches):
    """Convolutions to the parameters of the likelihood.

    If all components share the layer, it takes features `[B, ...]`, and otherwise
    `[K, B, ...]`.
    """

    def call(self, features, noise=None, training=False):
        """Compute `[B, H, W, C]` if shared, otherwise `[K, B, H, W, C]`."""
        del noise
        if self.spec.shared:
            return self.branches[0](features, training=training)
        parts = zip(tf.unstack(features), self.branches, strict=True)
        return tf.stack([branch(part, training=training) for part, branch in parts])


class ConvNetwork(Network):
    """A network of convolutions, which takes images and no vectors."""

    def check_images(self, image_shape):
        """Check that the model has images.

        Raises:
            ValueError: on vectors.
        """
        if len(image_shape) != 3:
            raise ValueError(
                f"Expected images [H, W, C] for network {self.name!r}, "
                f"got {tuple(image_shape)}."
            )
