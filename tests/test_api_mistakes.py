"""One line for every mistake that a user can make, and nothing lost by it."""

import harness
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf


def mistake(raises, message, *arguments, **keywords):
    """A row of a table: the exception, its whole text, and the call that raises it."""
    return pytest.param(raises, message, arguments, keywords, id=message[:40])


def assert_one_line(caught, message):
    text = str(caught.value)
    assert "\n" not in text
    assert caught.match(f"^{message}$")


CREATE = [
    mistake(ValueError, r"Unknown model 'mvea': .* Did you mean 'mvae'\?", "mvea"),
    mistake(
        ValueError,
        r"Unknown argument of model 'mvae', 'num_component': .* 'num_components'\?",
        "mvae",
        num_component=3,
    ),
    mistake(
        ValueError,
        r"Expected input_shape \(height, width, .* or \(size,\), got \(28, 28\)\.",
        "vae",
        (28, 28),
    ),
    mistake(ValueError, r"Expected input_shape .*, got 28\.", "vae", 28),
    mistake(ValueError, r"Expected input_shape .*, got \(0,\)\.", "vae", (0,)),
    mistake(
        ValueError,
        r"Expected num_components as an integer >= 1, got 0\.",
        "mvae",
        num_components=0,
    ),
    mistake(
        ValueError,
        r"Expected at most 1,000 components, .* networks of its own, got 100,000,000\.",
        "mvae",
        num_components=10**8,
    ),
    mistake(
        ValueError,
        r"Expected latent_dim as an integer >= 1, got 2\.5\.",
        "vae",
        latent_dim=2.5,
    ),
    mistake(
        ValueError,
        r"Expected num_classes as an integer >= 1, got 'ten'\.",
        "vae",
        num_classes="ten",
    ),
    mistake(
        ValueError, r"Expected a seed in 0\.\.2147483647, got -1\.", "vae", seed=-1
    ),
    mistake(
        ValueError,
        r"Expected a finite weight of kl, got nan\.",
        "vae",
        kl_weight=np.nan,
    ),
    mistake(
        ValueError,
        r"Unknown network 'mpl': .* Did you mean 'mlp'\?",
        "vae",
        network="mpl",
    ),
    mistake(
        ValueError,
        r"Expected hidden as an integer >= 1, got 0\.",
        "vae",
        network={"name": "mlp", "hidden": 0},
    ),
    mistake(
        ValueError,
        r"Expected dropout in \[0, 1\), got 1\.0\.",
        "vae",
        network={"name": "mlp", "dropout": 1.0},
    ),
    mistake(
        ValueError,
        r"Expected feature_map \[7, 7, 9\] for images of \[28, 28, 1\] and strides of "
        r"product 4 in the decoder, got \[8, 8, 9\]\.",
        "vae",
        network={"name": "conv", "feature_map": [8, 8, 9]},
    ),
    mistake(
        ValueError,
        r"Expected filters as a list of positive integers, got 64\.",
        "vae",
        network={"name": "conv", "filters": 64},
    ),
    mistake(
        ValueError,
        r"Expected images \[H, W, C\] for network 'conv', got \(784,\)\.",
        "vae",
        (784,),
        network="conv",
    ),
    mistake(ValueError, r"Unknown likelihood 'gauss': .*", "vae", likelihood="gauss"),
    mistake(
        ValueError,
        r"Unknown activation 'relu': expected one of .*",
        "vae",
        likelihood={"name": "sse", "activation": "relu"},
    ),
    mistake(
        ValueError,
        r"Expected low < high, got 1 and 1\.0\.",
        "vae",
        likelihood={"name": "sse", "low": 1},
    ),
    mistake(
        ValueError,
        r"Unknown mask 'gumble': .* Did you mean 'gumbel'\?",
        "mvae",
        mask="gumble",
    ),
    mistake(
        ValueError,
        r"Expected temperature > 0, got 0\.",
        "mvae",
        mask={"name": "gumbel", "temperature": 0},
    ),
    mistake(
        ValueError,
        r"Expected threshold in \(0, 1\), got 1\.0\.",
        "mvae",
        mask={"name": "gumbel", "threshold": 1.0},
    ),
    mistake(
        ValueError,
        r"Expected prior > 0, got 0\.",
        "mvae",
        mixing={"name": "dirichlet", "prior": 0},
    ),
    mistake(
        ValueError,
        r"Expected prior > 0, got -1\.",
        "m_vae",
        mixing={"name": "dirichlet", "prior": -1},
    ),
    mistake(
        ValueError,
        r"Unknown kl_reduction 'max': expected one of mean, sum\..*",
        "mvae",
        kl_reduction="max",
    ),
    mistake(
        ValueError,
        r"Unknown sign 2: expected one of -1, 1\.",
        "mvae",
        independence={"name": "l2", "sign": 2},
    ),
    mistake(
        ValueError,
        r"Expected prior_means as 4 numbers, got \[0, 1\]\.",
        "m_vae",
        prior_means=[0, 1],
    ),
    mistake(
        ValueError,
        r"Expected prior_stddevs > 0, got \[1, 1, 0, 1\]\.",
        "m_vae",
        prior_stddevs=[1, 1, 0, 1],
    ),
    mistake(
        MemoryError,
        r"training layers of \[784, 500, 500, \d+\] units would take .* GiB, more .*",
        "vae",
        latent_dim=10**8,
    ),
    mistake(MemoryError, r"training layers of .*", "hvae", hidden=10**7, latent_dim=2),
    mistake(
        MemoryError,
        r"a prior of 100,000,000 pseudo-inputs would take .*",
        "vamp_vae",
        num_pseudo_inputs=10**8,
    ),
    mistake(
        MemoryError,
        r"a prior of 1,000,000,000 Gaussians would take .*",
        "mog_vae",
        num_prior_components=10**9,
    ),
    mistake(ValueError, r"Unknown model \['vae'\]: .*", ["vae"]),
    mistake(ValueError, r"Unknown mask \['a'\]: .*", "mvae", mask={"name": ["a"]}),
    mistake(ValueError, r"Expected a seed in .*, got True\.", "vae", seed=True),
    mistake(
        ValueError, r"Expected kl_weight as a number, got None\.", "vae", kl_weight=None
    ),
    mistake(
        ValueError, r"Expected free_bits as a number, got 'x'\.", "mae", free_bits="x"
    ),
    mistake(
        ValueError,
        r"Expected variance as a finite number, got nan\.",
        "cgm",
        variance=np.nan,
    ),
    mistake(ValueError, r"Expected variance as a number, .*", "cgm", variance="x"),
    mistake(
        ValueError,
        r"Expected information_rate as a finite number, got inf\.",
        "cgm",
        information_rate=np.inf,
    ),
    mistake(
        ValueError, r"Expected supervised as true or false, .*", "cgm", supervised=3
    ),
    mistake(ValueError, r"Expected alpha as a number, .*", "info_vae", alpha=[1]),
    mistake(
        ValueError, r"Expected temperature as a number, .*", "cp_vae", temperature=[1]
    ),
    mistake(
        ValueError,
        r"Expected num_pseudo_inputs as an integer >= 1, got 0\.",
        "vamp_vae",
        num_pseudo_inputs=0,
    ),
    mistake(
        ValueError,
        r"Expected pseudo_stddev >= 0, got -1\.",
        "gmmp_vae",
        pseudo_stddev=-1,
    ),
    mistake(
        ValueError,
        r"Expected num_prior_components as an integer >= 1, got 0\.",
        "mog_vae",
        num_prior_components=0,
    ),
    mistake(ValueError, r"Expected prior_means as 4 .*", "m_vae", prior_means=5),
    mistake(
        ValueError,
        r"Expected component_weights as 2 numbers, got 'ab'\.",
        "gmmp_vae",
        component_weights="ab",
    ),
    mistake(
        ValueError,
        r"Expected latent_sources as 6 indices in 0\.\.5, got 5\.",
        "mvae",
        latent_sources=5,
    ),
    mistake(
        ValueError,
        r"Expected temperature as a finite number, got inf\.",
        "mvae",
        mask={"name": "gumbel", "temperature": np.inf},
    ),
    mistake(
        ValueError,
        r"Expected renormalize as true or false, got 'no'\.",
        "mvae",
        mask={"name": "gumbel", "renormalize": "no"},
    ),
]


