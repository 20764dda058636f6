"""VAEs of two levels of latents, baselines of CP-VAE ("HVAE" and "HVP").

Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018), Sec 3.3,
https://arxiv.org/abs/1705.07120.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw
from mvae_tf.models.registry import register
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.networks.gated import GatedMLP, GatedStack, clipped_head
from mvae_tf.parts.terms import Term

__all__ = ["HVAE", "HVampVAE"]


class TwoLevelPosterior(NamedTuple):
    """q(z1, z2 | x), with z1 at the mean of z2; `z` is z1 followed by z2.

    Attributes:
        mean: `[B, 1, Z]`.
        stddev: `[B, 1, Z]`, positive.
        weights: `[B, 1]`, ones.
        features: `[B, hidden]` of the image, for q(z1 | x, z2).
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor
    features: tf.Tensor


class TwoLevelDraw(NamedTuple):
    """Latents drawn from q(z1, z2 | x), and the Gaussians that they came from.

    Attributes:
        z: `[B, 1, Z]`.
        weights: `[B, 1]`, ones.
        mean: `[B, 1, Z]`, with that of z1 at the drawn z2.
        stddev: `[B, 1, Z]`.
    """

    z: tf.Tensor
    weights: tf.Tensor
    mean: tf.Tensor
    stddev: tf.Tensor


