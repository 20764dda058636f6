"""Training of a model into a run folder, so that a killed run continues exactly.

A run folder holds:

- `config.json`: everything needed to repeat the run;
- `checkpoints/`: the newest two checkpoints, and the best weights where training may
  stop early;
- `history.csv`: one row per epoch, the terms of the objective in nats;
- `model.keras`, `metrics.json`, `figures/*.png` and `report.html`: the model, its test
  numbers, its figures and a page about them, once the run is finished;
- `times.json`: when the run was trained, for how long and on what device;
- `logs/`: the files of TensorBoard.
"""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mvae_tf import storage
from mvae_tf.config import RunConfig, flat, read_config
from mvae_tf.data import Splits
from mvae_tf.evaluation import Classifier, evaluate
from mvae_tf.runs.building import complete, create, load_data, versions
from mvae_tf.runs.checkpoints import Checkpoints, load
from mvae_tf.runs.console import Console
from mvae_tf.runs.history import (
    divergence,
    early_stopping,
    read_history,
    read_metrics,
    write_history,
)
from mvae_tf.runs.interruption import Signals
from mvae_tf.runs.progress import Progress, fit
from mvae_tf.runs.warm_start import start_from
from mvae_tf.runs.workers import (
    Worker,
    check_agreement,
    make_strategy,
    naming_lost_workers,
    wait_for_all,
)

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


def train(
    config: RunConfig,
    output: str | Path,
    resume: bool = False,
    verbose: int | str = "auto",
    metrics: Sequence[str] | None = None,
    started: float | None = None,
) -> keras.Model:
    """Train a model into a run folder, evaluate it and write its report.

    A run that was killed and resumed has the weights of one that was not, bit for bit,
    on the same machine and with the same versions. For this, TensorFlow's op
    determinism is switched on, which lasts until the process ends. Keras would do
    without XLA then, so that it stays off in a run with `jit_compile`, whose steps are
    equal bit for bit on a CPU without it.

    Where `TF_CONFIG` names several workers, each of them calls this function with the
    same arguments. Only the chief writes files; when the function returns in the chief,
    the results are on the disk. The other workers return at the same time, with the
    weights of the last step.

    Args:
        config: `RunConfig`, configuration of the run.
        output: path of the run folder.
        resume: bool, whether to continue the run in `output`. `config` must then be the
            one that it was started with (see `read_config`), but for more epochs, which
            extend the run.
        verbose: int or "auto": 0 prints nothing, 2 prints lines only, 1 or "auto" also
            shows the progress within a line where stdout is a terminal.
        metrics: list of str, groups of `mvae_tf.evaluation.GROUPS` to measure after the
            training; None for all that do not take long.
        started: float, moment, in seconds of `time.monotonic`, from which the time to
            the first step is counted; None for the moment of the call.

    Returns:
        The trained model.

    Raises:
        TypeError: `config` is no `RunConfig`.
        FileExistsError: `output` holds a run and `resume` is False.
        FileNotFoundError: `resume` is True and there is no run, or data is missing.
        ConnectionError: another worker has ended.
        OSError: the folder cannot be written, or another process is training in it.
        ValueError: an argument does not fit the model, the data or the run.
        FloatingPointError: the run diverged (see `divergence`), or too many steps in a
            row had to be skipped, which counts as divergence; its folder is complete.
        Interrupted: SIGINT, SIGTERM or SIGHUP came (see `mvae_tf.runs.interruption`),
            and a checkpoint of the last step was written.
    """
    if not isinstance(config, RunConfig):
        raise TypeError(
            "Expected a RunConfig, such as mvae_tf.presets.get(name).config(), got "
            f"{type(config).__name__}."
        )
    output = Path(output)
    worker = Worker.of_environment()
    config = dataclasses.replace(config, workers=worker.count)
    console = Console(verbose if worker.is_chief else 0, started)
    with (
        _opened(output, resume, worker) as stored,
        naming_lost_workers(worker),
        Signals() as signals,
    ):
        # The strategy must be made before TensorFlow runs an operation.
        strategy = make_strategy(config.devices, worker)
        model = _train(
            config, stored, output, console, metrics, strategy, worker, signals
        )
        if worker.count > 1:
            wait_for_all(strategy)
    diverged = divergence(read_history(output), model.input_shape)
    if diverged:
        raise FloatingPointError(f"{diverged}; its files are in {output}")
    return model


