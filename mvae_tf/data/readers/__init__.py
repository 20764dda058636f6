"""Readers of data sets, one file for each kind of source.

Every module of this folder is imported, so a file with a registered function is all
that a new source takes. None imports TensorFlow before it reads.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
