"""Mixture variational autoencoders in Keras.

Importing the package registers every model and layer with Keras, so that
`keras.saving.load_model` finds them.
"""

from mvae_tf import divergences, models, optimizers
from mvae_tf.models import create, names
from mvae_tf.version import __version__

__all__ = [
    "__version__",
    "create",
    "divergences",
    "models",
    "names",
    "optimizers",
]
