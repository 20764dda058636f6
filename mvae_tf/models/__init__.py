"""Models, each a `keras.Model`: one paper or one baseline a file.

Every module of this folder is imported, so a file with a registered class is all that a
new model takes.
"""

import importlib
import pkgutil

from mvae_tf.models import registry
from mvae_tf.models.base import BaseVAE, LossTerms
from mvae_tf.models.registry import create, names, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

_CLASSES = {cls.__name__: cls for cls in map(registry.get, names())}
globals().update(_CLASSES)

__all__ = ["BaseVAE", "LossTerms", "create", "names", "register", *_CLASSES]
