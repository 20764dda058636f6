"""The parts of a data set, made from a dict of NumPy arrays."""

from typing import Any

import numpy as np
import tensorflow as tf

from mvae_tf.data.checks import (
    Labelled,
    checked_images,
    checked_labels,
    fixed_split,
    held_out,
    number_of_classes,
    selected,
)
from mvae_tf.data.examples import examples_of
from mvae_tf.data.images import fit, fitted_shape
from mvae_tf.data.registry import Parts, Request

__all__ = ["in_memory"]


def in_memory(arrays: dict[str, Any], request: Request, where: str) -> Parts:
    """Make the parts of a data set from arrays.

    Args:
        arrays: dict of arrays, with the keys that `mvae_tf.data.source` describes.
        request: what `load` was asked for.
        where: str, name of the file or the source, for errors.

    Raises:
        ValueError: a key is missing, or an array has a wrong shape, type or value.
    """
    parts = _split(_checked(arrays, request, where), request, where)
    num_classes = arrays.get("num_classes")
    labels = [y for _, y in parts if y is not None]
    if labels:
        num_classes = number_of_classes(labels, where, num_classes)
    parts = [(_fitted(x, request, where), y) for x, y in parts]
    train, validation, test = (examples_of(x, y) if len(x) else None for x, y in parts)
    return Parts(train, validation, test, num_classes)


def _checked(
    arrays: dict[str, Any], request: Request, where: str
) -> dict[str, Labelled]:
    """Check the arrays, and pair images with labels.

    Returns:
        Dict from the end of a key ("", "_train", "_val" or "_test") to `(x, y)`; y is
        None where there are no labels.
    """
    for key, needed in [
        ("x_train", "x_test"),
        ("x_test", "x_train"),
        ("x_val", "x" if "x" in arrays else "x_train"),
    ]:
        if key in arrays and needed not in arrays:
            raise _missing_key(needed, arrays, where)
    first = "" if "x" in arrays else "_train"
    if f"x{first}" not in arrays:
        raise _missing_key("x_train or x", arrays, where)
    ends = [end for end in (first, "_val", "_test") if f"x{end}" in arrays]
    labelled = [end for end in (first, "_val", "_test") if f"y{end}" in arrays]
    for end in set(ends) ^ set(labelled) if labelled else ():
        missing = f"x{end}" if end in labelled else f"y{end}"
        raise _missing_key(missing, arrays, where)
    checked = {}
    for end in ends:
        name = f"{where}, key x{end}"
        x = checked_images(np.asarray(arrays[f"x{end}"]), name, request.bounded)
        y = None
        if labelled:
            y = np.asarray(arrays[f"y{end}"])
            y = checked_labels(y, len(x), f"{where}, key y{end}")
        checked[end] = x, y
        if x.shape[1:] != checked[first][0].shape[1:]:
            raise ValueError(
                f"Expected examples like those of x{first}, "
                f"{checked[first][0].shape[1:]}, in {name}, got {x.shape[1:]}."
            )
    return checked


def _split(
    arrays: dict[str, Labelled],
    request: Request,
    where: str,
) -> list[Labelled]:
    """Return `(x, y)` of the training, validation (perhaps empty) and test part."""
    size = request.validation_size
    if size is not None and ("" in arrays or "_val" in arrays):
        raise ValueError(
            f"Expected no validation_size for {where}, whose split is fixed, "
            f"got {size}."
        )
    if "" in arrays:
        whole = arrays[""]
        tenth = max(1, len(whole[0]) // 10)
        sizes = 0 if "_val" in arrays else tenth, 0 if "_test" in arrays else tenth
        train, validation, test = (
            selected(whole, rows) for rows in fixed_split(len(whole[0]), *sizes, where)
        )
        return [train, arrays.get("_val", validation), arrays.get("_test", test)]
    train, test = arrays["_train"], arrays["_test"]
    if "_val" in arrays:
        return [train, arrays["_val"], test]
    kept = len(train[0]) - held_out(len(train[0]), size)
    return [selected(train, slice(kept)), selected(train, slice(kept, None)), test]


def _fitted(x: np.ndarray, request: Request, where: str) -> np.ndarray:
    """Crop and resize the images as the request says."""
    if request.image_size is None and request.crop_size is None:
        return x
    if x.ndim == 2:
        raise ValueError(
            f"Expected images to resize in {where}, got vectors {x.shape}."
        )
    fitted_shape(x.shape[1:], request.image_size, request.crop_size, where)
    rows = 1024
    chunks = [
        fit(tf.constant(x[start : start + rows]), request.image_size, request.crop_size)
        for start in range(0, len(x), rows)
    ]
    fitted = np.concatenate(chunks) if chunks else x
    # Interpolation may leave the range of its input by a rounding error.
    return np.clip(fitted, 0, 1) if request.bounded and x.dtype != np.uint8 else fitted


def _missing_key(key: str, arrays: dict[str, Any], where: str) -> ValueError:
    found = ", ".join(arrays) or "none"
    return ValueError(f"Expected the key {key} in {where}, got {found}.")
