"""Measures training speed: the stacked MVAE against one sub-model a component.

All contenders of a group live in one process and train in turn through `model.fit`, a
block of steps each, so that whatever else the machine does falls on all of them.
Ratios are taken within a round; tables show medians, and quartiles in brackets.

Usage: python scripts/benchmark.py [--quick] [--models mlp peers ...] [--json FILE]
docs/BENCHMARK.md says what the columns mean.
"""

import argparse
import json
import os
import time
from pathlib import Path

import evaluation_speed
import fixed_cost
import input_pipelines
import keras
import naive_mvae
import numpy as np
import peers
import roofline
import tensorflow as tf

from mvae_tf import presets
from mvae_tf.models import MVAE, VAE, create
from mvae_tf.optimizers import FusedAdam
from mvae_tf.parts.mixing import DirichletWeights

MLP = fixed_cost.MLP
CONV = {
    "input_shape": (32, 32, 3),
    "latent_dim": 256,
    "network": "conv",
    "likelihood": {"name": "sse", "activation": "tanh"},
}


# === Contenders ===


class Contender:
    """A model that trains a block of steps at a time.

    Args:
        model: `keras.Model`.
        batches: `[N, B, ...]` images, or a `(x, y)` pair of such.
        **arguments: those of `compile`.
    """

    def __init__(self, model, batches, **arguments):
        self.model = model
        self.data = tf.data.Dataset.from_tensor_slices(batches).repeat()
        model.compile(**arguments)

    def run(self, steps):
        """Return seconds per step, and processor cores used, over a block of steps."""
        clock = Clock()
        self.model.fit(
            self.data,
            steps_per_epoch=steps,
            verbose=0,
            shuffle=False,
            callbacks=[clock],
        )
        return clock.seconds / steps, clock.processor_seconds / clock.seconds


class Clock(keras.callbacks.Callback):
    """Time from the first to the last step of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        """Forget the last epoch."""
        self.start = None

    def on_train_batch_begin(self, batch, logs=None):
        """Start with the first step."""
        if self.start is None:
            self.start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        """Stop, for good after the last step."""
        self.seconds = time.perf_counter() - self.start[0]
        self.processor_seconds = time.process_time() - self.start[1]


class WithoutNormal(MVAE):
    """MVAE whose latents are not random."""

    def draw(self, posterior, noise, masked=True):
        drawn = super().draw(posterior, noise, masked)
        return drawn._replace(z=posterior.mean + posterior.stddev)


class WithoutGuard(MVAE):
    """MVAE that applies its gradients unseen."""

    def make_training_state(self, terms):
        """Make what training needs, with a guard that looks at no gradient."""
        super().make_training_state(terms)
        self.guard.judge = lambda bad, loss, gradients, optimizer: (gradients, ~bad)


class WithoutLogs(MVAE):
    """MVAE that logs the loss of the last step alone."""

    def _logs(self, terms, objective, x, healthy):
        return {"loss": tf.reduce_mean(objective)}


class ExpectedWeights(DirichletWeights):
    """Mixing weights that are not random."""

    def log_sample(self, alpha, noise):
        """Log of the expected weights."""
        return tf.math.log(alpha / tf.reduce_sum(alpha, axis=-1, keepdims=True))


class WithoutUpdate(keras.optimizers.SGD):
    """An optimiser that changes nothing."""

    def update_step(self, gradient, variable, learning_rate):
        """Leave the variable as it is."""


# === Arithmetic ===


def mlp_arithmetic(num_components, batch_size):
    """Floating point operations of a step: 3 times those of the forward products."""
    latent_dim = MLP["latent_dim"]
    encoder = 784 * 500 + 500 * 500 + 500 * (2 * latent_dim + 1)
    sub_decoder, mix_decoder = latent_dim * 500, 500 * 500 + 500 * 784
    products = num_components * (encoder + sub_decoder) + mix_decoder
    return 3 * 2 * batch_size * products


def conv_arithmetic(num_components, batch_size):
    """Do what `mlp_arithmetic` does, for the networks of 32 x 32 images."""
    latent_dim = CONV["latent_dim"]
    encoder = 2048 * 1024 + 1024 * (2 * latent_dim + 1)
    channels = 3
    for side, filters in ((16, 64), (8, 128), (4, 256), (2, 512)):
        encoder += side * side * 9 * channels * filters
        channels = filters
    # A transposed convolution multiplies once for each pixel of its input.
    mix_decoder = (8**2 + 16**2 + 16**2 + 32**2) * 9 * 256 * 256
    mix_decoder += 32**2 * 9 * 256 * 3
    sub_decoder = latent_dim * 8 * 8 * 256
    products = num_components * (encoder + sub_decoder) + mix_decoder
    return 3 * 2 * batch_size * products


def peak_rate(repetitions=5):
    """Measure this machine's best rate of float32 matrix products in TF, in flop/s."""
    best = 0.0
    for n in (1024, 2048):
        a = tf.random.normal([n, n])
        product = tf.function(tf.matmul)
        product(a, a)
        for _ in range(repetitions):
            start = time.perf_counter()
            product(a, a).numpy()
            best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


