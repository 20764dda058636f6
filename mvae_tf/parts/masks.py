"""Dropout masks on components: MVAE-GS (Gumbel-softmax) and MVAE-Gau (Gaussian).

A mask has one value m in (0, 1] for every example and component. One trainable scalar,
`theta`, decides its distribution; the model owns the variable and passes it to every
method. Masks are drawn as log m, so that the weights b = m w / sum(m w) of Eq 16 are a
softmax.

Source: Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), Sec III-C, D.
"""

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf import divergences
from mvae_tf.noise import Noise
from mvae_tf.parts.mixing import DirichletWeights, safe_log
from mvae_tf.parts.part import Kinds, Part, choice, like_default
from mvae_tf.parts.terms import Term

__all__ = [
    "GaussianMask",
    "GumbelSoftmaxMask",
    "Mask",
    "NoMask",
    "get",
    "names",
    "register",
]

_LOGIT_OF_ONE_TENTH = math.log(0.1 / 0.9)
# The authors' code clips Gaussian masks to these bounds; log m needs the lower one.
_CLIP = (1e-8, 1.0)


def _checked(threshold: float) -> float:
    if not 0 < like_default("threshold", threshold, 0.0) < 1:
        raise ValueError(f"Expected threshold in (0, 1), got {threshold}.")
    return threshold


