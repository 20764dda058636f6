"""Terms that push the latents of different components apart.

dHSIC (Eq 13-15 of the MVAE paper) measures joint dependence on a batch; the others
(Eq 10-11) are distances between pairs of posteriors, one value an example.

Source: Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), Sec III-B.
"""

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.parts.part import Part, choice, resolve

__all__ = ["DHSIC", "JensenShannon", "KL", "L2", "SymmetricKL", "get"]


class DHSIC(Part):
    """Dependence of all components at once, estimated on a batch of samples.

    Args:
        squared: False adds the square root of the estimator, as every run of the
            authors does; True adds the estimator of the paper's equations.
    """

    name = "dhsic"
    term = "dhsic"
    per_batch = True

    def __init__(self, squared=False):
        self.squared = squared

    def __call__(self, posterior, z):
        """Scalar from the samples `z [n, K, Z]` of a whole batch."""
        return divergences.dhsic(z, squared=self.squared)


class PairwiseDistance(Part):
    """Sum over ordered pairs of components of a distance d between their posteriors.

    Eq 10-11 add the distances to an objective that is minimised, which would draw the
    components together; the default sign separates them instead.

    Args:
        sign: -1 separates the components, +1 is the letter of Eq 10-11.
        cap: greatest distance that still counts; None for no bound. These distances
            are unbounded (Jensen-Shannon excepted), and with sign -1 an uncapped one
            can outgrow the rest of the objective.
    """

    term = "independence"
    per_batch = False

    def __init__(self, sign=-1, cap=10.0):
        self.sign = choice(sign, (-1, 1), "sign")
        self.cap = cap

    def distance(self, first, second):
        """Distance `[B]`; each argument is a (mean, stddev, sample) of `[B, Z]`."""
        raise NotImplementedError

    def __call__(self, posterior, z):
        """Value of each example, `[B]`, from q(z given x) and its samples."""
        triples = list(
            zip(
                tf.unstack(posterior["mean"], axis=1),
                tf.unstack(posterior["stddev"], axis=1),
                tf.unstack(z, axis=1),
                strict=True,
            )
        )
        total = tf.zeros(tf.shape(z)[:1])
        for i, first in enumerate(triples):
            for j, second in enumerate(triples):
                if i != j:
                    distance = self.distance(first, second)
                    total += (
                        distance if self.cap is None else tf.minimum(distance, self.cap)
                    )
        return self.sign * total


class L2(PairwiseDistance):
    """Squared Euclidean distance between paired samples."""

    name = "l2"

    def distance(self, first, second):
        return tf.reduce_sum(tf.math.squared_difference(first[2], second[2]), axis=-1)


class KL(PairwiseDistance):
    """Kullback-Leibler divergence between Gaussian posteriors, in nats."""

    name = "kl"

    def distance(self, first, second):
        return divergences.gaussian_kl(*first[:2], *second[:2])


class SymmetricKL(PairwiseDistance):
    """Jeffreys divergence between Gaussian posteriors, in nats."""

    name = "symmetric_kl"

    def distance(self, first, second):
        return divergences.gaussian_kl(*first[:2], *second[:2]) + (
            divergences.gaussian_kl(*second[:2], *first[:2])
        )


class JensenShannon(PairwiseDistance):
    """Jensen-Shannon divergence by Monte Carlo, at most log 2 nats."""

    name = "js"

    def distance(self, first, second):
        return divergences.jensen_shannon(*first[:2], *second[:2], first[2], second[2])


_KINDS = {kind.name: kind for kind in (DHSIC, L2, KL, SymmetricKL, JensenShannon)}


def get(specification):
    """An independence term from its name or configuration; None for none."""
    if specification is None:
        return None
    return resolve(specification, _KINDS, "independence")
