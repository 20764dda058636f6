"""Networks made of a user's own Keras models: built, trained, saved and loaded."""

import math
import subprocess
import sys
from pathlib import Path

import harness
import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import networks

DEFINITIONS = """
import math
import keras
from mvae_tf import networks


@keras.saving.register_keras_serializable("test")
def features(spec):
    image = keras.Input(spec.image_shape)
    x = keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.BatchNormalization()(x))


@keras.saving.register_keras_serializable("test")
def hidden(spec):
    return keras.Sequential([keras.layers.Dense(5, activation="tanh")])


@keras.saving.register_keras_serializable("test")
def image(spec):
    pixels = keras.layers.Dense(math.prod(spec.output_shape))
    return keras.Sequential([pixels, keras.layers.Reshape(spec.output_shape)])
"""
exec(DEFINITIONS)
NETWORK = {
    "name": "from_keras",
    "encoder": "test>features",
    "sub_decoder": "test>hidden",
    "mix_decoder": "test>image",
}
BARE = {key: NETWORK[key] for key in ("name", "encoder", "mix_decoder")}
CASES = [
    harness.Case("vae", "vae", {"network": NETWORK}),
    harness.Case("vae-bare", "vae", {"network": BARE}),
    harness.Case("vamp_vae", "vamp_vae", {"network": NETWORK}),
    harness.Case("mvae", "mvae", {"network": NETWORK, "num_classes": 3}),
    harness.Case("mvae-shared", "mvae", {"network": NETWORK | {"shared": True}}),
    harness.Case("m_vae", "m_vae", {"network": BARE, "num_classes": 3}),
    harness.Case("msvi", "msvi", {"network": NETWORK}, stratified=True),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)


@each_case
def test_trains_answers_and_loads(case, tmp_path):
    x, y = case.data()
    model = case.compiled()
    model.fit(harness.dataset(x, y), verbose=0)
    harness.perturb(model)
    harness.uncompiled(model)
    harness.check_shapes(model, x, y)
    harness.check_seeded_answers(model, x, y)
    harness.check_evaluation(model, x, y)
    harness.check_keras_file(model, x, y, tmp_path)
    harness.check_config(case)
    harness.check_gradients(case)


def test_a_name_and_an_object_are_the_same_network():
    given = networks.FromKeras(features, sub_decoder=hidden, mix_decoder=image)  # noqa: F821
    first = harness.Case("vae", "vae", {"network": given}).make()
    assert first.get_config()["network"] == NETWORK | {"shared": False}
    harness.assert_equal_variables(first, CASES[0].make())


def test_components_differ_and_a_shared_model_is_one():
    own, shared = CASES[3].make(), CASES[4].make()
    kernels = [model.weights[0].numpy() for model in own.encoder.models]
    assert len(kernels) == 3
    assert not np.array_equal(kernels[0], kernels[1])
    assert len(shared.encoder.models) == len(shared.sub_decoder.models) == 1
    x = CASES[4].data()[0]
    means = shared.encode(x)["mean"].numpy()
    assert not np.allclose(means[:, 0], means[:, 1])


@pytest.mark.parametrize("case", CASES[3:6], ids=lambda case: case.label)
def test_pruning_keeps_what_components_do(case):
    model = harness.uncompiled(case.make())
    harness.perturb(model)
    x, y = case.data(num=5)
    pruned = harness.uncompiled(model._keep([2, 0]))
    np.testing.assert_allclose(
        pruned.reconstruct(x, y, component=0),
        model.reconstruct(x, y, component=2),
        rtol=1e-5,
        atol=1e-6,
    )


def test_export(tmp_path):
    model = CASES[0].make()
    path = mvae_tf.export(model, tmp_path / "export")
    served = tf.saved_model.load(str(path)).signatures["encode"]
    x = CASES[0].data(num=3)[0]
    answer = served(x=tf.constant(x))
    np.testing.assert_allclose(answer["mean"], model.encode(x)["mean"], atol=1e-5)


