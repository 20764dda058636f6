"""The classes of a preset, of a number that a paper reports, and of shared settings."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mvae_tf.config import RunConfig, Training, setting_text

__all__ = ["Preset", "Reported", "Setting"]


@dataclass(frozen=True)
class Reported:
    """A number that a paper reports.

    Attributes:
        metric: str, name of the number in `mvae_tf.evaluation.UNITS`, which has its
            unit.
        value: float, the number.
        source: str, paper and table.
        row: str, row and column of the table.
    """

    metric: str
    value: float
    source: str
    row: str


@dataclass(frozen=True)
class Preset:
    """Settings of a model, its data and its training, from a paper or a script.

    Attributes:
        name: `<model>-<variant>-<dataset>`, with `@code` if it follows a script.
        model: str, registered name of the model.
        arguments: dict, arguments of the model.
        data: dict, arguments of `mvae_tf.data.load`.
        training: `Training`, settings of the training loop.
        source: str, paper or script that the settings come from.
        paper: tuple of `Reported`, numbers that the paper reports.
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
        """Name of the data set: the source without the path of a file."""
        return self.data["source"].partition(":")[0]

    def config(self) -> RunConfig:
        """Make the configuration of a run of this preset."""
        return RunConfig(
            self.model,
            copy.deepcopy(self.arguments),
            copy.deepcopy(self.data),
            self.training,
            preset=self.name,
        )

    def differences(self, config: RunConfig, num_train: int | None = None) -> list[str]:
        """List how a run departs from this preset in what its numbers depend on.

        Args:
            config: `RunConfig`, configuration of the run, with or without the arguments
                that have their defaults.
            num_train: int, number of training images of the run, if it is known.

        Returns:
            Texts such as "epochs (3, preset: 100)"; empty where the numbers of the run
            may be compared with the paper's.
        """
        planned, actual = self.config().to_dict(), config.to_dict()
        planned["data"].setdefault("limit", None)
        found = []
        for group in ("training", "data", "arguments"):
            prefix = "" if group == "training" else f"{group}."
            for key, value in planned[group].items():
                given = actual[group].get(key)
                if key == "source":
                    given, value = given.rpartition("/")[2], self.dataset
                    agrees = self._is_of_dataset(given)
                else:
                    agrees = key in _FREE or _agrees(value, given)
                if not agrees:
                    texts = map(setting_text, (given, value))
                    found.append("{}{} ({}, preset: {})".format(prefix, key, *texts))
        images = _TRAINING_IMAGES.get(self.dataset, 0)
        images -= self.data.get("validation_size") or 0
        if num_train is not None and num_train < images and not found:
            found.append(f"training images ({num_train:,}, preset: {images:,})")
        return found

    def _is_of_dataset(self, source):
        kind, _, path = source.partition(":")
        return self.dataset in (kind, Path(path or kind).stem)


# Settings on which no number depends: the speed of a run and the place of its data.
_FREE = (
    "checkpoint_every",
    "steps_per_execution",
    "jit_compile",
    "data_dir",
    "download",
)
_TRAINING_IMAGES = {
    "mnist": 60_000,
    "fashion_mnist": 60_000,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "celeb_a": 162_770,
    "imagenet64": 1_281_149,
}


def _agrees(planned: Any, actual: Any) -> bool:
    """Return whether a setting of a run is that of its preset.

    A preset may give a part by its name or by some of its arguments.
    """
    if isinstance(actual, dict) and isinstance(planned, str):
        return actual.get("name") == planned
    if isinstance(actual, dict) and isinstance(planned, dict):
        return all(_agrees(value, actual.get(key)) for key, value in planned.items())
    if isinstance(planned, list | tuple) and isinstance(actual, list | tuple):
        return list(planned) == list(actual)
    return bool(planned == actual)


@dataclass(frozen=True)
class Setting:
    """Settings that all models of a paper share on one data set.

    Attributes:
        data: dict, arguments of `mvae_tf.data.load`.
        arguments: dict, arguments of all models.
        training: `Training`, settings of the training loop.
        mixture: dict, further arguments of the models with mixing weights.
    """

    data: dict[str, Any]
    arguments: dict[str, Any]
    training: Training
    mixture: dict[str, Any] = field(default_factory=dict)
