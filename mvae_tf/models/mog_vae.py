"""VAE with a prior of K trained Gaussians, a baseline of CP-VAE ("MG" in its tables).

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts import priors

__all__ = ["MoGVAE"]


@register("mog_vae")
class MoGVAE(SingleVAE):
    """VAE with p(z) = (1/K) sum_k N(z; mean_k, stddev_k^2), all of them trained.

    Minimises E_q[-log p(x given z)] + KL(q(z given x) || p(z)). No closed form of the
    KL exists: it is estimated, without bias, by log q(z given x) - log p(z) at the z
    that is decoded.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        num_prior_components: K.
        latent_dim: Z.
        network: name or configuration of the networks (`mvae_tf.networks`).
        **kwargs: `num_classes`, `likelihood` and `seed` of `SingleVAE`; `name` and
            `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> mog_vae = mvae_tf.models.MoGVAE((8, 8, 1), num_prior_components=3)
        >>> mog_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        input_shape=(28, 28, 1),
        num_prior_components=10,
        latent_dim=40,
        network="gated_mlp",
        **kwargs,
    ):
        super().__init__(
            input_shape,
            latent_dim=latent_dim,
            network=network,
            make_prior=lambda model: priors.MixtureOfGaussians(
                num_prior_components, latent_dim, model.seed
            ),
            term_weights={"reconstruction": 1.0, "kl": 1.0},
            **kwargs,
        )
        self.num_prior_components = num_prior_components