# === Measuring and printing ===


def measure(contenders, rounds, steps):
    """Time blocks of every contender in turn, forwards and backwards by rounds.

    Returns:
        dict from name to an array `[rounds, 2]` of seconds a step and cores used.
    """
    blocks = {name: [] for name in contenders}
    for contender in contenders.values():
        contender.run(steps)
    for i in range(rounds):
        order = list(contenders)
        for name in order if i % 2 == 0 else reversed(order):
            blocks[name].append(contenders[name].run(steps))
    return {name: np.array(values) for name, values in blocks.items()}


def ratio(blocks, name, base):
    """Time of `name` over that of `base`: median and quartiles of the rounds."""
    return quartiles(blocks[name][:, 0] / blocks[base][:, 0])


def quartiles(values):
    """Median and quartiles as text."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.2f} [{low:.2f} {high:.2f}]"


def print_steps(blocks, batch_size, arithmetic, peak):
    """One row a contender; `naive K=k` is the base of the rows of the same K."""
    print(
        f"{'':<14}{'ms':>8}{'images/s':>10}{'to naive':>19}{'of peak':>9}{'cores':>7}"
    )
    for name, values in blocks.items():
        seconds, cores = np.median(values, axis=0)
        k = int(name.rpartition("=")[2])
        share = arithmetic(k, batch_size) / seconds / peak
        print(
            f"{name:<14}{1e3 * seconds:>8.1f}{batch_size / seconds:>10.0f}"
            f"{ratio(blocks, name, f'naive K={k}'):>19}{share:>9.2f}{cores:>7.1f}"
        )


def print_growth(blocks, components, batch_size, arithmetic):
    """Growth of the time with K against growth of the arithmetic."""
    last = components[-1]
    for first in components[:-1]:
        work = arithmetic(last, batch_size) / arithmetic(first, batch_size)
        print(f"From K={first} to K={last}: arithmetic x {work:.2f}, time x", end="")
        for kind in ("naive", "stacked"):
            growth = ratio(blocks, f"{kind} K={last}", f"{kind} K={first}")
            print(f"  {growth} {kind}", end="")
        print()


def print_parts(blocks):
    """Return what the step costs more with each part than without it."""
    whole = blocks["whole"][:, 0]
    print(f"{'whole step':<32}{1e3 * np.median(whole):>8.2f} ms")
    for name, values in blocks.items():
        if name != "whole":
            cost = whole - values[:, 0]
            print(
                f"{name:<32}{1e3 * np.median(cost):>8.2f} ms"
                f"{quartiles(cost / whole):>22} of the step"
            )


def print_evaluation(blocks):
    """Measure the seconds of each work, and its ratio to what it is compared with."""
    for name, base, unit in evaluation_speed.TABLE:
        seconds = f"{np.median(blocks[name][:, 0]):>10.4f} s per {unit}"
        if base is None:
            print(f"{name:<28}{seconds}")
        elif base.startswith("products"):
            print(f"{name:<28}{seconds}; {ratio(blocks, name, base)} of its products")
        elif base in blocks:
            times = ratio(blocks, base, name)
            print(f"{name:<28}{seconds}; {base} takes {times} times as long")
        else:
            print(f"{name:<28}{seconds}; pythae is not installed")


# === Groups ===


class Benchmark:
    """The groups of contenders, each measured by the method of its name.

    Args:
        options: of the command line.
    """

    def __init__(self, options):
        self.options = options
        self.digits = digits(options.data)
        self.batch_size = self.digits.shape[1]
        self.peak = peak_rate()
        self.blocks = {}

    def measure(self, title, contenders, steps):
        """Print the title, then measure."""
        print(f"\n{title}", flush=True)
        self.blocks[title] = measure(contenders, self.options.rounds, steps)
        # Other work on the machine can only hide some of the peak.
        self.peak = max(self.peak, peak_rate())
        return self.blocks[title]

    def train(self, model, optimizer, jit_compile=False):
        """Make a contender on vectors."""
        return Contender(
            model,
            self.digits,
            optimizer=optimizer,
            steps_per_execution=self.options.steps_per_execution,
            jit_compile=jit_compile,
        )

    def naive(self, num_components):
        """Make a contender of the naive MVAE of MLPs."""
        latent_dim = MLP["latent_dim"]
        networks = naive_mvae.mlp_networks(num_components, latent_dim)
        model = naive_mvae.NaiveMVAE(networks, latent_dim)
        return self.train(model, naive_mvae.adam())

    def stacked(self, num_components, cls=MVAE, optimizer=None, **arguments):
        """Make a contender of the library's MVAE of MLPs."""
        model = cls(num_components=num_components, **MLP, **arguments)
        return self.train(model, optimizer or FusedAdam(1e-3))

    def mlp(self):
        """Step time for each K, and its growth."""
        contenders = {}
        for k in self.options.components:
            contenders[f"naive K={k}"] = self.naive(k)
            contenders[f"stacked K={k}"] = self.stacked(k)
        blocks = self.measure("MVAE, MLP", contenders, self.options.steps)
        print_steps(blocks, self.batch_size, mlp_arithmetic, self.peak)
        print_growth(blocks, self.options.components, self.batch_size, mlp_arithmetic)

    def bfloat16(self):
        """Step time in mixed precision against the naive float32 one."""
        k = self.options.main_components
        contenders = {
            f"naive K={k}": self.naive(k),
            f"bfloat16 K={k}": self.stacked(k, dtype="mixed_bfloat16"),
        }
        blocks = self.measure("MVAE, MLP, bfloat16", contenders, self.options.steps)
        print_steps(blocks, self.batch_size, mlp_arithmetic, self.peak)

    def xla(self):
        """Time to the first step, and of later ones, with XLA and without."""
        k = self.options.main_components
        contenders = {}
        for name, cls in {"VAE": VAE, f"MVAE K={k}": MVAE}.items():
            own = {"num_components": k} if cls is MVAE else {}
            for suffix, jit_compile in {"": False, ", XLA": True}.items():
                contenders[name + suffix] = self.train(
                    cls(**MLP, **own), FusedAdam(1e-3), jit_compile
                )
        steps = self.options.steps_per_execution
        first = {}
        for name, contender in contenders.items():
            begun = time.perf_counter()
            contender.run(steps)
            first[name] = time.perf_counter() - begun
        blocks = self.measure("XLA, MLP", contenders, self.options.steps)
        for name in contenders:
            of_plain = ratio(blocks, name, name.removesuffix(", XLA"))
            print(
                f"{name:15} first {steps} steps {first[name]:5.1f} s, "
                f"then {1e3 * np.median(blocks[name][:, 0]):5.1f} ms a step, "
                f"{of_plain} of the one without XLA"
            )

    def parts(self):
        """Cost of the parts of a step."""
        k = self.options.main_components
        expected = ExpectedWeights()
        contenders = {
            "whole": self.stacked(k),
            "dHSIC": self.stacked(k, independence=None),
            "draw of latents": self.stacked(k, WithoutNormal),
            "draw of mixing weights": self.stacked(k, mixing=expected),
            "mask": self.stacked(k, mask=None),
            "all three draws": self.stacked(
                k, WithoutNormal, mixing=expected, mask=None
            ),
            "guard of gradients": self.stacked(k, WithoutGuard),
            "logs": self.stacked(k, WithoutLogs),
            "update": self.stacked(k, optimizer=WithoutUpdate(0.0)),
            "fused Adam for Keras' Adam": self.stacked(k, optimizer=naive_mvae.adam()),
        }
        blocks = self.measure(f"Parts, MLP, K={k}", contenders, self.options.steps)
        print_parts(blocks)

    def fused_adam(self):
        """Make the optimiser of this library."""
        return FusedAdam(1e-3)

    def peers(self):
        """VAEs of this library beside pythae, plain PyTorch and plain Keras."""
        plain = naive_mvae.PlainVAE(MLP["latent_dim"])
        contender = Contender(
            plain,
            (self.digits, self.digits),
            optimizer=keras.optimizers.Adam(1e-3),
            loss=plain.binary_error,
            steps_per_execution=self.options.steps_per_execution,
        )
        peers.peers(self, MLP, contender)

    def roofline(self):
        """Measure the parts of a step beside what they would take at best."""
        import resource  # Windows lacks it.

        def page_faults():
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

        for k in self.options.roofline_components:
            trained = self.stacked(k)
            found = roofline.parts(trained.model, self.digits[0])
            contenders = {
                name: roofline.Repeated(part.function) for name, part in found.items()
            }
            title = f"Roofline, MLP, K={k}"
            contenders["fit"] = trained
            blocks = self.measure(title, contenders, self.options.steps)
            rate = roofline.bandwidth()
            roofline.print_roofline(found, blocks, self.peak, rate)
            before = page_faults()
            trained.run(self.options.steps)
            faults = (page_faults() - before) / self.options.steps
            print(f"Page faults: {faults:.1f} a step, in fit")

    def conv(self):
        """Step time of the convolutional networks for each K."""
        batch_size, latent_dim = 64, CONV["latent_dim"]
        random = np.random.default_rng(0)
        batches = random.random((4, batch_size, *CONV["input_shape"]), np.float32)
        contenders = {}
        for k in self.options.conv_components:
            networks = naive_mvae.conv_networks(k, latent_dim)
            models = {
                "naive": naive_mvae.NaiveMVAE(networks, latent_dim, "sse"),
                "stacked": MVAE(num_components=k, **CONV),
                "bfloat16": MVAE(num_components=k, dtype="mixed_bfloat16", **CONV),
            }
            for name, model in models.items():
                optimizer = naive_mvae.adam() if name == "naive" else FusedAdam(1e-3)
                contender = Contender(model, batches, optimizer=optimizer)
                contenders[f"{name} K={k}"] = contender
        blocks = self.measure("MVAE, conv", contenders, self.options.conv_steps)
        print_steps(blocks, batch_size, conv_arithmetic, self.peak)

    def family(self):
        """Step time of presets of 28 x 28 images beside that of the first."""
        names = self.options.presets
        batches = self.digits[:, : self.options.family_batch]
        contenders = {}
        for name in names:
            preset = presets.get(name)
            model = create(preset.model, input_shape=(784,), **preset.arguments)
            contenders[name] = Contender(
                model,
                batches,
                optimizer=FusedAdam(5e-4),
                steps_per_execution=self.options.steps_per_execution,
            )
        blocks = self.measure("Family, vectors", contenders, self.options.steps)
        for name, values in blocks.items():
            milliseconds = 1e3 * np.median(values[:, 0])
            print(
                f"{name:<36}{milliseconds:>8.1f} ms{ratio(blocks, name, names[0]):>20}"
            )

    def fixed(self):
        """Measure a step beside its products: tiny models beside plain Keras."""
        random, shape = np.random.default_rng(0), fixed_cost.TINY["input_shape"]
        images = random.random((10, fixed_cost.BATCH_SIZE, *shape), np.float32)
        trained, compiled = {}, {}
        for name, (model, arguments, batches) in fixed_cost.models(images).items():
            trained[name] = Contender(model, batches, **arguments)
            trained[name].run(1)
            batch = next(iter(trained[name].data))
            compiled[name] = roofline.Repeated(
                lambda model=model, batch=batch: model.train_step(batch)
            )
        numbers = {k: fixed_cost.operations(v.function) for k, v in compiled.items()}
        by_tens = {
            name: Contender(model, batches, steps_per_execution=10, **arguments)
            for name, (model, arguments, batches) in fixed_cost.models(images).items()
        }
        steps = 5 * self.options.steps
        blocks = self.measure("Compiled steps of tiny models", compiled, steps)
        fixed_cost.print_steps(blocks, numbers)
        blocks = self.measure("fit of tiny models", trained, steps)
        fixed_cost.print_steps(blocks, {})
        title = "fit of tiny models, ten steps in a call"
        blocks = self.measure(title, by_tens, steps)
        fixed_cost.print_steps(blocks, {})

    def start(self):
        """Time import and first steps, each in a process of its own."""
        blocks = self.measure("Starts", fixed_cost.STARTS, 1)
        fixed_cost.print_starts(blocks)

    def input(self):
        """Count the images per second that each kind of data source delivers."""
        quick = self.options.quick
        num = 256 if quick else 8000
        found = input_pipelines.measure(self.options.rounds, num)
        print("\nInput pipelines, batches of 128")
        input_pipelines.print_table(found)
        rates = {name: np.array(values) for name, values in found.items()}
        self.blocks["Input pipelines (images/s and cores)"] = rates

    def evaluation(self):
        """Time importance sampling, encoding, pictures and sampling, and products."""
        works = evaluation_speed.contenders(MLP["latent_dim"], self.options.quick)
        blocks = self.measure("Evaluation and sampling", works, 1)
        print_evaluation(blocks)


