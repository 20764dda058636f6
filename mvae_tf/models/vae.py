"""The single variational autoencoder, the baseline of every table.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014),
https://arxiv.org/abs/1312.6114.
"""

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE

__all__ = ["VAE"]


@register("vae")
class VAE(SingleVAE):
    """VAE with a standard normal prior: minimises reconstruction + kl_weight KL.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        kl_weight: weight of the KL in the objective.
        **kwargs: `latent_dim`, `num_classes`, `network`, `likelihood` and `seed` of
            `SingleVAE`; `name` and `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> vae = mvae_tf.models.VAE(input_shape=(8, 8, 1), latent_dim=2)
        >>> vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, input_shape=(28, 28, 1), kl_weight=1.0, **kwargs):
        super().__init__(
            input_shape,
            term_weights={"reconstruction": 1.0, "kl": kl_weight},
            **kwargs,
        )
        self.kl_weight = kl_weight
