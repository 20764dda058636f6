"""Package metadata; `requirements.txt` holds the tested, pinned set."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "mvae_tf/version.py").read_text("utf-8"), re.M
).group(1)

setup(
    name="mvae-tf",
    version=VERSION,
    description="Mixtures of variational autoencoders for TensorFlow 2 and Keras 3",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mvae_tf", "mvae_tf.*"]),
    python_requires=">=3.11",
    # The floors are what Colab has installed, so that nothing is replaced there.
    install_requires=[
        "tensorflow>=2.20",
        "keras>=3.13",
        "tensorflow-probability[tf]>=0.25.0",
        "tensorflow-datasets>=4.9.8",
        "importlib_resources",
        "tensorboard",
        "numpy",
        "matplotlib",
        "scikit-learn",
    ],
    extras_require={
        "test": [
            "hypothesis",
            "ipykernel",
            "jupytext",
            "nbclient",
            "nbformat",
            "mypy",
            "psutil",
            "pytest>=8",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "tensorflow-serving-api",
        ]
    },
    entry_points={"console_scripts": ["mvae-tf = mvae_tf.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
