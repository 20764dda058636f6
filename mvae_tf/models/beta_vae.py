"""The beta-VAE: a VAE whose KL has a weight other than 1.

Higgins et al., "beta-VAE: Learning basic visual concepts with a constrained variational
framework" (ICLR 2017), https://openreview.net/forum?id=Sy2fzU9gl.
"""

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE

__all__ = ["BetaVAE"]


@register("beta_vae")
class BetaVAE(SingleVAE):
    """VAE that minimises reconstruction + beta KL(q(z given x) || N(0, I)).

    With beta = 1 it is the VAE, draw for draw. `elbo` counts the KL in full, whatever
    beta is.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        beta: weight of the KL; above 1 it asks for factors that are independent, at a
            price in reconstruction.
        **kwargs: `latent_dim`, `num_classes`, `network`, `likelihood` and `seed` of
            `SingleVAE`; `name` and `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> beta_vae = mvae_tf.create("beta_vae", input_shape=(8, 8, 1), beta=2.0)
        >>> beta_vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, input_shape=(28, 28, 1), beta=4.0, **kwargs):
        super().__init__(
            input_shape,
            term_weights={"reconstruction": 1.0, "kl": beta},
            **kwargs,
        )
        self.beta = beta
