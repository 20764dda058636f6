"""Keras callbacks: the warm-up of the KL terms, the duration of a run, TensorBoard."""

import datetime
import json
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import storage
from mvae_tf.config import flat
from mvae_tf.evaluation.task import integer_labels, latent_means
from mvae_tf.parts.terms import kl_names
from mvae_tf.runs.history import read_times
from mvae_tf.runs.workers import device_name

__all__ = ["KLWarmup", "MixtureSummaries", "RunTimes"]

_SHOWN = 8
_THUMBNAIL = 56


class KLWarmup(keras.callbacks.Callback):
    """Callback that raises the weights of all KL terms linearly to their final values.

    The KL terms are those that a model declares with `Term(warmup=True)`. In epoch e,
    counted from 1, each weight is min(1, e / epochs) times its final value, as in the
    VampPrior experiments. The weight depends on the epoch alone, so a resumed run
    continues the warm-up.

    Args:
        epochs: int, length of the warm-up in epochs, at least 1.
    """

    def __init__(self, epochs: int):
        super().__init__()
        if epochs < 1:
            raise ValueError(f"Expected a warm-up of epochs >= 1, got {epochs}.")
        self.epochs = epochs

    def on_train_begin(self, logs=None):
        """Warn about a warm-up that the run is too short to finish."""
        planned = self.params.get("epochs")
        if planned is not None and planned < self.epochs:
            warnings.warn(
                f"KL warm-up of {self.epochs} epochs cannot finish in {planned} "
                "epochs: the final weights are never reached.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Set the weights for the epoch."""
        fraction = min(1.0, (epoch + 1) / self.epochs)
        for name, weight in self.model.term_weights.items():
            if self.model.terms[name].warmup:
                weight.assign(fraction * self.model.final_weights[name])


class RunTimes(keras.callbacks.Callback):
    """Callback that records when and on what a run was trained, in a JSON file.

    The file holds `started` and `updated` (ISO 8601, UTC), `training_seconds` and
    `device`. The seconds are those of all finished epochs, also of those before the run
    was resumed.

    Args:
        path: path of the file to make, or to continue if it exists.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs=None):
        """Read what was recorded before the run was resumed."""
        known = read_times(self.path.parent)
        self._started = known.get("started", _now())
        self._before = known.get("training_seconds", 0.0) - time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Write the file."""
        values = {
            "started": self._started,
            "updated": _now(),
            "training_seconds": round(self._before + time.monotonic(), 1),
            "device": device_name(self.model.distribute_strategy),
        }
        storage.write_json(self.path, values)


class MixtureSummaries(keras.callbacks.Callback):
    """Callback that writes everything that TensorBoard shows of a run.

    After each epoch, counted from 1, it writes

    - all values of the epoch, each once, in the groups `loss/`, `kl/`, `mixture/` and
      `validation/`;
    - the expected mixing weights of the given images: their histogram, their mean for
      each component, and their mean entropy in nats;
    - one picture, `mixture/images`: eight images, their reconstructions by the mixture
      and by each component, and samples from the prior.

    Once per run, it writes the settings, as a text and as hyperparameters, and, when
    training ends, the posterior means of the images for TensorBoard's projector, with
    labels and thumbnails.

    A summary that cannot be written is left out with a warning, and the training goes
    on. There are no pictures of images that have neither 1 nor 3 channels.

    Args:
        log_dir: path of the folder of the files, TensorBoard's `--logdir`.
        x: `[N, H, W, C]` images to show, or vectors `[N, P]`, which get no pictures.
        y: labels `[N]` of the images, or None.
        settings: dict, settings of the run, a dict of JSON values that may be nested.
    """

    def __init__(
        self,
        log_dir: str | Path,
        x: np.ndarray,
        y: np.ndarray | None = None,
        settings: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.log_dir = Path(log_dir)
        self.x = np.asarray(x)
        self.y = y
        self.settings = flat(settings or {})

    def on_train_begin(self, logs=None):
        """Open the event file and write the settings."""
        self._writer = tf.summary.create_file_writer(str(self.log_dir))
        if self.settings:
            self._try(self._write_settings)

    def on_epoch_end(self, epoch, logs=None):
        """Write the summaries of the epoch."""
        self._try(self._write_epoch, epoch + 1, logs or {})

    def on_train_end(self, logs=None):
        """Write the latents for the projector and close the event file."""
        self._try(self._write_latents)
        self._try(self._writer.close)

    def _try(self, write, *arguments):
        try:
            with self._writer.as_default():
                write(*arguments)
            self._writer.flush()
        except Exception as error:
            # An error in a summary must not end the training.
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"TensorBoard lacks a summary: {reason}", stacklevel=2)

    def _write_settings(self):
        from tensorboard.plugins.hparams import api as hparams

        rows = [f"| {key} | `{value}` |" for key, value in self.settings.items()]
        table = "\n".join(["| setting | value |", "|---|---|", *rows])
        tf.summary.text("settings", table, step=0)
        hparams.hparams(
            {
                key: json.dumps(value) if isinstance(value, list) else value
                for key, value in self.settings.items()
                if value not in (None, "")
            }
        )

    def _write_epoch(self, epoch, logs):
        tf.summary.experimental.set_step(epoch)
        for name, value in logs.items():
            tf.summary.scalar(self._tag(name), value)
        for name, weight in self.model.term_weights.items():
            group, _, name = self._tag(name).partition("/")
            tf.summary.scalar(f"{group}/weight_of_{name}", weight)
        weights = self.model.encode(self.x, self._labels())["weights"].numpy()
        for i, usage in enumerate(weights.mean(axis=0)):
            tf.summary.scalar(f"mixture/usage_{i}", usage)
        entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-30)), axis=1)
        tf.summary.scalar("mixture/entropy_of_weights", entropy.mean())
        tf.summary.histogram("mixture/weights", weights)
        if self._has_pictures():
            picture, rows = self._picture()
            description = f"From top to bottom: {', '.join(rows)}."
            tf.summary.image(
                "mixture/images", picture[np.newaxis], description=description
            )

    def _tag(self, name):
        """Return the tag of a value of Keras' logs, which begins with its group."""
        if name.startswith("val_"):
            return f"validation/{name.removeprefix('val_')}"
        if name == "loss" or name == "learning_rate":
            return f"loss/{'total' if name == 'loss' else name}"
        if name in kl_names(self.model.terms):
            return f"kl/{name}"
        return f"{'loss' if name in self.model.term_weights else 'mixture'}/{name}"

    def _labels(self, num=None):
        return None if self.y is None else self.y[:num]

    def _has_pictures(self):
        shape = self.model.input_shape
        return len(shape) == 3 and shape[-1] in (1, 3)

    def _picture(self):
        """Make one picture of all rows of images; return it and the rows' names."""
        # These modules import Matplotlib, which takes a while.
        from mvae_tf.figures.images import named_reconstructions
        from mvae_tf.figures.tiles import mosaic, scaled

        model, x, y = self.model, self.x[:_SHOWN], self._labels(_SHOWN)
        rows = named_reconstructions(model, x, y)
        labels = y if model.conditional else None
        rows["samples"] = model.generate(len(x), y=labels, seed=0)
        tiles = np.stack([np.asarray(row) for row in rows.values()])
        tiles = scaled(tiles, *model.likelihood.shown_range)
        breaks = (0, len(rows) - 2)
        return mosaic(tiles, row_breaks=breaks, side=_THUMBNAIL)[0], list(rows)

    def _write_latents(self):
        """Write one embedding for each component, in the projector's format."""
        from tensorboard.plugins import projector

        config = projector.ProjectorConfig()
        means = latent_means(self.model, self.x, self._labels())
        sprite = self._write_sprite() if self._has_pictures() else None
        if self.y is not None:
            labels = "".join(f"{label}\n" for label in integer_labels(self.y))
            storage.write_text(self.log_dir / "labels.tsv", labels)
        for i in range(means.shape[1]):
            name = "latents" if means.shape[1] == 1 else f"latents_of_component_{i}"
            rows = ["\t".join(f"{value:.6g}" for value in row) for row in means[:, i]]
            storage.write_text(self.log_dir / f"{name}.tsv", "\n".join(rows) + "\n")
            embedding = config.embeddings.add()
            embedding.tensor_name = name
            embedding.tensor_path = f"{name}.tsv"
            if self.y is not None:
                embedding.metadata_path = "labels.tsv"
            if sprite is not None:
                embedding.sprite.image_path = "sprite.png"
                embedding.sprite.single_image_dim.extend(sprite)
        projector.visualize_embeddings(str(self.log_dir), config)

    def _write_sprite(self):
        """Write all images as one picture; return width and height of an image."""
        from PIL import Image

        low, high = self.model.likelihood.shown_range
        images = np.clip((self.x - low) / (high - low), 0.0, 1.0)
        num, height, width, channels = images.shape
        side = math.ceil(math.sqrt(num))
        # The projector expects a square table without gaps, filled row by row.
        blank = np.zeros((side * side - num, height, width, channels), images.dtype)
        table = np.concatenate([images, blank]).reshape(side, side, *images.shape[1:])
        table = np.concatenate(np.concatenate(table, axis=1), axis=1)
        pixels = np.broadcast_to(np.rint(255.0 * table), (*table.shape[:2], 3))
        with storage.write(self.log_dir / "sprite.png") as temporary:
            Image.fromarray(pixels.astype(np.uint8)).save(temporary)
        return width, height


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
