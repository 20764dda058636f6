"""Audit of a trained model: do its numbers keep the order that mathematics demands?

A bound that is reported above the likelihood that it bounds, or a KL below its own
Monte Carlo estimate, is a mistake of code or of method, however good the number looks.
The checks, in nats and on the same images, each widened by four standard errors:

- `elbo`: the mean ELBO is at most the importance-sampled log-likelihood;
- `kl_monte_carlo`: the KL of each image, drawn without bias, is at most the reported
  one;
- `mixture_gain`: the ELBO of a mixture of M posteriors exceeds that of the best of them
  by log M at most, which is all the entropy that mixing can add.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import gaussian

__all__ = ["Check", "audit", "averaged_sample_bound", "suspects"]

# Numbers of `mvae_tf.evaluation.UNITS` that a failed check makes doubtful.
_SUSPECTS = {
    "elbo": ("elbo", "log_likelihood"),
    "kl_monte_carlo": ("elbo", "elbo_kl"),
    "mixture_gain": ("elbo",),
}

_ERRORS_ALLOWED = 4.0
_ROUNDING = 1e-4


class Check(NamedTuple):
    """One inequality that a valid bound fulfils.

    Attributes:
        name: what must be at most `limit`.
        value: nats, mean over the images.
        limit: nats, mean over the images.
        slack: nats that `value` may exceed `limit` by, from the error of the draws.
        failures: number of images, or 1 for a mean, for which it does not hold.
        num_images: images that were looked at.
    """

    name: str
    value: float
    limit: float
    slack: float
    failures: int
    num_images: int

    @property
    def holds(self):
        """Whether the inequality holds everywhere."""
        return self.failures == 0

    def to_dict(self):
        """Plain dict of all of the above but the name."""
        values = self._asdict() | {"holds": self.holds}
        del values["name"]
        return values


def audit(model, x, y=None, num_samples=500, seed=0):
    """Checks of a model on images.

    Args:
        model: a model of this library.
        x: `[B, ...]` images.
        y: their labels, for a conditional model.
        num_samples: draws of the latents of each image.
        seed: int that decides all noise.

    Returns:
        list of `Check`; empty for a model without a bound, which has none to keep.

    Raises:
        ValueError: on fewer than 2 draws.
    """
    if num_samples < 2:
        raise ValueError(f"Expected num_samples >= 2, got {num_samples}.")
    if model.no_bound:
        return []
    bounds = _repeated(lambda s: model.elbo(x, y, seed=s), num_samples, seed)
    likelihood = model.log_likelihood(x, num_samples, y=y, seed=seed)
    checks = [
        _check_means("elbo", bounds, float(np.mean(likelihood))),
        _kl_check(model, x, y, num_samples, seed),
    ]
    if hasattr(model, "component_elbo") and model.num_components > 1:
        checks.append(_gain_check(model, x, bounds, num_samples, seed))
    return checks


def suspects(results):
    """Names of the numbers that a failed check makes doubtful.

    Args:
        results: what `mvae_tf.evaluation.evaluate` returned.
    """
    failed = [n for n, check in results.get("audit", {}).items() if not check["holds"]]
    return {suspect for name in failed for suspect in _SUSPECTS[name]}


def _kl_check(model, x, y, num_samples, seed):
    """The KL of the objective or of the bound against unbiased draws, by image."""
    estimate, error = model.kl_monte_carlo(x, num_samples, y=y, seed=seed)
    if hasattr(model, "kl_bound"):
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
        int(np.sum(estimate > reported + slack)),
        len(estimate),
    )


def _gain_check(model, x, bounds, num_samples, seed):
    """What the mixture's `bounds [S, B]` gain over those of its best component."""
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
    """Check that the mean of `draws [S, B]` is at most `limit`."""
    by_draw = np.mean(draws, axis=1)
    error = np.std(by_draw, ddof=1) / math.sqrt(len(by_draw))
    value, slack = float(np.mean(by_draw)), _ERRORS_ALLOWED * float(error) + _ROUNDING
    failed = int(value > limit + slack)
    return Check(name, value, limit, slack, failed, draws.shape[1])


def _repeated(function, num_samples, seed):
    """Values `[S, B]` of draws of one latent each; a tenth of the samples will do."""
    repetitions = max(2, num_samples // 10)
    return np.stack([np.asarray(function(seed + i)) for i in range(repetitions)])


def averaged_sample_bound(model, x, seed=0):
    """What GMMpVAE would report, wrongly, with z = sum_m pi_m z_m.

    The average of one draw of each component is no draw of their mixture: its noise is
    smaller by sum_m pi_m^2, while the KL is still that of whole components. The value
    can exceed log p(x), by 1/2 log M a dimension in the worst case, and no model of
    this library trains on it; here it shows how far an invalid number may go.

    Args:
        model: `mvae_tf.models.GMMpVAE`.
        x: `[B, ...]` images.
        seed: int that decides the draws.

    Returns:
        `[B]` nats. It is not a bound.
    """
    posterior = model.encode(x)
    z = gaussian.draw(posterior, RowNoise(content_seeds(x, seed)))
    weights = posterior["weights"]
    average = tf.reduce_sum(weights[..., tf.newaxis] * z, axis=1, keepdims=True)
    latents = {"z": tf.broadcast_to(average, tf.shape(z)), "weights": weights}
    log_prob = model.log_prob_given(tf.convert_to_tensor(x, tf.float32), latents)
    return log_prob - model.kl_bound(x)
