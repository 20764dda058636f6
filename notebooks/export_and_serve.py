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
# # Export and serve
#
# A trained model becomes a SavedModel that TensorFlow alone can run, without Keras and
# `mvae_tf`. This notebook exports a model, loads it back, calls each of its signatures,
# and ends with the command that serves it with TensorFlow Serving. It takes about a
# minute on one CPU core.

# %%
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from IPython.display import display

import mvae_tf
from mvae_tf import figures

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes
EPOCHS = 1 if FAST else 60

# %%
digits = mvae_tf.data.load("digits", batch_size=128)
x_test, y_test = map(np.asarray, next(iter(digits.test.unbatch().batch(300))))
arguments = mvae_tf.presets.get("mvae-gs-digits").arguments | {"num_components": 4}
model = mvae_tf.create("mvae", digits.input_shape, **arguments)
model.compile(optimizer=mvae_tf.optimizers.FusedAdam(2e-3))
history = model.fit(digits.train, epochs=EPOCHS, verbose=0).history
print("objective:", round(history["loss"][0], 2), "→", round(history["loss"][-1], 2))

# %% [markdown]
# ## Export
#
# The version is written to a hidden folder, compared with the model, and only then
# renamed to its number, so a server that watches the folder never sees half a model.
# Running the cell again adds version 2.

# %%
version = mvae_tf.export(model, "runs/served/digits")
for path in sorted(Path(version).rglob("*")):
    print(path)

# %% [markdown]
# ## Load with plain TensorFlow
#
# From here on, `mvae_tf` is not needed. The first axis of an input may have any size.

# %%
served = tf.saved_model.load(str(version)).signatures
for name, signature in served.items():
    inputs = signature.structured_input_signature[1]
    inputs = {key: [*spec.shape] for key, spec in sorted(inputs.items())}
    outputs = {k: [*v.shape] for k, v in sorted(signature.structured_outputs.items())}
    print(f"{name}: {inputs} → {outputs}")

# %% [markdown]
# ## Call each signature
#
# `encode` answers with the posterior of each component and the mixing weights, `decode`
# turns latents and weights into images. `serving_default` does both in one call, with
# posterior means: it reconstructs images.

# %%
x = tf.constant(x_test[:12])
posterior = served["encode"](x=x)
decoded = served["decode"](z=posterior["mean"], weights=posterior["weights"])["images"]
reconstructed = served["serving_default"](x=x)["images"]
print("weights of the first image:", posterior["weights"][0].numpy().round(3))
print("decode(encode(x)) - serving_default(x):", np.abs(decoded - reconstructed).max())
print("keras - served:", np.abs(model.reconstruct(x) - reconstructed).max())

# %% [markdown]
# `generate` takes a row number and a seed for each image, and `interpolate` two images
# and a position between them, 0 to 1. Noise is a function of the seed alone, so the
# answer to a row never depends on the other rows of a batch.

# %%
seeds = tf.constant([[row, 7] for row in range(12)], tf.int32)
generated = served["generate"](seed=seeds)["images"]
alone = served["generate"](seed=seeds[5:6])["images"]
print("row 5 alone - in the batch:", np.abs(alone[0] - generated[5]).max())
frames = served["interpolate"](
    x0=tf.repeat(x[10:11], 12, axis=0),
    x1=tf.repeat(x[11:12], 12, axis=0),
    position=tf.linspace(0.0, 1.0, 12),
)["images"]

# %%
pictures = {
    "x": x,
    "serving_default": reconstructed,
    "generate": generated,
    "interpolate": frames,
}
tiles = np.clip(np.stack([np.asarray(row) for row in pictures.values()]), 0.0, 1.0)
display(figures.tiles.image_table(tiles, list(pictures)))

# %% [markdown]
# ## Serve
#
# TensorFlow Serving takes the folder of versions as it is. On a machine with Docker
# (not in Colab, and not run by this notebook):
#
# ```
# docker run --rm -p 8501:8501 -e MODEL_NAME=digits \
#   -v "$PWD/runs/served/digits:/models/digits" tensorflow/serving
# ```
#
# A request over REST is this JSON, posted to
# `http://localhost:8501/v1/models/digits:predict`:

# %%
request = {"signature_name": "generate", "instances": [[0, 7], [1, 7]]}
print(f"curl -d '{json.dumps(request)}' localhost:8501/v1/models/digits:predict")

# %% [markdown]
# The answer has the images of rows 0 and 1 above. A SavedModel is a program: load only
# those whose origin you trust.
