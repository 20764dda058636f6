"""Upper bounds on the KL divergence between Gaussian mixtures."""

import functools
import math

import tensorflow as tf

from mvae_tf.divergences.inputs import TensorLike, floats
from mvae_tf.parts.part import choice

__all__ = ["mixture_kl_bound"]

_MATCHED_FORMS = ("paper_avg", "soft_k", "min_k")
_FORMS = (*_MATCHED_FORMS, "lse_component", "variational")
_MATCHINGS = ("greedy", "optimal")
_MOST_OPTIMAL_COMPONENTS = 8
_LEAST_WEIGHT = 1e-30
_VARIATIONAL_ITERATIONS = 20


def mixture_kl_bound(
    means_q: TensorLike,
    stddevs_q: TensorLike,
    weights_q: TensorLike,
    means_p: TensorLike,
    stddevs_p: TensorLike,
    weights_p: TensorLike,
    matching: str = "greedy",
    form: str = "soft_k",
) -> tf.Tensor:
    """Compute an upper bound of KL(q || p) between mixtures of diagonal Gaussians.

    q has M components, and p is the average of K mixtures of M' components each, like
    the prior of K pseudo-inputs of Guo et al. ("Variational autoencoder with optimizing
    Gaussian mixture model priors", IEEE Access 2020). Let pi and pi' be the weights in
    q and p, KL_kmn the divergence of component m of q from component n of mixture k,
    and beta a one-to-one matching of components. With

        U_k = sum_m pi_m (log(pi_m / pi'_beta(m)) + KL_k,m,beta(m)),

    the bounds are:

    | form | value |
    |---|---|
    | "paper_avg" | mean_k U_k, their Eq 22; its best prior has K equal mixtures |
    | "soft_k" | -log mean_k exp(-U_k); never above "paper_avg" |
    | "min_k" | min_k U_k + log K; never below "soft_k" |
    | "lse_component" | -sum_m pi_m log sum_kn (pi'_n / K) exp(-KL_kmn); no matching |
    | "variational" | Hershey and Olsen (ICASSP 2007), 20 iterations; the tightest |

    All KL_kmn are computed by one matrix product and clipped at 0. They lose digits
    where means of q are many standard deviations of p away from the means of p.

    Args:
        means_q: `[..., M, D]`.
        stddevs_q: `[..., M, D]`, positive.
        weights_q: `[M]` or `[..., M]`, whose rows sum to 1.
        means_p: `[K, M', D]`, or `[..., K, M', D]` with the leading axes of q.
        stddevs_p: positive tensor of the shape of `means_p`.
        weights_p: `[M']`, `[K, M']` or `[..., K, M']`, whose rows sum to 1.
        matching: str, how the first three forms, which need M = M', match components.
            With "greedy" the components of q choose one after the other, those of large
            weight first (their Eq 13); "optimal" is the best of all matchings, for up
            to 8 components.
        form: str, see the table.

    Returns:
        `[...]`, nats. Weights under 1e-30 count as 1e-30 where a logarithm is taken.

    Raises:
        ValueError: shapes are wrong, or `matching` or `form` is unknown.
    """
    choice(form, _FORMS, "form")
    choice(matching, _MATCHINGS, "matching")
    means_q, stddevs_q, weights_q, means_p, stddevs_p, weights_p = floats(
        means_q=means_q,
        stddevs_q=stddevs_q,
        weights_q=weights_q,
        means_p=means_p,
        stddevs_p=stddevs_p,
        weights_p=weights_p,
    )
    _check_shapes(means_q, stddevs_q, weights_q, means_p, stddevs_p, weights_p)
    weights_q = tf.broadcast_to(weights_q, tf.shape(means_q)[:-1])
    log_p = _log(tf.broadcast_to(weights_p, tf.shape(means_p)[:-1]))
    kl = _pairwise_kl(means_q, stddevs_q, means_p, stddevs_p)
    if form in _MATCHED_FORMS:
        match = _greedy if matching == "greedy" else _optimal
        return _over_mixtures(match(kl, weights_q, log_p), form)
    return _one_mixture(kl, weights_q, log_p, form)


