"""Convolutional networks of the MVAE paper: 32 x 32 and 64 x 64 colour images."""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import layer_seed
from mvae_tf.parts.networks.branches import (
    BatchNormalization,
    ConvEncoder,
    ConvMixDecoder,
    ConvNetwork,
    ConvSubDecoder,
    leaky_relu,
)

__all__ = ["BatchNormalization", "Conv"]

_leaky_relu = leaky_relu(0.2)


class Conv(ConvNetwork):
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
        deviations=True,
        **kwargs,
    ):
        """Encoder layer, with heads of the mixing weights and of the deviations."""

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
            units = latent_dim * (1 + deviations) + int(scores)
            return _dense(units, layer_seed(seed, "head", component), dtype)

        side = [math.ceil(n / 2 ** len(self.filters)) for n in input_shape[:2]]
        flat = self.units or math.prod(side) * self.filters[-1]
        return ConvEncoder(
            latent_dim,
            make_head=head,
            head_units=flat + num_classes,
            deviations=deviations,
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