@pytest.mark.parametrize(("raises", "message", "arguments", "keywords"), CREATE)
def test_mistakes_of_a_configuration(raises, message, arguments, keywords):
    with pytest.raises(raises) as caught:
        mvae_tf.create(*arguments, **keywords)
    assert_one_line(caught, message)


X, _ = harness.Case("mvae", "mvae").data(num=6)
NAN = X.copy()
NAN[4, 0, 0, 0] = np.nan
BYTES = (255 * X).astype("uint8")


@pytest.fixture(scope="module")
def model():
    return harness.Case("mvae", "mvae").compiled()


@pytest.fixture(scope="module")
def conditional():
    return harness.Case("labels", "mvae", {"num_classes": 3}).compiled()


SHAPE = r"Expected images \[B, 4, 4, 1\], got {}\."
DTYPE = r"Expected float images in \[0\.0, 1\.0\], got uint8: cast and scale .*"
RANGE = r"Expected pixels in \[0\.0, 1\.0\] for likelihood 'bernoulli', got \[.*\]\."
FINITE = r"Expected finite pixels, got NaN or inf in image 4\."
PARTS = r"Expected one part of the data, got all of them: pass `splits\.train`.*"
SPLITS = mvae_tf.data.from_arrays(BYTES)
TARGETS = r"Expected labels as y, or none, got examples like those of x: .*"
LABELS = r"Expected labels in 0\.\.2 for a model conditioned on 3 classes, got none\."
CALLS = [
    mistake(ValueError, SHAPE.format(r"\[6, 3, 4, 1\]"), "fit", X[:, :3]),
    mistake(ValueError, SHAPE.format(r"\[4, 4, 1\]"), "encode", X[0]),
    mistake(ValueError, SHAPE.format(r"\[\]"), "reconstruct", None),
    mistake(ValueError, DTYPE, "fit", BYTES),
    mistake(ValueError, DTYPE, "elbo", BYTES),
    mistake(ValueError, RANGE, "fit", 255 * X),
    mistake(ValueError, RANGE, "log_likelihood", X - 0.5, 3),
    mistake(ValueError, FINITE, "fit", NAN),
    mistake(ValueError, FINITE, "evaluate", NAN),
    mistake(ValueError, FINITE, "reconstruct", NAN),
    mistake(ValueError, "Expected at least one image, got none.", "fit", X[:0]),
    mistake(ValueError, "Expected images or a data set, got None.", "fit"),
    mistake(ValueError, r"Expected an array .*, got a list: .*", "fit", X.tolist()),
    mistake(ValueError, PARTS, "fit", SPLITS),
    mistake(ValueError, PARTS, "encode", SPLITS),
    mistake(ValueError, TARGETS, "fit", X, X),
    mistake(ValueError, TARGETS, "fit", harness.dataset(X, X)),
    mistake(ValueError, TARGETS, "evaluate", X[:3], X[3:]),
    mistake(ValueError, RANGE, "fit", X, validation_data=(2 * X, None)),
    mistake(
        ValueError,
        "Expected no sample_weight, got one: all examples have the same weight.",
        "fit",
        X,
        sample_weight=np.ones(6),
    ),
    mistake(
        ValueError,
        SHAPE.format(r"\[None, 3, 4, 1\]"),
        "fit",
        harness.dataset(X[:, :3]),
    ),
    mistake(
        ValueError,
        SHAPE.format(r"\[4, 4, 1\]"),
        "evaluate",
        tf.data.Dataset.from_tensor_slices(X),
    ),
    mistake(ValueError, DTYPE, "fit", X, validation_data=harness.dataset(BYTES)),
    mistake(
        ValueError,
        "Expected at least one batch, got an empty data set.",
        "fit",
        harness.dataset(X[:0]),
    ),
    mistake(
        ValueError,
        r"Expected a data set of x or \(x, y\), got elements {'image'.*}\.",
        "fit",
        tf.data.Dataset.from_tensors({"image": X}),
    ),
    mistake(
        ValueError,
        r"Expected z \[B, 3, 2\], got \[5, 2\]\.",
        "decode",
        np.zeros((5, 2)),
    ),
    mistake(
        ValueError,
        r"Expected weights \[5, 3\], got \[5, 2\]\.",
        "decode",
        np.zeros((5, 3, 2)),
        np.zeros((5, 2)),
    ),
    mistake(
        ValueError, r"Expected component in 0\.\.2, got 3\.", "reconstruct", X, None, 3
    ),
    mistake(
        ValueError,
        r"Expected component in 0\.\.2, got -1\.",
        "generate",
        2,
        component=-1,
    ),
    mistake(ValueError, r"Expected num in 1\.\.2147483647, got 0\.", "generate", 0),
    mistake(ValueError, r"Expected num in .*, got 4294967298\.", "generate", 2**32 + 2),
    mistake(ValueError, r"Expected num in .*, got '4'\.", "generate", "4"),
    mistake(ValueError, r"Expected num in .*, got 2\.5\.", "generate", 2.5),
    mistake(
        ValueError,
        r"Expected a sampler, got 'vamp_prior': .*\.fit\(model, x\) makes one\.",
        "generate",
        2,
        sampler="vamp_prior",
    ),
    mistake(
        ValueError,
        r"Expected a seed in 0\.\.2147483647, got 1\.5\.",
        "generate",
        2,
        seed=1.5,
    ),
    mistake(ValueError, r"Expected a seed in .*, got -3\.", "elbo", X, seed=-3),
    mistake(
        ValueError,
        r"Expected steps as an integer >= 2, got 1\.",
        "interpolate",
        X,
        X,
        1,
    ),
    mistake(
        ValueError,
        r"Expected steps as an integer >= 2, got 2\.5\.",
        "interpolate",
        X,
        X,
        2.5,
    ),
    mistake(
        ValueError,
        r"Expected as many images x1 as x0, got 2 and 6\.",
        "interpolate",
        X,
        X[:2],
        3,
    ),
    mistake(
        ValueError,
        r"Expected num_samples as an integer >= 1, got 0\.",
        "log_likelihood",
        X,
        0,
    ),
    mistake(ValueError, r"Expected .*, got '9'\.", "log_likelihood", X, "9"),
    mistake(
        ValueError,
        r"Expected permutation as 3 indices in 0\.\.2, got \[0, 1\]\.",
        "cross_reconstruct",
        X,
        [0, 1],
    ),
    mistake(
        ValueError,
        r"Expected permutation as 3 indices in 0\.\.2, got \[0, 1, 3\]\.",
        "cross_reconstruct",
        X,
        [0, 1, 3],
    ),
    mistake(
        ValueError, r"Expected at least 2 images, got 1\.", "dependence_matrix", X[:1]
    ),
    mistake(
        ValueError, r"Expected threshold in \(0, 1\), .*", "selected_components", X, 0
    ),
    mistake(
        ValueError,
        r"Expected num_draws as an integer >= 1, got 0\.",
        "selected_components",
        X,
        None,
        0,
    ),
]
CALLS += [
    mistake(
        ValueError,
        r"Expected epochs as an integer >= 1, got 0\.",
        "fit",
        X,
        epochs=0,
    ),
    mistake(
        ValueError,
        r"Expected batch_size as an integer >= 1, got 2\.5\.",
        "fit",
        X,
        None,
        2.5,
    ),
    mistake(
        ValueError,
        r"Expected steps_per_epoch as an integer >= 1, got -1\.",
        "fit",
        X,
        steps_per_epoch=-1,
    ),
    mistake(
        ValueError,
        r"Expected initial_epoch in 0\.\.1, got 5\.",
        "fit",
        X,
        initial_epoch=5,
    ),
    mistake(
        ValueError,
        r"Expected validation_split in \[0, 1\), got -0\.5\.",
        "fit",
        X,
        validation_split=-0.5,
    ),
    mistake(ValueError, r"Expected Keras callbacks, got 5\.", "fit", X, callbacks=[5]),
    mistake(
        ValueError,
        r"Expected validation_data as \(x, y\), .* got 4 things\.",
        "fit",
        X,
        validation_data=(X, None, None, None),
    ),
    mistake(
        ValueError,
        r"Expected an array of images or a data set, got a str\.",
        "fit",
        X,
        validation_data="x",
    ),
    mistake(ValueError, r"Expected an array .*, got a tuple\.", "fit", (X, X)),
    mistake(ValueError, r"Expected 6 labels, got shape \[5\]\.", "fit", X, [0] * 5),
    mistake(
        ValueError,
        r"Expected steps as an integer >= 1, got 0\.",
        "evaluate",
        X,
        steps=0,
    ),
    mistake(ValueError, FINITE, "predict_on_batch", NAN),
    mistake(ValueError, SHAPE.format(r"\[\]"), "__call__", None),
    mistake(ValueError, "Expected an optimizer, got None.", "compile", None),
    mistake(
        ValueError,
        r"Expected steps_per_execution as an integer >= 1, got 0\.",
        "compile",
        steps_per_execution=0,
    ),
    mistake(
        ValueError,
        "Expected finite z, got NaN or inf.",
        "decode",
        np.full((1, 3, 2), np.nan),
    ),
    mistake(
        ValueError,
        r"Expected z as an array of numbers, got \[\[1\], \[1, 2\]\]\.",
        "decode",
        [[1], [1, 2]],
    ),
    mistake(
        ValueError,
        r"Expected weights as an array of numbers, got 'a'\.",
        "decode",
        np.zeros((1, 3, 2)),
        "a",
    ),
    mistake(
        ValueError,
        r"Expected component in .*, got 2\.0\.",
        "generate",
        2,
        component=2.0,
    ),
    mistake(ValueError, r"Expected num in .*, got True\.", "generate", True),
    mistake(MemoryError, r"2,000,000,000 images would take .*", "generate", 2 * 10**9),
    mistake(
        TypeError, r"Expected options of MVAE\.draw.*", "reconstruct", X, seed=1, foo=1
    ),
    mistake(
        ValueError,
        "Expected a seed with masked, got None, which draws nothing.",
        "reconstruct",
        X,
        masked=False,
    ),
    mistake(
        ValueError,
        r"Expected permutation as 3 indices in 0\.\.2, got '012'\.",
        "cross_reconstruct",
        X,
        "012",
    ),
    mistake(ValueError, "Expected at least one image, got none.", "prune", X[:0]),
    mistake(ValueError, r"Expected threshold as a number, got 'x'\.", "prune", X, "x"),
    mistake(
        ValueError,
        "Expected at least one image, got none.",
        "selected_components",
        X[:0],
    ),
]
LABELLED = [
    mistake(ValueError, LABELS, "fit", X),
    mistake(ValueError, LABELS, "fit", harness.dataset(X)),
    mistake(ValueError, LABELS, "evaluate", X),
    mistake(ValueError, LABELS, "encode", X),
    mistake(ValueError, LABELS, "predict", X, verbose=0),
    mistake(ValueError, LABELS, "decode", np.zeros((2, 3, 2))),
    mistake(
        ValueError,
        r"Expected labels in 0\.\.2, got 0\.\.3\.",
        "fit",
        X,
        np.arange(6) % 4,
    ),
    mistake(
        ValueError, r"Expected labels in 0\.\.2, got -1\.\.-1\.", "generate", 2, y=-1
    ),
    mistake(
        ValueError, r"Expected labels in 0\.\.2, got 0\.5\.\.0\.5\.", "elbo", X, 0.5
    ),
    mistake(ValueError, r"Expected 6 labels, got shape \[5\]\.", "encode", X, [0] * 5),
    mistake(
        ValueError,
        r"Expected 6 labels, got shape \[6, 2\]\.",
        "encode",
        X,
        np.zeros((6, 2)),
    ),
]


