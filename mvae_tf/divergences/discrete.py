"""Divergences of distributions over categories: Dirichlet and Bernoulli."""

from collections.abc import Callable

import tensorflow as tf

from mvae_tf.divergences.inputs import TensorLike, floats, require_last_axis

__all__ = ["bernoulli_entropy", "dirichlet_kl"]

_LEAST_CONCENTRATION = 1e-12


def dirichlet_kl(
    concentration: TensorLike, prior_concentration: TensorLike
) -> tf.Tensor:
    """Compute the KL divergence between Dirichlet distributions.

    It is KL(Dir(a) || Dir(c)), Eq 28 of Ye and Bors (TNNLS 2022). It grows like 1 / a_i
    as a concentration goes to 0 (1982 nats for a = (.001, .001, .001) and c = 1), so
    that models have a lower bound of theirs. It is computed in float64, because the
    lgamma and digamma terms cancel: at 1e4 float32 has no correct second decimal.

    Args:
        concentration: `[..., K]`, positive; values under 1e-12 count as 1e-12.
        prior_concentration: positive tensor that is broadcast against
            `concentration`; a scalar is the symmetric prior.

    Returns:
        `[...]`, nats; 0 for K = 1.

    Raises:
        ValueError: `concentration` has no axis of categories.
    """
    concentration, prior = floats(
        concentration=concentration, prior_concentration=prior_concentration
    )
    require_last_axis(concentration=concentration)
    if concentration.shape[-1] == 1:
        # TFP has no Dirichlet distribution of one category.
        return tf.reduce_sum(0.0 * concentration, axis=-1)
    posterior = tf.maximum(tf.cast(concentration, tf.float64), _LEAST_CONCENTRATION)
    prior = tf.maximum(tf.cast(prior, tf.float64), _LEAST_CONCENTRATION)
    if not prior.shape.is_fully_defined() or prior.shape != posterior.shape:
        shape = tf.broadcast_dynamic_shape(tf.shape(prior), tf.shape(posterior))
        posterior = tf.broadcast_to(posterior, shape)
        prior = tf.broadcast_to(prior, shape)
    return tf.cast(_dirichlet_kl(posterior, prior), concentration.dtype)


@tf.custom_gradient
def _dirichlet_kl(a: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Compute KL(Dir(a) || Dir(c)) of `[..., K]` concentrations of one shape.

    In its gradient most of the derivatives that automatic differentiation would form
    cancel.
    """
    total = tf.reduce_sum(a, axis=-1, keepdims=True)
    excess = a - c
    slope = tf.math.digamma(a) - tf.math.digamma(total)
    value = tf.math.lbeta(c) - tf.math.lbeta(a)
    value += tf.reduce_sum(excess * slope, axis=-1)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        one = tf.ones([], a.dtype)
        of_a = excess * tf.math.polygamma(one, a) - tf.math.polygamma(
            one, total
        ) * tf.reduce_sum(excess, axis=-1, keepdims=True)
        prior_total = tf.reduce_sum(c, axis=-1, keepdims=True)
        of_c = tf.math.digamma(c) - tf.math.digamma(prior_total) - slope
        upstream = tf.expand_dims(upstream, -1)
        return upstream * of_a, upstream * of_c

    return value, gradient


def bernoulli_entropy(p: TensorLike) -> tf.Tensor:
    """Compute the entropy of a Bernoulli variable.

    It is H(p) = -p log p - (1 - p) log(1 - p), which is subtracted in the objective of
    MVAE-GS (Eq 24 of Ye and Bors, TNNLS 2022).

    Args:
        p: tensor of probabilities in [0, 1], of any shape. At 0 and 1, where the true
            derivative is infinite, the gradient is +1 and -1.

    Returns:
        Tensor of the shape of `p`, in nats, between 0 and log 2.
    """
    (p,) = floats(p=p)
    return -tf.math.xlogy(p, p) - tf.math.xlog1py(1.0 - p, -p)
