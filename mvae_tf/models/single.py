"""What models with one Gaussian posterior and one decoder share."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.terms import Term

__all__ = ["SingleVAE"]


class SingleVAE(BaseVAE):
    """One encoder, one Gaussian latent with any prior, one decoder.

    q(z | x) = N(mean(x), stddev(x)^2), p(z) = `prior`, and the objective is
    reconstruction + kl, each with its weight, + what `regularizers` adds.

    With the MVAE networks the decoder is one sub-decoder followed by the mix-decoder,
    as in the authors' code.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        terms: what differs from `{"reconstruction": Term(), "kl": Term(warmup=True)}`.

    Attributes:
        prior: p(z), a `mvae_tf.priors.Prior`; N(0, I) unless a subclass sets another.
    """

    reads_pixels = True
    fixed = ("num_components", "terms")

    def __init__(
        self,
        *args: Any,
        terms: Mapping[str, Term] | None = None,
        **kwargs: Any,
    ):
        terms = {"reconstruction": Term(), "kl": Term(warmup=True)} | dict(terms or {})
        super().__init__(*args, terms=terms, **kwargs)
        self.encoder = self.make_encoder(num_components=1)
        self.sub_decoder = self.make_sub_decoder(num_components=1)
        self.mix_decoder = self.make_mix_decoder()
        self.prior = priors.StandardNormal(self.latent_dim)

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, _ = self.encoder(x, y, noise=noise, training=training)
        return Posterior(mean, stddev, weights=tf.ones_like(mean[..., 0]))

    def draw(self, posterior, noise):
        z = noise.normal("z", posterior.mean, posterior.stddev)
        return Draw(z, posterior.weights)

    def draw_prior(self, like, noise):
        z = self.prior.sample(like[:, 0], noise)
        return Draw(z[:, tf.newaxis], weights=tf.ones_like(like))

    def log_density_ratio(self, posterior, latents):
        z = latents.z
        log_q = gaussian.log_prob(posterior.mean, posterior.stddev, z)
        return (self.prior.log_prob(z) - log_q)[:, 0]

    def kl_nats(self, posterior, latents):
        kl = self.prior.kl(posterior.mean, posterior.stddev, latents.z)
        return kl[:, 0]

    def decode_outputs(self, z, weights, y=None, noise=None, training=False, x=None):
        features = self.sub_decoder(z, y, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        pixels = {"x": x} if self.network.autoregressive else {}
        features = self.mix_decoder(features, noise=noise, training=training, **pixels)
        return self.likelihood.link(features)
