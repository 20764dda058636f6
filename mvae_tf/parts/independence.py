"""Terms that push the latents of different components apart.

dHSIC (Eq 13-15 of the MVAE paper) measures joint dependence on a batch; the others
(Eq 10-11) are distances between pairs of posteriors, one value per example.

Source: Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), Sec III-B.
"""

from collections.abc import Callable

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.parts.part import Kinds, Part, choice
from mvae_tf.parts.terms import Term

__all__ = [
    "DHSIC",
    "JensenShannon",
    "KL",
    "L2",
    "Independence",
    "NoIndependence",
    "PairwiseDistance",
    "SymmetricKL",
    "get",
    "names",
    "register",
]


_CAP = 10.0


class Independence(Part):
    """A term of the objective about the latents of different components."""

    def declare(self, weight: float) -> dict[str, Term]:
        """Declare the term, with its weight in the objective."""
        raise NotImplementedError

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        """Compute the declared term.

        Args:
            posterior: `mean` and `stddev` `[B, K, Z]` of q(z | x).
            z: `[B, K, Z]`, drawn from it.
            gather_rows: function from rows `[B, ...]` to those of all replicas.
        """
        raise NotImplementedError


class NoIndependence(Independence):
    """No term at all."""

    def get_config(self) -> None:
        """Return None, which stands for this part in a configuration."""

    def declare(self, weight: float) -> dict[str, Term]:
        return {}

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        return {}


_KINDS = Kinds("independence", absent=NoIndependence)
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names


@register("dhsic")
class DHSIC(Independence):
    """Dependence of all components at once, estimated on a batch of samples.

    Args:
        squared: False adds the square root of the estimator, as every run of the
            authors does; True adds the estimator of the paper's equations.
    """

    def __init__(self, squared: bool = False):
        self.squared = squared

    def declare(self, weight: float) -> dict[str, Term]:
        return {"dhsic": Term(weight, per="batch")}

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        return {"dhsic": divergences.dhsic(gather_rows(z), squared=self.squared)}


class PairwiseDistance(Independence):
    """Sum over ordered pairs of components of a distance d between their posteriors.

    Eq 10-11 add the distances to an objective that is minimised, which would draw the
    components together; the default sign separates them instead. A distance counts up
    to 10: most of them are unbounded, and one that is subtracted could outgrow the rest
    of the objective.

    Args:
        sign: int, -1 separates the components, +1 follows Eq 10-11 literally.
    """

    def __init__(self, sign: int = -1):
        self.sign = choice(sign, (-1, 1), "sign")

    def distance(self, first, second) -> tf.Tensor:
        """Compute a distance `[B]` between (mean, stddev, sample) of `[B, Z]` each."""
        raise NotImplementedError

    def declare(self, weight: float) -> dict[str, Term]:
        return {"independence": Term(weight)}

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        triples = list(
            zip(
                tf.unstack(posterior.mean, axis=1),
                tf.unstack(posterior.stddev, axis=1),
                tf.unstack(z, axis=1),
                strict=True,
            )
        )
        total = tf.zeros(tf.shape(z)[:1])
        for i, first in enumerate(triples):
            for j, second in enumerate(triples):
                if i != j:
                    total += tf.minimum(self.distance(first, second), _CAP)
        return {"independence": self.sign * total}


@register("l2")
class L2(PairwiseDistance):
    """Squared Euclidean distance between paired samples."""

    def distance(self, first, second) -> tf.Tensor:
        return tf.reduce_sum(tf.math.squared_difference(first[2], second[2]), axis=-1)


@register("kl")
class KL(PairwiseDistance):
    """Kullback-Leibler divergence between Gaussian posteriors, in nats."""

    def distance(self, first, second) -> tf.Tensor:
        return divergences.gaussian_kl(*first[:2], *second[:2])


@register("symmetric_kl")
class SymmetricKL(PairwiseDistance):
    """Jeffreys divergence between Gaussian posteriors, in nats."""

    def distance(self, first, second) -> tf.Tensor:
        return divergences.gaussian_kl(*first[:2], *second[:2]) + (
            divergences.gaussian_kl(*second[:2], *first[:2])
        )


@register("js")
class JensenShannon(PairwiseDistance):
    """Jensen-Shannon divergence by Monte Carlo, at most log 2 nats."""

    def distance(self, first, second) -> tf.Tensor:
        (mean_p, stddev_p, z_p), (mean_q, stddev_q, z_q) = first, second
        return divergences.jensen_shannon(mean_p, stddev_p, mean_q, stddev_q, z_p, z_q)
