"""Checks and times training on a GPU, in about ten minutes, and prints Markdown.

- Correctness: three training steps of some models on the GPU and on the CPU, from the
  same weights and the same noise; the largest relative difference of the loss and of a
  weight. TensorFloat-32 is off for this part.
- Step times of MVAE for several K beside the naive form with one sub-model for each
  component, with and without XLA, in float32 and in mixed bfloat16.
- The input pipeline's share: the images per second that `mvae_tf.data` delivers beside
  those that a step consumes.

Usage: python scripts/gpu_check.py [--data mnist.npz] [--quick]
The output can be pasted into docs/BENCHMARK.md. Without a GPU, the script says so and
ends with status 1; `--device CPU:0` tries the script itself.
"""

import argparse
import sys
import time
from pathlib import Path

import benchmark as bench
import keras
import naive_mvae
import numpy as np
import tensorflow as tf

import mvae_tf
from mvae_tf.models import MVAE
from mvae_tf.optimizers import FusedAdam

CHECKED = {
    "vae": {},
    "mvae": {"num_components": 6},
    "m_vae": {"num_components": 4},
    "cp_vae": {"num_components": 10},
    "gmmp_vae": {"num_components": 2, "num_pseudo_inputs": 50},
    "hvae": {},
}


def three_steps(name: str, device: str, images: np.ndarray) -> tuple:
    """Return losses `[3]` and weights of a model after three steps on a device."""
    with tf.device(device):
        model = mvae_tf.create(name, input_shape=(784,), **CHECKED[name])
        # A large epsilon keeps Adam from turning a rounded zero into a whole step.
        model.compile(FusedAdam(1e-3, epsilon=1e-3))
        history = [model.train_on_batch(images, return_dict=True) for _ in range(3)]
        losses = [float(logs["loss"]) for logs in history]
        return np.array(losses), [v.numpy() for v in model.trainable_variables]


def print_correctness(device: str, images: np.ndarray) -> None:
    """Print a row for each model: differences between the device and the CPU."""
    print("\n| model | largest difference of the loss | of a weight |\n|---|---|---|")
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for name in CHECKED:
        (loss, weights), (expected, reference) = (
            three_steps(name, where, images) for where in (device, "CPU:0")
        )
        of_loss = np.max(np.abs(loss - expected) / np.abs(expected))
        of_weight = max(
            np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-12)
            for a, b in zip(weights, reference, strict=True)
        )
        print(f"| `{name}` | {of_loss:.1e} | {of_weight:.1e} |", flush=True)
    tf.config.experimental.enable_tensor_float_32_execution(True)


def contenders(k: int, batches: np.ndarray, steps: int) -> dict:
    """Make the forms of one MVAE of MLPs, on the current device."""
    latent_dim = bench.MLP["latent_dim"]

    def stacked(jit_compile=False, **arguments):
        model = MVAE(num_components=k, **bench.MLP, **arguments)
        return bench.Contender(
            model,
            batches,
            optimizer=FusedAdam(1e-3),
            steps_per_execution=steps,
            jit_compile=jit_compile,
        )

    naive = naive_mvae.NaiveMVAE(naive_mvae.mlp_networks(k, latent_dim), latent_dim)
    return {
        f"naive K={k}": bench.Contender(
            naive, batches, optimizer=naive_mvae.adam(), steps_per_execution=steps
        ),
        f"stacked K={k}": stacked(),
        f"XLA K={k}": stacked(jit_compile=True),
        f"bfloat16 K={k}": stacked(dtype="mixed_bfloat16"),
    }


def print_times(options: argparse.Namespace, batches: np.ndarray) -> float:
    """Print the step times for each K; return the seconds of the fastest step."""
    fastest = float("inf")
    print("\n| form | ms per step | to naive | images/s |\n|---|---|---|---|")
    for k in options.components:
        with tf.device(options.device):
            models = contenders(k, batches, options.steps_per_execution)
            blocks = bench.measure(models, options.rounds, options.steps)
        for name, values in blocks.items():
            seconds = float(np.median(values[:, 0]))
            fastest = min(fastest, seconds)
            ratio = bench.ratio(blocks, name, f"naive K={k}")
            rate = batches.shape[1] / seconds
            print(
                f"| {name} | {1e3 * seconds:.2f} | {ratio} | {rate:.0f} |", flush=True
            )
        keras.backend.clear_session()
    return fastest


def print_pipeline(options: argparse.Namespace, fastest: float) -> None:
    """Print the images per second of the input pipeline and of the fastest step."""
    source = "digits" if options.data is None else f"npz:{options.data}"
    splits = mvae_tf.data.load(source, batch_size=128)
    dataset, num = splits.train_from(0), options.steps * 4
    for _ in dataset.take(num):
        pass
    start = time.perf_counter()
    for _ in dataset.take(num):
        pass
    rate = 128 * num / (time.perf_counter() - start)
    print(
        f"\nThe input pipeline of `{splits.name}` delivers {rate:.0f} images/s; the "
        f"fastest step consumes {128 / fastest:.0f}."
    )


def main(arguments: list[str] | None = None) -> int:
    """Check and time the device; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="GPU:0", help="TensorFlow's name of the device")
    add("--components", nargs="+", type=int, default=[1, 4, 6, 10, 16])
    add("--rounds", type=int, default=9, help="blocks of each form")
    add("--steps", type=int, default=60, help="steps of a block")
    add("--steps-per-execution", type=int, default=20)
    add("--data", type=Path, help=".npz whose x_train are 28 x 28 images")
    add("--quick", action="store_true", help="a short try of the script itself")
    options = parser.parse_args(arguments)
    if options.quick:
        options.components, options.rounds = [2], 2
        options.steps, options.steps_per_execution = 4, 2
    if options.device.startswith("GPU") and not tf.config.list_physical_devices("GPU"):
        print("gpu_check: error: TensorFlow finds no GPU here.", file=sys.stderr)
        return 1
    tf.get_logger().setLevel("ERROR")
    print(
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"mvae_tf {mvae_tf.__version__}, {_name(options.device)}"
    )
    batches = bench.digits(options.data)
    print_correctness(options.device, batches[0])
    print_pipeline(options, print_times(options, batches))
    return 0


def _name(device: str) -> str:
    """Return the name of the hardware, if TensorFlow tells it."""
    for found in tf.config.list_physical_devices(device.partition(":")[0]):
        details = tf.config.experimental.get_device_details(found)
        return details.get("device_name", device)
    return device


if __name__ == "__main__":
    sys.exit(main())
