# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own data, network, likelihood and model
#
# Everything in this library can be replaced: this notebook trains on arrays of its own,
# and registers a data source, a likelihood, a network and a model, each in a few lines.
# It takes about two minutes on one CPU core.

# %%
import math
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from IPython.display import display
from keras import layers
from tensorflow_probability import distributions as tfd

import mvae_tf
from mvae_tf import figures

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes
EPOCHS = 1 if FAST else 20
IMAGES = 200 if FAST else 4000

# %% [markdown]
# ## Data: arrays
#
# Images of discs and squares of random size and place, 16 pixels wide, with the shape
# as their label. `from_arrays` takes uint8 images, or floats in [0, 1], and gives the
# same three pipelines as `mvae_tf.data.load`: training, validation and test.


# %%
def draw_shapes(num, seed=0):
    """Images `[num, 16, 16]` in [0, 1] of discs and squares, and their labels."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    centre = random.uniform(5, 11, (2, num, 1, 1))
    radius = random.uniform(2, 5, (num, 1, 1))
    label = random.integers(0, 2, num)
    down, right = np.abs(rows - centre[0]), np.abs(columns - centre[1])
    distance = np.where(
        label[:, None, None] == 0, np.hypot(down, right), np.maximum(down, right)
    )
    return np.clip(radius - distance + 0.5, 0, 1).astype("float32"), label


x, y = draw_shapes(IMAGES)
shapes = mvae_tf.data.from_arrays(x, y, batch_size=50)
print(shapes)

# %% [markdown]
# `arrays` gives NumPy arrays back, here those of the test part.

# %%
x_test, y_test = shapes.arrays("test")
print(x_test.shape, y_test[:10])


# %%
def train(model):
    """Train a model on the shapes and show what it makes of test images."""
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(2e-3))
    history = model.fit(
        shapes.train, validation_data=shapes.validation, epochs=EPOCHS, verbose=0
    ).history
    losses = history["val_loss"]
    print(f"validation loss {losses[0]:.1f} → {losses[-1]:.1f} nats per image")
    display(figures.reconstructions(model, x_test[:12]))


arguments = {"input_shape": shapes.input_shape, "latent_dim": 4}
train(mvae_tf.create("mvae", num_components=3, **arguments))

# %% [markdown]
# ## Data: a source with a name
#
# A registered source works wherever a name does: in `load`, in `--data` on the command
# line (with `--import FILE`, where FILE holds these lines), and in a run that resumes.


# %%
@mvae_tf.data.source("shapes", "discs and squares, 16x16, drawn anew from a fixed seed")
def read_shapes(request):
    """Read the data set: a dict of arrays."""
    x, y = draw_shapes(IMAGES)
    return {"x": x, "y": y}


print(mvae_tf.data.load("shapes", batch_size=50))

# %% [markdown]
# ## Likelihood
#
# A likelihood says what the outputs of the decoder mean: the density of an image, its
# mean, and draws of its pixels. This one measures absolute errors.


# %%
@mvae_tf.likelihoods.register("laplace")
class Laplace(mvae_tf.likelihoods.Likelihood):
    """Pixels with a Laplace density of one known scale around the decoded mean."""

    def __init__(self, scale=0.1):
        self.scale = scale

    def link(self, features):
        """Return mean pixels in (0, 1)."""
        return tf.sigmoid(tf.cast(features, tf.float32))

    def log_prob(self, x, outputs):
        """Return the log-density of each image in nats."""
        pixels = tfd.Laplace(outputs, self.scale).log_prob(x)
        return tf.reduce_sum(pixels, axis=list(range(1, pixels.shape.rank)))

    def mean(self, outputs):
        """Return the mean image."""
        return outputs

    def quantile(self, outputs, probability):
        """Return the pixels at these probabilities."""
        pixels = tfd.Laplace(outputs, self.scale).quantile(probability)
        return tf.clip_by_value(pixels, 0.0, 1.0)


train(mvae_tf.create("vae", likelihood={"name": "laplace", "scale": 0.1}, **arguments))

# %% [markdown]
# The loss is negative, because the density of a pixel can exceed 1. Losses under
# different likelihoods cannot be compared.

# %% [markdown]
# ## Network
#
# Two functions return Keras models, one for the encoder and one for the decoder. They
# are registered with Keras, because a saved model names them.

# %%
register = keras.saving.register_keras_serializable("your_own")


@register
def encoder(spec):
    """Return a model from images to features."""
    return keras.Sequential(
        [
            layers.Conv2D(16, 3, strides=2, padding="same", activation="silu"),
            layers.Flatten(),
            layers.Dense(64, activation="silu"),
        ]
    )


@register
def decoder(spec):
    """Return a model from latents to the outputs of the likelihood."""
    return keras.Sequential(
        [
            layers.Dense(64, activation="silu"),
            layers.Dense(math.prod(spec.output_shape)),
            layers.Reshape(spec.output_shape),
        ]
    )


network = mvae_tf.networks.FromKeras(encoder, mix_decoder=decoder)
train(mvae_tf.create("vae", network=network, **arguments))

# %% [markdown]
# ## Model
#
# A class of a model says how it differs from its parent class. In this VAE, the KL
# counts in the loss only as far as it is above a floor, `free_nats`, so that the
# latents keep at least that much information.


# %%
@mvae_tf.models.register("free_bits_vae")
class FreeBitsVAE(mvae_tf.models.VAE):
    """VAE that pays only for what its KL has above `free_nats`."""

    def __init__(self, *args, free_nats=2.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.free_nats = free_nats

    def loss_terms(self, x, y, noise, training):
        """Compute the terms of the VAE, with the KL cut off from below."""
        terms = super().loss_terms(x, y, noise, training)
        return terms | {"kl": tf.maximum(terms["kl"], self.free_nats)}


model = mvae_tf.create("free_bits_vae", free_nats=6.0, **arguments)
train(model)

# %% [markdown]
# ## Keep it
#
# A saved model can be loaded wherever the same lines have run before.

# %%
Path("runs").mkdir(exist_ok=True)
model.save("runs/your_own.keras")
restored = mvae_tf.load("runs/your_own.keras")
print(restored.free_nats)
print(np.array_equal(restored.reconstruct(x_test), model.reconstruct(x_test)))
