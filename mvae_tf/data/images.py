"""Cropping and resizing of images, and decoding of the part that a crop keeps."""

from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    "cut",
    "decode_jpeg",
    "fit",
    "fitted_shape",
    "windows",
    "with_margin",
]


def fitted_shape(
    shape: tuple[int, int, int],
    image_size: tuple[int, int] | None = None,
    crop_size: int | None = None,
    where: str = "the data set",
) -> tuple[int, int, int]:
    """Return the shape of an image after `fit`, `(H, W, C)`.

    Args:
        shape: tuple of ints, shape of the image before it, `(H, W, C)`.
        image_size: pair of ints, as in `fit`.
        crop_size: int, as in `fit`.
        where: str, name of the file or data set for errors.

    Raises:
        ValueError: the image is smaller than the crop.
    """
    height, width, channels = shape
    if crop_size is not None:
        if min(height, width) < crop_size:
            raise ValueError(
                f"Expected images of at least {crop_size}x{crop_size} for the crop in "
                f"{where}, got {height}x{width}."
            )
        height = width = crop_size
    return (*(image_size or (height, width)), channels)


def windows(
    sizes: np.ndarray, image_size: tuple[int, int] | None, crop_size: int | None
) -> np.ndarray:
    """Return the windows of images that cropping and resizing keep.

    Args:
        sizes: int array `[n, 2]`, heights and widths.
        image_size: pair of ints, as in `fit`.
        crop_size: int, as in `fit`.

    Returns:
        int array `[n, 4]`: top, left, height and width of each window.
    """
    kept = sizes if crop_size is None else np.full_like(sizes, crop_size)
    start = (sizes - kept) // 2
    if image_size is not None:
        scale = (kept / image_size).min(axis=1, keepdims=True)
        inner = np.round(scale * image_size).astype(sizes.dtype)
        start, kept = start + (kept - inner) // 2, inner
    return np.concatenate([start, kept], axis=1)


def with_margin(inner: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the windows of JPEG images that have to be decoded.

    The decoder computes the colours of a pixel from its neighbours, too. Therefore
    these windows have two more pixels on each side, where the image has them.

    Args:
        inner: int array `[n, 4]`, as `windows` returns it.
        sizes: int array `[n, 2]`, heights and widths of the images.

    Returns:
        int array `[n, 4]`: top, left, height and width.
    """
    start, stop = inner[:, :2], inner[:, :2] + inner[:, 2:]
    start, stop = np.maximum(start - 2, 0), np.minimum(stop + 2, sizes)
    return np.concatenate([start, stop - start], axis=1)


def fit(
    images: tf.Tensor,
    image_size: tuple[int, int] | None = None,
    crop_size: int | None = None,
) -> tf.Tensor:
    """Crop and resize images about their centre.

    The square crop, if any, comes first. The resize then cuts off what exceeds the
    aspect ratio of the target, and interpolates linearly with antialiasing.

    Args:
        images: uint8 or float tensor `[..., H, W, C]` of known H and W, of rank 3 or 4.
        image_size: `(height, width)` of the result, or None.
        crop_size: int, side of the centred square that is kept first, or None.

    Returns:
        Tensor of the same dtype; uint8 values are rounded.
    """
    (window,) = windows(np.array([images.shape[-3:-1]]), image_size, crop_size)
    return cut(images, window, image_size)


def decode_jpeg(
    content: tf.Tensor,
    channels: int,
    window: Any,
    outer: Any,
    image_size: tuple[int, int] | None,
) -> tf.Tensor:
    """Decode a JPEG image and `cut` it, without decoding what is cut away.

    Args:
        content: scalar string, the content of the file.
        channels: int, 1 or 3.
        window: `[4]`, a row of `windows`.
        outer: `[4]`, a row of `with_margin`.
        image_size: pair of ints, as in `cut`.

    Returns:
        uint8 tensor `[H, W, channels]`, the same as `cut` makes of the whole image.
    """
    image = tf.io.decode_and_crop_jpeg(content, outer, channels)
    offset = window[:2] - outer[:2]
    size = window[2:]
    return cut(image, (offset[0], offset[1], size[0], size[1]), image_size)


def cut(
    images: tf.Tensor, window: Any, image_size: tuple[int, int] | None
) -> tf.Tensor:
    """Cut a window out of images and resize it.

    Args:
        images: uint8 or float tensor `[..., H, W, C]`, of rank 3 or 4.
        window: ints or scalar tensors: top, left, height and width.
        image_size: `(height, width)` of the result, or None for that of the window.

    Returns:
        Tensor of the same dtype; uint8 values are rounded.
    """
    top, left, height, width = (window[i] for i in range(4))
    images = images[..., top : top + height, left : left + width, :]
    if image_size is None or tuple(images.shape[-3:-1]) == tuple(image_size):
        return images
    resized = tf.image.resize(images, image_size, antialias=True)
    if images.dtype == tf.uint8:
        resized = tf.clip_by_value(tf.round(resized), 0.0, 255.0)
    return tf.cast(resized, images.dtype)
