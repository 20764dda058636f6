"""Convolutional networks of the MVAE paper, for images of any size."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mvae_tf.parts.networks.branches import (
    BatchNormalization,
    ConvEncoder,
    ConvMixDecoder,
    ConvNetwork,
    ConvSubDecoder,
    leaky_relu,
)
from mvae_tf.parts.networks.network import NetworkSpec, layer_seed, register

__all__ = ["Conv"]

_leaky_relu = leaky_relu(0.2)
# Side of the largest map that the sub-decoders make by default.
_LARGEST_MAP = 8


@register("conv")
class Conv(ConvNetwork):
    """Convolutional networks of the MVAE paper's colour experiments.

    By default the network fits itself to the images. For 32 x 32 and 64 x 64 pixels it
    is that of the authors, and every further doubling of the longer side adds one layer
    to the encoder and one to the mix-decoder. Where a side is no multiple of the
    strides, the mix-decoder makes a larger image, which is cut off at the right and at
    the bottom.

    Args:
        filters: list of ints, channels of the encoder's convolutions, all of stride 2;
            None for 64, 128, 256, 512, and 512 again for each doubling beyond 64
            pixels.
        kernel_size: int, side of every kernel, in pixels.
        units: int, number of units of the encoder's dense layer; 0 for no such layer.
        feature_map: list of ints, shape `(H, W, C)` of a sub-decoder's output. H and W
            are the sides of the image over the product of the decoder's strides,
            rounded up. None for these and 256 channels.
        decoder: pairs (channels, stride) of the transposed convolutions of the
            mix-decoder, except for the last one, which makes the image; None for as
            many as lead from a map of at most 8 x 8 to the image.
        output_stride: int, stride of the last transposed convolution.
        batch_statistics: see `BatchNormalization`.

    Raises:
        ValueError: on an argument of another form.
    """

    def __init__(
        self,
        filters: Sequence[int] | None = None,
        kernel_size: int = 3,
        units: int = 1024,
        feature_map: Sequence[int] | None = None,
        decoder: Sequence[Sequence[int]] | None = None,
        output_stride: int = 1,
        batch_statistics: bool = False,
    ):
        self.filters = _integers("filters", filters)
        self.kernel_size = kernel_size
        self.units = units
        self.feature_map = _integers("feature_map", feature_map, 3)
        if decoder is not None and not isinstance(decoder, list | tuple):
            raise ValueError(f"Expected decoder as a list of steps, got {decoder!r}.")
        self.decoder: Any = decoder and tuple(
            _integers("each step of decoder", step, 2) for step in decoder
        )
        self.output_stride = output_stride
        self.batch_statistics = batch_statistics

    def get_config(self):
        config = super().get_config()
        if self.decoder is not None:
            config["decoder"] = [list(step) for step in self.decoder]
        return config

    def for_images(self, image_shape):
        fitted = super().for_images(image_shape)
        *sides, _ = image_shape
        doublings = max(0, math.ceil(math.log2(max(sides) / _LARGEST_MAP)))
        if self.filters is None:
            fitted.filters = (64, 128, 256, 512) + (512,) * (doublings - 3)
        if self.decoder is None:
            by_output = max(0, math.ceil(math.log2(self.output_stride)))
            fitted.decoder = _decoder(doublings - by_output)
        scale = math.prod(stride for _, stride in fitted.decoder) * self.output_stride
        needed = tuple(math.ceil(side / scale) for side in sides)
        if self.feature_map is None:
            fitted.feature_map = (*needed, 256)
        elif self.feature_map[:2] != needed:
            raise ValueError(
                f"Expected feature_map {[*needed, self.feature_map[2]]} for images of "
                f"{list(image_shape)} and strides of product {scale} in the decoder, "
                f"got {list(self.feature_map)}."
            )
        return fitted

    def _norm(self, dtype, name):
        return BatchNormalization(
            self.batch_statistics, dtype=dtype, name=f"norm_{name}"
        )

    def encoder(self, spec: NetworkSpec):

        def steps(component, dtype):
            for i, channels in enumerate(self.filters):
                yield keras.layers.Conv2D(
                    channels,
                    self.kernel_size,
                    strides=2,
                    padding="same",
                    kernel_initializer=keras.initializers.TruncatedNormal(
                        stddev=0.02, seed=layer_seed(spec.seed, "encoder", component, i)
                    ),
                    dtype=dtype,
                    name=f"conv_{i}",
                )
                if i:
                    yield self._norm(dtype, i)
                yield _leaky_relu
            yield keras.layers.Flatten(dtype=dtype)
            if self.units:
                yield _dense(
                    self.units, layer_seed(spec.seed, "hidden", component), dtype
                )
                yield _leaky_relu

        def head(component, dtype):
            units = spec.head_units
            return _dense(units, layer_seed(spec.seed, "head", component), dtype)

        return ConvEncoder(spec, steps, head)

    def sub_decoder(self, spec: NetworkSpec):

        def steps(component, dtype):
            return [
                _dense(
                    math.prod(self.feature_map),
                    layer_seed(spec.seed, "sub_decoder", component),
                    dtype,
                ),
                keras.layers.Reshape(self.feature_map, dtype=dtype),
                self._norm(dtype, 0),
                tf.nn.relu,
            ]

        return ConvSubDecoder(spec, steps)

    def mix_decoder(self, spec: NetworkSpec):
        scale = math.prod(stride for _, stride in self.decoder) * self.output_stride
        # Pixels beyond the image, at the top and bottom, and at the left and right.
        excess = [
            (0, side * scale - wanted)
            for side, wanted in zip(
                self.feature_map[:2], spec.output_shape[:2], strict=True
            )
        ]

        def deconv(channels, stride, component, i, dtype):
            return keras.layers.Conv2DTranspose(
                channels,
                self.kernel_size,
                strides=stride,
                padding="same",
                kernel_initializer=keras.initializers.RandomNormal(
                    stddev=0.02, seed=layer_seed(spec.seed, "mix_decoder", component, i)
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
            yield deconv(
                spec.output_shape[-1], self.output_stride, component, last, dtype
            )
            if excess != [(0, 0), (0, 0)]:
                yield keras.layers.Cropping2D(excess, dtype=dtype)

        return ConvMixDecoder(spec, steps, self.feature_map)


def _decoder(doublings: int) -> tuple[tuple[int, int], ...]:
    """Return the `Conv.decoder` that doubles the sides of a map a number of times."""
    if doublings <= 0:
        return ((256, 1),)
    authors = ((256, 2), (256, 1)) * min(2, doublings)
    return authors + tuple((max(256 >> i, 16), 2) for i in range(1, doublings - 1))


def _integers(name: str, values: Any, length: int | None = None) -> Any:
    """Return values as a tuple of ints after checking them; None stays None.

    Args:
        name: str, name of the argument, for the message of the error.
        values: any object, the argument.
        length: int, number of values that are expected; None for any number.

    Raises:
        ValueError: the values are no list of `length` positive integers.
    """
    if values is None:
        return None
    if (
        not isinstance(values, list | tuple)
        or (length or len(values)) != len(values)
        or not all(type(value) is int and value > 0 for value in values)
    ):
        number = f"{length} " if length else ""
        raise ValueError(
            f"Expected {name} as a list of {number}positive integers, got {values!r}."
        )
    return tuple(values)


def _dense(units, seed, dtype):
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=seed),
        dtype=dtype,
    )
