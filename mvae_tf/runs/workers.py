"""The processes and the devices that a run is spread over.

Several processes train one model where `TF_CONFIG` names them, in TensorFlow's own
convention:

    {"cluster": {"worker": ["host1:2222", "host2:2222"]},
     "task": {"type": "worker", "index": 0}}

Each has the same environment but for its index. The chief (the task "chief", or else
worker 0) alone writes; all of them read the run folder, which lies on a file system
that they share.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator

import tensorflow as tf

__all__ = [
    "ALONE",
    "Worker",
    "check_agreement",
    "make_strategy",
    "naming_lost_workers",
    "wait_for_all",
]


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train a model together.

    Attributes:
        index: its place among them, 0 for the chief.
        count: how many there are.
    """

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether it is the one that writes."""
        return self.index == 0

    @classmethod
    def of_environment(cls) -> "Worker":
        """The worker that `TF_CONFIG` says this process is; the only one without it.

        Raises:
            ValueError: `TF_CONFIG` is not as TensorFlow wants it, or names tasks that
                take no part in synchronous training.
        """
        text = os.environ.get("TF_CONFIG")
        if not text:
            return ALONE
        try:
            config = json.loads(text)
            cluster = {job: list(tasks) for job, tasks in config["cluster"].items()}
            task = config["task"]
            job, index = task["type"], int(task["index"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                'Expected TF_CONFIG as {"cluster": {"worker": ["host:port", ...]}, '
                f'"task": {{"type": "worker", "index": 0}}}}, got {text!r}.'
            ) from error
        if not cluster or not set(cluster) <= {"chief", "worker"}:
            raise ValueError(
                "Expected tasks 'worker' and, at most, one 'chief' in TF_CONFIG, got "
                f"{', '.join(map(repr, cluster)) or 'none'}."
            )
        if not 0 <= index < len(cluster.get(job, ())):
            raise ValueError(
                f"Expected the task of TF_CONFIG within its cluster, got {job} {index}."
            )
        if job == "worker":
            index += len(cluster.get("chief", ()))
        return cls(index, sum(map(len, cluster.values())))


ALONE = Worker(0, 1)


def make_strategy(devices: int, worker: Worker = ALONE) -> tf.distribute.Strategy:
    """Strategy over GPUs where there are any, else over logical CPUs.

    Args:
        devices: number of devices of this process.
        worker: this process among those that train together. TensorFlow must not have
            run an operation yet if there are several.

    Raises:
        ValueError: there are fewer devices, or TensorFlow has run operations.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if worker.count > 1:
        return _strategy_of_workers(devices, gpus)
    if devices == 1:
        return tf.distribute.get_strategy()
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        # TensorFlow may have started, with the devices counted below.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * devices
            )
    kind = "GPU" if gpus else "CPU"
    found = len(tf.config.list_logical_devices(kind))
    if found < devices:
        raise ValueError(f"Expected at most {found} devices ({kind}), got {devices}.")
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(devices)])


def _strategy_of_workers(devices, gpus):
    if devices > max(1, len(gpus)):
        raise ValueError(
            f"Expected at most {max(1, len(gpus))} devices for each worker, got "
            f"{devices}."
        )
    try:
        if gpus:
            tf.config.set_visible_devices(gpus[:devices], "GPU")
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "Expected training by several workers to be the first thing that "
            f"TensorFlow does in a process: {error}"
        ) from error


def check_agreement(strategy: tf.distribute.Strategy, step: int) -> None:
    """Checks that every worker starts from the same step.

    Raises:
        ValueError: they do not, for they do not see the same run folder.
    """
    steps = strategy.gather(tf.constant([step], tf.int64), axis=0).numpy()
    if len(set(steps.tolist())) > 1:
        raise ValueError(
            "Expected a run folder that all workers share, got checkpoints of steps "
            f"{', '.join(map(str, steps.tolist()))}."
        )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has called it."""
    strategy.reduce("SUM", tf.constant(1.0), axis=None)


@contextlib.contextmanager
def naming_lost_workers(worker: Worker) -> Iterator[None]:
    """Context that turns what TensorFlow says about a lost worker into one line.

    Raises:
        ConnectionError: another worker has ended.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if worker.count == 1:
            raise
        raise ConnectionError(
            f"another worker has ended, so that worker {worker.index} cannot go on "
            f"({type(error).__name__}): start all of them again, with --resume"
        ) from error
