"""The commands that need TensorFlow: each takes the parsed options and does its job."""

import argparse
import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# What TensorFlow's C++ code reports below a fatal error comes back as an exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mvae_tf

if not hasattr(mvae_tf, "create"):
    # The imports that `mvae_tf/__init__.py` left out when the command line started.
    importlib.reload(mvae_tf)

import numpy as np

from mvae_tf import data, evaluation, presets, storage
from mvae_tf.cli import listing
from mvae_tf.cli.app import PROGRAM, STARTED
from mvae_tf.config import RunConfig, read_config
from mvae_tf.data import Splits
from mvae_tf.evaluation import samplers
from mvae_tf.evaluation.audit import audit as run_audit
from mvae_tf.evaluation.audit import averaged_sample_bound
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.gmmp_vae import GMMpVAE
from mvae_tf.parts.part import choice
from mvae_tf.runs import caveats, overrides, training

__all__ = [
    "audit",
    "evaluate",
    "export",
    "generate",
    "import_files",
    "interpolate",
    "reconstruct",
    "report",
    "reproduce",
    "train",
]


def import_files(paths: Iterable[Path]) -> None:
    """Runs the Python files of a user, which register models and parts.

    Raises:
        ValueError: a file cannot be run; the message names the error.
    """
    for path in paths:
        name = path.stem
        if name in sys.modules and sys.modules[name].__file__ == str(path):
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"Expected a Python file to import, got {path}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ValueError(f"{path}: {type(error).__name__}: {error}") from error


def train(options: argparse.Namespace) -> None:
    """Trains a run, or continues it, and says what came out and what to do next."""
    config = _config(options)
    output = options.output
    training.train(config, output, options.resume, _verbose(), started=STARTED)
    _print_summary(output)
    run = shlex.quote(str(output))
    print(f"\nReport  {output / 'report.html'}")
    for title, command in (
        ("Look", f"show {run}"),
        ("Sample", f"generate {run} --num 64 --to samples.png"),
        ("Measure", f"evaluate {run} --metrics likelihood --num-samples 1000"),
        ("Serve", f"export {run} --to served"),
    ):
        print(f"{title:7} {PROGRAM} {command}")


def _config(options: argparse.Namespace) -> RunConfig:
    """Configuration of the run that the options describe."""
    if options.preset:
        config = presets.get(options.preset).config()
    elif options.model:
        config = RunConfig(options.model)
        if not options.data and not options.resume:
            print(
                "No --data given: the model is trained on the 8 x 8 handwritten digits "
                "of scikit-learn (--data digits)."
            )
    elif options.resume:
        config = read_config(options.output)
        _check_imports(config, options, "train --resume --output", options.output)
    else:
        config = _like(read_config(options.init_from))
        _check_imports(config, options, "train --init-from", options.init_from)
    changed_data = _given(source=_absolute(options.data), limit=options.limit)
    changed_training = _given(epochs=options.epochs, batch_size=options.batch_size)
    config = dataclasses.replace(
        config,
        data=config.data | changed_data,
        training=dataclasses.replace(config.training, **changed_training),
        **_given(
            seed=options.seed,
            devices=options.devices,
            init_from=options.init_from and str(options.init_from.absolute()),
            imports=[str(path) for path in options.imports] or None,
        ),
    )
    return overrides.apply(config, options.set)


def _like(config: RunConfig) -> RunConfig:
    """Configuration of a new run like a finished one, for images of the same shape."""
    return dataclasses.replace(config, preset=None, versions={})


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _absolute(source: str | None) -> str | None:
    """The source with its path, if any, made absolute: a run outlives its folder."""
    if source is None:
        return None
    kind, colon, path = source.partition(":")
    if colon and path:
        return f"{kind}:{Path(path).expanduser().absolute()}"
    # A path alone, such as mnist.npz, stands for itself.
    alone = Path(source).expanduser()
    return str(alone.absolute()) if alone.exists() and _is_path(source) else source


def _is_path(source: str) -> bool:
    return source not in data.sources() and (os.sep in source or "." in source)


