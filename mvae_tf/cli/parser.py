"""The command line: `mvae-tf`, or `python -m mvae_tf`.

A user's mistake is one line on stderr and exit status 2; 0 means that the result is on
the disk; 130 that Ctrl-C came first.
"""

import argparse
import logging
import sys
from pathlib import Path

from mvae_tf import evaluation
from mvae_tf.cli import commands
from mvae_tf.version import __version__

__all__ = ["main"]


def main(arguments=None):
    """Entry point.

    Args:
        arguments: list of strings; None takes those of the process.

    Returns:
        Exit status.
    """
    options = _parser().parse_args(arguments)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        options.command(options)
    except (ValueError, OSError, FloatingPointError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _interrupted(options)
    return 0


def _fail(error):
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    print(f"mvae-tf: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _interrupted(options):
    hint = ""
    output = getattr(options, "output", None)
    if output is not None and (output / "config.json").exists():
        hint = f"; continue with: mvae-tf train --output {output} --resume"
    print(f"\nmvae-tf: interrupted{hint}", file=sys.stderr)
    return 130


# === The parser ===


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"mvae-tf: error: {message}\n")


def _parser():
    parser = _Parser(
        prog="mvae-tf",
        description="Mixture variational autoencoders: train, look, serve.",
    )
    version = f"%(prog)s {__version__}"
    parser.add_argument("--version", action="version", version=version)
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for add in (
        _add_list,
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


def _add(subparsers, name, function, summary, run=True, **options):
    parser = subparsers.add_parser(name, help=summary, description=summary, **options)
    parser.set_defaults(command=function)
    if run:
        parser.add_argument(
            "run", metavar="RUN", type=Path, help="folder of a finished run"
        )
    return parser


def _add_list(subparsers):
    summary = "names of models, presets and data sets, each with one line"
    parser = _add(subparsers, "list", commands.list_names, summary, run=False)
    kinds = ("models", "presets", "datasets")
    parser.add_argument("kind", nargs="?", choices=kinds, help="only these")


_TRAIN_EXAMPLES = """
examples:
  mvae-tf train --preset mvae-gs-digits --output runs/digits
  mvae-tf train --preset mvae-gs-mnist --data npz:mnist.npz --output runs/mnist
  mvae-tf train --model mvae --data mnist --set data.download=true \\
      --set num_components=4 --set mask.temperature=0.2 --output runs/four
  mvae-tf train --resume --output runs/digits
"""


def _add_train(subparsers):
    summary = "train a model, evaluate it and write its report"
    parser = _add(
        subparsers,
        "train",
        commands.train,
        summary,
        run=False,
        epilog=_TRAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--preset", metavar="NAME", help="see `mvae-tf list presets`")
    what.add_argument("--model", metavar="NAME", help="see `mvae-tf list models`")
    parser.add_argument("--data", metavar="SOURCE", help="see `mvae-tf list datasets`")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the data")
    parser.add_argument("--batch-size", metavar="N", type=int, help="images a step")
    parser.add_argument(
        "--limit", metavar="N", type=int, help="first N images of each part only"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, help="of weights, noise and order (default 0)"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a training setting (learning_rate, warmup_epochs, checkpoint_every, "
        "steps_per_execution, ...), an argument of the model (latent_dim, ...) or of a "
        "part of it (mask.temperature, ...), or of the data (data.image_size, ...); "
        "VALUE is JSON or text; may be given again",
    )
    parser.add_argument(
        "--output", metavar="RUN", type=Path, required=True, help="folder to make"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in RUN, to more epochs if --epochs says so",
    )
    parser.add_argument(
        "--devices",
        metavar="N",
        type=int,
        help="GPUs, or logical CPUs where there is none (default 1)",
    )


def _add_evaluate(subparsers):
    summary = "measure a model on its test images, into metrics.json"
    parser = _add(subparsers, "evaluate", commands.evaluate, summary)
    parser.add_argument(
        "--metrics",
        metavar="GROUP",
        nargs="+",
        choices=evaluation.GROUPS,
        help=f"groups among {', '.join(evaluation.GROUPS)} (default all but "
        "those of classification and scores, which take long)",
    )
    parser.add_argument(
        "--classifier",
        choices=("inception", "data"),
        default="inception",
        help="of the scores: InceptionV3 of Keras, which it downloads, or a small "
        "network trained on the data of the run (default inception)",
    )
    parser.add_argument(
        "--num-samples",
        metavar="N",
        type=int,
        default=100,
        help="importance samples an image (default 100)",
    )


def _add_audit(subparsers):
    summary = "check that bound, KL and likelihood of a run are in order"
    parser = _add(subparsers, "audit", commands.audit, summary)
    parser.add_argument(
        "--num-images",
        metavar="N",
        type=int,
        default=100,
        help="leading test images (default 100)",
    )
    parser.add_argument(
        "--num-samples",
        metavar="N",
        type=int,
        default=1000,
        help="draws of the latents of each image (default 1000)",
    )


def _add_generate(subparsers):
    parser = _add(
        subparsers, "generate", commands.generate, "draw images from the prior"
    )
    parser.add_argument(
        "--num", metavar="N", type=int, required=True, help="number of images"
    )
    parser.add_argument(
        "--label", metavar="L", type=int, help="label, for a conditional model"
    )
    _add_picture_options(parser, seed="the same N draws the same images (default: new)")


def _add_reconstruct(subparsers):
    parser = _add(
        subparsers, "reconstruct", commands.reconstruct, "reconstruct test images"
    )
    parser.add_argument(
        "--num",
        metavar="N",
        type=int,
        default=16,
        help="number of leading test images (default 16)",
    )
    _add_picture_options(parser, seed="draw latents; without it, use posterior means")


def _add_interpolate(subparsers):
    summary = "interpolate between test images"
    parser = _add(subparsers, "interpolate", commands.interpolate, summary)
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=12,
        help="frames of a row (default 12)",
    )
    for name, default in (("first", [0, 1, 2, 3]), ("second", [4, 5, 6, 7])):
        parser.add_argument(
            f"--{name}",
            metavar="I",
            type=int,
            nargs="+",
            default=default,
            help=f"test images of the {name} ends (default {default})",
        )
    _add_file(parser)


def _add_export(subparsers):
    summary = "write the model for TensorFlow Serving"
    parser = _add(subparsers, "export", commands.export, summary)
    parser.add_argument(
        "--to",
        metavar="BASE",
        type=Path,
        required=True,
        help="folder of the versions",
    )
    parser.add_argument(
        "--version",
        metavar="N",
        type=int,
        help="number of the version (default: one more than the highest)",
    )


def _add_report(subparsers):
    summary = "draw the figures of a run and write its report.html"
    _add(subparsers, "report", commands.report, summary)


_REPRODUCE_EXAMPLES = """
examples:
  mvae-tf reproduce list
  mvae-tf reproduce mvae-table-6 --scale smoke --data npz:mnist.npz --output results
  mvae-tf reproduce mvae-table-4 --scale reduced --data mnist=npz:mnist.npz \\
      --data cifar10=npz:cifar10.npz --output results
  mvae-tf reproduce mvae-table-6 --scale full --runs runs --output results
"""


def _add_reproduce(subparsers):
    summary = "make tables and figures of the papers: train, measure, compare, draw"
    parser = _add(
        subparsers,
        "reproduce",
        commands.reproduce,
        summary,
        run=False,
        epilog=_REPRODUCE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="names of tables and figures; `list` shows all",
    )
    parser.add_argument(
        "--scale",
        metavar="SCALE",
        default="reduced",
        help="smoke: a few steps, to see that it works; reduced: hours on two cores; "
        "full: the paper's protocol (default reduced)",
    )
    parser.add_argument(
        "--data",
        metavar="[NAME=]SOURCE",
        action="append",
        default=[],
        help="where a data set of the papers comes from, such as "
        "cifar10=npz:cifar10.npz, see `mvae-tf list datasets`; without NAME=, where "
        "there is but one; may be given again",
    )
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        default=1,
        help="runs of each row, with seeds 0 to N - 1: tables then have the mean and "
        "the standard deviation (default 1)",
    )
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="folder of runs that `train` made, here or elsewhere, to use instead of "
        "training; it is only read; may be given again",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="folder of all results; what it holds already is not made again",
    )


def _add_picture_options(parser, seed):
    parser.add_argument(
        "--component", metavar="I", type=int, help="use component I alone"
    )
    parser.add_argument("--seed", metavar="N", type=int, help=seed)
    _add_file(parser)


def _add_file(parser):
    parser.add_argument(
        "--to",
        metavar="FILE",
        type=Path,
        required=True,
        help="FILE.png for a picture, FILE.npz for arrays",
    )
