"""The options of the command line, one function per command.

Nothing here imports TensorFlow: `--help` and mistakes are answered at once. What a
command does is named by `command`, a module of `mvae_tf.cli` and a function in it, and
imported when the options have been understood.
"""

import argparse
import contextlib
import dataclasses
import difflib
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mvae_tf import presets
from mvae_tf.cli import catalogue
from mvae_tf.config import Training
from mvae_tf.parts.part import choice
from mvae_tf.version import __version__

__all__ = ["make_parser", "parse"]

# What `mvae-tf list` lists.
KINDS = (
    "models",
    "presets",
    "datasets",
    "networks",
    "likelihoods",
    "masks",
    "metrics",
    "settings",
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line.

    Args:
        arguments: the words after the program's name; None takes those of the process.

    Returns:
        The options, and `command`: the names of the module and the function that carry
        them out.

    Raises:
        SystemExit: after `--help` and `--version`, and after one line on stderr about a
            mistake (status 2).
    """
    parser = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(_unrecognized(unknown, options.parser))
    try:
        _check(options)
    except (OSError, ValueError) as error:
        options.parser.error(str(error))
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuses what can be seen to be wrong without importing TensorFlow."""
    for path in (getattr(options, "run", None), getattr(options, "init_from", None)):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"expected a run in {path}, found no such folder")
    if options.command == ["commands", "train"]:
        if options.preset:
            presets.get(options.preset)
        elif options.model and not options.imports:
            choice(options.model, catalogue.models(), "model")
        elif not (options.model or options.resume or options.init_from):
            raise ValueError("Expected --preset NAME or --model NAME, got neither.")
        if options.data and not options.imports:
            catalogue.check_dataset(options.data)


def make_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    parser = _Parser(
        prog="mvae-tf",
        description="Mixtures of variational autoencoders: train, evaluate, generate "
        "images, export.",
        epilog="`mvae-tf COMMAND --help` describes the options of a command.",
    )
    version = f"%(prog)s {__version__}"
    parser.add_argument("--version", action="version", version=version)
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for add in (
        _add_list,
        _add_show,
        _add_train,
        _add_evaluate,
        _add_audit,
        _add_generate,
        _add_reconstruct,
        _add_interpolate,
        _add_export,
        _add_report,
        _add_reproduce,
    ):
        add(subparsers)
    return parser


# === Commands ===


def _add_list(subparsers: Any) -> None:
    parser = _add(
        subparsers,
        "list",
        "listing.list_names",
        "list models, presets, data sets and everything else that has a name",
        examples="""
            mvae-tf list
            mvae-tf list presets mvae mnist
            mvae-tf list settings mask
        """,
    )
    parser.add_argument(
        "kind",
        metavar="KIND",
        nargs="?",
        choices=KINDS,
        help=f"what to list: {', '.join(KINDS)} (default: how many there are of each)",
    )
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="list only the lines that contain every WORD, such as mvae, mnist or k=6",
    )


def _add_show(subparsers: Any) -> None:
    parser = _add(
        subparsers,
        "show",
        "listing.show",
        "print all settings of a preset or of a run, and the paper's numbers beside "
        "the measured ones",
        examples="""
            mvae-tf show mvae-gs-mnist
            mvae-tf show runs/digits
        """,
    )
    parser.add_argument(
        "name", metavar="PRESET|RUN", help="name of a preset, or folder of a run"
    )


def _add_train(subparsers: Any) -> None:
    parser = _add(
        subparsers,
        "train",
        "commands.train",
        "train a model, evaluate it and write its report",
        examples="""
            mvae-tf train --preset mvae-gs-digits --output runs/digits
            mvae-tf train --preset mvae-gs-mnist --data mnist.npz --output runs/mnist
            mvae-tf train --model mvae --data mnist --set data.download=true \\
                --set num_components=4 --set mask.temperature=0.2 --output runs/four
            mvae-tf train --model vae --data digits --set optimizer=AdamW \\
                --set optimizer.weight_decay=0.01 --set optimizer.clipnorm=1 \\
                --set learning_rate=CosineDecay --set learning_rate.decay_steps=5000 \\
                --output runs/cosine
            mvae-tf train --init-from runs/mnist --data fashion_mnist \\
                --output runs/tuned
            mvae-tf train --resume --output runs/digits
        """,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--preset", metavar="NAME", help="see `mvae-tf list presets`")
    what.add_argument("--model", metavar="NAME", help="see `mvae-tf list models`")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="the images to train on, see `mvae-tf list datasets` (default: those of "
        "the preset; for --model, the 8 x 8 digits of scikit-learn)",
    )
    _add_number(parser, "--epochs", least=1, help="passes over the training images")
    _add_number(parser, "--batch-size", least=1, help="images per step")
    _add_number(
        parser,
        "--limit",
        least=1,
        help="use only the first N images of each part of the data",
    )
    _add_number(
        parser,
        "--seed",
        help="decides initial weights, noise and the order of the images (default 0)",
    )
    training = ", ".join(item.name for item in dataclasses.fields(Training))
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a setting; may be given again. KEY is a training setting "
        f"({training}), an argument of the optimiser (optimizer.clipnorm) or of the "
        "schedule (learning_rate.decay_steps), an argument of the model (latent_dim) "
        "or of a part of it (mask.temperature, network.hidden), or an argument of the "
        "data (data.image_size). VALUE is a number, true, false, null, a text, or a "
        "list or an object in JSON. `mvae-tf list settings` describes every KEY",
    )
    parser.add_argument(
        "--output",
        metavar="RUN",
        type=_path,
        required=True,
        help="folder that the run is written to",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in RUN, to more epochs if --epochs says so",
    )
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        type=_path,
        help="start from the weights of a finished run; without --preset and --model, "
        "the model is the one of that run",
    )
    _add_number(
        parser,
        "--devices",
        least=1,
        help="number of GPUs, or of logical CPUs where there is no GPU (default 1)",
    )
    _add_import(parser)


