"""`FusedAdam` does the arithmetic of `keras.optimizers.Adam`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mvae_tf.optimizers import FusedAdam

STEPS = 20
SHAPES = ((3, 4), (5,), ())
# With decay rates that float32 holds exactly, what separates the two is the order of a
# few roundings per step, 6e-8 each.
EXACT = {"beta_1": 0.875, "beta_2": 0.96875}
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def schedule():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)


def gradients(step):
    """Gradients of very different sizes, some exactly 0."""
    rng = np.random.default_rng(step)
    scales = np.float32([1e-6, 0.0, 1.0, 1e4])
    return [
        tf.constant(rng.normal(size=shape).astype("float32") * rng.choice(scales))
        for shape in SHAPES
    ]


def run(optimizer, jit_compile=False):
    """Variables, and state of the optimiser by its short name, after `STEPS` steps."""
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=shape).astype("float32"), name=f"v{i}")
        for i, shape in enumerate(SHAPES)
    ]
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(*values):
        optimizer.apply(list(values), variables)

    for i in range(STEPS):
        step(*gradients(i))
    return [v.numpy() for v in (*variables, *optimizer.variables)]


def assert_equals_adam_of_keras(arguments, jit_compile=False):
    arguments = {"learning_rate": 0.1} | EXACT | arguments
    expected = run(keras.optimizers.Adam(**arguments), jit_compile)
    for value, reference in zip(
        run(FusedAdam(**arguments), jit_compile), expected, strict=True
    ):
        np.testing.assert_allclose(value, reference, **TOLERANCE)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"epsilon": 1e-3},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5, "weight_decay": 0.01},
        {"use_ema": True, "ema_overwrite_frequency": 7},
        {"gradient_accumulation_steps": 3},
        {"learning_rate": schedule()},
        {"amsgrad": True},
    ],
    ids=lambda arguments: "-".join(arguments) or "defaults",
)
def test_equals_adam_of_keras(arguments):
    assert_equals_adam_of_keras(arguments)


def test_equals_adam_of_keras_under_xla():
    arguments = {"learning_rate": schedule(), "clipnorm": 0.5, "weight_decay": 0.01}
    assert_equals_adam_of_keras(arguments, jit_compile=True)


def test_equals_adam_of_keras_to_the_rounding_of_the_usual_decay():
    # The kernel forms 1 - beta_2 from the float32 beta_2: 1.3e-5 of it less than 0.001,
    # hence 6.5e-6 of every step, none of which is longer than twice the rate.
    weights = len(SHAPES)
    expected = run(keras.optimizers.Adam(0.1))[:weights]
    bound = STEPS * 0.1 * 2 * 6.5e-6
    for value, reference in zip(run(FusedAdam(0.1))[:weights], expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-6, atol=bound)


def test_first_step_by_hand():
    # Bias correction makes the first step lr * g / (|g| + epsilon), whatever g is.
    variable = keras.Variable([1.0, 1.0, 1.0])
    optimizer = FusedAdam(0.1, epsilon=1e-8)
    optimizer.apply([tf.constant([2.0, -3e-2, 0.0])], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.9, 1.1, 1.0], rtol=1e-4)


def test_sparse_gradient_touches_its_rows():
    def rows_after(optimizer):
        table = keras.Variable(np.ones((4, 2), "float32"))
        for _ in range(3):
            values = tf.constant([[1.0, -1.0], [0.5, 2.0]])
            gradient = tf.IndexedSlices(
                values, tf.constant([0, 2]), tf.constant([4, 2])
            )
            optimizer.apply([gradient], [table])
        return table.numpy()

    rows = rows_after(FusedAdam(0.1))
    np.testing.assert_allclose(
        rows, rows_after(keras.optimizers.Adam(0.1)), **TOLERANCE
    )
    np.testing.assert_array_equal(rows[[1, 3]], 1.0)
    assert np.all(rows[[0, 2]] != 1.0)


def test_float64_variables_keep_their_precision():
    gradient = np.array([0.3, -0.7])
    variable = keras.Variable([1.0, 2.0], dtype="float64")
    optimizer = FusedAdam(0.125)
    expected, first, second = np.array([1.0, 2.0]), 0.0, 0.0
    for step in range(1, STEPS + 1):
        optimizer.apply([tf.constant(gradient)], [variable])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.125 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        expected = expected - rate * first / (np.sqrt(second) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-12)


def test_builds_on_first_use_and_once():
    variable = keras.Variable([1.0])
    optimizer = FusedAdam(0.1)
    optimizer.apply([tf.constant([1.0])], [variable])
    count = len(optimizer.variables)
    optimizer.build([variable])
    assert len(optimizer.variables) == count == 4


def test_unknown_variable_is_refused():
    optimizer = FusedAdam(0.1)
    optimizer.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([tf.constant([1.0])], [keras.Variable([1.0])])


def test_config_restores_every_argument():
    optimizer = FusedAdam(0.25, beta_1=0.8, clipnorm=2.0, amsgrad=True)
    config = keras.saving.serialize_keras_object(optimizer)
    restored = keras.saving.deserialize_keras_object(config)
    assert isinstance(restored, FusedAdam)
    assert keras.saving.serialize_keras_object(restored) == config


def test_state_survives_a_keras_file(tmp_path):
    def network():
        layers = [keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(FusedAdam(0.1), "mse")
        return model

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = network()
    model.fit(x, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(restored.optimizer, FusedAdam)
    for network in (model, restored):
        network.fit(x, y, epochs=3, verbose=0)
    for value, expected in zip(restored.variables, model.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    for value, expected in zip(
        restored.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def test_normalized_gradients_forget_the_scale_of_the_loss():
    """A loss a thousand times as large takes the same first step."""

    def moved(scale):
        variable = keras.Variable([1.0, -2.0, 0.5])
        optimizer = FusedAdam(0.1, epsilon=1e-3, normalize_gradients=True)
        optimizer.apply([tf.constant([0.3, -0.4, 1.2]) * scale], [variable])
        return variable.numpy()

    np.testing.assert_allclose(moved(1000.0), moved(1.0), rtol=1e-5)
    # One step of Adam on g / |g|, |g| = 1.3.
    gradient = np.array([0.3, -0.4, 1.2]) / 1.3
    step = 0.1 * gradient / (np.abs(gradient) + 1e-3 / np.sqrt(1 - 0.999))
    expected = [1.0, -2.0, 0.5] - step
    np.testing.assert_allclose(moved(1.0), expected, rtol=1e-5)


def test_normalization_is_part_of_the_configuration():
    optimizer = FusedAdam(0.1, normalize_gradients=True)
    assert FusedAdam.from_config(optimizer.get_config()).normalize_gradients
    assert not FusedAdam(0.1).normalize_gradients
