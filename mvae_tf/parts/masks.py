"""Dropout masks on components: MVAE-GS (Gumbel-softmax) and MVAE-Gau (Gaussian).

A mask is one value m in (0, 1] for every example and component. Its strength is one
trainable scalar `theta`, which the model owns and hands to every method. Masks are
drawn in log space, where the mixture weights b = m w / sum(m w) of Eq 16 are a softmax.

Source: Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), Sec III-C, D.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf import divergences
from mvae_tf.parts.part import Part, choice, resolve

__all__ = ["GaussianMask", "GumbelSoftmaxMask", "get"]

_LOGIT_OF_ONE_TENTH = math.log(0.1 / 0.9)


class Mask(Part):
    """A random mask on components.

    Attributes:
        initial: first value of `theta`.
        threshold: a component counts as kept when m is at least this (Sec V-G).
        placement: "weights" masks the mixing weights (Eq 16), "concentration" masks
            the Dirichlet parameters (the authors' convolutional scripts).
        renormalize: whether masked weights are scaled to sum to 1 (Eq 16).
    """

    def __init__(self, initial, threshold, placement, renormalize):
        self.initial = initial
        self.threshold = self.check_threshold(threshold)
        self.placement = choice(placement, ("weights", "concentration"), "placement")
        self.renormalize = renormalize

    @staticmethod
    def check_threshold(threshold):
        """The threshold itself, when it lies between 0 and 1.

        Raises:
            ValueError: when it does not.
        """
        if not 0 < threshold < 1:
            raise ValueError(f"Expected 0 < threshold < 1, got {threshold}.")
        return threshold

    def dropout_rate(self, theta):
        """Dropout rate p, a scalar in (0, 1)."""
        return tf.sigmoid(theta)

    def log_sample(self, theta, like, noise):
        """Log m, shaped like the `[B, K]` tensor `like`."""
        raise NotImplementedError

    def regularizer(self, theta):
        """Term of the objective that acts on `theta` alone, a scalar in nats."""
        raise NotImplementedError

    def keep_probability(self, theta, threshold):
        """Closed form of P(m >= threshold), a scalar."""
        raise NotImplementedError


class GumbelSoftmaxMask(Mask):
    """Relaxed Bernoulli mask of MVAE-GS (Eq 22), p = sigmoid(theta) the dropout rate.

    The two-category Gumbel-softmax is written in its logistic form,
    m = sigmoid((logit(1 - p) + L) / T) with L standard logistic. Eq 22 prints
    log(1 - p) in both logits, which would make m independent of p; the authors' code
    and this class take log(1 - p) for "keep" and log p for "drop".

    Args:
        temperature: T > 0; 0.1 in the paper.
        regularizer_form: what is added to the objective: "entropy" is -H(p) (Eq 24),
            "squared_entropy" is -10 H(p)^2 (the authors' MNIST, CelebA and ImageNet
            scripts), "dropout_kl" is the variational-dropout KL at log_alpha = theta
            (their CIFAR scripts), None adds nothing.
        initial, threshold, placement, renormalize: see `Mask`.
    """

    name = "gumbel"

    def __init__(
        self,
        temperature=0.1,
        regularizer_form="entropy",
        initial=_LOGIT_OF_ONE_TENTH,
        threshold=0.1,
        placement="weights",
        renormalize=True,
    ):
        super().__init__(initial, threshold, placement, renormalize)
        if temperature <= 0:
            raise ValueError(f"Expected temperature > 0, got {temperature}.")
        self.temperature = temperature
        self.regularizer_form = choice(
            regularizer_form,
            ("entropy", "squared_entropy", "dropout_kl", None),
            "regularizer_form",
        )

    def log_sample(self, theta, like, noise):
        def logistic(seed, row):
            location = -theta / self.temperature
            distribution = tfd.Logistic(location, 1.0 / self.temperature)
            return distribution.sample(tf.shape(row), seed=seed)

        return tf.math.log_sigmoid(noise("mask", logistic, like))

    def regularizer(self, theta):
        if self.regularizer_form is None:
            return tf.zeros_like(theta)
        if self.regularizer_form == "dropout_kl":
            return divergences.gaussian_dropout_kl(theta)
        entropy = divergences.bernoulli_entropy(tf.sigmoid(theta))
        if self.regularizer_form == "squared_entropy":
            return -10.0 * tf.square(entropy)
        return -entropy

    def keep_probability(self, theta, threshold):
        logit = math.log(threshold) - math.log1p(-threshold)
        return tf.sigmoid(-theta - self.temperature * logit)


class GaussianMask(Mask):
    """Gaussian mask of MVAE-Gau, m ~ N(1, tau) with tau = p / (1 - p) (Sec III-C).

    Args:
        parameterization: "tau" takes theta = logit p = log tau, so the standard
            deviation is exp(theta / 2); "raw_std" takes theta as the standard deviation
            itself (of either sign) *and* as the log-variance of the KL, the
            inconsistent reading of the authors' code.
        kl_form: "molchanov" (sigmoid fit, any tau; the authors' code) or "kingma"
            (cubic polynomial of Eq 19, for tau <= 1).
        clip: bounds of m. The authors' code clips to [1e-8, 1]; the lower bound must
            be positive, for m is used in log space.
        initial, threshold, placement, renormalize: see `Mask`.
    """

    name = "gaussian"

    def __init__(
        self,
        parameterization="tau",
        kl_form="molchanov",
        clip=(1e-8, 1.0),
        initial=_LOGIT_OF_ONE_TENTH,
        threshold=0.8,
        placement="weights",
        renormalize=True,
    ):
        super().__init__(initial, threshold, placement, renormalize)
        self.parameterization = choice(
            parameterization, ("tau", "raw_std"), "parameterization"
        )
        self.kl_form = choice(kl_form, ("molchanov", "kingma"), "kl_form")
        if not 0 < clip[0] < clip[1]:
            raise ValueError(f"Expected clip bounds 0 < low < high, got {clip}.")
        self.clip = tuple(clip)

    def _stddev(self, theta):
        return tf.exp(theta / 2.0) if self.parameterization == "tau" else tf.abs(theta)

    def dropout_rate(self, theta):
        variance = tf.square(self._stddev(theta))
        return variance / (1.0 + variance)

    def log_sample(self, theta, like, noise):
        def normal(seed, row):
            distribution = tfd.Normal(1.0, self._stddev(theta))
            return distribution.sample(tf.shape(row), seed=seed)

        return tf.math.log(tf.clip_by_value(noise("mask", normal, like), *self.clip))

    def regularizer(self, theta):
        return divergences.gaussian_dropout_kl(theta, form=self.kl_form)

    def keep_probability(self, theta, threshold):
        return tfd.Normal(1.0, self._stddev(theta)).survival_function(threshold)


_KINDS = {kind.name: kind for kind in (GumbelSoftmaxMask, GaussianMask)}


def get(specification):
    """A mask from its name, its configuration or itself; None for no mask."""
    if specification is None:
        return None
    return resolve(specification, _KINDS, "mask")
