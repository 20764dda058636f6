"""Checks that every source shares: images, labels, files and the size of the parts."""

from pathlib import Path

import numpy as np

__all__ = [
    "checked_images",
    "checked_labels",
    "checked_path",
    "fixed_split",
    "held_out",
    "number_of_classes",
    "one_line",
    "selected",
]

# Images, or the paths of their files, and their labels, or None.
Labelled = tuple[np.ndarray, np.ndarray | None]

MAX_HELD_OUT = 10_000


def fixed_split(
    size: int, num_validation: int, num_test: int, where: str = "the data set"
) -> list[np.ndarray]:
    """Split row indices by a permutation that is always the same.

    Args:
        size: int, number of rows.
        num_validation: int, number of rows for validation.
        num_test: int, number of rows for testing.
        where: str, name of the data set for errors.

    Returns:
        Row indices of training, validation and test.

    Raises:
        ValueError: nothing would be left for training.
    """
    if size <= num_validation + num_test:
        least = num_validation + num_test + 1
        raise ValueError(f"Expected at least {least} examples in {where}, got {size}.")
    # RandomState's stream is frozen by NumPy's compatibility policy.
    order = np.random.RandomState(0).permutation(size)
    return np.split(order, [size - num_validation - num_test, size - num_test])


def held_out(num_train: int, validation_size: int | None = None) -> int:
    """Return how many training examples become the validation part.

    Args:
        num_train: int, number of training examples.
        validation_size: int, number that the user asks for; None stands for a tenth, at
            most 10,000.

    Raises:
        ValueError: nothing would be left for training.
    """
    if validation_size is None:
        validation_size = min(max(1, num_train // 10), MAX_HELD_OUT)
    if not 0 <= validation_size < num_train:
        raise ValueError(
            f"Expected validation_size in 0..{num_train - 1}, fewer than the training "
            f"examples, got {validation_size}."
        )
    return validation_size


def selected(examples: Labelled, rows: np.ndarray | slice) -> Labelled:
    """Return the chosen rows of images and of their labels.

    Args:
        examples: `(x, y)`; y is None where there are no labels.
        rows: int64 `[n]` indices of the rows, or a slice.
    """
    x, y = examples
    return x[rows], None if y is None else y[rows]


def checked_images(x: np.ndarray, where: str, bounded: bool = True) -> np.ndarray:
    """Check an array of images or vectors and bring it to a common form.

    Args:
        x: array `(n, H, W)`, `(n, H, W, C)` with 1 or 3 channels, or `(n, P)`; uint8,
            bool or float.
        where: str, name of the array for errors.
        bounded: bool, whether floats must lie in [0, 1]. If not, integers of any type
            are accepted as real numbers, too.

    Returns:
        Images `[n, H, W, C]` or vectors `[n, P]`, uint8 or float32.

    Raises:
        ValueError: the array has another shape or dtype, no examples, or floats that
            are not finite or not in [0, 1].
    """
    if x.ndim not in (2, 3, 4):
        found = f"shape {x.shape}" if x.ndim else f"{type(x.item()).__name__}"
        raise ValueError(
            "Expected images (n, H, W) or (n, H, W, C) or vectors (n, P) in "
            f"{where}, got {found}."
        )
    if x.size == 0:
        raise ValueError(
            f"Expected at least one example in {where}, got shape {x.shape}."
        )
    if x.ndim == 4 and x.shape[-1] not in (1, 3):
        hint = (
            "x.transpose(0, 2, 3, 1) puts channels last"
            if x.shape[1] in (1, 3)
            else "other data can be given as vectors, x.reshape(len(x), -1)"
        )
        raise ValueError(
            f"Expected images (n, H, W, C) with 1 or 3 channels in {where}, got shape "
            f"{x.shape}: {hint}."
        )
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype == np.bool_:
        return x.astype(np.float32)
    integers = np.issubdtype(x.dtype, np.integer)
    if integers and bounded and x.max() == 1 and x.min() == 0:
        # Read as bytes of 0..255, all pixels would be black or nearly black.
        raise ValueError(
            f"Expected bytes of 0..255 in {where}, got only 0 and 1: x.astype(bool) "
            "makes black and white images of them."
        )
    if x.dtype == np.uint8:
        return x
    if not (np.issubdtype(x.dtype, np.floating) or (integers and not bounded)):
        hint = ": x.astype('uint8') makes bytes of 0..255" if integers else ""
        raise ValueError(
            f"Expected uint8, bool or float values in {where}, got {x.dtype}{hint}."
        )
    # Numbers that float32 cannot hold become infinite, and are refused below.
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    low, high = x.min(), x.max()
    if not np.isfinite([low, high]).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=tuple(range(1, x.ndim))))[0]
        raise ValueError(
            f"Expected finite values in {where}, got NaN or inf in example {bad}."
        )
    if bounded and (low < 0 or high > 1):
        hint = " (x / 255)" if 0 <= low and 1 < high <= 255 else ""
        raise ValueError(
            f"Expected float values in [0, 1] in {where}, got {low:g} to {high:g}: "
            f"scale them{hint}, or keep them as they are with value_range=None."
        )
    return x


