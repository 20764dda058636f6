"""Runs: a model trained into a folder, killed at any moment, and continued exactly.

A run folder holds:

- `config.json`: everything needed to repeat the run;
- `checkpoints/`: the newest two checkpoints, and the best weights where training may
  stop early;
- `history.csv`: one row per epoch, the terms of the objective in nats;
- `model.keras`, `metrics.json`, `figures/*.png`, `report.html`: what a finished run
  leaves;
- `times.json`: when the run was trained, for how long and on what;
- `logs/`: for TensorBoard.
"""

import contextlib
import dataclasses
import importlib.metadata
import inspect
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from mvae_tf import data, models, optimizers, storage
from mvae_tf.config import RunConfig, flat, read_config
from mvae_tf.evaluation import evaluate
from mvae_tf.runs.callbacks import KLWarmup, MixtureSummaries, RunTimes
from mvae_tf.runs.checkpoints import Checkpoints, load
from mvae_tf.runs.console import Console
from mvae_tf.runs.history import (
    divergence,
    early_stopping,
    read_history,
    write_history,
)
from mvae_tf.runs.interruption import Signals
from mvae_tf.runs.loading import load_data
from mvae_tf.runs.warm_start import start_from
from mvae_tf.runs.workers import (
    Worker,
    check_agreement,
    make_strategy,
    naming_lost_workers,
    wait_for_all,
)
from mvae_tf.version import __version__

__all__ = [
    "complete",
    "create",
    "divergence",
    "evaluate_run",
    "finite",
    "load_data",
    "read_config",
    "read_history",
    "train",
    "versions",
    "write_history",
]

_SHOWN = 256
_LOOKED_AT_BATCHES = 10


def train(
    config: RunConfig,
    output: str | Path,
    resume: bool = False,
    verbose: int | str = "auto",
    metrics: Sequence[str] | None = None,
    started: float | None = None,
) -> keras.Model:
    """Trains a model into a run folder, evaluates it and writes its report.

    TensorFlow's op determinism is switched on, which lasts until the process ends: the
    weights of a run that was killed and resumed are those of an undisturbed one, bit
    for bit, on the same machine and versions.

    Where `TF_CONFIG` names several workers, each of them calls this function with the
    same arguments. The chief alone writes, and its return means that the results are on
    the disk; the others return at the same time, with the weights of the last step.

    Args:
        config: `RunConfig`.
        output: the run folder.
        resume: whether to continue the run in `output`. `config` must then be the one
            that it was started with (see `read_config`), but for more epochs, which
            extend the run.
        verbose: 0 prints nothing, 2 prints lines only, 1 or "auto" also shows the
            progress within a line where stdout is a terminal.
        metrics: groups of `mvae_tf.evaluation.GROUPS` to measure in the end; None for
            all that do not take long.
        started: moment, in seconds of `time.monotonic`, from which the time to the
            first step is counted; None for that of the call.

    Returns:
        The trained model.

    Raises:
        FileExistsError: `output` holds a run and `resume` is False.
        FileNotFoundError: `resume` is True and there is no run, or data is missing.
        ConnectionError: another worker has ended.
        OSError: the folder cannot be written, or another process is training in it.
        ValueError: arguments that do not fit the model, the data or the run.
        FloatingPointError: the run diverged (see `divergence`), or too many steps in a
            row had to be skipped, which counts as this; its folder is complete.
        Interrupted: SIGINT, SIGTERM or SIGHUP came (see `mvae_tf.runs.interruption`),
            after a checkpoint of the last step.
    """
    output = Path(output)
    worker = Worker.of_environment()
    config = dataclasses.replace(config, workers=worker.count)
    console = Console(verbose if worker.is_chief else 0, started)
    with (
        _opened(output, resume, worker) as stored,
        naming_lost_workers(worker),
        Signals() as signals,
    ):
        # Before anything that runs an operation.
        strategy = make_strategy(config.devices, worker)
        model = _train(
            config, stored, output, console, metrics, strategy, worker, signals
        )
        if worker.count > 1:
            wait_for_all(strategy)
    diverged = divergence(read_history(output), model.input_shape)
    if diverged:
        raise FloatingPointError(f"{diverged}; what it left is in {output}")
    return model


