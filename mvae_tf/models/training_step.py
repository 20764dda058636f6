"""The one training step of the library: weighted sums, the guard, and replicas.

How a batch travels: `fit` hands it to `train_step`, which draws the step's stateless
noise, asks the model for its `loss_terms` by name, weighs and sums them over the
global batch, applies the gradients if they are finite, and tells each term to a metric
of its own.
"""

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models.distribution import Replicas
from mvae_tf.models.guard import StopOnBadSteps
from mvae_tf.noise import BatchNoise, RowNoise, content_seeds, step_seed

__all__ = ["TrainingStep"]


class TrainingStep(Replicas):
    """Training and evaluation of a model that has `loss_terms` and `term_weights`.

    Overriding `train_step`, rather than `compute_loss`, is what allows exact means
    over uneven shards, several named terms, and the guard against bad gradients.
    """

    bad_steps_allowed = 10

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
            callbacks=[
                StopOnBadSteps(),
                *self.training_callbacks(),
                *keras.tree.flatten(callbacks or []),
            ],
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
        rows = self._global_rows(x) if self._num_replicas > 1 else None
        size = tf.cast(tf.shape(x)[0] if rows is None else rows[1], tf.float32)
        noise = BatchNoise(step_seed(self.seed, self.step), rows)
        with tf.GradientTape() as tape:
            terms = self.loss_terms(x, y, noise, training=True)
            objective = self._objective(terms, self.term_weights, x)
            loss = tf.reduce_sum(objective) / size
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
        if self._num_replicas > 1:
            found = self._stack_replicas(found)
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
            if self._num_replicas > 1:
                gradients = [
                    g if g is None else tf.where(finite, g, np.nan) for g in gradients
                ]
            finite |= self.optimizer.dynamic_scale > 1.0
        return gradients, healthy & finite

    def _apply(self, gradients, healthy):
        variables = self.trainable_variables

        def apply(gradients):
            self.optimizer.apply(gradients, variables)

        # A strategy of one device needs what follows as much as one of several.
        if not tf.distribute.has_strategy():
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