def _check_shapes(
    means_q: tf.Tensor,
    stddevs_q: tf.Tensor,
    weights_q: tf.Tensor,
    means_p: tf.Tensor,
    stddevs_p: tf.Tensor,
    weights_p: tf.Tensor,
) -> None:
    q, p = means_q.shape, means_p.shape
    same_q = q.is_compatible_with(stddevs_q.shape)
    if q.rank is None or q.rank < 2 or None in q[-2:] or not same_q:
        raise ValueError(
            "Expected means_q and stddevs_q of one shape [..., M, D], "
            f"got {q} and {stddevs_q.shape}."
        )
    same_p = p.is_compatible_with(stddevs_p.shape)
    if p.rank not in (3, q.rank + 1) or None in p[-3:] or not same_p:
        raise ValueError(
            "Expected means_p and stddevs_p of one shape [K, M, D] or [..., K, M, D] "
            f"with the axes of q, got {p} and {stddevs_p.shape}."
        )
    if q[-1] != p[-1]:
        raise ValueError(
            f"Expected q and p of equal dimension, got {q[-1]} and {p[-1]}."
        )
    if weights_q.shape[-1:] != q[-2:-1] or weights_p.shape[-1:] != p[-2:-1]:
        raise ValueError(
            f"Expected weights of {q[-2]} components of q and {p[-2]} of p, "
            f"got shapes {weights_q.shape} and {weights_p.shape}."
        )


def _pairwise_kl(
    means_q: tf.Tensor, stddevs_q: tf.Tensor, means_p: tf.Tensor, stddevs_p: tf.Tensor
) -> tf.Tensor:
    """Compute the KL of each component of q from each of p, `[..., M, K, M']`.

    It is a matrix product, so that there is no tensor `[..., M, K, M', D]`.
    """
    num_mixtures, num_p, dimension = means_p.shape[-3:]
    # A shift changes no divergence, but it would add rounding errors to the products.
    center = tf.stop_gradient(tf.reduce_mean(means_p, axis=(-3, -2)))
    means_q -= center[..., None, :]
    means_p -= center[..., None, None, :]
    precisions = 1.0 / tf.square(stddevs_p)
    q = tf.concat([tf.square(stddevs_q) + tf.square(means_q), means_q], axis=-1)
    p = tf.concat([precisions, -2.0 * means_p * precisions], axis=-1)
    offset_q = 2.0 * tf.reduce_sum(tf.math.log(stddevs_q), axis=-1) + dimension
    offset_p = tf.reduce_sum(
        2.0 * tf.math.log(stddevs_p) + tf.square(means_p) * precisions, axis=-1
    )
    if p.shape.rank == 3:
        products = tf.tensordot(q, p, [[-1], [-1]])
    else:
        flat = tf.reshape(p, _join(p, -3, [num_mixtures * num_p, 2 * dimension]))
        products = tf.matmul(q, flat, transpose_b=True)
        products = tf.reshape(products, _join(products, -1, [num_mixtures, num_p]))
    kl = products + offset_p[..., None, :, :] - offset_q[..., None, None]
    return tf.maximum(0.5 * kl, 0.0)


def _greedy(kl: tf.Tensor, weights_q: tf.Tensor, log_p: tf.Tensor) -> tf.Tensor:
    """Compute U_k, `[..., K]`, where components of large weight choose first."""
    _require_equal_numbers(kl)
    order = tf.argsort(weights_q, direction="DESCENDING", stable=True)
    batch_dims = order.shape.rank - 1
    kl = tf.gather(kl, order, axis=batch_dims, batch_dims=batch_dims)
    weights_q = tf.gather(weights_q, order, axis=batch_dims, batch_dims=batch_dims)
    infinity = tf.constant(math.inf, kl.dtype)
    # Slices would do the same, but the gradient of each would be as large as `kl`.
    of_components = tf.unstack(kl, axis=-3)
    taken = tf.zeros_like(of_components[0], tf.bool)
    total = tf.zeros_like(of_components[0][..., 0])
    for m, of_component in enumerate(of_components):
        cost, chosen = _least(tf.where(taken, infinity, of_component - log_p))
        taken = tf.logical_or(taken, chosen)
        weight = weights_q[..., m, None]
        total += weight * (_log(weight) + cost)
    return total


