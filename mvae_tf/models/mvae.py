"""MVAE: a mixture of encoders and sub-decoders that share one mix-decoder.

Ye and Bors, "Deep Mixture Generative Autoencoders", IEEE Transactions on Neural
Networks and Learning Systems, 2022. Equation numbers are the paper's.
"""

import keras
import tensorflow as tf

from mvae_tf.models.base import LossTerms
from mvae_tf.models.mixture import MixtureVAE, SelectedComponents
from mvae_tf.models.registry import register
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import masks

__all__ = ["MVAE"]


@register("mvae")
class MVAE(MixtureVAE):
    """Mixture VAE with dropout of components: MVAE-GS, MVAE-Gau or fixed K.

    z_i ~ N(mean_i(x), stddev_i(x)^2), w ~ Dir(alpha(x)), m a random mask, and

        b_i = m_i w_i / sum_j m_j w_j                                     (Eq 16)
        x'  = MixDecoder(sum_i b_i SubDecoder_i(z_i))

    The objective (Eq 18 for MVAE-Gau, Eq 24 for MVAE-GS) is

        reconstruction + dirichlet_kl + (1/K) sum_i kl_i + beta dHSIC + mask.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z, size of each component's latent.
        num_components: K, the number of components to start from.
        mask: "gumbel" (MVAE-GS), "gaussian" (MVAE-Gau), None (fixed K), or a
            configuration (`mvae_tf.masks`).
        num_classes: number of labels that condition encoders and sub-decoders
            (Sec V-C), or None.
        network: "mlp", "conv" or a configuration (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z) (`mvae_tf.likelihoods`).
        mixing: "dirichlet" or a configuration (`mvae_tf.mixing`).
        independence: "dhsic", "l2", "kl", "symmetric_kl", "js", None, or a
            configuration (`mvae_tf.independence`).
        kl_weight: weight of the Gaussian KL; 1 in the paper, less in many of the
            authors' scripts.
        dirichlet_weight: weight of the KL of the mixing weights.
        independence_weight: beta, weight of the independence term.
        kl_reduction: "mean" (Eq 18, 24) or "sum" (Eq 30-31) over components.
        latent_sources: list of K indices: sub-decoder i reads the latent of encoder
            `latent_sources[i]`. None is the identity, as in the paper; the authors'
            MNIST script of MVAE-Gau with K = 6 has `[0, 1, 2, 3, 3, 3]`.
        seed: int that decides initial weights and all noise.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> mvae = mvae_tf.models.MVAE(input_shape=(8, 8, 1), num_components=3)
        >>> mvae.generate(2, component=1, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        input_shape=(28, 28, 1),
        latent_dim=50,
        num_components=6,
        mask="gumbel",
        num_classes=None,
        network="mlp",
        likelihood="bernoulli",
        mixing="dirichlet",
        independence="dhsic",
        kl_weight=1.0,
        dirichlet_weight=1.0,
        independence_weight=1.0,
        kl_reduction="mean",
        latent_sources=None,
        seed=0,
        **kwargs,
    ):
        mask = masks.get(mask)
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
            mask_terms={} if mask is None else {"mask": 1.0},
            mask_diagnostics=()
            if mask is None
            else ("dropout_rate", "selected_components"),
            seed=seed,
            **kwargs,
        )
        self.mask = mask
        self.latent_sources = _sources(latent_sources, num_components)
        if mask is not None:
            self.mask_strength = self.add_weight(
                name="mask_strength",
                shape=(),
                initializer=keras.initializers.Constant(mask.initial),
                dtype="float32",
            )
        self.mix_decoder = self.make_mix_decoder()

    def dropout_rate(self):
        """Dropout rate p of the components, a float; None without a mask."""
        if self.mask is None:
            return None
        return float(self.mask.dropout_rate(tf.convert_to_tensor(self.mask_strength)))

    def draw(self, posterior, noise, masked=True):
        """Draws z, w and m, and forms b; `masked=False` leaves the mask out."""
        if self.mask is None or not masked:
            return super().draw(posterior, noise)
        log_mask = self._draw_log_mask(posterior["weights"], noise)
        if self.mask.placement == "concentration":
            alpha = self.mixing.parameters(posterior["scores"], log_mask)
            latents = super().draw(posterior | {"alpha": alpha}, noise)
        else:
            latents = super().draw(posterior, noise)
            latents["weights"] = self._masked(latents["log_weights"], log_mask)
        return latents | {"log_mask": log_mask}

    def draw_proposal(self, posterior, noise):
        # A masked concentration rarely proposes the weights that the prior draws, and
        # masks the posterior alone: p(x) has no mask then.
        masked = self.mask is not None and self.mask.placement == "weights"
        return self.draw(posterior, noise, masked=masked)

    def draw_prior(self, like, noise):
        latents = super().draw_prior(like, noise)
        if self.mask is None or self.mask.placement == "concentration":
            return latents
        log_mask = self._draw_log_mask(like, noise)
        log_weights = tf.math.log(tf.maximum(latents["weights"], 1e-30))
        return latents | {"weights": self._masked(log_weights, log_mask)}

    def _draw_log_mask(self, like, noise):
        strength = tf.convert_to_tensor(self.mask_strength)
        return self.mask.log_sample(strength, like, noise)

    def _masked(self, log_weights, log_mask):
        """B of Eq 16, `[B, K]`; without renormalisation b_i = m_i w_i."""
        log_product = log_weights + log_mask
        if self.mask.renormalize:
            return tf.nn.softmax(log_product)
        return tf.exp(log_product)

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        if self.latent_sources is not None:
            z = tf.gather(z, self.latent_sources, axis=1)
        features = self.sub_decoder(z, y, noise=noise, training=training)
        shape = tf.concat([tf.shape(features)[:2], [1] * (features.shape.rank - 2)], 0)
        weights = tf.reshape(tf.transpose(weights), shape)
        mixed = tf.reduce_sum(tf.cast(weights, features.dtype) * features, axis=0)
        mixed = self.mix_decoder(mixed, noise=noise, training=training)
        return self.likelihood.link(mixed)

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        # The authors' clipped KL is taken at the masked concentration.
        clipped = self.mixing.kl_form == "clipped"
        alpha = latents["alpha"] if clipped else posterior["alpha"]
        weights = latents["weights"]
        terms = LossTerms(
            per_example={
                "reconstruction": self.reconstruction_error(
                    x, latents, y, noise, training
                ),
                "kl": self.reduce_kl(posterior),
                "dirichlet_kl": self.mixing.kl(alpha),
            },
            per_batch={},
            diagnostics={
                "weight_entropy": -tf.reduce_sum(tf.math.xlogy(weights, weights), -1)
            },
        )
        if self.mask is not None:
            strength = tf.convert_to_tensor(self.mask_strength)
            kept = latents["log_mask"] >= tf.math.log(self.mask.threshold)
            terms.per_batch["mask"] = self.mask.regularizer(strength)
            terms.diagnostics["dropout_rate"] = self.mask.dropout_rate(strength)
            terms.diagnostics["selected_components"] = tf.reduce_sum(
                tf.cast(kept, tf.float32), axis=1
            )
        return self.add_independence(terms, posterior, latents["z"])

    def mask_keep_probability(self, threshold=None):
        if self.mask is None:
            return 1.0
        threshold = self._mask_threshold(threshold)
        strength = tf.convert_to_tensor(self.mask_strength)
        return float(self.mask.keep_probability(strength, threshold))

    def _mask_threshold(self, threshold):
        if threshold is None:
            return self.mask.threshold
        return self.mask.check_threshold(threshold)

    def selected_components(self, x, threshold=None, num_draws=16, y=None):
        closed_form = super().selected_components(x, threshold).closed_form
        if self.mask is None:
            return SelectedComponents(closed_form, closed_form)
        if num_draws < 1:
            raise ValueError(f"Expected num_draws >= 1, got {num_draws}.")
        threshold = self._mask_threshold(threshold)
        x = self._checked_images(x)
        counts = self._in_chunks(
            self._count_batch, x, threshold=threshold, num_draws=num_draws
        )
        return SelectedComponents(float(tf.reduce_mean(counts)), closed_form)

    def _count_batch(self, x, threshold, num_draws):
        noise = RowNoise(content_seeds(x, self.seed), num_draws)
        like = tf.zeros([tf.shape(x)[0] * num_draws, self.num_components])
        log_mask = self._draw_log_mask(like, noise)
        kept = tf.cast(log_mask >= tf.math.log(threshold), tf.float32)
        return tf.reduce_sum(kept, axis=1)

    def _keep(self, kept):
        if self.latent_sources is not None:
            # A kept sub-decoder needs the component whose encoder it reads, and so on.
            found = set()
            while found != set(kept):
                found = set(kept)
                kept = sorted(found | {self.latent_sources[i] for i in kept})
        pruned = super()._keep(kept)
        pruned.mix_decoder.set_weights(self.mix_decoder.get_weights())
        if self.mask is not None:
            pruned.mask_strength.assign(self.mask_strength)
        return pruned

    def _pruned_config(self, kept):
        config = super()._pruned_config(kept)
        if self.latent_sources is not None:
            sources = [kept.index(self.latent_sources[i]) for i in kept]
            config["latent_sources"] = sources
        return config


def _sources(sources, num):
    """The indices as a list of ints; None stays None."""
    if sources is None:
        return None
    given = list(sources)
    if len(given) != num or any(
        isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < num for i in given
    ):
        raise ValueError(
            f"Expected latent_sources as {num} indices in 0..{num - 1}, got {sources}."
        )
    return given
