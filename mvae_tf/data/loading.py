"""Loading of a data set, by the name of its source or from arrays, as pipelines.

TensorFlow is imported only when data is loaded, because the command line reads the
arguments of `load` without it.
"""

import inspect
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from mvae_tf.data import registry
from mvae_tf.parts.part import choice, is_integer, like_default

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mvae_tf.data.pipeline import Splits

__all__ = ["from_arrays", "load"]

_LOG = logging.getLogger(__name__)


def load(
    source: str | os.PathLike | registry.Source = "digits",
    image_size: int | tuple[int, int] | None = None,
    binarize: str | None = None,
    batch_size: int = 128,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    download: bool = False,
    validation_size: int | None = None,
    crop_size: int | None = None,
    steps_per_epoch: int | None = None,
) -> "Splits":
    """Load a data set as training, validation and test pipelines.

    Which example belongs to which part does not depend on any argument but
    `validation_size`. Digits are split 1,297/200/300, Frey Faces 1,565/200/200, arrays
    in one piece and folders without `train/` and `test/` 80/10/10 %, each by one fixed
    permutation. Where there is a training and a test part only, the last tenth of the
    training part, at most 10,000 examples, is held out for validation (MNIST and
    Fashion-MNIST of TensorFlow Datasets: the last 10,000).

    CelebA can often not be downloaded, because its host limits the traffic. Unpack
    `img_align_celeba.zip` by hand and use `folder:<dir>` with `crop_size=128` and
    `image_size=64`: the same images, with a split of their own.

    Args:
        source: str or path, the name of the data set, one of `sources()`, or the path
            of an .npz file (those of `keras.datasets` included) or of a folder of
            images.
        image_size: int or pair (height, width) to which images are resized, with
            antialiasing; what exceeds its aspect ratio is cut off. None keeps their
            size (CelebA: 64, Omniglot: 28).
        binarize: None keeps grey levels. "dynamic" draws each pixel of the training
            part anew in every epoch, with its grey level as probability of a 1, and the
            pixels of the validation and test part once. "static" draws all parts once.
            A part that is drawn once is the same for every `seed`.
        batch_size: int, number of examples per batch.
        limit: int, keep at most the first `limit` examples of each part.
        seed: int in [0, 2**31) that decides the order and the dynamic draws.
        data_dir: path of the folder of TensorFlow Datasets; None is its default.
        value_range: `(low, high)` to which black and white are mapped. None is for
            tables of real numbers: it keeps float values in any range as they are. The
            model then needs a likelihood without bounds.
        download: bool, whether TensorFlow Datasets may download what is not in
            `data_dir`.
        validation_size: int, number of training examples to hold out where the source
            has no validation part; 0 for none.
        crop_size: int, side in pixels of the centred square that is cut out before the
            resize (CelebA: 128).
        steps_per_epoch: int, number of batches after which a training epoch ends early.
            None trains on every example in each epoch.

    Returns:
        `Splits`.

    Raises:
        FileNotFoundError: a file, a folder or a prepared data set is not there.
        TypeError: an argument has the wrong type.
        ValueError: the source is unknown, an argument is out of range, or the data is
            damaged, empty, not finite or out of range; the error then names the file.

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
    like_default("download", download, False)
    if not isinstance(data_dir, str | os.PathLike | None):
        raise TypeError(f"Expected data_dir as a path or None, got {data_dir!r}.")
    choice(binarize, (None, "dynamic", "static"), "binarize")
    value_range = _checked_range(value_range)
    if binarize and value_range is None:
        raise ValueError(
            "Expected value_range as (low, high) to binarize, got value_range None."
        )
    found, path = (
        (source, "") if isinstance(source, registry.Source) else registry.find(source)
    )
    request = registry.Request(
        path=path,
        image_size=_checked_size(image_size),
        crop_size=crop_size,
        bounded=value_range is not None,
        validation_size=validation_size,
        limit=limit,
        data_dir=data_dir,
        download=download,
    )

    from mvae_tf.data.arrays import in_memory
    from mvae_tf.data.pipeline import Splits

    parts = found.read(request)
    if isinstance(parts, dict):
        parts = in_memory(parts, request, path or found.name)
    shape = parts.train.shape
    if binarize and len(shape) == 3 and shape[-1] != 1:
        raise ValueError(
            f"Expected images with one channel to binarize, got {shape[-1]} channels."
        )
    for note in parts.notes:
        _LOG.warning(note)
    return Splits(
        found.label(path),
        parts.train.limited(limit),
        parts.validation and parts.validation.limited(limit),
        parts.test.limited(limit),
        num_classes=parts.num_classes,
        batch_size=batch_size,
        seed=seed,
        value_range=value_range,
        binarize=binarize,
        steps_per_epoch=steps_per_epoch,
        notes=parts.notes,
    )


def from_arrays(
    x: "ArrayLike",
    y: "ArrayLike | None" = None,
    *,
    x_val: "ArrayLike | None" = None,
    y_val: "ArrayLike | None" = None,
    x_test: "ArrayLike | None" = None,
    y_test: "ArrayLike | None" = None,
    **as_load: Any,
) -> "Splits":
    """Make the pipelines of `load` from arrays in memory.

    With `x_test`, the images `x` are for training, and without `x_val` the last tenth
    of them is held out for validation. Without `x_test`, a tenth of `x`, chosen by a
    fixed permutation, becomes the test part, and without `x_val` another tenth becomes
    the validation part.

    Args:
        x: images `(n, H, W)` or `(n, H, W, C)` with 1 or 3 channels, or vectors
            `(n, P)`; uint8, bool, or float in [0, 1]. With `value_range=None`, real
            numbers in any range.
        y: integer labels `(n,)`, counted from 0, or None.
        x_val: array of images like x, for validation, or None.
        y_val: integer labels `(n,)` of x_val, or None.
        x_test: array of images like x, for testing, or None.
        y_test: integer labels `(n,)` of x_test, or None.
        **as_load: further arguments of `load`, such as `batch_size` or `image_size`.

    Returns:
        `Splits`, named "arrays".

    Raises:
        TypeError: on an unknown argument.
        ValueError: as in `load`.

    Example:
        >>> splits = mvae_tf.data.from_arrays(x_train, y_train, batch_size=64)
        >>> model.fit(splits.train, validation_data=splits.validation, epochs=10)
        >>> x_test, y_test = splits.arrays("test")
    """
    known = dict(inspect.signature(load).parameters)
    for key in ("source", "data_dir", "download"):
        del known[key]
    for key in as_load:
        try:
            choice(key, known, "argument of from_arrays")
        except ValueError as error:
            raise TypeError(str(error)) from None
    first = "" if x_test is None else "_train"
    given = {
        f"x{first}": x,
        f"y{first}": y,
        "x_val": x_val,
        "y_val": y_val,
        "x_test": x_test,
        "y_test": y_test,
    }
    given = {key: array for key, array in given.items() if array is not None}
    return load(registry.Source("arrays", "", lambda request: given), **as_load)


def _checked_range(value_range: Any) -> tuple[float, float] | None:
    if value_range is None:
        return None
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            "Expected value_range as (low, high) with low < high, or None, got "
            f"{value_range!r}."
        )
    return low, high


def _checked_size(image_size: Any) -> tuple[int, int] | None:
    """Return `image_size` as `(height, width)`, or None."""
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, list | tuple) else (image_size,) * 2
    if len(pair) != 2 or not all(is_integer(n) and n > 0 for n in pair):
        raise ValueError(
            "Expected image_size as a positive int, a pair (height, width) or None, "
            f"got {image_size!r}."
        )
    return int(pair[0]), int(pair[1])


def _check_int(
    name: str, value: Any, low: int, high: int | None = None, optional: bool = False
) -> None:
    if optional and value is None:
        return
    if not is_integer(value):
        raise TypeError(f"Expected {name} as an integer, got {value!r}.")
    if value < low or (high is not None and value >= high):
        limit = f">= {low}" if high is None else f"in {low}..{high - 1}"
        raise ValueError(f"Expected {name} {limit}, got {value}.")
