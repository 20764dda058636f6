"""Priors p(z) over one latent, as objects that know their density and draw from it.

A model with more than a standard normal prior is composed with one of these:

| class                 | p(z)                                                       |
|-----------------------|------------------------------------------------------------|
| `StandardNormal`      | N(0, I)                                                    |
| `MixtureOfGaussians`  | sum_k N(mean_k, stddev_k^2) / K, trained                   |
| `ConditionalGaussian` | the same, with the K Gaussians as p(z | c)                 |
| `Prototypes`          | the same, with K trained means and one fixed stddev        |
| `VampPrior`           | average of q(z | u_k) over K trained pseudo-inputs u_k,    |
|                       | each a Gaussian or a mixture of M                          |

Densities are in nats, stddevs are standard deviations, and noise is stateless
(`mvae_tf.noise`).
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.noise import Noise
from mvae_tf.parts import gaussian
from mvae_tf.parts.networks.base import layer_seed
from mvae_tf.parts.part import choice

__all__ = [
    "ConditionalGaussian",
    "MixtureOfGaussians",
    "MixturePrior",
    "Prior",
    "Prototypes",
    "StandardNormal",
    "VampPrior",
]

_LOG_VARIANCES = (-6.0, 2.0)

# Posteriors of pseudo-inputs by the `id` of their prior, within `encoded_once`. Threads
# have contexts of their own, so that none sees the tensors of another's graph.
_ENCODED: contextvars.ContextVar[dict] = contextvars.ContextVar("encoded")


class Prior:
    """A density over latents `[..., Z]`."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Compute log p(z) in nats, `[...]`."""
        raise NotImplementedError

    def sample(self, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Draw z, `[B, Z]`, one for each element of any `[B]` tensor `like`."""
        raise NotImplementedError

    def kl(self, mean: tf.Tensor, stddev: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Compute KL(N(mean, stddev^2) || p) in nats, `[...]`.

        Where no closed form exists, its unbiased estimate log q(z) - log p(z).

        Args:
            mean: `[..., Z]`.
            stddev: `[..., Z]`.
            z: `[..., Z]`, drawn from N(mean, stddev^2).
        """
        return gaussian.log_prob(mean, stddev, z) - self.log_prob(z)

    def encoded_once(self) -> contextlib.AbstractContextManager:
        """Make all uses of the prior in a context share what it has to encode."""
        return contextlib.nullcontext()


class StandardNormal(Prior):
    """N(0, I).

    Args:
        latent_dim: int, Z.
    """

    def __init__(self, latent_dim: int):
        self.latent_dim = latent_dim

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return gaussian.log_prob(tf.zeros_like(z), tf.ones_like(z), z)

    def sample(self, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        return gaussian.draw_standard(like, self.latent_dim, noise)

    def kl(self, mean: tf.Tensor, stddev: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        del z
        return divergences.gaussian_kl(mean, stddev)


class MixturePrior(Prior):
    """A mixture of N diagonal Gaussians."""

    def components(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return means `[N, Z]`, stddevs `[N, Z]` and weights `[N]`, which sum to 1."""
        raise NotImplementedError

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        means, stddevs, weights = self.components()
        log_weights = tf.math.log(weights)
        log_probs = component_log_probs(z, means, stddevs)
        return tf.reduce_logsumexp(log_weights + log_probs, axis=-1)

    def sample(self, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        means, stddevs, weights = self.components()
        index = draw_index("prior_component", weights, like, noise)
        draws = gaussian.draw_standard(like, means.shape[-1], noise)
        return tf.gather(means, index) + tf.gather(stddevs, index) * draws


class MixtureOfGaussians(keras.layers.Layer, MixturePrior):
    """K trained diagonal Gaussians of equal weight; log-variances stay in [-6, 2].

    Means start at different places, because equal ones would get equal gradients.

    Args:
        num_components: int, K.
        latent_dim: int, Z.
        seed: int that decides the initial values.
        spread: stddev of the initial means of "normal".
        init: "normal" starts the means from N(0, spread^2) and the variances from 1.
            "uniform" follows the authors' code of CP-VAE, with means from U(0, 1) and
            log-variances 2 log(1 + exp(u / 2)) with u from U(0, 1), which gives
            variances between 4 and 7.
        trainable: bool, whether the Gaussians are trained.
    """

    def __init__(
        self,
        num_components: int,
        latent_dim: int,
        seed: int,
        spread: float = 1.0,
        init: str = "normal",
        trainable: bool = True,
    ):
        super().__init__(name="prior", dtype="float32")
        normal, uniform = (
            keras.initializers.RandomNormal,
            keras.initializers.RandomUniform,
        )

        def softplus_of_uniform(shape, dtype=None):
            drawn = uniform(0.0, 1.0, seed=layer_seed(seed, "log_variances"))
            return 2.0 * tf.nn.softplus(0.5 * drawn(shape, dtype))

        means, log_variances = {
            "normal": (normal(stddev=spread, seed=seed), "zeros"),
            "uniform": (uniform(0.0, 1.0, seed=seed), softplus_of_uniform),
        }[choice(init, ("normal", "uniform"), "prior_init")]
        shape = (num_components, latent_dim)
        self.means = self.add_weight(
            name="means", shape=shape, initializer=means, trainable=trainable
        )
        self.log_variances = self.add_weight(
            name="log_variances",
            shape=shape,
            initializer=log_variances,
            trainable=trainable,
        )
        self.built = True

    def components(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        log_variances = tf.clip_by_value(
            tf.convert_to_tensor(self.log_variances), *_LOG_VARIANCES
        )
        return (
            tf.convert_to_tensor(self.means),
            tf.exp(0.5 * log_variances),
            _equal_weights(self.means.shape[0]),
        )

    def mean_log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Compute the mean over k of log N(z; mean_k, stddev_k^2) in nats, `[...]`.

        By Jensen's inequality it is at most `log_prob`, the log of the mean. It is
        itself the log of one Gaussian, less a constant, so that a prior that is trained
        on it has one mode, whatever K is.
        """
        means, stddevs, _ = self.components()
        return tf.reduce_mean(component_log_probs(z, means, stddevs), axis=-1)


class ConditionalGaussian(MixtureOfGaussians):
    """p(z | c) of K categories c; p(z) is their uniform mixture.

    Files of models call the layer by the name of this class.
    """


class Prototypes(keras.layers.Layer, MixturePrior):
    """K trained points, each the mean of a Gaussian of one fixed variance.

    Args:
        num_components: int, K.
        latent_dim: int, Z.
        variance: float, of every dimension.
        seed: int that decides the initial points, N(0, I).
    """

    def __init__(
        self, num_components: int, latent_dim: int, variance: float, seed: int
    ):
        super().__init__(name="prior", dtype="float32")
        self.variance = variance
        self.means = self.add_weight(
            name="means",
            shape=(num_components, latent_dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=seed),
        )
        self.built = True

    def components(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        means = tf.convert_to_tensor(self.means)
        stddevs = tf.fill(tf.shape(means), math.sqrt(self.variance))
        return means, stddevs, _equal_weights(self.means.shape[0])


class VampPrior(keras.layers.Layer, MixturePrior):
    """Average of the posteriors of K trained pseudo-inputs.

    Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
    https://arxiv.org/abs/1705.07120; with posteriors that are mixtures of M Gaussians,
    Guo et al. (IEEE Access 2020). The pseudo-inputs are encoded anew at each use, so
    that gradients reach both them and the encoder; they are clipped to the range of
    valid pixels, outside of which their gradient is zero.

    Args:
        num_pseudo_inputs: int, K.
        input_shape: shape of an image.
        encode: function from images `[K, ...]` to means `[K, M, Z]`, stddevs
            `[K, M, Z]` and weights `[M]`.
        pixel_range: `(low, high)` of valid pixels.
        mean, stddev: moments of the initial pixels.
        seed: int that decides them.
    """

    def __init__(
        self, num_pseudo_inputs, input_shape, encode, pixel_range, mean, stddev, seed
    ):
        super().__init__(name="prior", dtype="float32")
        self.encode = encode
        self.pixel_range = pixel_range
        self.pixels = self.add_weight(
            name="pseudo_inputs",
            shape=(num_pseudo_inputs, *input_shape),
            initializer=keras.initializers.RandomNormal(mean, stddev, seed=seed),
        )
        self.built = True

    @classmethod
    def of(cls, model: keras.Model) -> "VampPrior":
        """Make the prior of a model that can encode pseudo-inputs.

        Args:
            model: has the arguments `num_pseudo_inputs`, `pseudo_mean` and
                `pseudo_stddev`, and the method `encode_pseudo_inputs`.
        """
        return cls(
            model.num_pseudo_inputs,
            model.input_shape,
            model.encode_pseudo_inputs,
            (model.likelihood.low, model.likelihood.high),
            model.pseudo_mean,
            model.pseudo_stddev,
            model.seed,
        )

    def pseudo_inputs(self) -> tf.Tensor:
        """Return the pseudo-inputs, images `[K, ...]` in the range of valid pixels."""
        return tf.clip_by_value(tf.convert_to_tensor(self.pixels), *self.pixel_range)

    def mixtures(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return means, stddevs `[K, M, Z]` and weights `[M]` of the posteriors."""
        held = _ENCODED.get({}).get(id(self))
        return self.encode(self.pseudo_inputs()) if held is None else held

    @contextlib.contextmanager
    def encoded_once(self) -> Iterator[None]:
        """Make all uses of the prior in this context share one encoding.

        A loop of a graph would encode the pseudo-inputs in each of its steps.
        """
        token = _ENCODED.set(_ENCODED.get({}) | {id(self): self.mixtures()})
        try:
            yield
        finally:
            _ENCODED.reset(token)

    def components(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        means, stddevs, weights = self.mixtures()
        num, latent_dim = self.pixels.shape[0], means.shape[-1]
        return (
            tf.reshape(means, [-1, latent_dim]),
            tf.reshape(stddevs, [-1, latent_dim]),
            tf.tile(weights, [num]) / num,
        )

    def sample_mixture(self, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Draw z, `[B, M, Z]`, from each Gaussian of a random pseudo-input per row."""
        means, stddevs, _ = self.mixtures()
        weights = _equal_weights(self.pixels.shape[0])
        index = draw_index("pseudo_input", weights, like, noise)
        mean, stddev = tf.gather(means, index), tf.gather(stddevs, index)
        return noise.normal("z", mean, stddev)


def component_log_probs(
    z: tf.Tensor, means: tf.Tensor, stddevs: tf.Tensor
) -> tf.Tensor:
    """Compute log N(z; mean_n, stddev_n^2) of N diagonal Gaussians in nats, `[..., N]`.

    It is one matrix product, so that no array `[..., N, Z]` is made. The product is in
    float64, because its terms cancel and rounding to TF32 would leave no correct digit.

    Args:
        z: `[..., Z]`.
        means: `[N, Z]`.
        stddevs: `[N, Z]`.
    """
    wide, means, stddevs = (tf.cast(value, tf.float64) for value in (z, means, stddevs))
    precisions = tf.square(1.0 / stddevs)
    powers = tf.concat([tf.square(wide), wide], axis=-1)
    factors = tf.concat([-0.5 * precisions, means * precisions], axis=-1)
    constants = tf.reduce_sum(
        -0.5 * tf.square(means) * precisions
        - tf.math.log(stddevs)
        - 0.5 * math.log(2.0 * math.pi),
        axis=-1,
    )
    # Unlike `tf.matmul`, its gradient holds nothing of `[..., N, Z]` either.
    products = tf.tensordot(powers, factors, [[-1], [-1]])
    return tf.cast(products + constants, z.dtype)


def draw_index(
    name: str, weights: tf.Tensor, like: tf.Tensor, noise: Noise
) -> tf.Tensor:
    """Draw indices with probabilities `weights [N]`, int32 `[B]`.

    Args:
        name: of the noise.
        weights: `[N]`, sum to 1.
        like: any `[B]` tensor.
        noise: see `mvae_tf.noise`.
    """
    uniform = noise.uniform(name, like)
    index = tf.searchsorted(tf.cumsum(weights), uniform, side="right")
    # The sum of the weights may round to less than the uniform number.
    return tf.minimum(index, tf.shape(weights)[0] - 1)


def _equal_weights(num):
    return tf.constant(np.full(num, 1.0 / num, np.float32))
