"""Divergences of diagonal Gaussians, and the KL of Gaussian dropout."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf.divergences.inputs import TensorLike, floats, require_last_axis

__all__ = ["gaussian_dropout_kl", "gaussian_kl", "gaussian_w2", "jensen_shannon"]


def gaussian_kl(
    mean: TensorLike,
    stddev: TensorLike,
    prior_mean: TensorLike = 0.0,
    prior_stddev: TensorLike = 1.0,
) -> tf.Tensor:
    """KL divergence between diagonal Gaussians.

    KL(N(mean, stddev^2) || N(prior_mean, prior_stddev^2)). Eq 27 of Ye and Bors (TNNLS
    2022) prints its negative for the standard normal prior; this is the true KL.
    It is written out here: as accurate as TFP's where the two distributions are nearly
    equal, and faster.

    Args:
        mean: `[..., D]`.
        stddev: `[..., D]`, positive.
        prior_mean: Broadcast against `mean`.
        prior_stddev: Positive, broadcast against `stddev`.

    Returns:
        `[...]`, nats, summed over the last axis.

    Raises:
        ValueError: All arguments are scalars.
    """
    mean, stddev, prior_mean, prior_stddev = floats(
        mean=mean, stddev=stddev, prior_mean=prior_mean, prior_stddev=prior_stddev
    )
    require_last_axis(mean=mean, stddev=stddev, prior_mean=prior_mean)
    difference = (mean - prior_mean) / prior_stddev
    ratio = stddev / prior_stddev
    # Not ratio^2 - 1, which loses the digits that matter when the ratio is near 1.
    variance_excess = (ratio - 1.0) * (ratio + 1.0)
    return 0.5 * tf.reduce_sum(
        tf.square(difference) + variance_excess - 2.0 * tf.math.log(ratio), axis=-1
    )


def gaussian_w2(
    mean_p: TensorLike, stddev_p: TensorLike, mean_q: TensorLike, stddev_q: TensorLike
) -> tf.Tensor:
    """Squared 2-Wasserstein distance between diagonal Gaussians.

    ||mean_p - mean_q||^2 + ||stddev_p - stddev_q||^2, the closed form for commuting
    covariances (Zhang et al., "Wasserstein-Wasserstein auto-encoders", 2019).

    Args:
        mean_p: `[..., D]`.
        stddev_p: `[..., D]`, not negative.
        mean_q: Broadcast against `mean_p`.
        stddev_q: Not negative, broadcast against `stddev_p`.

    Returns:
        `[...]`, squared units of the variable, summed over the last axis.

    Raises:
        ValueError: All arguments are scalars.
    """
    mean_p, stddev_p, mean_q, stddev_q = floats(
        mean_p=mean_p, stddev_p=stddev_p, mean_q=mean_q, stddev_q=stddev_q
    )
    require_last_axis(mean_p=mean_p, stddev_p=stddev_p, mean_q=mean_q)
    squared_difference = tf.math.squared_difference
    return tf.reduce_sum(
        squared_difference(mean_p, mean_q) + squared_difference(stddev_p, stddev_q),
        axis=-1,
    )


def jensen_shannon(
    mean_p: TensorLike,
    stddev_p: TensorLike,
    mean_q: TensorLike,
    stddev_q: TensorLike,
    sample_p: TensorLike,
    sample_q: TensorLike,
) -> tf.Tensor:
    """Monte-Carlo estimate of the Jensen-Shannon divergence of diagonal Gaussians.

    JS = 1/2 KL(p || m) + 1/2 KL(q || m) with m = (p + q) / 2 has no closed form; each
    KL is estimated from the sample of its own distribution. An unbiased estimate never
    exceeds log 2, but a single one may be negative. With r the log-ratio of the
    densities, log p - log m = log 2 - softplus(r), which neither overflows nor cancels.

    Args:
        mean_p: `[..., D]`.
        stddev_p: `[..., D]`, positive.
        mean_q: `[..., D]`.
        stddev_q: `[..., D]`, positive.
        sample_p: `[..., D]`, drawn from p; leading axes may hold more draws.
        sample_q: `[..., D]`, drawn from q.

    Returns:
        `[...]`, nats, at most log 2.
    """
    mean_p, stddev_p, mean_q, stddev_q, sample_p, sample_q = floats(
        mean_p=mean_p,
        stddev_p=stddev_p,
        mean_q=mean_q,
        stddev_q=stddev_q,
        sample_p=sample_p,
        sample_q=sample_q,
    )
    require_last_axis(sample_p=sample_p, sample_q=sample_q)
    p, q = tfd.Normal(mean_p, stddev_p), tfd.Normal(mean_q, stddev_q)

    def log_ratio(z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(q.log_prob(z) - p.log_prob(z), axis=-1)

    surprise_p = tf.nn.softplus(log_ratio(sample_p))
    surprise_q = tf.nn.softplus(-log_ratio(sample_q))
    return math.log(2.0) - 0.5 * (surprise_p + surprise_q)


def gaussian_dropout_kl(log_alpha: TensorLike, form: str = "molchanov") -> tf.Tensor:
    """Approximate KL of Gaussian dropout noise N(1, alpha) under a log-uniform prior.

    Args:
        log_alpha: Logarithm of the noise variance, any shape.
        form: "molchanov" is the sigmoid fit of Molchanov et al. ("Variational dropout
            sparsifies deep neural networks", ICML 2017), good for any alpha and falling
            to 0 as alpha grows. "kingma" is the cubic polynomial of Kingma et
            al. ("Variational dropout and the local reparameterization trick", NeurIPS
            2015; Eq 19 of Ye and Bors, TNNLS 2022), fitted for alpha up to 1
            and held constant above. It leaves out the additive constant, about 0.67,
            that the papers do not print: it can be negative.

    Returns:
        Shape of `log_alpha`, nats.

    Raises:
        ValueError: `form` is unknown.
    """
    (log_alpha,) = floats(log_alpha=log_alpha)
    if form == "molchanov":
        rise = tf.sigmoid(-1.8732 - 1.48695 * log_alpha)
        return 0.63576 * rise + 0.5 * tf.nn.softplus(-log_alpha)
    if form == "kingma":
        log_alpha = tf.minimum(log_alpha, 0.0)
        alpha = tf.exp(log_alpha)
        cubic = alpha * (1.16145124 + alpha * (-1.50204118 + alpha * 0.58629921))
        return -0.5 * log_alpha - cubic
    raise ValueError(f"Expected form 'molchanov' or 'kingma', got {form!r}.")
