"""Settings and fixtures that all tests share."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Without it, every look at TFDS waits for a metadata server of Google Cloud.
os.environ.setdefault("NO_GCE_CHECK", "true")

import pytest


@pytest.fixture(autouse=True)
def no_op_determinism_afterwards():
    """Switch op determinism off, which a run leaves on and XLA cannot be used with."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()


@pytest.fixture(scope="session")
def real_data():
    """Folder of real data files, named by MVAE_TF_TEST_DATA."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MVAE_TF_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set MVAE_TF_TEST_DATA)")
    return folder
