"""Diagonal Gaussian latents: reparameterised draws and density ratios, through TFP."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["draw", "draw_standard", "log_density_ratio", "log_prob"]


def draw(posterior, noise):
    """Z ~ N(mean, stddev^2), `[B, K, Z]`, from a posterior with `mean`, `stddev`."""

    def sample(seed, mean, stddev):
        return tfd.Normal(mean, stddev).sample(seed=seed)

    return noise("z", sample, posterior["mean"], posterior["stddev"])


def draw_standard(like, latent_dim, noise):
    """Z ~ N(0, I), `[..., Z]`, for any tensor `like` `[...]`."""

    def sample(seed, rows):
        shape = tf.concat([tf.shape(rows), [latent_dim]], 0)
        return tfd.Normal(0.0, 1.0).sample(shape, seed=seed)

    return noise("z", sample, like)


def log_prob(mean, stddev, z):
    """Log N(z; mean, stddev^2) in nats, summed over the last axis."""
    return tf.reduce_sum(tfd.Normal(mean, stddev).log_prob(z), axis=-1)


def log_density_ratio(posterior, z, prior_mean=0.0, prior_stddev=1.0):
    """Log p(z) - log q(z given x) of each component in nats, `[B, K]`."""
    prior = log_prob(prior_mean, prior_stddev, z)
    return prior - log_prob(posterior["mean"], posterior["stddev"], z)
