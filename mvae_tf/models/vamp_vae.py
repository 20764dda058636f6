"""VAE with the VampPrior.

Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
https://arxiv.org/abs/1705.07120.
"""

from typing import Any

import tensorflow as tf

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts import priors
from mvae_tf.parts.networks.network import Network

__all__ = ["VampVAE"]


@register("vamp_vae")
class VampVAE(SingleVAE):
    """VAE with p(z) = (1/K) sum_k q(z | u_k) for K trained pseudo-inputs u_k.

    It minimises E_q[-log p(x | z)] + KL(q(z | x) || p(z)), with the KL estimated by
    log q(z | x) - log p(z) at the z that is decoded. Each step encodes all
    pseudo-inputs; encoding 500 of them takes as long as encoding 500 images.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`; `latent_dim` and `network`
            have other defaults. `num_classes` stays None, because pseudo-inputs have no
            labels.
        num_pseudo_inputs: int, K in this file, where the model has one component.
        pseudo_mean, pseudo_stddev: floats, mean and standard deviation of the initial
            pixels of pseudo-inputs. The authors' code has (0.05, 0.01) for binary
            images, (0.5, 0.02) for Frey Faces and (0.4, 0.05) for CIFAR10.

    Example:
        >>> import mvae_tf
        >>> vamp_vae = mvae_tf.models.VampVAE((8, 8, 1), num_pseudo_inputs=10)
        >>> vamp_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        num_pseudo_inputs: int = 500,
        latent_dim: int = 40,
        network: str | dict | Network = "gated_mlp",
        pseudo_mean: float = 0.05,
        pseudo_stddev: float = 0.01,
        **kwargs: Any,
    ):
        if kwargs.get("num_classes") is not None:
            raise ValueError(
                "Expected no num_classes, because pseudo-inputs have no labels, got "
                f"{kwargs['num_classes']!r}."
            )
        super().__init__(*args, latent_dim=latent_dim, network=network, **kwargs)
        self.num_pseudo_inputs = num_pseudo_inputs
        self.pseudo_mean = pseudo_mean
        self.pseudo_stddev = pseudo_stddev
        self.prior = priors.VampPrior.of(self)

    def encode_pseudo_inputs(self, images: tf.Tensor):
        """Compute mean and stddev `[K, 1, Z]` and weights `[1]` of q(z | u_k)."""
        posterior = self.infer(images)
        return posterior.mean, posterior.stddev, tf.ones([1])
