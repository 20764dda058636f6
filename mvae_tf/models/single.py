"""What models with one Gaussian posterior and one decoder share: VAE and its kin."""

import tensorflow as tf

from mvae_tf.models.base import BaseVAE, LossTerms
from mvae_tf.parts import gaussian, priors

__all__ = ["SingleVAE"]


def _standard_normal(model):
    return priors.StandardNormal(model.latent_dim)


class SingleVAE(BaseVAE):
    """One encoder, one Gaussian latent with any prior, one decoder.

    q(z given x) = N(mean(x), stddev(x)^2), p(z) = `prior`, and the objective is
    reconstruction + kl, each with its weight, + what `add_terms` adds.

    With the MVAE networks the decoder is one sub-decoder followed by the mix-decoder,
    as in the authors' code.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z.
        num_classes: number of labels that condition encoder and decoder, or None.
        network: name or configuration of the networks (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z) (`mvae_tf.likelihoods`).
        seed: int that decides initial weights and all noise.
        term_weights: weights of the terms of the objective.
        make_prior: function from the model to its p(z), a `mvae_tf.priors.Prior`;
            N(0, I) unless it is given.
        diagnostics: names of the diagnostics that `add_terms` adds.
        **kwargs: `name` and `dtype` of `keras.Model`.
    """

    reads_pixels = True

    def __init__(
        self,
        input_shape=(28, 28, 1),
        latent_dim=50,
        num_classes=None,
        network="mlp",
        likelihood="bernoulli",
        seed=0,
        *,
        term_weights,
        make_prior=_standard_normal,
        diagnostics=(),
        **kwargs,
    ):
        super().__init__(
            input_shape=input_shape,
            latent_dim=latent_dim,
            num_components=1,
            num_classes=num_classes,
            network=network,
            likelihood=likelihood,
            term_weights=term_weights,
            diagnostics=diagnostics,
            seed=seed,
            **kwargs,
        )
        self.encoder = self.make_encoder(num_components=1)
        self.sub_decoder = self.make_sub_decoder(num_components=1)
        self.mix_decoder = self.make_mix_decoder()
        self.prior = make_prior(self)

    def add_terms(self, terms, posterior, latents, noise):
        """Adds to the `LossTerms` of a batch what the objective has beside the two."""

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, _ = self.encoder(x, y, noise=noise, training=training)
        return {"mean": mean, "stddev": stddev, "weights": tf.ones_like(mean[..., 0])}

    def draw(self, posterior, noise):
        return {
            "z": gaussian.draw(posterior, noise),
            "weights": posterior["weights"],
        }

    def draw_prior(self, like, noise):
        z = self.prior.sample(like[:, 0], noise)
        return {"z": z[:, tf.newaxis], "weights": tf.ones_like(like)}

    def log_density_ratio(self, posterior, latents):
        z = latents["z"]
        log_q = gaussian.log_prob(posterior["mean"], posterior["stddev"], z)
        return (self.prior.log_prob(z) - log_q)[:, 0]

    def kl_nats(self, posterior, latents):
        kl = self.prior.kl(posterior["mean"], posterior["stddev"], latents["z"])
        return kl[:, 0]

    def decode_outputs(self, z, weights, y=None, noise=None, training=False, x=None):
        features = self.sub_decoder(z, y, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        pixels = {"x": x} if self.network.autoregressive else {}
        features = self.mix_decoder(features, noise=noise, training=training, **pixels)
        return self.likelihood.link(features)

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        error = self.reconstruction_error(x, latents, y, noise, training)
        terms = LossTerms(
            per_example={
                "reconstruction": error,
                "kl": self.kl_nats(posterior, latents),
            },
            per_batch={},
            diagnostics={},
        )
        self.add_terms(terms, posterior, latents, noise)
        return terms
