"""Conversion and checks of the tensors that the divergences take."""

from typing import Any, TypeAlias

import tensorflow as tf

__all__ = ["TensorLike", "floats", "require_last_axis"]

# What `tf.convert_to_tensor` takes: tensors, arrays, numbers and nested lists of them.
TensorLike: TypeAlias = Any


def floats(**values: TensorLike) -> list[tf.Tensor]:
    """Convert values to tensors of one floating dtype.

    The dtype is float64 if any array is float64, and otherwise float32; Python numbers,
    and lists of them, have no influence on it.

    Args:
        **values: arrays, tensors or numbers, by the names that messages use.

    Returns:
        Tensors in the order of the keyword arguments.

    Raises:
        TypeError: a value is neither floating nor integer.
    """
    dtype = tf.float32
    for name, value in values.items():
        if _has_no_dtype(value):
            continue
        values[name] = tensor = tf.convert_to_tensor(value)
        if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
            raise TypeError(
                f"Expected {name} of real numbers, got {tensor.dtype.name}."
            )
        if tensor.dtype == tf.float64:
            dtype = tf.float64
    # Casting a Python number to float64 would round it to float32 on the way.
    return [
        tf.convert_to_tensor(value, dtype)
        if _has_no_dtype(value)
        else tf.cast(value, dtype)
        for value in values.values()
    ]


def _has_no_dtype(value: TensorLike) -> bool:
    return all(isinstance(leaf, int | float) for leaf in tf.nest.flatten(value))


def require_last_axis(**tensors: tf.Tensor) -> None:
    """Check that at least one tensor has an axis to sum over.

    Raises:
        ValueError: all of them are scalars.
    """
    if all(tensor.shape.rank == 0 for tensor in tensors.values()):
        raise ValueError(
            f"Expected {' or '.join(tensors)} with at least one axis, got scalars."
        )
