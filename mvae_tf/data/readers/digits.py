"""The source `digits`, the handwritten digits that scikit-learn ships."""

from typing import Any

import numpy as np

from mvae_tf.data.checks import fixed_split
from mvae_tf.data.registry import Request, source


@source("digits", "1,797 handwritten 8x8 digits that scikit-learn ships (no download)")
def read_digits(request: Request) -> dict[str, Any]:
    """Read the 8x8 digits, split 1,297/200/300 by a fixed permutation."""
    del request
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    arrays: dict[str, Any] = {}
    rows = fixed_split(len(x), 200, 300)
    for part, chosen in zip(("train", "val", "test"), rows, strict=True):
        arrays |= {f"x_{part}": x[chosen], f"y_{part}": y[chosen]}
    return arrays
