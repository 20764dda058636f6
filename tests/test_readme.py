"""README's Python runs as it stands, and its command lines are understood."""

import re
import shlex
from pathlib import Path

import pytest

from mvae_tf import presets
from mvae_tf.cli import parser as cli

ROOT = Path(__file__).parent.parent
README = ROOT.joinpath("README.md").read_text("utf-8")
COMMANDS = re.findall(r"^python -m mvae_tf (.+)$", README, re.M)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert len(blocks) == 3
    namespace = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["images"].shape == (16, 8, 8, 1)
    assert namespace["frames"].shape[1] == 8
    assert (tmp_path / "mvae.keras").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_understood(command):
    options = cli._parser().parse_args(shlex.split(command))
    name = getattr(options, "preset", None)
    assert name is None or name in presets.names()


def test_files_that_the_readme_names_exist():
    names = re.findall(r"`((?:mvae_tf|scripts|saved_models|docs)/[\w./-]*)`", README)
    links = re.findall(r"\]\(([\w./-]+)\)", README)
    missing = [name for name in names + links if not (ROOT / name).exists()]
    assert not missing
    assert len(COMMANDS) >= 6
