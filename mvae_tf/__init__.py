"""Mixture variational autoencoders in Keras.

Importing the package registers every model and layer with Keras, so that
`keras.saving.load_model` finds them.
"""

import mvae_tf.quiet  # noqa: F401 - before anything that imports TensorFlow
from mvae_tf import data, divergences, models, optimizers, presets
from mvae_tf.checkpoint import load
from mvae_tf.export import export
from mvae_tf.models import create, names
from mvae_tf.version import __version__

__all__ = [
    "__version__",
    "create",
    "data",
    "divergences",
    "export",
    "load",
    "models",
    "names",
    "optimizers",
    "presets",
]
