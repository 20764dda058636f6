"""Conversion and checks of the tensors that the divergences take."""

import tensorflow as tf

__all__ = ["floats", "require_last_axis"]


def floats(**values):
    """Tensors of one floating dtype, in the order of the keyword arguments.

    float64 where any array is float64, otherwise float32; Python numbers do not count.

    Args:
        **values: arrays, tensors or numbers, by the names that messages use.

    Raises:
        TypeError: when a value is neither floating nor integer.
    """
    tensors = {
        name: value if isinstance(value, int | float) else tf.convert_to_tensor(value)
        for name, value in values.items()
    }
    dtype = tf.float32
    for name, tensor in tensors.items():
        if isinstance(tensor, int | float):
            continue
        if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
            raise TypeError(
                f"Expected {name} of real numbers, got {tensor.dtype.name}."
            )
        if tensor.dtype == tf.float64:
            dtype = tf.float64
    return [tf.cast(tensor, dtype) for tensor in tensors.values()]


def require_last_axis(**tensors):
    """Pass when at least one tensor has an axis to sum over.

    Raises:
        ValueError: when all of them are scalars.
    """
    if all(tensor.shape.rank == 0 for tensor in tensors.values()):
        raise ValueError(
            f"Expected {' or '.join(tensors)} with at least one axis, got scalars."
        )
