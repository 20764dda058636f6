"""Cropping and resizing, without distortion."""

import tensorflow as tf

__all__ = ["checked_size", "fit", "fitted_shape"]


def checked_size(image_size):
    """`(height, width)` from an int, a pair or None.

    Raises:
        ValueError: It is none of these, or not positive.
    """
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, list | tuple) else (image_size,) * 2
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ValueError(
            "expected image_size as a positive int, a pair (height, width) or None, "
            f"got {image_size!r}"
        )
    return tuple(pair)


def fitted_shape(shape, image_size=None, crop_size=None):
    """Shape `(H, W, C)` that `fit` makes of an image of shape `shape`.

    Raises:
        ValueError: The image is smaller than the crop.
    """
    height, width, channels = shape
    if crop_size is not None:
        if min(height, width) < crop_size:
            raise ValueError(
                f"expected images of at least {crop_size}x{crop_size} for the crop, "
                f"got {height}x{width}"
            )
        height = width = crop_size
    return (*(image_size or (height, width)), channels)


def fit(images, image_size=None, crop_size=None):
    """Images cropped and resized about their centre.

    The optional square crop comes first. A resize then cuts what exceeds the aspect
    ratio of the target and interpolates linearly, with antialiasing.

    Args:
        images: uint8 or float tensor `[..., H, W, C]`, of rank 3 or 4.
        image_size: `(height, width)` or None.
        crop_size: int, the side of the centred square that is kept first, or None.

    Returns:
        Tensor of the same dtype; uint8 values are rounded.
    """
    if crop_size is not None:
        images = _center_crop(images, crop_size, crop_size)
    if image_size is None or images.shape[-3:-1] == image_size:
        return images
    height, width = image_size
    shape = tf.shape(images)[-3:-1]
    scale = tf.reduce_min(tf.cast(shape, tf.float64) / [height, width])
    crop = tf.cast(tf.round(scale * [height, width]), tf.int32)
    images = _center_crop(images, crop[0], crop[1])
    resized = tf.image.resize(images, image_size, antialias=True)
    if images.dtype == tf.uint8:
        resized = tf.clip_by_value(tf.round(resized), 0.0, 255.0)
    return tf.cast(resized, images.dtype)


def _center_crop(images, height, width):
    shape = tf.shape(images)
    top = (shape[-3] - height) // 2
    left = (shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]
