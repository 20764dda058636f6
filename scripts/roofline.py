"""A training step of the MVAE on the MNIST networks, taken apart, beside a roofline.

Each part is run by itself, on tensors of the shapes that it has in the step. What it
would take at best is the greater of its arithmetic at the rate of the best matrix
product and its traffic at the rate at which memory is read and written.
"""

import time
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.noise import BatchNoise, step_seed

__all__ = ["Repeated", "bandwidth", "layers", "parts", "print_roofline"]


@dataclass
class Part:
    """A part of the step.

    Attributes:
        function: that computes it.
        arithmetic: floating point operations of matrix products, 0 without any.
        traffic: bytes that are read and written, each tensor once an operation.
    """

    function: object
    arithmetic: float
    traffic: float


class Repeated:
    """A contender of the benchmark that calls a compiled function."""

    def __init__(self, function):
        self.function = tf.function(function, autograph=False)

    def run(self, steps):
        """Return seconds per call, and processor cores used."""
        start, processor_start = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.function()
        seconds = time.perf_counter() - start
        return seconds / steps, (time.process_time() - processor_start) / seconds


def bandwidth(repetitions=5, numbers=2**25):
    """Measure the bytes per second that adding to a large vector moves."""
    vector = tf.zeros([numbers])
    add = tf.function(lambda: vector + 1.0)
    add()
    best = 0.0
    for _ in range(repetitions):
        start = time.perf_counter()
        add()
        best = max(best, 8 * numbers / (time.perf_counter() - start))
    return best


def layers(model):
    """All dense layers of the networks, in order."""
    networks = (model.encoder, model.sub_decoder, model.mix_decoder)
    return [layer for network in networks for layer in network.layers_in_order]


def parts(model, images):
    """Time the parts of a step of a compiled MVAE.

    Args:
        model: a compiled MVAE of MLPs.
        images: `[B, 784]`, a batch.

    Returns:
        dict from name to `Part`. The last two are the whole step, as a function and
        through `fit`'s own function, and are not parts.
    """
    batch_size, k = len(images), model.num_components
    dense = layers(model)
    images = tf.constant(images)

    def random(*shape):
        return tf.random.stateless_normal(shape, [1, 2])

    inputs = [
        random(layer.kernel.shape[0], batch_size, layer.kernel.shape[1])
        for layer in dense
    ]
    outputs = [
        random(layer.kernel.shape[0], batch_size, layer.kernel.shape[2])
        for layer in dense
    ]
    logits = random(batch_size, images.shape[1])
    z, alpha = random(batch_size, k, model.latent_dim), tf.fill([batch_size, k], 1 / k)
    gradients = [1e-6 * random(*v.shape) for v in model.trainable_variables]
    numbers = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    width = sum(int(np.prod(value.shape)) for value in outputs)
    products = sum(int(np.prod(layer.kernel.shape)) for layer in dense)
    entered = sum(int(np.prod(value.shape)) for value in inputs)

    def multiply():
        found = []
        for layer, x, g in zip(dense, inputs, outputs, strict=True):
            kernel = tf.convert_to_tensor(layer.kernel)
            found.append(tf.reduce_max(tf.matmul(x, kernel)[0, 0]))
            found.append(tf.reduce_max(tf.matmul(x, g, transpose_a=True)[0, 0]))
            found.append(tf.reduce_max(tf.matmul(g, kernel, transpose_b=True)[0, 0]))
        return found

    def activate():
        found = []
        for layer, value in zip(dense, outputs, strict=True):
            bias = tf.convert_to_tensor(layer.bias)
            with tf.GradientTape() as tape:
                tape.watch([value, bias])
                active = layer.activation(value + bias)
            slopes = tape.gradient(active, [value, bias], value)
            found += [tf.reduce_max(s[0, 0]) for s in slopes]
        return found

    def differentiate(function, *values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(*values)
        return tape.gradient(result, values)

    def error():
        return differentiate(
            lambda value: model.likelihood.log_prob(images, value), logits
        )

    def dependence():
        return differentiate(divergences.dhsic, z)

    def draw():
        noise = BatchNoise(step_seed(0, tf.convert_to_tensor(model.step)))
        mask = model.mask.log_sample(tf.constant(-2.0), alpha, noise)

        def latents(mean, alpha):
            weights = model.mixing.log_sample(alpha, noise)
            return noise.normal("z", mean, tf.exp(0.1 * mean)), weights

        return mask, differentiate(latents, z, alpha)

    def norm():
        return tf.linalg.global_norm(gradients)

    def update():
        model.optimizer.apply(gradients, model.trainable_variables)

    return {
        "products": Part(
            multiply, 6 * batch_size * products, 4 * 3 * (numbers + entered + width)
        ),
        "biases and activations": Part(activate, 0, 4 * 8 * width),
        "reconstruction error": Part(error, 0, 4 * 6 * images.shape[0] * 784),
        "dHSIC": Part(
            dependence,
            2 * 2 * k * batch_size**2 * model.latent_dim,
            4 * 8 * k * batch_size**2,
        ),
        "draws": Part(draw, 0, 4 * 6 * batch_size * k * model.latent_dim),
        "norm of the gradients": Part(norm, 0, 4 * numbers),
        "Adam": Part(update, 0, 4 * 7 * numbers),
        "step": Part(lambda: model.train_step(images), 0, 0),
    }


def print_roofline(found, blocks, peak, rate):
    """Print the parts, what is left of the step, and what `fit` adds to it.

    Args:
        found: what `parts` returned.
        blocks: times by name, those of "fit" too.
        peak: floating point operations per second of a matrix product.
        rate: bytes per second of memory.
    """
    print(f"{'part':<26}{'GF':>7}{'MB':>7}{'best, ms':>10}{'ms':>8}{'of the step':>20}")
    step = blocks["step"][:, 0]
    left, best = step.copy(), 0.0

    def row(name, arithmetic, traffic, least, seconds):
        low, middle, high = np.quantile(seconds / step, [0.25, 0.5, 0.75])
        print(
            f"{name:<26}{arithmetic / 1e9:>7.2f}{traffic / 1e6:>7.1f}"
            f"{1e3 * least:>10.2f}{1e3 * np.median(seconds):>8.2f}"
            f"{middle:>8.2f} [{low:.2f} {high:.2f}]"
        )

    for name, part in found.items():
        if name == "step":
            continue
        least = max(part.arithmetic / peak, part.traffic / rate)
        row(name, part.arithmetic, part.traffic, least, blocks[name][:, 0])
        left -= blocks[name][:, 0]
        best += least
    row("logs, guard, copies, waits", 0, 0, 0.0, left)
    row("step", sum(p.arithmetic for p in found.values()), 0, best, step)
    row("host, in fit", 0, 0, 0.0, blocks["fit"][:, 0] - step)
    print(f"Memory: {rate / 1e9:.1f} GB/s")
