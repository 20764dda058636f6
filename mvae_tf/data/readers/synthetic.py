"""The source `synthetic`, a Gaussian mixture of images with a known density.

Component k is a Gaussian on 8x8 images, N(m_k, A_k A_k^T + s^2 I): a smooth mean, two
smooth directions of variation, and pixel noise. A VAE with a linear decoder can model
one component exactly (probabilistic PCA; Tipping and Bishop, 1999), so the mean of
`log_density` over test images is the best log-likelihood that any model can reach.
"""

from collections.abc import Callable

import numpy as np

from mvae_tf.data.registry import Request, source

__all__ = ["IMAGE_SHAPE", "NUM_COMPONENTS", "log_density", "read_synthetic", "sample"]

IMAGE_SHAPE = (8, 8, 1)
NUM_COMPONENTS = 4

_NUM_PIXELS = 64
# Small enough that grey levels lie more than 7 standard deviations inside [0, 1].
_CONTRAST = 0.15
_LOADING = 0.03
_NOISE = 0.02


@source("synthetic", "10,000 8x8 images of a Gaussian mixture with known density")
def read_synthetic(request: Request) -> dict[str, np.ndarray]:
    """Draw 8,000/1,000/1,000 images of the mixture, labelled by their components."""
    del request
    return draw_parts(sample, {"train": 8000, "val": 1000, "test": 1000})


def draw_parts(draw: Callable, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Draw the parts of a data set, each with a seed of its own.

    Args:
        draw: function from a number of examples and a seed to x and y.
        sizes: dict, number of examples of each part ("train", "val", "test").

    Returns:
        Dict of arrays with the keys that `mvae_tf.data.source` describes.
    """
    arrays = {}
    for seed, (part, size) in enumerate(sizes.items()):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = draw(size, seed)
    return arrays


def sample(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the mixture; the components are equally likely.

    Args:
        num: int, number of images.
        seed: int; equal seeds give equal images.

    Returns:
        Images float32 `[num, 8, 8, 1]` in [0, 1] and components int64 `[num]`.
    """
    generator = np.random.RandomState(seed)
    means, loadings = _parameters()
    component = generator.randint(NUM_COMPONENTS, size=num)
    latent = generator.standard_normal((num, 2))
    x = means[component] + np.einsum("npz,nz->np", loadings[component], latent)
    x = x + _NOISE * generator.standard_normal(x.shape)
    return x.reshape(num, *IMAGE_SHAPE).astype(np.float32), component.astype(np.int64)


def log_density(
    x: np.ndarray, value_range: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """Compute the exact log-density of the mixture.

    Args:
        x: images `[n, 8, 8, 1]` in `value_range`.
        value_range: pair of floats, the range that `load` was asked for; the density is
            that of the images in this range.

    Returns:
        float64 array `[n]`, nats per image.
    """
    low, high = value_range
    x = (np.asarray(x, np.float64).reshape(-1, _NUM_PIXELS) - low) / (high - low)
    logs = []
    for mean, loading in zip(*_parameters(), strict=True):
        covariance = loading @ loading.T + _NOISE**2 * np.eye(_NUM_PIXELS)
        centred = x - mean
        distance = np.sum(centred * np.linalg.solve(covariance, centred.T).T, axis=1)
        log_determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
        logs.append(-0.5 * (distance + log_determinant))
    mixture = np.logaddexp.reduce(logs, axis=0) - np.log(NUM_COMPONENTS)
    return mixture - _NUM_PIXELS * np.log(high - low)


def _parameters() -> tuple[np.ndarray, np.ndarray]:
    """Return the means `[K, P]` and loadings `[K, P, 2]`, products of cosines."""
    line = (np.arange(8) + 0.5) * np.pi / 8

    def wave(i: int, j: int) -> np.ndarray:
        return np.outer(np.cos(i * line), np.cos(j * line)).reshape(-1)

    means = np.array([wave(0, 1), wave(1, 0), wave(2, 2), -wave(1, 1)])
    loadings = [
        (wave(2, 1), wave(0, 3)),
        (wave(1, 2), wave(3, 0)),
        (wave(1, 1), wave(2, 0)),
        (wave(0, 2), wave(3, 1)),
    ]
    means = 0.5 + _CONTRAST * means
    return means, _LOADING * np.array(loadings).transpose(0, 2, 1)
