"""The objects that describe tables and figures: papers, runs and trained runs."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mvae_tf import data, presets
from mvae_tf.config import RunConfig
from mvae_tf.runs import checkpoints, overrides, training
from mvae_tf.runs.history import read_metrics

__all__ = ["SCALES", "Figure", "Paper", "Run", "Table", "Trained"]

SCALES = ("smoke", "reduced", "full")

# Added to the settings of the scale "reduced": a few steps, to see that all works.
SMOKE = ("data.limit=256", "batch_size=64", "epochs=1", "warmup_epochs=0")


@dataclass(frozen=True)
class Run:
    """A run that one or several tables and figures show.

    Attributes:
        preset: str, name of its preset.
        changes: tuple of str, settings that differ from the preset, `key=value` as
            after `--set`.
    """

    preset: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its folder."""
        return "+".join([self.preset, *self.changes])

    @property
    def label(self) -> str:
        """A name for readers: the preset and the changes."""
        return ", ".join([self.preset, *self.changes])

    @property
    def dataset(self) -> str:
        """The name of its data set."""
        return presets.get(self.preset).dataset

    def config(
        self, changes: Sequence[str], source: str | None = None, seed: int = 0
    ) -> RunConfig:
        """Make the configuration of the run.

        Args:
            changes: list of str, settings that differ from the preset, `key=value`.
            source: str, source of the data; None for that of the preset.
            seed: int that decides initial weights, noise and the order of the images.
        """
        config = presets.get(self.preset).config()
        config = overrides.apply(dataclasses.replace(config, seed=seed), changes)
        if source is None:
            return config
        return dataclasses.replace(config, data=config.data | {"source": source})


class Experiment:
    """The parent of `Table` and `Figure`."""

    def runs(self, scale: str) -> list[Run]:
        """List the runs that it shows at a scale."""
        raise NotImplementedError

    def datasets(self, scale: str) -> list[str]:
        """List the names of the data sets of its runs."""
        return list(dict.fromkeys(run.dataset for run in self.runs(scale)))


@dataclass(frozen=True)
class Table(Experiment):
    """A table of a paper, with the numbers of our runs.

    Its rows are the presets that have a number from this table.

    Attributes:
        name: str, name on the command line.
        title: str, what the table compares.
        source: `mvae_tf.presets.Reported.source` of its numbers.
        groups: tuple of str, groups of `mvae_tf.evaluation.GROUPS` that measure these
            numbers.
        also: tuple of str, names of further numbers that are measured for every run.
        beside: tuple of str, names of numbers that are shown for the runs that have
            them.
        more: tuple of `Run`, further runs, whose presets have no number from this
            table.
        reduced: tuple of str, presets that are run at the scales below "full"; None for
            all.
        remark: str, what a reader has to know to compare the numbers.
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
        """List the runs of its rows, in the order of the presets."""
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
        """List the paper's numbers for a run."""
        if run.changes:
            return []
        paper = presets.get(run.preset).paper
        return [entry for entry in paper if entry.source == self.source]

    def wanted(self, run: Run) -> set[str]:
        """Return the names of the numbers that are needed of a run."""
        return {entry.metric for entry in self.reported(run)} | {*self.also}


@dataclass(frozen=True)
class Figure(Experiment):
    """A figure, drawn from trained models.

    Attributes:
        name: str, name on the command line.
        title: str, what the figure shows.
        draw: function from a list of `Trained`, the runs that could be trained or
            found, to one `matplotlib.figure.Figure`, or to a dict of figures by the
            suffixes of their files.
        of: tuple of `Run`, the runs that it shows.
        reduced: tuple of `Run`, the runs that it shows at the scales below "full"; None
            for the same.
        groups: tuple of str, groups of `mvae_tf.evaluation.GROUPS` to measure before
            drawing.
        metrics: tuple of str, names of the numbers of these groups that the figure
            needs.
        remark: str, what a reader has to know to compare the figures.
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
        """Return the names of the numbers that are needed of a run."""
        return {*self.metrics}

    def runs(self, scale: str) -> list[Run]:
        """List the runs that it shows at a scale."""
        if scale == "full" or self.reduced is None:
            return list(self.of)
        return list(self.reduced)


@dataclass(frozen=True)
class Paper:
    """The tables and figures of a paper.

    Attributes:
        title: str, authors and title.
        experiments: tuple of its `Table`s and `Figure`s.
        reduced: dict, settings of the scale "reduced" by data set, `key=value`.
        full: dict, settings of the scale "full" by data set, `key=value`: the protocol
            of the paper where it differs from that of the presets. A preset that itself
            has one of these settings of the data keeps it.
    """

    title: str
    experiments: tuple[Table | Figure, ...]
    reduced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    full: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def changes(self, run: Run, scale: str) -> tuple[str, ...]:
        """Return the settings of a run at a scale that differ from its preset.

        They are texts `key=value`.
        """
        if scale == "full":
            own = [f"data.{key}=" for key in presets.get(run.preset).data]
            settings = self.full.get(run.dataset, ())
            kept = tuple(s for s in settings if not s.startswith(tuple(own)))
        else:
            kept = self.reduced.get(run.dataset, ())
            kept += SMOKE if scale == "smoke" else ()
        return (*kept, *run.changes)


class Trained:
    """A trained run, whose model and data are read from the disk when they are needed.

    Args:
        run: the `Run`.
        changes: list of str, settings that differ from the preset, `key=value`.
        folder: path of its folder.
        source: str, source of its data now; None for the source in training.
        due: int, number of epochs of a complete run; 0 for the epochs that the run has.

    Attributes:
        config: `RunConfig`, its configuration.
    """

    def __init__(
        self,
        run: Run,
        changes: Sequence[str],
        folder: str | Path,
        source: str | None = None,
        due: int = 0,
    ):
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
        """Its data; the data of the last two runs stay in memory."""
        config = self.config
        size, seed = config.training.batch_size, config.seed
        return _load_data(json.dumps(config.data), size, seed)

    @functools.cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of its `history.csv`, one per epoch."""
        return training.read_history(self.folder)

    @property
    def complete(self) -> bool:
        """Whether all epochs are done, or early stopping ended the training."""
        _, stopped = training.early_stopping(self.history, self.config.training)
        return stopped or len(self.history) >= self.due

    @property
    def epochs(self) -> str:
        """The number of its epochs as text; "46 of 100" for an incomplete run."""
        done = str(len(self.history))
        return done if self.complete else f"{done} of {self.due}"

    @property
    def metrics(self) -> dict:
        """The numbers of its `metrics.json` by name; none before it is measured."""
        return read_metrics(self.folder).get("test", {})

    def test(self, num: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the first `num` test images `[N, ...]`, and labels `[N]` or None.

        With None for `num`, it returns all of them.
        """
        return data.leading(self.splits.test, num)


@functools.lru_cache(maxsize=2)
def _load_data(arguments, batch_size, seed):
    return data.load(**json.loads(arguments), batch_size=batch_size, seed=seed)
