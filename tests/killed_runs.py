"""Training in processes that are killed. Importing this module starts nothing.

The processes are forked from one that has imported TensorFlow and not used it, so that
each starts at once.
"""

import multiprocessing
import os
import signal
import time

import keras
import numpy as np

from mvae_tf.config import RunConfig, Training
from mvae_tf.runs import progress, training

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mvae_tf.training", "sklearn.datasets"])

# 100 images: 4 steps an epoch, the last of which is smaller.
CONFIG = RunConfig(
    "mvae",
    {"latent_dim": 2, "num_components": 2, "network": {"name": "mlp", "hidden": 8}},
    {"source": "digits", "limit": 100},
    Training(epochs=3, batch_size=32, checkpoint_every=3, warmup_epochs=3),
    seed=3,
)


def leave_out_what_follows_training():
    """Keeps a run to its training: no evaluation, no figures, no summaries."""
    training.evaluate = lambda *arguments, **options: {}
    training._write_report = lambda output: (output / "report.html").write_text("-")
    progress.MixtureSummaries = lambda *arguments: keras.callbacks.Callback()


def flip_a_byte(path):
    """Damages a file in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def start(folder, config, kill_at=None, slow=0.0):
    """Process that trains, or resumes, in `folder`.

    It dies before its rename number `kill_at`, counted from 1, or half way through the
    writing of a checkpoint when `kill_at` is "checkpoint". `slow` is a pause in seconds
    after every step.
    """
    process = CONTEXT.Process(target=_train, args=(folder, config, kill_at, slow))
    process.start()
    return process


def _train(folder, config, kill_at, slow):
    leave_out_what_follows_training()
    if kill_at == "checkpoint":
        _die_in_checkpoint()
    elif kill_at is not None:
        _die_before_rename(kill_at)
    if slow:
        _slow_down(slow)
    resume = (folder / "config.json").exists()
    training.train(config, folder, resume=resume, verbose=0)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _die_before_rename(number):
    rename, renames = os.replace, 0

    def replace(*paths):
        nonlocal renames
        renames += 1
        if renames == number:
            _die()
        rename(*paths)

    os.replace = replace


def _die_in_checkpoint():
    def savez(path, **arrays):
        path.write_bytes(b"half a checkpoint")
        _die()

    np.savez = savez


def _slow_down(seconds):
    end_of_batch = progress.Progress.on_train_batch_end

    def on_train_batch_end(*arguments, **options):
        end_of_batch(*arguments, **options)
        time.sleep(seconds)

    progress.Progress.on_train_batch_end = on_train_batch_end
