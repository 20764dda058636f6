"""Keras callbacks of the training loop."""

import warnings

import keras

__all__ = ["KLWarmup", "StopOnBadSteps"]


class StopOnBadSteps(keras.callbacks.Callback):
    """Stops a run whose batches cannot be trained on. `fit` adds it to every run.

    A step whose pixels, loss or gradients are not finite is skipped by the model. Too
    many of them in a row, or one batch out of the range of the likelihood, end the run
    with the number of the batch.
    """

    def on_train_batch_end(self, batch, logs=None):
        """Reads the model's counters after each execution."""
        in_a_row = int(self.model.skipped_in_a_row)
        if not in_a_row:
            return
        step = int(self.model.step)
        low, high = (float(value) for value in self.model.found_range.numpy())
        if low or high:
            likelihood = self.model.likelihood
            raise ValueError(
                f"Expected pixels in [{likelihood.low}, {likelihood.high}] for "
                f"likelihood {likelihood.name!r}, got [{low:g}, {high:g}] in batch "
                f"{step - 1}: scale the images."
            )
        if in_a_row >= self.model.bad_steps_allowed:
            raise FloatingPointError(
                f"Skipped {in_a_row} steps in a row, batches {step - in_a_row} to "
                f"{step - 1}, because their pixels, loss or gradients were not finite; "
                "no weight was changed by them."
            )


class KLWarmup(keras.callbacks.Callback):
    """Linear growth of the weights of all KL terms from 0 to their final values.

    The weight of epoch e, counted from 1, is min(1, e / epochs) of the final one, and
    constant within the epoch, as in the VampPrior experiments. It is a function of the
    epoch alone, so a resumed run continues it.

    Args:
        epochs: length of the warm-up, at least 1.
    """

    def __init__(self, epochs):
        super().__init__()
        if epochs < 1:
            raise ValueError(f"Expected a warm-up of epochs >= 1, got {epochs}.")
        self.epochs = epochs

    def on_train_begin(self, logs=None):
        """Warns about a warm-up that the run is too short to finish."""
        planned = self.params.get("epochs")
        if planned is not None and planned < self.epochs:
            warnings.warn(
                f"KL warm-up of {self.epochs} epochs cannot finish in {planned} "
                "epochs: the final weights are never reached.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the weights for the epoch."""
        fraction = min(1.0, (epoch + 1) / self.epochs)
        for name, weight in self.model.term_weights.items():
            if name.endswith("kl"):
                weight.assign(fraction * self.model.final_weights[name])
