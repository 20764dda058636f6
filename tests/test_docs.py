"""Documentation: it builds without warnings, opens without a network, its code runs."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mvae_tf import models
from mvae_tf.cli import parser as cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_SPEC = importlib.util.spec_from_file_location("docstrings", DOCS / "docstrings.py")
docstrings = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(docstrings)

PAGES = sorted(
    path
    for folder in (".", "models", "how-to", "design")
    for path in DOCS.joinpath(folder).glob("*.md")
)
TEXTS = {str(path.relative_to(DOCS)): path.read_text("utf-8") for path in PAGES}
PYTHON = {
    name: blocks
    for name, text in TEXTS.items()
    if (blocks := re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
}
COMMANDS = [
    command
    for text in TEXTS.values()
    for command in re.findall(r"^python -m mvae_tf (.+)$", text, re.M)
]


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for block in PYTHON[page]:
        shorter = re.sub(r"\bepochs=\d+", "epochs=1", block)
        exec(compile(shorter, page, "exec"), namespace)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_a_command_of_a_page_is_understood(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "free_bits_vae.py").touch()  # a file for --import
    cli.make_parser().parse_args(shlex.split(command, comments=True))


def test_every_model_has_a_page_with_its_equations():
    for name in models.names():
        text = TEXTS[f"models/{name}.md"]
        assert "$$" in text, name
        assert f"_generated/{name}.md" in text, name


# === The site ===


def _build(folder, *options, **environment):
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fail-on-warning", "-q"]
    done = subprocess.run(
        [*command, "--keep-going", *options, str(DOCS), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    _build(folder, "-D", "nb_execution_mode=off")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_site_builds_and_needs_no_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    assert (site / "_static/mathjax/tex-svg.js").stat().st_size > 1e6
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="(.*?)"', text)
        loaded += re.findall(
            r'<link[^>]*rel="(?:stylesheet|icon)"[^>]*href="(.*?)"', text
        )
        distant = [url for url in loaded if re.match(r"(https?:)?//", url)]
        assert not distant, (page.name, distant)
        missing = [
            url
            for url in loaded
            if not url.startswith("data:")
            and not (page.parent / url.split("?")[0]).exists()
        ]
        assert not missing, (page.name, missing)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pages_of_models_and_the_reference_are_filled(site):
    mvae = (site / "models/mvae.html").read_text("utf-8")
    assert "\\[" in mvae
    assert "mvae-gs-mnist" in mvae
    assert "mvae-table-6" in mvae
    reference = (site / "reference/mvae_tf.models.html").read_text("utf-8")
    for name in ("MVAE", "BaseVAE.encode", "BaseVAE.log_likelihood"):
        assert f'id="mvae_tf.models.{name}"' in reference


@pytest.mark.extra
@pytest.mark.timeout(1800)
def test_the_site_builds_with_its_notebooks_executed(tmp_path):
    cache = f"nb_execution_cache_path={tmp_path / 'cache'}"
    _build(tmp_path / "site", "-D", cache, MVAE_TF_FAST="1")
    for page in (tmp_path / "site/tutorials").glob("*.html"):
        if page.stem != "index":
            text = page.read_text("utf-8")
            assert re.search(r'<img[^>]*src="\.\./_images/', text), page.stem


# === Docstrings ===


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("KL of q(z | x), a * b.", "KL of q(z \\| x), a \\* b."),
        ("`Part`s, as `x_` says.", "``Part``\\ s, as ``x_`` says."),
        ("Code `over\ntwo` lines *.", "Code ``over\ntwo`` lines \\*."),
        ("Minimises\n\n    a *\n    b,", "Minimises\n\n::\n\n        a *\n        b,"),
        ("Args:\n    **kwargs: all *.", "Args:\n    **kwargs: all \\*."),
    ],
)
def test_docstrings_become_restructured_text(docstring, expected):
    assert "\n".join(docstrings.restructured(docstring.split("\n"))) == expected


def test_escaping_keeps_every_docstring_of_the_package():
    # What is escaped or quoted comes back when the marks are taken away again.
    for name in models.names():
        docstring = models.registry.get(name).__doc__
        made = "\n".join(docstrings.restructured(docstring.split("\n")))
        plain = re.sub(r"\\\s|[\\`]|^::$", "", made, flags=re.M)
        words = re.sub(r"[\\`]", "", docstring).split()
        assert plain.split() == words, name
