"""The beta-VAE: a VAE whose KL has a weight other than 1.

Higgins et al., "beta-VAE: Learning basic visual concepts with a constrained variational
framework" (ICLR 2017), https://openreview.net/forum?id=Sy2fzU9gl.
"""

from typing import Any

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts.terms import Term

__all__ = ["BetaVAE"]


@register("beta_vae")
class BetaVAE(SingleVAE):
    """VAE that minimises reconstruction + beta KL(q(z | x) || N(0, I)).

    With beta = 1 it equals the VAE, including its random draws. `elbo` counts the KL
    in full, whatever beta is.

    Args:
        beta: float, weight of the KL; values above 1 favour independent factors and
            make reconstructions worse.
        *args, **kwargs: shared arguments, see `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> beta_vae = mvae_tf.create("beta_vae", input_shape=(8, 8, 1), beta=2.0)
        >>> beta_vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, *args: Any, beta: float = 4.0, **kwargs: Any):
        terms = {"kl": Term(beta, warmup=True)} | kwargs.pop("terms", {})
        super().__init__(*args, terms=terms, **kwargs)
        self.beta = beta
