"""Checks that every source shares: images, labels, files and the size of the parts."""

from pathlib import Path

import numpy as np

__all__ = [
    "checked_images",
    "checked_labels",
    "existing_file",
    "fixed_split",
    "held_out",
    "one_line",
]

MAX_HELD_OUT = 10_000


def fixed_split(size, num_validation, num_test, where="the data set"):
    """Row indices of training, validation and test: one permutation for everybody.

    Raises:
        ValueError: Nothing would be left for training.
    """
    if size <= num_validation + num_test:
        raise ValueError(f"{where}: expected at least 3 examples, got {size}")
    # RandomState's stream is frozen by NumPy's compatibility policy.
    order = np.random.RandomState(0).permutation(size)
    return np.split(order, [size - num_validation - num_test, size - num_test])


def held_out(num_train, validation_size=None):
    """Number of training examples that become the validation part.

    Raises:
        ValueError: Nothing would be left for training.
    """
    if validation_size is None:
        validation_size = min(max(1, num_train // 10), MAX_HELD_OUT)
    if not 0 <= validation_size < num_train:
        raise ValueError(
            f"expected validation_size from 0 to below the {num_train} training "
            f"examples, got {validation_size}"
        )
    return validation_size


def checked_images(x, where):
    """Images `[n, H, W, C]` or vectors `[n, P]`, uint8 or float32 in [0, 1].

    Args:
        x: Array `(n, H, W)`, `(n, H, W, C)` or `(n, P)`; uint8, bool or float.
        where: Name of the array for errors.

    Raises:
        ValueError: On any other shape or dtype, on no examples, and on floats that are
            not finite or lie outside [0, 1].
    """
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            f"{where}: expected images (n, H, W) or (n, H, W, C) or vectors (n, P), "
            f"got shape {x.shape}"
        )
    if x.size == 0:
        raise ValueError(f"{where}: expected at least one example, got shape {x.shape}")
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype == np.uint8:
        return x
    if x.dtype == np.bool_:
        return x.astype(np.float32)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"{where}: expected uint8, bool or float values, got {x.dtype}"
        )
    low, high = x.min(), x.max()
    if not np.isfinite([low, high]).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=tuple(range(1, x.ndim))))[0]
        raise ValueError(
            f"{where}: expected finite values, got NaN or inf in example {bad}"
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"{where}: expected float values in [0, 1], got {low:g} to {high:g}"
        )
    return x.astype(np.float32)


def checked_labels(y, num_examples, where):
    """Labels `[n]` of dtype int64, from integers `(n,)` or `(n, 1)`.

    Raises:
        ValueError: On any other shape or dtype, and on negative labels.
    """
    if y.shape not in [(num_examples,), (num_examples, 1)]:
        raise ValueError(
            f"{where}: expected one label for each of {num_examples} examples, "
            f"got shape {y.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{where}: expected integer labels, got {y.dtype}")
    if y.min() < 0:
        raise ValueError(f"{where}: expected labels from 0 on, got {y.min()}")
    return y.reshape(-1).astype(np.int64)


def existing_file(path):
    """`path` as a `Path`.

    Raises:
        FileNotFoundError: It is not a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file, found none at {path}")
    return path


def one_line(error):
    """Message of an exception without line breaks."""
    return " ".join(str(error).split())
