"""The parent of the models with one Gaussian latent and one decoder."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.terms import Term

__all__ = ["SingleVAE"]


class SingleVAE(BaseVAE):
    """VAE of one encoder, one Gaussian latent with any prior, and one decoder.

    q(z | x) = N(mean(x), stddev(x)^2) and p(z) = `prior`. The objective is
    reconstruction + kl + the terms of `regularizers`, each with its weight. The decoder
    is a sub-decoder followed by the mix-decoder, as in the MVAE authors' code.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        terms: dict of the terms that are new or differ from
            `{"reconstruction": Term(), "kl": Term(warmup=True)}`.

    Attributes:
        prior: `mvae_tf.priors.Prior`, p(z); N(0, I) unless a subclass sets another.
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

    def draw_prior(self, like, noise):
        z = self.prior.sample(like[:, 0], noise)
        return Draw(z[:, tf.newaxis], weights=tf.ones_like(like))

    def log_density_ratio(self, posterior, latents):
        z = latents.z
        log_q = gaussian.log_prob(posterior.mean, posterior.stddev, z)
        return (self.prior.log_prob(z) - log_q)[:, 0]

    def kl_nats(self, posterior, latents):
        return self.prior.kl(posterior.mean, posterior.stddev, latents.z)[:, 0]

    def decode_outputs(self, z, weights, y=None, noise=None, training=False, x=None):
        return self.decode_one(z, y, noise, training, x)
