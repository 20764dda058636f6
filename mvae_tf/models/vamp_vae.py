"""VAE with the VampPrior.

Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
https://arxiv.org/abs/1705.07120.
"""

import tensorflow as tf

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts import priors

__all__ = ["VampVAE"]


@register("vamp_vae")
class VampVAE(SingleVAE):
    """VAE with p(z) = (1/K) sum_k q(z given u_k) of K trained pseudo-inputs u_k.

    Minimises E_q[-log p(x given z)] + KL(q(z given x) || p(z)), with the KL estimated
    by log q(z given x) - log p(z) at the z that is decoded. Each step encodes all
    pseudo-inputs: K = 500 cost what five batches of 100 images do.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        num_pseudo_inputs: K.
        latent_dim: Z.
        network: name or configuration of the networks (`mvae_tf.networks`).
        pseudo_mean, pseudo_stddev: moments of the pixels that pseudo-inputs start from;
            (0.05, 0.01) for binary images, in the authors' code (0.5, 0.02) for Frey
            Faces and (0.4, 0.05) for CIFAR10.
        **kwargs: `likelihood` and `seed` of `SingleVAE`; `name` and `dtype` of
            `keras.Model`. Pseudo-inputs have no labels: `num_classes` stays None.

    Raises:
        ValueError: on `num_classes`.

    Example:
        >>> import mvae_tf
        >>> vamp_vae = mvae_tf.models.VampVAE((8, 8, 1), num_pseudo_inputs=10)
        >>> vamp_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        input_shape=(28, 28, 1),
        num_pseudo_inputs=500,
        latent_dim=40,
        network="gated_mlp",
        pseudo_mean=0.05,
        pseudo_stddev=0.01,
        **kwargs,
    ):
        if kwargs.get("num_classes") is not None:
            raise ValueError(
                "Expected no num_classes, for pseudo-inputs have no labels, got "
                f"{kwargs['num_classes']!r}."
            )
        super().__init__(
            input_shape,
            latent_dim=latent_dim,
            network=network,
            make_prior=lambda model: priors.VampPrior(
                num_pseudo_inputs,
                model.input_shape,
                model.encode_pseudo_inputs,
                (model.likelihood.low, model.likelihood.high),
                pseudo_mean,
                pseudo_stddev,
                model.seed,
            ),
            term_weights={"reconstruction": 1.0, "kl": 1.0},
            **kwargs,
        )
        self.num_pseudo_inputs = num_pseudo_inputs
        self.pseudo_mean = pseudo_mean
        self.pseudo_stddev = pseudo_stddev

    def encode_pseudo_inputs(self, images):
        """Means and stddevs `[K, 1, Z]` and weights `[1]` of q(z given u_k)."""
        posterior = self.infer(images)
        return posterior["mean"], posterior["stddev"], tf.ones([1])
