"""What a reproduced table or figure is made of."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mvae_tf import data, presets, storage
from mvae_tf.config import RunConfig
from mvae_tf.runs import checkpoints, overrides, training

__all__ = ["SCALES", "Figure", "Paper", "Run", "Table", "Trained"]

SCALES = ("smoke", "reduced", "full")

# Added to the settings of the scale "reduced": a few steps, which show that it works.
SMOKE = ("data.limit=256", "batch_size=64", "epochs=1", "warmup_epochs=0")


@dataclass(frozen=True)
class Run:
    """A training that tables and figures share.

    Attributes:
        preset: name of its preset.
        changes: settings that differ from the preset's, `key=value` as after `--set`.
    """

    preset: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "+".join([self.preset, *self.changes])

    @property
    def label(self) -> str:
        """Name for readers: the preset, and what was changed."""
        return ", ".join([self.preset, *self.changes])

    @property
    def dataset(self) -> str:
        """Name of its data set."""
        return presets.get(self.preset).dataset

    def config(
        self, changes: Sequence[str], source: str | None = None, seed: int = 0
    ) -> RunConfig:
        """Configuration of the run at a scale.

        Args:
            changes: settings that differ from the preset's, `key=value`.
            source: where the data comes from; None for the preset's own source.
            seed: decides initial weights, noise and the order of the images.
        """
        config = presets.get(self.preset).config()
        config = overrides.apply(dataclasses.replace(config, seed=seed), changes)
        if source is None:
            return config
        return dataclasses.replace(config, data=config.data | {"source": source})


class Experiment:
    """What `Table` and `Figure` share."""

    def runs(self, scale: str) -> list[Run]:
        """The runs that it shows at a scale."""
        raise NotImplementedError

    def datasets(self, scale: str) -> list[str]:
        """Names of the data sets of its runs."""
        return list(dict.fromkeys(run.dataset for run in self.runs(scale)))


@dataclass(frozen=True)
class Table(Experiment):
    """A table: the numbers that presets have from it, beside ours.

    Attributes:
        name: name on the command line.
        title: what is compared.
        source: `mvae_tf.presets.Reported.source` of its numbers.
        groups: groups of `mvae_tf.evaluation.GROUPS` that measure them.
        also: names of further numbers that every run needs.
        beside: names of numbers that are shown of the runs that have them.
        more: runs beside those of the presets that carry a number.
        reduced: presets that are run at the scales below "full"; None for all.
        remark: what a reader has to know before comparing.
    """

    name: str
    title: str
    source: str
    groups: tuple[str, ...]
    also: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    more: tuple[Run, ...] = ()
    reduced: tuple[str, ...] | None = None
    remark: str = ""

    def runs(self, scale: str) -> list[Run]:
        """Runs of its rows, in the order of the presets."""
        named = [
            Run(name)
            for name in presets.names()
            if any(entry.source == self.source for entry in presets.get(name).paper)
        ]
        runs = [*named, *self.more]
        if scale != "full" and self.reduced is not None:
            runs = [run for run in runs if run.preset in self.reduced]
        return runs

    def reported(self, run: Run) -> list[presets.Reported]:
        """The paper's numbers for a run."""
        if run.changes:
            return []
        paper = presets.get(run.preset).paper
        return [entry for entry in paper if entry.source == self.source]

    def wanted(self, run: Run) -> set[str]:
        """Names of the numbers that a run needs."""
        return {entry.metric for entry in self.reported(run)} | {*self.also}


