"""The options of the command line, one function per command.

Nothing here imports TensorFlow, so that `--help` and mistakes are answered at once. The
option `command` names a module of `mvae_tf.cli` and the function in it that carries the
command out. The module is imported only when all options are valid.
"""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from mvae_tf import presets
from mvae_tf.cli import catalogue
from mvae_tf.cli.options import (
    Parser,
    add_command,
    add_component,
    add_file,
    add_for_run,
    add_import,
    add_number,
    add_sampler,
    as_path,
    unrecognized,
)
from mvae_tf.config import Training
from mvae_tf.parts.part import choice
from mvae_tf.version import __version__

__all__ = ["make_parser", "parse"]

# Kinds of names that `mvae-tf list` lists.
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


# Form of the names of tables and figures. The list of all names needs TensorFlow.
_EXPERIMENT = re.compile("(mvae|m-vae|gmmp-vae|cp-vae|cgm)-(table|figure)-[a-z0-9]+")
_EXPERIMENTS = "those that `mvae-tf reproduce list` shows, such as mvae-table-1"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options of a command line.

    Args:
        arguments: list of str, the words after the program's name; None takes those of
            the process.

    Returns:
        The options. One of them, `command`, is a list of the names of the module and
        the function that carry the command out.

    Raises:
        SystemExit: after `--help` and `--version`; after a mistake, with status 2 and
            one line on stderr.
    """
    parser = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(unrecognized(unknown, options.parser))
    try:
        _check(options)
    except (OSError, ValueError) as error:
        options.parser.error(str(error))
    return options


def _check(options: argparse.Namespace) -> None:
    """Find those mistakes in the options that can be found without TensorFlow."""
    for path in (getattr(options, "run", None), getattr(options, "init_from", None)):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"Expected a run in {path}, got no such folder.")
    if options.command == ["train", "train"]:
        if options.preset:
            presets.get(options.preset)
        elif options.model and not options.imports:
            choice(options.model, catalogue.models(), "model")
        elif not (options.model or options.resume or options.init_from):
            raise ValueError("Expected --preset NAME or --model NAME, got neither.")
        if options.data and not options.imports:
            catalogue.check_dataset(options.data)
        model = presets.get(options.preset).model if options.preset else options.model
        if options.set and model and not options.imports:
            catalogue.check_settings(options.set, model)
    if options.command == ["reproduce", "reproduce"] and options.names != ["list"]:
        for name in options.names:
            if not _EXPERIMENT.fullmatch(name):
                choice(name, [], "table or figure", _EXPERIMENTS)
        if options.output is None:
            raise ValueError("Expected --output DIR, got none.")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = Parser(
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
    parser = add_command(
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
    parser = add_command(
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
    parser = add_command(
        subparsers,
        "train",
        "train.train",
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
    add_number(parser, "--epochs", least=1, help="passes over the training images")
    add_number(parser, "--batch-size", least=1, help="images per step")
    add_number(
        parser,
        "--limit",
        least=1,
        help="use only the first N images of each part of the data",
    )
    add_number(
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
        type=as_path,
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
        type=as_path,
        help="start from the weights of a finished run; without --preset and --model, "
        "the model is the one of that run",
    )
    add_number(
        parser,
        "--devices",
        least=1,
        help="number of GPUs, or of logical CPUs where there is no GPU (default 1)",
    )
    add_import(parser)


def _add_evaluate(subparsers: Any) -> None:
    groups = catalogue.metric_groups()
    parser = add_for_run(
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
    add_number(
        parser,
        "--num-samples",
        least=1,
        default=100,
        help="importance samples per image (default 100)",
    )


def _add_audit(subparsers: Any) -> None:
    parser = add_for_run(
        subparsers,
        "audit",
        "commands.audit",
        "check that the bound, the KL and the likelihood of a run are in the order "
        "that mathematics demands",
    )
    add_number(
        parser,
        "--num-images",
        least=1,
        default=100,
        help="number of test images, from the first on (default 100)",
    )
    add_number(
        parser,
        "--num-samples",
        least=1,
        default=1000,
        help="draws of the latents of each image (default 1000)",
    )


def _add_generate(subparsers: Any) -> None:
    parser = add_for_run(
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
    add_number(parser, "--num", least=1, required=True, help="number of images")
    parser.add_argument(
        "--label", metavar="L", type=int, help="label, for a conditional model"
    )
    add_component(parser)
    add_number(
        parser,
        "--seed",
        help="the same N draws the same images (default: different ones each time)",
    )
    add_sampler(parser)
    add_file(parser)


def _add_reconstruct(subparsers: Any) -> None:
    parser = add_for_run(
        subparsers,
        "reconstruct",
        "commands.reconstruct",
        "reconstruct test images and place the originals beside them",
    )
    add_number(
        parser,
        "--num",
        least=1,
        default=16,
        help="number of test images, from the first on (default 16)",
    )
    add_component(parser)
    add_number(
        parser,
        "--seed",
        help="draw the latents with this seed (default: use the posterior means)",
    )
    add_file(parser)


def _add_interpolate(subparsers: Any) -> None:
    parser = add_for_run(
        subparsers,
        "interpolate",
        "commands.interpolate",
        "draw the way from one test image to another through the latent space",
    )
    add_number(
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
    add_file(parser)


def _add_export(subparsers: Any) -> None:
    parser = add_for_run(
        subparsers,
        "export",
        "commands.export",
        "write the model in the form that TensorFlow Serving, LiteRT or ONNX loads",
    )
    parser.add_argument(
        "--to",
        metavar="BASE",
        type=as_path,
        required=True,
        help="folder that holds the versions of the model",
    )
    add_number(
        parser,
        "--version",
        least=1,
        help="number of the version (default: one more than the highest)",
    )
    add_sampler(parser)
    parser.add_argument(
        "--format",
        choices=("saved_model", "litert", "onnx"),
        default="saved_model",
        help="saved_model; or litert or onnx for one file per signature, without "
        "`generate` (default saved_model)",
    )


def _add_report(subparsers: Any) -> None:
    add_for_run(
        subparsers,
        "report",
        "commands.report",
        "draw the figures of a run and write its report.html",
    )


def _add_reproduce(subparsers: Any) -> None:
    parser = add_command(
        subparsers,
        "reproduce",
        "reproduce.reproduce",
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
    add_number(
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
        type=as_path,
        action="append",
        default=[],
        help="folder of runs that `train` made, here or elsewhere, to use instead of "
        "training; it is only read; may be given again",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=as_path,
        help="folder of all results; what it holds already is not made again",
    )
