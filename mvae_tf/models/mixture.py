"""The parent of MVAE and M-VAE: K encoders and Dirichlet weights, and their inspection.

Equation and section numbers are those of Ye and Bors, "Deep Mixture Generative
Autoencoders" (TNNLS 2022).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw
from mvae_tf.models.registry import arguments
from mvae_tf.noise import Noise
from mvae_tf.parts import gaussian
from mvae_tf.parts import independence as independence_
from mvae_tf.parts import mixing as mixing_
from mvae_tf.parts.part import Part, choice, is_integer, like_default
from mvae_tf.parts.terms import Term

__all__ = [
    "checked_indices",
    "MixtureDraw",
    "MixturePosterior",
    "MixtureVAE",
    "SelectedComponents",
]


class SelectedComponents(NamedTuple):
    """The number of components that the mask keeps (Sec V-G).

    Attributes:
        mean: float, number of components with m_i >= threshold, averaged over images
            and draws of the mask.
        closed_form: float, the expected number, K P(m >= threshold).
    """

    mean: float
    closed_form: float


class MixturePosterior(NamedTuple):
    """q(z, w | x): a diagonal Gaussian per component, and Dirichlet weights.

    Attributes:
        mean: `[B, K, Z]`.
        stddev: `[B, K, Z]`, positive.
        weights: `[B, K]`, the expected mixing weights alpha / sum(alpha).
        scores: `[B, K]`, positive outputs of the encoder, from which alpha is computed.
        alpha: `[B, K]`, concentration of the Dirichlet distribution.
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor
    scores: tf.Tensor
    alpha: tf.Tensor


class MixtureDraw(NamedTuple):
    """Latents drawn from q(z, w | x), and the mask where there is one.

    Attributes:
        z: `[B, K, Z]`.
        weights: `[B, K]`, the weights that components are mixed by: w, or b of Eq 16.
        log_weights: `[B, K]`, log w.
        alpha: `[B, K]`, the concentration that w was drawn with.
        log_mask: `[B, K]`, log m; None in a model without masks.
    """

    z: tf.Tensor
    weights: tf.Tensor
    log_weights: tf.Tensor
    alpha: tf.Tensor
    log_mask: tf.Tensor | None = None


