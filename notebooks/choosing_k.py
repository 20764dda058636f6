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
# # How many components? Dropout and pruning
#
# MVAE starts with more components than it may need. A mask drops them at random while
# training, its dropout rate p is trained with the weights, and what the mask keeps on
# average is the number of *selected components* (Ye and Bors, TNNLS 2022, Sec III-C and
# V-G, Fig 15 and 16). Then the model is pruned to that size. The notebook takes about
# two minutes on one CPU core.

# %%
import os

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import mvae_tf
from mvae_tf import figures

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes
EPOCHS = 2 if FAST else 100
K = 3 if FAST else 6

# %%
digits = mvae_tf.data.load("digits", batch_size=128)
x_test, y_test = map(np.asarray, next(iter(digits.test.unbatch().batch(300))))
arguments = mvae_tf.presets.get("mvae-gs-digits").arguments | {"num_components": K}
model = mvae_tf.create("mvae", digits.input_shape, **arguments)
model.compile(optimizer=mvae_tf.optimizers.FusedAdam(2e-3))
history = model.fit(digits.train, epochs=EPOCHS, verbose=0).history

# %% [markdown]
# ## What training does to p
#
# The objective of MVAE-GS has the term -H(p) (Eq 24), which pulls p towards 1/2. The
# reconstruction pulls p down, because dropped components make it worse. Starting at
# 0.1, p grows over the epochs and still grows at the end, so the number of selected
# components also depends on how long the model is trained.

# %%
rows = [
    {"epoch": i + 1} | {name: values[i] for name, values in history.items()}
    for i in range(EPOCHS)
]
display(figures.curves(rows))

# %% [markdown]
# ## How many are selected
#
# A component counts as selected if its mask m reaches a threshold (0.1). `mean` is the
# mean number of selected components over drawn masks, and `closed_form` is its
# expectation, K P(m ≥ threshold).

# %%
selected = model.selected_components(x_test)
print(f"dropout rate p = {model.dropout_rate():.3f}")
print(f"selected of {model.num_components}: {selected}")

# %% [markdown]
# ## Prune
#
# All components share one p, so it says how many are kept, not which. `prune` keeps
# those with the largest usage, which is the expected mixing weight averaged over
# images. If usage is as even as here, the choice hardly matters.

# %%
small = model.prune(x_test)
print("usage:", np.mean(model.encode(x_test)["weights"], axis=0).round(3))
print("kept components:", small.kept_components)


# %%
def describe(name, model):
    """Print the size of a model and its errors on the test images."""
    error = np.square(model.reconstruct(x_test) - x_test).sum() / len(x_test)
    drawn = np.square(model.reconstruct(x_test, seed=0) - x_test).sum() / len(x_test)
    bound = np.mean(model.elbo(x_test, seed=0))
    print(
        f"{name:>7}: {model.num_components} components, "
        f"{model.count_params():,} parameters, squared error {error:.2f} "
        f"(drawn: {drawn:.2f}), bound {bound:.1f} nats"
    )


describe("before", model)
describe("after", small)

# %% [markdown]
# The error rises a little, and there are fewer parameters. The bound *rises*, because
# it counts the KL of every component in full and there are fewer of them; for the same
# reason, bounds of mixtures of different K do not show which K is right. The pictures
# can hardly be told apart:

# %%
mixed = {
    "before": model.reconstruct(x_test[:12]),
    "after": small.reconstruct(x_test[:12]),
}
tiles = np.stack([x_test[:12], *mixed.values()])
display(figures.tiles.image_table(tiles, ["original", *mixed]))

# %% [markdown]
# ## What another K would have cost
#
# A threshold on usage keeps any number of components. Each point below is the same
# trained model, cut to its n most used components, without training it again.

# %%
usage = np.sort(np.mean(model.encode(x_test)["weights"], axis=0))[::-1]
errors = []
for n in range(1, model.num_components + 1):
    cut = model.prune(x_test, threshold=usage[n - 1])
    reconstructed = cut.reconstruct(x_test)
    errors.append(np.square(reconstructed - x_test).sum() / len(x_test))

figure = Figure(figsize=(6, 3.2), layout="constrained")
axes = figure.subplots()
axes.plot(range(1, len(errors) + 1), errors, marker="o")
axes.axvline(selected.closed_form, color="grey", linestyle="dashed")
axes.set(
    xlabel="components kept (dashed: selected)",
    ylabel="squared error of an image",
    ylim=(0, 1.1 * max(errors)),
)
display(figure)

# %% [markdown]
# Most of the gain comes with the second component; each one after it adds a little. An
# average over more components keeps getting better, so there is no K at which the error
# stops falling. Dropout picks a point on the flat part.
