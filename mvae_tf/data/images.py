"""Cropping and resizing without distortion, and decoding of what a crop keeps."""

import tensorflow as tf

__all__ = ["decode_jpeg", "fit", "fitted_shape"]


def fitted_shape(
    shape: tuple[int, int, int],
    image_size: tuple[int, int] | None = None,
    crop_size: int | None = None,
    where: str = "the data set",
) -> tuple[int, int, int]:
    """Return the shape `(H, W, C)` that `fit` makes of an image of shape `shape`.

    Args:
        shape: `(H, W, C)` of the image.
        image_size: As in `fit`.
        crop_size: As in `fit`.
        where: Name of the file or data set for errors.

    Raises:
        ValueError: The image is smaller than the crop.
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


def fit(
    images: tf.Tensor,
    image_size: tuple[int, int] | None = None,
    crop_size: int | None = None,
) -> tf.Tensor:
    """Crop and resize images about their centre.

    The optional square crop comes first. A resize then cuts what exceeds the aspect
    ratio of the target and interpolates linearly, with antialiasing.

    Args:
        images: uint8 or float tensor `[..., H, W, C]`, of rank 3 or 4.
        image_size: `(height, width)` of the result, or None.
        crop_size: Side of the centred square that is kept first, or None.

    Returns:
        Tensor of the same dtype; uint8 values are rounded.
    """
    if crop_size is None and image_size in (None, images.shape[-3:-1]):
        return images
    window = _window(tf.shape(images)[-3:-1], image_size, crop_size)
    return _resized(_cut(images, *window), image_size)


def decode_jpeg(
    content: tf.Tensor,
    channels: int,
    image_size: tuple[int, int] | None = None,
    crop_size: int | None = None,
) -> tf.Tensor:
    """Decode a JPEG image and `fit` it, without decoding what is cut away.

    Args:
        content: Scalar string, the content of the file.
        channels: 1 or 3.
        image_size: As in `fit`.
        crop_size: As in `fit`.

    Returns:
        uint8 tensor `[H, W, channels]`, the same as `fit` makes of the whole image.
    """
    if image_size is None and crop_size is None:
        return tf.io.decode_jpeg(content, channels)
    shape = tf.io.extract_jpeg_shape(content)[:2]
    start, size = _window(shape, image_size, crop_size)
    # The colours of a pixel come from its neighbours too: two more on each side.
    first = tf.maximum(start - 2, 0)
    last = tf.minimum(start + size + 2, shape)
    window = tf.concat([first, last - first], axis=0)
    image = tf.io.decode_and_crop_jpeg(content, window, channels)
    return _resized(_cut(image, start - first, size), image_size)


def _window(
    shape: tf.Tensor, image_size: tuple[int, int] | None, crop_size: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Upper left corner and size of what `fit` keeps of an image of size `shape`."""
    kept = shape if crop_size is None else tf.constant([crop_size, crop_size])
    start = (shape - kept) // 2
    if image_size is not None:
        scale = tf.reduce_min(tf.cast(kept, tf.float64) / image_size)
        inner = tf.cast(tf.round(scale * image_size), tf.int32)
        start, kept = start + (kept - inner) // 2, inner
    return start, kept


def _cut(images: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    (top, left), (height, width) = tf.unstack(start), tf.unstack(size)
    return images[..., top : top + height, left : left + width, :]


def _resized(images: tf.Tensor, image_size: tuple[int, int] | None) -> tf.Tensor:
    if image_size is None:
        return images
    resized = tf.image.resize(images, image_size, antialias=True)
    if images.dtype == tf.uint8:
        resized = tf.clip_by_value(tf.round(resized), 0.0, 255.0)
    return tf.cast(resized, images.dtype)
