"""Likelihoods p(x | z), computed from the outputs of a decoder.

A likelihood turns the features of a decoder into its parameters, the `outputs`
(`link`). From these it computes the log-density of an image in nats (`log_prob`), the
mean image, draws of pixels (`quantile`) and the outputs of a mixture of decoded images
(`mix`). `constant` is the part of -log_prob that the training objective leaves out.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfm

from mvae_tf.parts.part import Kinds, Part, choice

__all__ = [
    "Bernoulli",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "HalfSquaredError",
    "Likelihood",
    "SquaredError",
    "component_axis",
    "get",
    "names",
    "register",
]


_KINDS = Kinds("likelihood")
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names

_INFINITE = (-math.inf, math.inf)


def _bounds(low, high, activation):
    """Return the range of valid pixels, where None stands for no bound.

    Raises:
        ValueError: the range is empty, or has no bound although the activation has.
    """
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    if not low < high:
        raise ValueError(f"Expected low < high, got {low} and {high}.")
    if activation != "linear" and not math.isfinite(high - low):
        raise ValueError(
            "Expected activation 'linear' for a likelihood without bounds, got "
            f"{activation!r}."
        )
    return low, high


def _sum_pixels(values):
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))


class Likelihood(Part):
    """A density of images `[B, ...]` whose parameters a decoder makes.

    Attributes:
        low, high: floats, the range of valid pixels; infinite where there is no bound.
        channels_per_channel: int, number of channels of the decoder's output for each
            channel of the image.
    """

    low, high = 0.0, 1.0
    channels_per_channel = 1
    unbounded = ("low", "high")

    def get_config(self):
        config = super().get_config()
        # JSON has no infinity, so that None stands for it.
        bounds = config.keys() & {"low", "high"}
        open_ended = {key for key in bounds if config[key] in _INFINITE}
        return config | dict.fromkeys(open_ended)

    @property
    def shown_range(self) -> tuple[float, float]:
        """A finite range of pixels for pictures and examples.

        A missing bound is 6 from the other one. Without any bound the range is [-3, 3],
        three standard deviations of standardised data.
        """
        low = self.low if math.isfinite(self.low) else min(self.high - 6.0, -3.0)
        return low, self.high if math.isfinite(self.high) else max(low + 6.0, 3.0)

    def link(self, features: tf.Tensor) -> tf.Tensor:
        """Compute outputs of the likelihood from decoder features, float32."""
        return tf.cast(features, tf.float32)

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Compute the log-density of each image in nats, `[B]`."""
        raise NotImplementedError

    def is_mass(self, x: tf.Tensor) -> bool:
        """Return whether `log_prob` of images x is the log of a probability.

        If it is the log of a density, its nats cannot be converted to bits per pixel.
        """
        return False

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Compute the mean image `[B, ...]` in the pixel scale of x."""
        raise NotImplementedError

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        """Compute the image whose pixels are the quantiles at some probabilities.

        With independent uniform probabilities it is a draw of the image. Quantiles of
        densities on the whole line are clipped to the range of valid pixels.

        Args:
            outputs: `[B, ...]`, what `link` returned.
            probability: `[B, ...]` numbers in (0, 1), one for each pixel.
        """
        raise NotImplementedError

    def constant(self, dimension: int) -> float:
        """Return the part of -log p(x | z) that training leaves out, in nats.

        Args:
            dimension: int, number of pixel values of an image.
        """
        return 0.0

    def mix(self, outputs: tf.Tensor, log_weights: tf.Tensor) -> tf.Tensor:
        """Compute the outputs of a mixture of the images of components (M-VAE).

        Args:
            outputs: `[K, B, ...]`, those of the components.
            log_weights: `[B, K]`, logarithms of the mixing weights.

        Returns:
            `[B, ...]`.
        """
        weights = component_axis(tf.exp(log_weights), outputs)
        return tf.reduce_sum(weights * outputs, axis=0)


def component_axis(weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Reshape weights `[B, K]` so that they multiply outputs `[K, B, ...]`."""
    shape = [outputs.shape[0], -1] + [1] * (outputs.shape.rank - 2)
    return tf.reshape(tf.transpose(weights), shape)


