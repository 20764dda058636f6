"""Safe reading of .npz and .mat files: nothing in them is ever unpickled."""

import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from mvae_tf.data.checks import checked_path, one_line

__all__ = ["mat_array", "npz_arrays"]

# Errors that NumPy and SciPy have been seen to raise on damaged files.
_UNREADABLE = (
    EOFError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def npz_arrays(
    path: str, keys: Iterable[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the arrays of an .npz file.

    Args:
        path: str, the file.
        keys: list of str, names of the arrays to read; others are left out.

    Returns:
        Dict of the arrays among `keys` that the file holds, and the names of all its
        arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds none of the arrays.
    """
    found = checked_path(path)
    where = str(found)
    try:
        # numpy.load leaves a damaged file open that it has opened itself.
        with found.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it is a single array")
            names = list(file.files)
            arrays = {}
            for key in keys:
                if key in names:
                    where = f"{found}, key {key}"
                    arrays[key] = file[key]
    except _UNREADABLE as error:
        reason = one_line(error)
        if "allow_pickle" in reason:  # NumPy's own reason advises to unpickle the file.
            reason = "it is not an archive of plain arrays"
        raise ValueError(
            f"Expected a whole .npz file, got {where}: {reason}."
        ) from error
    if not arrays:
        keys = [*keys]
        wanted = "x, or x_train and x_test," if "x_train" in keys else " or ".join(keys)
        raise ValueError(
            f"Expected the key {wanted} in {path}, got {', '.join(names) or 'none'}."
        )
    return arrays, names


def mat_array(path: str, key: str) -> np.ndarray:
    """Read one array of a .mat file.

    Args:
        path: str, the file.
        key: str, name of the variable.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not hold the variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    found = checked_path(path)
    try:
        return loadmat(found, variable_names=[key])[key]
    except KeyError:
        raise ValueError(f"Expected the variable {key} in {path}, got none.") from None
    except (MatReadError, *_UNREADABLE) as error:
        raise ValueError(
            f"Expected a whole .mat file, got {path}: {one_line(error)}."
        ) from error
