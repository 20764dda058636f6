"""The one training step of the library, and what every model can be asked.

How a batch travels: `fit` hands it to `train_step`, which draws the step's stateless
noise, asks the model for its `loss_terms` by name, weighs and sums them over the
global batch, applies the gradients if they are finite, and tells each term to a metric
of its own. A model writes `infer`, `decode_outputs`, `draw`, `draw_prior`,
`log_density_ratio`, `kl_nats` and `loss_terms`; the rest is here and in `inference.py`.
Models of one Gaussian latent find all of these in `single.py`.
"""

import math
import numbers
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import likelihoods, networks
from mvae_tf.callbacks import StopOnBadSteps
from mvae_tf.models.inference import Inference
from mvae_tf.models.registry import arguments
from mvae_tf.noise import (
    BatchNoise,
    RowNoise,
    check_seed,
    content_seeds,
    step_seed,
)
from mvae_tf.parts import Part

__all__ = ["BaseVAE", "LossTerms"]


class LossTerms(NamedTuple):
    """The parts of an objective, unweighted, each under its name.

    Attributes:
        per_example: dict of `[B]` tensors, in nats unless the term says otherwise.
        per_batch: dict of scalars that belong to the global batch as a whole. A
            scalar that depends on latents is computed from the latents of all
            replicas (`gather_rows`), so that it is the same on each.
        diagnostics: dict of `[B]` tensors or scalars that are logged, not minimised.
    """

    per_example: dict
    per_batch: dict
    diagnostics: dict


