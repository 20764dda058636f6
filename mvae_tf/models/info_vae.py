"""InfoVAE with the maximum mean discrepancy.

Zhao, Song and Ermon, "InfoVAE: Balancing learning and inference in variational
autoencoders" (AAAI 2019), https://arxiv.org/abs/1706.02262.
"""

import math
from typing import Any

from mvae_tf import divergences
from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts.part import like_default
from mvae_tf.parts.terms import Term

__all__ = ["InfoVAE"]


@register("info_vae")
class InfoVAE(SingleVAE):
    """VAE that fits the aggregated posterior, rather than each posterior, to the prior.

    With q(z) the average of q(z | x) over images, the objective to minimise is

        reconstruction + (1 - alpha) KL(q(z | x) || p(z))
                       + (alpha + lambda - 1) MMD^2(q(z), p(z)).

    With alpha = 1 there is no KL; with alpha = 0 and lambda = 1 it equals the VAE. The
    discrepancy is estimated from the latents drawn for the batch and as many draws of
    N(0, I), with the kernel exp(-||a - b||^2 / (2 Z)). Values of lambda can be compared
    only for this kernel and a reconstruction summed over pixels. The estimate is
    biased, and so above 0 even for latents drawn from the prior: for 64 latents of 10
    dimensions its mean is 0.0187, which adds 18.7 to the objective at lambda = 1000.

    The model is p(z) p(x | z) with the posterior q(z | x), so that `elbo`, which counts
    the KL in full, is a valid bound. With alpha = 1 training does not tighten it.

    Args:
        alpha: float, weight of the mutual information of x and z, at most 1.
        mmd_weight: float, lambda, at least 1 - alpha.
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Raises:
        ValueError: the KL or the discrepancy would have a negative weight.

    Example:
        >>> import mvae_tf
        >>> info_vae = mvae_tf.create("info_vae", input_shape=(8, 8, 1), latent_dim=2)
        >>> info_vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        alpha: float = 1.0,
        mmd_weight: float = 1000.0,
        **kwargs: Any,
    ):
        alpha = like_default("alpha", alpha, 1.0)
        mmd_weight = like_default("mmd_weight", mmd_weight, 1.0)
        if alpha > 1 or alpha + mmd_weight < 1:
            raise ValueError(
                "Expected alpha <= 1 and mmd_weight >= 1 - alpha, got "
                f"{alpha} and {mmd_weight}."
            )
        terms = {
            "kl": Term(1.0 - alpha, warmup=True),
            "mmd": Term(alpha + mmd_weight - 1.0, per="batch"),
        }
        super().__init__(*args, terms=terms | kwargs.pop("terms", {}), **kwargs)
        self.alpha = alpha
        self.mmd_weight = mmd_weight

    def discrepancy(self, z, prior_z):
        """Estimate MMD^2 between two sets of N latents, `[N, Z]` each, a scalar."""
        return divergences.mmd(z, prior_z, bandwidth=math.sqrt(self.latent_dim))

    def regularizers(self, posterior, latents, noise):
        z = latents.z[:, 0]
        prior_z = self.prior.sample(z[:, 0], noise.child("mmd"))
        mmd = self.discrepancy(self.gather_rows(z), self.gather_rows(prior_z))
        return {"mmd": mmd}
