"""Presets: a model, data and training settings under one name.

Names are `<model>-<variant>-<dataset>`. A preset follows its paper, with errors of the
paper corrected; the preset with `@code` at the end of its name follows the authors'
scripts.
"""

from collections.abc import Sequence

from mvae_tf.config import RunConfig
from mvae_tf.parts.part import choice
from mvae_tf.presets import baselines, cgm, cp_vae, gmmp_vae, m_vae, mvae
from mvae_tf.presets.preset import Preset, Reported

__all__ = ["Preset", "Reported", "datasets", "differences", "get", "names", "reported"]

_PAPERS = (mvae, m_vae, baselines, gmmp_vae, cp_vae, cgm)
_PRESETS = {preset.name: preset for paper in _PAPERS for preset in paper.presets()}


def names() -> list[str]:
    """List the names of all presets."""
    return list(_PRESETS)


def datasets() -> list[str]:
    """List the names of the data sets that presets train on."""
    return list(dict.fromkeys(preset.dataset for preset in _PRESETS.values()))


def get(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        ValueError: no preset has this name; the error says which name is nearest.
    """
    return _PRESETS[choice(name, _PRESETS, "preset", "mvae_tf.presets.names()")]


def reported(config: RunConfig) -> Sequence[Reported]:
    """Return the numbers that a paper reports of the preset that a run comes from.

    Args:
        config: `RunConfig`, configuration of the run.

    Returns:
        The numbers; none for a run that comes from no preset.
    """
    return _PRESETS[config.preset].paper if config.preset in _PRESETS else ()


def differences(config: RunConfig, num_train: int | None = None) -> list[str]:
    """List how a run departs from its preset in what its numbers depend on.

    Args:
        config: `RunConfig`, configuration of the run.
        num_train: int, number of training images of the run, if it is known.

    Returns:
        Texts, as `Preset.differences` returns them; none for a run that comes from no
        preset.
    """
    if config.preset not in _PRESETS:
        return []
    return _PRESETS[config.preset].differences(config, num_train)
