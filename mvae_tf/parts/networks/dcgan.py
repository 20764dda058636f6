"""Strided convolutional networks like those of DCGAN, which InfoVAE and CGM have.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks" (ICLR 2016), https://arxiv.org/abs/1511.06434.
"""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from mvae_tf.parts.networks.branches import (
    BatchNormalization,
    Branch,
    ConvEncoder,
    ConvMixDecoder,
    ConvNetwork,
    ConvSubDecoder,
    leaky_relu,
)
from mvae_tf.parts.networks.network import NetworkSpec, layer_seed, register

__all__ = ["DCGAN"]


class Residual(Branch):
    """A branch whose output is added to its input."""

    def call(self, x, training=False):
        return x + super().call(x, training=training)


@register("dcgan")
class DCGAN(ConvNetwork):
    """Convolutions that each halve the image, and transposed ones that undo this.

    The encoder has a convolution of stride 2 with a leaky ReLU for each of `filters`, a
    dense layer of `units` with a leaky ReLU, and linear heads. The sub-decoder is a
    dense layer of `units` with a ReLU. The mix-decoder is a dense layer to the last
    map with a ReLU, and transposed convolutions of stride 2 with ReLUs between them.
    Weights start from Glorot's uniform distribution, biases at 0.

    The defaults are the MNIST networks of the InfoVAE authors' code. CGM describes its
    networks as fully convolutional, which is `units=0`: the heads are then convolutions
    of the size of the last map, and the first transposed convolution of the decoder
    makes that map from the latent. For 32 x 32 colour images it has `filters=(64, 128,
    256, 512), batch_norm=True, slope=0.2`. About its residual network for 64 x 64
    ImageNet the paper says only that it is "comparable to PixelRNN"; a plain one, made
    by `residual_blocks`, stands in for it.

    Args:
        filters: list of ints, channels of the encoder's convolutions; the sides of the
            image must be multiples of 2^len(filters).
        kernel_size: int, side of the kernels of the strided convolutions, in pixels.
        units: int, number of units of the dense layers; 0 for no such layers.
        batch_norm: bool, whether to normalise all but the encoder's first convolution
            and the decoder's last, as DCGAN does.
        slope: float, slope of the leaky ReLU for negative inputs.
        residual_blocks: int, number of blocks of two 3 x 3 convolutions on each map.
    """

    def __init__(
        self,
        filters: Sequence[int] = (64, 128),
        kernel_size: int = 4,
        units: int = 1024,
        batch_norm: bool = False,
        slope: float = 0.1,
        residual_blocks: int = 0,
    ):
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = units
        self.batch_norm = batch_norm
        self.slope = slope
        self.residual_blocks = residual_blocks

    def check_images(self, image_shape):
        """Check that images have sides that can be halved once for each filter.

        Raises:
            ValueError: on vectors and on other sides.
        """
        super().check_images(image_shape)
        factor = 2 ** len(self.filters)
        if any(side % factor for side in image_shape[:2]):
            raise ValueError(
                f"Expected sides that are multiples of {factor} for network 'dcgan' "
                f"with {len(self.filters)} filters, got {tuple(image_shape)}."
            )

    def encoder(self, spec: NetworkSpec):
        activation = leaky_relu(self.slope)

        def steps(component, dtype):
            place = (spec.seed, "encoder", component)
            for i, channels in enumerate(self.filters):
                convolution = keras.layers.Conv2D(
                    channels,
                    self.kernel_size,
                    strides=2,
                    padding="same",
                    **self._options(dtype, *place, i, norm=i > 0),
                )
                yield from self._normed(convolution, norm=i > 0)
                yield activation
                yield from self._residuals(i, activation, dtype, *place)
            yield keras.layers.Flatten(dtype=dtype)
            if self.units:
                yield _dense(self.units, dtype, *place, "hidden")
                yield activation

        def head(component, dtype):
            units = spec.head_units
            return _dense(units, dtype, spec.seed, "head", component)

        return ConvEncoder(spec, steps, head)

    def sub_decoder(self, spec: NetworkSpec):
        def steps(component, dtype):
            place = (spec.seed, "sub_decoder", component)
            if self.units:
                yield _dense(self.units, dtype, *place)
            else:
                *sides, channels = self._map_shape(-1)
                yield keras.layers.Reshape((1, 1, spec.code_size), dtype=dtype)
                deconvolution = keras.layers.Conv2DTranspose(
                    channels, sides, **self._options(dtype, *place, "map", norm=True)
                )
                yield from self._normed(deconvolution, norm=True)
            yield tf.nn.relu

        return ConvSubDecoder(spec, steps)

    def mix_decoder(self, spec: NetworkSpec):
        first_map = self._map_shape(-1)

        def steps(component, dtype):
            place = (spec.seed, "mix_decoder", component)
            if self.units:
                yield _dense(math.prod(first_map), dtype, *place, "map")
                reshape = keras.layers.Reshape(first_map, dtype=dtype, name="map")
                yield from self._normed(reshape, norm=True)
                yield tf.nn.relu
            for i in reversed(range(len(self.filters))):
                yield from self._residuals(i, tf.nn.relu, dtype, *place)
                deconvolution = keras.layers.Conv2DTranspose(
                    self.filters[i - 1] if i else spec.output_shape[-1],
                    self.kernel_size,
                    strides=2,
                    padding="same",
                    **self._options(dtype, *place, i, norm=i > 0),
                )
                yield from self._normed(deconvolution, norm=i > 0)
                if i:
                    yield tf.nn.relu

        inputs = (self.units,) if self.units else first_map
        return ConvMixDecoder(spec, steps, inputs)

    def _map_shape(self, index):
        """Return the shape of the encoder's map after convolution `index`."""
        steps = range(len(self.filters))[index] + 1
        sides = (side // 2**steps for side in self.image_shape[:2])
        return (*sides, self.filters[index])

    def _options(self, dtype, *place, norm):
        """Return arguments of a convolution, without a bias where it is normalised."""
        return {
            "use_bias": not (self.batch_norm and norm),
            "kernel_initializer": _glorot(*place),
            "dtype": dtype,
            "name": f"conv_{place[-1]}",
        }

    def _normed(self, layer, norm):
        yield layer
        if self.batch_norm and norm:
            yield BatchNormalization(
                dtype=layer.dtype_policy, name=f"norm_{layer.name}"
            )

    def _residuals(self, index, activation, dtype, *place):
        """Make the residual blocks, and activations, after convolution `index`."""
        shape = self._map_shape(index)
        for block in range(self.residual_blocks):
            inner = []
            for i in range(2):
                convolution = keras.layers.Conv2D(
                    shape[-1],
                    3,
                    padding="same",
                    **self._options(dtype, *place, index, block, i, norm=True),
                )
                inner += [*self._normed(convolution, norm=True), activation]
            name = f"residual_{index}_{block}"
            yield Residual(inner[:-1], shape, dtype=dtype, name=name)
            yield activation


def _glorot(*place):
    return keras.initializers.GlorotUniform(layer_seed(*place))


def _dense(units, dtype, *place):
    return keras.layers.Dense(units, kernel_initializer=_glorot(*place), dtype=dtype)
