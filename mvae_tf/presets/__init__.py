"""Presets: models, data and training settings under one name.

Names are `<model>-<variant>-<dataset>`. A name alone follows the papers where they are
sound; with `@code` it follows the authors' scripts.
"""

import difflib

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
        ValueError: on an unknown name, with the nearest ones.
    """
    if name not in _PRESETS:
        near = difflib.get_close_matches(name, _PRESETS, 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"Unknown preset {name!r}: expected one of mvae_tf.presets.names().{hint}"
        )
    return _PRESETS[name]
