"""MAE: a VAE whose loss rewards posteriors that differ, by similar amounts.

Ma, Zhou and Hovy, "MAE: Mutual posterior-divergence regularization for variational
autoencoders" (ICLR 2019), https://arxiv.org/abs/1901.01498, and the authors' code at
https://github.com/XuezheMax/mae.
"""

from typing import Any

import tensorflow as tf

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts import priors
from mvae_tf.parts.terms import Term

__all__ = ["MAE"]


@register("mae")
class MAE(SingleVAE):
    """VAE with the mutual divergence of the posteriors of a batch in its objective.

    KL_ij = KL(q(z | x_i) || q(z | x_j)) is the sum over dimensions d of KL_ij,d. Like
    the authors' code, the model minimises

        reconstruction + max(kl, free_bits) + eta diversity + gamma smoothness,
        diversity = -sum_d log sigmoid(mean_ij KL_ij,d),
        smoothness = stddev_ij KL_ij,

    where kl is averaged over the batch, and mean_ij and stddev_ij are taken over the
    ordered pairs of different images of the batch. Diversity is Z log 2 for equal
    posteriors and 0 for distant ones. With eta = gamma = free_bits = 0 the model is the
    VAE. The paper's encoder, decoder and prior (a residual network, a PixelCNN and an
    autoregressive flow) are not part of this class.

    `elbo` counts the KL in full and none of the other terms, and is a valid bound.

    Args:
        eta: float, weight of the diversity.
        gamma: float, weight of the smoothness.
        free_bits: float, in nats per image; a mean KL of the batch below this number
            costs as much as this number.
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> mae = mvae_tf.create("mae", input_shape=(8, 8, 1), latent_dim=2)
        >>> mae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        eta: float = 1.0,
        gamma: float = 0.5,
        free_bits: float = 0.0,
        **kwargs: Any,
    ):
        terms = {
            "kl": Term(warmup=True, per="batch"),
            "diversity": Term(eta, per="batch"),
            "smoothness": Term(gamma, per="batch"),
        }
        super().__init__(*args, terms=terms | kwargs.pop("terms", {}), **kwargs)
        self.eta = eta
        self.gamma = gamma
        self.free_bits = free_bits

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        error = self.reconstruction_error(x, latents, y, noise, training)
        kl = self.gather_rows(self.kl_nats(posterior, latents))
        mean = self.gather_rows(posterior.mean)[:, 0]
        stddev = self.gather_rows(posterior.stddev)[:, 0]
        divergence = mutual_divergence(mean, stddev)
        return {
            "reconstruction": error,
            "kl": tf.maximum(tf.reduce_mean(kl), self.free_bits),
            "diversity": tf.reduce_sum(tf.nn.softplus(-divergence)),
            "smoothness": pair_stddev(pairwise_kl(mean, stddev)),
        }


def mutual_divergence(mean, stddev):
    """Compute the mean of KL(q_i || q_j) over ordered pairs i != j, per dimension.

    The double sum over pairs is written as a product of sums over images.

    Args:
        mean: `[B, Z]`.
        stddev: `[B, Z]`.

    Returns:
        `[Z]` nats; 0 for a single image.
    """
    num = tf.cast(tf.shape(mean)[0], mean.dtype)
    squares = tf.square(mean - tf.reduce_mean(mean, axis=0))
    variances = tf.square(stddev)
    precisions = tf.square(1.0 / stddev)
    ratios = tf.reduce_sum(variances + squares, 0) * tf.reduce_sum(precisions, 0)
    ratios += num * tf.reduce_sum(squares * precisions, 0)
    return 0.5 * (ratios - num**2) / tf.maximum(num * (num - 1.0), 1.0)


def pairwise_kl(mean, stddev):
    """Compute KL(q_i || q_j) in nats, `[B, B]`, of diagonal Gaussians `[B, Z]`.

    It is E_i log q_i - E_i log q_j. Both are computed as matrix products, so that there
    is no array `[B, B, Z]`, and in float64, because their terms cancel.
    """
    log_probs = priors.component_log_probs(mean, mean, stddev)
    variances = tf.square(tf.cast(stddev, tf.float64))
    spread = tf.matmul(variances, 1.0 / variances, transpose_b=True)
    expected = log_probs - tf.cast(0.5 * spread, log_probs.dtype)
    # XLA has no gradient of `tf.linalg.diag_part` for batches of unknown size.
    own = tf.reduce_sum(tf.eye(tf.shape(mean)[0]) * expected, axis=1, keepdims=True)
    return own - expected


def pair_stddev(values):
    """Compute the standard deviation of the off-diagonal entries of `[B, B]`.

    The sum of squares of n entries is divided by n - 1. The result is 1e-6, and its
    gradient 0, if all entries are equal or there are none.
    """
    apart = 1.0 - tf.eye(tf.shape(values)[0])
    pairs = tf.reduce_sum(apart)
    mean = tf.reduce_sum(apart * values) / tf.maximum(pairs, 1.0)
    squares = apart * tf.square(values - mean)
    variance = tf.reduce_sum(squares) / tf.maximum(pairs - 1.0, 1.0)
    # The square root has no gradient at 0.
    return tf.sqrt(tf.maximum(variance, 1e-12))
