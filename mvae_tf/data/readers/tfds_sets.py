"""The sources that TensorFlow Datasets prepares, such as `mnist` and `celeb_a`.

The small ones are held in memory. CelebA and ImageNet are read from the disk in each
epoch.
"""

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mvae_tf.data.checks import held_out, one_line
from mvae_tf.data.registry import Parts, Request, source

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class _Set:
    """How to read one data set.

    Attributes:
        about: str, one line that describes it.
        names: tuple of str, names in TensorFlow Datasets; the first that is prepared is
            read.
        splits: three str, names of its training, validation and test part. Without a
            validation part, the end of the training part is held out.
        held_out: int, number of training examples held out, or None for a tenth.
        image_size: pair of ints, height and width to which images are resized unless
            the user says otherwise, or None.
        crop_size: int, side of the square that is cut out first unless the user says
            otherwise, or None.
        inverted: bool, whether the stored images have dark strokes on white in three
            equal channels. They are read with bright strokes on black in one channel.
        streamed: tuple of ints, shape of a stored image, for a set that is too large
            for the memory; None for a set that is held in memory.
    """

    about: str
    names: tuple[str, ...]
    splits: tuple[str, str | None, str] = ("train", None, "test")
    held_out: int | None = None
    image_size: tuple[int, int] | None = None
    crop_size: int | None = None
    inverted: bool = False
    streamed: Any = None


SETS = {
    "mnist": _Set("MNIST, 28x28 grey digits (TFDS)", ("mnist",), held_out=10_000),
    "fashion_mnist": _Set(
        "Fashion-MNIST, 28x28 grey clothes (TFDS)", ("fashion_mnist",), held_out=10_000
    ),
    "cifar10": _Set("CIFAR-10, 32x32 colour (TFDS)", ("cifar10",)),
    "cifar100": _Set("CIFAR-100, 32x32 colour (TFDS)", ("cifar100",)),
    "omniglot": _Set(
        "Omniglot, bright strokes resized to 28x28 (TFDS)",
        ("omniglot",),
        image_size=(28, 28),
        inverted=True,
    ),
    "celeb_a": _Set(
        "CelebA, centre crop 128 resized to 64x64, no labels (TFDS, streamed)",
        ("celeb_a",),
        splits=("train", "validation", "test"),
        image_size=(64, 64),
        crop_size=128,
        streamed=(218, 178, 3),
    ),
    # The second name has no labels, and does not declare the size of its images.
    "imagenet64": _Set(
        "ImageNet at 64x64 (TFDS, streamed)",
        ("imagenet_resized/64x64", "downsampled_imagenet/64x64"),
        splits=("train", None, "validation"),
        image_size=(64, 64),
        streamed=(64, 64, 3),
    ),
}


def read_tfds(name: str, request: Request) -> Parts:
    """Read a data set of `SETS`.

    The checksum of every record that will be read is verified once at the start, so
    that a damaged file is found, and named, before the training begins.

    Args:
        name: str, key of `SETS`.
        request: what `load` was asked for.

    Raises:
        FileNotFoundError: the data set is not prepared and `request.download` is False.
        ConnectionError: the data set cannot be downloaded.
        ValueError: a file of the data set is damaged.
    """
    entry = SETS[name]
    request = dataclasses.replace(
        request,
        image_size=request.image_size or entry.image_size,
        crop_size=request.crop_size or entry.crop_size,
    )
    builder = _builder(name, entry.names, request.data_dir, request.download)
    slices = _parts(builder, entry, request.validation_size, request.limit)
    _verify(builder, [part for part in slices if part])
    features = builder.info.features
    num_classes = features["label"].num_classes if "label" in features else None
    make = _streamed if entry.streamed else _in_memory
    train, validation, test = (
        part and make(builder, part, entry, request) for part in slices
    )
    return Parts(train, validation, test, num_classes)


for _name, _entry in SETS.items():
    source(_name, _entry.about)(functools.partial(read_tfds, _name))


