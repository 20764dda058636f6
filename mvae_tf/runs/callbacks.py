"""Keras callbacks of the training loop."""

import warnings

import keras
import numpy as np
import tensorflow as tf

__all__ = ["KLWarmup", "MixtureSummaries"]


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


class MixtureSummaries(keras.callbacks.Callback):
    """TensorBoard summaries that show what each component does.

    `keras.callbacks.TensorBoard` writes the terms of the objective, the dropout rate
    and the selected components; this adds, once an epoch, the weight of each term, the
    usage of each component and the entropy of the expected mixing weights (nats), a
    histogram of these weights, and images: reconstructions and samples, by the mixture
    and by each component alone.

    Args:
        log_dir: folder of the event files.
        x: `[N, H, W, C]` images to show, or vectors, which get no pictures.
        y: their labels, for a conditional model.
    """

    def __init__(self, log_dir, x, y=None):
        super().__init__()
        self.log_dir = str(log_dir)
        self.x = x
        self.y = y

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the summaries of the epoch."""
        with self._writer.as_default(step=epoch):
            for name, weight in self.model.term_weights.items():
                tf.summary.scalar(f"term_weight/{name}", weight)
            weights = self.model.encode(self.x, self.y)["weights"].numpy()
            for i, usage in enumerate(weights.mean(axis=0)):
                tf.summary.scalar(f"usage/component_{i}", usage)
            entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-30)), axis=1)
            tf.summary.scalar("usage/entropy", entropy.mean())
            tf.summary.histogram("mixing_weights", weights)
            if len(self.model.input_shape) == 3:
                self._write_images()
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the event file."""
        self._writer.close()

    def _write_images(self):
        low, high = self.model.likelihood.low, self.model.likelihood.high
        num = len(self.x)

        def show(name, images):
            images = np.clip((np.asarray(images) - low) / (high - low), 0.0, 1.0)
            tf.summary.image(name, images, max_outputs=num)

        show("originals", self.x)
        count = self.model.num_components
        parts = {"mixture": None} | {f"component_{i}": i for i in range(count)}
        for name, component in parts.items() if count > 1 else [("mixture", None)]:
            reconstructed = self.model.reconstruct(self.x, self.y, component)
            show(f"reconstructions/{name}", reconstructed)
            generated = self.model.generate(num, component, self.y, seed=0)
            show(f"samples/{name}", generated)