@tf.custom_gradient
def _cross_entropy(x, logits):
    """Compute the binary cross-entropy of each pixel in nats, with a short gradient."""
    value = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)

    def gradient(upstream):
        return -upstream * logits, upstream * (tf.sigmoid(logits) - x)

    return value, gradient


@register("bernoulli")
class Bernoulli(Likelihood):
    """Bernoulli pixels from logits: -1 times the binary cross-entropy of the pixels.

    Grey pixels in [0, 1] are allowed, as in the MVAE experiments; `log_prob` is then
    not the log of a density.
    """

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return -_sum_pixels(_cross_entropy(x, outputs))

    def is_mass(self, x: tf.Tensor) -> bool:
        """Return whether all pixels are 0 or 1."""
        return bool(tf.reduce_all((x == 0.0) | (x == 1.0)))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(outputs)

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        return tf.cast(probability > tf.sigmoid(-outputs), tf.float32)

    def mix(self, outputs: tf.Tensor, log_weights: tf.Tensor) -> tf.Tensor:
        log_weights = component_axis(log_weights, outputs)
        on = tf.reduce_logsumexp(log_weights + tf.math.log_sigmoid(outputs), 0)
        off = tf.reduce_logsumexp(log_weights + tf.math.log_sigmoid(-outputs), 0)
        return on - off


@register("continuous_bernoulli")
class ContinuousBernoulli(Bernoulli):
    """Continuous Bernoulli pixels on [0, 1] from logits.

    Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error
    in variational autoencoders" (NeurIPS 2019), https://arxiv.org/abs/1907.06845.
    """

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return _sum_pixels(tfd.ContinuousBernoulli(logits=outputs).log_prob(x))

    def is_mass(self, x: tf.Tensor) -> bool:
        return False

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        return tfd.ContinuousBernoulli(logits=outputs).mean()

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        return tfd.ContinuousBernoulli(logits=outputs).quantile(probability)


@register("sse")
class SquaredError(Likelihood):
    """Gaussian pixels of variance 1/2: -log p is the squared error plus a constant.

    The squared error is summed over the pixels; it is the reconstruction term of the
    MVAE authors' convolutional scripts. The constant is D/2 log(pi) for D pixels.

    Args:
        activation: "sigmoid", "tanh" or "linear", the last step of the decoder.
        low, high: floats, range of valid pixels. None is no bound, for tables of real
            numbers; the activation is then "linear".

    Raises:
        ValueError: on an argument out of its range.
    """

    variance = 0.5

    def __init__(
        self,
        activation: str = "sigmoid",
        low: float | None = 0.0,
        high: float | None = 1.0,
    ):
        activations = {
            "sigmoid": tf.sigmoid,
            "tanh": tf.tanh,
            "linear": tf.identity,
        }
        self.activation = choice(activation, activations, "activation")
        self.low, self.high = _bounds(low, high, activation)
        self._activate = activations[activation]

    def link(self, features: tf.Tensor) -> tf.Tensor:
        return self._activate(tf.cast(features, tf.float32))

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        squared = _sum_pixels(tf.math.squared_difference(x, outputs))
        dimension = math.prod(outputs.shape[1:])
        return -squared / (2.0 * self.variance) - self.constant(dimension)

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        normal = tfd.Normal(outputs, math.sqrt(self.variance))
        return tf.clip_by_value(normal.quantile(probability), self.low, self.high)

    def constant(self, dimension: int) -> float:
        return 0.5 * dimension * math.log(2.0 * math.pi * self.variance)


@register("half_sse")
class HalfSquaredError(SquaredError):
    """Gaussian pixels of variance 1: -log p is half the squared error plus a constant.

    The squared error is summed over the pixels (MVAE Eq 29). The constant is
    D/2 log(2 pi) for D pixels. Arguments are those of `SquaredError`.
    """

    variance = 1.0


