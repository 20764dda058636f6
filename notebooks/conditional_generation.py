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
# # Conditional generation without labels: CP-VAE
#
# CP-VAE (Lavda, Gregorova and Kalousis, *Data-Dependent Conditional Priors for
# Unsupervised Learning of Multimodal Data*, Entropy 2020) has a category c and a latent
# z whose prior depends on it: p(c) p(z | c) p(x | z, c). It is trained without labels.
# Here, it has ten categories for ten digits. The notebook takes about two minutes on
# one CPU core.

# %%
import os

import numpy as np
from IPython.display import display
from sklearn.neighbors import KNeighborsClassifier

import mvae_tf
from mvae_tf import figures

# %matplotlib inline

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes
EPOCHS = 2 if FAST else 150
K = 3 if FAST else 10

# %%
digits = mvae_tf.data.load("digits", batch_size=64)
x_train, y_train = map(np.asarray, next(iter(digits.train.unbatch().batch(1297))))
x_test, y_test = map(np.asarray, next(iter(digits.test.unbatch().batch(300))))

# %% [markdown]
# ## Training
#
# Two latent dimensions are too few for all information on an image, so the model uses
# the category too; and the KL weights grow over the first two thirds of the epochs.
# With eight dimensions and no such warm-up, z holds all the information, and the
# categories stay alike (`category_kl` ends at 0.1).

# %%
model = mvae_tf.create(
    "cp_vae",
    digits.input_shape,
    num_components=K,
    latent_dim=2,
    network={"name": "gated_mlp", "hidden": 100},
)
model.compile(optimizer=mvae_tf.optimizers.FusedAdam(1e-3))
history = model.fit(
    digits.train,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[mvae_tf.callbacks.KLWarmup(max(1, EPOCHS * 2 // 3))],
).history
print({name: round(values[-1], 2) for name, values in history.items()})

# %% [markdown]
# `category_kl` is log 10 - H(q(c | x)) = 2.3 - H, on average: 0 if the model could not
# say which category an image has, 2.3 if it were always sure.

# %% [markdown]
# ## Samples by category
#
# Each row shows a category, drawn from its prior p(z | c), the most frequent one first
# (Fig 6 of the paper). `fit_aggregate` measures how often each category occurs in the
# training images (Eq 18). Some rows are one digit, others mix two or three that look
# alike.

# %%
model.fit_aggregate(x_train)
display(figures.samples_by_category(model))

# %% [markdown]
# ## Categories against labels
#
# For each label, which the model never saw, its most probable categories: the mean of
# q(c | x) over the test images (Table 2). A label with one large number has a category
# of its own; a category that is listed for several labels is shared between them.

# %%
table = model.category_table(x_test, y_test, top=3)
for label, row in table.rows.items():
    print(label, "  ".join(f"category {c}: {share:.0%}" for c, share in row))
print("shared by several labels:", table.reused)

# %% [markdown]
# The same as a picture, with all categories (Fig 10). The line is 1/K, the probability
# of each category if it did not depend on the label.

# %%
probabilities = model.category_probabilities(x_test).numpy()
panels = {
    f"label {label}": probabilities[y_test == label].mean(axis=0) for label in range(10)
}
display(
    figures.category_posteriors(
        panels, "Categories of each label", "Mean of q(c | x) over its test images."
    )
)

# %% [markdown]
# ## Digits of a chosen label
#
# A label is now a distribution over categories, so drawing a label is drawing its
# categories. `aggregate` holds the proportions that `generate` uses: give it those of a
# label's training images, and the model, trained without labels, draws that label as
# well as its categories can.

# %%
probabilities = model.category_probabilities(x_train).numpy()
drawn = []
for label in range(10):
    model.aggregate.assign(probabilities[y_train == label].mean(axis=0))
    drawn.append(model.generate(200, seed=0).numpy())
tiles = np.clip(np.stack(drawn)[:, :12], 0.0, 1.0)
display(figures.tiles.image_table(tiles, [f"label {label}" for label in range(10)]))

# %% [markdown]
# How well is that? A nearest-neighbour classifier, trained on the real digits, counts
# the drawn ones that it takes for the label asked for. One in ten would be chance.

# %%
classifier = KNeighborsClassifier(3).fit(x_train.reshape(-1, 64), y_train)
accuracy = classifier.score(x_test.reshape(-1, 64), y_test)
print(f"real test digits: {accuracy:.0%}")
for label, images in enumerate(drawn):
    share = np.mean(classifier.predict(images.reshape(-1, 64)) == label)
    print(f"drawn as {label}: {share:.0%}")

# %% [markdown]
# Compare with the table: a label with a category that is nearly its own comes out well
# (sevens, sixes, fives), one that shares its categories comes out as its neighbours
# (eights, nines). Training on another machine may give other categories.
#
# Where there are labels, `num_classes=10` makes an MVAE that is conditioned on them,
# and `model.generate(8, y=3)` draws threes.
