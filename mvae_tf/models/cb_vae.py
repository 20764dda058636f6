"""The VAE with continuous Bernoulli pixels.

Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
variational autoencoders" (NeurIPS 2019), https://arxiv.org/abs/1907.06845.
"""

from typing import Any

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts.likelihoods import Likelihood

__all__ = ["CBVAE"]


@register("cb_vae")
class CBVAE(SingleVAE):
    """VAE whose p(x | z) is a density of grey pixels in [0, 1].

    The binary cross-entropy of grey pixels is not a log-density, which is

        log p(x) = x log lambda + (1 - x) log(1 - lambda) + log C(lambda),
        C(lambda) = 2 artanh(1 - 2 lambda) / (1 - 2 lambda):

    it lacks log C(lambda), which is log 2 per pixel or more. The images that the model
    makes are the means of this density, not lambda. The objective is that of the VAE,
    reconstruction + KL(q(z | x) || N(0, I)).

    Args:
        likelihood: name or configuration of p(x | z) (`mvae_tf.likelihoods`).
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> cb_vae = mvae_tf.create("cb_vae", input_shape=(8, 8, 1), latent_dim=2)
        >>> cb_vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        likelihood: str | dict | Likelihood = "continuous_bernoulli",
        **kwargs: Any,
    ):
        super().__init__(*args, likelihood=likelihood, **kwargs)
