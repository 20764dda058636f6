"""Options that several commands have, and messages about mistakes in options.

Nothing here imports TensorFlow.
"""

import argparse
import ast
import contextlib
import difflib
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mvae_tf.parts.part import choice

__all__ = [
    "Formatter",
    "Parser",
    "add_command",
    "add_component",
    "add_file",
    "add_for_run",
    "add_import",
    "add_number",
    "add_sampler",
    "as_path",
    "unrecognized",
]


def add_command(
    subparsers: Any, name: str, command: str, summary: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        subparsers: what `add_subparsers` returned.
        name: str, name of the command.
        command: text "module.function", which names a module of `mvae_tf.cli` and the
            function in it that carries the command out.
        summary: str, sentence about what the command does, without a capital and a full
            stop.
        examples: str, command lines, shown at the end of `--help`.

    Returns:
        The parser of the command, to which its options can be added.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples
        and f"examples:{textwrap.indent(textwrap.dedent(examples), '  ')}",
        formatter_class=Formatter,
    )
    parser.set_defaults(command=command.split("."), parser=parser)
    return parser


def add_for_run(subparsers: Any, *arguments: Any, **options: Any) -> Any:
    """Add a command that takes a finished run, with the arguments of `add_command`."""
    parser = add_command(subparsers, *arguments, **options)
    parser.add_argument(
        "run", metavar="RUN", type=as_path, help="folder of a finished run"
    )
    add_import(parser)
    return parser


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the option `--import`, which registers a user's own models and parts."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="FILE",
        type=_python_file,
        action="append",
        default=[],
        help="Python file to run first, which registers models or parts of your own; "
        "may be given again",
    )


def add_sampler(parser: argparse.ArgumentParser) -> None:
    """Add the option `--sampler`, which draws latents from a sampler."""
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="draw latents from a sampler in place of the prior: gaussian_mixture or "
        "vamp_prior, fitted to the training images and kept in RUN/samplers, or the "
        "path of such a file",
    )


def add_number(
    parser: argparse.ArgumentParser,
    name: str,
    least: int | None = None,
    **options: Any,
) -> None:
    """Add an option that takes a whole number.

    Args:
        parser: `argparse.ArgumentParser` of the command.
        name: str, the option, such as "--epochs".
        least: int, the smallest number that is allowed, or None.
        **options: further arguments of `add_argument`, such as `help`.
    """

    def number(text: str) -> int:
        with contextlib.suppress(ValueError):
            value = int(text)
            if least is None or value >= least:
                return value
        bound = "" if least is None else f" >= {least}"
        raise argparse.ArgumentTypeError(f"expected a whole number{bound}, got {text}")

    parser.add_argument(name, metavar="N", type=number, **options)


def add_component(parser: argparse.ArgumentParser) -> None:
    """Add the option `--component`, which chooses one component."""
    parser.add_argument(
        "--component", metavar="I", type=int, help="use component I alone"
    )


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the option `--to`, which names a file for a picture or for arrays."""
    parser.add_argument(
        "--to",
        metavar="FILE",
        type=_image_file,
        required=True,
        help="FILE.png for a picture, FILE.npz for arrays",
    )


def as_path(text: str) -> Path:
    """Make a path of a text, in which ~ stands for the home directory.

    Args:
        text: str, the path. An empty text, which a shell makes of an unset variable, is
            refused: it would stand for the current folder.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text).expanduser()


def _python_file(text: str) -> Path:
    path = as_path(text)
    if not path.is_file() or path.suffix != ".py":
        raise argparse.ArgumentTypeError(f"expected a Python file, got {text!r}")
    try:
        ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise argparse.ArgumentTypeError(f"cannot read {path}: {reason}") from error
    return path.absolute()


def _image_file(text: str) -> Path:
    path = as_path(text)
    if path.suffix.lower() not in (".png", ".npz"):
        raise argparse.ArgumentTypeError(f"expected FILE.png or FILE.npz, got {text!r}")
    return path


# === Messages ===


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the line breaks of the examples, but fills the description."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width)


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, with the name that was probably meant."""

    def error(self, message: str) -> NoReturn:
        message = message.replace("mvae_tf.presets.names()", "`mvae-tf list presets`")
        self.exit(2, f"mvae-tf: error: {' '.join(message.split())}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = action.metavar if isinstance(action.metavar, str) else action.dest
            try:
                choice(value, list(action.choices), kind.lower())
            except ValueError as error:
                raise argparse.ArgumentError(None, str(error)) from None


def unrecognized(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Make the message about words that no option takes.

    Args:
        unknown: list of str, the words.
        parser: `argparse.ArgumentParser` of the command, whose options may be what was
            meant.
    """
    known: Iterable[str] = parser._option_string_actions
    word = unknown[0].partition("=")[0]
    near = difflib.get_close_matches(word, known, 1) if word.startswith("-") else []
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"Unrecognized arguments: {' '.join(unknown)}.{hint}"
