"""Readers of data sets, one file for each kind of source.

Every module of this folder is imported, so that a new source needs only a file with a
registered function. No module imports TensorFlow before it reads a data set.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
