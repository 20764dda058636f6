"""Data sets as `tf.data` pipelines whose order is a pure function of (seed, epoch)."""

import difflib
import math
import numbers
from pathlib import Path

from mvae_tf.data import arrays, images, synthetic, toy
from mvae_tf.data.folder import read_folder
from mvae_tf.data.pipeline import Splits, leading
from mvae_tf.data.tfds_source import SETS, read_tfds

__all__ = ["Splits", "leading", "load", "sources", "synthetic", "toy"]

_SOURCES = {
    "digits": "1,797 handwritten 8x8 digits that scikit-learn ships (no download)",
    "synthetic": "10,000 8x8 images of a Gaussian mixture with known density",
    "toy": "70,000 numbers of two Gaussians around 0.3 and 0.7, as vectors (1,)",
    "mnist": "MNIST, 28x28 grey digits (TFDS)",
    "fashion_mnist": "Fashion-MNIST, 28x28 grey clothes (TFDS)",
    "cifar10": "CIFAR-10, 32x32 colour (TFDS)",
    "cifar100": "CIFAR-100, 32x32 colour (TFDS)",
    "celeb_a": "CelebA, centre crop 128 resized to 64x64, no labels (TFDS, streamed)",
    "imagenet64": "ImageNet at 64x64 (TFDS, streamed)",
    "omniglot": "Omniglot, bright strokes resized to 28x28 (TFDS)",
    "frey_faces:<file>": "Frey Faces, 28x20 grey, from an .npz or .mat file",
    "npz:<file>": "arrays x_train [y_train] x_test [y_test], or x [y], of an .npz file",
    "folder:<dir>": "image files, flat or one sub-folder a class",
}


def sources():
    """Names of the sources of `load`, each with one line that describes it.

    Returns:
        dict of name to description; what stands in angle brackets is to be replaced.
    """
    return dict(_SOURCES)


