"""Audit of a trained model: checks of inequalities that its numbers must fulfil.

If a bound is reported above the likelihood that it bounds, or a KL divergence below its
own Monte Carlo estimate, the code or the method has a mistake. The checks compare means
over the same images, in nats per image, and allow for four standard errors of the
draws:

- `elbo`: the mean ELBO is at most the importance-sampled log-likelihood;
- `kl_monte_carlo`: the KL divergence of each image, estimated without bias from draws,
  is at most the reported one;
- `mixture_gain`: the ELBO of a mixture of M posteriors exceeds that of the best of them
  by at most log M, the entropy that mixing can add.

A check also fails if one of its numbers is not finite, because the model has diverged.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf.models.gmmp_vae import GMMpVAE
from mvae_tf.models.hooks import Draw, check_model
from mvae_tf.parts.part import check_count

__all__ = ["Check", "audit", "averaged_sample_bound", "suspects"]

# The numbers of `mvae_tf.evaluation.UNITS` that are doubtful if a check fails.
_SUSPECTS = {
    "elbo": ("elbo", "log_likelihood"),
    "kl_monte_carlo": ("elbo", "elbo_kl"),
    "mixture_gain": ("elbo",),
}

_ERRORS_ALLOWED = 4.0
_ROUNDING = 1e-4


class Check(NamedTuple):
    """One inequality, value <= limit, that the numbers of a valid model fulfil.

    Attributes:
        name: str, name of the check; see the top of this module.
        value: float, the value in nats, mean over the images.
        limit: float, the upper limit of the value in nats, mean over the images.
        slack: float, nats by which the value may exceed the limit because of the error
            of the draws.
        failures: int, number of images (1 for a check of means) for which the
            inequality does not hold.
        num_images: int, number of images that were checked.
    """

    name: str
    value: float
    limit: float
    slack: float
    failures: int
    num_images: int

    @property
    def holds(self) -> bool:
        """Whether the inequality holds everywhere, and its sides are finite."""
        sides = (self.value, self.limit, self.slack)
        return self.failures == 0 and all(map(math.isfinite, sides))

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of the attributes, except for the name, and of `holds`."""
        values = self._asdict() | {"holds": self.holds}
        del values["name"]
        return values


# The numbers of a diverged model overflow, and its checks then fail.
@np.errstate(over="ignore", invalid="ignore")
def audit(
    model: keras.Model,
    x: ArrayLike,
    y: ArrayLike | None = None,
    num_samples: int = 500,
    seed: int = 0,
) -> list[Check]:
    """Check the numbers of a model on images.

    Args:
        model: model of this library.
        x: `[B, ...]` images in the pixel scale of the likelihood.
        y: `[B]` labels of the images, for a conditional model.
        num_samples: int, number of draws of the latents of each image, at least 2.
        seed: int that decides all noise.

    Returns:
        The checks; an empty list for a model without an evidence lower bound.

    Raises:
        ValueError: `num_samples` is less than 2.
    """
    check_model(model)
    check_count("num_samples", num_samples, least=2)
    model.input_checks.check(x, y)
    if model.no_bound:
        return []
    bounds = _repeated(lambda s: model.elbo(x, y, seed=s), num_samples, seed)
    likelihood = model.log_likelihood(x, num_samples, y=y, seed=seed)
    checks = [
        _check_means("elbo", bounds, float(np.mean(likelihood))),
        _kl_check(model, x, y, num_samples, seed),
    ]
    if isinstance(model, GMMpVAE) and model.num_components > 1:
        checks.append(_gain_check(model, x, bounds, num_samples, seed))
    return checks


def suspects(results: Mapping[str, Any]) -> set[str]:
    """Return the names of the numbers that are doubtful because a check failed.

    Args:
        results: what `mvae_tf.evaluation.evaluate` returned.
    """
    failed = [n for n, check in results.get("audit", {}).items() if not check["holds"]]
    return {suspect for name in failed for suspect in _SUSPECTS[name]}


def _kl_check(model, x, y, num_samples, seed):
    """Check the reported KL of each image against an unbiased estimate of it."""
    estimate, error = model.kl_monte_carlo(x, num_samples, y=y, seed=seed)
    if isinstance(model, GMMpVAE):
        reported = model.kl_bound(x)
        error_of_reported = 0.0
    else:
        draws = _repeated(
            lambda s: model.elbo_terms(x, y, seed=s)["kl"], num_samples, seed + 1
        )
        reported = np.mean(draws, axis=0)
        error_of_reported = np.std(draws, axis=0, ddof=1) / math.sqrt(len(draws))
    estimate, error, reported = map(np.asarray, (estimate, error, reported))
    slack = _ERRORS_ALLOWED * np.hypot(error, error_of_reported) + _ROUNDING
    return Check(
        "kl_monte_carlo",
        float(np.mean(estimate)),
        float(np.mean(reported)),
        float(np.mean(slack)),
        int(np.sum(~(estimate <= reported + slack))),
        len(estimate),
    )


def _gain_check(model, x, bounds, num_samples, seed):
    """Check how much the `bounds [S, B]` of a mixture exceed those of a component."""
    best = np.max(
        [
            np.mean(
                _repeated(
                    lambda s, m=m: model.component_elbo(x, m, seed=s),
                    num_samples,
                    seed,
                ),
                axis=0,
            )
            for m in range(model.num_components)
        ],
        axis=0,
    )
    return _check_means("mixture_gain", bounds - best, math.log(model.num_components))


def _check_means(name, draws, limit):
    """Check that the mean of `draws [S, B]` is at most `limit`, both in nats."""
    by_draw = np.mean(draws, axis=1)
    error = float(np.std(by_draw, ddof=1)) / math.sqrt(len(by_draw))
    value, slack = float(np.mean(by_draw)), _ERRORS_ALLOWED * error + _ROUNDING
    failed = not value <= limit + slack
    return Check(name, value, limit, slack, int(failed), draws.shape[1])


def _repeated(function, num_samples, seed):
    """Stack `function(seed + i)` for i < S, `[S, B]`; S is a tenth of `num_samples`."""
    repetitions = max(2, num_samples // 10)
    return np.stack([np.asarray(function(seed + i)) for i in range(repetitions)])


def averaged_sample_bound(model: keras.Model, x: ArrayLike, seed: int = 0) -> tf.Tensor:
    """Compute an invalid bound of GMMpVAE, in which z is sum_m pi_m z_m.

    The average of one draw from each component is not a draw from their mixture: its
    variance is smaller, sum_m pi_m^2 times that of equal components, while the KL
    divergence is that of the components. The value can exceed log p(x), in the worst
    case by log(M) / 2 per latent dimension. No model of this library trains with it; it
    shows how far an invalid number may be from a bound.

    Args:
        model: `mvae_tf.models.GMMpVAE`.
        x: `[B, ...]` images in the pixel scale of the likelihood.
        seed: int that decides the draws.

    Returns:
        `[B]` nats. The value is not a bound.
    """
    z, weights = model.sample_posterior(x, seed=seed)
    average = tf.reduce_sum(weights[..., tf.newaxis] * z, axis=1, keepdims=True)
    latents = Draw(tf.broadcast_to(average, tf.shape(z)), weights)
    log_prob = model.log_prob_given(tf.convert_to_tensor(x, tf.float32), latents)
    return log_prob - model.kl_bound(x)