def _add_evaluate(subparsers: Any) -> None:
    groups = catalogue.metric_groups()
    parser = _add_for_run(
        subparsers,
        "evaluate",
        "commands.evaluate",
        "measure a model on its test images and write the numbers to metrics.json",
        examples="""
            mvae-tf evaluate runs/digits
            mvae-tf evaluate runs/digits --metrics likelihood --num-samples 1000
        """,
    )
    parser.add_argument(
        "--metrics",
        metavar="GROUP",
        nargs="+",
        choices=groups,
        help=f"groups of numbers to measure: {', '.join(groups)} (default: all that "
        "the model and the data have, except classification, component_classification "
        "and scores, which take long)",
    )
    parser.add_argument(
        "--classifier",
        choices=("inception", "data"),
        default="inception",
        help="classifier behind the scores: InceptionV3 of Keras, which is downloaded, "
        "or a small network trained on the data of the run (default inception)",
    )
    _add_number(
        parser,
        "--num-samples",
        least=1,
        default=100,
        help="importance samples per image (default 100)",
    )


def _add_audit(subparsers: Any) -> None:
    parser = _add_for_run(
        subparsers,
        "audit",
        "commands.audit",
        "check that the bound, the KL and the likelihood of a run are in the order "
        "that mathematics demands",
    )
    _add_number(
        parser,
        "--num-images",
        least=1,
        default=100,
        help="number of test images, from the first on (default 100)",
    )
    _add_number(
        parser,
        "--num-samples",
        least=1,
        default=1000,
        help="draws of the latents of each image (default 1000)",
    )


def _add_generate(subparsers: Any) -> None:
    parser = _add_for_run(
        subparsers,
        "generate",
        "commands.generate",
        "draw images from the prior of the model",
        examples="""
            mvae-tf generate runs/digits --num 64 --to samples.png
            mvae-tf generate runs/digits --num 1000 --seed 0 --to samples.npz
            mvae-tf generate runs/digits --num 64 --sampler gaussian_mixture \\
                --to better.png
        """,
    )
    _add_number(parser, "--num", least=1, required=True, help="number of images")
    parser.add_argument(
        "--label", metavar="L", type=int, help="label, for a conditional model"
    )
    _add_component(parser)
    _add_number(
        parser,
        "--seed",
        help="the same N draws the same images (default: different ones each time)",
    )
    _add_sampler(parser)
    _add_file(parser)


def _add_reconstruct(subparsers: Any) -> None:
    parser = _add_for_run(
        subparsers,
        "reconstruct",
        "commands.reconstruct",
        "reconstruct test images and place the originals beside them",
    )
    _add_number(
        parser,
        "--num",
        least=1,
        default=16,
        help="number of test images, from the first on (default 16)",
    )
    _add_component(parser)
    _add_number(
        parser,
        "--seed",
        help="draw the latents with this seed (default: use the posterior means)",
    )
    _add_file(parser)


def _add_interpolate(subparsers: Any) -> None:
    parser = _add_for_run(
        subparsers,
        "interpolate",
        "commands.interpolate",
        "draw the way from one test image to another through the latent space",
    )
    _add_number(
        parser,
        "--steps",
        least=2,
        default=12,
        help="number of frames in each row (default 12)",
    )
    for name, default in (("first", [0, 1, 2, 3]), ("second", [4, 5, 6, 7])):
        parser.add_argument(
            f"--{name}",
            metavar="I",
            type=int,
            nargs="+",
            default=default,
            help=f"indices of the test images at the {name} end of each row (default "
            f"{' '.join(map(str, default))})",
        )
    _add_file(parser)


