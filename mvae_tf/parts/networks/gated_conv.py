"""Gated convolutional networks of the VampPrior code, taken up by GMMpVAE.

A gated convolution is a product of two, h(x) * sigmoid(g(x)), without any other
nonlinearity. Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
https://arxiv.org/abs/1705.07120.
"""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import NetworkSpec, layer_seed, register
from mvae_tf.parts.networks.branches import ConvEncoder, ConvMixDecoder, ConvNetwork
from mvae_tf.parts.networks.gated import (
    INITIALIZERS,
    GatedStack,
    GatedSubDecoder,
    clipped_head,
)
from mvae_tf.parts.part import choice

__all__ = ["ENCODER_LAYERS", "GatedConv", "GatedConv2D", "GatedEncoderNetwork"]

ENCODER_LAYERS = ((32, 7, 1), (32, 3, 2), (64, 5, 1), (64, 3, 2), (6, 3, 1))


class GatedConv2D(keras.layers.Conv2D):
    """Convolution h(x) * sigmoid(g(x)) with the same zeros on opposite sides.

    The authors' PyTorch layers pad by (kernel - 1) / 2 on every side; TensorFlow's
    "same" would shift the strided ones by a pixel.

    Args:
        filters: channels of the output.
        kernel_size: odd.
        strides: int.
        initializer: "glorot" or "he".
        seed: int.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(self, filters, kernel_size, strides, initializer, seed, **kwargs):
        make = INITIALIZERS[initializer]

        def draw(shape, dtype=None):
            shape = (*shape[:-1], filters)
            maps = [make(seed=layer_seed(seed, which))(shape, dtype) for which in "hg"]
            return tf.concat(maps, axis=-1)

        super().__init__(
            2 * filters,
            kernel_size,
            strides,
            padding="same",
            kernel_initializer=draw,
            **kwargs,
        )

    def call(self, x):
        """`[B, H, W, I]` -> `[B, H / strides, W / strides, filters]`."""
        values, gates = tf.split(super().call(x), 2, axis=-1)
        return values * tf.sigmoid(gates)

    def convolution_op(self, inputs, kernel):
        """The convolution without bias and gate."""
        sides = [[(size - 1) // 2] * 2 for size in self.kernel_size]
        padding = [[0, 0], *sides, [0, 0]]
        return tf.nn.conv2d(inputs, kernel, list(self.strides), padding)

    def compute_output_shape(self, input_shape):
        """Shape `(B, H, W, filters)` after the gate."""
        *leading, maps = super().compute_output_shape(input_shape)
        return (*leading, maps // 2)


class GatedConvEncoder(ConvEncoder):
    """K gated encoders; the log-variance is clipped to [-6, 2]."""

    def split_head(self, features):
        scores = features.shape[-1] > self.latent_dim * (1 + self.deviations)
        return clipped_head(features, self.latent_dim, scores, self.deviations)


class GatedConvMixDecoder(ConvMixDecoder):
    """Gated dense layer to one map of the image's size, then convolutions."""

    def __init__(self, make_maps, map_shape, **kwargs):
        super().__init__(input_shape=map_shape, **kwargs)
        self.map_shape = tuple(map_shape)
        self.maps = make_maps(self.dtype_policy)

    def call(self, features, noise=None, training=False):
        maps = self.maps.run(features[tf.newaxis] if self.shared else features)
        leading = tf.shape(maps)[1:2] if self.shared else tf.shape(maps)[:2]
        maps = tf.reshape(maps, tf.concat([leading, self.map_shape], 0))
        return super().call(maps, training=training)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        self.maps.copy_components(source.maps, kept)


class GatedEncoderNetwork(ConvNetwork):
    """The gated convolutional encoder, which `GatedConv` and `Pixel` share."""

    def __init__(self, encoder_layers, initializer):
        self.encoder_layers = tuple(tuple(layer) for layer in encoder_layers)
        for layer in self.encoder_layers:
            if len(layer) != 3 or min(layer) < 1 or layer[1] % 2 == 0:
                raise ValueError(
                    "Expected encoder_layers (channels, odd kernel size, stride), "
                    f"got {list(layer)}."
                )
        self.initializer = choice(initializer, INITIALIZERS, "initializer")

    def get_config(self):
        layers = [list(layer) for layer in self.encoder_layers]
        return super().get_config() | {"encoder_layers": layers}

    def encoder(self, spec: NetworkSpec):

        def steps(component, dtype):
            convolutions = [
                GatedConv2D(
                    channels,
                    kernel_size,
                    stride,
                    self.initializer,
                    layer_seed(spec.seed, "encoder", component, i),
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                for i, (channels, kernel_size, stride) in enumerate(self.encoder_layers)
            ]
            return [*convolutions, keras.layers.Flatten(dtype=dtype)]

        def head(component, dtype):
            make = INITIALIZERS[self.initializer]
            return keras.layers.Dense(
                spec.head_units,
                kernel_initializer=make(seed=layer_seed(spec.seed, "head", component)),
                dtype=dtype,
            )

        sides = list(spec.image_shape[:2])
        for _, _, stride in self.encoder_layers:
            sides = [math.ceil(side / stride) for side in sides]
        return GatedConvEncoder(
            spec.latent_dim,
            make_head=head,
            head_units=math.prod(sides) * self.encoder_layers[-1][0] + spec.num_classes,
            deviations=spec.deviations,
            make_steps=steps,
            input_shape=spec.image_shape,
            num_components=spec.sets,
            **spec.layer,
        )


@register("gated_conv")
class GatedConv(GatedEncoderNetwork):
    """Gated convolutional encoder and decoder for images of any size.

    GMMpVAE says no more of its CNN than that both are convolutional and gated; the
    layers are those of the VampPrior code. Sub-decoder: gated dense `hidden`.
    Mix-decoder: gated dense to one map of the image's size, gated 3 x 3 convolutions,
    linear 1 x 1 convolution.

    Args:
        encoder_layers: (channels, kernel size, stride) of each gated convolution.
        hidden: units of the decoder's first layer.
        decoder_filters: channels of each gated convolution of the decoder.
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.
    """

    def __init__(
        self,
        encoder_layers=ENCODER_LAYERS,
        hidden=300,
        decoder_filters=(64, 64, 64, 64),
        initializer="glorot",
    ):
        super().__init__(encoder_layers, initializer)
        self.hidden = hidden
        self.decoder_filters = tuple(decoder_filters)

    def sub_decoder(self, spec: NetworkSpec):
        return GatedSubDecoder.of(spec, self.hidden, self.initializer)

    def mix_decoder(self, spec: NetworkSpec):
        *sides, channels = spec.output_shape
        make = INITIALIZERS[self.initializer]

        def maps(dtype):
            return GatedStack(
                spec.sets,
                [self.hidden, math.prod(sides)],
                linear=False,
                initializer=self.initializer,
                seed=spec.seed,
                dtype=dtype,
                name="maps",
            )

        def steps(component, dtype):
            seeds = [
                layer_seed(spec.seed, "mix_decoder", component, i)
                for i in range(len(self.decoder_filters) + 1)
            ]
            gated = [
                GatedConv2D(
                    filters,
                    3,
                    1,
                    self.initializer,
                    seeds[i],
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                for i, filters in enumerate(self.decoder_filters)
            ]
            last = keras.layers.Conv2D(
                channels, 1, kernel_initializer=make(seed=seeds[-1]), dtype=dtype
            )
            return [*gated, last]

        return GatedConvMixDecoder(
            maps,
            map_shape=(*sides, 1),
            shared=spec.shared,
            make_steps=steps,
            num_components=spec.sets,
            **spec.layer,
        )
