"""Gated convolutional networks of the VampPrior code, which GMMpVAE also has.

A gated convolution is a product of two, h(x) * sigmoid(g(x)), without any other
nonlinearity. Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
https://arxiv.org/abs/1705.07120.
"""

import dataclasses
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from mvae_tf.parts.networks.branches import ConvEncoder, ConvMixDecoder, ConvNetwork
from mvae_tf.parts.networks.gated import (
    INITIALIZERS,
    GatedStack,
    GatedSubDecoder,
    clipped_head,
)
from mvae_tf.parts.networks.network import NetworkSpec, layer_seed, register
from mvae_tf.parts.part import choice

__all__ = ["ENCODER_LAYERS", "GatedConv", "GatedConv2D", "GatedEncoderNetwork"]

ENCODER_LAYERS = ((32, 7, 1), (32, 3, 2), (64, 5, 1), (64, 3, 2), (6, 3, 1))


class GatedConv2D(keras.layers.Conv2D):
    """Convolution h(x) * sigmoid(g(x)) that pads all sides of the image alike.

    The authors' PyTorch layers pad by (kernel_size - 1) / 2 zeros on every side;
    TensorFlow's "same" would shift the strided convolutions by a pixel.

    Args:
        filters: int, channels of the output.
        kernel_size: int, odd, side of the kernel in pixels.
        strides: int, stride in pixels.
        initializer: "glorot" or "he".
        seed: int, seed of the initial weights.
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
        """Compute `[B, H / strides, W / strides, filters]` from `[B, H, W, I]`."""
        values, gates = tf.split(super().call(x), 2, axis=-1)
        return values * tf.sigmoid(gates)

    def convolution_op(self, inputs, kernel):
        """Compute the convolution without bias and gate."""
        sides = [[(size - 1) // 2] * 2 for size in self.kernel_size]
        padding = [[0, 0], *sides, [0, 0]]
        return tf.nn.conv2d(inputs, kernel, list(self.strides), padding)

    def compute_output_shape(self, input_shape):
        """Return the shape `(B, H, W, filters)` after the gate."""
        *leading, maps = super().compute_output_shape(input_shape)
        return (*leading, maps // 2)


class GatedConvEncoder(ConvEncoder):
    """K gated encoders, whose log-variances are clipped to [-6, 2]."""

    def split_head(self, features):
        spec = self.spec
        return clipped_head(features, spec.latent_dim, spec.scores, spec.deviations)


class GatedConvMixDecoder(ConvMixDecoder):
    """Gated dense layer to one map of the size of the image, then convolutions.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        make_steps: function, see `Branches`.
        maps: layer, the gated dense layer.
    """

    def __init__(self, spec, make_steps, maps):
        map_shape = (*spec.output_shape[:2], 1)
        super().__init__(spec, make_steps, map_shape)
        self.map_shape = map_shape
        self.maps = maps

    def call(self, features, noise=None, training=False):
        shared = self.spec.shared
        maps = self.maps.run(features[tf.newaxis] if shared else features)
        leading = tf.shape(maps)[1:2] if shared else tf.shape(maps)[:2]
        maps = tf.reshape(maps, tf.concat([leading, self.map_shape], 0))
        return super().call(maps, training=training)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        self.maps.copy_components(source.maps, kept)


class GatedEncoderNetwork(ConvNetwork):
    """The gated convolutional encoder, which `GatedConv` and `Pixel` share.

    Args:
        encoder_layers: list of (channels, kernel size, stride) of each gated
            convolution.
        initializer: "glorot" or "he".

    Raises:
        ValueError: on layers of another form.
    """

    def __init__(self, encoder_layers: Sequence[Sequence[int]], initializer: str):
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

        return GatedConvEncoder(spec, steps, head)


@register("gated_conv")
class GatedConv(GatedEncoderNetwork):
    """Gated convolutional encoder and decoder for images of any size.

    GMMpVAE says of its CNN only that encoder and decoder are convolutional and gated;
    the layers are those of the VampPrior code. The sub-decoder is a gated dense layer
    of `hidden` units. The mix-decoder is a gated dense layer to one map of the size of
    the image, gated 3 x 3 convolutions and a linear 1 x 1 convolution.

    Args:
        encoder_layers: list of (channels, kernel size, stride) of each gated
            convolution.
        hidden: int, number of units of the decoder's first layer.
        decoder_filters: list of ints, channels of each gated convolution of the
            decoder.
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.
    """

    def __init__(
        self,
        encoder_layers: Sequence[Sequence[int]] = ENCODER_LAYERS,
        hidden: int = 300,
        decoder_filters: Sequence[int] = (64, 64, 64, 64),
        initializer: str = "glorot",
    ):
        super().__init__(encoder_layers, initializer)
        self.hidden = hidden
        self.decoder_filters = tuple(decoder_filters)

    def sub_decoder(self, spec: NetworkSpec):
        return GatedSubDecoder(spec, [spec.code_size, self.hidden], self.initializer)

    def mix_decoder(self, spec: NetworkSpec):
        *sides, channels = spec.output_shape
        make = INITIALIZERS[self.initializer]
        units = [self.hidden, math.prod(sides)]
        of_maps = dataclasses.replace(spec, name="maps")
        maps = GatedStack(of_maps, units, self.initializer)

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

        return GatedConvMixDecoder(spec, steps, maps)
