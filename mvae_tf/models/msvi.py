"""MSVI as a baseline of the MVAE paper: a mixture of complete VAEs, the experts.

Kurle, Guennemann and van der Smagt, "Multi-source neural variational inference" (AAAI
2019), https://arxiv.org/abs/1811.04451.
"""

import math
from typing import Any

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.models.registry import register
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.mixing import safe_log
from mvae_tf.parts.terms import Term

__all__ = ["MSVI"]


@register("msvi")
class MSVI(BaseVAE):
    """Uniform mixture of K experts, each with an encoder and a decoder of its own.

    p(x) = (1/K) sum_e p_e(x), where p_e(x) is the marginal of N(z; 0, I) p_e(x | z).
    By Jensen's inequality the objective,

        (1/K) sum_e [reconstruction_e + KL(q_e(z | x) || N(0, I))],

    is an upper bound of -log p(x). One latent is drawn from each expert. The
    reconstruction is the average of the images of all experts, and a generated image
    comes from one expert, each of which is equally likely.

    MSVI combines the information that several sources give about one example. In the
    MVAE paper all experts get the same image and have deep decoders of their own (Sec
    V-E). The paper does not say how it combines them; this class takes their uniform
    mixture.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        num_components: int, K, number of experts.

    Example:
        >>> import mvae_tf
        >>> msvi = mvae_tf.create("msvi", input_shape=(8, 8, 1), num_components=2)
        >>> msvi.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, *args: Any, num_components: int = 6, **kwargs: Any):
        super().__init__(
            *args,
            num_components=num_components,
            terms={"reconstruction": Term(), "kl": Term(warmup=True)}
            | kwargs.pop("terms", {}),
            **kwargs,
        )
        self.encoder = self.make_encoder(self.num_components)
        self.sub_decoder = self.make_sub_decoder(self.num_components)
        self.mix_decoder = self.make_mix_decoder(self.num_components)

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, _ = self.encoder(x, y, noise=noise, training=training)
        weights = tf.ones_like(mean[..., 0]) / self.num_components
        return Posterior(mean, stddev, weights)

    def draw_prior(self, like, noise):
        equal = tf.fill([self.num_components], 1.0 / self.num_components)
        expert = priors.draw_index("expert", equal, like[:, 0], noise)
        z = gaussian.draw_standard(like, self.latent_dim, noise)
        return Draw(z, weights=tf.one_hot(expert, self.num_components))

    def log_density_ratio(self, posterior, latents):
        return tf.reduce_mean(
            gaussian.log_density_ratio(*posterior[:2], latents.z), axis=1
        )

    def kl_nats(self, posterior, latents):
        del latents
        kl = divergences.gaussian_kl(posterior.mean, posterior.stddev)
        return tf.reduce_mean(kl, axis=1)

    def expert_outputs(self, z, y=None, noise=None, training=False):
        """Compute the outputs `[K, B, ...]` of the likelihood from each expert's z."""
        features = self.sub_decoder(z, y, noise=noise, training=training)
        images = self.mix_decoder(features, noise=noise, training=training)
        return self.likelihood.link(images)

    def expert_log_probs(self, x, latents, y=None, noise=None, training=False):
        """Compute log p_e(x | z_e) in nats, `[B, K]`."""
        outputs = self.expert_outputs(latents.z, y, noise, training)
        experts = tf.unstack(outputs, self.num_components)
        return tf.stack([self.likelihood.log_prob(x, o) for o in experts], axis=1)

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        outputs = self.expert_outputs(z, y, noise, training)
        return self.likelihood.mix(outputs, safe_log(weights))

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        log_probs = self.expert_log_probs(x, latents, y, noise, training)
        return tf.reduce_mean(log_probs, axis=1)

    def log_importance_weight(self, x, posterior, latents, y=None):
        """Compute the log of (1/K) sum_e p_e(x, z_e) / q_e(z_e | x) in nats, `[B]`."""
        ratios = gaussian.log_density_ratio(*posterior[:2], latents.z)
        log_weights = self.expert_log_probs(x, latents, y) + ratios
        return tf.reduce_logsumexp(log_weights, axis=1) - math.log(self.num_components)