GROUPS = ("mlp", "bfloat16", "parts", "roofline", "peers", "conv", "family", "input")
GROUPS += ("evaluation", "xla", "fixed", "start")
# What `--quick` measures unless told otherwise.
MAIN_RATIOS = ("mlp", "bfloat16", "fixed")
FAMILY = (
    "vae-cp-fashion_mnist",
    "mog-vae-k10-cp-fashion_mnist",
    "vamp-vae-k150-cp-fashion_mnist",
    "vamp-vae-k500-cp-fashion_mnist",
    "hvae-cp-fashion_mnist",
    "hvamp-vae-k150-cp-fashion_mnist",
    "cp-vae-k10-fashion_mnist",
    "cp-vae-k150-fashion_mnist",
    "cp-vae-k500-fashion_mnist",
    "indq-vae-k10-fashion_mnist",
    "indp-vae-k10-fashion_mnist",
    "indqp-vae-k10-fashion_mnist",
    "gmmp-vae-mlp-m1-k500-mnist",
    "gmmp-vae-mlp-m3-k500-mnist",
)


def digits(path, batch_size=128, num=10):
    """Make vectors `[num, batch_size, 784]` in [0, 1], random without a file."""
    if path is None:
        shape = (num, batch_size, 784)
        return np.random.default_rng(0).random(shape, np.float32)
    with np.load(path) as arrays:
        images = arrays["x_train"][: num * batch_size]
    return images.reshape(num, batch_size, 784).astype(np.float32) / 255.0


