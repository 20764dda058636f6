"""What a reproduced table or figure is made of."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mvae_tf
from mvae_tf import data, presets, storage
from mvae_tf.runs import overrides, training

__all__ = ["SCALES", "Figure", "Paper", "Run", "Table", "Trained"]

SCALES = ("smoke", "reduced", "full")

# On top of the reduced settings: a few steps, to see that the path works.
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
    def name(self):
        """Name of its folder."""
        return "+".join([self.preset, *self.changes])

    @property
    def label(self):
        """Name for readers: the preset, and what was changed."""
        return ", ".join([self.preset, *self.changes])

    @property
    def dataset(self):
        """Name of its data set."""
        return presets.get(self.preset).dataset

    def config(self, changes, source=None):
        """`RunConfig` of the run at a scale.

        Args:
            changes: settings beside the preset's, `key=value`.
            source: where the data comes from; None for the preset's own source.
        """
        config = presets.get(self.preset).config()
        config = overrides.apply(config, changes)
        if source is None:
            return config
        return dataclasses.replace(config, data=config.data | {"source": source})


class Experiment:
    """What `Table` and `Figure` share."""

    def datasets(self, scale):
        """Names of the data sets of its runs."""
        return list(dict.fromkeys(run.dataset for run in self.runs(scale)))


@dataclass(frozen=True)
class Table(Experiment):
    """A table: the numbers that presets carry with its name as their source.

    Attributes:
        name: name on the command line.
        title: what is compared.
        source: `mvae_tf.presets.Reported.source` of its numbers.
        groups: groups of `mvae_tf.evaluation.GROUPS` that measure them.
        also: names of further numbers to stand beside them.
        more: runs beside those of the presets that carry a number.
        reduced: presets that are run at the scales below "full"; None for all.
        remark: what a reader has to know before comparing.
    """

    name: str
    title: str
    source: str
    groups: tuple[str, ...]
    also: tuple[str, ...] = ()
    more: tuple[Run, ...] = ()
    reduced: tuple[str, ...] | None = None
    remark: str = ""

    def runs(self, scale):
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

    def reported(self, run):
        """The paper's numbers for a run: a list of `mvae_tf.presets.Reported`."""
        if run.changes:
            return []
        paper = presets.get(run.preset).paper
        return [entry for entry in paper if entry.source == self.source]

    def wanted(self, run):
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

    def wanted(self, run):
        """Names of the numbers that a run needs."""
        return {*self.metrics}

    def runs(self, scale):
        """Runs that it shows."""
        if scale == "full" or self.reduced is None:
            return list(self.of)
        return list(self.reduced)


@dataclass(frozen=True)
class Paper:
    """Tables and figures of a paper.

    Attributes:
        title: authors and title.
        reduced: settings of the scale "reduced" by data set, `key=value`.
        experiments: its `Table`s and `Figure`s.
    """

    title: str
    experiments: tuple[Table | Figure, ...]
    reduced: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def changes(self, dataset, scale):
        """Settings of a run on a data set at a scale, `key=value`."""
        if scale == "full":
            return ()
        return self.reduced.get(dataset, ()) + (SMOKE if scale == "smoke" else ())


class Trained:
    """A finished run, read from its folder when it is asked for.

    Attributes:
        run: the `Run`.
        changes: settings beside the preset's, `key=value`.
        folder: its folder.
        config: its `mvae_tf.config.RunConfig`.
    """

    def __init__(self, run, changes, folder):
        self.run = run
        self.changes = changes
        self.folder = Path(folder)
        self.config = training.read_config(folder)

    @functools.cached_property
    def model(self):
        """The trained model."""
        return mvae_tf.load(self.folder)

    @functools.cached_property
    def splits(self):
        """Its data."""
        return training.load_data(self.config)

    @property
    def history(self):
        """Rows of its `history.csv`."""
        return training.read_history(self.folder)

    @property
    def metrics(self):
        """Numbers of its `metrics.json`, by name."""
        return storage.read_json(self.folder / "metrics.json")["test"]

    def test(self, num=None):
        """Leading test images `[N, ...]` and their labels, or None."""
        return data.leading(self.splits.test, num)
