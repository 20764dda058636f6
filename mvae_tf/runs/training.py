"""Runs: a model trained into a folder, killed at any moment, and continued exactly.

A run folder holds:

- `config.json`: everything needed to repeat the run;
- `checkpoints/`: the newest two checkpoints, and the best weights where training may
  stop early;
- `history.csv`: one row an epoch, the terms of the objective in nats;
- `model.keras`, `metrics.json`, `figures/*.png`, `report.html`: what a finished run
  leaves;
- `times.json`: when the run was trained, for how long and on what;
- `logs/`: for TensorBoard.
"""

import csv
import dataclasses
import importlib.metadata
import inspect
import io
import math
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from mvae_tf import data, models, optimizers, storage
from mvae_tf.config import read_config
from mvae_tf.evaluation import evaluate
from mvae_tf.runs.callbacks import KLWarmup, MixtureSummaries, RunTimes
from mvae_tf.runs.checkpoints import Checkpoints, load
from mvae_tf.runs.console import Console
from mvae_tf.runs.warm_start import start_from
from mvae_tf.version import __version__

__all__ = [
    "complete",
    "create",
    "evaluate_run",
    "load_data",
    "read_config",
    "read_history",
    "train",
    "versions",
    "write_history",
]

_SHOWN = 256
_LOOKED_AT_BATCHES = 10


def train(config, output, resume=False, verbose="auto", metrics=None, started=None):
    """Trains a model into a run folder, evaluates it and writes its report.

    TensorFlow's op determinism is switched on, which lasts until the process ends: the
    weights of a run that was killed and resumed are those of an undisturbed one, bit
    for bit, on the same machine and versions.

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
        OSError: the folder cannot be written.
        ValueError: arguments that do not fit the model, the data or the run.
        FloatingPointError: too many steps in a row had to be skipped.
    """
    output = Path(output)
    console = Console(verbose, started)
    stored = _open_folder(output, resume)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    strategy = _strategy(config.devices)
    splits = load_data(config)
    with strategy.scope():
        model = create(config, splits)
    config = complete(config, model)
    if stored is not None:
        stored.check_resumed_by(config)
    if config.training.patience and splits.validation is None:
        raise ValueError("Expected data with a validation part for training.patience.")
    checkpoints = Checkpoints(output / "checkpoints", model)
    step, history, state = checkpoints.restore()
    best_epoch, stopped = early_stopping(history, config.training)
    total = config.training.epochs * splits.steps_per_epoch
    if step > total:
        raise ValueError(
            f"Expected at least the {len(history)} epochs that the run in {output} has "
            f"done, got {config.training.epochs}."
        )
    kept = best_epoch * splits.steps_per_epoch if config.training.patience else step
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
    storage.write_json(output / "config.json", config.to_dict())
    storage.remove(output / "report.html")
    write_history(output, history)
    progress = _Progress(
        output,
        checkpoints,
        config.training,
        splits.steps_per_epoch,
        state=(step, history, state),
    )
    if not stopped:
        _fit(model, config, splits, output, progress, console)
    if config.training.patience:
        checkpoints.restore_best()
    console.say("Training has ended; saving the model.")
    model.after_training(splits.train)
    with storage.write(output / "model.keras") as temporary:
        model.save(temporary)
    shown = int(verbose in (1, "auto"))
    console.say(f"Evaluating the model on {splits.num_test:,} test images.")
    evaluate_run(output, model, config, splits, metrics, verbose=shown)
    console.say("Drawing the figures and writing the report.")
    _write_report(output)
    return model


def early_stopping(history, settings):
    """Best epoch so far, and whether training should stop.

    The rule of the VampPrior experiments, as a function of the history alone, so that a
    resumed run stops where an undisturbed one does.

    Args:
        history: rows of `history.csv`.
        settings: `mvae_tf.config.Training`, whose `patience` and `warmup_epochs` count.

    Returns:
        `(best_epoch, stopped)`: the epoch, counted from 1, of the lowest validation
        loss, 0 before the first; and whether more than `patience` epochs after the
        warm-up have passed since.
    """
    if not settings.patience or not history:
        return 0, False
    losses = [row["val_loss"] for row in history]
    best = min(range(len(losses)), key=losses.__getitem__)
    waited = len(losses) - max(best + 1, settings.warmup_epochs - 1)
    return best + 1, waited > settings.patience


# === The folder ===