def parse(arguments):
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--models", nargs="+", choices=GROUPS, help="all, unless --quick")
    add("--components", nargs="+", type=int, default=[1, 4, 6, 10, 16])
    add("--conv-components", nargs="+", type=int, default=[1, 4, 6])
    add("--presets", nargs="+", default=FAMILY, help="of the group family")
    add("--family-batch", type=int, default=100, help="images a step of that group")
    add("--main-components", type=int, default=6, help="K of bfloat16 and of parts")
    add("--roofline-components", nargs="+", type=int, default=[6, 10])
    add("--rounds", type=int, default=11, help="blocks of each contender")
    add("--steps", type=int, default=60, help="steps of a block")
    add("--conv-steps", type=int, default=3, help="the same for convolutions")
    add("--steps-per-execution", type=int, default=20)
    add("--data", type=Path, help=".npz whose x_train are 28 x 28 images")
    add("--json", type=Path, help="file for all that was measured")
    add("--quick", action="store_true", help="the main ratios alone")
    options = parser.parse_args(arguments)
    options.models = options.models or (MAIN_RATIOS if options.quick else GROUPS)
    if options.quick:
        options.components, options.rounds, options.steps = [1, 6], 5, 20
        options.presets, options.roofline_components = options.presets[:2], [2]
    return options


def main(arguments=None):
    """Entry point: measures the groups, prints their tables."""
    options = parse(arguments)
    # TensorFlow takes the many models for one that is traced again and again.
    tf.get_logger().setLevel("ERROR")
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")
    benchmark = Benchmark(options)
    for name in options.models:
        getattr(benchmark, name)()
        keras.backend.clear_session()
    print(f"\nBest float32 matrix product: {benchmark.peak / 1e9:.0f} GF/s")
    if options.json:
        found = {
            "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
            "cores": os.cpu_count(),
            "peak_flop_per_second": benchmark.peak,
            "seconds_and_cores": {
                title: {name: values.tolist() for name, values in blocks.items()}
                for title, blocks in benchmark.blocks.items()
            },
        }
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
