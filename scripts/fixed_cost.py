"""What a step and a start cost beside the products of the networks.

The steps are those of tiny models, whose products take next to no time, beside an
autoencoder of their size in plain Keras. Processor time is what to compare on a machine
that does other work as well.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import naive_mvae
import numpy as np

from mvae_tf.models import MVAE, VAE
from mvae_tf.optimizers import FusedAdam

__all__ = ["STARTS", "Process", "models", "operations", "print_starts", "print_steps"]

BATCH_SIZE = 64
TINY = {
    "input_shape": (8, 8, 1),
    "latent_dim": 4,
    "network": {"name": "mlp", "hidden": 32},
}
MLP = {"input_shape": (784,), "latent_dim": 50}
AUTOENCODER = "autoencoder in Keras"

# === Steps ===


def models(images):
    """Return the tiny models by name, with arguments of `compile` and batches of each.

    Args:
        images: `[N, B, 8, 8, 1]`.
    """
    layers = keras.layers
    autoencoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(32, "elu"),
            layers.Dense(32, "tanh"),
            layers.Dense(8),
            layers.Dense(32, "tanh"),
            layers.Dense(32, "elu"),
            layers.Dense(64, "sigmoid"),
            layers.Reshape((8, 8, 1)),
        ]
    )
    keras_arguments = {"optimizer": keras.optimizers.Adam(1e-3)}
    networks = naive_mvae.mlp_networks(2, 4, pixels=64, hidden=32)
    return {
        AUTOENCODER: (
            autoencoder,
            keras_arguments | {"loss": "binary_crossentropy"},
            (images, images),
        ),
        "vae": (VAE(**TINY), {"optimizer": FusedAdam(1e-3)}, images),
        "mvae, K = 2": (
            MVAE(num_components=2, **TINY),
            {"optimizer": FusedAdam(1e-3)},
            images,
        ),
        "naive MVAE, K = 2": (
            naive_mvae.NaiveMVAE(networks, 4),
            {"optimizer": keras.optimizers.Adam(1e-3)},
            images.reshape(*images.shape[:2], -1),
        ),
    }


def operations(function):
    """Count the operations of a traced function, those of its branches included.

    Returns:
        The number of all, and of those that compute: neither constants nor inputs.
    """
    graph = function.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    for branch in graph.as_graph_def().library.function:
        kinds += [node.op for node in branch.node_def]
    return len(kinds), sum(kind not in ("Const", "Placeholder") for kind in kinds)


def print_steps(blocks, numbers):
    """Print the time of each kind of step, and its ratio to the autoencoder's.

    Args:
        blocks: what `benchmark.measure` returns.
        numbers: dict from a name to what `operations` returned for its step.
    """
    base = blocks[AUTOENCODER]
    print(f"{'':<22}{'operations':>11}{'compute':>9}", end="")
    print(f"{'ms':>8}{'of a core':>10}  ratios of both")
    for name, values in blocks.items():
        wall, cores = values.T
        found, computing = numbers.get(name, ("", ""))
        columns = [f"{found:>11}{computing:>9}"]
        columns += [f"{1e3 * np.median(wall):>8.2f}"]
        columns += [f"{1e3 * np.median(wall * cores):>10.2f}"]
        ratios = (wall / base[:, 0], wall * cores / np.prod(base, axis=1))
        for found in ratios:
            low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
            columns += [f"  {middle:.2f} [{low:.2f} {high:.2f}]"]
        print(f"{name:<22}{''.join(columns)}")


# === Starts ===

_TIMED = """
import time
{before}
wall, processor = time.perf_counter(), time.process_time()
{timed}
print(time.perf_counter() - wall, time.process_time() - processor)
"""


class Process:
    """A contender of the benchmark that is timed in a new process.

    Args:
        timed: Python code.
        before: Python code that runs before the clock starts.
    """

    def __init__(self, timed, before=""):
        self.code = _TIMED.format(timed=timed, before=before)

    def run(self, steps):
        """Return the seconds of one process, and processor cores used."""
        here = Path(__file__).resolve().parent
        paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
        answer = subprocess.run(
            [sys.executable, "-c", self.code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        wall, processor = map(float, answer.stdout.split())
        return wall, processor / wall


def first_step(name):
    """Make a model on the MNIST networks, and train it on one batch through `fit`."""
    images = np.random.default_rng(0).random((128, 784), np.float32)
    if name == "vae":
        model, arguments = VAE(**MLP), {"optimizer": FusedAdam(1e-3)}
    elif name == "mvae":
        model = MVAE(num_components=6, **MLP)
        arguments = {"optimizer": FusedAdam(1e-3)}
    elif name == "plain_vae":
        model = naive_mvae.PlainVAE(50)
        arguments = {"optimizer": "adam", "loss": model.binary_error}
    else:
        model = naive_mvae.NaiveMVAE(naive_mvae.mlp_networks(6, 50), 50)
        arguments = {"optimizer": naive_mvae.adam()}
    model.compile(**arguments)
    targets = (images,) if name == "plain_vae" else ()
    model.fit(images, *targets, batch_size=128, verbose=0)


def _first(name):
    return Process(f"fixed_cost.first_step({name!r})", "import fixed_cost")


# What starts, and what it is compared with.
STARTS = {
    "import TensorFlow and TFP": Process("import tensorflow, tensorflow_probability"),
    "import mvae_tf": Process("import mvae_tf"),
    "first step, VAE in Keras": _first("plain_vae"),
    "first step, vae": _first("vae"),
    "first step, naive MVAE": _first("naive_mvae"),
    "first step, mvae": _first("mvae"),
}


def print_starts(blocks):
    """Print the seconds of each start beside those of the start above it."""
    names = list(blocks)
    print(f"{'':<28}{'s':>7}{'of a core':>11}")
    for base, name in zip(names[::2], names[1::2], strict=True):
        for key in (base, name):
            wall, cores = blocks[key].T
            print(f"{key:<28}{np.median(wall):>7.2f}{np.median(wall * cores):>11.2f}")
        of_core = [np.prod(blocks[key], axis=1) for key in (base, name)]
        more, times = of_core[1] - of_core[0], of_core[1] / of_core[0]
        print(f"{'':<28}{np.median(more):+.2f} s of a core, x {np.median(times):.2f}")
