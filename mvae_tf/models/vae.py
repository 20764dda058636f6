"""The single variational autoencoder, the baseline of every table.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014),
https://arxiv.org/abs/1312.6114.
"""

from typing import Any

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts.terms import Term

__all__ = ["VAE"]


@register("vae")
class VAE(SingleVAE):
    """VAE with a standard normal prior: it minimises reconstruction + kl_weight KL.

    Args:
        kl_weight: float, weight of the KL in the objective.
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> vae = mvae_tf.models.VAE(input_shape=(8, 8, 1), latent_dim=2)
        >>> vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, *args: Any, kl_weight: float = 1.0, **kwargs: Any):
        terms = {"kl": Term(kl_weight, warmup=True)} | kwargs.pop("terms", {})
        super().__init__(*args, terms=terms, **kwargs)
        self.kl_weight = kl_weight