@register("discretized_logistic")
class DiscretizedLogistic(Likelihood):
    """Logistic pixels, integrated over 256 bins of [0, 1].

    The pixel x belongs to the bin [e, e + 1/256) with e = floor(256 x) / 256. The
    decoder makes the mean and the logarithm of the scale of each pixel, clipped to
    [1/512, 1 - 1/512] and [-4.5, 0] as in the VampPrior experiments.

    Args:
        open_edges: bool, whether the first and the last bin extend to -inf and +inf, so
            that the probabilities of the 256 bins sum to 1. In the published code they
            do not, which makes the bound slightly lower.
    """

    channels_per_channel = 2

    def __init__(self, open_edges: bool = False):
        self.open_edges = open_edges

    def link(self, features: tf.Tensor) -> tf.Tensor:
        mean, log_scale = tf.split(tf.cast(features, tf.float32), 2, axis=-1)
        mean = tf.clip_by_value(tf.sigmoid(mean), 1.0 / 512.0, 1.0 - 1.0 / 512.0)
        return tf.concat([mean, tf.clip_by_value(log_scale, -4.5, 0.0)], axis=-1)

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        mean, log_scale = tf.split(outputs, 2, axis=-1)
        bins = 256.0
        edge = tf.minimum(tf.floor(x * bins), bins - 1.0) / bins
        width = tf.exp(-log_scale) / bins
        lower = (edge - mean) * tf.exp(-log_scale)
        to_left = tf.math.log_sigmoid(lower + width)
        to_right = tf.math.log_sigmoid(-lower)
        # It is sigmoid(u) - sigmoid(l), as a product, so that it is not 0 where both
        # round to 1.
        inside = to_left + to_right + tfm.log1mexp(width)
        if self.open_edges:
            inside = tf.where(edge <= 0.0, to_left, inside)
            inside = tf.where(edge >= 1.0 - 1.0 / bins, to_right, inside)
        return _sum_pixels(inside)

    def is_mass(self, x: tf.Tensor) -> bool:
        return True

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.split(outputs, 2, axis=-1)[0]

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        mean, log_scale = tf.split(outputs, 2, axis=-1)
        logit = tf.math.log(probability) - tf.math.log1p(-probability)
        bins = tf.floor(256.0 * (mean + tf.exp(log_scale) * logit))
        return (tf.clip_by_value(bins, 0.0, 255.0) + 0.5) / 256.0


@register("gaussian")
class Gaussian(Likelihood):
    """Gaussian pixels with one standard deviation, or with one for each pixel.

    The training objective has the whole log-density and leaves no constant out.

    Args:
        stddev: float, standard deviation of every pixel, in the pixel scale; with None
            the decoder makes its logarithm for each pixel, clipped to [-4.5, 0].
        activation: "sigmoid" or "linear", the last step of the mean.
        low, high: floats, range of valid pixels. None is no bound, for tables of real
            numbers; the activation is then "linear".

    Raises:
        ValueError: on an argument out of its range.
    """

    def __init__(
        self,
        stddev: float | None = None,
        activation: str = "sigmoid",
        low: float | None = 0.0,
        high: float | None = 1.0,
    ):
        if stddev is not None and not stddev > 0:
            raise ValueError(f"Expected stddev > 0 or None, got {stddev!r}.")
        self.stddev = stddev
        self.activation = choice(activation, ("sigmoid", "linear"), "activation")
        self.low, self.high = _bounds(low, high, activation)
        self.channels_per_channel = 2 if stddev is None else 1

    def link(self, features: tf.Tensor) -> tf.Tensor:
        mean, *log_stddev = tf.split(
            tf.cast(features, tf.float32), self.channels_per_channel, axis=-1
        )
        mean = tf.sigmoid(mean) if self.activation == "sigmoid" else mean
        clipped = [tf.clip_by_value(part, -4.5, 0.0) for part in log_stddev]
        return tf.concat([mean, *clipped], axis=-1)

    def _distribution(self, outputs):
        if self.stddev is not None:
            return tfd.Normal(outputs, self.stddev)
        mean, log_stddev = tf.split(outputs, 2, axis=-1)
        return tfd.Normal(mean, tf.exp(log_stddev))

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return _sum_pixels(self._distribution(outputs).log_prob(x))

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        return self._distribution(outputs).mean()

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        value = self._distribution(outputs).quantile(probability)
        return tf.clip_by_value(value, self.low, self.high)
