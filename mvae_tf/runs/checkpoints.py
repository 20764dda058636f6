"""Checkpoints of a training run, and loading of finished models.

A checkpoint is one `.npz` file of plain arrays: the weights, the state of the
optimiser, the metrics of an unfinished epoch and the history so far. It appears whole
or not at all, and has a checksum. A run needs nothing else to go on as if it had never
stopped, because its noise and the order of its images are functions of the step.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import storage
from mvae_tf.models.base import BaseVAE
from mvae_tf.runs.workers import ALONE, Worker

__all__ = ["Checkpoints", "load"]

_KEPT = 2
_BEST = "best.npz"


class Checkpoints:
    """The checkpoints of one run: the newest two, and the weights of its best epoch.

    Args:
        folder: path of the folder of the checkpoints.
        model: compiled model whose state they hold; its optimiser has its variables.
        worker: `Worker`, this process among those that train together. Only the chief
            writes.
    """

    def __init__(
        self, folder: str | Path, model: keras.Model, worker: Worker = ALONE
    ) -> None:
        self.folder = Path(folder)
        self.model = model
        self.worker = worker

    def save(
        self, step: int, history: list[dict[str, float]], inside_epoch: bool
    ) -> None:
        """Write a checkpoint, and remove all but the newest two.

        Every worker has to call this method, because the metrics of an unfinished epoch
        are gathered from all of them.

        Args:
            step: int, number of training steps done.
            history: list of rows of `history.csv`, one per finished epoch.
            inside_epoch: bool, whether the metrics so far belong to an unfinished
                epoch.

        Raises:
            mvae_tf.storage.StorageError: the checkpoint cannot be written.
        """
        arrays = {key: variable.numpy() for key, variable in self._state().items()}
        if inside_epoch:
            arrays |= self._gathered_metrics()
        if not self.worker.is_chief:
            return
        record = json.dumps({"step": step, "history": history})
        with storage.write(self.folder / f"step-{step:08d}.npz") as temporary:
            np.savez(temporary, record=np.array(record), **arrays)
        for path in self._paths()[:-_KEPT]:
            storage.remove(path)

    def restore(self) -> tuple[int, list[dict[str, float]], dict[str, Any]]:
        """Read the newest intact checkpoint into the model and its optimiser.

        A damaged checkpoint is passed over, with a line on stderr.

        Returns:
            `(step, history, metrics)`: the first two as `save` took them, the third
            for `restore_metrics`; `(0, [], {})` when there is no checkpoint.

        Raises:
            mvae_tf.storage.DamagedFile: all checkpoints are damaged.
            ValueError: the checkpoint is of another model.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                record, arrays = _read(path)
            except storage.DamagedFile as error:
                storage.warn(f"{error}; passed over")
                continue
            state = self._state()
            if {k: a.shape for k, a in arrays.items() if k in state} != {
                key: tuple(variable.shape) for key, variable in state.items()
            }:
                raise ValueError(
                    f"Expected a checkpoint of this model, got {path} of another one."
                )
            for key, variable in state.items():
                variable.assign(arrays.pop(key))
            return record["step"], record["history"], arrays
        if paths:
            raise storage.DamagedFile(
                f"Expected an intact checkpoint in {self.folder}, got only damaged "
                "ones: start again in another folder."
            )
        return 0, [], {}

    def save_best(self) -> None:
        """Write the weights of the model as those of the best epoch."""
        if not self.worker.is_chief:
            return
        arrays = {k: v.numpy() for k, v in self._weights().items()}
        with storage.write(self.folder / _BEST) as temporary:
            np.savez(temporary, record=np.array("{}"), **arrays)

    def restore_best(self) -> None:
        """Read the weights that `save_best` wrote into the model.

        Raises:
            mvae_tf.storage.DamagedFile: the file is damaged or missing.
        """
        _, arrays = _read(self.folder / _BEST)
        for key, variable in self._weights().items():
            variable.assign(arrays[key])

    def restore_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Set the metrics of the model to those of an unfinished epoch.

        Args:
            metrics: what `restore` returned.
        """
        parts = self._metrics()
        first = self.worker.index * len(parts)
        own = _metrics_of(metrics)[first : first + len(parts)]
        for part, value in zip(parts, own, strict=True):
            part.assign(value)

    def _gathered_metrics(self):
        """Gather the metrics of each replica of every worker, `[replicas, number]`."""
        own = tf.stack([part.numpy() for part in self._metrics()])
        if self.worker.count > 1:
            own = self.model.distribute_strategy.gather(own, axis=0)
        return {"metrics": own.numpy()}

    def _metrics(self):
        """List the variable of each replica, because metrics differ between them."""
        strategy = self.model.distribute_strategy
        return strategy.experimental_local_results(self.model.term_means.sums.value)

    def _state(self):
        """Return the variables of the model and of its optimiser, by key."""
        optimizer = {"optimizer": self.model.optimizer.variables}
        return self._weights() | _numbered(optimizer)

    def _weights(self):
        return _numbered({"weights": self.model.weights})

    def _paths(self):
        """List the checkpoints, the oldest first."""
        return sorted(self.folder.glob("step-*.npz"))


def _metrics_of(arrays):
    """Return the metrics `[replicas, number]` of a checkpoint.

    Version 0.1 wrote a sum and a number of examples for each metric.
    """
    if "metrics" in arrays:
        return arrays["metrics"]
    old = [arrays[key] for key in sorted(arrays) if key.startswith("metrics/")]
    return np.stack([*old[0::2], old[1]], axis=1)


def _numbered(groups):
    """Return variables by keys that count them: the paths of Keras may be equal."""
    return {
        f"{group}/{i:04d}": variable
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


def _read(path):
    storage.verify_archive(path)
    try:
        with np.load(path) as file:
            arrays = dict(file)
        return json.loads(str(arrays.pop("record"))), arrays
    except Exception as error:  # An archive can be intact and hold something else.
        raise storage.DamagedFile(f"{path} is no checkpoint: {error}") from error


def load(path: str | Path) -> keras.Model:
    """Load a trained model.

    The checksum of the file is verified where the run folder has one, and the
    configuration in the file is checked before a model is made from it.

    Args:
        path: path of the folder of a finished run, or a `.keras` file.

    Returns:
        A model of this library.

    Raises:
        FileNotFoundError: there is no such file, or the run is not finished.
        ValueError: the file is damaged, or holds no model of this library.

    Example:
        >>> model = mvae_tf.load("runs/quickstart")
        >>> images = model.generate(16, seed=0)
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        started = path.is_dir() and (path / "config.json").exists()
        hint = ": finish the run with `train --resume`" if started else ""
        raise FileNotFoundError(f"Expected a model at {file}, got none{hint}.")
    if file.suffix != ".keras":
        raise ValueError(f"Expected a run folder or a .keras file, got {file}.")
    _check_archive(file)
    try:
        return keras.saving.load_model(file)
    except (TypeError, ValueError) as error:
        first, *others = str(error).strip().splitlines()
        if not others:
            raise
        # Keras writes a page, with an error of `from_config` in its last line.
        own = others[-1].split("Exception encountered: ")[1:]
        reason = own[0] if own else first
        raise storage.DamagedFile(
            f"Expected a model as {file} describes it, got another one: {reason}"
        ) from error


def _check_archive(file):
    """Refuse a damaged archive, and one that is no model of this library."""
    storage.verify_archive(file)
    try:
        with zipfile.ZipFile(file) as archive:
            name = json.loads(archive.read("config.json"))["registered_name"]
        known = keras.saving.get_registered_object(name)
    except (KeyError, ValueError, TypeError) as error:
        raise storage.DamagedFile(f"{file} is no .keras file: {error}") from error
    if not (isinstance(known, type) and issubclass(known, BaseVAE)):
        raise ValueError(f"Expected a model of mvae_tf in {file}, got {name!r}.")