def read_history(folder):
    """Rows of `history.csv`, a list of dicts, one an epoch; empty if there is none."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    storage.verify(path)
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def load_data(config):
    """The data of a run, `mvae_tf.data.Splits`."""
    size = config.training.batch_size
    try:
        return data.load(**config.data, batch_size=size, seed=config.seed)
    except TypeError as error:
        # The arguments come from a file or the command line: a user's mistake.
        raise ValueError(str(error)) from error


def evaluate_run(
    folder,
    model,
    config,
    splits,
    metrics=None,
    num_samples=100,
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
        num_samples: importance samples an image.
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
        seed=config.seed,
        verbose=verbose,
        train=splits.train_from(0).take(splits.steps_per_epoch),
        classifier=classifier,
    )
    step = int(model.step.numpy())
    known = storage.read_json(path) if path.exists() else {}
    if known.get("step") == step:
        results = known["test"] | results
    values = {"test": _finite(results), "step": step}
    storage.write_json(path, values)
    return values


def _open_folder(output, resume):
    """`RunConfig` of the run to resume, or None; makes the folder and tries to write.

    Trying comes first, so that an hour of training does not end at a full disk.
    """
    if (output / "config.json").exists() and not resume:
        raise FileExistsError(
            f"{output} holds a run: continue it with --resume, or name another folder"
        )
    stored = read_config(output) if resume else None
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output) as file:
        file.write(bytes(2**16))
    for folder in (output, output / "checkpoints"):
        storage.clean_temporaries(folder)
    return stored


def _finished(output, step):
    """Whether the model of this step, its numbers and its report are there, intact."""
    try:
        intact = all(
            storage.verify(output / n) for n in ("model.keras", "metrics.json")
        )
        evaluated = intact and storage.read_json(output / "metrics.json")["step"]
    except (storage.DamagedFile, FileNotFoundError):
        return False
    return evaluated == step and (output / "report.html").exists()


def write_history(output, history):
    """Writes rows, one an epoch, as `history.csv`; without rows, removes the file."""
    path = output / "history.csv"
    if not history:
        storage.remove(path)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    storage.write_text(path, text.getvalue())


def _write_report(output):
    # Matplotlib takes a while to import and is not needed before.
    from mvae_tf.runs.report import write_report

    write_report(output)


def _finite(value):
    """The value with NaN and infinity, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value if isinstance(value, str) or math.isfinite(value) else None


# === The model ===


def _strategy(devices):
    """Strategy over GPUs where there are any, else over logical CPUs."""
    if devices == 1:
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * devices
            )
        except RuntimeError:
            pass  # TensorFlow has started, with the devices counted below.
    found = len(tf.config.list_logical_devices(kind))
    if found < devices:
        raise ValueError(f"Expected at most {found} devices ({kind}), got {devices}.")
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(devices)])


def create(config, splits):
    """Compiled model that fits the data, its optimiser built."""
    arguments = {"input_shape": splits.input_shape} | config.arguments
    if tuple(arguments["input_shape"]) != tuple(splits.input_shape):
        raise ValueError(
            f"Expected images of {list(arguments['input_shape'])}, got "
            f"{list(splits.input_shape)} from {config.data['source']!r}."
        )
    model = models.create(config.model, seed=config.seed, **arguments)
    if model.num_classes not in (None, splits.num_classes):
        raise ValueError(
            f"Expected data of {model.num_classes} classes, got {splits.num_classes} "
            f"from {config.data['source']!r}."
        )
    low, high = model.likelihood.low, model.likelihood.high
    if splits.value_range[0] < low or splits.value_range[1] > high:
        raise ValueError(
            f"Expected data.value_range within [{low}, {high}] for likelihood "
            f"{model.likelihood.name!r}, got {list(splits.value_range)}."
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

    def __init__(self, output, checkpoints, settings, steps_per_epoch, state):
        super().__init__()
        self.output = output
        self.checkpoints = checkpoints
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.step, self.history, self.metrics = state

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self.step
        if self.metrics:
            self.checkpoints.restore_metrics(self.metrics)
            self.metrics = {}

    def on_train_batch_end(self, batch, logs=None):
        last, self.step = self.step, self.before + batch + 1
        every = self.settings.checkpoint_every
        due = every and self.step // every > last // every
        if due and self.step % self.steps_per_epoch:
            self.checkpoints.save(self.step, self.history, inside_epoch=True)

    def on_epoch_end(self, epoch, logs=None):
        row = {key: float(value) for key, value in logs.items()}
        self.history.append({"epoch": epoch + 1} | row)
        best, stopped = early_stopping(self.history, self.settings)
        if best == epoch + 1:
            # Before the checkpoint, whose history may then speak of it.
            self.checkpoints.save_best()
        self.model.stop_training |= stopped
        self.checkpoints.save(self.step, self.history, inside_epoch=False)
        write_history(self.output, self.history)


def _fit(model, config, splits, output, progress, console):
    """The rest of an interrupted epoch, then the epochs that are left."""
    shown = data.leading(splits.validation or splits.test, _SHOWN)

    def fit(steps, first, last, *callbacks):
        model.fit(
            splits.train_from(progress.step),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=splits.validation,
            callbacks=[
                *callbacks,
                MixtureSummaries(output / "logs", *shown, config.to_dict()),
                progress,
                RunTimes(output / "times.json"),
                console,
            ],
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
    _, stopped = early_stopping(progress.history, config.training)
    if epoch < epochs and not stopped:
        warmup = config.training.warmup_epochs
        fit(steps, epoch, epochs, *([KLWarmup(warmup)] if warmup else []))
