"""The page about a run: what it holds, and that it needs nothing else."""

import base64
import dataclasses
import html.parser
import re
import shlex
import warnings

import numpy as np
import pytest

import mvae_tf
from mvae_tf import figures, presets, storage
from mvae_tf.config import RunConfig, Training
from mvae_tf.runs import training
from mvae_tf.runs.report import write_report

VOID = {"meta", "img"}


class Page(html.parser.HTMLParser):
    """Elements and texts of a page; closing tags must match."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.images, self.texts = [], set(), {}, []
        self.rows, self.blocks, self.links, self.ids = [], {}, [], set()
        self.figure = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.ids.update({attributes["id"]} if "id" in attributes else ())
        if tag == "a":
            self.links.append(attributes["href"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "figure":
            self.figure = attributes["id"]
        if tag == "img":
            self.images[self.figure] = attributes
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.open:
            self.blocks[self.open[-1]] = self.blocks.get(self.open[-1], "") + data

    def row(self, first):
        """Cells after the first of the one row that starts so."""
        (row,) = [row for row in self.rows if row[0] == first]
        return row[1:]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


HISTORY = "epoch,loss,kl,val_loss,val_kl\n1,30.5,2.0,31.0,2.5\n2,20.25,3,22.5,3.5\n"
METRICS = {
    "test": {
        "sse": 1.25,
        "sse_sampled": 4.0,
        "selected_components": None,
        "component_usage": [0.25, 0.75],
        "dhsic": [[0.5, 0.125, 0.0625], [0.125, 0.5, 0.25], [0.0625, 0.25, 0.5]],
        "log_likelihood_images": 1000,
    },
    "step": 12,
}


def make_run(folder, model=None, history=HISTORY, metrics=METRICS, **config):
    defaults = {"data": {"source": "digits", "limit": 20}, "seed": 7}
    config = RunConfig(
        "mvae",
        {"num_components": 2, "latent_dim": 3},
        training=Training(epochs=2, batch_size=8),
        versions={"mvae_tf": "1.2.3"},
        **defaults | config,
    )
    storage.write_json(folder / "config.json", config.to_dict())
    if history:
        storage.write_text(folder / "history.csv", history)
    if metrics:
        storage.write_json(folder / "metrics.json", metrics)
    if model is not None:
        save(model, folder)
    return config


def save(model, folder):
    with storage.write(folder / "model.keras") as temporary:
        model.save(temporary)


def make_model(seed=0):
    network = {"name": "mlp", "hidden": 16}
    return mvae_tf.create(
        "mvae", (8, 8, 1), num_components=2, latent_dim=3, network=network, seed=seed
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    make_run(folder, make_model())
    times = {
        "started": "2026-11-20T10:30:00+00:00",
        "updated": "2026-11-20T11:32:10+00:00",
        "training_seconds": 3730.4,
        "device": "CPU, 2 cores",
    }
    storage.write_json(folder / "times.json", times)
    path = write_report(folder)
    assert path == folder / "report.html"
    return folder


def test_page_is_whole_and_on_its_own(run):
    assert storage.verify(run / "report.html")
    page = Page(run / "report.html")
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "base"})
    text = (run / "report.html").read_text(encoding="utf-8")
    without_images = re.sub('src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", text)
    for outside in ("http", "src=", "url(", "@import", "//"):
        assert outside not in without_images


def test_links_lead_to_sections_and_to_files_of_the_run(run):
    page = Page(run / "report.html")
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert set(anchors) <= page.ids
    assert {"test-numbers", "figures", "to-repeat-the-run"} <= set(anchors)
    files = [link for link in page.links if not link.startswith("#")]
    assert {"config.json", "metrics.json", "model.keras", "figures/"} <= set(files)
    for file in files:
        assert (run / file).exists()


def test_lines_that_load_the_run(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    names = {}
    exec(Page(run / "report.html").blocks["code"], names)
    assert names["images"].shape == (16, 8, 8, 1)


def test_facts_of_the_run(run):
    page = Page(run / "report.html")
    (count,) = page.row("parameters")
    model = mvae_tf.load(run)
    sizes = [np.size(variable) for variable in model.trainable_variables]
    assert count == f"{sum(sizes):,}"
    assert page.row("images") == ["20 for training, 20 for validation, 20 for the test"]
    assert page.row("trained on") == ["2026-11-20 10:30:00 UTC"]
    assert page.row("training time") == ["62 min"]
    assert page.row("device") == ["CPU, 2 cores"]


def test_numbers_that_fail_the_audit_are_marked(tmp_path):
    check = {"value": 2.0, "limit": 1.0, "slack": 0.1, "failures": 1, "num_images": 6}
    test = {"elbo": -3.5, "sse": 1.5, "audit": {"elbo": check | {"holds": False}}}
    make_run(tmp_path, metrics={"test": test, "step": 12})
    text = Page(write_report(tmp_path)).text
    assert "-3.5 (!)" in text
    assert "1.5 (!)" not in text
    assert "fail the audit: do not trust them" in text
    test["audit"]["elbo"]["holds"] = True
    make_run(tmp_path, metrics={"test": test, "step": 12})
    assert "(!)" not in Page(write_report(tmp_path)).text


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("nan", "loss is not finite"),
        ("7.2e24", "loss is 7.2e+24"),
        ("inf", "loss is not finite"),
    ],
)
def test_a_diverged_run_says_so(tmp_path, loss, said):
    check = {"value": None, "limit": -1.0, "slack": None, "failures": 0}
    audit = {"elbo": check | {"num_images": 6, "holds": False}}
    test = {"elbo": None, "sse": 1.5, "dhsic": [[1.0, None], [None, 1.0]]}
    history = f"epoch,loss,kl,val_loss,val_kl\n1,{loss},nan,{loss},inf\n"
    model = make_model()
    kernel = model.encoder.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    metrics = {"test": test | {"audit": audit}, "step": 3}
    make_run(tmp_path, model, history, metrics, preset="mvae-gs-mnist")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        page = Page(write_report(tmp_path))
    assert "Careful: the run diverged in epoch 1" in page.text
    assert said in page.text
    assert "1.5 (!) the run diverged" in page.text
    assert "not finite (!) the run diverged" in page.text
    assert "-1 + not finite" in page.text
    # What cannot be drawn is left out, and said.
    assert any("was not drawn" in str(warning.message) for warning in found)
    assert "latents" not in page.images
    assert "curves" in page.images


def test_a_low_effective_sample_size_is_marked(tmp_path):
    test = {"log_likelihood": -90.5, "log_likelihood_ess": 1.62, "sse": 1.5}
    make_run(tmp_path, metrics={"test": test, "step": 3})
    text = Page(write_report(tmp_path)).text
    assert "-90.5 (!) effective sample size of 1.6: likely too low" in text
    assert "1.5 (!)" not in text
    test["log_likelihood_ess"] = 37.0
    make_run(tmp_path, metrics={"test": test, "step": 3})
    assert "(!)" not in Page(write_report(tmp_path)).text


def test_what_must_not_be_compared_is_marked_beside_the_papers_number(tmp_path):
    make_run(tmp_path, preset="mvae-gs-k4-mnist")
    text = Page(write_report(tmp_path)).text
    assert text.count("(!) not comparable, see below") == 2
    for difference in (
        "epochs (2, preset: 100)",
        "data.source (digits, preset: mnist)",
        "data.limit (20, preset: null)",
        "arguments.num_components (2, preset: 4)",
        "batch_size (8, preset: 128)",
    ):
        assert difference in text


def test_a_run_of_a_preset_in_full_is_compared():
    preset = presets.get("mvae-gs-k4-mnist")
    config = preset.config()
    data = config.data | {"source": "npz:/nowhere/mnist.npz", "data_dir": None}
    arguments = config.arguments | {"network": {"name": "mlp", "hidden": 500}}
    arguments |= {"input_shape": [28, 28, 1]}
    config = dataclasses.replace(config, data=data, arguments=arguments)
    assert preset.differences(config, 60_000) == []
    assert preset.differences(config) == []
    fewer = ["training images (9,000, preset: 60,000)"]
    assert preset.differences(config, 9_000) == fewer
    for name in presets.names():
        preset = presets.get(name)
        assert preset.differences(preset.config()) == []


def test_every_figure_is_embedded_with_its_caption(run):
    page = Page(run / "report.html")
    of_mixtures = [n for n in figures.CAPTIONS if n != "samples_by_category"]
    assert list(page.images) == of_mixtures
    for name, attributes in page.images.items():
        kind, _, data = attributes["src"].partition(",")
        assert kind == "data:image/png;base64"
        path = run / "figures" / f"{name}.png"
        assert base64.b64decode(data, validate=True) == path.read_bytes()
        assert attributes["alt"] == figures.DESCRIPTIONS[name]
        assert figures.CAPTIONS[name] in page.text


def test_numbers_have_meanings(run):
    page = Page(run / "report.html")
    value, meaning = page.row("sse")
    assert value == "1.25"
    assert meaning.startswith("squared error summed over an image's pixels")
    assert page.row("selected_components")[0] == "not finite"
    assert page.row("component_usage")[0] == "0.250  0.750"
    assert page.row("dhsic")[0] == "0.062 to 0.250 off the diagonal"
    assert page.row("log_likelihood_images")[0] == "1000"


def test_last_epoch(run):
    page = Page(run / "report.html")
    assert "Epoch 2, the last" in page.text
    assert page.row("loss") == ["20.25", "22.5"]
    assert page.row("kl") == ["3", "3.5"]


def test_settings_and_versions(run):
    page = Page(run / "report.html")
    assert page.row("num_components") == ["2"]
    assert page.row("source") == ["digits"]
    assert page.row("batch_size") == ["8"]
    assert page.row("seed") == ["7"]
    assert page.row("mvae_tf") == ["1.2.3"]
    assert page.blocks["h1"] == page.blocks["title"] == "mvae on digits"


def test_command_repeats_the_run(run, monkeypatch):
    python, option, code = shlex.split(Page(run / "report.html").blocks["pre"])
    assert (python, option) == ("python", "-c")
    calls = []
    monkeypatch.setattr(training, "train", lambda *given: calls.append(given))
    monkeypatch.chdir(run.parent)
    exec(code, {})
    assert calls == [(training.read_config(run), "first-again")]


def test_figures_follow_the_model(tmp_path):
    make_run(tmp_path, make_model(seed=1))
    write_report(tmp_path)
    before = Page(tmp_path / "report.html").images["samples"]["src"]
    save(make_model(seed=2), tmp_path)
    write_report(tmp_path)
    after = Page(tmp_path / "report.html").images["samples"]["src"]
    assert before != after


def test_numbers_of_the_paper_stand_beside(tmp_path):
    make_run(tmp_path, preset="mvae-gs-k4-mnist")
    page = Page(write_report(tmp_path))
    assert page.blocks["h1"] == "mvae-gs-k4-mnist on digits"
    assert page.row("sse_sampled")[0] == "4"
    assert page.row("sse_sampled")[2].startswith("7.35  TNNLS 2022, Table VI")
    assert page.row("sse")[2] == ""
    others = [row for row in page.rows if row[0] == "TNNLS 2022, Table V"]
    assert ["TNNLS 2022, Table V", "MLP, all", "accuracy_mlp", "98.04"] in others


def test_rmse_of_the_paper(tmp_path):
    metrics = {"test": {"sse_sampled": 4.0, "rmse": 2.0}, "step": 1}
    make_run(tmp_path, metrics=metrics, preset="mvae-gs-cifar10")
    page = Page(write_report(tmp_path))
    value, meaning, paper = page.row("rmse")
    assert value == "2"
    assert meaning.startswith("square root of sse_sampled")
    assert paper == "3.36  TNNLS 2022, Table I: MVAE-GS, RMSE"


def test_preset_of_another_version(tmp_path):
    make_run(tmp_path, preset="mvae-gone")
    page = Page(write_report(tmp_path))
    assert page.row("preset") == ["mvae-gone"]
    assert len(page.row("sse")) == 2


def test_names_are_escaped(tmp_path):
    folder = tmp_path / "<b>'&\"run"
    source = "npz:/nowhere/<i>&amp;.npz"
    make_run(folder, make_model(), data={"source": source}, preset="<script>")
    page = Page(write_report(folder))
    assert page.tags.isdisjoint({"b", "i", "script"})
    assert page.blocks["h1"] == "<script> on <i>&amp;"
    assert "Run <b>'&\"run:" in page.text
    assert page.row("source") == [source]
    code = shlex.split(page.blocks["pre"])[2]
    assert "<b>'&\\\"run-again" in code


def test_unfinished_run_says_what_is_missing(tmp_path):
    make_run(tmp_path, history=None, metrics=None)
    page = Page(write_report(tmp_path))
    assert "The run has no numbers yet" in page.text
    assert "The run has no history yet" in page.text
    assert "The run has no model yet" in page.text
    assert page.images == {}
    assert page.row("num_components") == ["2"]
    assert not (tmp_path / "figures").exists()


def test_missing_data_leave_the_old_figures(tmp_path):
    data = {"source": f"npz:{tmp_path / 'gone.npz'}"}
    make_run(tmp_path, make_model(), data=data)
    picture = figures.curves([{"epoch": 1, "loss": 1.0}])
    path = figures.save(picture, tmp_path / "figures" / "curves.png")
    page = Page(write_report(tmp_path))
    assert list(page.images) == ["curves"]
    assert "The figures could not be drawn anew" in page.text
    assert "gone.npz" in page.text

    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(storage.DamagedFile, match=r"curves\.png is damaged"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "model.keras"])
def test_damaged_file_is_named(tmp_path, name):
    make_run(tmp_path, make_model())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(storage.DamagedFile, match=f"{name} is damaged") as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a run in") as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
