"""The guard that skips training steps with bad values, and ends runs that have many."""

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models import distribution
from mvae_tf.models.inputs import Inputs

__all__ = ["StepGuard", "StopOnBadSteps"]

_NOTHING, _LABELS = -1, -2


class StepGuard:
    """Decides whether the step on a batch may touch a weight, and counts those skipped.

    A step whose pixels, loss or gradients are not finite is skipped. A batch with
    pixels out of range, or unknown labels, is skipped too, and recorded so that
    `StopOnBadSteps` ends the run.

    Args:
        model: the model, which owns the variables.
        inputs: what its examples look like.

    Attributes:
        skipped_steps: int64 variable, all steps skipped so far.
        skipped_in_a_row: int64 variable.
        found_range: float32 variable `[2]`, least and greatest pixel of the first
            batch that was out of range.
        found_at: int64 variable: -1, or the step of the first batch that was out of
            range, or, at step s, -2 - s for unknown labels.
    """

    def __init__(self, model: keras.Model, inputs: Inputs):
        def variable(name, value, dtype="int64"):
            return model.add_weight(
                name=name,
                shape=np.shape(value),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                dtype=dtype,
                aggregation="only_first_replica",
            )

        self.inputs = inputs
        self.skipped_steps = variable("skipped_steps", 0)
        self.skipped_in_a_row = variable("skipped_in_a_row", 0)
        self.found_range = variable("found_range", np.zeros(2), "float32")
        self.found_at = variable("found_at", _NOTHING)

    # === Inside a step ===

    def inspect(self, x: tf.Tensor, y: tf.Tensor | None, step: tf.Tensor) -> tf.Tensor:
        """Look for examples that cannot be trained on, and note what was found.

        Args:
            x: `[B, ...]` images.
            y: one-hot labels, NaN for unknown ones, or None.
            step: int64 scalar, the number of the step.

        Returns:
            bool scalar: whether pixels are not finite or out of range, or labels are
            unknown, on any replica.
        """
        low, high = self.inputs.bounds
        finite = tf.math.is_finite(x)
        pixels = tf.where(finite, x, self.inputs.likelihood.low)
        found = tf.stack([tf.reduce_min(pixels), tf.reduce_max(pixels)])
        # An empty shard has an infinite minimum and is in range.
        found = tf.where(tf.size(x) > 0, found, self.inputs.likelihood.low)
        if distribution.num_replicas() > 1:
            found = distribution.stack_replicas(found)
            found = tf.stack([tf.reduce_min(found[:, 0]), tf.reduce_max(found[:, 1])])
        outside = (found[0] < low) | (found[1] > high)
        # The first batch of an execution of many steps is the one to name.
        first = self.found_at == _NOTHING
        noted = tf.where(first & outside, step, self.found_at)
        self.found_range.assign(tf.where(first & outside, found, self.found_range))
        if y is not None:
            unknown = ~distribution.on_all(tf.reduce_all(tf.math.is_finite(y)))
            noted = tf.where(first & unknown & ~outside, _LABELS - step, noted)
            outside |= unknown
        self.found_at.assign(noted)
        return outside | ~tf.reduce_all(finite)

    def judge(self, bad_examples, loss, gradients, optimizer):
        """Decide whether gradients may be applied, the same on every replica.

        Args:
            bad_examples: what `inspect` returned.
            loss: scalar.
            gradients: list of tensors or None.
            optimizer: the optimiser that is to apply them.

        Returns:
            The gradients, and a bool scalar.
        """
        # The norm takes one pass, and finds squares too large for Adam's moments too.
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        finite = distribution.on_all(finite)
        healthy = distribution.on_all(~bad_examples & tf.math.is_finite(loss))
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # It expects overflows, skips them and halves its scale, which ends when
            # there is none; but each of its replicas sees its own gradients alone.
            if distribution.num_replicas() > 1:
                gradients = [
                    g if g is None else tf.where(finite, g, np.nan) for g in gradients
                ]
            finite |= optimizer.dynamic_scale > 1.0
        return gradients, healthy & finite

    def count(self, healthy: tf.Tensor) -> None:
        """Count a step, skipped unless `healthy`."""
        skipped = tf.cast(~healthy, tf.int64)
        self.skipped_steps.assign_add(skipped)
        self.skipped_in_a_row.assign((self.skipped_in_a_row + 1) * skipped)

    # === Outside ===

    def forget(self) -> None:
        """Forget the bad batches of an earlier run."""
        self.skipped_in_a_row.assign(0)
        self.found_at.assign(_NOTHING)

    def finding(self) -> tuple[int | None, str]:
        """Return the step of the first batch to refuse, or None, and what is wrong."""
        found_at = _number(self.found_at)
        if found_at == _NOTHING:
            return None, ""
        if found_at <= _LABELS:
            last = self.inputs.last_label
            return (
                _LABELS - found_at,
                f"Expected labels in 0..{last}, got others in {{}}.",
            )
        low, high = self.found_range.numpy()
        return found_at, (
            f"Expected {self.inputs.described_range}, got [{low:g}, {high:g}] in {{}}: "
            "scale the images."
        )


class StopOnBadSteps(keras.callbacks.Callback):
    """Ends a run whose batches cannot be trained on. `fit` adds it to every run.

    Skipped steps are counted as `skipped_steps` in the logs of their epoch. Too many of
    them in a row, or one batch out of the range of the likelihood, end the run with the
    number of the batch. `evaluate` and `predict` add it as well, for the range.
    """

    def on_train_begin(self, logs=None):
        """Forget the bad steps of an earlier run."""
        self.model.guard.forget()

    def on_epoch_begin(self, epoch, logs=None):
        """Remember where the epoch starts."""
        self._epoch = epoch + 1
        self._first_step = _number(self.model.step)
        self._skipped_before = _number(self.model.skipped_steps)

    def on_train_batch_end(self, batch, logs=None):
        """Read what the guard found in an execution."""
        step, message = self.model.guard.finding()
        if step is not None:
            raise ValueError(message.format(self._name_of_batch(step)))
        in_a_row = _number(self.model.guard.skipped_in_a_row)
        if in_a_row >= self.model.bad_steps_allowed:
            last = _number(self.model.step)
            raise FloatingPointError(
                f"Skipped {in_a_row} steps in a row, up to "
                f"{self._name_of_batch(last - 1)}, because their pixels, loss or "
                "gradients were not finite; no weight was changed by them."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Add the number of steps that were skipped; refuse an epoch of no batch."""
        if _number(self.model.step) == self._first_step:
            raise ValueError("Expected at least one batch in an epoch, got none.")
        if logs is not None:
            skipped = _number(self.model.skipped_steps) - self._skipped_before
            logs["skipped_steps"] = skipped

    def on_test_begin(self, logs=None):
        """Forget the bad batches of an earlier evaluation."""
        self.model.guard.found_at.assign(_NOTHING)

    def on_test_batch_end(self, batch, logs=None):
        """Read what the guard found in an evaluation batch."""
        step, message = self.model.guard.finding()
        if step is not None:
            raise ValueError(message.format(f"evaluation batch {batch + 1}"))

    def on_predict_batch_end(self, batch, logs=None):
        """Refuse a batch of images for which there is no prediction."""
        if not np.isfinite(np.asarray(logs["outputs"])).all():
            raise ValueError(
                f"Expected finite {self.model.guard.inputs.described_range}, got "
                f"others in prediction batch {batch + 1}."
            )

    def _name_of_batch(self, step):
        return f"batch {step - self._first_step + 1} of epoch {self._epoch}"


def _number(variable):
    return int(variable.numpy())
