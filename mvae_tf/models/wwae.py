"""The Wasserstein-Wasserstein autoencoder.

Zhang et al., "Wasserstein-Wasserstein auto-encoders" (2019),
https://arxiv.org/abs/1902.09323.
"""

from typing import Any

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts.likelihoods import Likelihood
from mvae_tf.parts.terms import Term

__all__ = ["WWAE"]


@register("wwae")
class WWAE(SingleVAE):
    """Autoencoder whose latents, as a whole, have the moments of the prior.

    The objective to minimise is

        E ||x - x'||^2 + w2_weight W2^2(N(m, S), N(0, I)),

    where m and S are the moments of the aggregated posterior of the batch: m is the
    average of mean(x), and the diagonal matrix S is the average of stddev(x)^2 plus the
    variance of mean(x). The covariances of S are left out, because a batch with fewer
    images than latent dimensions hardly determines them.

    The distance between the two Gaussians has a closed form. The KL is logged and not
    minimised.

    Args:
        w2_weight: float, weight of the squared distance; the squared error is summed
            over pixels.
        likelihood: name or configuration of p(x | z) (`mvae_tf.likelihoods`); "sse"
            is the cost of the paper.
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> wwae = mvae_tf.create("wwae", input_shape=(8, 8, 1), latent_dim=2)
        >>> wwae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    no_bound = "its objective is an optimal-transport distance"

    def __init__(
        self,
        *args: Any,
        w2_weight: float = 10.0,
        likelihood: str | dict | Likelihood = "sse",
        **kwargs: Any,
    ):
        terms = {"kl": Term(weight=None), "w2": Term(w2_weight, per="batch")}
        terms |= kwargs.pop("terms", {})
        super().__init__(*args, terms=terms, likelihood=likelihood, **kwargs)
        self.w2_weight = w2_weight

    def regularizers(self, posterior, latents, noise):
        mean, stddev = aggregated_moments(
            self.gather_rows(posterior.mean), self.gather_rows(posterior.stddev)
        )
        return {"w2": divergences.gaussian_w2(mean[0], stddev[0], 0.0, 1.0)}


def aggregated_moments(mean, stddev):
    """Compute the moments of a mixture of B diagonal Gaussians with equal weights.

    Args:
        mean: `[B, ...]`.
        stddev: `[B, ...]`.

    Returns:
        Mean and standard deviation, both `[...]`.
    """
    variance = tf.reduce_mean(tf.square(stddev), 0) + tf.math.reduce_variance(mean, 0)
    return tf.reduce_mean(mean, 0), tf.sqrt(variance)