LABELLED += [
    mistake(
        ValueError,
        r"Expected labels as one number .*, got rows of different lengths\.",
        "fit",
        X,
        [[0], [1, 2], [0], [1], [2], [0]],
    ),
    mistake(ValueError, LABELS, "__call__", X),
    mistake(ValueError, r"Expected labels in .*, got 3\.\.3\.", "__call__", X, 3),
]


@pytest.mark.parametrize(("raises", "message", "arguments", "keywords"), CALLS)
def test_mistakes_of_a_call(model, raises, message, arguments, keywords):
    before = harness.arrays_of(model)
    name, *arguments = arguments
    with pytest.raises(raises) as caught:
        getattr(model, name)(*arguments, **keywords)
    assert_one_line(caught, message)
    assert not harness.differ(before, harness.arrays_of(model))


@pytest.mark.parametrize(("raises", "message", "arguments", "keywords"), LABELLED)
def test_mistakes_of_labels(conditional, raises, message, arguments, keywords):
    name, *arguments = arguments
    with pytest.raises(raises) as caught:
        getattr(conditional, name)(*arguments, **keywords)
    assert_one_line(caught, message)


def test_labels_of_any_usual_form(conditional):
    harness.uncompiled(conditional)
    y = np.array([0, 1, 2, 2, 1, 0])
    expected = conditional.encode(X, y)["mean"]
    one_hot = np.eye(3, dtype="float32")[y]
    for form in (y.tolist(), y[:, None], y.astype("float32"), one_hot, tf.constant(y)):
        np.testing.assert_array_equal(conditional.encode(X, form)["mean"], expected)
    ones = conditional.encode(X, 1)["mean"]
    np.testing.assert_array_equal(ones, conditional.encode(X, [1] * 6)["mean"])