class MixtureVAE(BaseVAE):
    """VAE of K components, which have posteriors of their own and Dirichlet weights.

    The posterior is q(z, w | x) = Dir(w; alpha(x)) prod_i N(z_i; mean_i(x),
    stddev_i(x)^2), the prior p(z, w) = Dir(w; c) prod_i N(z_i; 0, I).

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        mixing: name or configuration of the mixing weights (`mvae_tf.mixing`).
        independence: "dhsic", "l2", "kl", "symmetric_kl", "js", None for no such term,
            or a configuration (`mvae_tf.independence`).
        kl_weight: float, weight of the Gaussian KL; 1 in the paper, less in many of the
            authors' scripts.
        dirichlet_weight: float, weight of the KL of the mixing weights.
        independence_weight: float, beta, weight of the independence term.
        kl_reduction: "mean" (Eq 18, 24) or "sum" (Eq 30-31) of the Gaussian KLs of the
            components in the objective. `elbo` always has the sum.
        terms: dict of the terms that a subclass adds to the objective.
    """

    fixed = ("terms",)

    def __init__(
        self,
        *args: Any,
        mixing: str | dict | Part = "dirichlet",
        independence: str | dict | Part | None = "dhsic",
        kl_weight: float = 1.0,
        dirichlet_weight: float = 1.0,
        independence_weight: float = 1.0,
        kl_reduction: str = "mean",
        terms: Mapping[str, Term] | None = None,
        **kwargs: Any,
    ):
        independence = independence_.get(independence)
        declared = {
            "reconstruction": Term(),
            "kl": Term(kl_weight, warmup=True),
            "dirichlet_kl": Term(dirichlet_weight, warmup=True),
            **independence.declare(independence_weight),
            "weight_entropy": Term(weight=None),
        }
        super().__init__(*args, terms=declared | dict(terms or {}), **kwargs)
        self.mixing = mixing_.get(mixing)
        self.independence = independence
        self.kl_weight = kl_weight
        self.dirichlet_weight = dirichlet_weight
        self.independence_weight = independence_weight
        self.kl_reduction = choice(kl_reduction, ("mean", "sum"), "kl_reduction")
        self.has_components = self.num_components > 1
        self.encoder = self.make_encoder(self.num_components, scores=True)
        self.sub_decoder = self.make_sub_decoder(self.num_components)

    # === Hooks of BaseVAE ===

    def prior_moments(self) -> tuple[Any, Any]:
        """Return mean and stddev of p(z_i), each a number or a tensor `[K, 1]`."""
        return 0.0, 1.0

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, scores = self.encoder(x, y, noise=noise, training=training)
        alpha = self.mixing.parameters(scores)
        weights = alpha / tf.reduce_sum(alpha, axis=-1, keepdims=True)
        return MixturePosterior(mean, stddev, weights, scores, alpha)

    def draw(self, posterior, noise):
        return self.draw_unmasked(posterior, posterior.alpha, noise)

    def draw_unmasked(self, posterior, alpha: tf.Tensor, noise: Noise):
        """Draw z from the posterior and w from Dir(alpha), with alpha `[B, K]`."""
        log_weights = self.mixing.log_sample(alpha, noise)
        z = noise.normal("z", posterior.mean, posterior.stddev)
        return MixtureDraw(z, tf.exp(log_weights), log_weights, alpha)

    def draw_prior(self, like, noise):
        mean, stddev = self.prior_moments()
        z = mean + stddev * gaussian.draw_standard(like, self.latent_dim, noise)
        alpha = self.mixing.prior_parameters(like)
        return Draw(z, weights=tf.exp(self.mixing.log_sample(alpha, noise)))

    def log_density_ratio(self, posterior, latents):
        ratios = gaussian.log_density_ratio(
            posterior.mean, posterior.stddev, latents.z, *self.prior_moments()
        )
        return tf.reduce_sum(ratios, axis=1) + self.mixing.log_density_ratio(
            latents.alpha, latents.log_weights
        )

    def kl_nats(self, posterior, latents):
        alpha = latents.alpha
        return tf.reduce_sum(self.component_kl(posterior), axis=1) + (
            divergences.dirichlet_kl(alpha, self.mixing.prior_parameters(alpha))
        )

    # === Terms of the objective ===

    def component_kl(self, posterior) -> tf.Tensor:
        """Compute KL(q(z_i | x) || p(z_i)) in nats, `[B, K]`."""
        return divergences.gaussian_kl(
            posterior.mean, posterior.stddev, *self.prior_moments()
        )

    def reduce_components(self, values: tf.Tensor) -> tf.Tensor:
        """Average or sum `[B, K]` over components, depending on `kl_reduction`."""
        reduce = tf.reduce_mean if self.kl_reduction == "mean" else tf.reduce_sum
        return reduce(values, axis=1)

    def weight_entropy(self, latents) -> tf.Tensor:
        """Compute the entropy of the drawn weights in nats, `[B]`, to be logged."""
        weights = latents.weights
        return -tf.reduce_sum(tf.math.xlogy(weights, weights), -1)

    # === Inspection ===

    def sample_latents(
        self, x: ArrayLike, y: ArrayLike | None = None, seed: int | None = None
    ) -> tf.Tensor:
        """Draw latents z from q(z | x), `[B, K, Z]`.

        Arguments are those of `sample_posterior`, which returns the weights, too.
        """
        return self.sample_posterior(x, y, seed).z

    def dependence_matrix(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        seed: int | None = None,
        squared: bool = False,
    ) -> tf.Tensor:
        """Compute pairwise dHSIC between the latents of the components (Fig 12).

        Args:
            x: `[B, ...]` images, at least 2.
            y: `[B]` labels of a conditional model.
            seed: int that decides the draw; None for the seed of the model.
            squared: bool, whether to return the estimator of the paper's equations
                rather than its square root.

        Returns:
            `[K, K]`, without unit; the diagonal has the dHSIC of each component with
            itself.

        Raises:
            ValueError: there are fewer than 2 images.
        """
        z = self.sample_latents(x, y, seed)
        if len(z) < 2:
            raise ValueError(f"Expected at least 2 images, got {len(z)}.")
        return divergences.pairwise_dhsic(z, squared=squared)

    def cross_reconstruct(
        self,
        x: ArrayLike,
        permutation: Sequence[int],
        component: int | None = None,
        y: ArrayLike | None = None,
    ) -> tf.Tensor:
        """Reconstruct images with the latents of other components (Fig 3, 7).

        Args:
            x: `[B, ...]` images.
            permutation: K indices; sub-decoder i gets the latent of encoder
                `permutation[i]`.
            component: int, index of the sub-decoder to use alone; None for the mixture.
            y: `[B]` labels of a conditional model.

        Returns:
            `[B, H, W, C]` in the pixel scale of the likelihood.

        Raises:
            ValueError: on indices that are not those of components.
        """
        permutation = checked_indices("permutation", permutation, self.num_components)
        component = self._checked_component(component)
        return self._in_chunks(
            self._cross_batch,
            *self.input_checks.pair(x, y),
            permutation=tuple(permutation),
            component=component,
        )

    def _cross_batch(self, x, y, permutation, component):
        posterior = self.infer(x, y)
        z = tf.gather(posterior.mean, permutation, axis=1)
        weights = self._select(posterior.weights, component)
        return self.decode_batch(z, weights, y)

    def selected_components(
        self,
        x: ArrayLike,
        threshold: float | None = None,
        num_draws: int = 16,
        y: ArrayLike | None = None,
    ) -> SelectedComponents:
        """Count the components that the mask keeps; without a mask, all K of them.

        Args:
            x: `[B, ...]` images.
            threshold: float in (0, 1); a component counts as kept where the mask is at
                least this. None is the threshold of the mask.
            num_draws: int, number of masks to draw for each image.
            y: `[B]` labels, which are ignored.
        """
        del x, threshold, num_draws, y
        kept = float(self.num_components)
        return SelectedComponents(kept, kept)

    def prune(
        self,
        x: ArrayLike,
        threshold: float | None = None,
        y: ArrayLike | None = None,
    ) -> "MixtureVAE":
        """Make a smaller model of the components that are used most.

        The dropout rate of the mask says how many components are kept. Which ones they
        are depends on their usage, the expected mixing weight averaged over images.

        Args:
            x: `[B, ...]` images to measure the usage on.
            threshold: float; keep the components whose usage is at least this. None
                keeps the most used components, as many as the mask selects, but at
                least 1.
            y: `[B]` labels of a conditional model.

        Returns:
            A model of the same class with fewer components and copies of their weights,
            so that each kept component reconstructs as before. Its attribute
            `kept_components` lists their former indices.

        Raises:
            ValueError: no component has a usage of `threshold` or more, or the class
                fixes the number of components.
        """
        if "num_components" not in arguments(type(self)):  # type: ignore[arg-type]
            raise ValueError(
                "Expected a model that is created with any number of components, got "
                f"{type(self).__name__}, which fixes it."
            )
        self.input_checks.check(x, y)
        if threshold is not None and not 0 <= like_default("threshold", threshold, 0.0):
            raise ValueError(f"Expected threshold >= 0, got {threshold}.")
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
        """Return a dict of the layers that have weights for each component."""
        return {"encoder": self.encoder, "sub_decoder": self.sub_decoder}


def checked_indices(name: str, values: Sequence[int], num: int) -> list[int]:
    """Return `num` indices of components as a list of ints.

    Args:
        name: str, name of the argument, for the message of the error.
        values: list of ints, the argument.
        num: int, number of components.

    Raises:
        ValueError: there are more or fewer, or others.
    """
    found = [*values] if isinstance(values, Iterable) else []
    if len(found) != num or not all(is_integer(i) and 0 <= i < num for i in found):
        raise ValueError(
            f"Expected {name} as {num} indices in 0..{num - 1}, got {values!r}."
        )
    return [int(i) for i in found]
