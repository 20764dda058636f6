"""The guard that skips training steps with bad values, and ends runs with many."""

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models import distribution
from mvae_tf.models.inputs import Inputs

__all__ = ["StepGuard", "StopOnBadSteps"]

_NOTHING, _LABELS = -1, -2
# Least and greatest pixel that are noted where some are not finite.
_NOT_FINITE = (np.inf, -np.inf)


class StepGuard:
    """Object that decides whether a step may change weights, and counts skipped steps.

    A step whose pixels, loss or gradients are not finite is skipped. A step whose
    pixels are out of range, or whose labels are unknown, is skipped, too, and recorded,
    so that `StopOnBadSteps` ends the run.

    Args:
        model: `keras.Model`, which owns the variables.
        inputs: `Inputs`, the examples that the model takes.

    Attributes:
        skipped_steps: int64 variable, number of all steps skipped so far.
        skipped_in_a_row: int64 variable, number of the steps skipped since the last
            one that was not.
        found_range: float32 variable `[2]`, least and greatest pixel of the first
            batch that was out of range.
        found_at: int64 variable; s if pixels were out of range in step s, the first bad
            one; -2 - s if labels were unknown in step s; -1 if there was no such step.
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

    def inspect(
        self,
        x: tf.Tensor,
        y: tf.Tensor | None,
        step: tf.Tensor,
        finite: bool = False,
    ) -> tf.Tensor:
        """Look for examples that cannot be trained on, and record the first of them.

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels, NaN for unknown labels, or None.
            step: int64 scalar, the number of the step.
            finite: bool, whether pixels that are not finite are noted, too, because no
                step is skipped for them.

        Returns:
            Bool scalar: whether pixels are not finite or out of range, or labels are
            unknown, on any replica.
        """
        low, high = self.inputs.bounds
        is_finite = tf.math.is_finite(x)
        pixels = tf.where(is_finite, x, self.inputs.likelihood.low)
        # An empty shard has an infinite minimum and is in range.
        least, greatest = tf.reduce_min(pixels), tf.reduce_max(pixels)
        if distribution.num_replicas() > 1:
            found = distribution.stack_replicas(tf.stack([least, greatest]))
            least, greatest = tf.reduce_min(found[:, 0]), tf.reduce_max(found[:, 1])
        outside = (least < low) | (greatest > high)
        found = tf.stack([least, greatest])
        if finite:
            all_finite = distribution.on_all(tf.reduce_all(is_finite))
            found = tf.where(all_finite, found, _NOT_FINITE)
            outside |= ~all_finite
        # One execution may run many steps; the message names the first bad one.
        found_at = tf.convert_to_tensor(self.found_at)
        first = found_at == _NOTHING
        newly = first & outside
        noted = tf.where(newly, step, found_at)
        self.found_range.assign(tf.where(newly, found, self.found_range))
        if y is not None:
            unknown = ~distribution.on_all(tf.reduce_all(tf.math.is_finite(y)))
            noted = tf.where(first & unknown & ~outside, _LABELS - step, noted)
            outside |= unknown
        self.found_at.assign(noted)
        return outside | ~tf.reduce_all(is_finite)

    def judge(self, bad_examples, loss, gradients, optimizer):
        """Decide whether gradients may be applied, in the same way on all replicas.

        Args:
            bad_examples: bool scalar, what `inspect` returned.
            loss: float32 scalar.
            gradients: list of tensors, or None for a variable without a gradient.
            optimizer: `keras.optimizers.Optimizer` that is to apply them.

        Returns:
            The gradients to apply, and a bool scalar, whether to apply them.
        """
        # The norm takes one pass over the gradients. It also overflows where their
        # squares, which Adam averages, are too large.
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        finite = distribution.on_all(finite)
        healthy = distribution.on_all(~bad_examples & tf.math.is_finite(loss))
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # This optimiser expects overflows: it skips the step and halves its scale,
            # down to 1. But each of its replicas looks only at its own gradients.
            if distribution.num_replicas() > 1:
                gradients = [
                    g if g is None else tf.where(finite, g, np.nan) for g in gradients
                ]
            finite |= optimizer.dynamic_scale > 1.0
        return gradients, healthy & finite

    def count(self, healthy: tf.Tensor, allowed: int) -> None:
        """Count a step as skipped unless it is healthy.

        Args:
            healthy: bool scalar, what `judge` returned.
            allowed: int, number of skipped steps in a row that end a run.
        """
        self.skipped_steps.assign_add(tf.cast(~healthy, tf.int64))
        in_a_row = tf.convert_to_tensor(self.skipped_in_a_row)
        # A row that ends the run stays for the callback, which looks after the last
        # step of a call.
        left = tf.where(in_a_row < allowed, tf.zeros_like(in_a_row), in_a_row)
        self.skipped_in_a_row.assign(tf.where(healthy, left, in_a_row + 1))

    # === Outside ===

    def forget(self) -> None:
        """Forget the bad batches of an earlier run."""
        self.skipped_in_a_row.assign(0)
        self.found_at.assign(_NOTHING)

    def finding(self) -> tuple[int | None, str]:
        """Describe the first batch to refuse.

        Returns:
            Its step and a message with a place, `{}`, for the name of the batch; None
            and an empty message if there is no such batch.
        """
        found_at = _number(self.found_at)
        if found_at == _NOTHING:
            return None, ""
        if found_at <= _LABELS:
            last = self.inputs.last_label
            return (
                _LABELS - found_at,
                f"Expected labels in 0..{last}, one for each image, got other labels "
                "in {}.",
            )
        low, high = self.found_range.numpy()
        if (low, high) == _NOT_FINITE:
            return found_at, "Expected finite pixels, got NaN or inf in {}."
        return found_at, (
            f"Expected {self.inputs.described_range}, got [{low:g}, {high:g}] in {{}}: "
            "scale the images."
        )


class StopOnBadSteps(keras.callbacks.Callback):
    """Callback that ends a run whose batches cannot be trained on.

    The number of skipped steps is logged as `skipped_steps` for each epoch. Too many
    skipped steps in a row, or one batch out of the range of the likelihood, end the run
    with an error that names the batch. `fit` adds the callback to every run, and
    `evaluate` and `predict` add it to refuse batches out of range.
    """

    def on_train_begin(self, logs=None):
        """Forget the bad steps of an earlier run."""
        self.model.guard.forget()
        self._skipped = _number(self.model.skipped_steps)

    def on_epoch_begin(self, epoch, logs=None):
        """Store the counts at the start of the epoch."""
        self._epoch = epoch + 1
        self._first_step = _number(self.model.step)
        self._skipped_before = _number(self.model.skipped_steps)

    def on_train_batch_end(self, batch, logs=None):
        """End the run if the guard found a reason in the steps of an execution."""
        skipped = _number(self.model.skipped_steps)
        if skipped == self._skipped:
            return
        self._skipped = skipped
        step, message = self.model.guard.finding()
        if step is not None:
            raise ValueError(message.format(self._name_of_batch(step)))
        in_a_row = _number(self.model.guard.skipped_in_a_row)
        if in_a_row >= self.model.bad_steps_allowed:
            last = _number(self.model.step)
            raise FloatingPointError(
                f"Skipped {in_a_row} steps in a row by "
                f"{self._name_of_batch(last - 1)}, because their pixels, loss or "
                "gradients were not finite; no weight was changed by them."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Log the number of skipped steps, and refuse an epoch without a batch."""
        if _number(self.model.step) == self._first_step:
            raise ValueError("Expected at least one batch in an epoch, got none.")
        if logs is not None:
            skipped = _number(self.model.skipped_steps) - self._skipped_before
            if skipped == _number(self.model.step) - self._first_step:
                # The means of no step are no zeros.
                means = [key for key in logs if not key.startswith("val_")]
                logs.update(dict.fromkeys(means, np.nan))
            logs["skipped_steps"] = skipped

    def on_test_begin(self, logs=None):
        """Forget the bad batches of an earlier evaluation."""
        self.model.guard.found_at.assign(_NOTHING)

    def on_test_batch_end(self, batch, logs=None):
        """Refuse a batch that the guard found to be out of range."""
        step, message = self.model.guard.finding()
        if step is not None:
            raise ValueError(message.format(self._of_call("evaluation", batch)))

    def on_predict_batch_end(self, batch, logs=None):
        """Refuse a batch with images out of range, whose predictions are NaN."""
        if not np.isfinite(np.asarray(logs["outputs"])).all():
            inputs = self.model.guard.inputs
            labels = (
                f" and labels in 0..{inputs.last_label}" if inputs.labels_for else ""
            )
            raise ValueError(
                f"Expected finite {inputs.described_range}{labels}, got others in "
                f"{self._of_call('prediction', batch)}."
            )

    def _name_of_batch(self, step):
        return f"batch {step - self._first_step + 1} of epoch {self._epoch}"

    def _of_call(self, kind, batch):
        """Name the batches of a call of Keras' function by the last of them."""
        first = max(0, batch + 1 - self.model.steps_per_execution)
        if first == batch:
            return f"{kind} batch {batch + 1}"
        return f"{kind} batches {first + 1} to {batch + 1}"


def _number(variable):
    return int(variable.numpy())