def _train(config, stored, output, console, metrics, strategy, worker, signals):
    """Trains into an opened folder."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    splits = load_data(config)
    with strategy.scope():
        model = create(config, splits)
    config = complete(config, model)
    if stored is not None:
        if flat(stored.to_dict()).keys() != flat(config.to_dict()).keys():
            # Arguments that are newer than the run have had their defaults in it.
            whole = complete(stored, create(stored, splits))
            stored = dataclasses.replace(whole, versions=stored.versions)
        stored.check_resumed_by(config)
    if config.training.patience and splits.validation is None:
        raise ValueError("Expected data with a validation part for training.patience.")
    checkpoints = Checkpoints(output / "checkpoints", model, worker)
    step, history, state = checkpoints.restore()
    if not step and (output / "history.csv").exists():
        raise FileNotFoundError(
            f"expected checkpoints in {output / 'checkpoints'}, found none, though "
            "history.csv says that epochs are done: start again in another folder"
        )
    if worker.count > 1:
        check_agreement(strategy, step)
    best_epoch, stopped = early_stopping(history, config.training, model.input_shape)
    total = config.training.epochs * splits.steps_per_epoch
    if step > total:
        raise ValueError(
            f"Expected at least the {len(history)} epochs that the run in {output} has "
            f"done, got {config.training.epochs}."
        )
    kept = best_epoch * splits.steps_per_epoch if best_epoch else step
    if (stopped or step == total) and _finished(output, kept):
        console.say(
            f"The run in {output} is finished: {len(history)} epochs, {step} steps."
        )
        return load(output)
    if stored is not None:
        config = dataclasses.replace(stored, training=config.training)
    if step == 0 and config.init_from is not None:
        start_from(model, config.init_from)
    console.banner(config, splits, model, output, step)
    if worker.is_chief:
        storage.write_json(output / "config.json", config.to_dict())
        storage.remove(output / "report.html")
        write_history(output, history)
    if not stopped:
        progress = _Progress(
            output,
            checkpoints,
            config.training,
            splits.steps_per_epoch,
            signals,
            state=(step, history, state),
        )
        try:
            _fit(model, config, splits, output, progress, console)
        except FloatingPointError as error:
            progress.end_as_diverged(error)
        best_epoch, _ = early_stopping(history, config.training, model.input_shape)
    if not worker.is_chief:
        return model
    if worker.count > 1:
        # What follows is the work of this process alone, with a model of its own.
        model = create(config, splits)
        checkpoints = Checkpoints(output / "checkpoints", model)
        checkpoints.restore()
    if best_epoch:
        checkpoints.restore_best()
    console.say("Training has ended; saving the model.")
    model.after_training(splits.train)
    with storage.write(output / "model.keras") as temporary:
        model.save(temporary)
    shown = int(console.counts_steps)
    console.say(f"Evaluating the model on {splits.num_test:,} test images.")
    evaluate_run(output, model, config, splits, metrics, verbose=shown)
    console.say("Drawing the figures and writing the report.")
    _write_report(output)
    return model


# === The folder ===


def evaluate_run(
    folder,
    model,
    config,
    splits,
    metrics=None,
    num_samples=100,
    num_images=1000,
    classifier=None,
    verbose=1,
):
    """Evaluates a model on the test part and writes `metrics.json`.

    Args:
        folder: the run folder.
        model: its model.
        config: its `RunConfig`.
        splits: its data.
        metrics: groups of `mvae_tf.evaluation.GROUPS`; None for all. Numbers of other
            groups that the file holds for the same step are kept.
        num_samples: importance samples per image.
        num_images: leading images that the likelihood, the components and the latents
            are measured on.
        classifier: `mvae_tf.evaluation.Classifier`, for the group "scores".
        verbose: 1 shows progress bars.

    Returns:
        dict with "test", numbers by name (`mvae_tf.evaluation.UNITS`), and "step".
    """
    path = Path(folder) / "metrics.json"
    results = evaluate(
        model,
        splits.test,
        metrics=metrics,
        num_samples=num_samples,
        num_images=num_images,
        seed=config.seed,
        verbose=verbose,
        train=splits.train_from(0).take(splits.steps_per_epoch),
        classifier=classifier,
    )
    step = int(model.step.numpy())
    known = storage.read_json(path) if path.exists() else {}
    if known.get("step") == step:
        results = known["test"] | results
    values = {"test": finite(results), "step": step}
    storage.write_json(path, values)
    return values


@contextlib.contextmanager
def _opened(output, resume, worker):
    """Context of the run folder, which gives the `RunConfig` to resume, or None.

    The chief makes the folder, locks it and tries to write, so that an hour of training
    does not end at a full disk. Other workers look only, before the chief can have
    written, because it waits for them when it makes the strategy.
    """
    if resume:
        read_config(output)
    with contextlib.ExitStack() as stack:
        if worker.is_chief:
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(storage.in_use(output))
        if (output / "config.json").exists() and not resume:
            raise FileExistsError(
                f"{output} holds a run: continue it with --resume, or name another "
                "folder"
            )
        stored = read_config(output) if resume else None
        if worker.is_chief:
            with tempfile.TemporaryFile(dir=output) as file:
                file.write(bytes(2**16))
        yield stored


def _finished(output, step):
    """Whether the model of this step, its numbers and its report are there, intact."""
    try:
        names = ("model.keras", "metrics.json", "history.csv")
        intact = all(storage.verify(output / name) for name in names)
        evaluated = intact and storage.read_json(output / "metrics.json")["step"]
    except (storage.DamagedFile, FileNotFoundError):
        return False
    return evaluated == step and (output / "report.html").exists()


def _write_report(output):
    # Matplotlib takes a while to import and is not needed before.
    from mvae_tf.runs.report import write_report

    write_report(output)


def finite(value):
    """The value with NaN and infinity, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if isinstance(value, str) or math.isfinite(value) else None


