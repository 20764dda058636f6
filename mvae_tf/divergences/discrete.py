"""Divergences of distributions over categories: Dirichlet and Bernoulli."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf.divergences.inputs import TensorLike, floats, require_last_axis

__all__ = ["bernoulli_entropy", "dirichlet_kl"]

_LEAST_CONCENTRATION = 1e-12


def dirichlet_kl(
    concentration: TensorLike, prior_concentration: TensorLike
) -> tf.Tensor:
    """KL divergence between Dirichlet distributions.

    KL(Dir(a) || Dir(c)), Eq 28 of Ye and Bors (TNNLS 2022). It grows like 1 / a_i as a
    concentration falls to zero (1982 nats for a = (.001, .001, .001) against ones), so
    models keep theirs above a floor of their own. Computed in float64: the lgamma and
    digamma terms cancel, and in float32 they lose the second decimal at 1e4.

    Args:
        concentration: Positive `[..., K]`; values under 1e-12 count as 1e-12.
        prior_concentration: Positive, broadcast against `concentration`; a scalar is
            the symmetric prior.

    Returns:
        `[...]`, nats. Zero for K = 1.

    Raises:
        ValueError: `concentration` has no axis of categories.
    """
    concentration, prior = floats(
        concentration=concentration, prior_concentration=prior_concentration
    )
    require_last_axis(concentration=concentration)
    if concentration.shape[-1] == 1:
        # A certain outcome, which TFP does not take as a Dirichlet.
        return tf.reduce_sum(0.0 * concentration, axis=-1)
    posterior = tf.maximum(tf.cast(concentration, tf.float64), _LEAST_CONCENTRATION)
    prior = tf.maximum(tf.cast(prior, tf.float64), _LEAST_CONCENTRATION)
    prior = tf.broadcast_to(
        prior, tf.broadcast_dynamic_shape(tf.shape(prior), tf.shape(posterior)[-1:])
    )
    kl = tfd.Dirichlet(posterior).kl_divergence(tfd.Dirichlet(prior))
    return tf.cast(kl, concentration.dtype)


def bernoulli_entropy(p: TensorLike) -> tf.Tensor:
    """Entropy of a Bernoulli variable.

    H(p) = -p log p - (1 - p) log(1 - p), the term of MVAE-GS's objective (Eq 24 of Ye
    and Bors, TNNLS 2022, where it enters with a minus sign).

    Args:
        p: Probabilities in [0, 1], any shape. At 0 and 1, where the true derivative is
            infinite, the gradient is +1 and -1.

    Returns:
        Shape of `p`, nats, between 0 and log 2.
    """
    (p,) = floats(p=p)
    return -tf.math.xlogy(p, p) - tf.math.xlog1py(1.0 - p, -p)
