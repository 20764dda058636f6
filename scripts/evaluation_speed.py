"""What evaluation and sampling cost, beside the matrix products that they need.

`python scripts/benchmark.py --models evaluation` measures it and prints the table.
"""

import atexit
import importlib.util
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from mvae_tf.figures import save_grid
from mvae_tf.models import VAE, VampVAE

__all__ = ["TABLE", "contenders"]

# What is measured, what it is compared with, and the unit of both times.
TABLE = (
    ("log_likelihood", "products of log_likelihood", "image"),
    ("log_likelihood, VampPrior", "products of VampPrior", "image"),
    ("log_likelihood", "pythae get_nll, 100 at once", "image"),
    ("log_likelihood", "pythae get_nll, all at once", "image"),
    ("log_likelihood, VampPrior", "pythae VampPrior get_nll", "image"),
    ("encode", "products of encode", "60,000 images"),
    ("2,000 tiles", None, "picture"),
    ("20,000 tiles", None, "picture"),
    ("PixelCNN generate", "784 passes of PixelCNN", "image"),
)


class Work:
    """A contender of `benchmark.py`: a block is one call of a function.

    Args:
        function: without arguments, waits for its results.
        parts: number of units of work that it does.
    """

    def __init__(self, function, parts=1):
        self.function = function
        self.parts = parts

    def run(self, steps):
        """Return seconds per unit, and processor cores used, over `steps` calls."""
        start, processor_start = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.function()
        seconds = time.perf_counter() - start
        cores = (time.process_time() - processor_start) / seconds
        return seconds / (steps * self.parts), cores


def contenders(latent_dim: int, quick: bool = False) -> dict[str, Work]:
    """Make the contenders of `TABLE`; those of pythae only where it is installed.

    Args:
        latent_dim: Z of the fully connected networks.
        quick: whether to make the work a hundredth of what the table says.
    """
    less = 100 if quick else 1
    draws, num = 1000 // (10 if quick else 1), 64
    random = np.random.default_rng(0)
    images = random.random((60_000 // less, 784), np.float32)
    few = images[:num]
    sizes = {"input_shape": (784,), "latent_dim": latent_dim}
    vae, vamp = VAE(**sizes), VampVAE(network="mlp", num_pseudo_inputs=500, **sizes)
    decoder = kernels(vae.sub_decoder, vae.mix_decoder)
    decode = product_chain(decoder, 50 * num)
    density = product_chain([tf.zeros([2 * latent_dim, 500], tf.float64)], 50 * num)
    calls = draws // 50

    def both():
        decode()
        return density()

    work = {
        "products of log_likelihood": Work(lambda: repeat(decode, calls), num),
        "log_likelihood": Work(lambda: vae.log_likelihood(few, draws).numpy(), num),
        "products of VampPrior": Work(lambda: repeat(both, calls), num),
        "log_likelihood, VampPrior": Work(
            lambda: vamp.log_likelihood(few, draws).numpy(), num
        ),
        "encode": Work(lambda: vae.encode(images)["mean"].numpy()),
    }
    encode = product_chain(kernels(vae.encoder), 1000)
    work["products of encode"] = Work(lambda: repeat(encode, len(images) // 1000 or 1))
    work |= pixel_work(1 if quick else 4) | grid_work(random, less)
    if importlib.util.find_spec("pythae"):
        from pythae_vae import likelihoods

        for name, function in likelihoods(latent_dim, few[:1], draws).items():
            work[name] = Work(function)
    return work


def pixel_work(num):
    """Images of a PixelCNN decoder, and as many whole passes as they have pixels."""
    model = VAE((28, 28, 1), latent_dim=16, network="pixel")
    z, x = tf.zeros([num, 1, 16]), tf.zeros([num, 28, 28, 1])
    one_pass = tf.function(lambda: model.decode_outputs(z, tf.ones([num, 1]), x=x))
    # A tenth of the passes, as a tenth of the images.
    passes = Work(lambda: repeat(one_pass, 78), num * 78 / 784)
    generate = Work(lambda: model.generate(num, seed=0).numpy(), num)
    return {"784 passes of PixelCNN": passes, "PixelCNN generate": generate}


def grid_work(random, less):
    """Pictures of many tiles."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    work = {}
    for num in (2_000, 20_000):
        tiles = random.random((num // less, 28, 28, 1), np.float32)
        path = folder / f"{num}.png"
        work[f"{num:,} tiles"] = Work(
            lambda tiles=tiles, path=path: save_grid(tiles, path)
        )
    return work


def kernels(*networks):
    """Kernels `[I, O]` of the fully connected layers of networks of one component."""
    variables = [v for network in networks for v in network.trainable_variables]
    return [tf.squeeze(v.value, 0) for v in variables if v.name == "kernel"]


def product_chain(matrices, rows):
    """Return a function that multiplies `rows` rows by all matrices, as a graph."""
    inputs = tf.random.uniform([rows, matrices[0].shape[0]], dtype=matrices[0].dtype)

    @tf.function(autograph=False)
    def multiply(values):
        for matrix in matrices:
            values = tf.matmul(values, matrix)
        return values

    return lambda: multiply(inputs)


def repeat(function, times):
    """Call a function several times, and wait for the last result."""
    for _ in range(times):
        result = function()
    result.numpy()
