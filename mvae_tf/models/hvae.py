"""VAEs with two levels of latents, baselines of CP-VAE ("HVAE" and "HVP" there).

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
from mvae_tf.parts.networks.network import flat
from mvae_tf.parts.terms import Term

__all__ = ["HVAE", "HVampVAE"]


class TwoLevelPosterior(NamedTuple):
    """q(z2 | x), and q(z1 | x, z2) with the mean of z2 for z2.

    Attributes:
        mean: `[B, 1, Z]`, the mean of z1 followed by that of z2.
        stddev: `[B, 1, Z]`, positive, in the same order.
        weights: `[B, 1]`, ones.
        features: `[B, hidden]` features of the image, from which q(z1 | x, z2) is made.
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor
    features: tf.Tensor


class TwoLevelDraw(NamedTuple):
    """Latents drawn from q(z1, z2 | x), and the Gaussians that they were drawn from.

    Attributes:
        z: `[B, 1, Z]`, z1 followed by z2.
        weights: `[B, 1]`, ones.
        mean: `[B, 1, Z]`, the means of q(z1 | x, z2) at the drawn z2, and of q(z2 | x).
        stddev: `[B, 1, Z]`, the standard deviations of these.
    """

    z: tf.Tensor
    weights: tf.Tensor
    mean: tf.Tensor
    stddev: tf.Tensor


@register("hvae")
class HVAE(BaseVAE):
    """VAE of two levels of latents: p(z2) p(z1 | z2) p(x | z1, z2), p(z2) = N(0, I).

    The posterior is q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2). All distributions of
    latents are diagonal Gaussians made by gated layers. The objective to minimise is,
    at one draw of z1 and z2,

        -log p(x | z1, z2) + log q(z1 | x, z2) + log q(z2 | x)
                               - log p(z1 | z2) - log p(z2).

    The latent `z` is z1 followed by z2. For z1, `encode` returns q(z1 | x, z2) at the
    mean of z2; draws, the bound and importance weights use the drawn z2.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        latent_dim: int, Z, an even number: z1 and z2 have half of it each.
        hidden: int, number of units of every gated layer.
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
            terms={"reconstruction": Term(), "kl": Term(warmup=True)}
            | kwargs.pop("terms", {}),
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
        return GatedStack(self.network_spec(name, 1), units, self.initializer, linear)

    # === The four Gaussians ===

    def posterior_of_z2(self, x):
        """Compute mean and stddev `[B, Z/2]` of q(z2 | x)."""
        return self._moments(self.q2, flat(x))

    def posterior_of_z1(self, features, z2):
        """Compute mean and stddev `[B, Z/2]` of q(z1 | x, z2) from features of x."""
        joint = tf.concat([features, _run(self.q1_z2, z2)], axis=-1)
        return self._moments(self.q1, joint)

    def prior_of_z1(self, z2):
        """Compute mean and stddev `[B, Z/2]` of p(z1 | z2)."""
        return self._moments(self.p1, z2)

    def _moments(self, stack, inputs):
        mean, stddev, _ = clipped_head(_run(stack, inputs), self.level_dim)
        return mean, stddev

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        mean2, stddev2 = self.posterior_of_z2(x)
        features = _run(self.q1_image, flat(x))
        mean1, stddev1 = self.posterior_of_z1(features, mean2)
        return TwoLevelPosterior(
            mean=_join(mean1, mean2),
            stddev=_join(stddev1, stddev2),
            weights=tf.ones_like(mean2[:, :1]),
            features=features,
        )

    def draw(self, posterior, noise):
        _, mean2 = _split(posterior.mean)
        _, stddev2 = _split(posterior.stddev)
        z2 = noise.normal("z2", mean2, stddev2)
        mean1, stddev1 = self.posterior_of_z1(posterior.features, z2)
        z1 = noise.normal("z1", mean1, stddev1)
        return TwoLevelDraw(
            z=_join(z1, z2),
            weights=posterior.weights,
            mean=_join(mean1, mean2),
            stddev=_join(stddev1, stddev2),
        )

    def draw_prior(self, like, noise):
        z2 = self.prior.sample(like[:, 0], noise)
        z1 = noise.normal("z1", *self.prior_of_z1(z2))
        return Draw(_join(z1, z2), weights=tf.ones_like(like))

    def log_density_ratio(self, posterior, latents):
        z1, z2 = _split(latents.z)
        log_p = gaussian.log_prob(*self.prior_of_z1(z2), z1) + self.prior.log_prob(z2)
        log_q = gaussian.log_prob(latents.mean, latents.stddev, latents.z)
        return log_p - log_q[:, 0]

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        z1, z2 = _split(z)
        joint = tf.concat([_run(self.decoder_z1, z1), _run(self.decoder_z2, z2)], -1)
        *sides, channels = self.input_shape
        channels *= self.likelihood.channels_per_channel
        features = tf.reshape(_run(self.decoder, joint), [-1, *sides, channels])
        return self.likelihood.link(features)


@register("hvamp_vae")
class HVampVAE(HVAE):
    """VAE of two levels of latents with the VampPrior.

    The objective is that of `HVAE`, with the average of q(z2 | u_k) over trained
    pseudo-inputs u_k as p(z2).

    Args:
        *args, **kwargs: arguments of `HVAE`.
        num_pseudo_inputs: int, number of pseudo-inputs.
        pseudo_mean, pseudo_stddev: floats, mean and standard deviation of the initial
            pixels of pseudo-inputs (see `VampVAE`).

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
        """Compute mean and stddev `[K, 1, Z/2]` and weights `[1]` of q(z2 | u_k)."""
        mean, stddev = self.posterior_of_z2(images)
        return mean[:, tf.newaxis], stddev[:, tf.newaxis], tf.ones([1])


def _run(stack, inputs):
    """Compute the output `[B, O]` of a stack that has one component."""
    return tf.squeeze(stack.run(inputs), axis=0)


def _join(first, second):
    """Join the values of z1 and z2, `[B, Z/2]` each, to `[B, 1, Z]`."""
    return tf.concat([first, second], axis=-1)[:, tf.newaxis]


def _split(values):
    """Split `[B, 1, Z]` into the values of z1 and z2, `[B, Z/2]` each."""
    return tf.split(values[:, 0], 2, axis=-1)
