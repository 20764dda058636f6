"""Exports: what they answer, alone and under load, and how they come to be there."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf.storage import StorageError

ROOT = Path(__file__).parents[2]
CONV = {
    "name": "conv",
    "filters": [4, 8],
    "units": 0,
    "feature_map": [2, 2, 4],
    "decoder": [[4, 2]],
    "output_stride": 2,
}
MODELS = {
    "mvae": {"num_classes": 3, "num_components": 3, "network": "mlp"},
    "m_vae": {"num_components": 2, "network": CONV},
    "vae": {"likelihood": "discretized_logistic", "input_shape": (5,)},
}
THIRDS = np.full([2, 3], 1 / 3, "float32")
IMAGES = {"images": ("float32", (None, 8, 8, 1))}


def make(name="vae", **arguments):
    """Small model of which every weight counts."""
    arguments = {"input_shape": (8, 8, 1), "latent_dim": 4} | arguments
    if arguments.get("network", "mlp") == "mlp":
        arguments["network"] = {"name": "mlp", "hidden": 8}
    model = mvae_tf.create(name, **arguments)
    for i, weight in enumerate(model.trainable_variables):
        noise = np.random.default_rng(i).normal(size=weight.shape)
        weight.assign(weight + 0.1 * noise)
    return model


def inputs_of(model, rows):
    random = np.random.default_rng(1)
    images = random.uniform(size=(2, rows, *model.input_shape)).astype("float32")
    shape = (rows, model.num_components)
    z = random.normal(size=(*shape, model.latent_dim)).astype("float32")
    weights = random.dirichlet(np.ones(shape[1]), rows).astype("float32")
    y = None if model.num_classes is None else np.arange(rows, dtype="int32") % 3
    return *images, z, weights, y


def answers(served, model, rows):
    """Every answer of the signatures to one set of inputs."""
    x0, x1, z, weights, y = inputs_of(model, rows)
    label = {} if y is None else {"label": y}
    seed = np.stack([np.arange(rows), np.full(rows, 7)], 1).astype("int32")
    half = np.full(rows, 0.5, "float32")
    return {
        "reconstruct": served["serving_default"](x=x0, **label),
        "encode": served["encode"](x=x0, **label),
        "decode": served["decode"](z=z, weights=weights, **label),
        "generate": served["generate"](seed=seed, **label),
        "interpolate": served["interpolate"](x0=x0, x1=x1, position=half, **label),
    }


def model_answers(model, rows):
    """The same by the public methods of the model."""
    x0, x1, z, weights, y = inputs_of(model, rows)
    return {
        "reconstruct": {"images": model.reconstruct(x0, y)},
        "encode": model.encode(x0, y),
        "decode": {"images": model.decode(z, weights, y)},
        "generate": {"images": model.generate(rows, y=y, seed=7)},
        "interpolate": {"images": model.interpolate(x0, x1, 3, y)[:, 1]},
    }


def assert_equal_answers(first, second, rtol, atol):
    for name, outputs in second.items():
        assert first[name].keys() == outputs.keys()
        for key, value in outputs.items():
            np.testing.assert_allclose(first[name][key], value, rtol, atol)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def run_python(code, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    return result


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    @functools.cache
    def of(name):
        model = make(name, **MODELS[name])
        folder = mvae_tf.export(model, tmp_path_factory.mktemp(name))
        return model, folder, tf.saved_model.load(str(folder)).signatures

    return of


@pytest.fixture(params=MODELS)
def exported(request, exports):
    """A model, the folder of its export, and the signatures loaded from there."""
    return exports(request.param)


@pytest.fixture
def conditional(exports):
    """The same of a model with three labels."""
    return exports("mvae")


# === What it answers ===


def test_signatures_have_the_documented_names_types_and_free_batch(conditional):
    _, _, served = conditional
    image, latent = (None, 8, 8, 1), (None, 3, 4)
    label = {"label": ("int32", (None,))}
    posterior = {"mean": latent, "stddev": latent, "weights": (None, 3)}
    expected = {
        "serving_default": ({"x": image}, IMAGES),
        "encode": ({"x": image}, {k: ("float32", v) for k, v in posterior.items()}),
        "decode": ({"z": latent, "weights": (None, 3)}, IMAGES),
        "generate": ({"seed": ("int32", (None, 2))}, IMAGES),
        "interpolate": ({"x0": image, "x1": image, "position": (None,)}, IMAGES),
    }
    assert set(served) == set(expected)
    for name, (inputs, outputs) in expected.items():
        inputs = {
            key: value if value[0] == "int32" else ("float32", value)
            for key, value in (inputs | label).items()
        }
        for specs, wanted in (
            (served[name].structured_input_signature[1], inputs),
            (served[name].structured_outputs, outputs),
        ):
            found = {k: (v.dtype.name, tuple(v.shape)) for k, v in specs.items()}
            assert found == wanted


@pytest.mark.parametrize("rows", [1, 5, 33])
def test_answers_are_those_of_the_model(exported, rows):
    model, _, served = exported
    assert_equal_answers(
        answers(served, model, rows), model_answers(model, rows), 1e-6, 1e-6
    )


def test_an_empty_batch_has_an_empty_answer(exported):
    model, _, served = exported
    for name, outputs in answers(served, model, 0).items():
        for key, value in outputs.items():
            full = answers(served, model, 1)[name][key]
            assert value.shape == (0, *full.shape[1:])


def test_a_row_does_not_depend_on_the_batch_it_rides_in(exported):
    model, _, served = exported
    x0, _, _, _, y = inputs_of(model, 33)
    label = (lambda rows: {}) if y is None else (lambda rows: {"label": y[rows]})
    seed = np.stack([np.arange(33), np.full(33, 7)], 1).astype("int32")
    for rows in (slice(4, 5), slice(3, 20), np.arange(33)[::-1]):
        for name, key, value in (
            ("serving_default", "x", x0),
            ("generate", "seed", seed),
        ):
            full = served[name](**{key: value}, **label(slice(None)))["images"]
            part = served[name](**{key: value[rows]}, **label(rows))["images"]
            np.testing.assert_allclose(part, full.numpy()[rows], rtol=0, atol=1e-6)


def test_generate_depends_on_both_columns_of_its_seed(conditional):
    _, _, served = conditional
    seed = np.array([[0, 7], [1, 7], [0, 8], [0, 7]], "int32")
    label = np.zeros(4, "int32")
    images = served["generate"](seed=seed, label=label)["images"].numpy()
    assert np.abs(images[1] - images[0]).max() > 1e-3
    assert np.abs(images[2] - images[0]).max() > 1e-3
    np.testing.assert_allclose(images[3], images[0], rtol=0, atol=1e-6)


TENSORFLOW_ALONE = """
import sys
for name in ("keras", "tf_keras", "mvae_tf", "tensorflow_probability"):
    sys.modules[name] = None  # Importing it now raises.
