"""Terms of objectives as pure functions: divergences, dependence and discrepancies.

Every function takes float32 or float64 tensors, or what `tf.convert_to_tensor` takes.
The result is float64 if any array is float64, and otherwise float32; Python numbers are
converted to this dtype. Half precision and integers are converted to float32, because
their 8 or 11 bits are too few for logarithms and for differences of large sums. Every
function works eagerly, inside `tf.function` and under XLA.
"""

from mvae_tf.divergences.discrete import bernoulli_entropy, dirichlet_kl
from mvae_tf.divergences.gaussian import (
    gaussian_dropout_kl,
    gaussian_kl,
    gaussian_w2,
    jensen_shannon,
)
from mvae_tf.divergences.kernels import (
    dhsic,
    dhsic_bandwidth,
    hsic,
    mmd,
    pairwise_dhsic,
)
from mvae_tf.divergences.mixtures import mixture_kl_bound

__all__ = [
    "bernoulli_entropy",
    "dhsic",
    "dhsic_bandwidth",
    "dirichlet_kl",
    "gaussian_dropout_kl",
    "gaussian_kl",
    "gaussian_w2",
    "hsic",
    "jensen_shannon",
    "mixture_kl_bound",
    "mmd",
    "pairwise_dhsic",
]
