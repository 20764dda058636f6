"""Package metadata; `requirements.txt` holds the tested, pinned set."""

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "mvae_tf/version.py").read_text("utf-8"), re.M
).group(1)
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = SETTINGS["tool"]["mvae_tf"]["repository"].rstrip("/")

DOCS = ["django-static-mathjax", "furo", "myst-nb", "sphinx>=9"]


def long_description():
    """Return the README for other sites: no pictures, links absolute or as text."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"^!\[.*?\]\((?!https?:).*?\)\n\n", "", text, flags=re.M)
    link = rf"[\1]({REPOSITORY}/blob/main/\2)" if REPOSITORY else r"\1"
    return re.sub(r"\[([^\]]*)\]\((?!https?:)([^)]*)\)", link, text)


def addresses():
    """Return the links of the package that exist."""
    if not REPOSITORY:
        return {}
    return {
        "Source": REPOSITORY,
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    }


setup(
    name="mvae-tf",
    version=VERSION,
    description="Mixtures of variational autoencoders for TensorFlow 2 and Keras 3",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="The mvae_tf contributors",
    url=REPOSITORY or None,
    project_urls=addresses(),
    keywords=[
        "deep learning",
        "generative model",
        "keras",
        "mixture model",
        "tensorflow",
        "unsupervised learning",
        "variational autoencoder",
    ],
    license="Apache-2.0",
    packages=find_packages(include=["mvae_tf", "mvae_tf.*"]),
    # With this, an editable install puts a path on `sys.path`. Otherwise Python that is
    # started beside the repository's folder `mvae_tf` would import that folder.
    package_dir={"": "."},
    package_data={"mvae_tf": ["py.typed"]},
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
        "pillow>=10.1",
        "scikit-learn",
    ],
    extras_require={
        "docs": DOCS,
        "test": [
            *DOCS,
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
        ],
    },
    entry_points={"console_scripts": ["mvae-tf = mvae_tf.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Typing :: Typed",
    ],
)
