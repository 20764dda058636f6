"""The entry point of the command line, and its messages when a command fails.

Exit status 0 means that the result is on the disk. A user's mistake is one line on
stderr and status 2; an error that the library did not expect is one line and status 1,
with a traceback before it where the environment has `MVAE_TF_TRACEBACK=1`; a signal is
one line and status 128 + its number.
"""

import argparse
import contextlib
import importlib
import logging
import os
import re
import shlex
import signal
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mvae_tf.cli import parser
from mvae_tf.runs.interruption import Signals

__all__ = ["PROGRAM", "STARTED", "main"]

# Moment at which the command line started, in seconds of `time.monotonic`.
STARTED = time.monotonic()

# How the user has called the program, for commands to copy.
PROGRAM = "mvae-tf" if Path(sys.argv[0]).stem == "mvae-tf" else "python -m mvae_tf"

_TRACEBACK = "MVAE_TF_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: list of str, the words after the program's name; None takes those of
            the process.

    Returns:
        The exit status.
    """
    options = parser.parse(arguments)
    module, function = options.command
    with _warnings_as_lines(), Signals():
        try:
            if module != "listing":
                _import_library()
            if getattr(options, "imports", None):
                importlib.import_module("mvae_tf.cli.opening").import_files(
                    options.imports
                )
            commands = importlib.import_module(f"mvae_tf.cli.{module}")
            getattr(commands, function)(options)
        except BrokenPipeError:
            # The program that reads stdout has ended, such as `head` in `mvae-tf list
            # presets | head`. Python would complain when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except KeyboardInterrupt as error:
            return _stopped(options, getattr(error, "signal", signal.SIGINT))
        except (ValueError, OSError, FloatingPointError) as error:
            return _fail(options, error, 2)
        except Exception as error:
            return _fail(options, error, 1)
    return 0


def _import_library() -> None:
    """Do the imports that `mvae_tf/__init__.py` left out when the program started."""
    # TensorFlow's C++ code prints its errors. All but the fatal ones are also raised as
    # exceptions, which `main` reports.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    package = importlib.import_module("mvae_tf")
    if not hasattr(package, "create"):
        importlib.reload(package)


def _stopped(options: argparse.Namespace, number: int) -> int:
    """Say which command continues; return the exit status of a signal."""
    hint = ""
    output = getattr(options, "output", None)
    if output is not None and (output / "config.json").exists():
        command = ["train", "--output", str(output), "--resume"]
        for path in getattr(options, "imports", ()):
            command += ["--import", str(path)]
        hint = f"; continue with: {PROGRAM} {shlex.join(command)}"
    elif options.command[1] == "reproduce":
        hint = "; the same command continues"
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    # A terminal shows ^C in the line where the program was.
    start = "\n" if sys.stderr.isatty() else ""
    print(f"{start}mvae-tf: stopped by {name}{hint}", file=sys.stderr)
    return 128 + number


def _fail(options: argparse.Namespace, error: Exception, status: int) -> int:
    """Say in one line what went wrong; return the exit status."""
    if os.environ.get(_TRACEBACK, "0") not in ("", "0"):
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            reason = "expected a folder here, or a path inside one, got a file"
        message = f"{error.filename}: {reason}"
    names = ("ResourceExhaustedError", "MemoryError")
    if type(error).__name__ in names or "overflow when multiplying" in message:
        # The second is what TensorFlow says of a tensor of more than 2^63 elements.
        shape = re.search(r"shape ?\[[\d,]+\]", message)
        why = f": {message}" if isinstance(error, MemoryError) and message else ""
        why = f" for a tensor of {shape[0]}" if shape else why
        message = f"the memory of this machine is not enough{why}"
        message += "; make the model, --batch-size or the images smaller"
        status = 2
    if isinstance(error, ModuleNotFoundError):
        message = f"The Python at {sys.executable} has no package {error.name!r}; "
        message += "activate the environment that mvae_tf was installed in"
        status = 2
    if status == 1:
        # Messages of TensorFlow can be long, because they name nodes of the graph.
        message = f"{type(error).__name__}: {textwrap.shorten(message, 300)}"
        message += f" ({_TRACEBACK}=1 in the environment shows where it happened)"
    print(f"mvae-tf: error: {_in_options(message, options)}", file=sys.stderr)
    return status


def _in_options(message: str, options: argparse.Namespace) -> str:
    """Translate a message of the library into the words of the command line.

    The library names the arguments of its functions, such as `num_samples` and
    `download=True`. A user of the command line knows them as `--num-samples` and
    `--set data.download=true`.
    """
    if not hasattr(options, "set"):
        # Commands without --set cannot pass arguments on to the data set.
        message = message.replace("with download=True, or with", "with")
        message = message.replace(", or name another folder", "; or set the folder")
        message = message.replace("with data_dir=DIR", "in TFDS_DATA_DIR")
    message = message.replace("download=True", "--set data.download=true")
    message = message.replace("data_dir=DIR", "--set data.data_dir=DIR")
    message = message.replace("value_range=None", "--set data.value_range=null")
    message = message.replace("mvae_tf.presets.names()", "`mvae-tf list presets`")
    message = message.replace("mvae_tf.data.sources()", "`mvae-tf list datasets`")
    # A setting of a resumed run, under the name that --set knows it by.
    message = re.sub(r"^Expected (?:arguments|training)\.", "Expected ", message)
    names = "|".join(
        action.dest for action in options.parser._actions if action.option_strings
    )
    return re.sub(
        rf"^(Expected )({names})(?= (?:>|=|as |in |at ))",
        lambda found: f"{found[1]}--{found[2].replace('_', '-')}",
        message,
    )


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print warnings, and what the library logs, as one line each, in a context."""
    logger, lines = logging.getLogger("mvae_tf"), _Lines()
    logger.addHandler(lines)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(lines)


class _Lines(logging.Handler):
    """Handler that prints a message of the library's loggers, once per command.

    A command may load the same data twice, which logs the same messages again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._printed:
            self._printed.add(message)
            _show_warning(message)


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    """Print a warning as one line, without the place in the source."""
    print(f"mvae-tf: warning: {' '.join(str(message).split())}", file=sys.stderr)
