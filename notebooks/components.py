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
# # What each component learned
#
# An MVAE (Ye and Bors, *Deep Mixture Generative Autoencoders*, TNNLS 2022) has K
# encoders and K sub-decoders. Do they share the work, repeat each other, or does one do
# it all? This notebook examines a trained model in five ways. It takes about three
# minutes on one CPU core.

# %%
import os

import keras
import numpy as np
from IPython.display import display

import mvae_tf
from mvae_tf import divergences, figures

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes

# %% [markdown]
# The model has four components, so that the pictures stay small. The other arguments
# are those of the preset, which weights the KL terms by `kl_weight=0.5` and
# `dirichlet_weight=5`; the paper has 1 for both.


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
arguments = mvae_tf.presets.get("mvae-gs-digits").arguments | {"num_components": 4}
model = mvae_tf.create("mvae", digits.input_shape, **arguments)
model.compile(optimizer=mvae_tf.optimizers.FusedAdam(2e-3))
history = model.fit(digits.train, epochs=EPOCHS, verbose=0).history
print("objective:", round(history["loss"][0], 2), "→", round(history["loss"][-1], 2))

# %% [markdown]
# ## 1. Usage
#
# Usage is the expected mixing weight of each component, averaged over the test images.
# Equal numbers mean that all components are used alike. A single large number means
# that the mixture has collapsed into one VAE.

# %%
usage = np.mean(model.encode(x_test)["weights"], axis=0)
print("usage:", usage.round(3))

# %% [markdown]
# ## 2. Reconstructions alone
#
# Each row shows one component by itself (Fig 2 of the paper). Digits in every row mean
# that every component encodes the whole data set, as the paper shows for MNIST. A
# blurred row would be a component that the mixture does not rely on.

# %%
display(figures.reconstructions(model, x_test[:12]))

# %% [markdown]
# ## 3. Mismatched pairs
#
# What if sub-decoder i is fed by the encoder of another component (Fig 3)? If the
# components had learned the same code, nothing would change. The wrong digits on the
# left, and errors off the diagonal several times those on it, show that each pair has a
# code of its own.

# %%
display(figures.mismatch(model, x_test))

# %% [markdown]
# An interpolation shows the same (Fig 6 and 7). With its own encoders, the digit
# changes gradually and stays a digit of its class. With shifted ones, it is something
# else from the first frame on.

# %%
pairs = [np.flatnonzero(y_test == label)[:2] for label in (0, 3, 6)]
first, last = np.transpose(pairs)
display(figures.interpolation(model, x_test[first], x_test[last], num_frames=8))
display(
    figures.interpolation(model, x_test[first], x_test[last], num_frames=8, shift=1)
)

# %% [markdown]
# ## 4. Latents
#
# The plots have the posterior means of each component (Fig 11), four dimensions
# projected onto their two principal axes. The model never saw a label, yet images of a
# class tend to lie together, and each component arranges them in its own way.

# %%
display(figures.latents(model, x_test, y_test))

# %% [markdown]
# The next plot has all components, for the images of one class (Fig 13). If the colours
# form clusters, the encoders put the same digit into different places of the latent
# space. This explains the mismatch above.

# %%
display(figures.latents_by_component(model, x_test, y_test, label=0))

# %% [markdown]
# ## 5. Dependence
#
# The independence term of the objective is dHSIC. Fig 12 shows its square root for each
# pair of components. The estimate is positive even for independent latents, so it has
# to be compared with a floor: the estimate for the same latents after the images of
# each component were shuffled separately.

# %%
dependence = model.dependence_matrix(x_test).numpy()
z = model.sample_latents(x_test).numpy()
random = np.random.default_rng(0)
shuffled = np.stack([random.permutation(z[:, i]) for i in range(z.shape[1])], axis=1)
floor = divergences.pairwise_dhsic(shuffled).numpy()
pairs = ~np.eye(len(floor), dtype=bool)
print(f"pairs: {dependence[pairs].mean():.3f}, floor: {floor[pairs].mean():.3f}")
display(figures.dependence(dependence))

# %% [markdown]
# The pairs stay above the floor: all latents describe the same digit, so one of them
# gives information about the others. `independence_weight` is the weight of the term:
# 1 here and up to 10 in the paper, whose Fig 12 and 13 compare weights.

# %% [markdown]
# In the last picture, each column has one draw from the prior, decoded by every
# component (Fig 17). Each component decodes the same latent to a different digit.

# %%
display(figures.samples_by_component(model, columns=12))
