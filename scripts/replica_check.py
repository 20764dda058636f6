"""Largest difference in weights between one device and several, for every model.

Each registered model is trained for two epochs of batches that do not divide (the first
has fewer examples than there are replicas) on one device, on 2 and on 4 replicas of one
process, and by 2 processes as workers that talk over the loopback interface.

    python scripts/replica_check.py [--models NAME ...] [--workers N]
    python scripts/replica_check.py --times

`--times` prints the milliseconds of a step of MVAE instead, once it is compiled.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TINY = {
    "latent_dim": 2,
    "num_components": 3,
    "num_pseudo_inputs": 4,
    "hidden": 8,
    "network": {"name": "mlp", "hidden": 8, "dropout": 0.2},
}
# Examples of each training, and of a batch; the last batch of the second has 5.
SIZES, BATCH = (3, 37), 16


def train(strategy, name):
    """Weights that a training under a strategy ends with."""
    import mvae_tf
    from mvae_tf.models import registry

    known = registry.arguments(registry.get(name))
    tiny = {key: value for key, value in TINY.items() if key in known}
    with strategy.scope():
        model = mvae_tf.create(name, input_shape=(4, 4, 1), **tiny)
        # Adam divides a gradient by its size, which makes whole steps of the rounding
        # of a gradient that is 0.
        model.compile(mvae_tf.optimizers.FusedAdam(1e-2, epsilon=1e-3))
    for size in SIZES:
        x = np.random.default_rng(size).uniform(size=(size, 4, 4, 1))
        x = x.astype("float32")
        model.fit(x, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    return [variable.numpy() for variable in model.trainable_variables]


def milliseconds(strategy):
    """Of a step of MVAE on 128 images of 28 x 28."""
    import mvae_tf

    with strategy.scope():
        model = mvae_tf.create("mvae")
        model.compile(mvae_tf.optimizers.FusedAdam(1e-3))
    steps, batch = 20, 128
    x = np.random.default_rng(0).uniform(size=(steps * batch, 28, 28, 1))
    x = x.astype("float32")
    model.fit(x, batch_size=batch, verbose=0)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.fit(x, batch_size=batch, verbose=0)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times) / steps


def strategies_of_one_process():
    """Strategies of 1, 2 and 4 logical CPUs, by their number."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(cpu, logical)
    strategies = {"1": tf.distribute.get_strategy()}
    for number in (2, 4):
        devices = [f"CPU:{i}" for i in range(number)]
        strategies[str(number)] = tf.distribute.MirroredStrategy(devices)
    return strategies


def devices_of_one_process(names):
    """Weights on 1, 2 and 4 logical CPUs, one after another."""
    strategies = strategies_of_one_process()
    for name in names:
        for label, strategy in strategies.items():
            yield name, label, train(strategy, name)


def one_worker(names):
    """Weights on this worker, which are those of all."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in names:
        yield name, "workers", train(strategy, name)


def print_times(workers):
    """Print the times in this process, as a worker or as one with several devices."""
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        found = milliseconds(tf.distribute.MultiWorkerMirroredStrategy())
        if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0:
            print(f"{workers} workers   {found:6.1f} ms", flush=True)
        return
    for number, strategy in strategies_of_one_process().items():
        print(f"{number} devices   {milliseconds(strategy):6.1f} ms", flush=True)


def free_ports(number):
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run_child(kind, names, folder):
    """Train in this process, and write the weights of each model, once."""
    if kind.startswith("times-"):
        print_times(kind.removeprefix("times-"))
        return
    runs = devices_of_one_process(names) if kind == "devices" else one_worker(names)
    for name, label, weights in runs:
        # All workers have the same weights.
        if kind in ("devices", "worker-0"):
            np.savez(Path(folder) / f"{name}-{label}.npz", *weights)


def main():
    """Print the table."""
    from mvae_tf.models import names

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=names(), help="(default: all)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--times", action="store_true", help="print times instead")
    options = parser.parse_args()
    ports = free_ports(options.workers)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    with tempfile.TemporaryDirectory() as folder:

        def child(kind, **environment):
            kind = f"times-{options.workers}" if options.times else kind
            command = [sys.executable, __file__, "--child", kind, folder]
            return subprocess.Popen(
                [*command, *options.models], env=os.environ | environment
            )

        if child("devices").wait():
            raise SystemExit("The training on several devices failed.")
        workers = []
        for index in range(options.workers):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": cluster, "task": task})
            workers.append(child(f"worker-{index}", TF_CONFIG=config))
        try:
            if any([worker.wait() for worker in workers]):
                raise SystemExit("The training by several workers failed.")
        finally:
            for worker in workers:
                worker.kill()
        if options.times:
            return
        print(f"{'model':12} 2 replicas  4 replicas  {options.workers} workers")
        for name in options.models:
            one, *others = (
                dict(np.load(Path(folder) / f"{name}-{label}.npz"))
                for label in ("1", "2", "4", "workers")
            )
            row = [
                max(np.abs(one[k] - other[k]).max() for k in one) for other in others
            ]
            print(f"{name:12} " + "  ".join(f"{value:10.1e}" for value in row))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[4:], sys.argv[3])
    else:
        main()
