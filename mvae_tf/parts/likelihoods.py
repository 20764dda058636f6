"""Likelihoods p(x | z), written on the raw outputs of a decoder.

Every likelihood turns decoder features into `outputs` (`link`), gives the
log-density of an image in nats (`log_prob`), the additive constant of it that the
training objective leaves out (`constant`), the mean image, and the outputs of a mixture
of decoded images (`mix`, used by M-VAE).
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
    """Range of valid pixels, where None stands for no bound."""
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
    """A density over images `[B, ...]` with parameters made by a decoder.

    Attributes:
        low, high: the range of valid pixels; infinite where there is no bound.
        channels_per_channel: decoder channels needed for each image channel.
    """

    low, high = 0.0, 1.0
    channels_per_channel = 1

    def get_config(self):
        config = super().get_config()
        # JSON has no infinity.
        bounds = config.keys() & {"low", "high"}
        open_ended = {key for key in bounds if config[key] in _INFINITE}
        return config | dict.fromkeys(open_ended)

    @property
    def shown_range(self) -> tuple[float, float]:
        """Finite range for pictures and examples, of width 6 where there is no bound.

        Without any bound it is [-3, 3]: three standard deviations of z-scores.
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
        """Whether `log_prob` is the log of a probability of images x, not a density.

        Only then can its nats be converted to bits of the pixels.
        """
        return False

    def mean(self, outputs: tf.Tensor) -> tf.Tensor:
        """Compute the mean image, in the pixel scale of x."""
        raise NotImplementedError

    def quantile(self, outputs: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        """Compute the image whose pixels are the quantiles at `probability`.

        At uniform numbers in (0, 1) it is a draw of the image. Draws of densities on
        the whole line are clipped to the range of valid pixels.
        """
        raise NotImplementedError

    def constant(self, dimension: int) -> float:
        """Return what training leaves out of -log p(x | z), in nats."""
        return 0.0

    def mix(self, outputs: tf.Tensor, log_weights: tf.Tensor) -> tf.Tensor:
        """Compute outputs of the mixture of component images.

        Args:
            outputs: `[K, B, ...]`.
            log_weights: `[B, K]`.

        Returns:
            `[B, ...]`.
        """
        weights = component_axis(tf.exp(log_weights), outputs)
        return tf.reduce_sum(weights * outputs, axis=0)


def component_axis(weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Reshape `[B, K]` weights to multiply `[K, B, ...]` outputs."""
    shape = tf.concat([tf.shape(outputs)[:2], [1] * (outputs.shape.rank - 2)], 0)
    return tf.reshape(tf.transpose(weights), shape)


@register("bernoulli")
class Bernoulli(Likelihood):
    """Bernoulli pixels from logits: the binary cross-entropy, summed over pixels.

    Grey pixels in [0, 1] are allowed, as in the MVAE experiments; the value is then
    the usual cross-entropy rather than a normalised density.
    """

    def log_prob(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return -_sum_pixels(
            tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=outputs)
        )

    def is_mass(self, x: tf.Tensor) -> bool:
        """Whether all pixels are 0 or 1."""
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
    """Gaussian pixels of variance 1/2: -log p is the summed squared error + constant.

    This is the reconstruction term of the authors' convolutional scripts. The constant
    is D/2 log(pi) for D pixels.

    Args:
        activation: "sigmoid", "tanh" or "linear", the last step of the decoder.
        low, high: range of valid pixels; None for no bound, as tables of real
            numbers need it, with the activation "linear".
    """

    variance = 0.5

    def __init__(self, activation="sigmoid", low=0.0, high=1.0):
        activations = {
            "sigmoid": tf.sigmoid,
            "tanh": tf.tanh,
            "linear": tf.identity,
        }
        if activation not in activations:
            raise ValueError(
                f"Expected activation among {sorted(activations)}, got {activation!r}."
            )
        self.activation = activation
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
    """Gaussian pixels of variance 1: half the summed squared error + constant.

    Eq 29 of the MVAE paper. The constant is D/2 log(2 pi) for D pixels.

    Args:
        activation: "sigmoid", "tanh" or "linear", the last step of the decoder.
        low, high: range of valid pixels; None for no bound, as tables of real
            numbers need it, with the activation "linear".
    """

    variance = 1.0


@register("discretized_logistic")
class DiscretizedLogistic(Likelihood):
    """Logistic pixels integrated over 256 bins of [0, 1], with a learnt scale.

    The pixel x falls into the bin [e, e + 1/256) with e = floor(256 x) / 256. The mean
    and the log-scale of each pixel come from the decoder, bounded to
    [1/512, 1 - 1/512] and [-4.5, 0] as in the VampPrior experiments.

    Args:
        open_edges: whether the first and the last bin reach to -inf and +inf, so that
            the probabilities of the 256 bins sum to 1. The published code leaves them
            closed, which makes the bound slightly pessimistic.
    """

    channels_per_channel = 2

    def __init__(self, open_edges=False):
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
        # sigmoid(u) - sigmoid(l) as a product, which holds where both round to 1.
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
    """Gaussian pixels of one known standard deviation, or of predicted ones.

    Training minimises the whole density; no constant is left out.

    Args:
        stddev: standard deviation of every pixel, in the pixel scale; None takes its
            logarithm for each pixel from the decoder, clipped to [-4.5, 0].
        activation: "sigmoid" or "linear", the last step of the mean.
        low, high: range of valid pixels; None for no bound, as tables of real
            numbers need it, with the activation "linear".
    """

    def __init__(self, stddev=None, activation="sigmoid", low=0.0, high=1.0):
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