def test_labels_out_of_range_in_a_data_set_touch_no_weight(conditional):
    before = conditional.get_weights()
    skipped = conditional.skipped_steps.numpy()
    for wrong in ([0, 1, 2, 3, 0, 1], [0.0, 1.5, 2.0, 0.0, 1.0, 2.0], [2**40] * 6):
        data = harness.dataset(X, wrong)
        with pytest.raises(
            ValueError, match=r"^Expected labels in .*, got other labels in ba"
        ):
            conditional.fit(data, verbose=0)
        with pytest.raises(ValueError, match="in evaluation batch 1"):
            conditional.evaluate(data, verbose=0)
    assert conditional.skipped_steps.numpy() == skipped + 3
    trainable = {variable.path for variable in conditional.trainable_variables}
    for variable, value in zip(conditional.weights, before, strict=True):
        if variable.path in trainable:
            np.testing.assert_array_equal(variable.numpy(), value)


def test_labels_that_are_not_one_for_each_image_end_the_run(conditional):
    for wrong in ([0, 1, 2, 0], [0, 1] * 6, np.eye(4)[[0, 1, 2, 0, 1, 2]]):
        data = tf.data.Dataset.from_tensors((X, wrong))
        with pytest.raises(
            ValueError, match=r"one for each image, got other labels in batch"
        ):
            conditional.fit(data, verbose=0)
        with pytest.raises(ValueError, match="other labels in evaluation batch 1"):
            conditional.evaluate(data, verbose=0)
        with pytest.raises(
            ValueError, match=r"and labels in 0\.\.2, got others in pred"
        ):
            conditional.predict(data, verbose=0)


