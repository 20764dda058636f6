"""The bound of log p(x), and estimates of log p(x) and of the KL of all latents."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf.models.hooks import Hooks
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts.part import check_count

__all__ = ["Evidence", "ImportanceSampling"]

# The number of draws that are decoded together, from one seed. Results depend on it.
_DRAWS_AT_ONCE = 50
# The number of draws of one call of TensorFlow, which encodes images and pseudo-inputs
# once. Ctrl-C waits for the end of a call.
_DRAWS_OF_A_CALL = 10 * _DRAWS_AT_ONCE


class ImportanceSampling(NamedTuple):
    """Importance-sampled log p(x) of each image, and the number of draws that count.

    Attributes:
        log_likelihood: `[B]` nats, the log of the mean weight of the draws. In
            expectation it is a lower bound of log p(x) that grows with the number of
            draws (Burda et al., "Importance weighted autoencoders", ICLR 2016).
        effective_sample_size: `[B]`, (sum w)^2 / sum w^2 of the weights, between 1 and
            the number of draws. Where it is small, a few draws have nearly all of the
            weight and the estimate is poor.
    """

    log_likelihood: tf.Tensor
    effective_sample_size: tf.Tensor


class Evidence(Hooks):
    """Bound, likelihood and KL of images, computed with the hooks of a model."""

    def elbo(
        self, x: ArrayLike, y: ArrayLike | None = None, seed: int | None = None
    ) -> tf.Tensor:
        """Compute the evidence lower bound of each image from one draw of the latents.

        All KL terms count in full, whatever their weights in training.

        Args:
            x: `[B, ...]` images.
            y: `[B]` labels of a conditional model.
            seed: int that decides the draw; None for the seed of the model.

        Returns:
            `[B]` nats.

        Raises:
            ValueError: the model has no bound; the message says why.
        """
        terms = self.elbo_terms(x, y, seed)
        return -(terms["reconstruction"] + terms["kl"])

    def lacks_bound(self) -> str | None:
        """Return the error of a model without a bound, or None if it has one."""
        if not self.no_bound:
            return None
        name = type(self).__name__
        return (
            f"Expected a model with an evidence lower bound, got {name}: "
            f"{self.no_bound}."
        )

    def elbo_terms(
        self, x: ArrayLike, y: ArrayLike | None = None, seed: int | None = None
    ) -> dict[str, tf.Tensor]:
        """Compute the two parts of -1 times the bound.

        Arguments and errors are those of `elbo`.

        Returns:
            Dict of `[B]` tensors in nats: "reconstruction", -log p(x | z), and "kl",
            the KL of all latents.
        """
        if lacking := self.lacks_bound():
            raise ValueError(lacking)
        x, y = self.input_checks.pair(x, y)
        return self._in_chunks(self._elbo_batch, x, y, self._row_seeds(len(x), seed))

    def log_likelihood(
        self,
        x: ArrayLike,
        num_samples: int,
        y: ArrayLike | None = None,
        seed: int | None = None,
    ) -> tf.Tensor:
        """Estimate log p(x) by importance sampling, `[B]` nats.

        Arguments are those of `importance_sampling`, which says how good the estimate
        is.
        """
        return self.importance_sampling(x, num_samples, y, seed).log_likelihood

    def effective_sample_size(
        self,
        x: ArrayLike,
        num_samples: int,
        y: ArrayLike | None = None,
        seed: int | None = None,
    ) -> tf.Tensor:
        """Compute the effective sample size of `log_likelihood`, `[B]`.

        `ImportanceSampling` says what it is; arguments are those of
        `importance_sampling`.
        """
        return self.importance_sampling(x, num_samples, y, seed).effective_sample_size

    def importance_sampling(
        self,
        x: ArrayLike,
        num_samples: int,
        y: ArrayLike | None = None,
        seed: int | None = None,
    ) -> ImportanceSampling:
        """Estimate log p(x) by importance sampling, and say how good the estimate is.

        The proposal is the posterior, unless the model has another (`draw_proposal`).

        Args:
            x: `[B, ...]` images.
            num_samples: int, number of draws of the latents for each image.
            y: `[B]` labels of a conditional model.
            seed: int that decides the draws; None for the seed of the model.

        Returns:
            `ImportanceSampling`.

        Raises:
            ValueError: `num_samples` is less than 1.
        """
        check_count("num_samples", num_samples)
        x, y = self.input_checks.pair(x, y)
        seeds = self._row_seeds(len(x), seed)
        # Logs of the sums of the weights and of their squares.
        sums = tf.fill([len(x), 2], -np.inf)
        for start in range(0, num_samples, _DRAWS_OF_A_CALL):
            stop = min(start + _DRAWS_OF_A_CALL, num_samples)
            part = self._in_chunks(
                self._log_weight_batch,
                x,
                y,
                seeds,
                np.full([len(x), 2], [start, stop], np.int32),
                rows=64,
            )
            sums = tf.reduce_logsumexp(tf.stack([sums, part]), axis=0)
        log_sum, log_sum_of_squares = tf.unstack(sums, axis=1)
        return ImportanceSampling(
            log_sum - tf.math.log(float(num_samples)),
            tf.exp(2.0 * log_sum - log_sum_of_squares),
        )

    def kl_monte_carlo(
        self,
        x: ArrayLike,
        num_samples: int,
        y: ArrayLike | None = None,
        seed: int | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Estimate KL(q(latents | x) || p(latents)) without bias, from draws.

        Args:
            x: `[B, ...]` images.
            num_samples: int, number of draws of the latents for each image, at least 2.
            y: `[B]` labels of a conditional model.
            seed: int that decides the draws; None for the seed of the model.

        Returns:
            `(mean, standard_error)`, each `[B]` nats.

        Raises:
            ValueError: `num_samples` is less than 2.
        """
        check_count("num_samples", num_samples, least=2)
        x, y = self.input_checks.pair(x, y)
        seeds = self._row_seeds(len(x), seed)
        return self._in_chunks(self._kl_batch, x, y, seeds, rows=8, draws=num_samples)

    # === Graph code on one batch ===

    def _elbo_batch(self, x, y, seed):
        posterior = self.infer(x, y)
        latents = self.draw(posterior, RowNoise(content_seeds(x, seed)))
        return {
            "reconstruction": -self.log_prob_given(x, latents, y),
            "kl": self.kl_nats(posterior, latents),
        }

    def _kl_batch(self, x, y, seed, draws):
        posterior = _repeated(self.infer(x, y), draws)
        latents = self.draw(posterior, RowNoise(content_seeds(x, seed), draws))
        ratios = self.log_density_ratio(posterior, latents)
        mean, variance = tf.nn.moments(tf.reshape(-ratios, [-1, draws]), axes=1)
        return mean, tf.sqrt(variance / (draws - 1.0))

    def _log_weight_batch(self, x, y, seed, draws):
        """Compute logs of the sums of importance weights and of their squares.

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels, or None.
            seed: int32 `[B]`.
            draws: int32 `[B, 2]`, indices of the first draw and of the one after the
                last, the same in all rows.

        Returns:
            `[B, 2]`.
        """
        # Without images the greatest index is a negative number, and nothing is drawn.
        first, last = tf.reduce_max(draws[:, 0]), tf.reduce_max(draws[:, 1])
        seeds = content_seeds(x, seed)
        posterior = self.infer(x, y)

        def add(start, sums):
            num = tf.minimum(last - start, _DRAWS_AT_ONCE)
            noise = RowNoise(seeds + tf.stack([0, start]), num)
            part = self._log_weight_sums(x, y, posterior, noise)
            return start + num, tf.reduce_logsumexp(tf.stack([sums, part]), axis=0)

        with self.prior.encoded_once():
            _, sums = tf.while_loop(
                lambda start, _: start < last,
                add,
                (first, tf.fill([tf.shape(x)[0], 2], -np.inf)),
                parallel_iterations=1,
            )
        return sums

    def _log_weight_sums(self, x, y, posterior, noise):
        """Compute what `_log_weight_batch` does, over the draws of one `RowNoise`."""
        x, y, posterior = _repeated((x, y, posterior), noise.draws)
        latents = self.draw_proposal(posterior, noise)
        log_weights = self.log_importance_weight(x, posterior, latents, y)
        log_weights = tf.reshape(log_weights, [-1, noise.draws])
        powers = tf.stack([log_weights, 2.0 * log_weights], axis=1)
        return tf.reduce_logsumexp(powers, axis=2)


def _repeated(structure, draws):
    """Repeat each row `draws` times in all tensors of a structure; None stays None."""

    def repeat(value):
        return None if value is None else tf.repeat(value, draws, axis=0)

    return tf.nest.map_structure(repeat, structure)
