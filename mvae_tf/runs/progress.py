"""The epochs of a run: what is trained, and what is written while it is.

`fit` trains from the step of the last checkpoint to the end of the run. `Progress`, the
callback that it gives to Keras, counts the steps and writes what a killed run needs to
go on: the checkpoints and `history.csv`.
"""

import contextlib
import math
from pathlib import Path
from typing import Any

import keras

from mvae_tf import data, storage
from mvae_tf.config import RunConfig, Training
from mvae_tf.data import Splits
from mvae_tf.runs.callbacks import KLWarmup, MixtureSummaries, RunTimes
from mvae_tf.runs.checkpoints import Checkpoints
from mvae_tf.runs.console import Console
from mvae_tf.runs.history import divergence, early_stopping, write_history
from mvae_tf.runs.interruption import Signals

__all__ = ["Progress", "fit", "steps_in_a_call"]

# Number of images whose reconstructions and latents TensorBoard shows.
_SHOWN = 256
# Number of short steps that one call of the compiled function may run.
_SHORT_STEPS = 20
# Number of batches that a new model may look at before it is trained.
_LOOKED_AT_BATCHES = 10


class Progress(keras.callbacks.Callback):
    """Callback that counts steps, writes checkpoints and history, and stops early.

    Args:
        output: path of the run folder.
        checkpoints: `Checkpoints`, the checkpoints of the run.
        settings: `Training`, settings of the training loop.
        steps_per_epoch: int, number of steps in an epoch.
        signals: `Signals`, the signals that may ask the run to end.
        state: what `Checkpoints.restore` returned.

    Attributes:
        step: int, number of training steps done.
        history: list of dicts, the rows of `history.csv`.
    """

    def __init__(
        self,
        output: Path,
        checkpoints: Checkpoints,
        settings: Training,
        steps_per_epoch: int,
        signals: Signals,
        state: tuple[int, list[dict[str, float]], dict[str, Any]],
    ):
        super().__init__()
        self.output = output
        self.checkpoints = checkpoints
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.signals = signals
        self.step, self.history, self._metrics = state

    def on_epoch_begin(self, epoch, logs=None):
        """Bring back the metrics of an epoch that was interrupted."""
        self._before = self.step
        self.signals.wait = True
        self._warned = False
        if self._metrics:
            self.checkpoints.restore_metrics(self._metrics)
            self._metrics = {}

    def on_train_batch_end(self, batch, logs=None):
        """Count the step, and write a checkpoint where one is due."""
        last, self.step = self.step, self._before + batch + 1
        every = self.settings.checkpoint_every
        due = every and self.step // every > last // every
        inside = self.step % self.steps_per_epoch != 0
        # Workers write a checkpoint together, but a signal does not reach all of them
        # in the same step. Therefore only a single process writes one here.
        interrupted = self.signals.received is not None and inside
        if inside and (due or interrupted and self.checkpoints.worker.count == 1):
            self.checkpoints.save(self.step, self.history, inside_epoch=True)
        if interrupted:
            self.signals.raise_received()
        if logs and not self._warned:
            row = {"epoch": len(self.history) + 1, "loss": float(logs["loss"])}
            self._warned = self._warn(row)

    def on_epoch_end(self, epoch, logs=None):
        """Write the epoch into the history, with a checkpoint, and stop early."""
        row = {key: float(value) for key, value in logs.items()}
        self.history.append({"epoch": epoch + 1} | row)
        best, stopped = early_stopping(
            self.history, self.settings, self.model.input_shape
        )
        if best == epoch + 1:
            # The weights must be on the disk before a checkpoint names this epoch best.
            self.checkpoints.save_best()
        self.model.stop_training |= stopped
        self._write(self.step)
        if not self._warned:
            self._warn(self.history[-1])
        if not math.isfinite(row.get("val_loss", 0.0)):
            storage.warn(f"the validation loss of epoch {epoch + 1} is not finite")
        self._end()

    def end_as_diverged(self, error: Exception) -> None:
        """End the epoch in which too many steps were skipped: it has no loss.

        Args:
            error: `Exception`, what the guard of the steps has raised.
        """
        storage.warn(str(error))
        terms = self.history[-1] if self.history else {"loss": math.nan}
        row = {"epoch": len(self.history) + 1}
        self.history.append(dict.fromkeys(["epoch", *terms], math.nan) | row)
        self._write(int(self.model.step.numpy()))
        self._end()

    def _write(self, step):
        """Write the checkpoint at the end of an epoch, and the history."""
        self.checkpoints.save(step, self.history, inside_epoch=False)
        if self.checkpoints.worker.is_chief:
            write_history(self.output, self.history)

    def _end(self):
        """Raise the signal that waited for the end of the epoch, if there is one."""
        self.signals.raise_received()
        self.signals.wait = False

    def _warn(self, row):
        """Say that the run diverges, if it does."""
        diverged = divergence([row], self.model.input_shape)
        if diverged:
            storage.warn(f"{diverged}; it stops after this epoch")
        return bool(diverged)