def _print_summary(run: Path) -> None:
    """Prints the numbers by which models are compared, beside those of the paper."""
    values = storage.read_json(run / "metrics.json")["test"]
    config = read_config(run)
    paper = {item.metric: item for item in listing.reported(config)}
    names = [
        name
        for name, value in values.items()
        if isinstance(value, int | float) and (name in _MAIN or name in paper)
    ]
    if not names:
        return
    doubtful = caveats.of_numbers(values)
    print("\nOn the test images (`list metrics` says what the numbers mean)")
    for name in names:
        text = f"  {name:20} {values[name]:<10.5g}"
        text += f" paper: {paper[name].value:g}" if name in paper else ""
        text += f"  (!) {doubtful[name]}" if name in doubtful else ""
        print(text.rstrip())
    if paper and listing.differences(config):
        print(
            f"  Do not compare with the paper: `show {run}` says what this run changes."
        )


_MAIN = (
    "elbo",
    "log_likelihood",
    "sse_sampled",
    "selected_components",
    "cluster_accuracy",
)


def _writing_to_run(command: Callable) -> Callable:
    """The command, which is refused while another process writes into its run."""

    @functools.wraps(command)
    def alone(options: argparse.Namespace) -> None:
        exists = (options.run / "config.json").is_file()
        with storage.in_use(options.run) if exists else contextlib.nullcontext():
            command(options)

    return alone


@_writing_to_run
def evaluate(options: argparse.Namespace) -> None:
    """Measures a run on its test images."""
    config, splits, model = _open(options)
    classifier = None
    if options.metrics and "scores" in options.metrics:
        classifier = (
            evaluation.inception(splits.value_range)
            if options.classifier == "inception"
            else evaluation.train_classifier(splits.train, splits.test, splits.name)
        )
    values = training.evaluate_run(
        options.run,
        model,
        config,
        splits,
        metrics=options.metrics,
        num_samples=options.num_samples,
        classifier=classifier,
        verbose=_verbose(),
    )
    results = values["test"]
    checks = results.pop("audit", {})
    diverged = caveats.divergence(
        training.read_history(options.run), results, model.input_shape
    )
    if diverged:
        print(f"(!) {diverged}")
    doubtful = caveats.of_numbers(results | {"audit": checks}, diverged)
    for name, value in results.items():
        mark = f"  (!) {doubtful[name]}" if name in doubtful else ""
        if isinstance(value, list):
            value = np.array2string(np.array(value), precision=4, separator=" ")
            print(f"{name}:\n{value}")
        else:
            text = f"{value:.6g}" if isinstance(value, int | float) else value
            text = "not finite" if text is None else text
            print(f"{name}: {text}{mark}")
    _print_checks(checks)
    print(f"Written: {options.run / 'metrics.json'}")


def _print_checks(checks: dict[str, Any]) -> None:
    for name, check in checks.items():
        failures = check["failures"] or "not finite"
        verdict = "holds" if check["holds"] else f"FAILS ({failures})"
        value, limit, slack = (
            "not finite" if check[key] is None else f"{check[key]:.5g}"
            for key in ("value", "limit", "slack")
        )
        print(
            f"audit: {name} {value} <= {limit} (+ {slack}), "
            f"{check['num_images']} images: {verdict}"
        )


@_writing_to_run
def audit(options: argparse.Namespace) -> None:
    """Checks that the numbers of a run keep the order of valid bounds."""
    config, splits, model = _open(options)
    if model.no_bound:
        raise ValueError(f"Expected a model with a bound to audit: {model.no_bound}.")
    x, y = _test_images(splits, range(min(options.num_images, splits.num_test)))
    checks = run_audit(model, x, y, options.num_samples, config.seed)
    records = {check.name: check.to_dict() for check in checks}
    diverged = caveats.divergence(
        training.read_history(options.run), {}, model.input_shape
    )
    if diverged:
        print(f"(!) {diverged}")
    _print_checks(records)
    if isinstance(model, GMMpVAE) and model.num_components > 1:
        likelihood = records["elbo"]["limit"]
        claimed = float(np.mean(averaged_sample_bound(model, x, config.seed)))
        print(
            f"averaged sample (invalid, as a warning): {claimed:.5g} would be claimed, "
            f"log p(x) is {likelihood:.5g}"
        )
        found = {"claimed": claimed, "log_likelihood": likelihood}
        records["averaged_sample"] = found
    path = options.run / "audit.json"
    storage.write_json(path, training.finite(records))
    print(f"Written: {path}")


