"""Training and measuring the runs of a table or a figure, and writing its files."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from mvae_tf import evaluation, figures, storage
from mvae_tf.reproduce.elsewhere import Elsewhere, NoRun, copy
from mvae_tf.reproduce.experiment import Figure, Paper, Table, Trained
from mvae_tf.reproduce.records import circumstances, pictured, records, write_markdown
from mvae_tf.runs import training

__all__ = ["Incomplete", "reproduce"]

CLASSIFIER_EPOCHS = 20
# At the scale full, the likelihood of every test image is estimated from as many draws
# as in the VampPrior paper.
LIKELIHOOD_DRAWS = 5000
# Number of runs that an error names.
_NAMED = 5

_ERRORS = (ValueError, OSError, FloatingPointError)


class Incomplete(ValueError):
    """The error that a part of a table or a figure could not be computed."""


def reproduce(
    paper: Paper,
    experiment: Table | Figure,
    scale: str,
    sources: dict[str, str],
    output: str | Path,
    verbose: Any = "auto",
    seeds: int = 1,
    folders: Sequence[str | Path] = (),
) -> list[Path]:
    """Train and measure what is missing of a table or a figure, and write it.

    A run that is complete is not trained again, an interrupted run continues where it
    stopped, and a number in the `metrics.json` of a run is not measured again.

    Args:
        paper: `Paper`, the paper.
        experiment: `Table` or `Figure` of the paper.
        scale: str, one of `SCALES`.
        sources: dict from the name of a data set to its source, see
            `mvae_tf.data.load`; other data sets have the source of their presets.
        output: path of the folder of all results. Tables and figures share the runs in
            `output/<scale>/runs`.
        verbose: int or "auto", as in `keras.Model.fit`.
        seeds: int, number of runs of each row of a table, with the seeds 0, 1, ...; a
            figure shows those with seed 0.
        folders: list of folders with runs that were trained before. If there are any,
            nothing is trained: runs are copied to `output/<scale>/copies` and measured
            there. An incomplete run is used as it is, and its epoch is reported.

    Returns:
        Paths of the files that were written.

    Raises:
        Incomplete: data is missing, or some of the runs failed. All that could be
            computed was written.
        FileNotFoundError: one of `folders` does not exist.
    """
    output = Path(output) / scale
    elsewhere = Elsewhere(folders) if folders else None
    found, failures, classifiers = [], {}, {}

    def fail(name, error, show=True):
        message = " ".join(str(error).split())
        if show and message not in failures:
            print(f"mvae-tf: {name}: {message}", file=sys.stderr)
        failures.setdefault(message, []).append(name)

    missing = set()
    if elsewhere is None:
        for dataset, error in _missing_data(paper, experiment, scale, sources):
            missing.add(dataset)
            fail(dataset, error, show=False)
    for run, seed in itertools.product(
        experiment.runs(scale), range(seeds if isinstance(experiment, Table) else 1)
    ):
        if run.dataset in missing:
            continue
        changes, source = paper.changes(run, scale), sources.get(run.dataset)
        config = run.config(changes, source, seed)
        name = f"{run.name}+seed={seed}" if seed else run.name
        try:
            if elsewhere is None:
                folder = output / "runs" / name
                resume = (folder / "config.json").exists()
                # The numbers that the experiment needs are measured below.
                training.train(config, folder, resume, verbose, metrics=())
            else:
                folder = output / "copies" / name
                copy(elsewhere.find(run, config, source is None), folder, source)
            trained = Trained(run, changes, folder, source, config.training.epochs)
        except (NoRun, *_ERRORS) as error:
            fail(name, error, show=not isinstance(error, NoRun))
            continue
        for group in _unmeasured(experiment, trained, scale):
            try:
                _measure(group, trained, scale, classifiers)
            except _ERRORS as error:
                fail(name, error)
        # A table may lack a number, but a figure cannot be drawn without it.
        if isinstance(experiment, Table) or not _unmeasured(experiment, trained, scale):
            found.append(trained)
        keras.backend.clear_session()
    written = _write(paper, experiment, scale, output, found) if found else []
    if failures:
        lines = (f"{_first(names)}: {text}" for text, names in failures.items())
        state = "not complete" if found else "not computed"
        raise Incomplete(f"{experiment.name} is {state}; {'; '.join(lines)}")
    return written


def _first(names):
    """Return some names as a text, and the number of the others."""
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def _missing_data(paper, experiment, scale, sources):
    """Yield pairs of a data set that cannot be read and a line on how to get it."""
    for run in {run.dataset: run for run in experiment.runs(scale)}.values():
        source = sources.get(run.dataset)
        try:
            training.load_data(run.config(paper.changes(run, scale), source))
        except _ERRORS as error:
            kind = "frey_faces" if run.dataset == "frey_faces" else "npz"
            hint = f"; or name a file with --data {run.dataset}={kind}:FILE"
            hint = "" if source else hint
            yield run.dataset, f"{str(error).rstrip('.')}{hint}"


def _unmeasured(experiment, trained, scale):
    """Return the groups to measure: none if `metrics.json` has all that is wanted."""
    wanted, known = experiment.wanted(trained.run), trained.metrics
    if scale == "full" and known.get("log_likelihood_samples", 0) < LIKELIHOOD_DRAWS:
        known = {key: known[key] for key in known if key != "log_likelihood"}
    if wanted.issubset(known):
        return []
    # A table may also show models that have no categories, or no components.
    model = trained.model
    has = {"categories": model.has_categories, "components": model.has_components}
    return [group for group in experiment.groups if has.get(group, True)]


def _measure(group, trained, scale, classifiers):
    """Measure a group of numbers and add them to `metrics.json`."""
    options = {}
    if group == "scores":
        options["classifier"] = _classifier(trained, scale, classifiers)
    if group == "likelihood" and scale == "full":
        options["num_samples"] = LIKELIHOOD_DRAWS
        options["num_images"] = trained.splits.num_test
    training.evaluate_run(
        trained.folder,
        trained.model,
        trained.config,
        trained.splits,
        metrics=[group],
        **options,
    )


def _classifier(trained, scale, known):
    """Return InceptionV3 at the scale full, otherwise a classifier of the data."""
    key = trained.run.dataset
    if key not in known:
        data = trained.splits
        known[key] = (
            evaluation.inception(data.value_range)
            if scale == "full"
            else evaluation.train_classifier(
                data.train, data.test, data.name, epochs=CLASSIFIER_EPOCHS
            )
        )
    return known[key]


def _write(paper, experiment, scale, output, found):
    """Write the files of an experiment and return their paths."""
    base = output / experiment.name
    if isinstance(experiment, Table):
        rows = records(experiment, found)
        drawn = {"": figures.comparison(pictured(rows), experiment.title)}
    else:
        rows = [circumstances([one]) for one in found]
        drawn = experiment.draw(found)
        drawn = drawn if isinstance(drawn, dict) else {"": drawn}
    storage.write_csv(base.with_suffix(".csv"), rows)
    written = [base.with_suffix(".csv")]
    for suffix, figure in drawn.items():
        name = f"{experiment.name}{suffix and '-'}{suffix}.png"
        written.append(figures.save(figure, output / name))
    write_markdown(base.with_suffix(".md"), experiment, paper, scale, rows)
    return [*written, base.with_suffix(".md")]