import numpy as np
import tensorflow as tf

_, folder, requests, results = sys.argv
requests = dict(np.load(requests))
found = {}
served = tf.saved_model.load(folder).signatures
for name, function in served.items():
    inputs = {key: requests[key] for key in function.structured_input_signature[1]}
    for key, value in function(**inputs).items():
        found[f"load/{name}/{key}"] = value
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loader = tf.compat.v1.saved_model.loader
    loaded = loader.load(session, ["serve"], folder).signature_def
    for name in served:
        inputs, outputs = loaded[name].inputs, loaded[name].outputs
        feed = {inputs[key].name: requests[key] for key in inputs}
        fetch = {key: outputs[key].name for key in outputs}
        for key, value in session.run(fetch, feed).items():
            found[f"session/{name}/{key}"] = value
np.savez(results, **found)
"""


def test_tensorflow_alone_loads_it_in_both_ways(conditional, tmp_path):
    model, folder, _ = conditional
    x0, x1, z, weights, y = inputs_of(model, 5)
    requests = {"x": x0, "x0": x0, "x1": x1, "z": z, "weights": weights, "label": y}
    requests["position"] = np.full(5, 0.5, "float32")
    requests["seed"] = np.stack([np.arange(5), np.full(5, 7)], 1).astype("int32")
    np.savez(tmp_path / "requests.npz", **requests)
    result = run_python(
        TENSORFLOW_ALONE, folder, tmp_path / "requests.npz", tmp_path / "results.npz"
    )
    assert result.returncode == 0, result.stderr
    found = dict(np.load(tmp_path / "results.npz"))
    for way in ("load", "session"):
        for name, outputs in model_answers(model, 5).items():
            name = name.replace("reconstruct", "serving_default")
            for key, value in outputs.items():
                answer = found.pop(f"{way}/{name}/{key}")
                np.testing.assert_allclose(answer, value, rtol=1e-6, atol=1e-6)
    assert not found


def test_eight_threads_get_the_serial_answers(conditional):
    model, _, served = conditional
    serial = {rows: answers(served, model, rows) for rows in (1, 3, 17)}

    def client(number):
        for turn in range(9):
            rows = (1, 3, 17)[(number + turn) % 3]
            # The same request has the same bits, whoever else is asking.
            assert_equal_answers(answers(served, model, rows), serial[rows], 0, 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("encode", {"x": np.zeros([2, 7, 8, 1], "float32")}),
        ("encode", {"x": np.zeros([2, 64], "float32")}),
        ("encode", {"x": np.zeros([2, 8, 8, 1], "float64")}),
        ("encode", {"x": np.zeros([2, 8, 8, 1], "uint8")}),
        ("generate", {"seed": np.zeros([2, 3], "int32")}),
        ("generate", {"seed": np.zeros([2, 2], "int32"), "label": [0, 3]}),
        ("generate", {"seed": np.zeros([2, 2], "int32"), "label": [-1, 0]}),
        ("generate", {"seed": np.zeros([2, 2], "int32"), "label": [0, 1, 2]}),
        ("generate", {"seed": np.zeros([2, 2], "int32"), "label": [0]}),
        ("serving_default", {"x": np.zeros([2, 8, 8, 1], "float32"), "label": None}),
        ("serving_default", {"image": np.zeros([2, 8, 8, 1], "float32")}),
        ("serving_default", {"x": np.full([2, 8, 8, 1], 1.1, "float32")}),
        ("encode", {"x": np.full([2, 8, 8, 1], np.nan, "float32")}),
        ("encode", {"x": np.full([2, 8, 8, 1], -np.inf, "float32")}),
        ("decode", {"z": np.full([2, 3, 4], np.nan, "float32"), "weights": THIRDS}),
        ("decode", {"z": np.zeros([2, 3, 4], "float32"), "weights": 10 * THIRDS}),
        ("decode", {"z": np.zeros([2, 3, 4], "float32"), "weights": -THIRDS}),
        ("decode", {"z": np.zeros([2, 3, 4], "float32"), "weights": np.nan * THIRDS}),
        (
            "interpolate",
            dict.fromkeys(("x0", "x1"), np.zeros([2, 8, 8, 1], "float32"))
            | {"position": np.full(2, np.inf, "float32")},
        ),
    ],
)
def test_a_bad_request_is_an_error_and_no_crash(conditional, name, inputs):
    model, _, served = conditional
    inputs = {"label": [0, 1]} | inputs
    if inputs["label"] is None:
        del inputs["label"]
    else:
        inputs["label"] = tf.constant(inputs["label"], tf.int32)
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError, ValueError)):
        served[name](**{k: tf.constant(v) for k, v in inputs.items()})
    assert_equal_answers(answers(served, model, 1), model_answers(model, 1), 1e-6, 1e-6)


def test_outputs_are_float32_whatever_the_policy(tmp_path):
    model = make("mvae", num_components=2, dtype="mixed_bfloat16")
    folder = mvae_tf.export(model, tmp_path)
    served = tf.saved_model.load(str(folder)).signatures
    found = answers(served, model, 5)
    for outputs in found.values():
        assert all(value.dtype == tf.float32 for value in outputs.values())
    assert_equal_answers(found, model_answers(model, 5), 1e-2, 1e-2)


MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
import numpy as np, mvae_tf
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = mvae_tf.create(
        "mvae",
        input_shape=(4, 4, 1),
        latent_dim=2,
        num_components=2,
        network={"name": "mlp", "hidden": 8},
    )
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(1e-2))
x = np.random.default_rng(0).uniform(size=(20, 4, 4, 1)).astype("float32")
model.fit(x, batch_size=8, verbose=0)
served = tf.saved_model.load(str(mvae_tf.export(model, sys.argv[1]))).signatures
images = served["serving_default"](x=tf.constant(x))["images"]
np.testing.assert_allclose(images, model.reconstruct(x), rtol=0, atol=1e-6)
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cp_vae", {"num_components": 3}),
        ("gmmp_vae", {"num_pseudo_inputs": 4}),
        # Labels are for its training alone.
        ("cgm", {"num_components": 3, "supervised": True}),
    ],
)
def test_models_with_priors_of_their_own(name, arguments, tmp_path):
    network = {"name": "mlp", "hidden": 8}
    model = make(name, network=network, **arguments)
    served = tf.saved_model.load(str(mvae_tf.export(model, tmp_path)))
    signature = served.signatures["generate"]
    assert set(signature.structured_input_signature[1]) == {"seed"}
    images = signature(seed=tf.constant([[0, 7], [1, 7]]))["images"]
    np.testing.assert_allclose(images, model.generate(2, seed=7), atol=1e-5)


def test_numbers_without_bounds(tmp_path):
    likelihood = {"name": "gaussian", "activation": "linear"}
    likelihood |= {"low": -np.inf, "high": np.inf}
    model = make("vae", input_shape=(5,), likelihood=likelihood)
    served = tf.saved_model.load(str(mvae_tf.export(model, tmp_path))).signatures
    x = np.random.default_rng(0).normal(0.0, 100.0, (4, 5)).astype("float32")
    images = served["serving_default"](x=x)["images"]
    np.testing.assert_allclose(images, model.reconstruct(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected finite"):
        served["encode"](x=np.full([1, 5], np.inf, "float32"))


def test_a_version_holds_a_warm_up_request_for_each_signature(conditional):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    model, folder, served = conditional
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    found = set()
    for record in tf.data.TFRecordDataset(str(path)):
        request = logs.PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        served[name](**inputs)
        found.add(name)
    assert found == set(served)


@pytest.mark.parametrize(("format", "suffix"), [("litert", "tflite"), ("onnx", "onnx")])
def test_other_formats_hold_all_signatures_but_generate(format, suffix, tmp_path):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    # The answers are compared with the model's before a version appears.
    folder = mvae_tf.export(make("mvae", **MODELS["mvae"]), tmp_path, format=format)
    names = ("decode", "encode", "interpolate", "serving_default")
    assert listing(folder) == [f"{name}.{suffix}" for name in names]


def test_litert_refuses_what_its_converter_does_not_take(tmp_path):
    with pytest.raises(ValueError, match="LiteRT's converter takes, such as 'mlp'"):
        mvae_tf.export(make("m_vae", **MODELS["m_vae"]), tmp_path, format="litert")
    assert listing(tmp_path) == []


def test_onnx_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(
        ValueError, match="Expected the packages tf2onnx and onnxruntime"
    ):
        mvae_tf.export(make(), tmp_path, format="onnx")
    assert listing(tmp_path) == []


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="Unknown export format 'lite'"):
        mvae_tf.export(make(), tmp_path, format="lite")
    assert listing(tmp_path) == []


@pytest.mark.extra
def test_a_model_trained_on_two_replicas(tmp_path):
    result = run_python(MIRRORED, tmp_path)
    assert result.returncode == 0, result.stderr
    assert listing(tmp_path) == ["1"]


# === How it comes to be there ===


def test_versions_are_numbered_upwards_and_never_overwritten(tmp_path):
    base = tmp_path / "new" / "base"
    model = make()
    assert mvae_tf.export(model, base) == base / "1"
    assert mvae_tf.export(model, str(base), version=20) == base / "20"
    (base / "notes").mkdir()
    (base / "007").mkdir()
    assert mvae_tf.export(model, base) == base / "21"
    for version in (20, 7):
        with pytest.raises(ValueError, match=f"Expected a new version, got {version}"):
            mvae_tf.export(model, base, version=version)
    assert listing(base) == ["007", "1", "20", "21", "notes"]


@pytest.mark.parametrize("version", [0, -1, True, 1.5, "2"])
def test_bad_version(version, tmp_path):
    with pytest.raises(ValueError, match=r"Expected version in 1..2\^63 - 1"):
        mvae_tf.export(make(), tmp_path / "base", version=version)
    assert listing(tmp_path) == []


def test_only_models_of_the_library_are_exported(tmp_path):
    with pytest.raises(TypeError, match="Expected a model of mvae_tf, got Sequential"):
        mvae_tf.export(keras.Sequential([keras.layers.Dense(1)]), tmp_path)


def test_a_model_whose_answers_depend_on_the_batch_is_refused(tmp_path):
    model = make("vae", network=CONV | {"batch_statistics": True})
    with pytest.raises(ValueError, match="batch_statistics=True cannot be served"):
        mvae_tf.export(model, tmp_path)
    assert listing(tmp_path) == []


def test_an_export_that_is_not_the_model_is_refused(tmp_path, monkeypatch):
    model = make()
    save = tf.saved_model.save

    def save_other_weights(*arguments, **keywords):
        weight = model.sub_decoder.trainable_variables[0]
        original = weight.numpy().copy()
        weight.assign(original + 0.1)
        save(*arguments, **keywords)
        weight.assign(original)

    monkeypatch.setattr(tf.saved_model, "save", save_other_weights)
    with pytest.raises(ValueError, match="'serving_default' to answer as the model"):
        mvae_tf.export(model, tmp_path)
    assert listing(tmp_path) == []


def test_a_server_that_polls_sees_whole_versions_only(tmp_path):
    seen, done = [], threading.Event()

    def poll():
        while not done.is_set():
            for folder in tmp_path.iterdir():
                if folder.name.isdigit():
                    seen.append(sizes(folder))

    def sizes(folder):
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.name: path.stat().st_size for path in paths}

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        folder = mvae_tf.export(make(), tmp_path)
    finally:
        done.set()
        poller.join()
    assert {"saved_model.pb", "variables.index"} < set(sizes(folder))
    assert all(files == sizes(folder) for files in seen)


def test_every_file_is_on_the_disk_before_the_version_appears(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def record_rename(source, target):
        files = [str(path) for path in source.rglob("*")]
        assert {*files, str(source)} == set(events)
        events.clear()
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    mvae_tf.export(make(), tmp_path)
    assert events == [str(tmp_path)]


KILLED = """
import os, resource, signal, sys
import mvae_tf
base = sys.argv[1]
model = mvae_tf.create("vae", input_shape=(8, 8, 1), network={"name": "mlp"})

