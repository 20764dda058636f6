"""The terms of CGM about its prototypes, as functions: Eq 5 to 8 of its paper.

Abrol, Sharma and Patra, "Improving Generative Modelling in VAEs Using Multimodal
Prior", IEEE Transactions on Multimedia, 2020.
"""

import tensorflow as tf

__all__ = ["mmd_within_categories", "prototype_loss", "squared_distances"]


def squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Compute ||a_i - b_j||^2, `[n, m]`, for rows of `a` `[n, D]` and `b` `[m, D]`."""
    # A matrix product would be faster, but it loses digits that matter when the MMD is
    # multiplied by 1000.
    return tf.reduce_sum(tf.math.squared_difference(a[:, tf.newaxis], b), axis=-1)


def prototype_loss(
    codes: tf.Tensor, prototypes: tf.Tensor, weights: tf.Tensor, margin: float
) -> tf.Tensor:
    """Compute the attraction to one prototype and the repulsion from others (Eq 8).

    Args:
        codes: `[B, Z]`.
        prototypes: `[K, Z]`.
        weights: `[B, K]`, one-hot categories.
        margin: float, squared distance up to which other prototypes repel.

    Returns:
        `[B]`, in squared units of the codes.
    """
    distances = squared_distances(codes, prototypes)
    repulsion = tf.nn.relu(margin - distances)
    return tf.reduce_sum(weights * distances + (1.0 - weights) * repulsion, axis=1)


def mmd_within_categories(
    x: tf.Tensor,
    y: tf.Tensor,
    membership: tf.Tensor,
    bandwidth: float,
    unbiased: bool,
) -> tf.Tensor:
    """Compute the mean over categories of the squared MMD of x and y in a category.

    A category k of n_k rows has the weight n_k / n and the value of `divergences.mmd`
    of its rows; a category of fewer than two rows has the value 0. All are computed
    from the kernel matrices of all rows, because the numbers n_k are not known before.

    Args:
        x: `[n, D]`.
        y: `[n, D]`; row i belongs to the category of row i of x.
        membership: `[n, K]`, one-hot categories.
        bandwidth: float, width of the kernel exp(-||a - b||^2 / (2 bandwidth^2)).
        unbiased: bool, whether the diagonals are left out, see `divergences.mmd`.

    Returns:
        Scalar, a number without unit.
    """

    def kernel(a, b):
        return tf.exp(squared_distances(a, b) / (-2.0 * bandwidth**2))

    sizes = tf.reduce_sum(membership, axis=0)
    size = tf.reduce_sum(membership * sizes, axis=1, keepdims=True)
    paired = tf.matmul(membership, membership, transpose_b=True)
    paired *= tf.cast(size > 1.0, paired.dtype)
    across = paired / size
    within = across
    if unbiased:
        others = tf.linalg.set_diag(paired, tf.zeros_like(paired[:, 0]))
        within = others / tf.maximum(size - 1.0, 1.0)
    value = within * (kernel(x, x) + kernel(y, y)) - 2.0 * across * kernel(x, y)
    return tf.reduce_sum(value) / tf.cast(tf.shape(x)[0], value.dtype)