def _add_export(subparsers: Any) -> None:
    parser = _add_for_run(
        subparsers,
        "export",
        "commands.export",
        "write the model in the form that TensorFlow Serving, LiteRT or ONNX loads",
    )
    parser.add_argument(
        "--to",
        metavar="BASE",
        type=_path,
        required=True,
        help="folder that holds the versions of the model",
    )
    _add_number(
        parser,
        "--version",
        help="number of the version (default: one more than the highest)",
    )
    _add_sampler(parser)
    parser.add_argument(
        "--format",
        choices=("saved_model", "litert", "onnx"),
        default="saved_model",
        help="saved_model; or litert or onnx for one file per signature, without "
        "`generate` (default saved_model)",
    )


def _add_report(subparsers: Any) -> None:
    _add_for_run(
        subparsers,
        "report",
        "commands.report",
        "draw the figures of a run and write its report.html",
    )


def _add_reproduce(subparsers: Any) -> None:
    parser = _add(
        subparsers,
        "reproduce",
        "commands.reproduce",
        "make tables and figures of the papers: train, measure, compare, draw",
        examples="""
            mvae-tf reproduce list
            mvae-tf reproduce mvae-table-6 --scale smoke --data npz:mnist.npz \\
                --output results
            mvae-tf reproduce mvae-table-4 --data mnist=npz:mnist.npz \\
                --data cifar10=npz:cifar10.npz --output results
            mvae-tf reproduce mvae-table-6 --scale full --runs runs --output results
        """,
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="names of tables and figures; `list` lists all of them",
    )
    parser.add_argument(
        "--scale",
        choices=("smoke", "reduced", "full"),
        default="reduced",
        help="smoke: a few steps, to see that everything works; reduced: hours on two "
        "CPU cores; full: the paper's protocol (default reduced)",
    )
    parser.add_argument(
        "--data",
        metavar="[NAME=]SOURCE",
        action="append",
        default=[],
        help="where a data set of the papers comes from, such as "
        "cifar10=npz:cifar10.npz, see `mvae-tf list datasets`; NAME= may be left out "
        "where only one data set is needed; may be given again",
    )
    _add_number(
        parser,
        "--seeds",
        least=1,
        default=1,
        help="runs of each row, with seeds 0 to N - 1: tables then have the mean and "
        "the standard deviation (default 1)",
    )
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=_path,
        action="append",
        default=[],
        help="folder of runs that `train` made, here or elsewhere, to use instead of "
        "training; it is only read; may be given again",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=_path,
        help="folder of all results; what it holds already is not made again",
    )


# === What commands share ===


def _add(
    subparsers: Any, name: str, command: str, summary: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        subparsers: what `add_subparsers` returned.
        name: name of the command.
        command: module of `mvae_tf.cli` and function in it, "module.function".
        summary: what the command does.
        examples: command lines, shown at the end of `--help`.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples
        and f"examples:{textwrap.indent(textwrap.dedent(examples), '  ')}",
        formatter_class=_Formatter,
    )
    parser.set_defaults(command=command.split("."), parser=parser)
    return parser


def _add_for_run(subparsers: Any, *arguments: Any, **options: Any) -> Any:
    """Adds a command that takes a finished run."""
    parser = _add(subparsers, *arguments, **options)
    parser.add_argument(
        "run", metavar="RUN", type=_path, help="folder of a finished run"
    )
    _add_import(parser)
    return parser


def _add_import(parser: argparse.ArgumentParser) -> None:
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


def _add_sampler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="draw latents from a sampler in place of the prior: gaussian_mixture or "
        "vamp_prior, fitted to the training images and kept in RUN/samplers, or the "
        "path of such a file",
    )


def _add_number(
    parser: argparse.ArgumentParser,
    name: str,
    least: int | None = None,
    **options: Any,
) -> None:
    """Add an option that takes a whole number, of at least `least`."""

    def number(text: str) -> int:
        with contextlib.suppress(ValueError):
            value = int(text)
            if least is None or value >= least:
                return value
        bound = "" if least is None else f" >= {least}"
        raise argparse.ArgumentTypeError(f"expected a whole number{bound}, got {text}")

    parser.add_argument(name, metavar="N", type=number, **options)


def _add_component(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--component", metavar="I", type=int, help="use component I alone"
    )


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="FILE",
        type=_image_file,
        required=True,
        help="FILE.png for a picture, FILE.npz for arrays",
    )


def _path(text: str) -> Path:
    """A path, in which ~ stands for the home directory."""
    return Path(text).expanduser()


def _python_file(text: str) -> Path:
    path = _path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a Python file, got {text!r}")
    return path.absolute()


def _image_file(text: str) -> Path:
    path = _path(text)
    if path.suffix.lower() not in (".png", ".npz"):
        raise argparse.ArgumentTypeError(f"expected FILE.png or FILE.npz, got {text!r}")
    return path


# === Messages ===


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the line breaks of the examples, but fills the description."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width)


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line that names what was probably meant."""

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


def _unrecognized(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What to say about words that no option takes."""
    known: Iterable[str] = parser._option_string_actions
    word = unknown[0].partition("=")[0]
    near = difflib.get_close_matches(word, known, 1) if word.startswith("-") else []
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"Unrecognized arguments: {' '.join(unknown)}.{hint}"
