"""Convolutional networks of the MVAE paper: 32 x 32 and 64 x 64 colour images.

Encoders are K branches run in turn: on CPU a list of convolutions is faster than one
grouped convolution (`scripts/benchmark.py` measures it).
"""

import math

import keras
import tensorflow as tf

from mvae_tf.networks.base import ComponentNetwork, gaussian_head, layer_seed
from mvae_tf.parts import Part

__all__ = ["BatchNormalization", "Conv"]


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


@tf.custom_gradient
def _leaky_relu(x):
    y = tf.nn.leaky_relu(x, 0.2)

    def gradient(upstream):
        # Of y rather than x, whose sign is the same: TF's graph optimiser fuses the
        # layer before with this one only where nothing else reads x, and fails aloud
        # where its gradient does.
        return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=0.2)

    return y, gradient


class _Branch(keras.layers.Layer):
    """Layers in a row; batch normalisation alone is told whether it trains."""

    def __init__(self, steps, input_shape, **kwargs):
        super().__init__(**kwargs)
        self.steps = list(steps)
        shape = (None, *input_shape)
        for step in self.steps:
            if isinstance(step, keras.layers.Layer):
                step.build(shape)
                shape = step.compute_output_shape(shape)
        self.built = True

    def call(self, x, training=False):
        for step in self.steps:
            if isinstance(step, BatchNormalization):
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


