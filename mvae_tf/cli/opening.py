"""Opening of what options of commands name: Python files, sources of data and runs."""

import argparse
import contextlib
import functools
import importlib.machinery
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mvae_tf
from mvae_tf import data, storage
from mvae_tf.cli.app import PROGRAM
from mvae_tf.config import RunConfig, read_config
from mvae_tf.data import Splits
from mvae_tf.models.base import BaseVAE
from mvae_tf.runs import training

__all__ = [
    "absolute",
    "check_imports",
    "import_files",
    "open_model",
    "open_run",
    "read_run",
    "verbosity",
    "writing_to_run",
]


def import_files(paths: Iterable[Path]) -> None:
    """Run the Python files of a user, which register models and parts.

    Args:
        paths: list of paths of the files.

    Raises:
        ValueError: a file cannot be run, or another module has its name; the message
            names the error.
    """
    for path in paths:
        name = path.stem
        if getattr(sys.modules.get(name), "__file__", None) == str(path):
            continue
        found = importlib.machinery.PathFinder.find_spec(name)
        taken = found is not None and found.origin != str(path)
        if taken or name in sys.modules or name in sys.stdlib_module_names:
            raise ValueError(
                f"Expected a Python file with a name that no other module has, got "
                f"{path}: give it another name."
            )
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"Expected a Python file to import, got {path}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise ValueError(f"{path}: {type(error).__name__}: {error}") from error


def check_imports(
    config: RunConfig, options: argparse.Namespace, command: str, run: Path
) -> None:
    """Refuse a run that uses what no file given with `--import` registers.

    The files are not imported without this option: a run may come from somebody else,
    and whoever opens it decides what code to run.

    Args:
        config: `RunConfig`, configuration of the run.
        options: `argparse.Namespace` of options of the command.
        command: str, words between the program's name and the run, for the error.
        run: path of the run folder.

    Raises:
        ValueError: the run uses other files, and none is given.
    """
    if config.imports and not options.imports:
        files = " ".join(f"--import {shlex.quote(path)}" for path in config.imports)
        raise ValueError(
            f"The run uses models or parts that are not the library's own. If you "
            f"trust the code: {PROGRAM} {command} {shlex.quote(str(run))} {files}"
        )


def absolute(source: str) -> str:
    """Make the path in a source of data absolute, because a run may be moved.

    Args:
        source: str, source of `mvae_tf.data.load`.
    """
    kind, colon, path = source.partition(":")
    if colon and path:
        return f"{kind}:{Path(path).expanduser().absolute()}"
    # A source may also be a path alone, such as mnist.npz.
    alone = Path(source).expanduser()
    is_path = source not in data.sources() and (os.sep in source or "." in source)
    return str(alone.absolute()) if is_path and alone.exists() else source


def open_run(options: argparse.Namespace) -> tuple[RunConfig, Splits, BaseVAE]:
    """Load the configuration, the data and the model of a run.

    Args:
        options: `argparse.Namespace` of options of a command, with `run`.
    """
    config = read_run(options)
    model: Any = mvae_tf.load(options.run)
    return config, training.load_data(config), model


def open_model(options: argparse.Namespace) -> BaseVAE:
    """Load the model of a run, or of a `.keras` file.

    Args:
        options: `argparse.Namespace` of options of a command, with `run`.
    """
    if (options.run / "config.json").is_file():
        read_run(options)
    model: Any = mvae_tf.load(options.run)
    return model


def read_run(options: argparse.Namespace) -> RunConfig:
    """Read the configuration of a run, and warn if the run has diverged.

    Args:
        options: `argparse.Namespace` of options of a command, with `run`.

    Raises:
        ValueError: the run uses what no file given with `--import` registers.
    """
    config = read_config(options.run)
    command = options.parser.prog.split()[-1]
    check_imports(config, options, command, options.run)
    shape = config.arguments.get("input_shape", ())
    if diverged := training.divergence(training.read_history(options.run), shape):
        storage.warn(f"{options.run}: {diverged}")
    return config


def writing_to_run(command: Callable) -> Callable:
    """Decorate a command, which then fails while another process uses its run."""

    @functools.wraps(command)
    def alone(options: argparse.Namespace) -> None:
        exists = (options.run / "config.json").is_file()
        with storage.in_use(options.run) if exists else contextlib.nullcontext():
            command(options)

    return alone


def verbosity() -> int:
    """Return 1, for progress bars, on a terminal, and 2, for lines only, elsewhere."""
    return 1 if sys.stdout.isatty() else 2
