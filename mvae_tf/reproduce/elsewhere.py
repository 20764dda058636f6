"""Runs in other folders, which are found by their settings and copied.

Their folders are only read, so that the training in one of them may not have ended yet.
"""

import dataclasses
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from mvae_tf import models, storage
from mvae_tf.config import RunConfig
from mvae_tf.reproduce.experiment import Run
from mvae_tf.reproduce.records import file_name
from mvae_tf.runs import training
from mvae_tf.runs.checkpoints import Checkpoints

__all__ = ["Elsewhere", "NoRun", "copy"]

# Settings that decide where and how fast a run is computed, but not its numbers. The
# number of epochs does not identify a run either, because tables name it with the run.
_FREE_DATA = {"data_dir": None, "download": False}
_FREE_TRAINING = {
    "epochs": 1,
    "checkpoint_every": 0,
    "steps_per_execution": None,
    "jit_compile": False,
}
_ATTEMPTS = 3


class NoRun(LookupError):
    """The error that a run is in none of the folders."""


class Elsewhere:
    """The runs in some folders.

    Args:
        folders: list of run folders, or folders that hold run folders.

    Raises:
        FileNotFoundError: one of the folders does not exist.
    """

    def __init__(self, folders: Iterable[str | Path]):
        self.folders = [Path(folder) for folder in folders]
        self.configs = {}
        for folder in self.folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"Expected a folder at {folder}, got none.")
            for pattern in "config.json", "*/config.json":
                for path in sorted(folder.glob(pattern)):
                    self._read(path.parent)

    def _read(self, folder):
        try:
            self.configs[folder] = training.read_config(folder)
        except (OSError, ValueError) as error:
            print(f"mvae-tf: {folder} is left out: {error}", file=sys.stderr)

    def find(self, run: Run, config: RunConfig, any_source: bool = False) -> Path:
        """Return the folder of the run with some settings that has the most epochs.

        Args:
            run: `Run`, the run that is needed.
            config: `RunConfig`, its configuration. The folder of its data and the
                settings of how its steps are executed may differ.
            any_source: bool, whether the name of its data may differ, too.

        Raises:
            NoRun: there is no such run. If there is a run of the same preset and seed,
                the message names the setting that differs.
        """
        found, reason = [], ""
        for folder, stored in self.configs.items():
            if (stored.preset, stored.seed) != (run.preset, config.seed):
                continue
            try:
                shape = stored.arguments.get("input_shape")
                one, other = (
                    _comparable(c, shape, any_source) for c in (stored, config)
                )
                one.check_resumed_by(other)
                history = training.read_history(folder)
            except (OSError, TypeError, ValueError) as error:
                reason = f"; {folder.name} differs: {error}"
                continue
            if 0 < len(history) <= config.training.epochs:
                found.append((len(history), folder))
            else:
                reason = f"; {folder.name} has {len(history)} epochs"
        if not found:
            places = ", ".join(str(folder) for folder in self.folders)
            raise NoRun(f"no such run in {places}{reason}")
        _, folder = max(found)
        _compare_versions(folder, self.configs[folder])
        return folder


def _comparable(config, shape, any_source):
    """Return a configuration with all arguments, and equal where numbers are equal."""
    source = "" if any_source else file_name(config.data["source"])
    arguments = {"input_shape": shape} | config.arguments
    model = models.create(config.model, seed=config.seed, **arguments)
    config = training.complete(config, model)
    return dataclasses.replace(
        config,
        data=config.data | _FREE_DATA | {"source": source},
        training=dataclasses.replace(config.training, **_FREE_TRAINING),
        versions={},
    )


def _compare_versions(folder, config):
    here = training.versions()
    others = {k: v for k, v in config.versions.items() if here.get(k) != v}
    if others:
        print(
            f"mvae-tf: warning: {folder} was trained with "
            + ", ".join(f"{k} {v} (here {here.get(k)})" for k, v in others.items()),
            file=sys.stderr,
        )


def copy(source: Path, target: Path, data_source: str | None = None):
    """Copy a run, or the model of the last checkpoint of an incomplete run.

    A copy that already has as many epochs as the run stays as it is, and so do the
    numbers that were measured of it.

    Args:
        source: path of the run folder.
        target: path of the folder of the copy, which has no checkpoints.
        data_source: str, source of the data of the run now; None for that in training.

    Raises:
        OSError, ValueError: the run is damaged, or was made by a version of this
            library whose models cannot be read.
    """
    if (target / "model.keras").exists():
        if training.read_history(target) == training.read_history(source):
            return
        shutil.rmtree(target)
    for attempt in range(_ATTEMPTS):
        try:
            if (source / "report.html").exists():
                for name in "config.json", "history.csv", "metrics.json", "model.keras":
                    _copy_file(source / name, target / name)
            else:
                _copy_checkpoint(source, target, data_source)
            return
        except FileNotFoundError:
            # A run that is still being trained replaces its checkpoints.
            if attempt == _ATTEMPTS - 1:
                raise


def _copy_file(source, target):
    storage.verify(source)
    with storage.write(target) as temporary:
        shutil.copyfile(source, temporary)


def _copy_checkpoint(source, target, data_source):
    checkpoints = source / "checkpoints"
    newest = sorted(checkpoints.glob("step-*.npz"))[-1:]
    if not newest:
        raise ValueError(f"Expected a checkpoint in {checkpoints}, got none.")
    _copy_file(source / "config.json", target / "config.json")
    for path in [*newest, *checkpoints.glob("best.npz")]:
        _copy_file(path, target / "checkpoints" / path.name)
    config = training.read_config(target)
    if data_source is not None:
        config = dataclasses.replace(config, data=config.data | {"source": data_source})
    splits = training.load_data(config)
    model = training.create(config, splits)
    copied = Checkpoints(target / "checkpoints", model)
    _, history, _ = copied.restore()
    if config.training.patience:
        copied.restore_best()
    model.after_training(splits.train)
    training.write_history(target, history)
    with storage.write(target / "model.keras") as temporary:
        model.save(temporary)
    shutil.rmtree(target / "checkpoints")
