"""What a preset is."""

import copy
from dataclasses import dataclass, field
from typing import Any

from mvae_tf.config import RunConfig, Training

__all__ = ["Preset", "Reported", "Setting"]


@dataclass(frozen=True)
class Reported:
    """A number that a paper reports.

    Attributes:
        metric: name in `mvae_tf.evaluation.UNITS`.
        value: the number.
        source: paper and table.
        row: row and column of the table.
    """

    metric: str
    value: float
    source: str
    row: str


@dataclass(frozen=True)
class Preset:
    """A model, its data and its training, as a paper or its authors' script has them.

    Attributes:
        name: `<model>-<variant>-<dataset>`, with `@code` for a script's semantics.
        model: registered name of the model.
        arguments: its arguments.
        data: arguments of `mvae_tf.data.load`.
        training: settings of the training loop.
        source: where the settings come from.
        paper: numbers that the paper reports.
    """

    name: str
    model: str
    arguments: dict[str, Any]
    data: dict[str, Any]
    training: Training
    source: str
    paper: tuple[Reported, ...] = ()

    @property
    def dataset(self) -> str:
        """Name of its data set: the source, without a user's file."""
        return self.data["source"].partition(":")[0]

    def config(self) -> RunConfig:
        """Configuration of a run of this preset."""
        return RunConfig(
            self.model,
            copy.deepcopy(self.arguments),
            copy.deepcopy(self.data),
            self.training,
            preset=self.name,
        )


@dataclass(frozen=True)
class Setting:
    """What all models of a paper share on one data set.

    Attributes:
        data: arguments of `mvae_tf.data.load`.
        arguments: arguments of the models.
        training: settings of the training loop.
        mixture: further arguments of the models with mixing weights.
    """

    data: dict[str, Any]
    arguments: dict[str, Any]
    training: Training
    mixture: dict[str, Any] = field(default_factory=dict)