def fit(
    model: keras.Model,
    config: RunConfig,
    splits: Splits,
    progress: Progress,
    console: Console,
) -> None:
    """Train the rest of an interrupted epoch, then the epochs that are left.

    Args:
        model: compiled model.
        config: `RunConfig`, configuration of the run.
        splits: `Splits`, its data.
        progress: callback that knows the step to start from.
        console: callback that prints a line per epoch.

    Raises:
        FloatingPointError: too many steps in a row had to be skipped.
        Interrupted: a signal came (see `mvae_tf.runs.interruption`).
    """
    watching = [progress, console]
    if progress.checkpoints.worker.is_chief:
        output = progress.output
        shown = data.leading(splits.validation or splits.test, _SHOWN)
        summaries = MixtureSummaries(output / "logs", *shown, config.to_dict())
        watching = [summaries, progress, RunTimes(output / "times.json"), console]

    def fit_epochs(steps, first, last, *callbacks):
        with _calls_of(model, steps_in_a_call(steps, config, model)):
            model.fit(
                splits.train_from(progress.step),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                validation_data=splits.validation,
                callbacks=[*callbacks, *watching],
                verbose=0,
            )

    # The weights of another run have what `before_training` finds for new weights.
    if progress.step == 0 and config.init_from is None:
        batches = min(splits.steps_per_epoch, _LOOKED_AT_BATCHES)
        model.before_training(splits.train_from(0).take(batches))
    steps, epochs = splits.steps_per_epoch, config.training.epochs
    epoch, done = divmod(progress.step, steps)
    if done:
        # The weights of the terms are those of the checkpoint.
        fit_epochs(steps - done, epoch, epoch + 1)
        epoch += 1
    _, stopped = early_stopping(progress.history, config.training, model.input_shape)
    if epoch < epochs and not stopped:
        warmup = config.training.warmup_epochs
        fit_epochs(steps, epoch, epochs, *([KLWarmup(warmup)] if warmup else []))


def steps_in_a_call(steps: int, config: RunConfig, model: keras.Model) -> int:
    """Choose how many steps one call of the compiled function runs.

    Keras would run past the end of an epoch whose number of steps is no multiple of it.

    Args:
        steps: int, number of steps of an epoch, or those that are left of it.
        config: `RunConfig`, configuration of the run.
        model: the model of the run.
    """
    most = config.training.steps_per_execution
    if most is None:
        # A signal to stop waits for the end of a call, and so does a checkpoint.
        single = config.devices * config.workers == 1
        most = _SHORT_STEPS if single and model.network.dense else 1
        steps = math.gcd(steps, config.training.checkpoint_every)
    return max(i for i in range(1, min(steps, most) + 1) if steps % i == 0)


@contextlib.contextmanager
def _calls_of(model, number):
    """Let Keras run a number of steps in each call.

    It is not compiled into the model, whose file would keep it: somebody who loads it
    may train it on a number of steps that is no multiple.
    """

    def choose(number):
        if number == model.steps_per_execution:
            return  # Functions that Keras has compiled stay.
        model.steps_per_execution = number
        model.make_train_function(force=True)
        model.make_test_function(force=True)

    choose(number)
    try:
        yield
    finally:
        choose(1)
