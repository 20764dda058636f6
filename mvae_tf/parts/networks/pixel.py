"""Gated convolutional encoder and PixelCNN decoder, which predicts pixel after pixel.

Each pixel is predicted from the latent and from the pixels before it in raster order:
p(x | z) = prod_t p(x_t | x_<t, z). Van den Oord et al., "Conditional Image Generation
with PixelCNN Decoders" (NeurIPS 2016), https://arxiv.org/abs/1606.05328. The layers are
those of the VampPrior code (https://arxiv.org/abs/1705.07120), which GMMpVAE also has.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.parts.networks.branches import BatchNormalization, ConvMixDecoder
from mvae_tf.parts.networks.gated import INITIALIZERS, GatedSubDecoder
from mvae_tf.parts.networks.gated_conv import ENCODER_LAYERS, GatedEncoderNetwork
from mvae_tf.parts.networks.network import NetworkSpec, layer_seed, register

__all__ = ["MaskedConv2D", "PartialImages", "Pixel", "in_raster_order"]


class PartialImages:
    """Images that are made up to one pixel, and the inputs of the layers so far.

    A masked convolution at one pixel needs its inputs in the row above and to the left
    in its own row. Both rows are kept for every layer, so that the next pixel costs
    one application of each kernel, not a pass over the image.

    Attributes:
        row, column: int32 scalars, the place of the next pixel.
        rows: list that has for each masked convolution its inputs `[B, 2, W + 2, C]` in
            the row above the next pixel and in the row of this pixel, with a zero at
            each end; the inputs of the first convolution are the images themselves. The
            list is empty before the first pixel.
    """

    def __init__(self, row, column, rows=()):
        self.row = row
        self.column = column
        self.rows = list(rows)

    def patch(self, layer, value, width, centre):
        """Return the inputs that a masked convolution sees at the next pixel.

        Args:
            layer: int, index of the convolution, in the order of the network.
            value: `[B, 1, 1, C]`, its input at the next pixel, which is kept.
            width: int, W of the images.
            centre: bool, whether the convolution sees `value` too.

        Returns:
            `[B, 3 + 1 + centre, C]`: three inputs of the row above, the input to the
            left, and `value` if it is seen.
        """
        if layer == len(self.rows):
            shape = [tf.shape(value)[0], 2, width + 2, value.shape[-1]]
            self.rows.append(tf.zeros(shape, value.dtype))
        rows = _put(self.rows[layer], self.column + 1, value)
        self.rows[layer] = rows
        above = rows[:, 0, self.column : self.column + 3]
        own = rows[:, 1, self.column : self.column + 1 + int(centre)]
        return tf.concat([above, own], axis=1)

    def advanced(self, pixels, width):
        """Return the state after the next pixel was made as `pixels [B, 1, 1, 1]`."""
        # The network may have more rows than there are images: one for each component.
        first = self.rows[0]
        copies = tf.shape(first)[0] // tf.shape(pixels)[0]
        pixels = tf.cast(tf.tile(pixels, [copies, 1, 1, 1]), first.dtype)
        rows = [_put(first, self.column + 1, pixels), *self.rows[1:]]
        column = self.column + 1
        if_last = column == width
        rows = [tf.where(if_last, _next_row(value), value) for value in rows]
        return PartialImages(
            tf.where(if_last, self.row + 1, self.row),
            tf.where(if_last, 0, column),
            rows,
        )


def _put(rows, place, value):
    """Write `value [B, 1, 1, C]` into the second of the rows `[B, 2, W + 2, C]`."""
    here = tf.range(tf.shape(rows)[2])[:, tf.newaxis] == place
    here = tf.stack([tf.zeros_like(here), here])
    return tf.where(here, value, rows)


def _next_row(rows):
    """Make the second of the rows `[B, 2, W + 2, C]` the first, above one of zeros."""
    return tf.concat([rows[:, 1:], tf.zeros_like(rows[:, 1:])], axis=1)


def in_raster_order(predict, choose, shape, uniform=None):
    """Make images pixel by pixel, each from the latent and from the pixels before it.

    Args:
        predict: function from `PartialImages` to the outputs of the likelihood at the
            next pixel, `[B, 1, 1, C]`.
        choose: function from these outputs, and the pixel's number of `uniform` if
            there is one, to the pixel, `[B, 1, 1, 1]`.
        shape: three ints, (B, H, W) of the images; B may be a tensor.
        uniform: `[B, H, W, 1]` numbers in (0, 1), from which pixels are drawn; None
            where `choose` takes none.

    Returns:
        Images `[B, H, W, 1]`.
    """
    num, height, width = shape

    def next_pixel(known):
        outputs = predict(known)
        if uniform is None:
            pixel = choose(outputs)
        else:
            row = uniform[:, known.row, known.column]
            pixel = choose(outputs, row[:, tf.newaxis, tf.newaxis])
        return pixel, known.advanced(pixel, width)

    # The first pixel is made outside of the loop, because it shows what there is to
    # keep of each layer.
    pixel, known = next_pixel(PartialImages(tf.constant(0), tf.constant(0)))
    pixels = tf.TensorArray(
        tf.float32,
        height * width,
        element_shape=(None, 1, 1, 1),
        clear_after_read=False,
    ).write(0, pixel)

    def step(t, row, column, rows, pixels):
        pixel, known = next_pixel(PartialImages(row, column, rows))
        return t + 1, known.row, known.column, known.rows, pixels.write(t, pixel)

    *_, pixels = tf.while_loop(
        lambda t, *_: t < height * width,
        step,
        (1, known.row, known.column, known.rows, pixels),
        maximum_iterations=height * width - 1,
    )
    images = tf.transpose(pixels.stack()[:, :, 0, 0, 0])
    return tf.reshape(images, tf.stack([num, height, width, 1]))


class MaskedConv2D(keras.layers.Conv2D):
    """3 x 3 convolution without bias that sees the pixels before its own.

    Args:
        filters: int, channels of the output.
        centre: bool, whether it sees its own pixel, too (mask B), or not (mask A).
        **kwargs: keyword arguments of the Keras layer.
    """

    def __init__(self, filters, centre, **kwargs):
        super().__init__(filters, 3, padding="same", use_bias=False, **kwargs)
        self.centre = centre

    def convolution_op(self, inputs, kernel):
        """Compute the convolution with the masked kernel."""
        return super().convolution_op(inputs, self.masked(kernel))

    def masked(self, kernel):
        """Return the kernel `[3, 3, C, filters]`, 0 where a pixel is not seen."""
        rows, columns, channels = kernel.shape[:3]
        before = np.arange(rows * columns) < rows * columns // 2 + int(self.centre)
        mask = np.tile(before.reshape(rows, columns, 1, 1), [1, 1, channels, 1])
        mask = tf.constant(mask, kernel.dtype)
        return kernel * mask


class PixelMixDecoder(ConvMixDecoder):
    """PixelCNN on the image and a map of the same size, made from the latent."""

    def call(self, features, x, noise=None, training=False):
        """Compute the outputs at pixel t from the map and from the pixels before t.

        Args:
            features: `[B, H W]` if the decoder is shared, otherwise `[K, B, H W]`.
            x: images `[B, H, W, 1]`, or, for a shared decoder, `PartialImages`.
            noise: object, which is not used.
            training: bool, whether batch normalisation takes the statistics of the
                batch.

        Returns:
            `[B, H, W, C]` if shared, otherwise `[K, B, H, W, C]`; for `PartialImages`
            those of the next pixel, `[B, 1, 1, C]`.
        """
        if isinstance(x, PartialImages):
            return self._next_pixel(features, x)
        x = tf.cast(x, features.dtype)
        if not self.spec.shared:
            x = tf.repeat(x[tf.newaxis], len(self.branches), axis=0)
        maps = tf.reshape(features, tf.shape(x))
        return super().call(tf.concat([x, maps], axis=-1), training=training)

    def _next_pixel(self, features, known):
        """Compute the outputs `[B, 1, 1, C]` at the next pixel of `PartialImages`."""
        height, width, _ = self.spec.image_shape
        maps = tf.reshape(features, [-1, height, width])
        maps = tf.pad(maps, [[0, 0], [1, 1], [1, 1]])
        x = tf.zeros([tf.shape(maps)[0], 1, 1, 1], maps.dtype)
        layer = 0
        for step in self.branches[0].steps:
            if not isinstance(step, MaskedConv2D):
                x = step(x)
                continue
            kernel = tf.cast(step.masked(step.kernel), step.compute_dtype)
            patch = known.patch(layer, x, width, step.centre)
            # The places before the pixel and then its own, of the image's channel: the
            # first convolution has a second channel, the map.
            seen = tf.reshape(kernel, [9, *kernel.shape[2:]])[: 4 + step.centre]
            seen = seen[:, : x.shape[-1]]
            value = tf.tensordot(patch, seen, [[1, 2], [0, 1]])
            if layer == 0:
                around = maps[:, known.row : known.row + 3, :]
                around = around[:, :, known.column : known.column + 3]
                value += tf.tensordot(around, kernel[:, :, 1], [[1, 2], [0, 1]])
            x = value[:, tf.newaxis, tf.newaxis]
            layer += 1
        return x


@register("pixel")
class Pixel(GatedEncoderNetwork):
    """Gated convolutional encoder and PixelCNN decoder for images of one channel.

    The sub-decoder is a gated dense layer to one map of the size of the image. The
    mix-decoder takes the image and this map as two channels. Its first masked 3 x 3
    convolution does not see its own pixel, and `depth` - 1 further ones do; each has no
    bias and is followed by batch normalisation and a ReLU. A 1 x 1 convolution makes
    the outputs, with a bias for likelihoods of one parameter per pixel. The first
    convolution masks the map as it masks the image, as in the VampPrior code: pixel t
    sees only the part of the map before t, and the first pixel sees none of it.

    The likelihood of an image takes one pass. `decode`, `reconstruct`, `interpolate`
    and `generate` go from pixel to pixel: the first three continue from the mean of
    each pixel, `generate` from a draw.

    Args:
        encoder_layers: list of (channels, kernel size, stride) of each gated
            convolution.
        filters: int, channels of the masked convolutions.
        depth: int, number of masked convolutions, at least 1.
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.
    """

    autoregressive = True

    def __init__(
        self,
        encoder_layers: Sequence[Sequence[int]] = ENCODER_LAYERS,
        filters: int = 64,
        depth: int = 8,
        initializer: str = "glorot",
    ):
        super().__init__(encoder_layers, initializer)
        self.filters = filters
        self.depth = depth

    def check_images(self, image_shape):
        """Check that images have one channel.

        Raises:
            ValueError: on vectors and on images of several channels.
        """
        super().check_images(image_shape)
        if image_shape[2] != 1:
            raise ValueError(
                "Expected images of one channel for network 'pixel', "
                f"got {tuple(image_shape)}."
            )

    def sub_decoder(self, spec: NetworkSpec):
        units = [spec.code_size, math.prod(spec.image_shape)]
        return GatedSubDecoder(spec, units, self.initializer)

    def mix_decoder(self, spec: NetworkSpec):
        *sides, channels = spec.output_shape
        make = INITIALIZERS[self.initializer]

        def steps(component, dtype):
            for i in range(self.depth):
                drawn = layer_seed(spec.seed, "mix_decoder", component, i)
                yield MaskedConv2D(
                    self.filters,
                    centre=i > 0,
                    kernel_initializer=make(seed=drawn),
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                yield BatchNormalization(dtype=dtype, name=f"norm_{i}")
                yield tf.nn.relu
            drawn = layer_seed(spec.seed, "mix_decoder", component, self.depth)
            yield keras.layers.Conv2D(
                channels,
                1,
                use_bias=channels == 1,
                kernel_initializer=make(seed=drawn),
                dtype=dtype,
                name="outputs",
            )

        return PixelMixDecoder(spec, steps, (*sides, 2))
