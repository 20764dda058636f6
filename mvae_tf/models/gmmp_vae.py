"""GMMpVAE: a VAE whose posterior and prior are mixtures of Gaussians.

Guo et al., "Variational autoencoder with optimizing Gaussian mixture model priors"
(IEEE Access 2020). Equation numbers are the paper's. As in the paper, M is the number
of components, `num_components`, and K the number of pseudo-inputs.

The library departs from the paper in two points:

- The default objective does not have the paper's bound of the KL (Eq 22), because with
  it K has no effect. Eq 22 is an average over the K pseudo-inputs, and one and the same
  pseudo-posterior minimises each of its terms, so that the best prior has K equal ones.
  An example is data whose posteriors are N(-3, 1) and N(3, 1). For two
  pseudo-posteriors that equal them, Eq 22 gives 9 nats, although the KL to their
  mixture is at most log 2; for a single broad one between them, it gives 1.15 nats. The
  paper's tables cannot come from Eq 22, because one trained Gaussian is no better a
  prior than N(0, I).
- The numbers that the paper reports for M >= 2 are not used as targets. For one
  decoder, one prior and one image, the bound of a mixture of M posteriors exceeds that
  of the best of them by at most log M nats (0.69 and 1.10 for M = 2 and 3), the entropy
  that mixing can add. The paper reports gains of 6.8 to 12.7 nats over M = 1. A trained
  model with M = 3 may gain more than log M over another one with M = 1, because three
  separate encoders approximate the posterior better and give the prior K M Gaussians.
  But with equal weights the bound of Eq 23 is the average over k and m of the bounds of
  VAEs with one Gaussian posterior, one Gaussian prior and the same decoder, so it
  cannot exceed that of the best such VAE for any K and M. `audit` compares a model with
  each of its own components.
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.models.registry import register
from mvae_tf.noise import Noise, RowNoise, content_seeds
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.mixing import safe_log
from mvae_tf.parts.networks.pixel import PartialImages
from mvae_tf.parts.part import Part, choice, number_list
from mvae_tf.parts.terms import Term

__all__ = ["GMMpVAE"]

_NETWORK = {"name": "gated_mlp", "initializer": "he"}
_BOUNDS = ("paper_avg", "soft_k", "min_k", "lse_component", "variational")


@register("gmmp_vae")
class GMMpVAE(BaseVAE):
    """VAE with mixtures of Gaussians: M in the posterior, K M in the prior.

    The model consists of

        q(z | x) = sum_m pi_m N(z; mean_m(x), stddev_m(x)^2), pi fixed   (Eq 14)
        p(z)     = (1/K) sum_k q(z | a_k), pseudo-inputs a_k trained (Eq 15, 17)

    and one decoder of p(x | z). The objective to minimise (Eq 23) is the sum of

        reconstruction   sum_m pi_m E[-log p(x | z_m)] with z_m drawn from component m
        kl               U(x), an upper bound of KL(q(z | x) || p(z)), or an unbiased
                         estimate of it; `kl_form` chooses which

    The U of the paper is "paper_avg" (Eq 22); the docstring of the module says why it
    is not the default. `elbo` and `log_likelihood` use the estimate, whatever the
    objective uses.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        num_components: int, M, number of components.
        num_pseudo_inputs: int, K, number of pseudo-inputs.
        latent_dim: int, Z, size of the latent.
        component_weights: M positive floats pi that sum to 1; None for 1/M each.
        kl_form: str, name of a bound of `mvae_tf.divergences.mixture_kl_bound` for U
            (with greedy matching, Eq 13), or "mc" for the unbiased estimate sum_m pi_m
            (log q(z_m | x) - log p(z_m)).
        prior: "vamp", or "standard" for p(z) = N(0, I). With the latter U is
            sum_m pi_m KL(q_m || p), whatever the bound; with M = 1 this is the VAE of
            Tables 2 to 4.
        network: name or configuration of the networks.
        pseudo_mean, pseudo_stddev: floats, mean and standard deviation of the initial
            pixels of pseudo-inputs (see `VampVAE`).

    Example:
        >>> import mvae_tf
        >>> gmmp_vae = mvae_tf.models.GMMpVAE((8, 8, 1), num_pseudo_inputs=10)
        >>> gmmp_vae.generate(3, component=1, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    reads_pixels = True
    fixed = ("num_classes",)

    def __init__(
        self,
        *args: Any,
        num_components: int = 2,
        num_pseudo_inputs: int = 500,
        latent_dim: int = 40,
        component_weights: Sequence[float] | None = None,
        kl_form: str = "soft_k",
        prior: str = "vamp",
        network: str | dict | Part = _NETWORK,
        pseudo_mean: float = 0.05,
        pseudo_stddev: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            num_components=num_components,
            latent_dim=latent_dim,
            num_classes=None,
            network=network,
            terms={"reconstruction": Term(), "kl": Term(warmup=True)}
            | kwargs.pop("terms", {}),
            **kwargs,
        )
        self.num_pseudo_inputs = num_pseudo_inputs
        self.component_weights = _checked_weights(component_weights, num_components)
        self.kl_form = choice(kl_form, (*_BOUNDS, "mc"), "kl_form")
        self.pseudo_mean = pseudo_mean
        self.pseudo_stddev = pseudo_stddev

        self.encoder = self.make_encoder(num_components)
        self.sub_decoder = self.make_sub_decoder(num_components=1)
        self.mix_decoder = self.make_mix_decoder()
        self.prior: priors.StandardNormal | priors.VampPrior
        if choice(prior, ("vamp", "standard"), "prior") == "vamp":
            self.prior = priors.VampPrior.of(self)
        else:
            self.prior = priors.StandardNormal(latent_dim)

    @property
    def latent_prior(self) -> priors.Prior:
        """The prior under the name that its variables have in `.keras` files."""
        return self.prior

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, among them the name of the prior."""
        standard = isinstance(self.prior, priors.StandardNormal)
        return super().get_config() | {"prior": "standard" if standard else "vamp"}

    def mixing_weights(self) -> tf.Tensor:
        """Return the fixed weights pi of the components, `[M]`."""
        num = self.num_components
        return tf.constant(self.component_weights or [1.0 / num] * num, tf.float32)

    def encode_pseudo_inputs(self, images: tf.Tensor):
        """Compute mean and stddev `[K, M, Z]` and weights `[M]` of q(z | a_k)."""
        posterior = self.infer(images)
        return posterior.mean, posterior.stddev, self.mixing_weights()

    # === Posterior q(z | x) (14) and prior p(z) (15, 17) ===

    def infer(self, x, y=None, noise=None, training=False):
        mean, stddev, _ = self.encoder(x, noise=noise, training=training)
        weights = tf.ones_like(mean[..., 0]) * self.mixing_weights()
        return Posterior(mean, stddev, weights)

    def draw_prior(self, like, noise):
        """Draw z_m from each Gaussian of a random pseudo-input, and which m counts."""
        rows = like[:, 0]
        chosen = priors.draw_index("component", self.mixing_weights(), rows, noise)
        if isinstance(self.prior, priors.StandardNormal):
            z = gaussian.draw_standard(like, self.latent_dim, noise)
        else:
            z = self.prior.sample_mixture(rows, noise)
        return Draw(z, weights=tf.one_hot(chosen, self.num_components))

    # === Decoder ===

    def component_outputs(self, z, noise=None, training=False, x=None):
        """Compute the outputs `[M, B, ...]` of the likelihood from each z_m."""
        num, latent_dim = z.shape[1:]
        # All components share one decoder, which decodes their latents as one batch.
        z = tf.reshape(tf.transpose(z, [1, 0, 2]), [-1, 1, latent_dim])
        noise = None if noise is None else _Unfolded(noise, num)
        x = _repeat(x, num) if self.network.autoregressive else None
        outputs = self.decode_one(z, None, noise, training, x)
        return tf.reshape(outputs, [num, -1, *outputs.shape[1:]])

    def decode_outputs(self, z, weights, y=None, noise=None, training=False, x=None):
        outputs = self.component_outputs(z, noise, training, x)
        return self.likelihood.mix(outputs, safe_log(weights))

    def component_log_probs(self, x, z, noise=None, training=False):
        """Compute log p(x | z_m) in nats, `[B, M]`."""
        outputs = self.component_outputs(z, noise, training, x)
        num, shape = outputs.shape[0], outputs.shape[2:]
        log_probs = self.likelihood.log_prob(
            _repeat(x, num), tf.reshape(outputs, [-1, *shape])
        )
        return tf.transpose(tf.reshape(log_probs, [num, -1]))

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        log_probs = self.component_log_probs(x, latents.z, noise, training)
        return tf.reduce_sum(latents.weights * log_probs, axis=1)

    # === Objective (23) ===

    def loss_terms(self, x, y, noise, training):
        q = self.infer(x, y, noise, training)
        draw = self.draw(q, noise)
        if self.kl_form == "mc":
            kl = self.kl_nats(q, draw)
        else:
            kl = self.kl_upper_bound(q, self.kl_form)  # (21, 22)
        error = self.reconstruction_error(x, draw, y, noise, training)
        return {"reconstruction": error, "kl": kl}

    def kl_upper_bound(self, posterior, form: str) -> tf.Tensor:
        """Bound KL(q(z | x) || p(z)) from above in nats, `[B]` (13, 21, 22)."""
        mean, stddev = posterior.mean, posterior.stddev
        pi = self.mixing_weights()
        if isinstance(self.prior, priors.StandardNormal):
            return tf.reduce_sum(pi * divergences.gaussian_kl(mean, stddev), axis=1)
        return divergences.mixture_kl_bound(
            mean, stddev, pi, *self.prior.mixtures(), form=form
        )

    # === Evidence ===

    def component_log_ratios(self, posterior, z: tf.Tensor) -> tf.Tensor:
        """Compute log p(z_m) - log q(z_m | x), both of mixtures, in nats, `[B, M]`."""
        means, stddevs = posterior.mean, posterior.stddev
        log_q = gaussian.log_prob(
            means[:, tf.newaxis], stddevs[:, tf.newaxis], z[:, :, tf.newaxis]
        )
        log_weights = tf.math.log(posterior.weights)[:, tf.newaxis]
        log_q = tf.reduce_logsumexp(log_weights + log_q, axis=-1)
        return self.prior.log_prob(z) - log_q

    def log_density_ratio(self, posterior, latents):
        ratios = self.component_log_ratios(posterior, latents.z)
        return tf.reduce_sum(posterior.weights * ratios, axis=1)

    def log_importance_weight(self, x, posterior, latents, y=None):
        """Compute the log of sum_m pi_m p(x, z_m) / q(z_m | x) in nats, `[B]`."""
        z = latents.z
        log_weights = self.component_log_probs(x, z)
        log_weights += self.component_log_ratios(posterior, z)
        log_weights += tf.math.log(posterior.weights)
        return tf.reduce_logsumexp(log_weights, axis=1)

    # === Inspection ===

    def kl_bound(self, x: Any, form: str | None = None) -> tf.Tensor:
        """Compute an upper bound U of KL(q(z | x) || p(z)) for each image.

        Args:
            x: `[B, ...]` images.
            form: str, name of a bound of `mvae_tf.divergences.mixture_kl_bound`; None
                for the model's `kl_form`, or "variational" if that is "mc", which is an
                estimate and no bound.

        Returns:
            `[B]` nats.

        Raises:
            ValueError: on an unknown form.
        """
        if form is None:
            form = "variational" if self.kl_form == "mc" else self.kl_form
        x = self.input_checks.pair(x, None)[0]
        form = choice(form, _BOUNDS, "form")
        return self._in_chunks(self._kl_bound_batch, x, form=form)

    def _kl_bound_batch(self, x, form):
        return self.kl_upper_bound(self.infer(x), form)

    def component_elbo(
        self, x: Any, component: int, seed: int | None = None
    ) -> tf.Tensor:
        """Compute the evidence lower bound with one component as the posterior.

        Args:
            x: `[B, ...]` images.
            component: int, index of the component.
            seed: int that decides the draw, which is that of `elbo`; None for the seed
                of the model.

        Returns:
            `[B]` nats.

        Raises:
            ValueError: there is no such component.
        """
        component = self._checked_component(component)
        x = self.input_checks.pair(x, None)[0]
        seeds = self._row_seeds(len(x), seed)
        return self._in_chunks(
            self._component_elbo_batch, x, seeds, component=component
        )

    def _component_elbo_batch(self, x, seed, component):
        posterior = self.infer(x)
        drawn = self.draw(posterior, RowNoise(content_seeds(x, seed)))
        mean, stddev, z = (
            values[:, component]
            for values in (posterior.mean, posterior.stddev, drawn.z)
        )
        log_prob = self.component_log_probs(x, z[:, tf.newaxis])[:, 0]
        log_q = gaussian.log_prob(mean, stddev, z)
        return log_prob + self.prior.log_prob(z) - log_q


def _checked_weights(weights, num):
    """Return `component_weights` as a list after checking them; None stays None."""
    weights = number_list("component_weights", weights, num)
    if weights is not None and (
        min(weights) <= 0 or not math.isclose(sum(weights), 1.0, abs_tol=1e-6)
    ):
        raise ValueError(
            f"Expected {num} component_weights > 0 that sum to 1, got {weights}."
        )
    return weights


def _repeat(images, num):
    """Repeat all images for each of `num` components, `[M B, ...]`."""
    if isinstance(images, PartialImages):
        return images  # Its rows are already those of the decoder.
    return tf.tile(images, [num] + [1] * (len(images.shape) - 1))


class _Unfolded(Noise):
    """Noise for rows `[M B, ...]`, drawn as for B rows `[B, M, ...]`."""

    def __init__(self, noise, num):
        super().__init__()
        self.noise, self.num = noise, num

    def sample(self, name, sampler, *parameters):
        rows = [
            tf.stack(tf.split(value, self.num, axis=0), axis=1) for value in parameters
        ]
        drawn = self.noise.sample(name, sampler, *rows)
        return tf.concat(tf.unstack(drawn, self.num, axis=1), axis=0)
