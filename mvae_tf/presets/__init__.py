"""Presets: models, data and training settings under one name.

Names are `<model>-<variant>-<dataset>`. A name alone follows the papers where they are
sound; with `@code` it follows the authors' scripts.
"""

from mvae_tf.parts.part import choice
from mvae_tf.presets import baselines, cgm, cp_vae, gmmp_vae, m_vae, mvae
from mvae_tf.presets.base import Preset, Reported

__all__ = ["Preset", "Reported", "datasets", "get", "names"]

_PAPERS = (mvae, m_vae, baselines, gmmp_vae, cp_vae, cgm)
_PRESETS = {preset.name: preset for paper in _PAPERS for preset in paper.presets()}


def names():
    """Names of all presets."""
    return list(_PRESETS)


def datasets():
    """Names of the data sets that presets are of."""
    return list(dict.fromkeys(preset.dataset for preset in _PRESETS.values()))


def get(name):
    """Preset by name.

    Raises:
        ValueError: on an unknown name, with the nearest one.
    """
    return _PRESETS[choice(name, _PRESETS, "preset", "mvae_tf.presets.names()")]
