"""A quiet start of the command line.

TensorFlow 2.21 writes lines of its C++ log to stderr while it is imported, whatever
`TF_CPP_MIN_LOG_LEVEL` says. On the command line stderr belongs to the messages of
`mvae-tf`; elsewhere this module does nothing. `TF_CPP_MIN_LOG_LEVEL=0` shows the log.
"""

import os
import sys
from pathlib import Path


def _on_command_line():
    # While Python looks for the module that `-m` names, "-m" stands for the program.
    program = sys.argv[0] if sys.argv else ""
    return program == "-m" or Path(program).stem == "mvae-tf"


def _import_silently():
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


if _on_command_line() and os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0":
    _import_silently()
