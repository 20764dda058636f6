"""M-VAE: K complete VAEs whose decoded images are mixed.

Ye and Bors, "Mixtures of Variational Autoencoders", IPTA 2020.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mvae_tf.models.mixture import MixtureVAE
from mvae_tf.models.registry import register
from mvae_tf.parts.mixing import safe_log
from mvae_tf.parts.part import number_list

__all__ = ["MixtureOfVAEs"]


@register("m_vae")
class MixtureOfVAEs(MixtureVAE):
    """Mixture of K complete VAEs with Dirichlet mixing weights.

    An image is reconstructed as a mixture of images by

        w   ~ Dir(alpha(x)), alpha from the K encoders                    (Eq 2)
        z_i ~ N(mean_i(x), stddev_i(x)^2)                                 (Eq 3)
        x'  = sum_i w_i Decoder_i(z_i).                                (Eq 5, 6)

    The objective to minimise (Eq 8, 9, 14) is the sum of

        reconstruction   -log p(x | x')
        kl               (1/K) sum_i KL(q(z_i | x) || p(z_i))
        dirichlet_kl     KL(Dir(alpha(x)) || Dir(c))
        dhsic            dHSIC(z_1, ..., z_K), with the weight beta      (Eq 13)

    Eq 8 averages the K log-likelihoods with the weights w. The authors' code and this
    class take the log-likelihood of the mixed image, which is at least as high by
    Jensen's inequality and which the reported errors measure.

    Args:
        *args, **kwargs: arguments of `MixtureVAE` and `BaseVAE`; labels, if there are
            any, condition encoders and decoders.
        latent_dim: int, Z, size of each component's latent (20 in the paper's tables).
        num_components: int, K, number of components.
        prior_means, prior_stddevs: K numbers each, the mean and the standard deviation
            of p(z_i) in every dimension; None for N(0, I). The authors' scripts for
            colour images have other numbers.

    Example:
        >>> import mvae_tf
        >>> m_vae = mvae_tf.models.MixtureOfVAEs(input_shape=(8, 8, 1))
        >>> m_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        latent_dim: int = 20,
        num_components: int = 4,
        prior_means: Sequence[float] | None = None,
        prior_stddevs: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            *args, latent_dim=latent_dim, num_components=num_components, **kwargs
        )
        num_components = self.num_components
        self.prior_means = number_list("prior_means", prior_means, num_components)
        self.prior_stddevs = number_list("prior_stddevs", prior_stddevs, num_components)
        if self.prior_stddevs is not None and min(self.prior_stddevs) <= 0:
            raise ValueError(f"Expected prior_stddevs > 0, got {prior_stddevs}.")
        self.mix_decoder = self.make_mix_decoder(num_components)

    def prior_moments(self):
        def column(values, default):
            if values is None:
                return default
            return tf.constant(values, tf.float32)[:, tf.newaxis]

        return column(self.prior_means, 0.0), column(self.prior_stddevs, 1.0)

    # === Decoder ===

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        features = self.sub_decoder(z, y, noise=noise, training=training)
        images = self.mix_decoder(features, noise=noise, training=training)
        outputs = self.likelihood.link(images)
        return self.likelihood.mix(outputs, safe_log(weights))  # (5), (6)

    # === Objective (8, 9, 14) ===

    def loss_terms(self, x, y, noise, training):
        q = self.infer(x, y, noise, training)
        draw = self.draw(q, noise)
        return {
            "reconstruction": self.reconstruction_error(x, draw, y, noise, training),
            "kl": self.reduce_components(self.component_kl(q)),
            "dirichlet_kl": self.mixing.kl(q.alpha, draw.alpha),
            "weight_entropy": self.weight_entropy(draw),  # logged only
            **self.independence.terms(q, draw.z, self.gather_rows),  # (13)
        }

    # === Pruning ===

    def _networks(self):
        return super()._networks() | {"mix_decoder": self.mix_decoder}

    def _pruned_config(self, kept):
        config = super()._pruned_config(kept)
        for key in ("prior_means", "prior_stddevs"):
            if config[key] is not None:
                config[key] = [config[key][i] for i in kept]
        return config
