"""Trains what tables and figures need, measures, and writes them."""

import sys
from pathlib import Path

import keras

from mvae_tf import evaluation, figures
from mvae_tf.reproduce.base import Table, Trained
from mvae_tf.reproduce.records import (
    pictured,
    records,
    write_csv,
    write_markdown,
)
from mvae_tf.runs import training

__all__ = ["Incomplete", "reproduce"]

CLASSIFIER_EPOCHS = 20

_ERRORS = (ValueError, OSError, FloatingPointError)


class Incomplete(ValueError):
    """A table or a figure of which something could not be computed."""


def reproduce(paper, experiment, scale, sources, output, verbose="auto"):
    """Runs what is missing of a table or a figure, and writes it.

    A run whose folder holds a finished training is not trained again, and a number
    that its `metrics.json` holds is not measured again; an interrupted training goes
    on where it stopped.

    Args:
        paper: `Paper`.
        experiment: one of its `Table`s or `Figure`s.
        scale: one of `SCALES`.
        sources: dict from the name of a data set to its source, see
            `mvae_tf.data.load`; a data set that it does not name comes from where its
            presets have it.
        output: folder of all results. Runs are shared in `output/<scale>/runs`.
        verbose: as in `keras.Model.fit`.

    Returns:
        Paths of the files written.

    Raises:
        Incomplete: some of the runs failed. What could be computed is on the disk.
    """
    output = Path(output) / scale
    found, failures, classifiers = [], {}, {}

    def fail(run, error):
        message = " ".join(str(error).split())
        failures.setdefault(message, []).append(run.name)
        print(f"mvae-tf: {run.name}: {message}", file=sys.stderr)

    for run in experiment.runs(scale):
        changes = (*paper.changes(run.dataset, scale), *run.changes)
        config = run.config(changes, sources.get(run.dataset))
        folder = output / "runs" / run.name
        try:
            resume = (folder / "config.json").exists()
            # What the experiment needs is measured below.
            training.train(config, folder, resume, verbose, metrics=())
            trained = Trained(run, changes, folder)
        except _ERRORS as error:
            fail(run, error)
            continue
        for group in _unmeasured(experiment, trained):
            try:
                _measure(group, trained, scale, classifiers)
            except _ERRORS as error:
                fail(run, error)
        # A table can do without a number, a figure cannot.
        if isinstance(experiment, Table) or not _unmeasured(experiment, trained):
            found.append(trained)
        keras.backend.clear_session()
    written = _write(paper, experiment, scale, sources, output, found) if found else []
    if failures:
        lines = (f"{', '.join(names)}: {text}" for text, names in failures.items())
        state = "not complete" if found else "not computed"
        raise Incomplete(f"{experiment.name} is {state}; {'; '.join(lines)}")
    return written


def _unmeasured(experiment, trained):
    """Groups to measure, if `metrics.json` lacks a number that is wanted of the run."""
    known = experiment.wanted(trained.run).issubset(trained.metrics)
    return () if known else experiment.groups


def _measure(group, trained, scale, classifiers):
    """Adds a group of numbers to `metrics.json`."""
    classifier = None
    if group == "scores":
        classifier = _classifier(trained, scale, classifiers)
    training.evaluate_run(
        trained.folder,
        trained.model,
        trained.config,
        trained.splits,
        metrics=[group],
        classifier=classifier,
    )


def _classifier(trained, scale, known):
    """InceptionV3 at full scale; else one trained on the data, without a network."""
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


def _write(paper, experiment, scale, sources, output, found):
    """Writes the files of an experiment, and returns their paths."""
    base, rows = output / experiment.name, []
    if isinstance(experiment, Table):
        rows = records(experiment, found)
        write_csv(base.with_suffix(".csv"), rows)
        drawn = {"": figures.comparison(pictured(rows), experiment.title)}
        written = [base.with_suffix(".csv")]
    else:
        drawn = experiment.draw(found)
        drawn = drawn if isinstance(drawn, dict) else {"": drawn}
        written = []
    for suffix, figure in drawn.items():
        name = f"{experiment.name}{suffix and '-'}{suffix}.png"
        written.append(figures.save(figure, output / name))
    write_markdown(
        base.with_suffix(".md"), experiment, paper, scale, sources, found, rows
    )
    return [*written, base.with_suffix(".md")]