def _train(config, stored, output, console, metrics, strategy, worker, signals):
    """Train into an opened folder, and return the model.

    Args:
        config: `RunConfig`, with the number of workers.
        stored: `RunConfig` of the run that is resumed, or None.
        output: path of the run folder.
        console: `Console` of the run.
        metrics: list of str, groups of numbers to measure after the training, or None.
        strategy: `tf.distribute.Strategy` of the run.
        worker: `Worker`, this process among those that train together.
        signals: `Signals` that may ask the run to end.
    """
    if not config.training.jit_compile:
        # With it Keras would do without XLA.
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    splits = load_data(config)
    with strategy.scope():
        model = create(config, splits)
    config = complete(config, model)
    if stored is not None:
        stored = _with_newer_arguments(stored, config, splits)
        stored.check_resumed_by(config)
    if config.training.patience and splits.validation is None:
        raise ValueError(
            "Expected data with a validation part for training.patience, got none."
        )
    checkpoints = Checkpoints(output / "checkpoints", model, worker)
    step, history, state = checkpoints.restore()
    if not step and (output / "history.csv").exists():
        raise FileNotFoundError(
            f"Expected checkpoints in {output / 'checkpoints'}, got none, though "
            "history.csv says that epochs are done: start again in another folder."
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
        progress = Progress(
            output,
            checkpoints,
            config.training,
            splits.steps_per_epoch,
            signals,
            state=(step, history, state),
        )
        try:
            fit(model, config, splits, progress, console)
        except FloatingPointError as error:
            progress.end_as_diverged(error)
        best_epoch, _ = early_stopping(history, config.training, model.input_shape)
    if not worker.is_chief:
        return model
    if worker.count > 1:
        # The chief does the rest alone, with a model that belongs to no strategy.
        model = create(config, splits)
        checkpoints = Checkpoints(output / "checkpoints", model)
        checkpoints.restore()
    if best_epoch:
        checkpoints.restore_best()
    _finish(output, model, config, splits, metrics, console)
    return model


def _with_newer_arguments(stored, config, splits):
    """Complete a stored configuration by arguments that are newer than its run.

    In the run, such an argument had its default value.
    """
    if flat(stored.to_dict()).keys() == flat(config.to_dict()).keys():
        return stored
    whole = complete(stored, create(stored, splits))
    return dataclasses.replace(whole, versions=stored.versions)


def _finish(output, model, config, splits, metrics, console):
    """Save the trained model, evaluate it, and write the report."""
    console.say("Training has ended; saving the model.")
    model.after_training(splits.train)
    with storage.write(output / "model.keras") as temporary:
        model.save(temporary)
    shown = int(console.counts_steps)
    console.say(f"Evaluating the model on {splits.num_test:,} test images.")
    evaluate_run(output, model, config, splits, metrics, verbose=shown)
    console.say("Drawing the figures and writing the report.")
    _write_report(output)


def evaluate_run(
    folder: str | Path,
    model: keras.Model,
    config: RunConfig,
    splits: Splits,
    metrics: Sequence[str] | None = None,
    num_samples: int = 100,
    num_images: int = 1000,
    classifier: Classifier | None = None,
    verbose: int = 1,
) -> dict[str, Any]:
    """Evaluate a model on the test part and write `metrics.json`.

    Args:
        folder: path of the run folder.
        model: the model of the run.
        config: `RunConfig`, configuration of the run.
        splits: `Splits`, data of the run.
        metrics: list of str, groups of `mvae_tf.evaluation.GROUPS`; None for all that
            do not take long. Numbers of other groups that the file has of the same step
            are kept.
        num_samples: int, number of importance samples per image.
        num_images: int, number of test images, from the first on, on which the
            likelihood, the components and the latents are measured.
        classifier: `Classifier` for the group "scores", or None.
        verbose: int, 1 shows progress bars, 2 prints lines, 0 prints nothing.

    Returns:
        Dict with "test", a dict from the name of a number (see
        `mvae_tf.evaluation.UNITS`) to its value, and "step", the training steps done.
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
    known = read_metrics(folder)
    if known.get("step") == step:
        results = known["test"] | results
    values = {"test": finite(results), "step": step}
    storage.write_json(path, values)
    return values


# === The folder ===


@contextlib.contextmanager
def _opened(output: Path, resume: bool, worker: Worker) -> Iterator[RunConfig | None]:
    """Open the run folder, and yield the configuration of the run to resume, or None.

    The chief makes the folder, locks it and writes to it once, so that a disk which is
    full already is noticed before the training. The other workers only read. They do so
    before the chief has written, because the chief waits for them when it makes the
    strategy.
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
    """Return whether the model of a step, its numbers and its report are intact."""
    try:
        names = ("model.keras", "metrics.json", "history.csv")
        intact = all(storage.verify(output / name) for name in names)
        evaluated = intact and read_metrics(output).get("step")
    except (storage.DamagedFile, FileNotFoundError):
        return False
    return evaluated == step and (output / "report.html").exists()


def _write_report(output):
    # Matplotlib takes a while to import, and nothing before needs it.
    from mvae_tf.runs.report import write_report

    write_report(output)


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None.

    Args:
        value: number, str, list or dict, perhaps nested.
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if isinstance(value, str) or math.isfinite(value) else None
