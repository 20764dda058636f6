"""Small data sets on disk, written as their own tools write them."""

import os
import zlib

# TensorFlow Datasets otherwise asks Google's network whether this is its machine.
os.environ["NO_GCE_CHECK"] = "true"

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from mvae_tf import data

RANDOM = np.random.default_rng(0)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def collect(dataset):
    """NumPy `(x, y)` of a finite labelled dataset, concatenated."""
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def labels_of(dataset):
    """Labels `[[...], ...]` of each batch."""
    return [y.tolist() for _, y in dataset.as_numpy_iterator()]


def digests(sources):
    """Checksum, for each source, of all that its pipelines give in two epochs."""
    results = []
    for source in sources:
        splits = data.load(
            source, batch_size=5, binarize="dynamic", image_size=6, limit=30
        )
        digest = 0
        for part in (splits.train, splits.train, splits.validation, splits.test):
            for x, y in part.as_numpy_iterator():
                digest = zlib.crc32(x.tobytes() + y.tobytes(), digest)
        results.append(digest)
    return results


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def write_numbered(path, size):
    """Npz file whose training labels are the row numbers; the pixel is label / 255."""
    y = np.arange(size)
    x = (y % 256).astype(np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    return write_npz(path, x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(image).numpy())


def write_tfds(data_dir, name, version, splits, config=None, **features):
    """Prepared data set; `splits` maps a split's name to a dict of arrays."""
    return tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        config=config,
        data_dir=data_dir,
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(arrays)
            for split, arrays in splits.items()
        },
    )


def image(*shape):
    return tfds.features.Image(shape=shape)


def label(num_classes):
    return tfds.features.ClassLabel(num_classes=num_classes)
