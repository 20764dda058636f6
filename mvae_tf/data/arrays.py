"""Data sets held in memory: the digits of scikit-learn, npz files, Frey Faces."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from mvae_tf.data.checks import (
    checked_images,
    checked_labels,
    existing_file,
    fixed_split,
    held_out,
    one_line,
)
from mvae_tf.data.images import fit, fitted_shape
from mvae_tf.data.pipeline import IndexedExamples

__all__ = ["in_memory", "read_digits", "read_frey_faces", "read_npz"]

# What readers of damaged files have been seen to raise.
_UNREADABLE = (
    EOFError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_digits(fit_arguments):
    """The 1,797 handwritten 8x8 digits that scikit-learn ships: 1,297/200/300."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    parts = fixed_split(len(x), 200, 300)
    return in_memory([(x[part], y[part]) for part in parts], fit_arguments)


def read_npz(path, validation_size, fit_arguments):
    """The arrays of an npz file.

    The file holds `x_train` and `x_test`, with `y_train` and `y_test` where there are
    labels, or all images in `x`, with labels in `y`. In the first case the validation
    part is the end of the training part, in the second the split is 80/10/10 %.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or its arrays are not a data set.
    """
    arrays = _npz_arrays(path, ("x_train", "y_train", "x_test", "y_test", "x", "y"))
    if "x" in arrays:
        if validation_size is not None:
            raise ValueError(
                "expected no validation_size for a file with one part (key x), "
                f"got {validation_size}"
            )
        x, y = _checked(arrays, "x", "y", path)
        tenth = max(1, len(x) // 10)
        parts = fixed_split(len(x), tenth, tenth, where=path)
        return in_memory([_rows(x, y, part) for part in parts], fit_arguments, path)
    for one, other in [("x_train", "x_test"), ("x_test", "x_train")]:
        if one in arrays and other not in arrays:
            raise _missing_key(path, other, arrays)
    if "x_train" not in arrays:
        raise _missing_key(path, "x_train or x", arrays)
    if ("y_train" in arrays) != ("y_test" in arrays):
        missing = "y_test" if "y_train" in arrays else "y_train"
        raise _missing_key(path, missing, arrays)
    train = _checked(arrays, "x_train", "y_train", path)
    test = _checked(arrays, "x_test", "y_test", path)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"{path}: expected x_test of the example shape of x_train, "
            f"{train[0].shape[1:]}, got {test[0].shape[1:]}"
        )
    kept = len(train[0]) - held_out(len(train[0]), validation_size)
    parts = [
        _rows(*train, slice(kept)),
        _rows(*train, slice(kept, None)),
        test,
    ]
    return in_memory(parts, fit_arguments, path)


def read_frey_faces(path, fit_arguments):
    """Frey Faces: 1,965 grey frames of 28x20 pixels, split 1,565/200/200.

    Read from key `x` of an npz file, or from `ff` of `frey_rawface.mat`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or is not Frey Faces.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        arrays = _npz_arrays(path, ("x",))
        if "x" not in arrays:
            raise _missing_key(path, "x", arrays)
        x = arrays["x"]
    elif suffix == ".mat":
        x = _mat_array(path, "ff").T
    else:
        raise ValueError(
            f"expected Frey Faces as .npz or .mat, got {path}: a pickle can run any "
            "program, so convert it with numpy.savez(file, x=frames) where you trust it"
        )
    if x.shape == (1965, 560):
        x = x.reshape(1965, 28, 20)
    if x.shape != (1965, 28, 20):
        raise ValueError(
            f"{path}: expected 1965 frames of 28x20 pixels, got shape {x.shape}"
        )
    x = checked_images(x, path)
    parts = fixed_split(len(x), 200, 200)
    return in_memory([(x[part], None) for part in parts], fit_arguments, path)


def in_memory(parts, fit_arguments, where="the data set"):
    """Examples of checked arrays.

    Args:
        parts: `(x, y)` of training, validation and test; `y` is None without labels.
        fit_arguments: dict of `image_size` and `crop_size`, as `images.fit` takes them.
        where: Name of the source for errors.

    Returns:
        `(train, validation, test, num_classes)`: three `IndexedExamples`, the second
        None if it is empty, and the number of classes or None.
    """
    num_classes = None
    if parts[0][1] is not None:
        num_classes = 1 + max(int(y.max()) for _, y in parts if len(y))
    examples = [
        _examples(_fitted(x, fit_arguments, where), y) if len(x) else None
        for x, y in parts
    ]
    return (*examples, num_classes)


def _checked(arrays, x_key, y_key, path):
    x = checked_images(arrays[x_key], f"{path}, key {x_key}")
    if y_key not in arrays:
        return x, None
    return x, checked_labels(arrays[y_key], len(x), f"{path}, key {y_key}")


def _rows(x, y, rows):
    return x[rows], None if y is None else y[rows]


def _fitted(x, fit_arguments, where):
    if fit_arguments == {"image_size": None, "crop_size": None}:
        return x
    if x.ndim == 2:
        raise ValueError(f"{where}: expected images to resize, got vectors {x.shape}")
    try:
        fitted_shape(x.shape[1:], **fit_arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    rows = 1024
    chunks = [
        fit(tf.constant(x[start : start + rows]), **fit_arguments).numpy()
        for start in range(0, len(x), rows)
    ]
    # Interpolation may leave the range of its input by a rounding error.
    return np.clip(np.concatenate(chunks), 0, 255 if x.dtype == np.uint8 else 1)


def _examples(x, y):
    with tf.device("CPU:0"):
        images = tf.constant(x)
        labels = None if y is None else tf.constant(y)

    def read(indices):
        if labels is None:
            return tf.gather(images, indices)
        return tf.gather(images, indices), tf.gather(labels, indices)

    return IndexedExamples(len(x), x.shape[1:], read)


def _npz_arrays(path, keys):
    """Dict of the arrays of a file; those that are not among `keys` are None."""
    path = existing_file(path)
    where = path
    try:
        # numpy.load leaves a damaged file open that it has opened itself.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it is a single array")
            arrays = {}
            for key in file.files:
                where = f"{path}, key {key}"
                arrays[key] = file[key] if key in keys else None
    except _UNREADABLE as error:
        raise ValueError(
            f"{where}: expected a whole .npz file: {one_line(error)}"
        ) from error
    return arrays


def _missing_key(path, key, arrays):
    found = ", ".join(arrays) or "none"
    return ValueError(f"{path}: expected the key {key}, found {found}")


def _mat_array(path, key):
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = existing_file(path)
    try:
        return loadmat(path, variable_names=[key])[key]
    except KeyError:
        raise ValueError(f"{path}: expected the variable {key}, found none") from None
    except (MatReadError, *_UNREADABLE) as error:
        raise ValueError(
            f"{path}: expected a whole .mat file: {one_line(error)}"
        ) from error
