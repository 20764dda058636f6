"""Data sets as `tf.data` pipelines whose order is a pure function of (seed, epoch).

`load` and `from_arrays` make `Splits`; `sources` names what can be loaded, and
`@source` adds a data set. Importing this package does not import TensorFlow.
"""

from typing import TYPE_CHECKING, Any

from mvae_tf.data import registry
from mvae_tf.data.registry import source, sources

# isort: split
# Readers may import `source` from this package.
from mvae_tf.data.loading import from_arrays, load
from mvae_tf.data.readers import synthetic, toy

if TYPE_CHECKING:
    from mvae_tf.data.examples import leading
    from mvae_tf.data.pipeline import Splits

__all__ = [
    "Splits",
    "from_arrays",
    "leading",
    "load",
    "registry",
    "source",
    "sources",
    "synthetic",
    "toy",
]


def __getattr__(name: str) -> Any:
    # These two import TensorFlow, which only their first use needs.
    if name == "Splits":
        from mvae_tf.data.pipeline import Splits

        return Splits
    if name == "leading":
        from mvae_tf.data.examples import leading

        return leading
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
