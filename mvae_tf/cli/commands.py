"""The commands that take a finished run; each takes the parsed options."""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mvae_tf
from mvae_tf import data, evaluation, storage
from mvae_tf.cli.opening import (
    open_model,
    open_run,
    read_run,
    verbosity,
    writing_to_run,
)
from mvae_tf.config import read_config
from mvae_tf.data import Splits
from mvae_tf.evaluation import samplers
from mvae_tf.evaluation.audit import audit as run_audit
from mvae_tf.evaluation.audit import averaged_sample_bound
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.gmmp_vae import GMMpVAE
from mvae_tf.parts.part import choice
from mvae_tf.runs import caveats, training

__all__ = [
    "audit",
    "evaluate",
    "export",
    "generate",
    "interpolate",
    "reconstruct",
    "report",
]


@writing_to_run
def evaluate(options: argparse.Namespace) -> None:
    """Measure a run on its test images, and write the numbers to `metrics.json`."""
    config, splits, model = open_run(options)
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
        verbose=verbosity(),
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
    """Print a line for each check of the audit."""
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


@writing_to_run
def audit(options: argparse.Namespace) -> None:
    """Check that the numbers of a run keep the order of valid bounds."""
    config, splits, model = open_run(options)
    if lacking := model.lacks_bound():
        raise ValueError(lacking)
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
    """Write images that the model draws from its prior."""
    model = open_model(options)
    if options.label is not None and model.num_classes is None:
        raise ValueError("Expected no --label for a model without labels, got one.")
    images = model.generate(
        options.num,
        component=options.component,
        y=options.label,
        seed=options.seed,
        sampler=_sampler(options, model),
    )
    _write_images(options.to, model, images=images)


def reconstruct(options: argparse.Namespace) -> None:
    """Write reconstructions of test images, beside the originals."""
    _, splits, model = open_run(options)
    x, y = _test_images(splits, range(options.num))
    images = model.reconstruct(x, y, component=options.component, seed=options.seed)
    _write_images(options.to, model, originals=x, reconstructions=images)


def interpolate(options: argparse.Namespace) -> None:
    """Write frames between test images."""
    _, splits, model = open_run(options)
    num = len(options.first)
    if len(options.second) != num:
        raise ValueError(
            f"Expected as many indices after --second as after --first, {num}, got "
            f"{len(options.second)}."
        )
    x, y = _test_images(splits, [*options.first, *options.second])
    y = None if y is None else y[:num]
    frames = model.interpolate(x[:num], x[num:], options.steps, y=y)
    _write_images(options.to, model, frames=frames)


def export(options: argparse.Namespace) -> None:
    """Export the model for TensorFlow Serving, LiteRT or ONNX, as a new version."""
    model = open_model(options)
    sampler = _sampler(options, model)
    folder = mvae_tf.export(model, options.to, options.version, sampler, options.format)
    print(f"Exported: {folder}")


def _sampler(options: argparse.Namespace, model: BaseVAE) -> samplers.Sampler | None:
    """Return the sampler that the options name, if they name one.

    A sampler that is named by its kind is loaded from the run folder, or else fitted to
    the training images of the run and kept there.
    """
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


@writing_to_run
def report(options: argparse.Namespace) -> None:
    """Draw the figures of a run and write its report."""
    read_run(options)
    # Matplotlib takes a while to import.
    from mvae_tf.runs.report import write_report

    print(f"Written: {write_report(options.run)}")


def _test_images(
    splits: Splits, indices: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return some images of the test part.

    Args:
        splits: `Splits`, data of the run.
        indices: list of ints, numbers of N images, counted from 0.

    Returns:
        Images `[N, ...]`, and their labels `[N]` or None.
    """
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
    """Write images as arrays in an `.npz` file, or side by side in a `.png` file.

    Args:
        path: path of the file, with one of these two suffixes.
        model: the model that made the images, which knows black and white.
        **images: arrays, by their names in the `.npz` file.
    """
    arrays: dict[str, Any] = {name: np.asarray(x) for name, x in images.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file appears whole or not at all. `storage.write` would also write checksums
    # beside it, in a folder that is the user's own.
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
