"""Notebooks equal what their text sources make, carry no outputs, and run."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
SOURCES = sorted(ROOT.glob("notebooks/*.py"))
COLAB = "https://colab.research.google.com/github/a/b/blob/main/notebooks/{}.ipynb"

each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def _load_script():
    path = ROOT / "scripts/make_notebooks.py"
    specification = importlib.util.spec_from_file_location("make_notebooks", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _read(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_source_and_a_row_in_the_table():
    names = {path.stem for path in SOURCES}
    assert {path.stem for path in ROOT.glob("notebooks/*.ipynb")} == names
    assert len(names) == 7
    table = ROOT.joinpath("notebooks/README.md").read_text("utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]\(\1\.ipynb\) \|", table, re.M)) == names


@each_notebook
def test_a_notebook_is_what_its_source_makes(source):
    script = _load_script()
    text = source.read_text("utf-8")
    made = script.notebook(text, source.stem, script.repository())
    found = source.with_suffix(".ipynb").read_bytes()
    assert found == made.encode(), "run `python scripts/make_notebooks.py`"


@each_notebook
def test_a_notebook_is_bare_and_installs_once(source):
    notebook = _read(source)
    assert all(not cell.outputs for cell in _code(notebook))
    assert all(cell.execution_count is None for cell in _code(notebook))
    installs = [c.source for c in notebook.cells if "pip install" in c.source]
    assert installs == [notebook.cells[1].source]


@each_notebook
def test_badge_and_address_appear_when_there_is_a_repository(source):
    made = _load_script().notebook
    text = source.read_text("utf-8")
    without, with_address = (
        nbformat.reads(made(text, source.stem, address), as_version=4)
        for address in ("", "https://github.com/a/b")
    )
    link = COLAB.format(source.stem)
    assert link in with_address.cells[0].source
    assert "git+https://github.com/a/b" in with_address.cells[1].source
    assert not [c for c in without.cells if re.search(r"github|colab-badge", c.source)]
    assert without.cells[0].source.split("\n")[0] in with_address.cells[0].source


def test_installing_takes_the_wheel_or_the_checkout_at_hand(tmp_path, monkeypatch):
    cell = _load_script().INSTALL.format(from_where="", address='""')
    code = re.sub(r"%pip install -q (.*)", r"installed.append(f\1)", cell)
    code = code.replace('find_spec("mvae_tf")', 'find_spec("mvae_tf_of_nobody")')
    folder = tmp_path / "checkout" / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with pytest.raises(FileNotFoundError, match="Expected a wheel"):
        exec(code, {"installed": []})
    (tmp_path / "checkout/mvae_tf").mkdir()
    (tmp_path / "checkout/mvae_tf/version.py").touch()
    exec(code, {"installed": (checkout := [])})
    (folder / "mvae_tf-0.1.0-py3-none-any.whl").touch()
    exec(code, {"installed": (wheel := [])})
    assert checkout == [str(tmp_path / "checkout")]
    assert wheel == [str(folder / "mvae_tf-0.1.0-py3-none-any.whl")]


@each_notebook
def test_a_notebook_runs(source, tmp_path, monkeypatch):
    monkeypatch.setenv("MVAE_TF_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = _read(source)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=500, resources=resources).execute()
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    # A figure that does not become a picture is shown by its name alone.
    shown = [o.data for o in outputs if o.output_type == "display_data"]
    assert all("image/png" in data or "text/markdown" in data for data in shown)
    assert any("image/png" in data for data in shown)
