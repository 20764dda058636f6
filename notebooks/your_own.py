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
# About two minutes on one CPU core.

# %%
import os

import numpy as np
from IPython.display import display

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
    """Trains a model on the shapes and shows what it makes of test images."""
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
    """Reads the data set: a dict of arrays."""
    x, y = draw_shapes(IMAGES)
    return {"x": x, "y": y}


print(mvae_tf.data.load("shapes", batch_size=50))
