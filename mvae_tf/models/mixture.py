"""What MVAE and M-VAE share: K encoders, Dirichlet weights, and their inspection."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import gaussian, independence, mixing
from mvae_tf.parts.part import choice

__all__ = ["MixtureVAE", "SelectedComponents"]


class SelectedComponents(NamedTuple):
    """Number of components that the mask keeps (MVAE Sec V-G).

    Attributes:
        mean: average over images and draws of the number of m_i >= threshold.
        closed_form: its expectation, K P(m >= threshold).
    """

    mean: float
    closed_form: float


class MixtureVAE(BaseVAE):
    """K components with posteriors of their own and Dirichlet mixing weights.

    q(z, w given x) = Dir(w; alpha(x)) prod_i N(z_i; mean_i(x), stddev_i(x)^2), against
    p(z, w) = Dir(w; c) prod_i N(z_i; 0, I).

    Args:
        input_shape, latent_dim, num_components, num_classes, network, likelihood,
            seed: see `BaseVAE`.
        mixing: "dirichlet" or a configuration (`mvae_tf.mixing`).
        independence: "dhsic", "l2", "kl", "symmetric_kl", "js", None, or a
            configuration (`mvae_tf.independence`).
        kl_weight, dirichlet_weight, independence_weight: weights of the terms.
        kl_reduction: "mean" or "sum" of the Gaussian KLs over components in the
            objective. Eq 9, 18 and 24 print 1/K, Eq 30-31 do not. `elbo` always sums.
        mask_terms: dict from the name of the mask's term to its weight.
        mask_diagnostics: names of the mask's diagnostics.
        **kwargs: `name` and `dtype` of `keras.Model`.
    """

    def __init__(
        self,
        *,
        input_shape,
        latent_dim,
        num_components,
        num_classes,
        network,
        likelihood,
        mixing,
        independence,
        kl_weight,
        dirichlet_weight,
        independence_weight,
        kl_reduction,
        seed,
        mask_terms=None,
        mask_diagnostics=(),
        **kwargs,
    ):
        mixing, independence = _parts(mixing, independence)
        weights = {
            "reconstruction": 1.0,
            "kl": kl_weight,
            "dirichlet_kl": dirichlet_weight,
        }
        if independence is not None:
            weights[independence.term] = independence_weight
        super().__init__(
            input_shape=input_shape,
            latent_dim=latent_dim,
            num_components=num_components,
            num_classes=num_classes,
            network=network,
            likelihood=likelihood,
            term_weights=weights | (mask_terms or {}),
            diagnostics=("weight_entropy", *mask_diagnostics),
            seed=seed,
            **kwargs,
        )
        self.mixing = mixing
        self.independence = independence
        self.kl_weight = kl_weight
        self.dirichlet_weight = dirichlet_weight
        self.independence_weight = independence_weight
        self.kl_reduction = choice(kl_reduction, ("mean", "sum"), "kl_reduction")
        self.encoder = self.make_encoder(num_components, scores=True)
        self.sub_decoder = self.make_sub_decoder(num_components)

    # === Hooks of BaseVAE ===

    def prior_moments(self):
        """Mean and standard deviation of p(z_i), each broadcasting to `[K, Z]`."""
        return 0.0, 1.0

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, scores = self.encoder(x, y, noise=noise, training=training)
        alpha = self.mixing.parameters(scores)
        return {
            "mean": mean,
            "stddev": stddev,
            "weights": alpha / tf.reduce_sum(alpha, axis=-1, keepdims=True),
            "scores": scores,
            "alpha": alpha,
        }

    def draw(self, posterior, noise):
        log_weights = self.mixing.log_sample(posterior["alpha"], noise)
        return {
            "z": gaussian.draw(posterior, noise),
            "weights": tf.exp(log_weights),
            "log_weights": log_weights,
            "alpha": posterior["alpha"],
        }

    def draw_prior(self, like, noise):
        mean, stddev = self.prior_moments()
        z = mean + stddev * gaussian.draw_standard(like, self.latent_dim, noise)
        alpha = self.mixing.prior_parameters(like)
        return {"z": z, "weights": tf.exp(self.mixing.log_sample(alpha, noise))}

    def log_density_ratio(self, posterior, latents):
        ratios = gaussian.log_density_ratio(
            posterior, latents["z"], *self.prior_moments()
        )
        return tf.reduce_sum(ratios, axis=1) + self.mixing.log_density_ratio(
            latents["alpha"], latents["log_weights"]
        )

    def component_kl(self, posterior):
        """KL(q(z_i given x) || p(z_i)) in nats, `[B, K]`."""
        return divergences.gaussian_kl(
            posterior["mean"], posterior["stddev"], *self.prior_moments()
        )

    def kl_nats(self, posterior, latents):
        alpha = latents["alpha"]
        return tf.reduce_sum(self.component_kl(posterior), axis=1) + (
            divergences.dirichlet_kl(alpha, self.mixing.prior_parameters(alpha))
        )

    def add_independence(self, terms, posterior, z):
        """Adds the independence term of a batch to its `LossTerms`."""
        if self.independence is None:
            return terms
        if self.independence.per_batch:
            value = self.independence(posterior, self.gather_rows(z))
            terms.per_batch[self.independence.term] = value
        else:
            value = self.independence(posterior, z)
            terms.per_example[self.independence.term] = value
        return terms

    def reduce_kl(self, posterior):
        """Gaussian KL of the objective, `[B]`: mean or sum over components."""
        kl = self.component_kl(posterior)
        reduce = tf.reduce_mean if self.kl_reduction == "mean" else tf.reduce_sum
        return reduce(kl, axis=1)

    # === Inspection ===

    def sample_latents(self, x, y=None, seed=None):
        """Latents drawn from q(z given x), `[B, K, Z]`.

        Args:
            x: `[B, ...]` images.
            y: labels of a conditional model.
            seed: int; None is the model's own seed.
        """
        x, y = self._images(x, y)
        return self._in_chunks(self._draw_batch, x, y, self._fill_seed(len(x), seed))

    def _draw_batch(self, x, y, seed):
        noise = RowNoise(content_seeds(x, seed))
        return gaussian.draw(self.infer(x, y), noise)

    def dependence_matrix(self, x, y=None, seed=None, squared=False):
        """Pairwise dHSIC between the latents of the components (MVAE Fig 12).

        Args:
            x: `[B, ...]` images, at least 2.
            y: labels of a conditional model.
            seed: int; None is the model's own seed.
            squared: True returns the estimator without the square root.

        Returns:
            `[K, K]`; the diagonal is the value of a component with itself.
        """
        z = self.sample_latents(x, y, seed)
        if len(z) < 2:
            raise ValueError(f"Expected at least 2 images, got {len(z)}.")
        return divergences.pairwise_dhsic(z, squared=squared)

    def cross_reconstruct(self, x, permutation, component=None, y=None):
        """Reconstruction with sub-decoder i fed by encoder permutation[i] (Fig 3, 7).

        Args:
            x: `[B, ...]` images.
            permutation: K indices of encoders.
            component: index of the sub-decoder to use alone, or None for the mixture.
            y: labels of a conditional model.

        Returns:
            `[B, H, W, C]` in the pixel scale of the likelihood.
        """
        permutation = [int(i) for i in permutation]
        components = range(self.num_components)
        if len(permutation) != len(components) or any(
            i not in components for i in permutation
        ):
            raise ValueError(
                f"Expected {len(components)} indices in 0..{len(components) - 1}, got "
                f"{permutation}."
            )
        self._check_component(component)
        return self._in_chunks(
            self._cross_batch,
            *self._images(x, y),
            permutation=tuple(permutation),
            component=component,
        )

    def _cross_batch(self, x, y, permutation, component):
        posterior = self.infer(x, y)
        z = tf.gather(posterior["mean"], permutation, axis=1)
        weights = self._select(posterior["weights"], component)
        return self.decode_batch(z, weights, y)

    def mask_keep_probability(self, threshold=None):
        """P(m_i >= threshold) of the mask; 1 without a mask."""
        del threshold
        return 1.0

    def selected_components(self, x, threshold=None, num_draws=16, y=None):
        """Number of components that the mask keeps; K without a mask.

        Args:
            x: `[B, ...]` images.
            threshold: None is the mask's own.
            num_draws: masks drawn for each image.
            y: ignored labels.

        Returns:
            `SelectedComponents(mean, closed_form)`.
        """
        del x, num_draws, y
        kept = float(self.num_components * self.mask_keep_probability(threshold))
        return SelectedComponents(kept, kept)

    def prune(self, x, threshold=None, y=None):
        """A smaller model with the components that are used most.

        The mask's one dropout rate says how many components are kept, not which; usage,
        the expected mixing weight averaged over `x`, says which.

        Args:
            x: `[B, ...]` images that usage is measured on.
            y: their labels.
            threshold: keep the components whose usage is at least this. None keeps the
                most used ones, as many as the mask selects (at least 1).

        Returns:
            A model of the same class with fewer components, weights copied, so that
            each kept component reconstructs as before. Its attribute
            `kept_components` lists their former indices.
        """
        usage = np.mean(self.encode(x, y)["weights"], axis=0)
        if threshold is None:
            selected = self.selected_components(x, y=y).closed_form
            kept = np.argsort(-usage, kind="stable")[: max(1, round(selected))]
        else:
            kept = np.flatnonzero(usage >= threshold)
            if not len(kept):
                raise ValueError(
                    "Expected a threshold that keeps a component, got "
                    f"{threshold}: the greatest usage is {usage.max():g}."
                )
        return self._keep(sorted(int(i) for i in kept))

    def _keep(self, kept):
        pruned = type(self).from_config(self._pruned_config(kept))
        pruned.kept_components = tuple(kept)
        for name, layer in self._networks().items():
            pruned._networks()[name].copy_components(layer, kept)
        return pruned

    def _pruned_config(self, kept):
        return self.get_config() | {"num_components": len(kept)}

    def _networks(self):
        """Layers that hold weights of each component."""
        return {"encoder": self.encoder, "sub_decoder": self.sub_decoder}


def _parts(mixing_specification, independence_specification):
    return (
        mixing.get(mixing_specification),
        independence.get(independence_specification),
    )
