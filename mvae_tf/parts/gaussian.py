"""Diagonal Gaussian latents: draws from N(0, I), log-densities and their ratios."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["draw_standard", "log_density_ratio", "log_prob"]


def draw_standard(like, latent_dim, noise):
    """Draw z from N(0, I), `[..., Z]`, one for each element of `like` `[...]`."""
    return noise.standard_normal("z", like, [latent_dim])


def log_prob(mean, stddev, z):
    """Compute log N(z; mean, stddev^2) in nats, summed over the last axis of z."""
    return tf.reduce_sum(tfd.Normal(mean, stddev).log_prob(z), axis=-1)


def log_density_ratio(mean, stddev, z, prior_mean=0.0, prior_stddev=1.0):
    """Compute log p(z) - log q(z | x) of each component in nats, `[B, K]`.

    Args:
        mean: `[B, K, Z]`, of q(z | x).
        stddev: `[B, K, Z]`, of q(z | x).
        z: `[B, K, Z]`.
        prior_mean: number or tensor, broadcast against `mean`.
        prior_stddev: number or tensor, broadcast against `stddev`.
    """
    prior = log_prob(prior_mean, prior_stddev, z)
    return prior - log_prob(mean, stddev, z)
