"""Mixture variational autoencoders in Keras.

Importing the package registers every model and layer with Keras, so that
`keras.saving.load_model` finds them.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from mvae_tf import quiet
from mvae_tf.version import __version__

if TYPE_CHECKING:
    from mvae_tf import figures, reproduce

__all__ = [
    "__version__",
    "audit",
    "callbacks",
    "create",
    "data",
    "divergences",
    "evaluation",
    "export",
    "figures",
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
    "reproduce",
    "samplers",
    "training",
]

# `python -m mvae_tf --help` and mistakes are answered without TensorFlow: when the
# command line starts, these imports wait until `mvae_tf.cli.app` runs this file
# again. In every other case they are done at once.
if not quiet.starts_command_line():
    quiet.import_tensorflow()
    from mvae_tf import data, divergences, evaluation, models, optimizers, presets
    from mvae_tf.evaluation import audit, samplers
    from mvae_tf.models import create, names
    from mvae_tf.parts import independence, likelihoods, masks, mixing, networks, priors
    from mvae_tf.runs import callbacks, training
    from mvae_tf.runs.checkpoints import load
    from mvae_tf.serving import export

    # The documented names of these modules are shorter than their paths, and `import
    # mvae_tf.networks` must work, too.
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


def __getattr__(name: str) -> ModuleType:
    """Import `figures` and `reproduce`, which need Matplotlib, on their first use."""
    if name in ("figures", "reproduce"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
