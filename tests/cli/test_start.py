"""How the command line and the package start: what they import and what they print."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "numpy", "sklearn", "matplotlib"}
SCRIPT = "import sys\nfrom mvae_tf.cli import main\nsys.exit(main())\n"


def start(arguments, as_script=None):
    """Ended process of the command line, and the modules that it has imported."""
    program = [as_script] if as_script else ["-m", "mvae_tf"]
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *program, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    lines = result.stderr.splitlines()
    modules = {line.split("|")[-1].strip() for line in lines if "import time:" in line}
    result.stderr = "".join(f"{x}\n" for x in lines if "import time:" not in x)
    assert "argparse" in modules
    return result, modules


QUICK = [
    (["--help"], 0),
    (["--version"], 0),
    (["list"], 0),
    (["list", "models"], 0),
    (["list", "presets", "mvae", "mnist"], 0),
    (["list", "datasets"], 0),
    (["list", "networks"], 0),
    (["list", "likelihoods"], 0),
    (["list", "masks"], 0),
    (["list", "metrics"], 0),
    (["list", "settings", "mask"], 0),
    (["show", "mvae-gs-mnist"], 0),
    (["train", "--help"], 0),
    (["evaluate", "--help"], 0),
    ([], 2),
    (["trian"], 2),
    (["list", "preset"], 2),
    (["train", "--modl=vae", "--output=run"], 2),
    (["train", "--model=MVAE", "--output=run"], 2),
    (["train", "--preset=mvae", "--output=run"], 2),
    (["train", "--model=vae", "--epochs=x", "--output=run"], 2),
    (["train", "--model=vae", "--batch-size=0", "--output=run"], 2),
    (["train", "--model=vae", "--data=mnits", "--output=run"], 2),
    (["train", "--model=vae", "--data=no.npz", "--output=run"], 2),
    (["train", "--model=vae", "--set=latent_dm=3", "--output=run"], 2),
    (["train", "--preset=mvae-gs-mnist", "--set=mask.temp=3", "--output=run"], 2),
    (["train", "--model=vae", "--set=batch_size=0", "--output=run"], 2),
    (["train", "--model=vae", "--set=latent_dim=x", "--output=run"], 2),
    (["train", "--model=vae", "--set=latent_dim", "--output=run"], 2),
    (["reproduce", "mvae-tabel-6", "--output=results"], 2),
    (["reproduce", "mvae-table-6"], 2),
    (["evaluate", "nowhere"], 2),
    (["evaluate", "nowhere", "--metrics=fid"], 2),
    (["generate", "nowhere", "--num=1", "--to=a.jpg"], 2),
    (["show", "nowhere"], 2),
]


@pytest.mark.parametrize(("arguments", "status"), QUICK, ids=lambda v: str(v)[:40])
def test_help_lists_and_mistakes_do_without_tensorflow(arguments, status):
    result, modules = start(arguments)
    assert result.returncode == status
    # The sources of data read files by NumPy.
    lists_data = arguments in (
        ["list"],
        ["list", "datasets"],
        ["list", "settings", "mask"],
    ) or any(word.startswith(("--data=", "--set=")) for word in arguments)
    assert not modules & (HEAVY - {"numpy"} if lists_data else HEAVY)
    if status == 0:
        assert result.stdout
        assert not result.stderr
    else:
        assert not result.stdout
        assert result.stderr.startswith("mvae-tf: error: ")
        assert result.stderr.count("\n") == 1


def test_the_installed_script_does_without_tensorflow(tmp_path):
    script = tmp_path / "mvae-tf"
    script.write_text(SCRIPT)
    result, modules = start(["list", "models"], as_script=str(script))
    assert result.returncode == 0
    assert not modules & HEAVY


def test_a_pipe_that_is_closed_is_no_error():
    command = f"{sys.executable} -m mvae_tf list presets | head -n 1; exit $PIPESTATUS"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=100
    )
    assert result.stdout.startswith("name")
    assert not result.stderr


REACHABLE = """
audit callbacks data divergences evaluation figures independence likelihoods masks
mixing models networks optimizers presets priors reproduce runs training
""".split()

PROGRAM = f"""
import json, sys
import tensorflow, keras
before = set(sys.modules)
import mvae_tf
own = [name for name in ("matplotlib", "sklearn") if name in set(sys.modules) - before]
registered = keras.saving.get_registered_object("mvae_tf>MVAE").__name__
kinds = {{name: type(getattr(mvae_tf, name)).__name__ for name in {REACHABLE}}}
import mvae_tf.networks, mvae_tf.audit
from mvae_tf.likelihoods import Bernoulli
calls = [callable(x) for x in (mvae_tf.create, mvae_tf.load, mvae_tf.export)]
print(json.dumps([own, registered, kinds, calls]))
"""


def test_importing_the_package_makes_every_documented_name_reachable():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    own, registered, kinds, calls = json.loads(result.stdout.splitlines()[-1])
    # TensorFlow may import these itself where they are installed; the package does not.
    assert own == []
    assert registered == "MVAE"
    assert set(kinds.values()) == {"module"}
    assert all(calls)


QUIET = """
import os, sys
os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
import mvae_tf
print("stderr is still open", file=sys.stderr)
"""


def test_importing_the_package_prints_nothing():
    result = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, timeout=300
    )
    assert result.stderr == "stderr is still open\n"


FAILING = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print("W0000 00:00:1 harmless", file=sys.stderr)
            print("E0000 00:00:1 a real error", file=sys.stderr, flush=True)
            raise ImportError("a broken installation")
sys.meta_path.insert(0, Finder())
import mvae_tf
"""


def test_errors_of_the_import_are_not_hidden():
    result = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 1
    assert "ImportError: a broken installation" in result.stderr
    assert "E0000 00:00:1 a real error" in result.stderr
    assert not re.search("harmless$", result.stderr, re.M)
