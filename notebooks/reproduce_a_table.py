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
# # Reproduce a table of a paper
#
# Every table and figure of the five papers is a command. This notebook runs one of
# them, Table I of M-VAE (Ye and Bors, *Mixtures of Variational Autoencoders*, IPTA
# 2020): the reconstruction error on MNIST with 4, 8 and 10 components and of a single
# VAE. It trains five models, which takes about two minutes on one CPU core at the smoke
# scale.

# %%
import os
from pathlib import Path

import keras
import numpy as np
from IPython.display import Image, Markdown, display
from sklearn.datasets import load_digits

# %% [markdown]
# There are three scales. `smoke` takes four steps with 256 images, to see that
# everything works. `reduced` takes hours on two cores. `full` is the protocol of the
# paper. `RESULTS.md` of the repository has results of the last two.

# %%
FAST = bool(os.environ.get("MVAE_TF_FAST"))  # seconds instead of minutes
NAME = "m-vae-figure-2" if FAST else "m-vae-table-1"
SCALE = "smoke"
OUTPUT = Path("runs/reproduced")
OUTPUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## What there is

# %%
# %run -m mvae_tf reproduce list

# %% [markdown]
# ## Data
#
# The data are MNIST as an `.npz` file, which `--data` names. (Without `--data`, each
# data set comes from TensorFlow Datasets.) In the fast setting, and where Keras cannot
# download MNIST, the digits of scikit-learn stand in for it, and nothing can be
# compared.


# %%
def load():
    """Training and test part of MNIST, or of the digits that stand in for it."""
    if not FAST:
        try:
            return keras.datasets.mnist.load_data()
        except Exception as error:  # Keras raises what its downloader has met.
            print("No MNIST:", error)
    digits = load_digits()
    images, labels = np.uint8(digits.images * 255 / 16), digits.target
    return (images[:500], labels[:500]), (images[500:600], labels[500:600])


(x_train, y_train), (x_test, y_test) = load()
DATA = OUTPUT / "mnist.npz"
np.savez(DATA, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

# %% [markdown]
# ## Run it
#
# Each row of the table is a preset: it is trained, measured, and put beside the number
# of the paper. You can stop the cell at any time. When it is run again, it continues
# where it stopped and does not repeat what is finished. Tables share their runs.

# %%
# %run -m mvae_tf reproduce {NAME} --scale {SCALE} --data npz:{DATA} --output {OUTPUT}

# %% [markdown]
# ## Read it
#
# The columns are the paper's number, ours and the difference. Below the table are the
# unit of each number and, for each row, the images, epochs, seed and settings. The
# number to compare with the paper is `sse_sampled`, of drawn latents; `sse`, of
# posterior means, is always lower.

# %%
RESULT = OUTPUT / SCALE / NAME
display(Markdown(RESULT.with_suffix(".md").read_text("utf-8")))

# %%
for picture in sorted(RESULT.parent.glob(f"{NAME}*.png")):
    display(Image(picture, width=900))

# %% [markdown]
# After four steps, our errors are far above those of the paper, because no model has
# learned anything yet. Set `SCALE = "reduced"` for a meaningful comparison, and see
# `RESULTS.md` for ours.
#
# Each run is a folder of its own, with the trained model, its history and figures, and
# a `report.html` to open in a browser:

# %%
for report in sorted((RESULT.parent / "runs").glob("*/report.html")):
    print(report)
