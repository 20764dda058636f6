"""What TensorBoard shows of a run."""

import itertools
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import mvae_tf
from mvae_tf.optimizers import FusedAdam
from mvae_tf.runs.callbacks import MixtureSummaries, RunTimes

NETWORK = {"name": "mlp", "hidden": 8}
SETTINGS = {"seed": 3, "training": {"epochs": 2}, "shape": [4, 4, 1], "preset": None}


def images(num=16, shape=(4, 4, 1)):
    return np.random.default_rng(0).uniform(size=(num, *shape)).astype("float32")


def make(name="mvae", input_shape=(4, 4, 1), **arguments):
    arguments = {"latent_dim": 2, "network": NETWORK} | arguments
    model = mvae_tf.create(name, input_shape, **arguments)
    model.compile(optimizer=FusedAdam(1e-3))
    return model


def summaries(folder, model, x, y=None):
    callback = MixtureSummaries(folder, x[:11], y, SETTINGS)
    model.fit(
        x, epochs=2, batch_size=8, callbacks=[callback], verbose=0, validation_data=x
    )
    events = EventAccumulator(str(folder), {"tensors": 0})
    events.Reload()
    return events, set(events.Tags()["tensors"])


def values(events, tag):
    found = events.Tensors(tag)
    return {event.step: tf.make_ndarray(event.tensor_proto) for event in found}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    model, x = make(num_components=2), images()
    events, tags = summaries(folder, model, x, np.arange(11))
    return folder, model, x, events, tags


def test_values_stand_in_groups_and_once(written):
    _, model, _, events, tags = written
    groups = {"loss", "kl", "mixture", "validation"}
    assert {tag.partition("/")[0] for tag in tags} == groups | {
        "settings",
        "_hparams_",
    }
    assert {"loss/total", "loss/reconstruction", "kl/kl", "kl/dirichlet_kl"} <= tags
    assert {"validation/loss", "validation/kl", "mixture/dropout_rate"} <= tags
    assert {"loss/weight_of_reconstruction", "kl/weight_of_kl"} <= tags
    loss = values(events, "loss/total")
    assert list(loss) == [1, 2]
    np.testing.assert_allclose(
        [float(value) for value in loss.values()], model.history.history["loss"]
    )


def test_usage_of_components(written):
    _, model, x, events, _ = written
    usage = [float(values(events, f"mixture/usage_{i}")[2]) for i in range(2)]
    weights = model.encode(x[:11])["weights"].numpy()
    assert usage == pytest.approx(weights.mean(axis=0).tolist(), abs=1e-6)


def test_one_picture_shows_the_mixture_and_its_components(written):
    _, model, x, events, tags = written
    assert [tag for tag in tags if "images" in tag] == ["mixture/images"]
    (width, height, *pngs) = values(events, "mixture/images")[2]
    # Rows: original, mixture, two components and samples, of 8 images of 56 pixels.
    assert (int(width), int(height)) == (8 * 59 - 3, 5 * 59 - 3 + 20)
    picture = tf.io.decode_png(pngs[0]).numpy()
    shown = np.rint(255 * model.reconstruct(x[:8], component=1).numpy())
    top = 3 * 59 + 10
    for column in range(8):
        tile = picture[top : top + 56 : 14, 59 * column :][:, :56:14, 0]
        np.testing.assert_allclose(tile, shown[column, ..., 0], atol=1)


def test_settings_are_a_text_and_hyperparameters(written):
    *_, events, _ = written
    text = values(events, "settings")[0].item().decode()
    assert "| training.epochs | `2` |" in text
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    content = metadata.plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    found = data.session_start_info.hparams
    assert found["training.epochs"].number_value == 2
    assert found["shape"].string_value == "[4, 4, 1]"
    assert "preset" not in found


def test_projector_has_latents_labels_and_thumbnails(written):
    folder, model, x, *_ = written
    config = (folder / "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 2
    for part in ("latents_of_component_1.tsv", "labels.tsv", "sprite.png"):
        assert f'"{part}"' in config
    latents = np.loadtxt(folder / "latents_of_component_1.tsv")
    mean = model.encode(x[:11])["mean"].numpy()
    np.testing.assert_allclose(latents, mean[:, 1], rtol=1e-4, atol=1e-5)
    assert (folder / "labels.tsv").read_text().split() == [str(i) for i in range(11)]
    with Image.open(folder / "sprite.png") as sprite:
        pixels = np.asarray(sprite)
    # 11 images fill a table of 4 x 4.
    assert pixels.shape == (16, 16, 3)
    expected = np.rint(255 * x[9, ..., 0])
    np.testing.assert_array_equal(pixels[8:12, 4:8, 0], expected)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 5), (4, 4, 2)])
def test_what_is_no_picture_costs_no_run(tmp_path, shape):
    _, tags = summaries(tmp_path, make("vae", shape), images(shape=shape))
    assert "mixture/usage_0" in tags
    assert "mixture/images" not in tags
    assert not (tmp_path / "sprite.png").exists()
    assert (tmp_path / "latents.tsv").exists()


@pytest.mark.parametrize(
    ("name", "rows"), [("vae", 3), ("cp_vae", 3), ("gmmp_vae", 5), ("msvi", 5)]
)
def test_every_kind_of_model_has_a_picture(tmp_path, name, rows):
    arguments = {} if name == "vae" else {"num_components": 2}
    if name == "cp_vae":
        arguments["network"] = {"name": "gated_mlp", "hidden": 8}
    events, _ = summaries(tmp_path, make(name, **arguments), images())
    height = values(events, "mixture/images")[1][1]
    assert int(height) == rows * 59 - 3 + 20


def test_what_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    def fail(self):
        raise OSError("no space\nleft")

    monkeypatch.setattr(MixtureSummaries, "_picture", fail)
    model = make("vae")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        summaries(tmp_path, model, images())
    assert "TensorBoard lacks a summary: no space left" in {
        str(warning.message) for warning in found
    }
    assert int(model.step.numpy()) == 4


def test_times_of_a_resumed_run_add_up(tmp_path, monkeypatch):
    # A clock that goes on by 20 seconds whenever it is read.
    seconds = itertools.count(100.0, 20.0)
    clock = types.SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("mvae_tf.runs.callbacks.time", clock)
    path = tmp_path / "times.json"
    model = make("vae")
    model.fit(images(), epochs=1, verbose=0, callbacks=[RunTimes(path)])
    first = mvae_tf.storage.read_json(path)
    changed = first | {"training_seconds": 1000.0, "started": "2020-01-01T00:00:00"}
    mvae_tf.storage.write_json(path, changed)
    model.fit(images(), epochs=1, verbose=0, callbacks=[RunTimes(path)])
    last = mvae_tf.storage.read_json(path)
    assert last["started"] == "2020-01-01T00:00:00"
    assert (first["training_seconds"], last["training_seconds"]) == (20.0, 1020.0)
    assert last["device"]
    assert last["updated"] >= first["updated"]
