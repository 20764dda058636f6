"""Posterior and draws of a category, one-hot and relaxed, and the temperature.

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
    """q(z, c | x): category probabilities, and a Gaussian of z for each category.

    Attributes:
        mean: `[B, K, Z]`, or `[B, 1, Z]` if all categories share it.
        stddev: positive tensor of the shape of `mean`.
        weights: `[B, K]`, the probabilities q(c | x).
        log_weights: `[B, K]`, the logarithms of these.
        features: `[B, hidden]` features of the image, from which q(z | x, c) is made.
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
        mean: `[B, 1, Z]`, the mean of the Gaussian that z was drawn from.
        stddev: `[B, 1, Z]`, its standard deviation.
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
        rate: float, how fast the temperature falls.
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
        """Compute the temperature of an epoch, counted from 1."""
        exponent = -self.rate * epoch * (epoch + 1) / 2
        return max(self.start * math.exp(exponent), self.least)


class Annealing(keras.callbacks.Callback):
    """Callback that sets the temperature of each epoch, a function of its number."""

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
        temperature: float, or a scalar tensor.
        noise: noise of the step or of the rows.
        name: str, name of the draw.
    """
    gumbels = noise.gumbel(name, log_weights)
    return tf.nn.softmax((log_weights + gumbels) / temperature)


def harden(weights):
    """Return one-hot rows of the greatest of the weights `[B, K]`.

    The gradient is that of the weights themselves (straight-through).
    """

    def one_hot(weights):
        # Of equal weights, `top_k` returns the first, which `argmax` does not promise.
        index = tf.math.top_k(weights, k=1).indices
        return tf.one_hot(tf.squeeze(index, axis=-1), weights.shape[-1])

    return tf.grad_pass_through(one_hot)(weights)


def pick(values, c):
    """Select the values `[B, 1, Z]` of one category, c `[B, K]`, from `[B, K, Z]`."""
    return tf.reduce_sum(values * c[..., tf.newaxis], axis=1, keepdims=True)