@dataclass(frozen=True)
class Figure(Experiment):
    """A figure, drawn from trained models.

    Attributes:
        name: name on the command line.
        title: what is seen.
        draw: function from a list of `Trained`, those of `of` that could be had, to
            one `matplotlib.figure.Figure`, or to a dict of them by suffix of the file.
        of: the runs that it shows.
        reduced: the runs instead at the scales below "full"; None for the same.
        groups: groups of `mvae_tf.evaluation.GROUPS` to measure before drawing.
        metrics: names of the numbers of these groups that it needs.
        remark: what a reader has to know before comparing.
    """

    name: str
    title: str
    draw: Callable
    of: tuple[Run, ...]
    reduced: tuple[Run, ...] | None = None
    groups: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    remark: str = ""

    def wanted(self, run: Run) -> set[str]:
        """Names of the numbers that a run needs."""
        return {*self.metrics}

    def runs(self, scale: str) -> list[Run]:
        """Runs that it shows."""
        if scale == "full" or self.reduced is None:
            return list(self.of)
        return list(self.reduced)


@dataclass(frozen=True)
class Paper:
    """Tables and figures of a paper.

    Attributes:
        title: authors and title.
        experiments: its `Table`s and `Figure`s.
        reduced: settings of the scale "reduced" by data set, `key=value`.
        full: settings of the scale "full" by data set, `key=value`: the paper's
            protocol where it differs from the library's usual one. A preset that has a
            value of its own for one of these settings of the data keeps it.
    """

    title: str
    experiments: tuple[Table | Figure, ...]
    reduced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    full: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def changes(self, run: Run, scale: str) -> tuple[str, ...]:
        """Settings of a run at a scale that differ from its preset's, `key=value`."""
        if scale == "full":
            own = [f"data.{key}=" for key in presets.get(run.preset).data]
            settings = self.full.get(run.dataset, ())
            kept = tuple(s for s in settings if not s.startswith(tuple(own)))
        else:
            kept = self.reduced.get(run.dataset, ())
            kept += SMOKE if scale == "smoke" else ()
        return (*kept, *run.changes)


class Trained:
    """A trained run, read from its folder when it is asked for.

    Attributes:
        run: the `Run`.
        changes: settings that differ from the preset's.
        folder: its folder.
        config: its configuration.
        due: number of epochs that the run has when it is complete.
    """

    def __init__(
        self,
        run: Run,
        changes: Sequence[str],
        folder: str | Path,
        source: str | None = None,
        due: int = 0,
    ):
        """Reads the configuration.

        Args:
            run: the `Run`.
            changes: settings that differ from the preset's, `key=value`.
            folder: its folder.
            source: where its data lies now; None if it is where it was in training.
            due: number of epochs of a complete run; 0 for what the run has.
        """
        self.run = run
        self.changes = changes
        self.folder = Path(folder)
        self.config = training.read_config(folder)
        if source is not None:
            moved = self.config.data | {"source": source}
            self.config = dataclasses.replace(self.config, data=moved)
        self.due = due

    @functools.cached_property
    def model(self) -> Any:
        """The trained model."""
        return checkpoints.load(self.folder)

    @property
    def splits(self) -> data.Splits:
        """Its data; that of the last runs is kept."""
        config = self.config
        size, seed = config.training.batch_size, config.seed
        return _load_data(json.dumps(config.data), size, seed)

    @functools.cached_property
    def history(self) -> list[dict[str, float]]:
        """Rows of its `history.csv`, one per epoch."""
        return training.read_history(self.folder)

    @property
    def complete(self) -> bool:
        """Whether all epochs are done, or training stopped early by its own rule."""
        _, stopped = training.early_stopping(self.history, self.config.training)
        return stopped or len(self.history) >= self.due

    @property
    def epochs(self) -> str:
        """Its number of epochs; of an unfinished run "46 of 100"."""
        done = str(len(self.history))
        return done if self.complete else f"{done} of {self.due}"

    @property
    def metrics(self) -> dict:
        """Numbers of its `metrics.json`, by name; none before it is measured."""
        path = self.folder / "metrics.json"
        return storage.read_json(path)["test"] if path.exists() else {}

    def test(self, num: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Leading test images `[N, ...]` and their labels, or None."""
        return data.leading(self.splits.test, num)


@functools.lru_cache(maxsize=2)
def _load_data(arguments, batch_size, seed):
    return data.load(**json.loads(arguments), batch_size=batch_size, seed=seed)
