"""The single variational autoencoder, the baseline of every table.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014),
https://arxiv.org/abs/1312.6114.
"""

import tensorflow as tf

from mvae_tf import divergences, gaussian
from mvae_tf.models.base import BaseVAE, LossTerms
from mvae_tf.models.registry import register

__all__ = ["VAE"]


@register("vae")
class VAE(BaseVAE):
    """VAE with a standard normal prior: minimises reconstruction + kl_weight KL.

    With the MVAE networks its decoder is one sub-decoder followed by the mix-decoder,
    as in the authors' code.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z.
        num_classes: number of labels that condition encoder and decoder, or None.
        network: "mlp", "conv", or a configuration (`mvae_tf.networks`).
        likelihood: "bernoulli", "continuous_bernoulli", "sse", "half_sse",
            "discretized_logistic", or a configuration (`mvae_tf.likelihoods`).
        kl_weight: weight of the KL in the objective.
        seed: int that decides initial weights and all noise.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> vae = mvae_tf.models.VAE(input_shape=(8, 8, 1), latent_dim=2)
        >>> vae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(
        self,
        input_shape=(28, 28, 1),
        latent_dim=50,
        num_classes=None,
        network="mlp",
        likelihood="bernoulli",
        kl_weight=1.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            input_shape=input_shape,
            latent_dim=latent_dim,
            num_components=1,
            num_classes=num_classes,
            network=network,
            likelihood=likelihood,
            term_weights={"reconstruction": 1.0, "kl": kl_weight},
            diagnostics=(),
            seed=seed,
            **kwargs,
        )
        self.kl_weight = kl_weight
        classes = num_classes or 0
        *sides, channels = self.input_shape
        channels *= self.likelihood.channels_per_channel
        self.encoder = self.network.encoder(
            self.input_shape,
            latent_dim,
            num_components=1,
            num_classes=classes,
            scores=False,
            **self._network_arguments("encoder"),
        )
        self.sub_decoder = self.network.sub_decoder(
            latent_dim,
            num_components=1,
            num_classes=classes,
            **self._network_arguments("sub_decoder"),
        )
        self.mix_decoder = self.network.mix_decoder(
            (*sides, channels), **self._network_arguments("mix_decoder")
        )

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, _ = self.encoder(x, y, noise=noise, training=training)
        return {"mean": mean, "stddev": stddev, "weights": tf.ones_like(mean[..., 0])}

    def draw(self, posterior, noise):
        return {
            "z": gaussian.draw(posterior, noise),
            "weights": posterior["weights"],
        }

    def draw_prior(self, like, noise):
        return {
            "z": gaussian.draw_standard(like, self.latent_dim, noise),
            "weights": tf.ones_like(like),
        }

    def log_density_ratio(self, posterior, latents):
        return gaussian.log_density_ratio(posterior, latents["z"])[:, 0]

    def kl_nats(self, posterior, latents):
        del latents
        return divergences.gaussian_kl(posterior["mean"], posterior["stddev"])[:, 0]

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        features = self.sub_decoder(z, y, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        features = self.mix_decoder(features, noise=noise, training=training)
        return self.likelihood.link(features)

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        outputs = self.decode_outputs(
            latents["z"], latents["weights"], y, noise, training
        )
        return LossTerms(
            per_example={
                "reconstruction": self.likelihood.error(x, outputs),
                "kl": self.kl_nats(posterior, latents),
            },
            per_batch={},
            diagnostics={},
        )
