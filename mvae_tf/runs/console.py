"""What a training run prints: its settings, its phases, and a line per epoch."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import keras

from mvae_tf.config import RunConfig
from mvae_tf.data import Splits
from mvae_tf.runs.workers import device_name

__all__ = ["Console", "duration"]

# Seconds between two updates of the line that counts steps on a terminal.
_REFRESH = 0.2


class Console(keras.callbacks.Callback):
    """Printer of the lines of a run on stdout; as a callback, of those of its epochs.

    Args:
        verbose: int or "auto": 0 prints nothing, 2 prints lines only, 1 or "auto" also
            counts the steps of the current epoch where stdout is a terminal.
        started: float, moment, in seconds of `time.monotonic`, from which the time to
            the first step is counted; None for the moment of the call.
    """

    def __init__(self, verbose: int | str = "auto", started: float | None = None):
        super().__init__()
        self.shown = verbose != 0
        self.counts_steps = self.shown and verbose != 2 and sys.stdout.isatty()
        self._started = time.monotonic() if started is None else started
        self._first_step_seen = False
        self._epochs_seen = 0
        self._epochs = 0
        self._last_refresh = 0.0

    def say(self, text: str) -> None:
        """Print a line, unless the run is silent."""
        if self.shown:
            print(text, flush=True)

    def banner(
        self,
        config: RunConfig,
        splits: Splits,
        model: keras.Model,
        output: Path,
        step: int,
    ) -> None:
        """Print the folder, data, model, training settings and device of the run.

        Args:
            config: `RunConfig`, configuration of the run.
            splits: `Splits`, data of the run.
            model: model of the run.
            output: path of the run folder.
            step: int, number of steps that were done before the run was resumed.
        """
        training = config.training
        # A run that was resumed inside an epoch calls `fit` for the rest of this epoch
        # first, so that Keras' own number of epochs is not the run's.
        self._epochs = training.epochs
        total = training.epochs * splits.steps_per_epoch
        shape = " x ".join(map(str, splits.input_shape))
        classes = f", {splits.num_classes} classes" if splits.num_classes else ""
        parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
        given = training.learning_rate
        rate = given["class_name"] if isinstance(given, dict) else f"{given:g}"
        origin = f" (preset {config.preset})" if config.preset else ""
        state = f", continues at step {step:,}" if step else ""
        if config.init_from:
            state += f", starts from the weights of {config.init_from}"
        lines = {
            "Run": f"{output}{state}",
            "Data": f"{config.data['source']}: {splits.num_train:,} training, "
            f"{splits.num_validation:,} validation and {splits.num_test:,} test images "
            f"of {shape}{classes}",
            "Model": f"{config.model}{origin}: K = {model.num_components}, "
            f"{model.latent_dim} latent dimensions, {parameters:,} parameters",
            "Training": f"epochs {training.epochs:,}, steps per epoch "
            f"{splits.steps_per_epoch:,}, steps in all {total:,}, images per step "
            f"{training.batch_size:,}; {training.optimizer['class_name']}, learning "
            f"rate {rate}",
            "Device": device_name(model.distribute_strategy),
            "Watch": f"tensorboard --logdir {output / 'logs'}",
        }
        for title, text in lines.items():
            self.say(f"{title:9} {text}")

    # === Epochs ===

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note when the epoch starts."""
        self._epoch, self._epoch_started = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Print the time to the first step, and count steps on a terminal."""
        now = time.monotonic()
        if not self._first_step_seen:
            self._first_step_seen = True
            first = "First step" if batch == 0 else f"First {batch + 1} steps"
            self.say(f"{first} after {duration(now - self._started)}.")
        if self.counts_steps and now - self._last_refresh > _REFRESH:
            self._last_refresh = now
            steps = (self.params or {})["steps"]
            text = f"epoch {self._epoch + 1}/{self._epochs}: step {batch + 1}/{steps}"
            print(f"\r{text}", end="\033[K", flush=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Print one line about the epoch."""
        if not self.shown:
            return
        self._epochs_seen += 1
        seconds = time.monotonic() - self._epoch_started
        epochs = self._epochs
        text = f"epoch {epoch + 1:{len(str(epochs))}}/{epochs}"
        for name, title in (("loss", "loss"), ("val_loss", "validation")):
            if name in (logs or {}):
                text += f"  {title} {float(logs[name]):.5g}"
        text += f"  {duration(seconds)}"
        # The first epoch takes longer, because TensorFlow compiles the step.
        left = epochs - epoch - 1
        if left and self._epochs_seen > 1:
            text += f"  about {duration(seconds * left)} left"
        if self.counts_steps:
            print("\r\033[K", end="")
        self.say(text)


def duration(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours, whichever fits it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
