"""The command `train`."""

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import Any

from mvae_tf import presets
from mvae_tf.cli.app import PROGRAM, STARTED
from mvae_tf.cli.opening import absolute, check_imports
from mvae_tf.config import RunConfig, read_config
from mvae_tf.runs import caveats, overrides, training
from mvae_tf.runs.history import read_metrics

__all__ = ["train"]

# Numbers by which models are compared; `train` prints them.
_MAIN = (
    "elbo",
    "log_likelihood",
    "sse_sampled",
    "selected_components",
    "cluster_accuracy",
)


def train(options: argparse.Namespace) -> None:
    """Train a run, or continue it; print its numbers and what to do next."""
    config = _config(options)
    output = options.output
    training.train(config, output, options.resume, started=STARTED)
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
    """Return the configuration of the run that the options describe."""
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
        check_imports(config, options, "train --resume --output", options.output)
    else:
        # A new run has the settings of the one that its weights come from.
        finished = read_config(options.init_from)
        check_imports(finished, options, "train --init-from", options.init_from)
        config = dataclasses.replace(finished, preset=None, versions={})
    changed_data = _given(
        source=options.data and absolute(options.data), limit=options.limit
    )
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


def _given(**values: Any) -> dict[str, Any]:
    """Return the values of the options that were given."""
    return {key: value for key, value in values.items() if value is not None}


def _print_summary(run: Path) -> None:
    """Print the numbers by which models are compared, beside those of the paper."""
    values = read_metrics(run)["test"]
    config = read_config(run)
    paper = {item.metric: item for item in presets.reported(config)}
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
    if paper and presets.differences(config):
        print(
            f"  Do not compare with the paper: `show {run}` says what this run changes."
        )
