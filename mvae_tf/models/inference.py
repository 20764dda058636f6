"""Encoding, decoding, reconstruction, generation and interpolation, for all models.

The methods that users call take NumPy arrays or tensors, check them, and run in chunks,
so that any number of rows fits in memory. The methods named `*_batch` are graph code
that computes the same for one batch; exports serve these.
"""

import inspect
import math
import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf.models.hooks import Draw, Hooks
from mvae_tf.noise import RowNoise, check_seed, content_seeds, index_seeds
from mvae_tf.parts.memory import check_memory
from mvae_tf.parts.networks.pixel import in_raster_order
from mvae_tf.parts.part import check_count, is_integer

__all__ = ["Inference"]


class Inference(Hooks):
    """Encoding, decoding and sampling, computed with the hooks of a model.

    Attributes:
        normalized_weights: bool, whether mixing weights sum to 1, which `decode`
            checks.
    """

    normalized_weights: bool = True

    # === What users call ===

    def encode(self, x: ArrayLike, y: ArrayLike | None = None) -> dict[str, tf.Tensor]:
        """Compute the posterior parameters of each component.

        Args:
            x: `[B, ...]` images.
            y: `[B]` labels, or one-hot rows, of a conditional model.

        Returns:
            Dict of float32 tensors: "mean" and "stddev" `[B, K, Z]`, and "weights"
            `[B, K]`, the expected mixing weights, whose rows sum to 1.
        """
        x, y = self.input_checks.pair(x, y)
        # Larger products where they do not take much memory.
        size = self.num_components * math.prod(self.input_shape)
        rows = 1024 if self.network.dense and size <= 2**13 else 256
        return self._in_chunks(self.encode_batch, x, y, rows=rows)

    def sample_posterior(
        self, x: ArrayLike, y: ArrayLike | None = None, seed: int | None = None
    ) -> Draw:
        """Draw latents from q(latents | x), once for each image.

        Args:
            x: `[B, ...]` images.
            y: `[B]` labels of a conditional model.
            seed: int that decides the draws; None for the seed of the model.

        Returns:
            `Draw` of `z` `[B, K, Z]` (`[B, 1, Z]` in a model of categories, which share
            one latent) and `weights` `[B, K]`.
        """
        x, y = self.input_checks.pair(x, y)
        return self._in_chunks(self._sample_batch, x, y, self._row_seeds(len(x), seed))

    def _sample_batch(self, x, y, seed):
        latents = self.draw(self.infer(x, y), RowNoise(content_seeds(x, seed)))
        return Draw(latents.z, latents.weights)

    def decode(
        self,
        z: ArrayLike,
        weights: ArrayLike | None = None,
        y: ArrayLike | None = None,
    ) -> tf.Tensor:
        """Compute the mean of p(x | z).

        A decoder that reads pixels makes them one after the other, each as the mean of
        its own distribution, p(pixel | z, pixels before it).

        Args:
            z: `[B, K, Z]`.
            weights: `[B, K]`, whose rows sum to 1, or None for the expected weights of
                the prior, 1/K.
            y: `[B]` labels of a conditional model.

        Returns:
            `[B, H, W, C]` in the pixel scale of the likelihood.

        Raises:
            ValueError: on a wrong shape, and on weights that are no mixing weights.
        """
        z = _numbers("z", z)
        expected = (self.num_components, self.latent_dim)
        if z.shape.rank != 3 or tuple(z.shape[1:]) != expected:
            raise ValueError(
                f"Expected z [B, {expected[0]}, {expected[1]}], got {list(z.shape)}."
            )
        num = z.shape[0]
        if weights is None:
            weights = tf.fill([num, expected[0]], 1.0 / expected[0])
        weights = _numbers("weights", weights)
        if tuple(weights.shape) != (num, expected[0]):
            raise ValueError(
                f"Expected weights [{num}, {expected[0]}], got {list(weights.shape)}."
            )
        self._check_weights(weights.numpy())
        self.input_checks.refuse_labels(y)
        return self._in_chunks(
            self.decode_batch, z, weights, self.input_checks.one_hot(y, num)
        )

    def _check_weights(self, weights):
        sums = weights.sum(axis=1)
        least = 1.0 - 1e-3 if self.normalized_weights else 0.0
        wrong = ~((weights >= -1e-6).all(axis=1) & (sums >= least) & (sums <= 1.001))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                "Expected weights >= 0 whose rows sum to 1, got "
                f"{[float(f'{w:.4g}') for w in weights[row]]} in row {row}."
            )

    def reconstruct(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        component: int | None = None,
        seed: int | None = None,
        **draw_options: Any,
    ) -> tf.Tensor:
        """Reconstruct images.

        Args:
            x: `[B, ...]` images.
            y: `[B]` labels of a conditional model.
            component: int, index of the component to use alone; None for the mixture.
            seed: None reconstructs from posterior means and expected weights; an int
                draws latents, weights and masks, which for each image depend on the
                seed and on the image itself.
            **draw_options: keyword arguments of the model's `draw`, such as
                `masked=False` of MVAE.

        Returns:
            `[B, H, W, C]` in the pixel scale of the likelihood.

        Raises:
            ValueError: on images, labels or a component that do not fit the model.
        """
        component = self._checked_component(component)
        self._check_draw_options(draw_options, seed)
        x, y = self.input_checks.pair(x, y)
        return self._in_chunks(
            self.reconstruct_batch,
            x,
            y,
            None if seed is None else self._row_seeds(len(x), seed),
            component=component,
            **draw_options,
        )

    def _check_draw_options(self, options, seed):
        known = inspect.signature(self.draw).parameters.keys() - {"posterior", "noise"}
        for key in options:
            if key not in known:
                raise TypeError(
                    f"Expected options of {type(self).__name__}.draw, got {key!r}."
                )
            if seed is None:
                raise ValueError(
                    f"Expected a seed with {key}, got None, which draws nothing."
                )

    def generate(
        self,
        num: int,
        component: int | None = None,
        y: ArrayLike | None = None,
        seed: int | None = None,
        sampler: Any = None,
    ) -> tf.Tensor:
        """Generate images from latents of the model's prior, or of a sampler.

        The latents are drawn, and the image is the mean of p(x | z). A decoder that
        reads pixels also draws each pixel, which depends on those before it.

        Args:
            num: int, number of images, at least 1.
            component: int, index of the component to use alone; None for the mixture.
            y: int, the label of all images, or `[num]` labels, for a conditional model;
                None draws labels uniformly.
            seed: int; image i is then a function of (seed, i). None draws new images
                at each call.
            sampler: `mvae_tf.samplers.Sampler` of this model, which draws the latents
                in place of the prior.

        Returns:
            `[num, H, W, C]` in the pixel scale of the likelihood.

        Raises:
            ValueError: on an argument that does not fit the model.
        """
        if not is_integer(num) or not 1 <= num < 2**31:
            raise ValueError(f"Expected num in 1..{2**31 - 1}, got {num!r}.")
        check_memory(f"{num:,} images", num * math.prod(self.input_shape), copies=2)
        component = self._checked_component(component)
        self.input_checks.refuse_labels(y)
        options = {"component": component}
        if sampler is not None:
            if component is not None:
                raise ValueError("Expected a component or a sampler, got both.")
            # The module of samplers imports the models, so it is imported here.
            from mvae_tf.evaluation.samplers import check_sampler

            check_sampler(sampler, self)
            options = {"sampler": sampler}
        seeds = index_seeds(num, _seed_or_fresh(seed))
        y = None if y is None else self.input_checks.one_hot(y, num)
        return self._in_chunks(self.generate_batch, seeds, y, **options)

    def interpolate(
        self, x0: ArrayLike, x1: ArrayLike, steps: int, y: ArrayLike | None = None
    ) -> tf.Tensor:
        """Interpolate between images in their means and weights (MVAE Eq 33-35).

        Args:
            x0: `[B, ...]` images.
            x1: `[B, ...]` images.
            steps: int, number of frames, at least 2.
            y: `[B]` labels of a conditional model, for both x0 and x1.

        Returns:
            `[B, steps, H, W, C]`; the first and the last frame are the reconstructions
            of x0 and of x1.

        Raises:
            ValueError: on images that do not fit the model or each other, and on too
                few frames.
        """
        check_count("steps", steps, least=2)
        x0, y = self.input_checks.pair(x0, y)
        x1 = self.input_checks.images(x1)
        if len(x0) != len(x1):
            raise ValueError(
                f"Expected as many images x1 as x0, got {len(x1)} and {len(x0)}."
            )
        frames = [
            self._in_chunks(self.interpolate_batch, x0, x1, tf.fill([len(x0)], a), y)
            for a in np.linspace(0.0, 1.0, steps, dtype=np.float32)
        ]
        return tf.stack(frames, axis=1)

    # === Graph code on one batch ===

    def __call__(self, x, y=None, **kwargs):
        """Reconstruct images, after checking them unless they are symbolic tensors."""
        symbolic = tf.is_tensor(x) and not hasattr(x, "numpy")
        if not symbolic and not isinstance(x, keras.KerasTensor):
            checked, y = self.input_checks.pair(x, y)
            # NumPy in between would cut the gradient with respect to x.
            x = x if tf.is_tensor(x) else tf.constant(checked)
        return super().__call__(x, y=y, **kwargs)

    def call(self, x, y=None, training=False):
        """Reconstruct deterministically, as `predict` does."""
        x, y = self.input_checks.unpack((x, y))
        return self.reconstruct_batch(x, y)

    def encode_batch(self, x, y):
        """Compute what `encode` returns for a batch."""
        posterior = self.infer(x, y)
        return {k: getattr(posterior, k) for k in ("mean", "stddev", "weights")}

    def decode_batch(self, z, weights, y, noise=None):
        """Compute what `decode` returns for a batch.

        Args:
            z: `[B, K, Z]`.
            weights: `[B, K]`.
            y: `[B, num_classes]` one-hot labels, or None.
            noise: noise from which a decoder that reads pixels draws them; None takes
                the mean of each pixel.
        """
        if not self.network.autoregressive:
            return self.likelihood.mean(self.decode_outputs(z, weights, y))
        num, (height, width, _) = tf.shape(z)[0], self.input_shape
        choose, uniform = self.likelihood.mean, None
        if noise is not None:
            choose = self.likelihood.quantile
            blank = tf.zeros([num, height, width, 1])
            # Densities on the whole line have no quantile at 0.
            uniform = noise.uniform("pixels", blank, least=np.finfo(np.float32).tiny)
        return in_raster_order(
            lambda x: self.decode_outputs(z, weights, y, x=x),
            choose,
            (num, height, width),
            uniform,
        )

    def reconstruct_batch(self, x, y, seed=None, component=None, **draw_options):
        """Compute what `reconstruct` returns for a batch.

        `seed` is None, an int32 scalar, or int32 `[B]`.
        """
        posterior = self.infer(x, y)
        if seed is None:
            latents = Draw(posterior.mean, posterior.weights)
        else:
            noise = RowNoise(content_seeds(x, seed))
            latents = self.draw(posterior, noise, **draw_options)
        weights = self._select(latents.weights, component)
        return self.decode_batch(latents.z, weights, y)

    def generate_batch(self, seeds, y, component=None, sampler=None):
        """Compute what `generate` returns, from one seed per image, int32 `[B, 2]`."""
        noise = RowNoise(seeds)
        like = tf.zeros([tf.shape(seeds)[0], self.num_components])
        latents = self._draw_unseen(like, noise, sampler)
        if y is None and self.conditional:
            labels = noise.integers("labels", like[:, 0], self.num_classes)
            y = tf.one_hot(labels, self.num_classes)
        weights = self._select(latents.weights, component)
        return self.decode_batch(latents.z, weights, y, noise)

    def _draw_unseen(self, like, noise, sampler):
        """Draw latents from the prior, or from a sampler if there is one."""
        if sampler is None:
            return self.draw_prior(like, noise)
        return sampler.draw(self, like, noise)

    def interpolate_batch(self, x0, x1, position, y):
        """Make one frame per row, at `position [B]` from 0 at x0 to 1 at x1."""
        first, last = self.infer(x0, y), self.infer(x1, y)

        def between(key):
            start, end = getattr(first, key), getattr(last, key)
            a = tf.reshape(position, [-1, *[1] * (start.shape.rank - 1)])
            return (1.0 - a) * start + a * end

        return self.decode_batch(between("mean"), between("weights"), y)

    def _select(self, weights, component):
        if component is None:
            return weights
        index = tf.fill(tf.shape(weights)[:1], component)
        return tf.one_hot(index, self.num_components)


def _seed_or_fresh(seed):
    """Return a seed; for None one that `keras.utils.set_random_seed` decides."""
    return random.randrange(2**31) if seed is None else check_seed(seed)


def _numbers(name, values):
    """Return finite numbers as a float32 tensor."""
    try:
        found = np.asarray(values)
    except ValueError:
        found = np.array(None)  # Rows of different lengths.
    if found.dtype.kind not in "biuf":
        raise ValueError(f"Expected {name} as an array of numbers, got {values!r}.")
    with np.errstate(over="ignore"):
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"Expected finite {name}, got NaN or inf.")
    return tf.constant(found)
