"""The processes and the devices that a run is spread over.

Several processes train one model where `TF_CONFIG` names them, in TensorFlow's own
convention:

    {"cluster": {"worker": ["host1:2222", "host2:2222"]},
     "task": {"type": "worker", "index": 0}}

The environments of the processes differ in the index only. The chief (the task "chief",
or else worker 0) is the only one that writes. All of them read the run folder, which
lies on a file system that they share.
"""

import contextlib
import dataclasses
import json
import os
import platform
from collections.abc import Iterator

import tensorflow as tf

__all__ = [
    "ALONE",
    "Worker",
    "check_agreement",
    "device_name",
    "make_strategy",
    "naming_lost_workers",
    "wait_for_all",
]


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train a model together.

    Attributes:
        index: int, number of this process among them, 0 for the chief.
        count: int, number of processes.
    """

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    @classmethod
    def of_environment(cls) -> "Worker":
        """Read from `TF_CONFIG` which worker this process is.

        Returns:
            The worker; `ALONE` where `TF_CONFIG` is not set.

        Raises:
            ValueError: `TF_CONFIG` does not have the form that TensorFlow reads, or
                names tasks that take no part in synchronous training.
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


def device_name(strategy: tf.distribute.Strategy) -> str:
    """Name the device that a run is trained on, and say how many there are."""
    count = strategy.num_replicas_in_sync
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"{count} x {details.get('device_name', 'GPU')}"
    cores = f"{os.cpu_count()} cores of {platform.machine()}"
    return f"CPU, {cores}" + (f", as {count} devices" if count > 1 else "")


def make_strategy(devices: int, worker: Worker = ALONE) -> tf.distribute.Strategy:
    """Make a strategy over GPUs where there are any, else over logical CPUs.

    Args:
        devices: int, number of devices of this process.
        worker: `Worker`, this process among those that train together. If there are
            several, TensorFlow must not have run an operation yet.

    Raises:
        ValueError: there are too few devices, or TensorFlow has run an operation.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if worker.count > 1:
        return _strategy_of_workers(devices, gpus)
    if devices == 1:
        return tf.distribute.get_strategy()
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        # This fails if TensorFlow has started; then it has the devices counted below.
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
            f"TensorFlow does in a process, got: {error}"
        ) from error


def check_agreement(strategy: tf.distribute.Strategy, step: int) -> None:
    """Check that every worker starts from the same step.

    Args:
        strategy: `tf.distribute.Strategy` of all workers.
        step: int, number of training steps that this worker finds done.

    Raises:
        ValueError: the steps differ, because the workers do not share one run folder.
    """
    steps = strategy.gather(tf.constant([step], tf.int64), axis=0).numpy()
    if len(set(steps.tolist())) > 1:
        raise ValueError(
            "Expected a run folder that all workers share, got checkpoints of steps "
            f"{', '.join(map(str, steps.tolist()))}."
        )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Wait until every worker has called this function.

    Args:
        strategy: `tf.distribute.Strategy` of all workers.
    """
    strategy.reduce("SUM", tf.constant(1.0), axis=None)


@contextlib.contextmanager
def naming_lost_workers(worker: Worker) -> Iterator[None]:
    """Turn TensorFlow's error about a lost worker into one line, within a context.

    Args:
        worker: `Worker`, this process among those that train together.

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