def test_labels_that_a_model_ignores_may_be_of_any_kind(model):
    for labels in (list("abcabc"), np.full(6, np.nan), range(6)):
        model.fit(X, labels, validation_data=(X, labels), verbose=0)
        model.evaluate(X, labels, verbose=0)


def test_an_epoch_of_skipped_steps_has_no_loss(model):
    history = model.fit(harness.dataset(X + np.nan), verbose=0).history
    assert np.isnan(history["loss"]).all()
    assert history["skipped_steps"] == [1]


def test_numbers_of_images_that_are_not_finite_are_refused(model):
    for bad in (NAN, np.where(np.isnan(NAN), np.inf, X)):
        message = "^Expected finite pixels, got NaN or inf in evaluation batch 2[.]$"
        with pytest.raises(ValueError, match=message):
            model.evaluate(harness.dataset(bad, batch_size=3), verbose=0)


def test_a_generator_without_known_shapes_trains(model):
    data = tf.data.Dataset.from_generator(lambda: iter([X]), output_types=tf.float32)
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(data, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_a_generator_of_nothing_is_an_error(model):
    signature = tf.TensorSpec([None, 4, 4, 1])
    data = tf.data.Dataset.from_generator(lambda: iter([]), output_signature=signature)
    with (
        pytest.warns(UserWarning, match="ran out of data"),
        pytest.raises(
            ValueError, match="^Expected at least one batch in an epoch, got"
        ),
    ):
        model.fit(data, verbose=0)


def test_slightly_rounded_pixels_are_in_range(model):
    model.fit(np.clip(X, 0, 1) + 1e-4, verbose=0)


def test_one_hot_labels_may_be_as_long_as_the_examples():
    model = mvae_tf.create(
        "vae", input_shape=(3,), latent_dim=2, num_classes=3, network="mlp"
    )
    model.compile(optimizer="adam")
    x = np.full((6, 3), 0.5, np.float32)
    model.fit(x, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]], verbose=0)
    assert int(model.step) == 1