def _optimal(kl: tf.Tensor, weights_q: tf.Tensor, log_p: tf.Tensor) -> tf.Tensor:
    """Compute U_k, `[..., K]`, with the best matching.

    The best matching of the first m components of q with a subset of m components of p
    extends a best matching of the first m - 1 ones. This takes 2^M M / 2 steps, where
    there are M! matchings.
    """
    _require_equal_numbers(kl)
    size = kl.shape[-1]
    if size > _MOST_OPTIMAL_COMPONENTS:
        raise ValueError(
            f"Expected at most {_MOST_OPTIMAL_COMPONENTS} components for matching "
            f"'optimal', got {size}."
        )
    costs = []
    for m in range(size):
        weight = weights_q[..., m, None, None]
        costs.append(weight * (_log(weight) + kl[..., m, :, :] - log_p))
    best = {0: tf.zeros_like(costs[0][..., 0])}
    for subset in range(1, 2**size):
        cost = costs[subset.bit_count() - 1]
        members = [n for n in range(size) if subset >> n & 1]
        best[subset] = functools.reduce(
            tf.minimum, [best[subset ^ (1 << n)] + cost[..., n] for n in members]
        )
    return best[2**size - 1]


def _over_mixtures(bounds: tf.Tensor, form: str) -> tf.Tensor:
    """Combine the U_k of the K mixtures, `[..., K]`, into one bound, `[...]`."""
    log_num = math.log(bounds.shape[-1])
    if form == "paper_avg":
        return tf.reduce_mean(bounds, axis=-1)
    if form == "min_k":
        return _least(bounds)[0] + log_num
    return log_num - tf.reduce_logsumexp(-bounds, axis=-1)


def _one_mixture(
    kl: tf.Tensor, weights_q: tf.Tensor, log_p: tf.Tensor, form: str
) -> tf.Tensor:
    """Compute a bound that takes p as one mixture of K M' components, `[...]`."""
    num_mixtures, num_p = kl.shape[-2:]
    kl = tf.reshape(kl, _join(kl, -2, [num_mixtures * num_p]))
    log_p = tf.reshape(log_p, _join(log_p, -2, [1, num_mixtures * num_p]))
    log_p -= math.log(num_mixtures)
    divergence = -tf.reduce_logsumexp(log_p - kl, axis=-1)
    if form == "variational":
        log_shares = _variational_log_shares(kl, _log(weights_q)[..., None], log_p)
        divergence = _log(weights_q) - tf.reduce_logsumexp(
            log_p + log_shares - kl, axis=-1
        )
    return tf.reduce_sum(weights_q * divergence, axis=-1)


def _variational_log_shares(
    kl: tf.Tensor, log_q: tf.Tensor, log_p: tf.Tensor
) -> tf.Tensor:
    """Compute log shares of the components of p among those of q, `[..., M, N]`.

    These are the variational parameters of Hershey and Olsen, found by a fixed-point
    iteration. They get no gradient, because the derivative of the bound with respect to
    them is 0 at the optimum.
    """
    kl, log_q, log_p = map(tf.stop_gradient, (kl, log_q, log_p))
    log_shares = log_q
    for _ in range(_VARIATIONAL_ITERATIONS):
        log_joint = log_q + tf.nn.log_softmax(log_p + log_shares - kl, axis=-1)
        log_shares = tf.nn.log_softmax(log_joint, axis=-2)
    return log_shares


def _require_equal_numbers(kl: tf.Tensor) -> None:
    num_q, num_p = kl.shape[-3], kl.shape[-1]
    if num_q != num_p:
        raise ValueError(
            "Expected as many components in q as in p for a one-to-one matching, "
            f"got {num_q} and {num_p}."
        )


def _least(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the least value along the last axis, and a mask of its place.

    The gradient of `tf.reduce_min` looks for entries that equal the minimum. Where XLA
    rounds the two differently, it finds none and divides by zero.
    """
    where = tf.one_hot(tf.argmin(values, axis=-1), values.shape[-1], True, False)
    return tf.reduce_sum(tf.where(where, values, tf.zeros_like(values)), -1), where


def _log(weights: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(weights, _LEAST_WEIGHT))


def _join(tensor: tf.Tensor, axis: int, sizes: list[int]) -> tf.Tensor:
    """Return the shape of `tensor` before `axis`, followed by `sizes`."""
    return tf.concat([tf.shape(tensor)[:axis], sizes], axis=0)
