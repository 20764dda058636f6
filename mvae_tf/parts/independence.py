"""Terms that push the latents of different components apart.

dHSIC (Eq 13-15 of the MVAE paper) measures the joint dependence of the components in a
batch; the others (Eq 10-11) are distances between pairs of posteriors, which have a
value for each example.

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
    """A term of the objective that pushes components apart."""

    def declare(self, weight: float) -> dict[str, Term]:
        """Declare the term, where `weight` is its weight in the objective."""
        raise NotImplementedError

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        """Compute the declared term, a dict of one entry or of none.

        Args:
            posterior: named tuple with `mean` and `stddev` `[B, K, Z]` of q(z | x).
            z: `[B, K, Z]`, drawn from q(z | x).
            gather_rows: function from rows `[B, ...]` to those of all replicas.
        """
        raise NotImplementedError


class NoIndependence(Independence):
    """The part of a model without an independence term."""

    def get_config(self) -> None:
        """Return None, the configuration of this part."""

    def declare(self, weight: float) -> dict[str, Term]:
        return {}

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        return {}


_KINDS = Kinds("independence", absent=NoIndependence)
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names


@register("dhsic")
class DHSIC(Independence):
    """Joint dependence of all components, estimated from the latents of a batch.

    Args:
        squared: bool, whether the term is the estimator of the paper's equations;
            otherwise it is its square root, as in all of the authors' scripts.
    """

    def __init__(self, squared: bool = False):
        self.squared = squared

    def declare(self, weight: float) -> dict[str, Term]:
        return {"dhsic": Term(weight, per="batch")}

    def terms(self, posterior, z: tf.Tensor, gather_rows: Callable) -> dict:
        return {"dhsic": divergences.dhsic(gather_rows(z), squared=self.squared)}


class PairwiseDistance(Independence):
    """Sum over ordered pairs of components of a distance between their posteriors.

    Eq 10-11 add the distances to an objective that is minimised, which would bring the
    components together; with the default sign they are subtracted. Distances above 10
    count as 10, because most of them have no upper bound, and one that is subtracted
    could become larger than all other terms of the objective.

    Args:
        sign: int, -1 separates the components, +1 is what Eq 10-11 say.
    """

    def __init__(self, sign: int = -1):
        self.sign = choice(sign, (-1, 1), "sign")

    def distance(self, first, second) -> tf.Tensor:
        """Compute the distance of two components, `[B]`.

        Args:
            first: three tensors `[B, Z]`: mean, stddev and z of one component.
            second: three tensors `[B, Z]`, those of the other.
        """
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
    """Squared Euclidean distance between the drawn latents."""

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
    """Jensen-Shannon divergence in nats, estimated from the drawn latents."""

    def distance(self, first, second) -> tf.Tensor:
        (mean_p, stddev_p, z_p), (mean_q, stddev_q, z_q) = first, second
        return divergences.jensen_shannon(mean_p, stddev_p, mean_q, stddev_q, z_p, z_q)