# === The model ===


def create(config, splits):
    """Compiled model that fits the data, its optimiser built."""
    arguments = {"input_shape": splits.input_shape} | config.arguments
    shape = arguments["input_shape"]
    if not isinstance(shape, list | tuple) or [*shape] != [*splits.input_shape]:
        raise ValueError(
            f"Expected images of {shape}, got {list(splits.input_shape)} from "
            f"{config.data['source']!r}."
        )
    try:
        model = models.create(config.model, seed=config.seed, **arguments)
    except TypeError as error:
        # The arguments come from a file or the command line: a user's mistake.
        raise ValueError(
            f"Expected arguments of the types that {config.model} takes: {error}"
        ) from error
    if model.num_classes not in (None, splits.num_classes):
        raise ValueError(
            f"Expected data of {model.num_classes} classes, got {splits.num_classes} "
            f"from {config.data['source']!r}."
        )
    low, high = model.likelihood.low, model.likelihood.high
    given = splits.value_range or (-math.inf, math.inf)
    if given[0] < low or given[1] > high:
        raise ValueError(
            f"Expected data.value_range within [{low}, {high}] for likelihood "
            f"{model.likelihood.name!r}, got {list(given)}."
        )
    training = config.training
    model.compile(
        optimizer=optimizers.from_settings(training),
        steps_per_execution=_divisor(
            splits.steps_per_epoch, training.steps_per_execution
        ),
        jit_compile=training.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _divisor(number, most):
    # Keras would run past the end of an epoch that is no multiple.
    return max(i for i in range(1, most + 1) if number % i == 0)


def complete(config, model):
    """The configuration with every argument of the model and of the data."""
    arguments = model.get_config() | {"dtype": model.dtype_policy.name}
    for key in ("name", "trainable", "seed"):
        del arguments[key]
    defaults = {
        key: list(item.default) if isinstance(item.default, tuple) else item.default
        for key, item in inspect.signature(data.load).parameters.items()
        if key not in ("batch_size", "seed")
    }
    return dataclasses.replace(
        config,
        arguments=arguments,
        data=defaults | config.data,
        versions=versions(),
    )


def versions():
    """Versions of this library and of those that its numbers depend on, by name."""
    names = ("tensorflow", "keras", "tensorflow-probability", "numpy")
    return {"mvae_tf": __version__} | {
        name: importlib.metadata.version(name) for name in names
    }


# === The loop ===


class _Progress(keras.callbacks.Callback):
    """Counts steps, writes checkpoints and the history, and stops early."""

    def __init__(self, output, checkpoints, settings, steps_per_epoch, signals, state):
        super().__init__()
        self.output = output
        self.checkpoints = checkpoints
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.signals = signals
        self.step, self.history, self.metrics = state

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self.step
        self.signals.wait = True
        self.warned = False
        if self.metrics:
            self.checkpoints.restore_metrics(self.metrics)
            self.metrics = {}

    def on_train_batch_end(self, batch, logs=None):
        last, self.step = self.step, self.before + batch + 1
        every = self.settings.checkpoint_every
        due = every and self.step // every > last // every
        inside = self.step % self.steps_per_epoch != 0
        # Workers are not interrupted at the same step, and write together.
        interrupted = self.signals.received is not None and inside
        if inside and (due or interrupted and self.checkpoints.worker.count == 1):
            self.checkpoints.save(self.step, self.history, inside_epoch=True)
        if interrupted:
            self.signals.raise_received()
        if logs and not self.warned:
            row = {"epoch": len(self.history) + 1, "loss": float(logs["loss"])}
            self.warned = self._warn(row)

    def on_epoch_end(self, epoch, logs=None):
        row = {key: float(value) for key, value in logs.items()}
        self.history.append({"epoch": epoch + 1} | row)
        best, stopped = early_stopping(
            self.history, self.settings, self.model.input_shape
        )
        if best == epoch + 1:
            # Before the checkpoint, whose history may then speak of it.
            self.checkpoints.save_best()
        self.model.stop_training |= stopped
        self._write(self.step)
        if not self.warned:
            self._warn(self.history[-1])
        if not math.isfinite(row.get("val_loss", 0.0)):
            storage.warn(f"the validation loss of epoch {epoch + 1} is not finite")
        self._end()

    def end_as_diverged(self, error):
        """Ends the epoch in which too many steps were skipped: it has no loss."""
        storage.warn(str(error))
        terms = self.history[-1] if self.history else {"loss": math.nan}
        row = {"epoch": len(self.history) + 1}
        self.history.append(dict.fromkeys(["epoch", *terms], math.nan) | row)
        self._write(int(self.model.step.numpy()))
        self._end()

    def _write(self, step):
        """Writes the checkpoint at the end of an epoch, and the history."""
        self.checkpoints.save(step, self.history, inside_epoch=False)
        if self.checkpoints.worker.is_chief:
            write_history(self.output, self.history)

    def _end(self):
        """Raises the signal that waited for the end of the epoch, if there is one."""
        self.signals.raise_received()
        self.signals.wait = False

    def _warn(self, row):
        """Says that the run diverges, if it does."""
        diverged = divergence([row], self.model.input_shape)
        if diverged:
            storage.warn(f"{diverged}; it stops after this epoch")
        return bool(diverged)


def _fit(model, config, splits, output, progress, console):
    """The rest of an interrupted epoch, then the epochs that are left."""
    watching = [progress, console]
    if progress.checkpoints.worker.is_chief:
        shown = data.leading(splits.validation or splits.test, _SHOWN)
        summaries = MixtureSummaries(output / "logs", *shown, config.to_dict())
        watching = [summaries, progress, RunTimes(output / "times.json"), console]

    def fit(steps, first, last, *callbacks):
        model.fit(
            splits.train_from(progress.step),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=splits.validation,
            callbacks=[*callbacks, *watching],
            verbose=0,
        )

    # Weights of another run hold what `before_training` finds for new ones.
    if progress.step == 0 and config.init_from is None:
        batches = min(splits.steps_per_epoch, _LOOKED_AT_BATCHES)
        model.before_training(splits.train_from(0).take(batches))
    steps, epochs = splits.steps_per_epoch, config.training.epochs
    epoch, done = divmod(progress.step, steps)
    if done:
        # The weights of the terms are those of the checkpoint.
        fit(steps - done, epoch, epoch + 1)
        epoch += 1
    _, stopped = early_stopping(progress.history, config.training, model.input_shape)
    if epoch < epochs and not stopped:
        warmup = config.training.warmup_epochs
        fit(steps, epoch, epochs, *([KLWarmup(warmup)] if warmup else []))
