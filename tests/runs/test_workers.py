"""Runs of several workers: processes that talk over the loopback interface."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import killed_runs
import numpy as np
import pytest

from mvae_tf.runs import training
from mvae_tf.runs.workers import ALONE, Worker

# === A worker, this file run as a script ===


def main(folder, resume, pause):
    killed_runs.leave_out_what_follows_training()
    if pause:
        killed_runs._slow_down(pause)
    try:
        training.train(killed_runs.CONFIG, folder, resume=resume, verbose=0)
    except OSError as error:
        sys.exit(str(error))


# === The tests ===


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def two_workers(folder, resume=False, pause=0.0):
    """The processes of two workers, which do not outlive the context."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tests = Path(__file__).parents[1]
    path = os.pathsep.join(map(str, (tests.parent, tests)))
    processes = []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(task), "PYTHONPATH": path}
        command = [sys.executable, __file__, folder, json.dumps(resume), str(pause)]
        processes.append(
            subprocess.Popen(
                command, env=os.environ | environment, stderr=subprocess.PIPE
            )
        )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def finish(folder, **options):
    with two_workers(folder, **options) as processes:
        errors = [process.communicate(timeout=300)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors


def checkpoint(folder):
    """Arrays of the newest checkpoint."""
    newest = sorted((folder / "checkpoints").glob("step-*.npz"))[-1]
    with np.load(newest) as file:
        return dict(file)


@pytest.mark.slow
def test_two_workers_train_as_one_device(tmp_path):
    finish(tmp_path / "two")
    alone = killed_runs.start(tmp_path / "one", killed_runs.CONFIG)
    alone.join()
    assert alone.exitcode == 0
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    del one["record"], two["record"]
    assert one.keys() == two.keys()
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, rtol=2e-5, atol=1e-5, err_msg=key)
    for first, second in zip(
        training.read_history(tmp_path / "one"),
        training.read_history(tmp_path / "two"),
        strict=True,
    ):
        assert second == pytest.approx(first, rel=1e-5, abs=1e-5)
    assert training.read_config(tmp_path / "two").workers == 2


@pytest.mark.extra
def test_a_lost_worker_ends_the_other_and_a_resumed_run_ends_the_same(tmp_path):
    finish(tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    with two_workers(folder, pause=0.5) as (chief, other):
        while not list(folder.glob("checkpoints/step-*.npz")):
            assert chief.poll() is None
            time.sleep(0.1)
        other.kill()
        _, error = chief.communicate(timeout=60)
    assert chief.returncode == 1
    assert (
        error.decode().strip().splitlines()[-1].startswith("another worker has ended")
    )
    finish(folder, resume=True)
    killed, undisturbed = checkpoint(folder), checkpoint(tmp_path / "undisturbed")
    assert killed.keys() == undisturbed.keys()
    for key, value in undisturbed.items():
        np.testing.assert_array_equal(killed[key], value, err_msg=key)


WORKERS = {"worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", ALONE),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 1}}, Worker(1, 2)),
        (
            {
                "cluster": WORKERS | {"chief": ["c:1"]},
                "task": {"type": "worker", "index": 1},
            },
            Worker(2, 3),
        ),
        (
            {
                "cluster": WORKERS | {"chief": ["c:1"]},
                "task": {"type": "chief", "index": 0},
            },
            Worker(0, 3),
        ),
    ],
)
def test_worker_of_the_environment(config, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config) if config else "")
    assert Worker.of_environment() == expected
    assert expected.is_chief == (expected.index == 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("no json", "Expected TF_CONFIG as"),
        ("[]", "Expected TF_CONFIG as"),
        ('{"cluster": {"worker": ["a:1"]}}', "Expected TF_CONFIG as"),
        (
            json.dumps(
                {
                    "cluster": WORKERS | {"ps": ["c:1"]},
                    "task": {"type": "ps", "index": 0},
                }
            ),
            "Expected tasks 'worker' and, at most, one 'chief' in TF_CONFIG, got",
        ),
        (
            json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 2}}),
            "within its cluster, got worker 2",
        ),
    ],
)
def test_bad_environment_is_refused(config, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=message):
        Worker.of_environment()


def test_a_run_of_workers_is_not_resumed_alone(tmp_path):
    config = dataclasses.replace(killed_runs.CONFIG, workers=2)
    with pytest.raises(ValueError, match="Expected workers = 2, as the run was"):
        config.check_resumed_by(killed_runs.CONFIG)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3]))
