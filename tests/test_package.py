"""The package: what its distributions hold and what its metadata say."""

import ast
import email
import graphlib
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_readme import copy_project

ROOT = Path(__file__).parent.parent
BUILD = (
    "import setuptools.build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Paths of a source distribution and of a wheel, made in a copy of the project."""
    project = tmp_path_factory.mktemp("package") / "project"
    copy_project(project)
    (project / "dist").mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD], cwd=project, check=True, capture_output=True
    )
    return next(project.glob("dist/*.tar.gz")), next(project.glob("dist/*.whl"))


def test_the_source_distribution_holds_what_its_tests_need(distributions, tmp_path):
    with tarfile.open(distributions[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    tracked = [
        path.relative_to(ROOT)
        for folder in ("mvae_tf", "tests", "scripts", "notebooks", "docs", ".github")
        for path in ROOT.joinpath(folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}
    ]
    generated = re.compile(r"docs/(_build|reference|.*_generated|tutorials/.*ipynb)")
    missing = [
        str(path)
        for path in tracked
        if not (unpacked / path).exists() and not generated.match(str(path))
    ]
    assert not missing
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_storage.py", "tests/test_contributing.py"],
        cwd=unpacked,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_editable_install_is_found_beside_the_repository(tmp_path):
    project = tmp_path / "mvae_tf"  # A namespace package, for Python beside it.
    copy_project(project)
    build = f"import setuptools.build_meta as b; b.build_editable({str(tmp_path)!r})"
    subprocess.run(
        [sys.executable, "-c", build], cwd=project, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if "dist-info" not in name]
        assert path.endswith(".pth")
        assert Path(archive.read(path).decode().strip()) == project


def test_the_wheel_is_typed_and_describes_itself(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith("/METADATA")]
        message = email.message_from_bytes(archive.read(metadata))
    assert "mvae_tf/py.typed" in names
    assert not [name for name in names if not name.startswith(("mvae_tf", "mvae_tf-"))]
    assert message["Author"]
    assert message["Keywords"]
    text = message.get_payload()
    assert text.startswith("# mvae_tf")
    # A page elsewhere has neither our pictures nor our files.
    assert not re.findall(r"\]\((?!https?:)", text)


def test_no_module_imports_itself_in_a_circle():
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted((ROOT / "mvae_tf").rglob("*.py"))
    }
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    found.add(module if module in files else node.module)
        graph[name] = (found & files.keys()) - {name}
    assert "mvae_tf.parts.masks" in graph["mvae_tf.models.mvae"]
    # Raises CycleError, with the modules of the circle.
    graphlib.TopologicalSorter(graph).prepare()