def generate(options: argparse.Namespace) -> None:
    """Images from the prior."""
    model = _load(options)
    if options.label is not None and model.num_classes is None:
        raise ValueError("Expected --label only for a model conditioned on labels.")
    images = model.generate(
        options.num,
        component=options.component,
        y=options.label,
        seed=options.seed,
        sampler=_sampler(options, model),
    )
    _write_images(options.to, model, images=images)


def reconstruct(options: argparse.Namespace) -> None:
    """Reconstructions of test images."""
    _, splits, model = _open(options)
    x, y = _test_images(splits, range(options.num))
    images = model.reconstruct(x, y, component=options.component, seed=options.seed)
    _write_images(options.to, model, originals=x, reconstructions=images)


def interpolate(options: argparse.Namespace) -> None:
    """Frames between test images."""
    _, splits, model = _open(options)
    num = len(options.first)
    if len(options.second) != num:
        raise ValueError(
            f"Expected {num} indices after --second, as many as after --first, got "
            f"{len(options.second)}."
        )
    x, y = _test_images(splits, [*options.first, *options.second])
    y = None if y is None else y[:num]
    frames = model.interpolate(x[:num], x[num:], options.steps, y=y)
    _write_images(options.to, model, frames=frames)


def export(options: argparse.Namespace) -> None:
    """A new version for TensorFlow Serving, LiteRT or ONNX."""
    model = _load(options)
    sampler = _sampler(options, model)
    folder = mvae_tf.export(model, options.to, options.version, sampler, options.format)
    print(f"Exported: {folder}")


def _sampler(options: argparse.Namespace, model: BaseVAE) -> samplers.Sampler | None:
    """Sampler that the options name, fitted to the run's training images if need be."""
    name = options.sampler
    if name is None:
        return None
    if name not in samplers.KINDS:
        if not name.endswith(".npz"):
            choice(name, samplers.KINDS, "kind of sampler")
        return samplers.load(Path(name).expanduser())
    path = options.run / "samplers" / f"{name}.npz"
    if path.exists():
        sampler = samplers.load(path)
        if sampler.fits(model):
            return sampler
    config = read_config(options.run)
    x, y = data.leading(training.load_data(config).train, samplers.FITTED_IMAGES)
    y = y if model.conditional else None
    sampler = samplers.KINDS[name].fit(model, x, y, seed=config.seed)
    print(f"Fitted: {sampler.save(path)}")
    return sampler


@_writing_to_run
def report(options: argparse.Namespace) -> None:
    """Figures and the report of a run."""
    _read_config(options)
    # Matplotlib takes a while to import.
    from mvae_tf.runs.report import write_report

    print(f"Written: {write_report(options.run)}")


def reproduce(options: argparse.Namespace) -> None:
    """Tables and figures of the papers."""
    # Matplotlib takes a while to import.
    from mvae_tf import reproduce as papers

    if options.names == ["list"]:
        width = max(len(name) for name in papers.names())
        for name in papers.names():
            print(f"{name:{width}}  {papers.get(name)[1].title}")
        return
    if options.output is None:
        raise ValueError("Expected --output DIR, got none.")
    # Check all names and sources first: a mistake in the last must not cost any work.
    chosen = [papers.get(name) for name in options.names]
    sources = [
        _sources(options.data, e.name, e.datasets(options.scale)) for _, e in chosen
    ]
    failures = []
    for (paper, experiment), found in zip(chosen, sources, strict=True):
        arguments = paper, experiment, options.scale, found, options.output, _verbose()
        try:
            written = papers.reproduce(*arguments, options.seeds, options.runs)
        except papers.Incomplete as error:
            failures.append(str(error))
        else:
            print(f"Written: {', '.join(str(path) for path in written)}")
    if failures:
        raise ValueError("; ".join(failures))


