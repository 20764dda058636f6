"""Priors p(z) of one latent: objects with a log-density and draws.

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
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.noise import Noise
from mvae_tf.parts import gaussian
from mvae_tf.parts.memory import check_memory
from mvae_tf.parts.networks.network import layer_seed
from mvae_tf.parts.part import check_count, choice

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

# Within `encoded_once`, the posteriors of pseudo-inputs by the `id` of their prior. A
# thread has a context of its own, and so does not get tensors of another graph.
_ENCODED: contextvars.ContextVar[dict] = contextvars.ContextVar("encoded")


class Prior:
    """A density of latents `[..., Z]`."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Compute log p(z) in nats, `[...]`."""
        raise NotImplementedError

    def sample(self, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Draw z, `[B, Z]`, one for each element of the tensor `like` `[B]`."""
        raise NotImplementedError

    def kl(self, mean: tf.Tensor, stddev: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """Compute KL(N(mean, stddev^2) || p) in nats, `[...]`.

        Without a closed form it is the unbiased estimate log q(z) - log p(z).

        Args:
            mean: `[..., Z]`.
            stddev: `[..., Z]`.
            z: `[..., Z]`, drawn from N(mean, stddev^2).
        """
        return gaussian.log_prob(mean, stddev, z) - self.log_prob(z)

    def encoded_once(self) -> contextlib.AbstractContextManager:
        """Return a context in which the prior encodes its pseudo-inputs only once."""
        return contextlib.nullcontext()


class StandardNormal(Prior):
    """N(0, I).

    Args:
        latent_dim: int, Z, size of the latent.
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
        """Return means and stddevs, `[N, Z]` each, and weights `[N]` that sum to 1."""
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
    """K trained diagonal Gaussians of equal weight.

    Log-variances are clipped to [-6, 2]. The initial means differ, because equal ones
    would always get equal gradients.

    Args:
        num_components: int, K, number of Gaussians.
        latent_dim: int, Z, size of the latent.
        seed: int that decides the initial values.
        spread: float, standard deviation of the initial means, for `init="normal"`.
        init: "normal" draws the initial means from N(0, spread^2) and sets the
            variances to 1. "uniform" is as in the authors' code of CP-VAE: means from
            U(0, 1), and log-variances 2 log(1 + exp(u / 2)) with u from U(0, 1), which
            are variances between 4 and 7.
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
        check_memory(f"a prior of {num_components:,} Gaussians", 2 * math.prod(shape))
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
        itself the log of one Gaussian minus a constant, so that a prior that is trained
        with it has one mode, whatever K is.
        """
        means, stddevs, _ = self.components()
        return tf.reduce_mean(component_log_probs(z, means, stddevs), axis=-1)


class ConditionalGaussian(MixtureOfGaussians):
    """The Gaussians p(z | c) of K categories c, whose uniform mixture is p(z).

    The layer has a class of its own because files of models contain its name.
    """


class Prototypes(keras.layers.Layer, MixturePrior):
    """K trained points, each the mean of a Gaussian of one fixed variance.

    Args:
        num_components: int, K, number of Gaussians.
        latent_dim: int, Z, size of the latent.
        variance: float, the variance of every dimension.
        seed: int that decides the initial points, which are draws from N(0, I).
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
    that both they and the encoder get gradients. They are clipped to the range of valid
    pixels; beyond it their gradient is 0.

    Args:
        num_pseudo_inputs: int, K, number of pseudo-inputs.
        input_shape: tuple of ints, shape of an image.
        encode: function from images `[K, ...]` to mean and stddev `[K, M, Z]` and
            weights `[M]`.
        pixel_range: `(low, high)` of valid pixels.
        mean: float, mean of the initial pixels.
        stddev: float, standard deviation of the initial pixels.
        seed: int that decides the initial pixels.
    """

    def __init__(
        self,
        num_pseudo_inputs: int,
        input_shape: tuple[int, ...],
        encode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
        pixel_range: tuple[float, float],
        mean: float,
        stddev: float,
        seed: int,
    ):
        # All of them are encoded in each step.
        check_memory(
            f"a prior of {num_pseudo_inputs:,} pseudo-inputs",
            num_pseudo_inputs * math.prod(input_shape),
            copies=16,
        )
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
            model: model with the arguments `num_pseudo_inputs`, `pseudo_mean` and
                `pseudo_stddev`, and the method `encode_pseudo_inputs`.

        Raises:
            ValueError: on no pseudo-input, and on a negative standard deviation.
        """
        check_count("num_pseudo_inputs", model.num_pseudo_inputs)
        if model.pseudo_stddev < 0:
            raise ValueError(f"Expected pseudo_stddev >= 0, got {model.pseudo_stddev}.")
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
        """Return the pseudo-inputs `[K, ...]`, clipped to the range of valid pixels."""
        return tf.clip_by_value(tf.convert_to_tensor(self.pixels), *self.pixel_range)

    def mixtures(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return mean and stddev `[K, M, Z]` and weights `[M]` of the posteriors."""
        held = _ENCODED.get({}).get(id(self))
        return self.encode(self.pseudo_inputs()) if held is None else held

    @contextlib.contextmanager
    def encoded_once(self) -> Iterator[None]:
        """Return a context in which the prior encodes its pseudo-inputs only once.

        Without it, a loop of a graph would encode them in each of its steps.
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
        """Draw z `[B, M, Z]` from the Gaussians of one random pseudo-input per row."""
        means, stddevs, _ = self.mixtures()
        weights = _equal_weights(self.pixels.shape[0])
        index = draw_index("pseudo_input", weights, like, noise)
        mean, stddev = tf.gather(means, index), tf.gather(stddevs, index)
        return noise.normal("z", mean, stddev)


def component_log_probs(
    z: tf.Tensor, means: tf.Tensor, stddevs: tf.Tensor
) -> tf.Tensor:
    """Compute log N(z; mean_n, stddev_n^2) of N diagonal Gaussians in nats, `[..., N]`.

    It is computed as one matrix product, so that there is no array `[..., N, Z]`. The
    product is in float64, because its terms cancel, and rounding to TF32 would leave no
    correct digit.

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
    # Unlike that of `tf.matmul`, the gradient has no array `[..., N, Z]` either.
    products = tf.tensordot(powers, factors, [[-1], [-1]])
    return tf.cast(products + constants, z.dtype)


def draw_index(
    name: str, weights: tf.Tensor, like: tf.Tensor, noise: Noise
) -> tf.Tensor:
    """Draw indices with probabilities `weights [N]`, int32 `[B]`.

    Args:
        name: str, name of the draw.
        weights: `[N]`, which sum to 1.
        like: any tensor `[B]`.
        noise: noise of the step or of the rows.
    """
    uniform = noise.uniform(name, like)
    index = tf.searchsorted(tf.cumsum(weights), uniform, side="right")
    # Rounding may make the sum of the weights less than the uniform number.
    return tf.minimum(index, tf.shape(weights)[0] - 1)


def _equal_weights(num):
    return tf.constant(np.full(num, 1.0 / num, np.float32))
