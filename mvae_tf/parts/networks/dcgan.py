"""Strided convolutional networks in the manner of DCGAN, of InfoVAE and CGM.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks" (ICLR 2016), https://arxiv.org/abs/1511.06434.
"""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import NetworkSpec, layer_seed, register
from mvae_tf.parts.networks.branches import (
    BatchNormalization,
    Branch,
    ConvEncoder,
    ConvMixDecoder,
    ConvNetwork,
    ConvSubDecoder,
    leaky_relu,
)

__all__ = ["DCGAN"]


class Residual(Branch):
    """Steps whose output is added to their input."""

    def call(self, x, training=False):
        return x + super().call(x, training=training)


@register("dcgan")
class DCGAN(ConvNetwork):
    """Strided convolutions, each halving the image, and their mirror image.

    The defaults are the MNIST networks of the InfoVAE authors' code. Fully
    convolutional ones (`units=0`) are what CGM says of its own: the heads are then
    convolutions of the size of the last map, and the first transposed convolution of
    the decoder makes that map from the latent; for 32 x 32 colour images with
    `filters=(64, 128, 256, 512), batch_norm=True, slope=0.2`. CGM's residual network
    for 64 x 64 ImageNet is described by no more than "comparable to PixelRNN";
    `residual_blocks` gives a plain one, an assumption of ours.

    Encoder: a convolution of stride 2 for each of `filters`, leaky ReLU; dense `units`,
    leaky ReLU; linear heads. Sub-decoder: dense `units`, ReLU. Mix-decoder: dense to
    the last map, ReLU; transposed convolutions of stride 2, ReLU between them.
    Weights start from Glorot's uniform numbers, biases at 0.

    Args:
        filters: channels of the encoder's convolutions; the sides of the image must be
            multiples of 2^len(filters).
        kernel_size: of the strided convolutions.
        units: width of the dense layers; 0 for none.
        batch_norm: whether to normalise all but the encoder's first convolution and
            the decoder's last, as DCGAN does.
        slope: of the leaky ReLU.
        residual_blocks: number of blocks of two 3 x 3 convolutions on each map.
    """

    def __init__(
        self,
        filters=(64, 128),
        kernel_size=4,
        units=1024,
        batch_norm=False,
        slope=0.1,
        residual_blocks=0,
    ):
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = units
        self.batch_norm = batch_norm
        self.slope = slope
        self.residual_blocks = residual_blocks

    def check_images(self, image_shape):
        """Raises ValueError on vectors and on sides that cannot be halved so often."""
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

        return ConvEncoder(
            spec.latent_dim,
            make_head=head,
            head_units=(self.units or math.prod(self._map_shape(-1)))
            + spec.num_classes,
            deviations=spec.deviations,
            make_steps=steps,
            input_shape=spec.image_shape,
            num_components=spec.sets,
            **spec.layer,
        )

    def sub_decoder(self, spec: NetworkSpec):
        inputs = spec.latent_dim + spec.num_classes

        def steps(component, dtype):
            place = (spec.seed, "sub_decoder", component)
            if self.units:
                yield _dense(self.units, dtype, *place)
            else:
                *sides, channels = self._map_shape(-1)
                yield keras.layers.Reshape((1, 1, inputs), dtype=dtype)
                deconvolution = keras.layers.Conv2DTranspose(
                    channels, sides, **self._options(dtype, *place, "map", norm=True)
                )
                yield from self._normed(deconvolution, norm=True)
            yield tf.nn.relu

        return ConvSubDecoder(
            make_steps=steps,
            input_shape=(inputs,),
            num_components=spec.sets,
            **spec.layer,
        )

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

        return ConvMixDecoder(
            shared=spec.shared,
            make_steps=steps,
            input_shape=(self.units,) if self.units else first_map,
            num_components=spec.sets,
            **spec.layer,
        )

    def _map_shape(self, index):
        """Shape of the encoder's map after convolution `index`."""
        steps = range(len(self.filters))[index] + 1
        sides = (side // 2**steps for side in self.image_shape[:2])
        return (*sides, self.filters[index])

    def _options(self, dtype, *place, norm):
        """Arguments of a convolution; normalisation makes up for its bias."""
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
        """Residual blocks on the map after convolution `index`, and their ReLUs."""
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