def _sources(
    given: Sequence[str], experiment: str, needed: Sequence[str]
) -> dict[str, Any]:
    """Sources of the data sets that an experiment needs, by name."""
    sources = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals or ":" in name:
            if len(needed) > 1:
                raise ValueError(
                    f"Expected --data NAME=SOURCE for {experiment}, which needs "
                    f"{', '.join(needed)}, got {text!r}."
                )
            name, source = needed[0], text
        sources[name] = _absolute(source)
    for name in sources:
        choice(name, presets.datasets(), "data set")
    return {name: sources[name] for name in needed if name in sources}


# === What commands share ===


def _open(options: argparse.Namespace) -> tuple[RunConfig, Splits, BaseVAE]:
    """Configuration, data and model of a run."""
    config = _read_config(options)
    model: Any = mvae_tf.load(options.run)
    return config, training.load_data(config), model


def _load(options: argparse.Namespace) -> BaseVAE:
    """Model of a run, or of a `.keras` file."""
    if (options.run / "config.json").is_file():
        _read_config(options)
    model: Any = mvae_tf.load(options.run)
    return model


def _read_config(options: argparse.Namespace) -> RunConfig:
    """Configuration of a run whose model can be loaded; says so if it diverged."""
    config = read_config(options.run)
    command = options.parser.prog.split()[-1]
    _check_imports(config, options, command, options.run)
    _warn_if_diverged(options.run, config)
    return config


def _warn_if_diverged(run: Path, config: RunConfig) -> None:
    """Says so on stderr, in one line."""
    shape = config.arguments.get("input_shape", ())
    if diverged := training.divergence(training.read_history(run), shape):
        storage.warn(f"{run}: {diverged}")


def _check_imports(
    config: RunConfig, options: argparse.Namespace, command: str, run: Path
) -> None:
    """Refuses a run that uses what no file given with `--import` registers.

    The files are not imported by themselves: a run may come from somebody else, and
    whoever opens it decides what code to run.
    """
    if config.imports and not options.imports:
        files = " ".join(f"--import {shlex.quote(path)}" for path in config.imports)
        raise ValueError(
            f"The run uses models or parts that are not the library's own. If you "
            f"trust the code: {PROGRAM} {command} {shlex.quote(str(run))} {files}"
        )


def _test_images(
    splits: Splits, indices: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images `[N, ...]` and labels (or None) of the test part, by index."""
    wrong = (i for i in indices if not 0 <= i < splits.num_test)
    first_wrong = next(wrong, None if indices else "none")
    if first_wrong is not None:
        raise ValueError(
            f"Expected test images by index in 0..{splits.num_test - 1}, got "
            f"{first_wrong}."
        )
    x, y = data.leading(splits.test, max(indices) + 1)
    rows = list(indices)
    return x[rows], None if y is None else y[rows]


def _write_images(path: Path, model: BaseVAE, **images: Any) -> None:
    """Arrays of images as one `.npz`, or side by side in one `.png`."""
    arrays: dict[str, Any] = {name: np.asarray(x) for name, x in images.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file appears whole or not at all. It is the user's own, beside which no list
    # of checksums belongs.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mvae-tf-") as folder:
        temporary = Path(folder) / f"images{path.suffix.lower()}"
        if temporary.suffix == ".npz":
            np.savez(temporary, **arrays)
        else:
            _write_picture(temporary, model, arrays)
        os.replace(temporary, path)
    print(f"Written: {path}")


def _write_picture(path: Path, model: BaseVAE, images: dict[str, np.ndarray]) -> None:
    # Matplotlib takes a while to import.
    from mvae_tf.figures import save_grid

    columns: int | None
    if "frames" in images:
        tiles = images["frames"]
        columns = tiles.shape[1]
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    elif "originals" in images:
        # Each original has its reconstruction to the right.
        tiles = np.stack(list(images.values()), axis=1)
        columns = 2 * min(len(tiles), 8)
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    else:
        tiles, columns = images["images"], None
    low, high = model.likelihood.shown_range
    save_grid(tiles, path, columns=columns, low=low, high=high)


def _verbose() -> int:
    """Progress bars on a terminal, lines elsewhere."""
    return 1 if sys.stdout.isatty() else 2
