"""What a model writes: its posterior, draws, densities, decoder and objective.

`TrainingStep`, `Inference` and `Evidence` are written in terms of these methods alone.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mvae_tf.models.inputs import Inputs
from mvae_tf.noise import Noise, check_seed
from mvae_tf.parts.likelihoods import Likelihood
from mvae_tf.parts.networks.network import Network
from mvae_tf.parts.part import is_integer
from mvae_tf.parts.priors import Prior

__all__ = ["Draw", "Hooks", "Posterior", "check_model"]


class Posterior(NamedTuple):
    """q(z | x): a diagonal Gaussian per component, and expected mixing weights.

    Attributes:
        mean: `[B, K, Z]`.
        stddev: `[B, K, Z]`, positive.
        weights: `[B, K]`, rows that sum to 1.
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor


class Draw(NamedTuple):
    """Latents drawn from a posterior or from a prior.

    Attributes:
        z: `[B, K, Z]`, one latent of each component.
        weights: `[B, K]`, the weights that components are mixed by.
    """

    z: tf.Tensor
    weights: tf.Tensor


class _GraphFunctions:
    """Compiled functions of one model, in an object that Keras does not track."""

    def __init__(self):
        self.functions = {}

    def get(self, function, **static):
        key = (function.__name__, *sorted(static.items()))
        if key not in self.functions:
            self.functions[key] = tf.function(
                functools.partial(function, **static),
                autograph=False,
                reduce_retracing=True,
            )
        return self.functions[key]


