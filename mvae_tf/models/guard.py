"""The guard against bad steps: what stops a training that cannot go on."""

import keras

__all__ = ["StopOnBadSteps"]


class StopOnBadSteps(keras.callbacks.Callback):
    """Stops a run whose batches cannot be trained on. `fit` adds it to every run.

    A step whose pixels, loss or gradients are not finite is skipped by the model, and
    counted as `skipped_steps` in the logs of its epoch. Too many of them in a row, or
    one batch out of the range of the likelihood, end the run with the number of the
    batch. `evaluate` adds it as well, for the range.
    """

    def on_train_begin(self, logs=None):
        """Forgets the bad steps of an earlier run."""
        self.model.skipped_in_a_row.assign(0)
        self.model.found_at.assign(-1)

    def on_epoch_begin(self, epoch, logs=None):
        """Remembers where the epoch starts."""
        self._epoch = epoch + 1
        self._first_step = _number(self.model.step)
        self._skipped_before = _number(self.model.skipped_steps)

    def on_train_batch_end(self, batch, logs=None):
        """Reads the model's counters after each execution."""
        in_a_row = _number(self.model.skipped_in_a_row)
        found_at = _number(self.model.found_at)
        if found_at >= 0:
            raise ValueError(self._out_of_range(self._name_of_batch(found_at)))
        if in_a_row >= self.model.bad_steps_allowed:
            last = _number(self.model.step)
            raise FloatingPointError(
                f"Skipped {in_a_row} steps in a row, up to "
                f"{self._name_of_batch(last - 1)}, because their pixels, loss or "
                "gradients were not finite; no weight was changed by them."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Adds the number of steps that were skipped; an epoch of none is refused."""
        if _number(self.model.step) == self._first_step:
            raise ValueError("Expected at least one batch in an epoch, got none.")
        if logs is not None:
            skipped = _number(self.model.skipped_steps) - self._skipped_before
            logs["skipped_steps"] = skipped

    def on_test_begin(self, logs=None):
        """Forgets the bad batches of an earlier run."""
        self.model.found_at.assign(-1)

    def on_test_batch_end(self, batch, logs=None):
        """Reads the range that the model found."""
        if _number(self.model.found_at) >= 0:
            raise ValueError(self._out_of_range(f"evaluation batch {batch + 1}"))

    def _name_of_batch(self, step):
        return f"batch {step - self._first_step + 1} of epoch {self._epoch}"

    def _out_of_range(self, where):
        likelihood = self.model.likelihood
        low, high = self.model.found_range.numpy()
        return (
            f"Expected pixels in [{likelihood.low}, {likelihood.high}] for likelihood "
            f"{likelihood.name!r}, got [{low:g}, {high:g}] in {where}: scale "
            "the images."
        )


def _number(variable):
    return int(variable.numpy())
