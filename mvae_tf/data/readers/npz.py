"""The source `npz`, arrays in an .npz file such as those of `keras.datasets`."""

import numpy as np

from mvae_tf.data.files import npz_arrays
from mvae_tf.data.registry import Request, source

KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "x", "y")


@source(
    "npz",
    "arrays x_train x_test [x_val] or x of an .npz file, labels y_train ... or y",
    takes="<file>",
    suffix=".npz",
)
def read_npz(request: Request) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file.

    The file holds `x_train` and `x_test`, and `x_val` where there is a validation part,
    with labels in `y_train`, `y_test` and `y_val`; or all images in `x`, with labels in
    `y`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged.
    """
    return npz_arrays(request.path, KEYS)