def load(
    source="digits",
    image_size=None,
    binarize=None,
    batch_size=128,
    limit=None,
    seed=0,
    data_dir=None,
    value_range=(0.0, 1.0),
    download=False,
    validation_size=None,
    crop_size=None,
    steps_per_epoch=None,
):
    """Training, validation and test pipelines of a data set.

    Which example belongs to which part does not depend on any argument but
    `validation_size`. Digits are split 1,297/200/300, Frey Faces 1,565/200/200, arrays
    in one piece and folders 80/10/10 %, each by one fixed permutation. Where there is
    a training and a test part only, the last tenth of the training part, at most
    10,000 examples, is for validation (MNIST and Fashion-MNIST: the last 10,000).

    CelebA can often not be downloaded, because its host limits the traffic. Unpack
    `img_align_celeba.zip` by hand and use `folder:<dir>` with `crop_size=128` and
    `image_size=64`: the same images, with a split of their own.

    Args:
        source: Name of the data set, one of `sources()`.
        image_size: int or pair (height, width) to which images are resized, with
            antialiasing; what exceeds its aspect ratio is cut. None keeps their size
            (CelebA: 64, Omniglot: 28).
        binarize: None for grey levels; "dynamic" to draw each pixel of the training
            part anew in every epoch with its grey level as probability, and those of
            the validation and the test part once; "static" to draw all parts once. What
            is drawn once is the same for every `seed`.
        batch_size: Examples a batch.
        limit: Keep at most the first `limit` examples of each part.
        seed: int in [0, 2**31) that decides the order and the dynamic draws.
        data_dir: Folder of TensorFlow Datasets; None is its default.
        value_range: `(low, high)` to which black and white are mapped.
        download: Whether TensorFlow Datasets may download what is not in `data_dir`.
        validation_size: Number of training examples to hold out where the source has
            no validation part; 0 for none.
        crop_size: Side in pixels of the centred square that is cut out before the
            resize (CelebA: 128).
        steps_per_epoch: Batches of a training epoch, where it has more: the shuffled
            epoch ends after as many. None trains on every example in each epoch.

    Returns:
        `Splits`.

    Raises:
        FileNotFoundError: A file, a folder or a prepared data set is not there.
        ValueError: On an unknown source, arguments out of range, and data that is
            damaged, empty, not finite or out of range. The error names the file.

    Example:
        >>> splits = mvae_tf.data.load("digits", batch_size=64)
        >>> model.fit(splits.train, validation_data=splits.validation, epochs=10)
    """
    _check_int("batch_size", batch_size, 1)
    _check_int("seed", seed, 0, 2**31)
    _check_int("limit", limit, 1, optional=True)
    _check_int("crop_size", crop_size, 1, optional=True)
    _check_int("steps_per_epoch", steps_per_epoch, 1, optional=True)
    _check_int("validation_size", validation_size, 0, optional=True)
    if binarize not in (None, "dynamic", "static"):
        raise ValueError(
            f"expected binarize as 'dynamic', 'static' or None, got {binarize!r}"
        )
    low, high = _checked_range(value_range)
    fit_arguments = {
        "image_size": images.checked_size(image_size),
        "crop_size": crop_size,
    }
    kind, path = _checked_source(source)
    if validation_size is not None and kind not in ("npz", *SETS):
        raise ValueError(
            f"expected no validation_size for {kind}, whose split is fixed, "
            f"got {validation_size}"
        )
    if kind == "digits":
        parts = arrays.read_digits(fit_arguments)
    elif kind == "synthetic":
        parts = synthetic.read_synthetic(fit_arguments)
    elif kind == "toy":
        parts = toy.read_toy(fit_arguments)
    elif kind == "npz":
        parts = arrays.read_npz(path, validation_size, fit_arguments)
    elif kind == "frey_faces":
        parts = arrays.read_frey_faces(path, fit_arguments)
    elif kind == "folder":
        parts = read_folder(path, limit, fit_arguments)
    else:
        parts = read_tfds(
            kind, validation_size, limit, data_dir, download, fit_arguments
        )
    *examples, num_classes = parts
    shape = examples[0].shape
    if binarize and len(shape) == 3 and shape[-1] != 1:
        raise ValueError(
            f"expected images with one channel to binarize, got {shape[-1]} channels"
        )
    if limit is not None:
        examples = [part and part.limited(limit) for part in examples]
    names = {"npz": Path(path).stem, "folder": Path(path).resolve().name}
    return Splits(
        names.get(kind, kind),
        *examples,
        num_classes=num_classes,
        batch_size=batch_size,
        seed=seed,
        value_range=(low, high),
        binarize=binarize,
        steps_per_epoch=steps_per_epoch,
    )


def _checked_source(source):
    """Kind and path of a source; the path is empty where the kind takes none."""
    if not isinstance(source, str):
        raise TypeError(f"expected a source's name, got {source!r}")
    kind, colon, path = source.partition(":")
    by_kind = {name.partition(":")[0]: name for name in _SOURCES}
    if kind not in by_kind:
        close = difflib.get_close_matches(kind, by_kind, n=1)
        hint = f" (did you mean {by_kind[close[0]]}?)" if close else ""
        raise ValueError(
            f"expected a source among {', '.join(_SOURCES)}, got {source!r}{hint}"
        )
    if bool(path) != (":" in by_kind[kind]) or bool(colon) != bool(path):
        raise ValueError(f"expected the source as {by_kind[kind]}, got {source!r}")
    return kind, path


def _checked_range(value_range):
    try:
        low, high = map(float, value_range)
        ordered = -math.inf < low < high < math.inf
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(
            f"expected value_range as (low, high) with low < high, got {value_range!r}"
        )
    return low, high


def _check_int(name, value, low, high=None, optional=False):
    if optional and value is None:
        return
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"expected {name} as an int, got {value!r}")
    if value < low or (high is not None and value >= high):
        limit = f"at least {low}" if high is None else f"in [{low}, {high})"
        raise ValueError(f"expected {name} {limit}, got {value}")