def test_a_process_with_the_same_registrations_loads_the_file(tmp_path):
    model = CASES[0].make()
    model.save(tmp_path / "model.keras")
    x = CASES[0].data(num=3)[0]
    np.savez(tmp_path / "expected.npz", x=x, z=model.encode(x)["mean"])
    code = DEFINITIONS + (
        "import sys, numpy as np, mvae_tf\n"
        "model = mvae_tf.load(sys.argv[1] + '/model.keras')\n"
        "saved = np.load(sys.argv[1] + '/expected.npz')\n"
        "z = model.encode(saved['x'])['mean']\n"
        "np.testing.assert_allclose(z, saved['z'], atol=1e-6)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(mvae_tf.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def unregistered(spec):
    return keras.Sequential([keras.layers.Dense(3)])


@keras.saving.register_keras_serializable("test")
def random_layer(spec):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dropout(0.5)])


@keras.saving.register_keras_serializable("test")
def wrong_image(spec):
    return keras.Sequential([keras.layers.Dense(math.prod(spec.output_shape) + 1)])


@keras.saving.register_keras_serializable("test")
def no_model(spec):
    return 3


@keras.saving.register_keras_serializable("test")
def two_outputs(spec):
    image = keras.Input(spec.image_shape)
    x = keras.layers.Flatten()(image)
    return keras.Model(image, [keras.layers.Dense(2)(x), keras.layers.Dense(3)(x)])


@keras.saving.register_keras_serializable("test")
def named_output(spec):
    image = keras.Input(spec.image_shape)
    return keras.Model(image, {"x": keras.layers.Flatten()(image)})


@keras.saving.register_keras_serializable("test")
def other_rows(spec):
    image = keras.Input(spec.image_shape)
    return keras.Model(image, keras.ops.reshape(image, (-1, 4)))


@keras.saving.register_keras_serializable("test")
def regularized(spec):
    layers = keras.layers
    return keras.Sequential(
        [layers.Flatten(), layers.Dense(3, kernel_regularizer="l2")]
    )


@keras.saving.register_keras_serializable("test")
def wide_weights(spec):
    layers = keras.layers
    return keras.Sequential([layers.Flatten(), layers.Dense(3, dtype="float64")])


MADE = {}


@keras.saving.register_keras_serializable("test")
def same_model(spec):
    return MADE.setdefault(spec.image_shape, hidden(spec))  # noqa: F821


@keras.saving.register_keras_serializable("test")
def growing(spec):
    MADE["units"] = MADE.get("units", 0) + 1
    return keras.Sequential([keras.layers.Dense(MADE["units"])])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (BARE | {"encoder": unregistered}, "^Expected a function that is registered"),
        (BARE | {"encoder": keras.Sequential()}, "^Expected a function .* Sequential"),
        (BARE | {"encoder": 5}, "^Expected a function that returns .* of int"),
        (BARE | {"encoder": "test>gone"}, "^Expected a registered function as encoder"),
        (BARE | {"encoder": "test>random_layer"}, "^Expected encoder without layers"),
        (
            BARE | {"mix_decoder": "test>wrong_image"},
            "^Expected a mix_decoder whose output",
        ),
        (
            BARE | {"encoder": "test>no_model"},
            "^Expected encoder to return a keras.Mod",
        ),
        (BARE | {"encoder": "test>two_outputs"}, "^Expected encoder .* one output, "),
        (BARE | {"encoder": "test>named_output"}, "^Expected encoder .* one output, "),
        (BARE | {"encoder": "test>other_rows"}, "^Expected encoder .* one output, "),
        (
            NETWORK | {"sub_decoder": "test>growing"},
            "^Expected sub_decoder to return models with outputs of one shape",
        ),
        (BARE | {"encoder": "test>regularized"}, "^Expected encoder without regular"),
        (BARE | {"encoder": "test>wide_weights"}, "^Expected .* with float32 weights"),
        (
            BARE | {"encoder": "test>same_model"},
            "^Expected encoder .* a new model each",
        ),
    ],
)
def test_refusals(network, message):
    with pytest.raises(ValueError, match=message) as caught:
        harness.Case("mvae", "mvae", {"network": network}).make()
    assert "\n" not in str(caught.value)
