"""The start of the package: without TensorFlow's messages, or without TensorFlow.

`import mvae_tf` imports TensorFlow, which takes seconds and writes lines to stderr
although nothing is wrong. This module keeps those lines back. It also tells
`mvae_tf/__init__.py` when the command line starts, because `--help`, `list` and error
messages must not wait for TensorFlow. `TF_CPP_MIN_LOG_LEVEL=0` in the environment shows
all lines.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

__all__ = ["import_tensorflow", "starts_command_line"]

# What TensorFlow writes while it is imported although nothing is wrong: messages of
# level I (information) and W (warning), in the formats of its last releases, the two
# lines that go with them, and a complaint about CUDA's plugins, which are found twice.
_HARMLESS = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:|"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] |"
    rb"WARNING: All log messages before absl::InitializeLog\(\)|"
    rb"To enable the following instructions: |"
    rb".*Unable to register cu(DNN|BLAS|FFT) factory: "
)


def starts_command_line() -> bool:
    """Return whether Python is about to run `python -m mvae_tf` or `mvae-tf`.

    Both import the package before they import the command line itself, `mvae_tf.cli`.
    """
    if "mvae_tf.cli" in sys.modules or not getattr(sys, "argv", None):
        return False
    if sys.argv[0] == "-m":
        # Python puts "-m" there while it looks for the module that the option names.
        return sys.orig_argv[-len(sys.argv)] in ("mvae_tf", "-mmvae_tf")
    return Path(sys.argv[0]).name in ("mvae-tf", "mvae-tf.exe")


def import_tensorflow() -> None:
    """Import TensorFlow without the messages in which it says that nothing is wrong.

    Everything else that any thread writes to stderr meanwhile appears when the import
    has ended or failed.

    Raises:
        ImportError: the environment sets another backend for Keras.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ImportError(
            f"Expected the Keras backend tensorflow, got KERAS_BACKEND={backend}."
        )
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if level == "0" or "tensorflow" in sys.modules:
        return
    # TensorFlow's C++ code writes to the file descriptor, not to `sys.stderr`.
    with tempfile.TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            held_back.seek(0)
            lines = [line for line in held_back if not _HARMLESS.match(line)]
            os.write(stderr, b"".join(lines))
            os.close(stderr)
