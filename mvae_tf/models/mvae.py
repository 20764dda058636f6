"""MVAE: a mixture of encoders and sub-decoders that share one mix-decoder.

Ye and Bors, "Deep Mixture Generative Autoencoders", IEEE Transactions on Neural
Networks and Learning Systems, 2022. Equation numbers are the paper's.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mvae_tf.models.mixture import (
    MixtureVAE,
    SelectedComponents,
    checked_indices,
)
from mvae_tf.models.registry import register
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import masks
from mvae_tf.parts.likelihoods import component_axis
from mvae_tf.parts.part import check_count

__all__ = ["MVAE"]


@register("mvae")
class MVAE(MixtureVAE):
    """Mixture VAE with dropout of components: MVAE-GS, MVAE-Gau, or a fixed K.

    With one random mask m_i for each component, an image is reconstructed by

        z_i ~ N(mean_i(x), stddev_i(x)^2)                                (Eq 25)
        w   ~ Dir(alpha(x)), alpha from the K encoders                (Eq 3, 26)
        b_i = m_i w_i / sum_j m_j w_j                                    (Eq 16)
        s   = sum_i b_i SubDecoder_i(z_i)                             (Eq 4, 17)
        x'  = MixDecoder(s).                                              (Eq 6)

    The objective to minimise (Eq 18 for MVAE-Gau, Eq 24 for MVAE-GS) is the sum of

        reconstruction   -log p(x | s)
        dirichlet_kl     KL(Dir(alpha(x)) || Dir(c))                     (Eq 28)
        kl               (1/K) sum_i KL(q(z_i | x) || N(0, I))           (Eq 27)
        dhsic            dHSIC(z_1, ..., z_K), with the weight beta   (Eq 13-15)
        mask             KL(q(m) || p(m)) of MVAE-Gau                    (Eq 19)
                         or -H(p) of MVAE-GS, p the dropout rate         (Eq 23)

    Args:
        *args, **kwargs: arguments of `MixtureVAE` and `BaseVAE`; labels, if there are
            any, condition encoders and sub-decoders (Sec V-C).
        num_components: int, K, the number of components to start from.
        mask: "gumbel" (MVAE-GS), "gaussian" (MVAE-Gau), None (fixed K), or a
            configuration (`mvae_tf.masks`).
        latent_sources: list of K ints: sub-decoder i gets the latent of encoder
            `latent_sources[i]`. None is encoder i, as in the paper; the authors' MNIST
            script of MVAE-Gau with K = 6 has `[0, 1, 2, 3, 3, 3]`.

    Attributes:
        mask_strength: scalar trainable variable, `theta` of the mask; the dropout rate
            of the paper is p = sigmoid(theta).

    Example:
        >>> import mvae_tf
        >>> mvae = mvae_tf.models.MVAE(input_shape=(8, 8, 1), num_components=3)
        >>> mvae.generate(2, component=1, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        num_components: int = 6,
        mask: str | dict | masks.Mask | None = "gumbel",
        latent_sources: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        mask = masks.get(mask)
        terms = mask.declare() | kwargs.pop("terms", {})
        super().__init__(*args, num_components=num_components, terms=terms, **kwargs)
        self.mask = mask
        self.normalized_weights = mask.renormalize
        self.latent_sources = _sources(latent_sources, self.num_components)
        self.mask_strength = mask.make_strength(self)
        self.mix_decoder = self.make_mix_decoder()

    # === Sampling ===

    def draw(self, posterior, noise, masked=True):
        """Draw m, z and w, and compute b; `masked=False` leaves the mask out."""
        mask = self.mask if masked else masks.NoMask()
        log_m = mask.log_sample(self._theta(), posterior.weights, noise)  # (22)
        alpha = mask.concentration(self.mixing, posterior, log_m)
        latents = self.draw_unmasked(posterior, alpha, noise)  # z (25) and w (26)
        b = mask.weigh(latents.log_weights, log_m)  # (16)
        return latents._replace(weights=b, log_mask=log_m)

    def draw_prior(self, like, noise):
        latents = super().draw_prior(like, noise)
        b = self.mask.mask_prior(self.mask_strength, latents.weights, noise)  # (16)
        return latents._replace(weights=b)

    def draw_proposal(self, posterior, noise):
        # A mask on the concentration changes the posterior and not the prior, so that
        # masked draws would rarely have weights that are probable under the prior.
        return self.draw(posterior, noise, masked=self.mask.placement == "weights")

    # === Decoder ===

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        if self.latent_sources is not None:
            z = tf.gather(z, self.latent_sources, axis=1)
        s_i = self.sub_decoder(z, y, noise=noise, training=training)
        b = tf.cast(component_axis(weights, s_i), s_i.dtype)
        s = tf.reduce_sum(b * s_i, axis=0)  # (4, 17)
        outputs = self.mix_decoder(s, noise=noise, training=training)  # (6)
        return self.likelihood.link(outputs)

    # === Objective (18, 24) ===

    def loss_terms(self, x, y, noise, training):
        q = self.infer(x, y, noise, training)
        draw = self.draw(q, noise)
        return {
            "reconstruction": self.reconstruction_error(x, draw, y, noise, training),
            "kl": self.reduce_components(self.component_kl(q)),  # (27)
            "dirichlet_kl": self.mixing.kl(q.alpha, draw.alpha),  # (28)
            "weight_entropy": self.weight_entropy(draw),  # logged only
            **self.mask.terms(self.mask_strength, draw.log_mask),  # (19) or (23)
            **self.independence.terms(q, draw.z, self.gather_rows),  # (13-15)
        }

    # === Inspection ===

    def _theta(self):
        return tf.convert_to_tensor(self.mask_strength)

    def dropout_rate(self) -> float | None:
        """Return the dropout rate p of the components, or None without a mask."""
        rate = self.mask.dropout_rate(self._theta())
        return None if rate is None else float(rate)

    def selected_components(self, x, threshold=None, num_draws=16, y=None):
        check_count("num_draws", num_draws)
        kept = float(self.mask.keep_probability(self._theta(), threshold))
        self.input_checks.check(x, with_labels=False)
        counts = self._in_chunks(
            self._count_batch,
            self.input_checks.images(x),
            threshold=threshold,
            num_draws=num_draws,
        )
        mean = float(tf.reduce_mean(counts))
        return SelectedComponents(mean, self.num_components * kept)

    def _count_batch(self, x, threshold, num_draws):
        noise = RowNoise(content_seeds(x, self.seed), num_draws)
        like = tf.zeros([tf.shape(x)[0] * num_draws, self.num_components])
        log_mask = self.mask.log_sample(self._theta(), like, noise)
        return self.mask.num_kept(log_mask, threshold)

    def _keep(self, kept):
        if self.latent_sources is not None:
            # A kept sub-decoder needs the encoder whose latent it gets. The component
            # of this encoder is kept, too, and its sub-decoder may need another one.
            found = set()
            while found != set(kept):
                found = set(kept)
                kept = sorted(found | {self.latent_sources[i] for i in kept})
        pruned = super()._keep(kept)
        pruned.mix_decoder.set_weights(self.mix_decoder.get_weights())
        self.mask.copy_strength(self.mask_strength, pruned.mask_strength)
        return pruned

    def _pruned_config(self, kept):
        config = super()._pruned_config(kept)
        if self.latent_sources is not None:
            sources = [kept.index(self.latent_sources[i]) for i in kept]
            config["latent_sources"] = sources
        return config


def _sources(sources, num):
    """Return `latent_sources` as a list of ints after checking; None stays None."""
    if sources is None:
        return None
    return checked_indices("latent_sources", sources, num)
