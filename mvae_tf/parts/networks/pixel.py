"""Gated convolutional encoder and PixelCNN decoder, which reads the image it makes.

Each pixel is predicted from the latent and from the pixels before it in raster order:
p(x given z) = prod_t p(x_t given x_<t, z). Van den Oord et al., "Conditional Image
Generation with PixelCNN Decoders" (NeurIPS 2016), https://arxiv.org/abs/1606.05328;
layers of the VampPrior code (https://arxiv.org/abs/1705.07120), which GMMpVAE takes up.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.parts.networks.base import layer_seed
from mvae_tf.parts.networks.branches import BatchNormalization, ConvMixDecoder
from mvae_tf.parts.networks.gated import INITIALIZERS, GatedSubDecoder
from mvae_tf.parts.networks.gated_conv import ENCODER_LAYERS, GatedEncoderNetwork

__all__ = ["MaskedConv2D", "Pixel", "in_raster_order"]


def in_raster_order(predict, blank):
    """Images made pixel by pixel, in as many passes as there are pixels.

    Args:
        predict: function from images `[B, H, W, 1]` to images of the same shape, pixel
            t of which depends on those before t alone.
        blank: `[B, H, W, 1]`, any images.

    Returns:
        `[B, H, W, 1]`, the images that `predict` leaves as they are.
    """
    height, width = blank.shape[1:3]
    position = tf.reshape(tf.range(height * width), [1, height, width, 1])

    def set_pixel(t, images):
        return t + 1, tf.where(position == t, predict(images), images)

    _, images = tf.while_loop(
        lambda t, images: t < height * width,
        set_pixel,
        (0, blank),
        maximum_iterations=height * width,
    )
    return images


class MaskedConv2D(keras.layers.Conv2D):
    """3 x 3 convolution without bias that sees the pixels before its own.

    Args:
        filters: channels of the output.
        centre: whether it sees its own pixel, too (mask B), or not (mask A).
        free_channels: number of last channels of the input that are not masked.
        **kwargs: arguments of the Keras layer.
    """

    def __init__(self, filters, centre, free_channels=0, **kwargs):
        super().__init__(filters, 3, padding="same", use_bias=False, **kwargs)
        self.centre = centre
        self.free_channels = free_channels

    def convolution_op(self, inputs, kernel):
        """The convolution with the masked kernel."""
        rows, columns, channels = kernel.shape[:3]
        before = np.arange(rows * columns) < rows * columns // 2 + int(self.centre)
        mask = np.tile(before.reshape(rows, columns, 1, 1), [1, 1, channels, 1])
        mask[:, :, channels - self.free_channels :] = True
        mask = tf.constant(mask, kernel.dtype)
        return super().convolution_op(inputs, kernel * mask)


class PixelMixDecoder(ConvMixDecoder):
    """PixelCNN over the image and a map of the same size made from the latent."""

    def call(self, features, x, noise=None, training=False):
        """Likelihood features of pixel t from the map and from the pixels before t.

        Args:
            features: `[B, H W]` if shared, else `[K, B, H W]`.
            x: images `[B, H, W, 1]`.
            noise: unused.
            training: whether batch normalisation takes the statistics of the batch.

        Returns:
            `[B, H, W, C]` or `[K, B, H, W, C]`.
        """
        x = tf.cast(x, features.dtype)
        if not self.shared:
            x = tf.repeat(x[tf.newaxis], len(self.branches), axis=0)
        maps = tf.reshape(features, tf.shape(x))
        return super().call(tf.concat([x, maps], axis=-1), training=training)


class Pixel(GatedEncoderNetwork):
    """Gated convolutional encoder and PixelCNN decoder for images of one channel.

    Sub-decoder: gated dense layer to one map of the image's size. Mix-decoder: the map
    beside the image, a masked 3 x 3 convolution that does not see its own pixel and
    `depth` - 1 that do, each without bias and followed by batch normalisation and ReLU,
    and a 1 x 1 convolution, which has a bias for likelihoods of one parameter a pixel.

    The likelihood of an image takes one pass. `decode`, `reconstruct`, `interpolate`
    and `generate` take one for each pixel: the first three feed back the mean of each
    pixel, `generate` a draw of it.

    Args:
        encoder_layers: (channels, kernel size, stride) of each gated convolution.
        filters: channels of the masked convolutions.
        depth: number of masked convolutions, at least 1.
        mask_latents: whether the first convolution masks the latent's map as it does
            the image, as in the VampPrior code, where pixel t therefore sees the map
            before t alone, and the first pixel none of it.
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.
    """

    name = "pixel"
    autoregressive = True

    def __init__(
        self,
        encoder_layers=ENCODER_LAYERS,
        filters=64,
        depth=8,
        mask_latents=True,
        initializer="glorot",
    ):
        super().__init__(encoder_layers, initializer)
        self.filters = filters
        self.depth = depth
        self.mask_latents = mask_latents

    def check_images(self, image_shape):
        """Raises ValueError on vectors and on images of several channels."""
        super().check_images(image_shape)
        if image_shape[2] != 1:
            raise ValueError(
                "Expected images of one channel for network 'pixel', "
                f"got {tuple(image_shape)}."
            )

    def sub_decoder(self, latent_dim, num_components, num_classes, **kwargs):
        """Sub-decoder layer."""
        return GatedSubDecoder(
            num_components=num_components,
            units=[latent_dim + num_classes, math.prod(self.image_shape)],
            linear=False,
            initializer=self.initializer,
            **kwargs,
        )

    def mix_decoder(self, output_shape, seed, num_components=None, **kwargs):
        """Mix-decoder layer; `num_components=None` shares one among all components."""
        *sides, channels = output_shape
        make = INITIALIZERS[self.initializer]

        def steps(component, dtype):
            for i in range(self.depth):
                drawn = layer_seed(seed, "mix_decoder", component, i)
                yield MaskedConv2D(
                    self.filters,
                    centre=i > 0,
                    free_channels=int(i == 0 and not self.mask_latents),
                    kernel_initializer=make(seed=drawn),
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                yield BatchNormalization(dtype=dtype, name=f"norm_{i}")
                yield tf.nn.relu
            drawn = layer_seed(seed, "mix_decoder", component, self.depth)
            yield keras.layers.Conv2D(
                channels,
                1,
                use_bias=channels == 1,
                kernel_initializer=make(seed=drawn),
                dtype=dtype,
                name="outputs",
            )

        return PixelMixDecoder(
            shared=num_components is None,
            make_steps=steps,
            input_shape=(*sides, 2),
            num_components=num_components or 1,
            **kwargs,
        )
