"""Data sets that TensorFlow Datasets prepares.

The small ones are held in memory, CelebA and ImageNet are streamed from disk.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from mvae_tf.data.arrays import in_memory
from mvae_tf.data.checks import held_out, one_line
from mvae_tf.data.images import fit, fitted_shape
from mvae_tf.data.pipeline import StreamedExamples

__all__ = ["SETS", "read_tfds"]


@dataclasses.dataclass(frozen=True)
class _Set:
    """What is particular about a data set.

    Attributes:
        names: Names in TensorFlow Datasets; the first that is prepared is read.
        splits: Names of its training, validation and test part. Without a validation
            part, the end of the training part is held out.
        held_out: Number of training examples held out, or None for a tenth.
        image_size, crop_size: How an image is cropped and resized unless the caller
            says otherwise.
        inverted: Whether strokes are dark on white in three equal channels; they become
            bright on black in one.
        streamed: Shape of a stored image of a set too large for memory, else None.
    """

    names: tuple[str, ...]
    splits: tuple[str, str | None, str] = ("train", None, "test")
    held_out: int | None = None
    image_size: tuple[int, int] | None = None
    crop_size: int | None = None
    inverted: bool = False
    streamed: tuple[int, int, int] | None = None


SETS = {
    "mnist": _Set(("mnist",), held_out=10_000),
    "fashion_mnist": _Set(("fashion_mnist",), held_out=10_000),
    "cifar10": _Set(("cifar10",)),
    "cifar100": _Set(("cifar100",)),
    "omniglot": _Set(("omniglot",), image_size=(28, 28), inverted=True),
    "celeb_a": _Set(
        ("celeb_a",),
        splits=("train", "validation", "test"),
        image_size=(64, 64),
        crop_size=128,
        streamed=(218, 178, 3),
    ),
    # The second has no labels, and does not declare the size of its images.
    "imagenet64": _Set(
        ("imagenet_resized/64x64", "downsampled_imagenet/64x64"),
        splits=("train", None, "validation"),
        image_size=(64, 64),
        streamed=(64, 64, 3),
    ),
}


def read_tfds(name, validation_size, limit, data_dir, download, fit_arguments):
    """A data set of `SETS`.

    The checksum of every record that will be read is verified once at the start, so
    that a damaged file is found, and named, before the training begins.

    Args:
        name: Key of `SETS`.
        validation_size: int, the number of training examples to hold out, or None.
        limit: int or None, the most examples that a part will use.
        data_dir: Folder of TensorFlow Datasets, or None for its default.
        download: Whether a set that is not there may be downloaded and prepared.
        fit_arguments: dict of `image_size` and `crop_size`, as `images.fit` takes them.

    Returns:
        `(train, validation, test, num_classes)`.

    Raises:
        FileNotFoundError: The set is not there and `download` is False.
        ValueError: A file of it is damaged.
    """
    entry = SETS[name]
    builder = _builder(entry.names, data_dir, download)
    parts = _parts(builder, entry, validation_size, limit)
    _verify(builder, [part for part in parts if part])
    fit_arguments = {
        key: getattr(entry, key) if value is None else value
        for key, value in fit_arguments.items()
    }
    if entry.streamed:
        shape = fitted_shape(entry.streamed, **fit_arguments)
        examples = [
            part and _streamed(builder, part, shape, fit_arguments) for part in parts
        ]
    else:
        arrays = [_arrays(builder, part, entry, fit_arguments) for part in parts]
        *examples, _ = in_memory(arrays, {"image_size": None, "crop_size": None}, name)
    features = builder.info.features
    return (*examples, features["label"].num_classes if "label" in features else None)


def _builder(names, data_dir, download):
    # Takes seconds to import, which the other sources do not need.
    import tensorflow_datasets as tfds

    for name in names:
        builder = tfds.builder(name, data_dir=data_dir)
        if builder.is_prepared():
            return builder
    builder = tfds.builder(names[0], data_dir=data_dir)
    if not download:
        raise FileNotFoundError(
            f"expected the prepared data set {names[0]} at {builder.data_dir}, found "
            "none: name its data_dir, or prepare it with download=True or "
            f"`tfds build {names[0]}`"
        )
    builder.download_and_prepare()
    return builder


def _parts(builder, entry, validation_size, limit):
    """Slices `split[start:stop]` of training, validation (or None) and test."""
    train, validation, test = entry.splits
    num_train, num_test = _size(builder, train), _size(builder, test)
    if validation:
        if validation_size is not None:
            raise ValueError(
                f"expected no validation_size for {entry.names[0]}, which has a "
                f"validation part of its own, got {validation_size}"
            )
        ranges = [
            (train, 0, num_train),
            (validation, 0, _size(builder, validation)),
            (test, 0, num_test),
        ]
    else:
        if validation_size is None and num_train > (entry.held_out or num_train):
            validation_size = entry.held_out
        kept = num_train - held_out(num_train, validation_size)
        ranges = [(train, 0, kept), (train, kept, num_train), (test, 0, num_test)]
    return [
        f"{split}[{start}:{stop if limit is None else min(stop, start + limit)}]"
        if start < stop
        else None
        for split, start, stop in ranges
    ]


def _verify(builder, parts):
    """Checks the checksum of every record in the files of some slices of splits."""
    # TensorFlow's own errors do not say in which file the damage is.
    instructions = [
        instruction
        for part in parts
        if builder.is_prepared()
        for instruction in builder.info.splits[part].file_instructions
    ]
    sizes = {str(i.filename): i.examples_in_shard for i in instructions}
    for path, size in sizes.items():
        records = tf.data.TFRecordDataset(path, buffer_size=2**23)
        try:
            found = int(records.reduce(np.int64(0), lambda total, _: total + 1))
        except tf.errors.OpError as error:
            raise ValueError(f"{path} is damaged: {one_line(error.message)}") from error
        if found != size:
            raise ValueError(f"{path} is damaged: expected {size} records, got {found}")


def _dataset(builder, part):
    """Dataset of `(image, label)` or `(image,)`; images are not decoded."""
    import tensorflow_datasets as tfds

    keys = ("image", "label") if "label" in builder.info.features else ("image",)
    dataset = builder.as_dataset(
        split=part,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(
            dict.fromkeys(keys, True), {"image": tfds.decode.SkipDecoding()}
        ),
        read_config=tfds.ReadConfig(try_autocache=False, skip_prefetch=True),
    )
    return dataset.map(lambda example: tuple(example[key] for key in keys))


def _size(builder, part):
    return int(_dataset(builder, part).cardinality())


def _arrays(builder, part, entry, fit_arguments):
    """NumPy `(x, y)` of a small set; y is None without labels."""

    def load(image, *label):
        image = builder.info.features["image"].decode_example(image)
        if entry.inverted:
            image = 255 - image[..., :1]
        return fit(image, **fit_arguments), *label

    if part is None:
        return (), ()
    batches = _dataset(builder, part).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    batches = list(batches.batch(1024).as_numpy_iterator())
    x, y = (np.concatenate(values) for values in zip(*batches, strict=True))
    return x, y


def _streamed(builder, part, shape, fit_arguments):
    decoder = builder.info.features["image"]

    def load(image):
        return tf.ensure_shape(
            fit(decoder.decode_example(image), **fit_arguments), shape
        )

    def read(records):
        images, *labels = records
        x = tf.map_fn(load, images, fn_output_signature=tf.TensorSpec(shape, tf.uint8))
        return (x, *labels) if labels else x

    return StreamedExamples(_size(builder, part), shape, _dataset(builder, part), read)
