"""The source `npz`, arrays in an .npz file such as those of `keras.datasets`."""

from mvae_tf.data.files import npz_arrays
from mvae_tf.data.registry import Parts, Request, source

KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "x", "y")


@source(
    "npz",
    "arrays x_train x_test [x_val] or x of an .npz file, labels y_train ... or y",
    takes="<file>",
    suffix=".npz",
)
def read_npz(request: Request) -> Parts:
    """Read the arrays of an .npz file.

    The file holds `x_train` and `x_test`, and `x_val` where there is a validation part,
    with labels in `y_train`, `y_test` and `y_val`; or all images in `x`, with labels in
    `y`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    # TensorFlow is imported when data is loaded, not before.
    from mvae_tf.data.arrays import in_memory

    arrays, names = npz_arrays(request.path, KEYS)
    end = "" if "x" in arrays else "_train"
    used = [f"{kind}{each}" for each in (end, "_val", "_test") for kind in "xy"]
    left_out = [name for name in names if name not in used]
    parts = in_memory(arrays, request, request.path)
    if left_out:
        note = f"{request.path}: left out the arrays {', '.join(left_out)}."
        parts = parts._replace(notes=(note,))
    return parts
