"""Runs that were trained elsewhere: found by their settings and copied.

Their folders are only read, so that a training in one of them may still be going on.
"""

import dataclasses
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from mvae_tf import models, storage
from mvae_tf.config import RunConfig
from mvae_tf.reproduce.base import Run
from mvae_tf.reproduce.records import file_name
from mvae_tf.runs import training
from mvae_tf.runs.checkpoints import Checkpoints

__all__ = ["Elsewhere", "NoRun", "copy"]

# Settings that say where and how fast a run is computed, and leave its numbers alone.
# The number of epochs does not identify a run either; tables state it beside the run.
_FREE_DATA = {"data_dir": None, "download": False}
_FREE_TRAINING = {
    "epochs": 1,
    "checkpoint_every": 0,
    "steps_per_execution": 1,
    "jit_compile": False,
}
_ATTEMPTS = 3


class NoRun(LookupError):
    """A run that is in none of the folders."""


class Elsewhere:
    """The runs in some folders.

    Args:
        folders: run folders, or folders that hold run folders.

    Raises:
        FileNotFoundError: one of the folders does not exist.
    """

    def __init__(self, folders: Iterable[str | Path]):
        self.folders = [Path(folder) for folder in folders]
        self.configs = {}
        for folder in self.folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"expected a folder at {folder}, found none")
            for pattern in "config.json", "*/config.json":
                for path in sorted(folder.glob(pattern)):
                    self._read(path.parent)

    def _read(self, folder):
        try:
            self.configs[folder] = training.read_config(folder)
        except (OSError, ValueError) as error:
            print(f"mvae-tf: {folder} is left out: {error}", file=sys.stderr)

    def find(self, run: Run, config: RunConfig, any_source: bool = False) -> Path:
        """Folder of the run with these settings that is trained furthest.

        Args:
            run: the run that is needed.
            config: its configuration; in which folder its data lies and how its steps
                are executed does not matter.
            any_source: whether the name of its data does not matter either.

        Raises:
            NoRun: there is none. The message names the setting in which a run of
                the same preset and seed differs, if there is one.
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
    """The configuration with all arguments, and without what leaves numbers alone."""
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
    """Copies a run, or the model of the newest checkpoint of an unfinished one.

    A copy that is as far as the run is left as it is, with what was measured of it.

    Args:
        source: folder of the run.
        target: folder of the copy, without the checkpoints.
        data_source: where the data of the run lies now; None if it is where it was.

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
            # A training that goes on replaces its checkpoints.
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
