"""Folders of image files, flat or with one sub-folder a class."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from mvae_tf.data.checks import fixed_split
from mvae_tf.data.images import fit, fitted_shape
from mvae_tf.data.pipeline import IndexedExamples

__all__ = ["read_folder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def read_folder(path, limit, fit_arguments):
    """The images of a folder, split 80/10/10 %.

    Images directly in the folder have no labels; images in sub-folders have the rank of
    their sub-folder's name. Images are grey where all are grey, else RGB. Only the
    paths are kept in memory. Every file that will be used is decoded once at the start,
    so that a damaged one is found before the training begins.

    Args:
        path: The folder.
        limit: int or None, the most images that a part will use.
        fit_arguments: dict of `image_size` and `crop_size`, as `images.fit` takes them.

    Returns:
        `(train, validation, test, num_classes)`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no images, or both images and folders of images, or a file
            that is damaged, or images of different sizes when there is no `image_size`.
    """
    paths, labels, num_classes = _list_images(path)
    tenth = max(1, len(paths) // 10)
    parts = [part[:limit] for part in fixed_split(len(paths), tenth, tenth, path)]
    used = np.concatenate(parts)
    shape = _checked_shape(paths[used], fit_arguments)
    examples = [
        _examples(
            paths[part], None if labels is None else labels[part], shape, fit_arguments
        )
        for part in parts
    ]
    return (*examples, num_classes)


def _list_images(path):
    """Sorted paths, labels or None, and number of classes or None."""
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"expected a folder of images, found none at {root}")
    flat = _images_in(root)
    classes = sorted(entry.name for entry in os.scandir(root) if _is_class(entry))
    by_class = {name: _images_in(root / name) for name in classes}
    by_class = {name: found for name, found in by_class.items() if found}
    if flat and by_class:
        raise ValueError(
            f"{root}: expected images or folders of images, found both: "
            f"{flat[0]} and {next(iter(by_class.values()))[0]}"
        )
    if not flat and not by_class:
        raise ValueError(f"{root}: expected images ({' '.join(SUFFIXES)}), found none")
    if flat:
        return np.array(flat), None, None
    labels = np.repeat(np.arange(len(by_class)), [len(v) for v in by_class.values()])
    return np.concatenate(list(by_class.values())), labels, len(by_class)


def _is_class(entry):
    return entry.is_dir() and not entry.name.startswith(".")


def _images_in(path):
    names = (entry.name for entry in os.scandir(path))
    kept = (n for n in names if n.lower().endswith(SUFFIXES) and n[0] != ".")
    return [os.path.join(path, name) for name in sorted(kept)]


def _decode(path, channels):
    return tf.io.decode_image(
        tf.io.read_file(path), channels=channels, expand_animations=False
    )


def _checked_shape(paths, fit_arguments):
    """Common shape of the images once fitted; every file is decoded."""
    all_paths = tf.constant(paths)
    # The decoding ops do not name the file: what they refuse is missed and named here.
    shapes = (
        tf.data.Dataset.range(len(paths))
        .map(
            lambda i: (i, tf.shape(_decode(all_paths[i], channels=0))),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .ignore_errors()
    )
    shapes = {int(i): tuple(shape) for i, shape in shapes.as_numpy_iterator()}
    damaged = [str(paths[i]) for i in range(len(paths)) if i not in shapes]
    if damaged:
        more = f" and {len(damaged) - 1} other files" if damaged[1:] else ""
        raise ValueError(f"{damaged[0]}{more}: expected an image, cannot decode it")
    channels = 1 if all(shape[-1] < 3 for shape in shapes.values()) else 3
    result = None
    for i, (height, width, _) in shapes.items():
        try:
            shape = fitted_shape((height, width, channels), **fit_arguments)
        except ValueError as error:
            raise ValueError(f"{paths[i]}: {error}") from None
        if result not in (None, shape):
            raise ValueError(
                f"{paths[i]}: expected an image of {result[0]}x{result[1]} like the "
                f"others, or image_size to resize all, got {height}x{width}"
            )
        result = shape
    return tuple(int(n) for n in result)


def _examples(paths, labels, shape, fit_arguments):
    with tf.device("CPU:0"):
        paths = tf.constant(paths)
        labels = None if labels is None else tf.constant(labels, tf.int64)

    def decode(path):
        image = fit(_decode(path, shape[-1]), **fit_arguments)
        return tf.ensure_shape(image, shape)

    def read(indices):
        x = tf.map_fn(
            decode,
            tf.gather(paths, indices),
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return x if labels is None else (x, tf.gather(labels, indices))

    return IndexedExamples(len(paths), shape, read)