def _builder(
    name: str,
    names: tuple[str, ...],
    data_dir: str | os.PathLike | None,
    download: bool,
) -> Any:
    # These imports take seconds, and the other sources do not need them.
    import requests
    import tensorflow_datasets as tfds

    # absl would warn each time of the files that a failed download has left behind.
    with _quiet("absl"):
        for candidate in names:
            builder = tfds.builder(candidate, data_dir=data_dir)
            if builder.is_prepared():
                return builder
        builder = tfds.builder(names[0], data_dir=data_dir)
    if not download:
        raise FileNotFoundError(
            f"Expected the data set {name} in {builder.data_dir}, got none: download "
            f"it with download=True, or with `tfds build {names[0]}`, or name another "
            "folder of TensorFlow Datasets with data_dir=DIR."
        )
    try:
        # urllib3 would warn after each of its ten attempts to reach a server.
        with _quiet("urllib3"):
            builder.download_and_prepare()
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise ConnectionError(
            f"Expected to download the data set {name}, got {one_line(error)}: try "
            "again where there is a network, or give the path of a file of the same "
            "images, such as the mnist.npz of Keras, as the data."
        ) from error
    return builder


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep all messages of a logger but errors back, within a context."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _parts(
    builder: Any, entry: _Set, validation_size: int | None, limit: int | None
) -> list[str | None]:
    """Return the slices `split[start:stop]` of the parts; None for an empty one."""
    train, validation, test = entry.splits
    num_train, num_test = _size(builder, train), _size(builder, test)
    if validation:
        if validation_size is not None:
            raise ValueError(
                f"Expected no validation_size for {entry.names[0]}, which has a "
                f"validation part of its own, got {validation_size}."
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


def _verify(builder: Any, parts: list[str]) -> None:
    """Check the checksum of every record in the files of some slices of splits."""
    import tensorflow as tf

    # TensorFlow's own errors do not say which file is damaged.
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
            found = int(
                records.reduce(tf.constant(0, tf.int64), lambda total, _: total + 1)
            )
        except tf.errors.OpError as error:
            reason = one_line(error)
            raise ValueError(f"Expected a whole file, got {path}: {reason}.") from error
        if found != size:
            raise ValueError(f"Expected {size} records in {path}, got {found}.")


def _dataset(builder: Any, part: str) -> "tf.data.Dataset":
    """Return a dataset of `(image, label)` or `(image,)` with undecoded images."""
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


def _size(builder: Any, part: str) -> int:
    return int(_dataset(builder, part).cardinality())


def _in_memory(builder: Any, part: str, entry: _Set, request: Request) -> Any:
    """Return the examples of a small set, decoded and held in memory."""
    import tensorflow as tf

    from mvae_tf.data.examples import examples_of, leading
    from mvae_tf.data.images import fit

    def load(image: tf.Tensor, *label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = builder.info.features["image"].decode_example(image)
        if entry.inverted:
            image = 255 - image[..., :1]
        return fit(image, **request.fitting), *label

    decoded = _dataset(builder, part).map(load, tf.data.AUTOTUNE)
    return examples_of(*leading(decoded.batch(1024)))


def _streamed(builder: Any, part: str, entry: _Set, request: Request) -> Any:
    """Return the examples of a large set, which are decoded when they are needed."""
    import tensorflow as tf

    from mvae_tf.data.examples import StreamedExamples
    from mvae_tf.data.images import (
        cut,
        decode_jpeg,
        fitted_shape,
        windows,
        with_margin,
    )

    decoder = builder.info.features["image"]
    shape = fitted_shape(entry.streamed, **request.fitting, where=entry.names[0])
    sizes = np.array([entry.streamed[:2]])
    window = windows(sizes, **request.fitting)
    (outer,), (window,) = with_margin(window, sizes), window

    def read(image: tf.Tensor, *label: tf.Tensor) -> Any:
        def jpeg() -> tf.Tensor:
            return decode_jpeg(image, shape[-1], window, outer, request.image_size)

        def other() -> tf.Tensor:
            return cut(decoder.decode_example(image), window, request.image_size)

        decoded = tf.cond(tf.io.is_jpeg(image), jpeg, other)
        decoded = tf.ensure_shape(decoded, shape)
        return (decoded, *label) if label else decoded

    records = _dataset(builder, part)
    return StreamedExamples(int(records.cardinality()), shape, records, read)
