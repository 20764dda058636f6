"""Diagonal Gaussian latents: reparameterised draws and density ratios, through TFP."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["draw", "draw_standard", "log_density_ratio"]


def draw(posterior, noise):
    """Z ~ N(mean, stddev^2), `[B, K, Z]`, from a posterior with `mean`, `stddev`."""

    def sample(seed, mean, stddev):
        return tfd.Normal(mean, stddev).sample(seed=seed)

    return noise("z", sample, posterior["mean"], posterior["stddev"])


def draw_standard(like, latent_dim, noise):
    """Z ~ N(0, I), `[B, K, Z]`, for a `[B, K]` tensor `like`."""

    def sample(seed, rows):
        shape = tf.concat([tf.shape(rows), [latent_dim]], 0)
        return tfd.Normal(0.0, 1.0).sample(shape, seed=seed)

    return noise("z", sample, like)


def log_density_ratio(posterior, z, prior_mean=0.0, prior_stddev=1.0):
    """Log p(z) - log q(z given x) of each component in nats, `[B, K]`."""
    prior = tfd.Normal(prior_mean, prior_stddev).log_prob(z)
    proposal = tfd.Normal(posterior["mean"], posterior["stddev"]).log_prob(z)
    return tf.reduce_sum(prior - proposal, axis=-1)