class Mask(Part):
    """A random mask on components.

    Args:
        initial: float, initial value of `theta`.
        threshold: float, a component counts as kept if m is at least this (Sec V-G).
        placement: "weights" multiplies the mixing weights by m (Eq 16), "concentration"
            the parameters of the Dirichlet distribution, as in the authors'
            convolutional scripts.
        renormalize: bool, whether masked weights are scaled to sum to 1 (Eq 16).

    Raises:
        ValueError: on an argument out of its range.
    """

    def __init__(
        self, initial: float, threshold: float, placement: str, renormalize: bool
    ):
        self.initial = initial
        self.threshold = _checked(threshold)
        self.placement = choice(placement, ("weights", "concentration"), "placement")
        self.renormalize = renormalize

    # === What a kind of mask writes ===

    def dropout_rate(self, theta: tf.Tensor) -> tf.Tensor | None:
        """Compute the dropout rate p, a scalar in (0, 1); None without a mask."""
        return tf.sigmoid(theta)

    def log_sample(self, theta: tf.Tensor, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Draw log m, `[B, K]`, shaped like `like`."""
        raise NotImplementedError

    def regularizer(self, theta: tf.Tensor) -> tf.Tensor:
        """Compute the term of the objective that depends on `theta` alone, in nats.

        It is a scalar.
        """
        raise NotImplementedError

    def keep_probability(self, theta: tf.Tensor, threshold: float | None = None):
        """Compute the closed form of P(m >= threshold), a scalar.

        Args:
            theta: scalar.
            threshold: float, a number in (0, 1); None for the threshold of the mask.

        Raises:
            ValueError: the threshold is out of range.
        """
        raise NotImplementedError

    # === What a model does with it ===

    def make_strength(self, model: keras.Model) -> Any:
        """Make the variable of `theta` as a weight of a model."""
        return model.add_weight(
            name="mask_strength",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            dtype="float32",
        )

    def copy_strength(self, source: Any, target: Any) -> None:
        """Copy the value of `theta` from one variable to that of another model."""
        target.assign(source)

    def concentration(
        self, mixing: DirichletWeights, posterior, log_mask: tf.Tensor
    ) -> tf.Tensor:
        """Return the concentration `[B, K]` that w is drawn with."""
        if self.placement == "concentration":
            return mixing.parameters(posterior.scores, log_mask)
        return posterior.alpha

    def weigh(self, log_weights: tf.Tensor, log_mask: tf.Tensor) -> tf.Tensor:
        """Return b = m w / sum(m w), `[B, K]` (Eq 16), or m w unless `renormalize`."""
        if self.placement == "concentration":
            return tf.exp(log_weights)
        log_product = log_weights + log_mask
        if self.renormalize:
            # On a CPU, `tf.nn.softmax` itself takes 50 microseconds to start.
            log_product = tf.nn.log_softmax(log_product)
        return tf.exp(log_product)

    def mask_prior(self, theta: Any, weights: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Mask weights `[B, K]` that were drawn from the prior."""
        if self.placement == "concentration":
            return weights
        log_mask = self.log_sample(tf.convert_to_tensor(theta), weights, noise)
        return self.weigh(safe_log(weights), log_mask)

    def declare(self) -> dict[str, Term]:
        """Declare the term of the objective, and the diagnostics of the mask."""
        return {
            "mask": Term(per="batch"),
            "dropout_rate": Term(weight=None, per="batch"),
            "selected_components": Term(weight=None),
        }

    def terms(self, theta: Any, log_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute the declared terms: `mask` is that of Eq 18 or of Eq 24."""
        theta = tf.convert_to_tensor(theta)
        return {
            "mask": self.regularizer(theta),
            "dropout_rate": self.dropout_rate(theta),
            "selected_components": self.num_kept(log_mask),
        }

    def num_kept(self, log_mask: tf.Tensor, threshold: float | None = None):
        """Count the components with m >= threshold, float32 `[B]`.

        Args:
            log_mask: `[B, K]`, log m.
            threshold: float, a number in (0, 1); None for the threshold of the mask.

        Raises:
            ValueError: the threshold is out of range.
        """
        threshold = self.threshold if threshold is None else _checked(threshold)
        kept = tf.cast(log_mask >= tf.math.log(threshold), tf.float32)
        return tf.reduce_sum(kept, axis=1)


class NoMask(Mask):
    """The part of a model without a mask: m = 1 for every component, and no term."""

    def __init__(self):
        super().__init__(0.0, 0.5, "weights", True)

    def get_config(self) -> None:
        """Return None, the configuration of this part."""

    def dropout_rate(self, theta: Any) -> None:
        return None

    def log_sample(self, theta: Any, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        return tf.zeros_like(like)

    def keep_probability(self, theta: Any, threshold: float | None = None) -> float:
        return 1.0

    def make_strength(self, model: keras.Model) -> float:
        return 0.0

    def copy_strength(self, source: Any, target: Any) -> None:
        pass

    def weigh(self, log_weights: tf.Tensor, log_mask: tf.Tensor) -> tf.Tensor:
        return tf.exp(log_weights)

    def mask_prior(self, theta: Any, weights: tf.Tensor, noise: Noise) -> tf.Tensor:
        return weights

    def declare(self) -> dict[str, Term]:
        return {}

    def terms(self, theta: Any, log_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return {}


_KINDS = Kinds("mask", absent=NoMask)
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names


@register("gumbel")
class GumbelSoftmaxMask(Mask):
    """Relaxed Bernoulli mask of MVAE-GS (Eq 22), p = sigmoid(theta) the dropout rate.

    The Gumbel-softmax of two categories is written in its logistic form,
    m = sigmoid((logit(1 - p) + L) / T) with L from the standard logistic distribution.
    Eq 22 has log(1 - p) in both logits, which would make m independent of p; the
    authors' code and this class have log(1 - p) for "keep" and log p for "drop".

    Args:
        temperature: float, T > 0; 0.1 in the paper.
        regularizer_form: str, the term that is added to the objective: "entropy" is
            -H(p) (Eq 24), "squared_entropy" is -10 H(p)^2 (the authors' MNIST, CelebA
            and ImageNet scripts), "dropout_kl" is the KL of variational dropout at
            log_alpha = theta (their CIFAR scripts).
        initial, threshold, placement, renormalize: see `Mask`.

    Raises:
        ValueError: on an argument out of its range.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        regularizer_form: str = "entropy",
        initial: float = _LOGIT_OF_ONE_TENTH,
        threshold: float = 0.1,
        placement: str = "weights",
        renormalize: bool = True,
    ):
        super().__init__(initial, threshold, placement, renormalize)
        if temperature <= 0:
            raise ValueError(f"Expected temperature > 0, got {temperature}.")
        self.temperature = temperature
        self.regularizer_form = choice(
            regularizer_form,
            ("entropy", "squared_entropy", "dropout_kl"),
            "regularizer_form",
        )

    def log_sample(self, theta: tf.Tensor, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        # logit(1 - p) is -theta.
        scaled = noise.logistic("mask", like) * (1.0 / self.temperature)
        return tf.math.log_sigmoid(scaled - theta / self.temperature)

    def regularizer(self, theta: tf.Tensor) -> tf.Tensor:
        if self.regularizer_form == "dropout_kl":
            return divergences.gaussian_dropout_kl(theta)
        entropy = divergences.bernoulli_entropy(tf.sigmoid(theta))
        if self.regularizer_form == "squared_entropy":
            return -10.0 * tf.square(entropy)
        return -entropy

    def keep_probability(self, theta: tf.Tensor, threshold: float | None = None):
        threshold = self.threshold if threshold is None else _checked(threshold)
        logit = math.log(threshold) - math.log1p(-threshold)
        return tf.sigmoid(-theta - self.temperature * logit)


@register("gaussian")
class GaussianMask(Mask):
    """Gaussian mask of MVAE-Gau, m ~ N(1, tau) with tau = p / (1 - p) (Sec III-C).

    As in the authors' code, m is clipped to [1e-8, 1].

    Args:
        parameterization: "tau" is theta = logit p = log tau, so that the standard
            deviation of m is exp(theta / 2). With "raw_std" theta is the standard
            deviation, up to its sign, and also the log-variance in the KL, which is
            inconsistent but what the authors' code has.
        kl_form: "molchanov" (a fit by a sigmoid for any tau, in the authors' code) or
            "kingma" (the cubic polynomial of Eq 19, for tau <= 1).
        initial, threshold, placement, renormalize: see `Mask`.

    Raises:
        ValueError: on an argument out of its range.
    """

    def __init__(
        self,
        parameterization: str = "tau",
        kl_form: str = "molchanov",
        initial: float = _LOGIT_OF_ONE_TENTH,
        threshold: float = 0.8,
        placement: str = "weights",
        renormalize: bool = True,
    ):
        super().__init__(initial, threshold, placement, renormalize)
        self.parameterization = choice(
            parameterization, ("tau", "raw_std"), "parameterization"
        )
        self.kl_form = choice(kl_form, ("molchanov", "kingma"), "kl_form")

    def _stddev(self, theta):
        return tf.exp(theta / 2.0) if self.parameterization == "tau" else tf.abs(theta)

    def dropout_rate(self, theta: tf.Tensor) -> tf.Tensor:
        variance = tf.square(self._stddev(theta))
        return variance / (1.0 + variance)

    def log_sample(self, theta: tf.Tensor, like: tf.Tensor, noise: Noise) -> tf.Tensor:
        m = noise.standard_normal("mask", like) * self._stddev(theta) + 1.0
        return tf.math.log(tf.clip_by_value(m, *_CLIP))

    def regularizer(self, theta: tf.Tensor) -> tf.Tensor:
        return divergences.gaussian_dropout_kl(theta, form=self.kl_form)

    def keep_probability(self, theta: tf.Tensor, threshold: float | None = None):
        threshold = self.threshold if threshold is None else _checked(threshold)
        return tfd.Normal(1.0, self._stddev(theta)).survival_function(threshold)
