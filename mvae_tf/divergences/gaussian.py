"""Divergences of diagonal Gaussians, and the KL of Gaussian dropout."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf.divergences.inputs import TensorLike, floats, require_last_axis
from mvae_tf.parts.part import choice

__all__ = ["gaussian_dropout_kl", "gaussian_kl", "gaussian_w2", "jensen_shannon"]


def gaussian_kl(
    mean: TensorLike,
    stddev: TensorLike,
    prior_mean: TensorLike = 0.0,
    prior_stddev: TensorLike = 1.0,
) -> tf.Tensor:
    """Compute the KL divergence between diagonal Gaussians.

    It is KL(N(mean, stddev^2) || N(prior_mean, prior_stddev^2)). Eq 27 of Ye and Bors
    (TNNLS 2022) has its negative for the standard normal prior. The formula below is as
    accurate as that of TFP where the two distributions are nearly equal, and faster.

    Args:
        mean: `[..., D]`.
        stddev: `[..., D]`, positive.
        prior_mean: tensor that is broadcast against `mean`.
        prior_stddev: positive tensor that is broadcast against `stddev`.

    Returns:
        `[...]`, nats, summed over the last axis.

    Raises:
        ValueError: all arguments are scalars.
    """
    standard = _is_number(prior_mean, 0) and _is_number(prior_stddev, 1)
    mean, stddev, prior_mean, prior_stddev = floats(
        mean=mean, stddev=stddev, prior_mean=prior_mean, prior_stddev=prior_stddev
    )
    require_last_axis(mean=mean, stddev=stddev, prior_mean=prior_mean)
    if not standard:
        mean, stddev = (mean - prior_mean) / prior_stddev, stddev / prior_stddev
    # This is stddev^2 - 1, which would lose digits where stddev is near 1.
    variance_excess = (stddev - 1.0) * (stddev + 1.0)
    terms = tf.square(mean) + variance_excess - tf.math.log(stddev) * 2.0
    return tf.reduce_sum(terms, axis=-1) * 0.5


def _is_number(value: TensorLike, number: int) -> bool:
    return isinstance(value, int | float) and value == number


def gaussian_w2(
    mean_p: TensorLike, stddev_p: TensorLike, mean_q: TensorLike, stddev_q: TensorLike
) -> tf.Tensor:
    """Compute the squared 2-Wasserstein distance between diagonal Gaussians.

    It is ||mean_p - mean_q||^2 + ||stddev_p - stddev_q||^2, the closed form for
    covariances that commute (Zhang et al., "Wasserstein-Wasserstein auto-encoders",
    2019).

    Args:
        mean_p: `[..., D]`.
        stddev_p: `[..., D]`, not negative.
        mean_q: tensor that is broadcast against `mean_p`.
        stddev_q: tensor of no negative numbers that is broadcast against `stddev_p`.

    Returns:
        `[...]`, in squared units of the variable, summed over the last axis.

    Raises:
        ValueError: all arguments are scalars.
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
    """Estimate the Jensen-Shannon divergence of diagonal Gaussians from draws.

    JS = 1/2 KL(p || m) + 1/2 KL(q || m) with m = (p + q) / 2 has no closed form. Each
    KL is estimated from the draw of its first argument. The estimate has no bias and
    never exceeds log 2, but it may be negative. With r = log q - log p, the difference
    log p - log m is log 2 - softplus(r), which neither overflows nor cancels.

    Args:
        mean_p: `[..., D]`.
        stddev_p: `[..., D]`, positive.
        mean_q: `[..., D]`.
        stddev_q: `[..., D]`, positive.
        sample_p: `[..., D]`, drawn from p; further leading axes may count draws.
        sample_q: `[..., D]`, drawn from q.

    Returns:
        `[...]`, nats, at most log 2.

    Raises:
        ValueError: both samples are scalars.
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
    """Approximate the KL of Gaussian dropout noise from a log-uniform prior.

    The noise is N(1, alpha).

    Args:
        log_alpha: tensor, the logarithm of the variance of the noise, of any shape.
        form: "molchanov" is the sigmoid fit of Molchanov et al. ("Variational dropout
            sparsifies deep neural networks", ICML 2017) for any alpha, which goes to 0
            as alpha grows. "kingma" is the cubic polynomial of Kingma et al.
            ("Variational dropout and the local reparameterization trick", NeurIPS 2015;
            Eq 19 of Ye and Bors, TNNLS 2022). It was fitted for alpha up to 1 and is
            constant here above 1. The papers do not print its additive constant, about
            0.67, without which it can be negative.

    Returns:
        Tensor of the shape of `log_alpha`, in nats.

    Raises:
        ValueError: `form` is unknown.
    """
    (log_alpha,) = floats(log_alpha=log_alpha)
    if choice(form, ("molchanov", "kingma"), "form") == "molchanov":
        rise = tf.sigmoid(-1.8732 - 1.48695 * log_alpha)
        return 0.63576 * rise + 0.5 * tf.nn.softplus(-log_alpha)
    log_alpha = tf.minimum(log_alpha, 0.0)
    alpha = tf.exp(log_alpha)
    cubic = alpha * (1.16145124 + alpha * (-1.50204118 + alpha * 0.58629921))
    return -0.5 * log_alpha - cubic
