"""What models with a category draw: its posterior, its one-hot and its relaxed draws.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020), Eq 15, and the authors' code
(https://github.com/macio232/cp-vae).
"""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from mvae_tf.noise import Noise
from mvae_tf.parts.part import Kinds, Part

__all__ = [
    "AnnealedTemperature",
    "Annealing",
    "CategoryDraw",
    "CategoryPosterior",
    "harden",
    "pick",
    "relaxed_category",
    "temperatures",
]


class CategoryPosterior(NamedTuple):
    """q(z, c | x): category probabilities, and Gaussians of z given each category.

    Attributes:
        mean: `[B, K, Z]`, or `[B, 1, Z]` where all categories share it.
        stddev: like `mean`, positive.
        weights: `[B, K]`, the probabilities q(c | x).
        log_weights: `[B, K]`, their logarithms.
        features: `[B, hidden]` of the image, for q(z | x, c).
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor
    log_weights: tf.Tensor
    features: tf.Tensor


class CategoryDraw(NamedTuple):
    """A category and a latent drawn from q(z, c | x).

    Attributes:
        z: `[B, 1, Z]`.
        weights: `[B, K]`, the category as a one-hot row, or its relaxation.
        mean: `[B, 1, Z]`, of the Gaussian that z came from.
        stddev: `[B, 1, Z]`.
    """

    z: tf.Tensor
    weights: tf.Tensor
    mean: tf.Tensor
    stddev: tf.Tensor


temperatures = Kinds("temperature")


@temperatures.register("annealed")
class AnnealedTemperature(Part):
    """A temperature that falls from epoch to epoch, as in the authors' code of CP-VAE.

    Epoch e, counted from 1, multiplies the temperature of the epoch before it by
    exp(-rate e), down to `least`. The defaults reach 0.5 in epoch 215.

    Args:
        start: float, the temperature before the first epoch.
        rate: float.
        least: float, the lowest temperature.

    Raises:
        ValueError: unless `start >= least > 0` and `rate >= 0`.
    """

    def __init__(self, start: float = 1.0, rate: float = 3e-5, least: float = 0.5):
        if not (start >= least > 0 and rate >= 0):
            raise ValueError(
                "Expected an annealed temperature with start >= least > 0 and rate >= "
                f"0, got start {start!r}, rate {rate!r} and least {least!r}."
            )
        self.start = start
        self.rate = rate
        self.least = least

    def at(self, epoch: int) -> float:
        """Compute the temperature of an epoch, counted from 1; 0 is before training."""
        exponent = -self.rate * epoch * (epoch + 1) / 2
        return max(self.start * math.exp(exponent), self.least)


class Annealing(keras.callbacks.Callback):
    """Sets the temperature of each epoch, a function of the epoch's number alone."""

    def on_epoch_begin(self, epoch, logs=None):
        """Set the temperature for the epoch."""
        model = self.model
        model.current_temperature.assign(model.temperature.at(epoch + 1))


def relaxed_category(
    log_weights: tf.Tensor, temperature: float | tf.Tensor, noise: Noise, name: str
) -> tf.Tensor:
    """Draw softmax((log pi + Gumbel) / temperature), `[B, K]` (Eq 15).

    Args:
        log_weights: `[B, K]`, log pi.
        temperature: float, or a scalar.
        noise: the noise of the step.
        name: str, of the noise.
    """
    gumbels = noise.gumbel(name, log_weights)
    return tf.nn.softmax((log_weights + gumbels) / temperature)


def harden(weights):
    """Return one-hot rows of the greatest weights, with the gradient of the weights."""

    def one_hot(weights):
        # Of equal weights, top_k is documented to find the first.
        index = tf.math.top_k(weights, k=1).indices
        return tf.one_hot(tf.squeeze(index, axis=-1), weights.shape[-1])

    return tf.grad_pass_through(one_hot)(weights)


def pick(values, c):
    """Pick rows `[B, 1, Z]` of `[B, K, Z]` at a one-hot c `[B, K]`, exactly."""
    return tf.reduce_sum(values * c[..., tf.newaxis], axis=1, keepdims=True)
