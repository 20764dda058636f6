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
# # Quick start
#
# This notebook trains MVAE-GS (Ye and Bors, *Deep Mixture Generative Autoencoders*,
# TNNLS 2022) on handwritten digits, shows the training in TensorBoard, and then what
# the model does with digits that it has not seen. It takes about three minutes on one
# CPU core.

# %%
import os
from pathlib import Path

import keras
import numpy as np
from IPython.display import display

import mvae_tf
from mvae_tf import figures
from mvae_tf.evaluation import UNITS, evaluate

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes

# %% [markdown]
# ## Data
#
# `mvae_tf.data.from_arrays` makes three `tf.data` pipelines of arrays, and
# `mvae_tf.data.load` the same of data sets with a name, of files and of folders. The
# order of the images is a function of the seed and the epoch, so a run can be repeated.


# %%
def load_images():
    """MNIST, or the digits of scikit-learn where Keras cannot download it."""
    if not FAST:
        try:
            (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
        except Exception as error:
            print("No MNIST:", error)
        else:
            return mvae_tf.data.from_arrays(x, y, x_test=x_test, y_test=y_test)
    return mvae_tf.data.load("digits", batch_size=128)


digits = load_images()
x_test, y_test = digits.arrays("test")
x_test, y_test = x_test[:300], y_test[:300]
MNIST = digits.input_shape == (28, 28, 1)
EPOCHS = 2 if FAST else 5 if MNIST else 100
print(digits)

# %% [markdown]
# ## Model
#
# Every model is a `keras.Model` that carries its own objective, so `compile` takes an
# optimiser only. A preset has the arguments; here, six encoders and six sub-decoders
# with four latent dimensions each, Dirichlet mixing weights, and a Gumbel-softmax mask
# that drops components while training (Eq 24 of the paper).

# %%
preset = mvae_tf.presets.get("mvae-gs-digits")
model = mvae_tf.create(preset.model, digits.input_shape, **preset.arguments)
model.compile(optimizer=mvae_tf.optimizers.FusedAdam(2e-3))
print(preset.arguments)

# %% [markdown]
# ## Training
#
# `fit` is the method of Keras. The callback `MixtureSummaries` writes for TensorBoard,
# after every epoch, the terms of the objective, the usage of each component, and one
# picture of reconstructions by the mixture and by each component, and of samples.

# %%
LOGS = Path("runs/quick_start/logs")
history = model.fit(
    digits.train,
    validation_data=digits.validation,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[mvae_tf.callbacks.MixtureSummaries(LOGS, x_test, y_test)],
).history
print({name: round(values[-1], 3) for name, values in history.items()})

# %% [markdown]
# TensorBoard opens below. *Images* has a slider over the epochs: the components start
# out as grey blurs and sharpen into digits.

# %%
if not FAST:
    print("TensorBoard reads", LOGS)
    # %load_ext tensorboard
    # %tensorboard --logdir {LOGS}

# %% [markdown]
# These are the curves to look at first. The objective should fall, and the validation
# curve should follow it. The dropout rate p is trained as well; as it grows, fewer
# components are selected (see the notebook *choosing_k*).

# %%
rows = [
    {"epoch": i + 1} | {name: values[i] for name, values in history.items()}
    for i in range(EPOCHS)
]
display(figures.curves(rows))

# %% [markdown]
# ## Pictures
#
# The top row has digits of the test part. Below it are their reconstructions by the
# mixture and by each component alone (Fig 2). Every component has learned to
# reconstruct digits; the mixture is smoother than any of them, because it averages six.

# %%
display(figures.reconstructions(model, x_test[:12]))

# %% [markdown]
# Samples are decoded from latents and mixing weights that are drawn from the prior.
# Each of the six latents is drawn on its own, although for a real digit they would
# agree, so many samples are blends of several digits.

# %%
display(figures.samples(model, rows=4))

# %% [markdown]
# ## Numbers
#
# These are numbers of the test part. Each name has its unit in `UNITS`. `sse` comes
# from posterior means and is lower than `sse_sampled`, which draws latents, weights and
# mask as training does. The bound counts the KL of all six components in full, so it
# lies below that of a single VAE; objective and bound are different things for a
# mixture.

# %%
results = evaluate(model, digits.test, metrics=["reconstruction", "elbo"])
for name, value in results.items():
    print(f"{name:>20} {value:8.3f}   {UNITS[name]}")

# %% [markdown]
# ## Keep it
#
# One file has the model, its weights and its optimiser.

# %%
model.save("runs/quick_start/model.keras")
restored = mvae_tf.load("runs/quick_start/model.keras")
print(np.array_equal(restored.reconstruct(x_test), model.reconstruct(x_test)))
