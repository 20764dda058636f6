"""M-VAE: K complete VAEs whose decoded images are mixed.

Ye and Bors, "Mixtures of Variational Autoencoders", IPTA 2020.
"""

import tensorflow as tf

from mvae_tf.models.base import LossTerms
from mvae_tf.models.mixture import MixtureVAE
from mvae_tf.models.registry import register

__all__ = ["MixtureOfVAEs"]


@register("m_vae")
class MixtureOfVAEs(MixtureVAE):
    """Mixture of K complete VAEs with Dirichlet mixing weights.

    z_i ~ N(mean_i(x), stddev_i(x)^2), w ~ Dir(alpha(x)), and the mixture is one of
    images, x' = sum_i w_i Decoder_i(z_i) (Eq 5-6). The objective (Eq 8-9) is

        reconstruction + (1/K) sum_i kl_i + dirichlet_kl + beta dHSIC.

    Eq 8 weighs the K log-likelihoods by w; the authors' code, and this class, take the
    log-likelihood of the mixed image, which is the higher of the two by Jensen and
    what the reported errors measure.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z, size of each component's latent (20 in the paper's tables).
        num_components: K.
        num_classes: number of labels that condition encoders and decoders, or None.
        network: "mlp", "conv" or a configuration (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z) (`mvae_tf.likelihoods`).
        mixing: "dirichlet" or a configuration (`mvae_tf.mixing`).
        independence: "dhsic", "l2", "kl", "symmetric_kl", "js", None, or a
            configuration (`mvae_tf.independence`).
        kl_weight, dirichlet_weight: weights of the KL terms.
        independence_weight: beta, weight of the independence term.
        kl_reduction: "mean" or "sum" over components.
        prior_means, prior_stddevs: K numbers each, the moments of p(z_i), the same in
            every dimension; None for N(0, I). The authors' colour scripts have others.
        seed: int that decides initial weights and all noise.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> m_vae = mvae_tf.models.MixtureOfVAEs(input_shape=(8, 8, 1))
        >>> m_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        input_shape=(28, 28, 1),
        latent_dim=20,
        num_components=4,
        num_classes=None,
        network="mlp",
        likelihood="bernoulli",
        mixing="dirichlet",
        independence="dhsic",
        kl_weight=1.0,
        dirichlet_weight=1.0,
        independence_weight=1.0,
        kl_reduction="mean",
        prior_means=None,
        prior_stddevs=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            input_shape=input_shape,
            latent_dim=latent_dim,
            num_components=num_components,
            num_classes=num_classes,
            network=network,
            likelihood=likelihood,
            mixing=mixing,
            independence=independence,
            kl_weight=kl_weight,
            dirichlet_weight=dirichlet_weight,
            independence_weight=independence_weight,
            kl_reduction=kl_reduction,
            seed=seed,
            **kwargs,
        )
        self.prior_means = _numbers("prior_means", prior_means, num_components)
        self.prior_stddevs = _numbers("prior_stddevs", prior_stddevs, num_components)
        if prior_stddevs is not None and min(self.prior_stddevs) <= 0:
            raise ValueError(f"Expected prior_stddevs > 0, got {prior_stddevs}.")
        self.mix_decoder = self.make_mix_decoder(num_components)

    def prior_moments(self):
        def column(values, default):
            if values is None:
                return default
            return tf.constant(values, tf.float32)[:, tf.newaxis]

        return column(self.prior_means, 0.0), column(self.prior_stddevs, 1.0)

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        features = self.sub_decoder(z, y, noise=noise, training=training)
        images = self.mix_decoder(features, noise=noise, training=training)
        log_weights = tf.math.log(tf.maximum(weights, 1e-30))
        return self.likelihood.mix(self.likelihood.link(images), log_weights)

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        weights = latents["weights"]
        terms = LossTerms(
            per_example={
                "reconstruction": self.reconstruction_error(
                    x, latents, y, noise, training
                ),
                "kl": self.reduce_kl(posterior),
                "dirichlet_kl": self.mixing.kl(posterior["alpha"]),
            },
            per_batch={},
            diagnostics={
                "weight_entropy": -tf.reduce_sum(tf.math.xlogy(weights, weights), -1)
            },
        )
        return self.add_independence(terms, posterior, latents["z"])

    def _networks(self):
        return super()._networks() | {"mix_decoder": self.mix_decoder}

    def _pruned_config(self, kept):
        config = super()._pruned_config(kept)
        for key in ("prior_means", "prior_stddevs"):
            if config[key] is not None:
                config[key] = [config[key][i] for i in kept]
        return config


def _numbers(name, values, num):
    """`num` floats as a list; None stays None."""
    if values is None:
        return None
    if len(values) != num:
        raise ValueError(f"Expected {num} {name}, got {len(values)}.")
    return [float(value) for value in values]
