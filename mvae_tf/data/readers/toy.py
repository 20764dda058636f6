"""The source `toy`, the mixture of two Gaussians in one dimension of CP-VAE.

x ~ N(0.3, 0.05^2) / 2 + N(0.7, 0.05^2) / 2 (Lavda, Gregorova and Kalousis, Entropy
2020, Sec 6.1). The paper writes N(0.3, 0.05); 0.05 must be the standard deviation, for
with that variance the density would have a single mode.
"""

import numpy as np

from mvae_tf.data.readers.synthetic import draw_parts
from mvae_tf.data.registry import Request, source

__all__ = ["log_density", "read_toy", "sample"]

_MEANS = np.array([0.3, 0.7])
_STDDEV = 0.05


@source("toy", "70,000 numbers of two Gaussians around 0.3 and 0.7, as vectors (1,)")
def read_toy(request: Request) -> dict[str, np.ndarray]:
    """Draw 50,000/10,000/10,000 numbers as vectors (1,), labelled by their modes."""
    del request
    return draw_parts(sample, {"train": 50_000, "val": 10_000, "test": 10_000})


def sample(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the two Gaussians, which are equally likely.

    Args:
        num: int, number of draws.
        seed: int; equal seeds give equal numbers.

    Returns:
        Numbers float32 `[num, 1]` and modes int64 `[num]`, 0 around 0.3, 1 around 0.7.
    """
    generator = np.random.RandomState(seed)
    mode = generator.randint(2, size=num)
    x = _MEANS[mode] + _STDDEV * generator.standard_normal(num)
    return x.reshape(num, 1).astype(np.float32), mode.astype(np.int64)


def log_density(
    x: np.ndarray, value_range: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """Compute the exact log-density.

    Its mean over the distribution, 0.883740 nats, is the highest mean log-likelihood
    that a model can have.

    Args:
        x: numbers `[n, 1]` or `[n]` in `value_range`.
        value_range: pair of floats, the range that `load` was asked for; the density is
            that of the numbers in this range.

    Returns:
        float64 array `[n]`, nats.
    """
    low, high = value_range
    x = (np.asarray(x, np.float64).reshape(-1, 1) - low) / (high - low)
    logs = -0.5 * ((x - _MEANS) / _STDDEV) ** 2
    log_scale = np.log(2.0 * _STDDEV * np.sqrt(2.0 * np.pi) * (high - low))
    return np.logaddexp.reduce(logs, axis=1) - log_scale