class Hooks(keras.Model):
    """Attributes and methods that every model has, to be written by its class.

    Attributes:
        no_bound: str, why the model has no evidence lower bound; None where it has one.
        reads_pixels: bool, whether `decode_outputs` takes the image, `x=`, for decoders
            that predict each pixel from those before it.
        has_categories: bool, whether the K axis counts categories that share one
            encoder and decoder, rather than components with networks of their own.
        has_components: bool, whether the K axis counts 2 or more components that have
            encoders, decoders and mixing weights of their own.
        relaxed: bool, whether the networks get relaxed categories in training, so that
            the objective is no bound; `elbo` takes one-hot categories all the same.
        prior: `Prior`, the density of the latents, in models whose prior is one object.
    """

    no_bound: str | None = None
    reads_pixels: bool = False
    has_categories: bool = False
    has_components: bool = False
    relaxed: bool = False
    prior: Prior = Prior()

    input_shape: tuple[int, ...]
    latent_dim: int
    num_components: int
    num_classes: int | None
    network: Network
    likelihood: Likelihood
    seed: int
    input_checks: Inputs

    # === Written by every model ===

    def infer(self, x, y=None, noise=None, training=False):
        """Compute the parameters of q(latents | x).

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels, or None.
            noise: noise of the step, for the dropout of layers.
            training: bool, whether the step trains.

        Returns:
            `Posterior`, or a named tuple that has its fields and further ones, all with
            the leading axis B.
        """
        raise NotImplementedError

    def draw_prior(self, like: tf.Tensor, noise: Noise):
        """Draw latents from the prior.

        Args:
            like: any `[B, K]` tensor.
            noise: noise of the rows.

        Returns:
            `Draw`.
        """
        raise NotImplementedError

    def log_density_ratio(self, posterior, latents) -> tf.Tensor:
        """Compute log p(latents) - log q(latents | x) in nats, `[B]`."""
        raise NotImplementedError

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        """Compute outputs of the likelihood from z `[B, K, Z]` and weights `[B, K]`.

        With an autoregressive network, a model that `reads_pixels` also gets the image,
        `x=` `[B, H, W, 1]`.
        """
        raise NotImplementedError

    # === What most models leave as it is ===

    def draw(self, posterior, noise: Noise):
        """Draw latents from q(latents | x): here z of each component's Gaussian.

        Args:
            posterior: what `infer` returned.
            noise: noise of the step or of the rows.

        Returns:
            `Draw`, or a named tuple that has its fields and further ones.
        """
        z = noise.normal("z", posterior.mean, posterior.stddev)
        return Draw(z, posterior.weights)

    def kl_nats(self, posterior, latents) -> tf.Tensor:
        """Compute KL(q(latents | x) || p(latents)) of the bound in nats, `[B]`.

        Here it is its unbiased estimate at `latents`, the draw that the bound is
        evaluated at. Models with a closed form return that instead.
        """
        return -self.log_density_ratio(posterior, latents)

    def regularizers(self, posterior, latents, noise: Noise) -> dict[str, tf.Tensor]:
        """Compute the terms that an objective adds to reconstruction and KL."""
        return {}

    def loss_terms(self, x, y, noise: Noise, training: bool) -> dict[str, tf.Tensor]:
        """Compute the declared terms of the objective for a batch, without weights.

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels, or None.
            noise: noise of the step.
            training: bool, whether the step trains.

        Returns:
            Dict from the name of each `Term` to a tensor `[B]`, in nats unless the
            term says otherwise, or to a scalar for a term per batch.
        """
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        return {
            "reconstruction": self.reconstruction_error(x, latents, y, noise, training),
            "kl": self.kl_nats(posterior, latents),
            **self.regularizers(posterior, latents, noise),
        }

    def draw_proposal(self, posterior, noise: Noise):
        """Draw latents from the proposal of importance sampling: q(latents | x) here.

        A model with another proposal overrides `log_importance_weight` accordingly.
        """
        return self.draw(posterior, noise)

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        """Compute log p(x | latents) in nats, `[B]`.

        A model that draws from each component of q at once returns the mean over q.
        """
        z, weights = latents.z, latents.weights
        pixels = {"x": x} if self.network.autoregressive else {}
        outputs = self.decode_outputs(z, weights, y, noise, training, **pixels)
        return self.likelihood.log_prob(x, outputs)

    def log_importance_weight(self, x, posterior, latents, y=None) -> tf.Tensor:
        """Compute log p(x, latents) - log q(latents | x) in nats, `[B]`."""
        ratio = self.log_density_ratio(posterior, latents)
        return self.log_prob_given(x, latents, y) + ratio

    def reconstruction_error(self, x, latents, y=None, noise=None, training=False):
        """Compute -log p(x | latents) in nats without the likelihood's constant, `[B]`.

        The constant depends on nothing that is trained; see `Likelihood.constant`.
        """
        log_prob = self.log_prob_given(x, latents, y, noise, training)
        return -log_prob - self.likelihood.constant(math.prod(self.input_shape))

    def training_callbacks(self) -> Sequence[keras.callbacks.Callback]:
        """Return the Keras callbacks that every `fit` of this model runs."""
        return []

    def before_training(self, dataset: tf.data.Dataset) -> None:
        """Prepare the model from some training batches before its first step."""

    def after_training(self, dataset: tf.data.Dataset) -> None:
        """Complete the model from its training images after its last step."""

    # === Chunks ===

    def _in_chunks(self, function, *arrays, rows: int = 256, **static) -> Any:
        """Run a graph function over chunks of rows and concatenate the results.

        Args:
            function: function, a method of the model that takes one batch.
            *arrays: arrays or tensors, its arguments, whose first axis counts the rows,
                or None.
            rows: int, number of rows in a chunk.
            **static: keyword arguments of the function, which are no tensors.

        Returns:
            What `function` returns, for all rows.
        """
        if not hasattr(self, "_graph_functions"):
            self._graph_functions = _GraphFunctions()
        compiled = self._graph_functions.get(function, **static)
        chunks = [
            compiled(*(a if a is None else a[i : i + rows] for a in arrays))
            for i in range(0, max(len(arrays[0]), 1), rows)
        ]
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *chunks)

    def _row_seeds(self, num: int, seed: int | None) -> tf.Tensor:
        """Return a seed, that of the model for None, as an int32 tensor `[num]`."""
        return tf.fill([num], self.seed if seed is None else check_seed(seed))

    def _checked_component(self, component: int | None) -> int | None:
        """Return the index of a component as an int; None stays None."""
        if component is None:
            return None
        if not is_integer(component) or not 0 <= component < self.num_components:
            raise ValueError(
                f"Expected component in 0..{self.num_components - 1}, got "
                f"{component!r}."
            )
        return int(component)


def check_model(model: Any) -> None:
    """Check that something is a model of this library.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(model, Hooks):
        raise TypeError(f"Expected a model of mvae_tf, got {type(model).__name__}.")
