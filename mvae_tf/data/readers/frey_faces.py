"""The source `frey_faces`, frames of a film of one face."""

from pathlib import Path

import numpy as np

from mvae_tf.data.checks import fixed_split
from mvae_tf.data.files import mat_array, npz_arrays
from mvae_tf.data.registry import Request, source


@source(
    "frey_faces",
    "Frey Faces, 28x20 grey, from an .npz or .mat file",
    takes="<file>",
)
def read_frey_faces(request: Request) -> dict[str, np.ndarray]:
    """Read Frey Faces: 1,965 grey frames of 28x20 pixels, split 1,565/200/200.

    They are read from the key `x` of an .npz file, or from the variable `ff` of
    `frey_rawface.mat`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not hold the Frey Faces.
    """
    path = request.path
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        x = npz_arrays(path, ("x",))[0]["x"]
    elif suffix == ".mat":
        x = mat_array(path, "ff").T
    else:
        raise ValueError(
            f"Expected Frey Faces as .npz or .mat, got {path}: a pickle can run any "
            "program, so convert it with numpy.savez(file, x=frames) where you trust "
            "it."
        )
    if x.shape == (1965, 560):
        x = x.reshape(1965, 28, 20)
    if x.shape != (1965, 28, 20):
        raise ValueError(
            f"Expected 1965 frames of 28x20 pixels in {path}, got shape {x.shape}."
        )
    train, validation, test = fixed_split(len(x), 200, 200)
    return {"x_train": x[train], "x_val": x[validation], "x_test": x[test]}