class BaseVAE(Inference, keras.Model):
    """A variational autoencoder with a custom training step.

    Overriding `train_step`, rather than `compute_loss`, is what allows exact means
    over uneven shards, several named terms, and the guard against bad gradients.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z, size of one component's latent.
        num_components: K; 1 for a single VAE.
        num_classes: number of labels that condition the model, or None.
        network: name or configuration of the networks (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z) (`mvae_tf.likelihoods`).
        term_weights: dict from the name of each term of the objective to its weight.
        diagnostics: names of the diagnostics that `loss_terms` returns.
        seed: int that decides initial weights and all noise.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Attributes:
        step: int64 variable, training steps done, skipped ones included.
        skipped_steps: int64 variable, steps skipped because of bad batches.
        term_weights: dict of scalar variables; a warm-up moves them. Evaluation uses
            the weights given at construction.
        no_bound: why the model has no evidence lower bound; None where it has one.
        reads_pixels: whether `decode_outputs` takes the image, `x=`, for decoders that
            predict each pixel from those before it.
    """

    registry_name = None
    no_bound = None
    reads_pixels = False
    bad_steps_allowed = 10

    def __init__(
        self,
        *,
        input_shape,
        latent_dim,
        num_components,
        num_classes,
        network,
        likelihood,
        term_weights,
        diagnostics,
        seed,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sequence = isinstance(input_shape, (tuple, list))
        if not sequence or len(input_shape) not in (1, 3) or min(input_shape) < 1:
            raise ValueError(
                "Expected input_shape (height, width, channels) or (size,), "
                f"got {input_shape}."
            )
        sizes = {"latent_dim": latent_dim, "num_components": num_components}
        sizes |= {} if num_classes is None else {"num_classes": num_classes}
        for key, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Expected {key} an integer >= 1, got {value!r}.")
        self.input_shape = tuple(int(side) for side in input_shape)
        self.latent_dim = latent_dim
        self.num_components = num_components
        self.num_classes = num_classes
        self.network = networks.get(network).for_images(self.input_shape)
        if self.network.autoregressive and not self.reads_pixels:
            raise ValueError(
                f"Expected a network for {type(self).__name__} whose decoder does not "
                f"read pixels, got {self.network.name!r}."
            )
        self.likelihood = likelihoods.get(likelihood)
        self.seed = check_seed(seed)

        for key, value in term_weights.items():
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise ValueError(f"Expected a finite weight of {key}, got {value!r}.")
        self.final_weights = {k: float(v) for k, v in term_weights.items()}
        self.term_weights = {
            key: self._scalar(f"{key}_weight", value)
            for key, value in self.final_weights.items()
        }
        self.step = self._scalar("step", 0, "int64")
        self.skipped_steps = self._scalar("skipped_steps", 0, "int64")
        self.skipped_in_a_row = self._scalar("skipped_in_a_row", 0, "int64")
        self.found_range = self.add_weight(
            name="found_range",
            shape=(2,),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )
        self.found_at = self._scalar("found_at", -1, "int64")
        self._loss_metric = keras.metrics.Mean(name="loss")
        self._term_metrics = {
            key: keras.metrics.Mean(name=key)
            for key in (*self.final_weights, *diagnostics)
        }
        self.built = True

    def _scalar(self, name, value, dtype="float32"):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype=dtype,
            aggregation="only_first_replica",
        )

    def _network_arguments(self, name):
        return {"name": name, "seed": self.seed, "dtype": self.dtype_policy}

    def build(self, input_shape=None):
        """Nothing to do: every variable is made by the constructor."""

    def get_config(self):
        config = super().get_config()
        for key in arguments(type(self)):
            value = getattr(self, key)
            value = value.get_config() if isinstance(value, Part) else value
            config[key] = list(value) if isinstance(value, tuple) else value
        return config

    # === What a model writes ===

    def infer(self, x, y=None, noise=None, training=False):
        """Parameters of q(latents given x).

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels or None.
            noise: noise of the step (for layer dropout).
            training: bool.

        Returns:
            dict with `mean` and `stddev` `[B, K, Z]`, `weights` `[B, K]` (rows sum to
            1), and whatever else of leading axis B the model needs.
        """
        raise NotImplementedError

    def draw(self, posterior, noise):
        """Latents drawn from q: dict with `z` `[B, K, Z]` and `weights` `[B, K]`."""
        raise NotImplementedError

    def draw_proposal(self, posterior, noise):
        """Latents, as `draw`, that importance sampling of log p(x) starts from."""
        return self.draw(posterior, noise)

    def draw_prior(self, like, noise):
        """Latents drawn from the prior, as `draw`; `like` is any `[B, K]` tensor."""
        raise NotImplementedError

    def log_density_ratio(self, posterior, latents):
        """Log p(latents) - log q(latents given x) in nats, `[B]`."""
        raise NotImplementedError

    def kl_nats(self, posterior, latents):
        """KL(q(latents given x) || p(latents)) of the evidence bound in nats, `[B]`.

        Closed forms where they exist; `latents` is the draw that the bound is
        evaluated at, for those that have none.
        """
        raise NotImplementedError

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        """Outputs of the likelihood from z `[B, K, Z]` and weights `[B, K]`.

        Where `reads_pixels` it takes the image too, `x [B, H, W, 1]`, which is given
        if, and only if, the network is autoregressive.
        """
        raise NotImplementedError

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        """Log p(x given latents) in nats, `[B]`.

        A model that draws from each component of q at once returns the mean over q.
        """
        z, weights = latents["z"], latents["weights"]
        pixels = {"x": x} if self.network.autoregressive else {}
        outputs = self.decode_outputs(z, weights, y, noise, training, **pixels)
        return self.likelihood.log_prob(x, outputs)

    def log_importance_weight(self, x, posterior, latents, y=None):
        """Log of p(x, latents) / q(latents given x) in nats, `[B]`."""
        ratio = self.log_density_ratio(posterior, latents)
        return self.log_prob_given(x, latents, y) + ratio

    def reconstruction_error(self, x, latents, y=None, noise=None, training=False):
        """-log p(x given latents), less the constant of the likelihood, `[B]`."""
        log_prob = self.log_prob_given(x, latents, y, noise, training)
        return -log_prob - self.likelihood.constant(math.prod(self.input_shape))

    def loss_terms(self, x, y, noise, training):
        """`LossTerms` of a batch."""
        raise NotImplementedError

    def before_training(self, x, y=None):
        """What a run does with some training images before its first step: nothing."""

    def after_training(self, dataset):
        """What a run does with its training images after its last step: nothing."""

    # === Training ===

    @property
    def metrics(self):
        """Every tracker, so that Keras resets them."""
        return [self._loss_metric, *self._term_metrics.values()]

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        **kwargs,
    ):
        """Trains as `keras.Model.fit` does, after checking arrays.

        Raises:
            ValueError: on images or labels that do not fit the model. Batches of a
                dataset are checked as they come, before they can touch a weight.
            FloatingPointError: when `bad_steps_allowed` steps in a row had to be
                skipped because of non-finite pixels, loss or gradients.
        """
        self.check_arrays(x, y)
        for key in ("class_weight", "sample_weight"):
            if kwargs.get(key) is not None:
                raise ValueError(f"Expected no {key}: every example counts alike.")
        if isinstance(x, tf.data.Dataset):
            # Keras warns that it does not shuffle a data set, unless told not to.
            kwargs.setdefault("shuffle", False)
        if isinstance(validation_data, (tuple, list)):
            self.check_arrays(*validation_data[:2])
        elif validation_data is not None:
            self.check_arrays(validation_data)
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=[StopOnBadSteps(), *keras.tree.flatten(callbacks or [])],
            validation_split=validation_split,
            validation_data=validation_data,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, batch_size=None, callbacks=None, **kwargs):
        """Evaluates as `keras.Model.evaluate` does, after checking arrays."""
        self.check_arrays(x, y)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [StopOnBadSteps(), *keras.tree.flatten(callbacks or [])]
        return super().evaluate(x, y, batch_size, callbacks=callbacks, **kwargs)

    def train_step(self, data):
        """One step of the optimiser on a batch of `x` or `(x, y)`."""
        x, y = self.unpack(data)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        bad_pixels = self._bad_pixels(x)
        statistics = [v for layer in self.layers for v in layer.non_trainable_variables]
        before = [tf.convert_to_tensor(variable) for variable in statistics]
        rows, total = self._global_rows(x)
        noise = BatchNoise(step_seed(self.seed, self.step), rows)
        with tf.GradientTape() as tape:
            terms = self.loss_terms(x, y, noise, training=True)
            objective = self._objective(terms, self.term_weights, x)
            loss = tf.reduce_sum(objective) / total
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        gradients, healthy = self._guard(bad_pixels, loss, gradients)
        self._apply(gradients, healthy)
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(tf.where(healthy, variable, value))
        self._count(healthy)
        return self._logs(terms, objective, x, healthy)

    def test_step(self, data):
        """Terms of the objective under noise that depends on the examples alone."""
        x, y = self.unpack(data)
        self._bad_pixels(x)
        noise = RowNoise(content_seeds(x, self.seed))
        terms = self.loss_terms(x, y, noise, training=False)
        objective = self._objective(terms, self.final_weights, x)
        return self._logs(terms, objective, x, tf.constant(True))

    def _objective(self, terms, weights, x):
        """Objective of each example, `[B]`."""
        objective = tf.zeros(tf.shape(x)[:1])
        for name, value in (terms.per_example | terms.per_batch).items():
            objective += weights[name] * tf.cast(value, tf.float32)
        return objective

    def _logs(self, terms, objective, x, healthy):
        ones = tf.ones(tf.shape(x)[:1])
        counted = ones * tf.cast(healthy, tf.float32)

        def update(metric, value):
            value = tf.where(healthy, ones * tf.cast(value, tf.float32), 0.0)
            metric.update_state(value, sample_weight=counted)

        update(self._loss_metric, objective)
        values = terms.per_example | terms.per_batch | terms.diagnostics
        for name, value in values.items():
            update(self._term_metrics[name], value)
        return {metric.name: metric.result() for metric in self.metrics}

    # === The guard ===

    def _bad_pixels(self, x):
        """Whether pixels are not finite or, which is noted down, out of range."""
        low, high = self.likelihood.low, self.likelihood.high
        finite = tf.math.is_finite(x)
        pixels = tf.where(finite, x, low)
        found = tf.stack([tf.reduce_min(pixels), tf.reduce_max(pixels)])
        # An empty shard has an infinite minimum and is in range.
        found = tf.where(tf.size(x) > 0, found, low)
        if self._replicas > 1:
            context = tf.distribute.get_replica_context()
            found = context.all_gather(found[tf.newaxis], axis=0)
            found = tf.stack([tf.reduce_min(found[:, 0]), tf.reduce_max(found[:, 1])])
        slack = 1e-3 * (high - low)
        outside = (found[0] < low - slack) | (found[1] > high + slack)
        # The first batch of an execution of many steps is the one to name.
        first = outside & (self.found_at < 0)
        self.found_range.assign(tf.where(first, found, self.found_range))
        self.found_at.assign(tf.where(first, self.step, self.found_at))
        return outside | ~tf.reduce_all(finite)

    def _guard(self, bad_pixels, loss, gradients):
        """The gradients, and whether they may be applied, the same on every replica."""
        # The norm takes one pass, and finds squares too large for Adam's moments too.
        finite = self._on_all(tf.math.is_finite(tf.linalg.global_norm(gradients)))
        healthy = self._on_all(~bad_pixels & tf.math.is_finite(loss))
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            # It expects overflows, skips them and halves its scale, which ends when
            # there is none; but each of its replicas sees its own gradients alone.
            if self._replicas > 1:
                gradients = [
                    g if g is None else tf.where(finite, g, np.nan) for g in gradients
                ]
            finite |= self.optimizer.dynamic_scale > 1.0
        return gradients, healthy & finite

    def _apply(self, gradients, healthy):
        variables = self.trainable_variables

        def apply(gradients):
            self.optimizer.apply(gradients, variables)

        if self._replicas == 1:
            tf.cond(healthy, lambda: apply(gradients), lambda: None)
            return

        def apply_everywhere(strategy, gradients, healthy):
            healthy = strategy.experimental_local_results(healthy)[0]
            call = strategy.extended.call_for_each_replica
            tf.cond(healthy, lambda: call(apply, args=(gradients,)), lambda: None)

        # A conditional around an update must stand outside the replicas.
        tf.distribute.get_replica_context().merge_call(
            apply_everywhere, args=(gradients, healthy)
        )

    def _count(self, healthy):
        skipped = tf.cast(~healthy, tf.int64)
        self.step.assign_add(1)
        self.skipped_steps.assign_add(skipped)
        self.skipped_in_a_row.assign((self.skipped_in_a_row + 1) * skipped)

    # === Replicas ===

    @property
    def _replicas(self):
        return tf.distribute.get_strategy().num_replicas_in_sync

    def _on_all(self, flag):
        """Whether a flag is true on every replica."""
        if self._replicas == 1:
            return flag
        context = tf.distribute.get_replica_context()
        off = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~flag, tf.float32))
        return off < 0.5

    def _global_rows(self, x):
        """Place of this replica's rows in the global batch, and the global size."""
        size = tf.shape(x)[0]
        if self._replicas == 1:
            return None, tf.cast(size, tf.float32)
        context = tf.distribute.get_replica_context()
        sizes = context.all_gather(size[tf.newaxis], axis=0)
        replica = context.replica_id_in_sync_group
        total = tf.reduce_sum(sizes)
        return (tf.reduce_sum(sizes[:replica]), total), tf.cast(total, tf.float32)

    def gather_rows(self, value):
        """Rows of all replicas, differentiably; the tensor itself on one device."""
        if self._replicas == 1:
            return value
        rows = tf.distribute.get_replica_context().all_gather(value, axis=0)
        return tf.ensure_shape(rows, (None, *value.shape[1:]))