def checked_labels(y: np.ndarray, num_examples: int, where: str) -> np.ndarray:
    """Check an array of labels.

    Args:
        y: integers `(n,)` or `(n, 1)`.
        num_examples: int, n, the number of images that they belong to.
        where: str, name of the array for errors.

    Returns:
        int64 array `[n]`.

    Raises:
        ValueError: the array has another shape or dtype, or a negative label.
    """
    if y.shape not in [(num_examples,), (num_examples, 1)]:
        one_hot = y.ndim == 2 and len(y) == num_examples
        hint = ": y.argmax(axis=1) makes labels of one-hot rows" if one_hot else ""
        raise ValueError(
            f"Expected one label for each of {num_examples} examples in {where}, got "
            f"shape {y.shape}{hint}."
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"Expected integer labels in {where}, got {y.dtype}: "
            "np.unique(y, return_inverse=True)[1] numbers them."
        )
    if y.min() < 0 or y.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"Expected labels from 0 on in {where}, got {y.min()}..{y.max()}."
        )
    return y.reshape(-1).astype(np.int64)


def number_of_classes(
    labels: list[np.ndarray], where: str, stated: int | None = None
) -> int:
    """Return the number of classes of a data set.

    Args:
        labels: list of checked labels of each part.
        where: str, name of the data set for errors.
        stated: int, number of classes that the source states, or None to count them.

    Raises:
        ValueError: a label is not below the stated number. Where no number is stated:
            no label is 0, or a label is not below the number of examples, so that the
            labels cannot be numbers of classes.
    """
    every = np.concatenate(labels)
    low, high = every.min(), every.max()
    if stated is not None:
        if high >= stated:
            raise ValueError(
                f"Expected labels in 0..{stated - 1} in {where}, got {low}..{high}."
            )
        return stated
    if low > 0 or high >= len(every):
        raise ValueError(
            f"Expected labels that number the classes from 0 on in {where}, got "
            f"{low}..{high}: np.unique(y, return_inverse=True)[1] renumbers them."
        )
    return int(high) + 1


def checked_path(path: str, what: str = "file") -> Path:
    """Check that a file or folder exists, and return its path with `~` expanded.

    Args:
        path: path of the file or folder.
        what: "file" or "folder".

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    found = Path(path).expanduser()
    if not (found.is_dir() if what == "folder" else found.is_file()):
        raise FileNotFoundError(f"Expected a {what} at {found}, got none.")
    return found


def one_line(error: Exception) -> str:
    """Return the message of an exception without line breaks and final full stop."""
    return " ".join(str(error).split()).rstrip(".")