# A full disk: no file can grow beyond 20 kB.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
try:
    mvae_tf.export(model, base)
except mvae_tf.storage.StorageError as error:
    assert "cannot export to" in str(error) and "\\n" not in str(error), error
else:
    raise AssertionError("no error")
assert os.listdir(base) == [], os.listdir(base)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

os.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
mvae_tf.export(model, base)
"""


def test_a_full_disk_or_a_kill_leaves_no_version_and_the_next_export_cleans_up(
    tmp_path,
):
    result = run_python(KILLED, tmp_path)
    assert result.returncode == -signal.SIGKILL, result.stderr
    (left,) = listing(tmp_path)
    assert left.startswith(".tmp-")
    own = tmp_path / f".tmp-{os.getpid()}-1"  # of an earlier process with this id
    own.mkdir()
    running = tmp_path / f".tmp-{os.getppid()}-1"
    running.mkdir()
    mvae_tf.export(make(), tmp_path)
    assert listing(tmp_path) == [running.name, "1"]


def test_a_base_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for base in (tmp_path / "file", tmp_path / "file" / "base"):
        with pytest.raises(StorageError, match="cannot export to .*: Not a directory"):
            mvae_tf.export(make(), base)


# === The model in the repository ===

DEMO = ROOT / "saved_models" / "mvae-gs-digits"
SAMPLE_WITHOUT_KERAS = """
import runpy, sys
for name in ("keras", "tf_keras", "mvae_tf", "tensorflow_probability"):
    sys.modules[name] = None  # Importing it now raises.
runpy.run_path("scripts/sample_export.py", run_name="__main__")
"""


def test_the_demo_model_is_small_and_generates_digits_deterministically():
    files = [path for path in (DEMO / "1").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_500_000
    seeds = tf.constant([[row, 0] for row in range(9)], tf.int32)
    images, again = (
        tf.saved_model.load(str(DEMO / "1")).signatures["generate"](seed=seeds)
        for _ in range(2)
    )
    images = images["images"].numpy()
    assert images.shape == (9, 8, 8, 1)
    assert 0.0 <= images.min() < 0.01
    assert 0.9 < images.max() <= 1.0
    np.testing.assert_array_equal(images, again["images"])


def test_the_demo_model_draws_the_sheet_on_its_card(tmp_path):
    sheet = tmp_path / "sheet.png"
    result = run_python(SAMPLE_WITHOUT_KERAS, DEMO, "--rows", 10, "--to", sheet)
    assert result.returncode == 0, result.stderr
    drawn, expected = (
        tf.io.decode_png(tf.io.read_file(str(path))).numpy().astype(int)
        for path in (sheet, DEMO / "samples.png")
    )
    # Grey levels of 255; another processor may round a pixel to the next one.
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1)
