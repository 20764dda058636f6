"""The one training step of the library: weighted sums, the guard, and replicas.

`fit` gives each batch to `train_step`. It makes the stateless noise of the step, calls
the model's `loss_terms`, multiplies the terms by their weights and sums them over the
global batch, applies the gradients if they are finite, and updates the metric of each
term.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models import distribution
from mvae_tf.models.distribution import Replicas
from mvae_tf.models.guard import StepGuard, StopOnBadSteps
from mvae_tf.models.hooks import Hooks
from mvae_tf.models.term_means import TermMeans
from mvae_tf.noise import BatchNoise, RowNoise, content_seeds, step_seed
from mvae_tf.parts.part import check_count, is_integer, like_default
from mvae_tf.parts.terms import Term, check_terms, checked_weights

__all__ = ["TrainingStep"]


class TrainingStep(Replicas, Hooks):
    """Training and evaluation of a model that has `loss_terms`.

    It overrides `train_step` rather than `compute_loss`, because means that are exact
    over shards of unequal size, several named terms and the guard against bad gradients
    need this.

    Attributes:
        bad_steps_allowed: int, number of skipped steps in a row that end a run.
        terms: dict from the name of each term of the objective to its `Term`.
        final_weights: dict from the name of each minimised term to its weight, a float.
            Evaluation uses these weights.
        term_weights: dict from the same names to scalar variables, the weights that
            training uses at the moment; a warm-up changes them.
        step: int64 variable, number of training steps done, skipped ones included.
        guard: `StepGuard`, which skips and counts bad steps.
    """

    bad_steps_allowed: int = 10

    terms: dict[str, Term]
    final_weights: dict[str, float]
    term_weights: dict[str, Any]
    step: Any
    guard: StepGuard

    def make_training_state(self, terms: Mapping[str, Term]) -> None:
        """Make the variables and the metrics of training.

        Args:
            terms: dict from the name of each term that `loss_terms` returns to its
                `Term`.

        Raises:
            ValueError: on a term that is not declared as `checked_weights` says.
        """
        self.terms = dict(terms)
        self.final_weights = checked_weights(terms)
        # Checkpoints identify variables by their order, so new ones go last.
        self.term_weights = {
            key: self._scalar(f"{key}_weight", value)
            for key, value in self.final_weights.items()
        }
        self.step = self._scalar("step", 0, "int64")
        self.guard = StepGuard(self, self.input_checks)
        diagnostics = [key for key in terms if key not in self.final_weights]
        self.term_means = TermMeans([*self.final_weights, *diagnostics])

    def _scalar(self, name, value, dtype="float32"):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype=dtype,
            aggregation="only_first_replica",
        )

    @property
    def skipped_steps(self):
        """The int64 variable that counts the steps skipped because of bad batches."""
        return self.guard.skipped_steps

    @property
    def metrics(self):
        """The list of all metrics, which Keras resets."""
        return [self.term_means, *self.term_means.terms]

    # === What users call ===

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        """Configure training as `keras.Model.compile` does.

        Raises:
            ValueError: on a loss or metrics, because the model has its own.
        """
        given = {"loss": loss, "metrics": metrics}
        given |= {k: kwargs.get(k) for k in ("loss_weights", "weighted_metrics")}
        for key, value in given.items():
            if value:
                raise ValueError(
                    f"Expected no {key}, got one: {type(self).__name__} has an "
                    "objective and metrics of its own."
                )
        if optimizer is None:
            raise ValueError("Expected an optimizer, got None.")
        check_count("steps_per_execution", kwargs.get("steps_per_execution", 1))
        super().compile(optimizer, **kwargs)

    def get_compile_config(self):
        """Return what `compile_from_config` takes, as Keras does."""
        # Keras warns of a model with its own `compile` that inherits this method.
        return super().get_compile_config()

    def compile_from_config(self, config):
        """Compile a loaded model as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

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
        """Train as `keras.Model.fit` does, after checking arrays.

        Raises:
            ValueError: on images or labels that do not fit the model. Batches of a data
                set are checked in each step, before they can change a weight.
            FloatingPointError: `bad_steps_allowed` steps in a row were skipped because
                pixels, loss or gradients were not finite.
        """
        self.check_config()  # A model that could not be saved is not trained.
        self.input_checks.check(x, y)
        _refuse_weights(**kwargs)
        steps = ("steps_per_epoch", "validation_steps", "validation_batch_size")
        _check_counts(
            epochs=epochs, batch_size=batch_size, **{k: kwargs.get(k) for k in steps}
        )
        first = kwargs.get("initial_epoch", 0)
        if not is_integer(first) or not 0 <= first <= epochs:
            raise ValueError(f"Expected initial_epoch in 0..{epochs}, got {first!r}.")
        if not 0 <= like_default("validation_split", validation_split, 0.0) < 1:
            raise ValueError(
                f"Expected validation_split in [0, 1), got {validation_split}."
            )
        if isinstance(x, tf.data.Dataset):
            # Keras warns that it does not shuffle a data set, unless told not to.
            kwargs.setdefault("shuffle", False)
        if isinstance(validation_data, (tuple, list)):
            if len(validation_data) not in (1, 2, 3):
                raise ValueError(
                    "Expected validation_data as (x, y), or images or a data set, got "
                    f"{len(validation_data)} things."
                )
            held_out, labels, sample_weight = (*validation_data, None, None)[:3]
            _refuse_weights(sample_weight=sample_weight)
            self.input_checks.check(held_out, labels)
            labels = self.input_checks.for_keras(held_out, labels)
            validation_data = held_out, labels
        elif validation_data is not None:
            self.input_checks.check(validation_data)
        return super().fit(
            x,
            self.input_checks.for_keras(x, y),
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=[
                StopOnBadSteps(),
                *self.training_callbacks(),
                *_flat_callbacks(callbacks),
            ],
            validation_split=validation_split,
            validation_data=validation_data,
            **kwargs,
        )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ):
        """Evaluate as `keras.Model.evaluate` does, after checking arrays.

        Raises:
            ValueError: on images or labels that do not fit the model.
        """
        self.input_checks.check(x, y)
        _refuse_weights(sample_weight=sample_weight)
        _check_counts(batch_size=batch_size, steps=steps)
        return super().evaluate(
            x,
            self.input_checks.for_keras(x, y),
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            callbacks=_with_guard(callbacks),
            return_dict=return_dict,
            **kwargs,
        )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Reconstruct as `keras.Model.predict` does, after checking arrays.

        Raises:
            ValueError: on images or labels that do not fit the model.
        """
        self.input_checks.check(x, with_labels=False)
        _check_counts(batch_size=batch_size, steps=steps)
        return super().predict(x, batch_size, verbose, steps, _with_guard(callbacks))

    def predict_on_batch(self, x):
        """Reconstruct one batch as `keras.Model.predict_on_batch` does, once checked.

        Raises:
            ValueError: on images that do not fit the model.
        """
        self.input_checks.check(x, with_labels=False)
        return super().predict_on_batch(x)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Train on one batch as `keras.Model.train_on_batch` does, after checking it.

        Raises:
            ValueError: on images or labels that do not fit the model.
        """
        self.input_checks.check(x, y)
        _refuse_weights(sample_weight=sample_weight, **kwargs)
        return super().train_on_batch(x, self.input_checks.for_keras(x, y), **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Evaluate one batch as `keras.Model.test_on_batch` does, after checking it.

        Raises:
            ValueError: on images or labels that do not fit the model.
        """
        self.input_checks.check(x, y)
        _refuse_weights(sample_weight=sample_weight)
        return super().test_on_batch(x, self.input_checks.for_keras(x, y), **kwargs)

    # === Steps ===

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return float32 images and one-hot labels of a batch inside a step."""
        return self.input_checks.unpack(data)

    def train_step(self, data):
        """Take one step of the optimiser on a batch of `x` or `(x, y)`."""
        x, y = self.unpack(data)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        bad_examples = self.guard.inspect(x, y, self.step)
        statistics = [v for layer in self.layers for v in layer.non_trainable_variables]
        before = [tf.convert_to_tensor(variable) for variable in statistics]
        rows, total = distribution.global_rows(x)
        noise = BatchNoise(step_seed(self.seed, self.step), rows)
        with tf.GradientTape() as tape:
            values = self.loss_terms(x, y, noise, training=True)
            objective = self.objective(values, self.term_weights, x)
            loss = tf.reduce_sum(objective) / total
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        gradients, healthy = self.guard.judge(
            bad_examples, loss, gradients, self.optimizer
        )
        self._apply(gradients, healthy)
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(tf.where(healthy, variable, value))
        self.step.assign_add(1)
        self.guard.count(healthy, self.bad_steps_allowed)
        return self._logs(values, objective, healthy)

    def test_step(self, data):
        """Compute the terms with noise that depends only on the examples."""
        x, y = self.unpack(data)
        self.guard.inspect(x, y, self.step, finite=True)
        noise = RowNoise(content_seeds(x, self.seed))
        values = self.loss_terms(x, y, noise, training=False)
        objective = self.objective(values, self.final_weights, x)
        return self._logs(values, objective, tf.constant(True))

    def predict_step(self, data):
        """Reconstruct a batch of `x` or `(x, y)`; images out of range become NaN."""
        x, y = self.unpack(data)
        low, high = self.input_checks.bounds
        axes = list(range(1, x.shape.rank))
        valid = tf.math.is_finite(x) & (x >= low) & (x <= high)
        valid = tf.reduce_all(valid, axes, keepdims=True)
        return tf.where(valid, self.reconstruct_batch(x, y), np.nan)

    def objective(
        self, values: Mapping[str, tf.Tensor], weights: Mapping[str, Any], x: tf.Tensor
    ) -> tf.Tensor:
        """Sum the weighted terms of the objective for each example.

        Args:
            values: what `loss_terms` returned.
            weights: dict, weight of each term that is minimised.
            x: `[B, ...]` images.

        Returns:
            `[B]`; a term per batch is added to the sum of each example in full.
        """
        check_terms(values, self.terms, x)
        objective = sum(
            tf.cast(value, tf.float32) * weights[name]
            for per in ("example", "batch")
            for name, value in values.items()
            if name in weights and self.terms[name].per == per
        )
        if any(self.terms[name].per == "example" for name in weights):
            return objective
        return objective + tf.zeros(tf.shape(x)[:1])

    def gather_rows(self, value: tf.Tensor) -> tf.Tensor:
        """Return the rows `[B, ...]` of all replicas, for terms per batch."""
        return distribution.gather_rows(value)

    def _apply(self, gradients, healthy):
        variables = self.trainable_variables

        def apply(gradients):
            self.optimizer.apply(gradients, variables)

        # Under a strategy, even for a single device, it has to make the updates.
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

    def _logs(self, values, objective, healthy):
        self.term_means.update_state(objective, values, healthy)
        return self.term_means.logs()


def _refuse_weights(**kwargs):
    for key in ("class_weight", "sample_weight"):
        if kwargs.get(key) is not None:
            raise ValueError(
                f"Expected no {key}, got one: all examples have the same weight."
            )


def _with_guard(callbacks):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopOnBadSteps(), *_flat_callbacks(callbacks)]


def _flat_callbacks(callbacks):
    found = keras.tree.flatten(callbacks or [])
    for callback in found:
        kinds = keras.callbacks.Callback, keras.callbacks.CallbackList
        if not isinstance(callback, kinds):
            raise ValueError(f"Expected Keras callbacks, got {callback!r}.")
    return found


def _check_counts(**counts):
    for name, value in counts.items():
        if value is not None:
            check_count(name, value)