class _Branches(ComponentNetwork):
    """K branches of the same shape; `shared` networks have one."""

    def __init__(self, make_steps, input_shape, num_components, **kwargs):
        super().__init__(**kwargs)
        self.branches = [
            _Branch(
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


class ConvEncoder(_Branches):
    """K convolutional encoders; labels are appended to the flattened features."""

    def __init__(self, latent_dim, make_head, head_units, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.heads = [
            make_head(i, self.dtype_policy) for i in range(len(self.branches))
        ]
        for head in self.heads:
            head.build((None, head_units))

    def call(self, x, labels=None, noise=None, training=False):
        del noise
        features = []
        for branch, head in zip(self.branches, self.heads, strict=True):
            hidden = branch(x, training=training)
            if labels is not None:
                hidden = tf.concat([hidden, tf.cast(labels, hidden.dtype)], axis=-1)
            features.append(head(hidden))
        return gaussian_head(tf.stack(features, axis=1), self.latent_dim)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        for head, index in zip(self.heads, kept, strict=True):
            head.set_weights(source.heads[index].get_weights())


class ConvSubDecoder(_Branches):
    """K sub-decoders: one dense layer to a feature map each."""

    def call(self, z, labels=None, noise=None, training=False):
        del noise
        outputs = []
        for latent, branch in zip(tf.unstack(z, axis=1), self.branches, strict=True):
            if labels is not None:
                latent = tf.concat([latent, tf.cast(labels, latent.dtype)], axis=-1)
            outputs.append(branch(latent, training=training))
        return tf.stack(outputs)


class ConvMixDecoder(_Branches):
    """Transposed convolutions to the image, shared or one stack a component."""

    def __init__(self, shared, **kwargs):
        super().__init__(**kwargs)
        self.shared = shared

    def call(self, features, noise=None, training=False):
        del noise
        if self.shared:
            return self.branches[0](features, training=training)
        parts = zip(tf.unstack(features), self.branches, strict=True)
        return tf.stack([branch(part, training=training) for part, branch in parts])


class Conv(Part):
    """Convolutional networks of the MVAE paper's colour experiments.

    The defaults are the authors' nets for 32 x 32 images; with one more step (128, 2)
    in `decoder` they are those for 64 x 64.

    Args:
        filters: channels of the encoder's strided convolutions.
        kernel_size: of every convolution.
        units: width of the encoder's dense layer; 0 for none.
        feature_map: shape of a sub-decoder's output, `(H, W, C)`.
        decoder: (channels, stride) of each transposed convolution of the mix-decoder
            before the last, which makes the image.
        output_stride: stride of that last one.
        batch_statistics: see `BatchNormalization`.
    """

    name = "conv"

    def __init__(
        self,
        filters=(64, 128, 256, 512),
        kernel_size=3,
        units=1024,
        feature_map=(8, 8, 256),
        decoder=((256, 2), (256, 1), (256, 2), (256, 1)),
        output_stride=1,
        batch_statistics=False,
    ):
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = units
        self.feature_map = tuple(feature_map)
        self.decoder = tuple(tuple(step) for step in decoder)
        self.output_stride = output_stride
        self.batch_statistics = batch_statistics

    def get_config(self):
        config = super().get_config()
        return config | {"decoder": [list(step) for step in self.decoder]}

    def _norm(self, dtype, name):
        return BatchNormalization(
            self.batch_statistics, dtype=dtype, name=f"norm_{name}"
        )

    def encoder(
        self,
        input_shape,
        latent_dim,
        num_components,
        num_classes,
        scores,
        seed,
        **kwargs,
    ):
        """Encoder layer; `scores` adds the head of the mixing weights."""
        if len(input_shape) != 3:
            raise ValueError(
                f"Expected images [H, W, C] for network 'conv', got {input_shape}."
            )

        def steps(component, dtype):
            for i, channels in enumerate(self.filters):
                yield keras.layers.Conv2D(
                    channels,
                    self.kernel_size,
                    strides=2,
                    padding="same",
                    kernel_initializer=keras.initializers.TruncatedNormal(
                        stddev=0.02, seed=layer_seed(seed, "encoder", component, i)
                    ),
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                if i:
                    yield self._norm(dtype, i)
                yield _leaky_relu
            yield keras.layers.Flatten(dtype=dtype)
            if self.units:
                yield _dense(self.units, layer_seed(seed, "hidden", component), dtype)
                yield _leaky_relu

        def head(component, dtype):
            units = 2 * latent_dim + int(scores)
            return _dense(units, layer_seed(seed, "head", component), dtype)

        side = [math.ceil(n / 2 ** len(self.filters)) for n in input_shape[:2]]
        flat = self.units or math.prod(side) * self.filters[-1]
        return ConvEncoder(
            latent_dim,
            make_head=head,
            head_units=flat + num_classes,
            make_steps=lambda *args: list(steps(*args)),
            input_shape=input_shape,
            num_components=num_components,
            **kwargs,
        )

    def sub_decoder(self, latent_dim, num_components, num_classes, seed, **kwargs):
        """Sub-decoder layer."""

        def steps(component, dtype):
            return [
                _dense(
                    math.prod(self.feature_map),
                    layer_seed(seed, "sub_decoder", component),
                    dtype,
                ),
                keras.layers.Reshape(self.feature_map, dtype=dtype),
                self._norm(dtype, 0),
                tf.nn.relu,
            ]

        return ConvSubDecoder(
            make_steps=steps,
            input_shape=(latent_dim + num_classes,),
            num_components=num_components,
            **kwargs,
        )

    def mix_decoder(self, output_shape, seed, num_components=None, **kwargs):
        """Mix-decoder layer; `num_components=None` shares one among all components."""
        scale = math.prod(stride for _, stride in self.decoder) * self.output_stride
        reached = tuple(side * scale for side in self.feature_map[:2])
        if reached != tuple(output_shape[:2]):
            raise ValueError(
                f"Expected a decoder that reaches images of {tuple(output_shape[:2])}, "
                f"got one that makes {reached}: change `feature_map` or `decoder`."
            )

        def deconv(channels, stride, component, i, dtype):
            return keras.layers.Conv2DTranspose(
                channels,
                self.kernel_size,
                strides=stride,
                padding="same",
                kernel_initializer=keras.initializers.RandomNormal(
                    stddev=0.02, seed=layer_seed(seed, "mix_decoder", component, i)
                ),
                dtype=dtype,
                name=f"deconv_{i}",
            )

        def steps(component, dtype):
            for i, (channels, stride) in enumerate(self.decoder):
                yield deconv(channels, stride, component, i, dtype)
                yield self._norm(dtype, i)
                yield tf.nn.relu
            last = len(self.decoder)
            yield deconv(output_shape[-1], self.output_stride, component, last, dtype)

        return ConvMixDecoder(
            shared=num_components is None,
            make_steps=lambda *args: list(steps(*args)),
            input_shape=self.feature_map,
            num_components=num_components or 1,
            **kwargs,
        )


def _dense(units, seed, dtype):
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=seed),
        dtype=dtype,
    )
