"""README: its commands work in the order in which they stand, its links lead somewhere.

The commands run in a copy of the project and an environment of its own, which finds the
packages of this one, so that nothing is downloaded; what trains is made shorter.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import image, label, pixels, write_tfds

from mvae_tf import presets

ROOT = Path(__file__).parent.parent
README = ROOT.joinpath("README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", README, re.M | re.S)
# What is not part of the project: at its root, and anywhere.
LEFT_OUT = {".git", ".venv", "runs", "build", "dist", ".hypothesis"}
LEFT_OUT_ANYWHERE = {"_build", "_generated", "__pycache__", ".ipynb_checkpoints"}

# A line of the README and what takes its place here: (pattern, replacement).
SHORTER = (
    (r"^python3 -m venv \.venv$", "make_environment"),
    (r"^pip install \.$", "pip install -q --no-deps --no-build-isolation ."),
    (r"^bash scripts/quickstart\.sh$", r"\g<0> --epochs 2"),
    (r"^python -m mvae_tf train .*digits.*$", r"\g<0> --epochs 2"),
    (r"^python -m mvae_tf train .*mnist.*$", r"\g<0> --epochs 1 --limit 200"),
    (r"epochs=50\b", "epochs=1"),
)


def copy_project(target):
    """Copies the project, without what was made in it."""

    def left_out(folder, names):
        found = LEFT_OUT_ANYWHERE & {*names}
        return found | LEFT_OUT & {*names} if Path(folder) == ROOT else found

    shutil.copytree(ROOT, target, ignore=left_out)


def _script():
    """One shell script with all blocks; a block of Python becomes a here-document."""
    parts = []
    for language, code in BLOCKS:
        if language == "python":
            code = f"python - <<'END_OF_PYTHON'\n{code}END_OF_PYTHON\n"
        parts.append(code)
    script = "\n".join(parts)
    for pattern, replacement in SHORTER:
        script, count = re.subn(pattern, replacement, script, flags=re.M)
        assert count == 1, f"{pattern} stands {count} times in README.md"
    return script


def _preamble(folder):
    """Shell function that makes the environment, as if the packages were installed."""
    names = ["requirements-test.txt", *sorted(ROOT.glob("requirements*.txt"))]
    texts = [(ROOT / name).read_bytes() for name in [*names, "setup.py"]]
    stamp = hashlib.sha256(b"".join([f"{folder}\n".encode(), *texts])).hexdigest()
    packages = sysconfig.get_path("purelib")
    return f"""set -euo pipefail
make_environment() {{
  "{sys.executable}" -m venv .venv
  echo "{packages}" > "$(echo .venv/lib/python*/site-packages)/packages.pth"
  echo {stamp} > .venv/installed
}}
"""


def _mnist(folder):
    parts = {
        name: {"image": pixels(n, 28, 28, 1), "label": np.arange(n) % 10}
        for name, n in (("train", 12_000), ("test", 200))
    }
    write_tfds(folder, "mnist", "3.0.1", parts, image=image(28, 28, 1), label=label(10))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_commands_of_the_readme_work_in_their_order(tmp_path):
    project = tmp_path / "project"
    copy_project(project)
    _mnist(tmp_path / "tfds")
    script = project / "readme.sh"
    script.write_text(_preamble(project) + _script())
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "MVAE_TF_REQUIREMENTS")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["TFDS_DATA_DIR"] = str(tmp_path / "tfds")
    done = subprocess.run(
        ["bash", "-x", script.name],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Installing requirements" not in done.stdout
    for name in (
        "components.png",
        "samples.png",
        "served/digits/1/saved_model.pb",
        "runs/quickstart/report.html",
        "runs/quickstart/generated.png",
        "runs/digits/report.html",
        "runs/mnist/report.html",
    ):
        assert (project / name).exists(), name
    assert "(64, 4)" in done.stdout
    assert "(64,)" in done.stdout


def test_the_readme_is_short_and_names_what_exists():
    assert len(README.splitlines()) <= 150
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", README)
    files = re.findall(
        r"`(?:bash )?((?:scripts|saved_models|docs)/[\w./-]*\w)`", README
    )
    missing = [name for name in links + files if not (ROOT / name).exists()]
    assert not [name for name in missing if not name.startswith("docs/_build")]
    rows = re.findall(r"^\|.*\| `([\w@-]+)` \| `[\w-]+table", README, re.M)
    assert len(rows) >= 5
    assert set(rows) <= set(presets.names())