@register("hvae")
class HVAE(BaseVAE):
    """Two-level VAE: p(z2) p(z1 | z2) p(x | z1, z2), with p(z2) = N(0, I).

    With q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2), all of them diagonal
    Gaussians made by gated layers, it minimises, at one draw of z1 and z2,

        -log p(x | z1, z2) + log q(z1 | x, z2) + log q(z2 | x)
                               - log p(z1 | z2) - log p(z2).

    The latent `z` is z1 followed by z2. For z1, `encode` gives q(z1 | x, z2)
    at the mean of z2; draws, the bound and importance weights follow the drawn z2.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        latent_dim: int, Z, even: z1 and z2 have half of it each.
        hidden: int, units of every gated layer.
        initializer: "glorot" (CP-VAE) or "he", as in the authors' code; biases start at
            0.

    Raises:
        ValueError: on an odd `latent_dim`.

    Example:
        >>> import mvae_tf
        >>> hvae = mvae_tf.models.HVAE(input_shape=(8, 8, 1), latent_dim=4)
        >>> hvae.generate(3, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    fixed = ("num_components", "num_classes", "network")

    def __init__(
        self,
        *args: Any,
        latent_dim: int = 80,
        hidden: int = 300,
        initializer: str = "glorot",
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            latent_dim=latent_dim,
            network=GatedMLP(hidden, initializer),
            terms={"reconstruction": Term(), "kl": Term(warmup=True)},
            **kwargs,
        )
        if latent_dim % 2:
            raise ValueError(f"Expected an even latent_dim, got {latent_dim}.")
        self.hidden = hidden
        self.initializer = initializer
        self.level_dim = latent_dim // 2
        pixels, head = math.prod(self.input_shape), 2 * self.level_dim
        outputs = pixels * self.likelihood.channels_per_channel

        self.q2 = self._stack("q2", pixels, hidden, hidden, head, linear=True)
        self.q1_image = self._stack("q1_image", pixels, hidden)
        self.q1_z2 = self._stack("q1_z2", self.level_dim, hidden)
        self.q1 = self._stack("q1", 2 * hidden, hidden, head, linear=True)
        self.p1 = self._stack("p1", self.level_dim, hidden, hidden, head, linear=True)
        self.decoder_z1 = self._stack("decoder_z1", self.level_dim, hidden)
        self.decoder_z2 = self._stack("decoder_z2", self.level_dim, hidden)
        self.decoder = self._stack("decoder", 2 * hidden, hidden, outputs, linear=True)
        self.prior = priors.StandardNormal(self.level_dim)

    def _stack(self, name, *units, linear=False):
        return GatedStack(
            1,
            units,
            linear,
            self.network.initializer,
            **self._named(name),
        )

    # === The four Gaussians ===

    def posterior_of_z2(self, x):
        """Mean and stddev `[B, Z/2]` of q(z2 | x)."""
        return self._moments(self.q2, _flat(x))

    def posterior_of_z1(self, features, z2):
        """Mean and stddev `[B, Z/2]` of q(z1 | x, z2), from features of x."""
        joint = tf.concat([features, _run(self.q1_z2, z2)], axis=-1)
        return self._moments(self.q1, joint)

    def prior_of_z1(self, z2):
        """Mean and stddev `[B, Z/2]` of p(z1 | z2)."""
        return self._moments(self.p1, z2)

    def _moments(self, stack, inputs):
        mean, stddev, _ = clipped_head(_run(stack, inputs), self.level_dim)
        return mean, stddev

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        mean2, stddev2 = self.posterior_of_z2(x)
        features = _run(self.q1_image, _flat(x))
        mean1, stddev1 = self.posterior_of_z1(features, mean2)
        return TwoLevelPosterior(
            mean=_join(mean1, mean2),
            stddev=_join(stddev1, stddev2),
            weights=tf.ones_like(mean2[:, :1]),
            features=features,
        )

    def draw(self, posterior, noise):
        """Latents, with the moments of the Gaussians that they were drawn from."""
        mean2, stddev2 = _lower(posterior.mean), _lower(posterior.stddev)
        z2 = _draw("z2", mean2, stddev2, noise)
        mean1, stddev1 = self.posterior_of_z1(posterior.features, z2)
        z1 = _draw("z1", mean1, stddev1, noise)
        return TwoLevelDraw(
            z=_join(z1, z2),
            weights=posterior.weights,
            mean=_join(mean1, mean2),
            stddev=_join(stddev1, stddev2),
        )

    def draw_prior(self, like, noise):
        z2 = self.prior.sample(like[:, 0], noise)
        z1 = _draw("z1", *self.prior_of_z1(z2), noise)
        return Draw(_join(z1, z2), weights=tf.ones_like(like))

    def log_density_ratio(self, posterior, latents):
        z1, z2 = tf.split(latents.z[:, 0], 2, axis=-1)
        log_p = gaussian.log_prob(*self.prior_of_z1(z2), z1) + self.prior.log_prob(z2)
        log_q = gaussian.log_prob(latents.mean, latents.stddev, latents.z)
        return log_p - log_q[:, 0]

    def kl_nats(self, posterior, latents):
        return -self.log_density_ratio(posterior, latents)

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        z1, z2 = tf.split(z[:, 0], 2, axis=-1)
        joint = tf.concat([_run(self.decoder_z1, z1), _run(self.decoder_z2, z2)], -1)
        *sides, channels = self.input_shape
        channels *= self.likelihood.channels_per_channel
        features = tf.reshape(_run(self.decoder, joint), [-1, *sides, channels])
        return self.likelihood.link(features)


@register("hvamp_vae")
class HVampVAE(HVAE):
    """Two-level VAE with p(z2) the average of q(z2 | u_k) over pseudo-inputs u_k.

    It minimises what `HVAE` does, with the VampPrior in place of p(z2) = N(0, I).

    Args:
        *args, **kwargs: arguments of `HVAE`.
        num_pseudo_inputs: int, number of pseudo-inputs.
        pseudo_mean, pseudo_stddev: moments of the pixels that pseudo-inputs start from
            (see `VampVAE`).

    Example:
        >>> import mvae_tf
        >>> hvamp_vae = mvae_tf.models.HVampVAE((8, 8, 1), num_pseudo_inputs=10)
        >>> hvamp_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        num_pseudo_inputs: int = 500,
        pseudo_mean: float = 0.05,
        pseudo_stddev: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.num_pseudo_inputs = num_pseudo_inputs
        self.pseudo_mean = pseudo_mean
        self.pseudo_stddev = pseudo_stddev
        self.prior = priors.VampPrior.of(self)

    def encode_pseudo_inputs(self, images: tf.Tensor):
        """Compute means and stddevs `[K, 1, Z/2]`, weights `[1]` of q(z2 | u_k)."""
        mean, stddev = self.posterior_of_z2(images)
        return mean[:, tf.newaxis], stddev[:, tf.newaxis], tf.ones([1])


def _run(stack, inputs):
    """Output `[B, O]` of a stack with one component."""
    return tf.squeeze(stack.run(inputs), axis=0)


def _flat(x):
    return tf.reshape(x, [tf.shape(x)[0], math.prod(x.shape[1:])])


def _join(first, second):
    """`[B, 1, Z]` from the two levels, `[B, Z/2]` each."""
    return tf.concat([first, second], axis=-1)[:, tf.newaxis]


def _lower(values):
    """What belongs to z2, `[B, Z/2]`, of `[B, 1, Z]`."""
    return tf.split(values[:, 0], 2, axis=-1)[1]


def _draw(name, mean, stddev, noise):
    return noise.normal(name, mean, stddev)
