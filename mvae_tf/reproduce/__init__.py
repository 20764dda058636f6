"""Every table and figure of the five papers as a command.

Each paper has one file, which lists its tables and figures with the presets that they
need, how they are drawn, and how much is trained at each scale. `reproduce` trains,
measures, draws and writes them.
"""

from mvae_tf.parts.part import choice
from mvae_tf.reproduce import cgm, cp_vae, gmmp_vae, m_vae, mvae
from mvae_tf.reproduce.experiment import SCALES, Figure, Paper, Run, Table, Trained
from mvae_tf.reproduce.runner import Incomplete, reproduce

__all__ = [
    "SCALES",
    "Figure",
    "Incomplete",
    "Paper",
    "Run",
    "Table",
    "Trained",
    "get",
    "names",
    "reproduce",
]

_FOUND = {
    experiment.name: (module.PAPER, experiment)
    for module in (mvae, m_vae, gmmp_vae, cp_vae, cgm)
    for experiment in module.PAPER.experiments
}


def names() -> list[str]:
    """List the names of all tables and figures."""
    return list(_FOUND)


def get(name: str) -> tuple[Paper, Table | Figure]:
    """Return a table or a figure and the paper that it belongs to.

    Args:
        name: str, name of the table or the figure.

    Raises:
        ValueError: on an unknown name; the message has the nearest one.
    """
    listed = "those that `mvae-tf reproduce list` shows"
    return _FOUND[choice(name, _FOUND, "table or figure", listed)]
