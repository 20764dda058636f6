"""Mixture variational autoencoders in Keras.

Importing the package registers every model and layer with Keras, so that
`keras.saving.load_model` finds them.
"""

import sys

import mvae_tf.quiet  # noqa: F401 - before anything that imports TensorFlow
from mvae_tf import data, divergences, models, optimizers, presets
from mvae_tf.evaluation import audit, samplers
from mvae_tf.models import create, names
from mvae_tf.parts import independence, likelihoods, masks, mixing, networks, priors
from mvae_tf.runs import callbacks, training
from mvae_tf.runs.checkpoints import load
from mvae_tf.serving import export
from mvae_tf.version import __version__

__all__ = [
    "__version__",
    "audit",
    "callbacks",
    "create",
    "data",
    "divergences",
    "export",
    "independence",
    "likelihoods",
    "load",
    "masks",
    "mixing",
    "models",
    "names",
    "networks",
    "optimizers",
    "presets",
    "priors",
    "samplers",
    "training",
]

# The documented names of these modules are short; where they lie may change.
for _module in (
    audit,
    callbacks,
    independence,
    likelihoods,
    masks,
    mixing,
    networks,
    priors,
    samplers,
    training,
):
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module
