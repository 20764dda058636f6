"""Kernel measures of dependence (HSIC, dHSIC) and of discrepancy (MMD).

All kernels are Gaussian. They are computed from Gram matrices by one batched product,
without an array of `n x n x d` differences.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mvae_tf.divergences.inputs import TensorLike, floats
from mvae_tf.products import batched_product

__all__ = ["dhsic", "dhsic_bandwidth", "hsic", "mmd", "pairwise_dhsic"]

# Rows whose kernels `pairwise_dhsic` computes at a time.
_BLOCK_ROWS = 256
# Numbers per observation of points whose products are small.
_SMALL_POINTS = 128


def dhsic_bandwidth(d: int) -> float:
    """Compute the kernel coefficient gamma of dHSIC for variables of `d` dimensions.

    It is gamma = 1 / (2 G^2), where G = 2 Gamma((d + 1) / 2) / Gamma(d / 2) is the mean
    distance of two standard normal points. It does not depend on data, is 1 / (2 pi) at
    d = 2 and approaches 1 / (4 d) for large d.

    Args:
        d: int, number of dimensions, at least 1.

    Raises:
        ValueError: `d` is less than 1.
    """
    if d < 1:
        raise ValueError(f"Expected at least 1 dimension, got {d}.")
    log_distance = math.log(2.0) + math.lgamma((d + 1) / 2) - math.lgamma(d / 2)
    return 0.5 * math.exp(-2.0 * log_distance)


def hsic(x: TensorLike, y: TensorLike, squared: bool = False) -> tf.Tensor:
    """Estimate the Hilbert-Schmidt independence criterion of two variables.

    It is the dHSIC of the pair: the biased V-statistic, in which the diagonals of the
    kernels are included (Gretton et al., "Measuring statistical dependence with
    Hilbert-Schmidt norms", ALT 2005; Eq 14 of Ye and Bors, TNNLS 2022).

    Args:
        x: `[n, d_x]`.
        y: `[n, d_y]`, of which row i was observed together with row i of x.
        squared: see `dhsic`.

    Returns:
        Scalar, a number without unit.
    """
    return dhsic([x, y], squared=squared)


def dhsic(
    latents: TensorLike | Sequence[TensorLike],
    squared: bool = False,
    gamma: TensorLike | None = None,
) -> tf.Tensor:
    """Estimate the joint dependence of K variables from n observations.

    With kernels k_j(a, b) = exp(-gamma_j ||z_ja - z_jb||^2),

        V = mean_ab prod_j k_j + prod_j mean_ab k_j - 2 mean_a prod_j mean_b k_j,

    is the biased V-statistic of Pfister et al. ("Kernel-based tests for joint
    independence", JRSS B 2018), Eq 15 of Ye and Bors (TNNLS 2022). The scripts of the
    latter add its square root to the objective. V has a positive bias for independent
    variables: sqrt V is about .08 for 128 draws of six 50-dimensional normal variables.
    In so many dimensions it is not much larger for dependent ones: .10 for equal
    variables.

    Args:
        latents: sequence of K tensors `[n, d_j]`, or one tensor `[n, K, d]`.
        squared: bool, whether to return V; otherwise its square root, which is 0, and
            whose gradient is 0, where V is at most 1e-12.
        gamma: number or tensor `[K]`, coefficient of the kernels, one positive number
            or one for each variable; None is `dhsic_bandwidth(d_j)`.

    Returns:
        Scalar without unit, between 0 and 1 up to rounding; 0, with gradient 0, for
        K = 1.

    Raises:
        ValueError: shapes are wrong, or a `gamma` is not positive.
    """
    points = _kernel_points(latents, gamma)
    if points.shape[0] == 1:
        return tf.reduce_sum(0.0 * points)
    value = tf.maximum(_dhsic_of_points(points), 0.0)
    return value if squared else _safe_sqrt(value)


def pairwise_dhsic(
    latents: TensorLike | Sequence[TensorLike], squared: bool = False
) -> tf.Tensor:
    """Estimate the dHSIC of each pair of components.

    Kernels are computed for some rows at a time, so that those of 10,000 observations
    need not fit in memory, and in float64, because the values are small differences of
    large sums.

    Args:
        latents: `[n, K, d]` with known n, or a sequence of K tensors `[n, d_j]`.
        squared: see `dhsic`.

    Returns:
        Symmetric `[K, K]`, without unit; the diagonal has the dHSIC of each component
        with itself.

    Raises:
        ValueError: shapes are wrong.
    """
    points = _kernel_points(latents, None)
    dtype, points = points.dtype, tf.cast(points, tf.float64)
    num_components, n, _ = points.shape
    if n is None:
        raise ValueError("Expected latents with a known number of rows, got None.")
    joint = cross = tf.zeros([num_components, num_components], tf.float64)
    mean = tf.zeros([num_components], tf.float64)
    for start in range(0, n, _BLOCK_ROWS):
        kernel = tf.exp(_log_kernel(points[:, start : start + _BLOCK_ROWS], points))
        row_means = tf.reduce_mean(kernel, axis=-1)
        flat = tf.reshape(kernel, [num_components, -1])
        joint += tf.matmul(flat, flat, transpose_b=True) / n**2
        cross += tf.matmul(row_means, row_means, transpose_b=True) / n
        mean += tf.reduce_sum(row_means, axis=-1) / n
    value = tf.maximum(joint + mean[:, None] * mean - 2.0 * cross, 0.0)
    return tf.cast(value if squared else _safe_sqrt(value), dtype)


def mmd(
    x: TensorLike, y: TensorLike, bandwidth: TensorLike, unbiased: bool = False
) -> tf.Tensor:
    """Estimate the squared maximum mean discrepancy between two sets of points.

    The kernel is exp(-||a - b||^2 / (2 bandwidth^2)) (Gretton et al., "A kernel
    two-sample test", JMLR 2012). The kernel exp(-||a - b||^2 / (2 D)) of InfoVAE and
    CGM for D dimensions is `bandwidth=D ** 0.5`.

    Args:
        x: `[n, D]`.
        y: `[m, D]`.
        bandwidth: positive number, in units of x.
        unbiased: False is the V-statistic, which is never negative, 0 for equal sets,
            and positive on average for two samples of one distribution. True leaves
            the diagonals of the kernels out: the estimate is 0 on average for two
            samples of one distribution and can be negative, and n and m must exceed 1.

    Returns:
        Scalar, a number without unit.

    Raises:
        ValueError: shapes are wrong, the bandwidth is not positive, or there is one
            point where two are needed.
    """
    x, y = floats(x=x, y=y)
    if x.shape.rank != 2 or y.shape.rank != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"Expected x [n, D] and y [m, D], got shapes {x.shape} and {y.shape}."
        )
    if unbiased and 1 in (x.shape[0], y.shape[0]):
        raise ValueError("Expected 2 points or more for the unbiased estimate, got 1.")
    width = tf.cast(_positive("bandwidth", bandwidth), x.dtype)
    center = tf.stop_gradient(tf.reduce_mean(x, axis=0))
    x, y = (x - center) / width, (y - center) / width

    def mean_within(points: tf.Tensor) -> tf.Tensor:
        kernel = tf.exp(_log_kernel(points, points))
        if not unbiased:
            return tf.reduce_mean(kernel)
        n = tf.cast(tf.shape(points)[0], points.dtype)
        return (tf.reduce_sum(kernel) - tf.linalg.trace(kernel)) / (n * (n - 1.0))

    between = tf.reduce_mean(tf.exp(_log_kernel(x, y)))
    value = mean_within(x) + mean_within(y) - 2.0 * between
    return value if unbiased else tf.maximum(value, 0.0)


def _kernel_points(
    latents: TensorLike | Sequence[TensorLike], gamma: TensorLike | None
) -> tf.Tensor:
    """Scale the latents so that log k_j = -||difference||^2 / 2, `[K, n, d]`."""
    points, dimensions = _stack(latents)
    if gamma is None:
        gamma = [dhsic_bandwidth(d) for d in dimensions]
    gamma = _positive("gamma", gamma)
    if gamma.shape not in ((), (len(dimensions),)):
        raise ValueError(
            f"Expected gamma as 1 number or {len(dimensions)}, got shape {gamma.shape}."
        )
    scale = tf.cast(tf.sqrt(2.0 * gamma), points.dtype)
    # A shift changes no distance, but it would add rounding errors to the Gram matrix.
    points -= tf.stop_gradient(tf.reduce_mean(points, axis=1, keepdims=True))
    return points * tf.reshape(scale, [-1, 1, 1])


def _stack(latents: TensorLike | Sequence[TensorLike]) -> tuple[tf.Tensor, list[int]]:
    """Return latents as one tensor `[K, n, d]`, and the dimensions of each variable."""
    if not isinstance(latents, list | tuple):
        (tensor,) = floats(latents=latents)
        if tensor.shape.rank != 3 or None in tensor.shape[1:]:
            raise ValueError(
                "Expected latents [n, K, d] or a sequence of [n, d_j], "
                f"got shape {tensor.shape}."
            )
        return tf.transpose(tensor, [1, 0, 2]), [tensor.shape[2]] * tensor.shape[1]
    if not latents:
        raise ValueError("Expected latents of 1 variable or more, got none.")
    variables = floats(**{f"latents[{j}]": v for j, v in enumerate(latents)})
    for j, variable in enumerate(variables):
        if variable.shape.rank != 2 or variable.shape[1] is None:
            raise ValueError(
                f"Expected latents[{j}] of shape [n, d], got {variable.shape}."
            )
        if not variable.shape[:1].is_compatible_with(variables[0].shape[:1]):
            raise ValueError(
                f"Expected latents[{j}] with {variables[0].shape[0]} rows, "
                f"got {variable.shape[0]}."
            )
    dimensions = [variable.shape[1] for variable in variables]
    # Appended zeros change no distance.
    padded = [
        tf.pad(variable, [[0, 0], [0, max(dimensions) - variable.shape[1]]])
        for variable in variables
    ]
    return tf.stack(padded), dimensions


def _positive(name: str, value: TensorLike) -> tf.Tensor | np.ndarray:
    if tf.is_tensor(value):
        return value
    value = np.asarray(value, np.float64)
    if not np.all(value > 0):
        raise ValueError(f"Expected {name} > 0, got {value.tolist()}.")
    return value


def _log_kernel(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Compute -||a - b||^2 / 2, `[..., n, m]`, for all pairs of rows a and b.

    Args:
        first: `[..., n, d]`, whose rows are a.
        second: `[..., m, d]`, whose rows are b.
    """
    first_norm = 0.5 * tf.reduce_sum(tf.square(first), axis=-1)
    second_norm = first_norm
    if second is not first:
        second_norm = 0.5 * tf.reduce_sum(tf.square(second), axis=-1)
    norms = tf.expand_dims(first_norm, -1) + tf.expand_dims(second_norm, -2)
    small = _are_small(first)
    value = batched_product(first, second, small, transpose_b=True) - norms
    # Rounding of large numbers could make it positive, and the kernel large.
    return tf.minimum(value, 0.0)


def _are_small(points: tf.Tensor) -> bool:
    """Return whether products of `[K, n, d]` take less time than oneDNN's start."""
    shape = points.shape
    return shape.rank == 3 and shape[0] * shape[2] <= _SMALL_POINTS


@tf.custom_gradient
def _dhsic_of_points(points: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Compute V of points `[K, n, d]`, with a gradient that reuses the kernels.

    Because dV / dlog k_j is symmetric, the gradient is one product with the points,
    where automatic differentiation would make several passes over `[K, n, n]`.
    """
    kernel = tf.exp(_log_kernel(points, points))
    row_means = tf.reduce_mean(kernel, axis=-1)
    means = tf.reduce_mean(row_means, axis=-1)
    joint = tf.reduce_prod(kernel, axis=0)
    row_product = tf.reduce_prod(row_means, axis=0)
    mean_product = tf.reduce_prod(means)
    value = tf.reduce_mean(joint) + mean_product - 2.0 * tf.reduce_mean(row_product)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        n = tf.cast(tf.shape(points)[1], points.dtype)
        others_rows = tf.math.divide_no_nan(row_product, row_means)
        others = tf.math.divide_no_nan(mean_product, means)[:, None] - others_rows
        slope = joint + kernel * (
            tf.expand_dims(others, 2) - tf.expand_dims(others_rows, 1)
        )
        pull = tf.reduce_sum(slope, axis=-1, keepdims=True) * points
        push = batched_product(slope, points, _are_small(points))
        return 2.0 * upstream / n**2 * (push - pull)

    return value, gradient


def _safe_sqrt(value: tf.Tensor) -> tf.Tensor:
    """Compute a square root that is 0, with gradient 0, up to 1e-12; NaN stays NaN."""
    small = value <= 1e-12
    root = tf.sqrt(tf.where(small, tf.ones_like(value), value))
    return tf.where(small, tf.zeros_like(value), root)
