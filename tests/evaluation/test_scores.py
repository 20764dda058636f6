"""Inception score, Frechet distance and the classifiers behind them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import linalg

import mvae_tf
from mvae_tf.evaluation import (
    Classifier,
    evaluate,
    frechet_distance,
    inception,
    inception_score,
    train_classifier,
)
from mvae_tf.evaluation.classifiers import small_network

NETWORK = {"name": "mlp", "hidden": 8}


# === Inception score ===


@pytest.mark.parametrize("num_classes", [2, 7])
def test_certain_and_even_predictions_score_the_number_of_classes(num_classes):
    probabilities = np.tile(np.eye(num_classes), (20, 1))
    mean, stddev = inception_score(probabilities, num_splits=4)
    assert mean == pytest.approx(num_classes)
    assert stddev == pytest.approx(0.0, abs=1e-9)


def test_one_prediction_for_all_scores_one():
    probabilities = np.tile([0.2, 0.5, 0.3, 0.0], (40, 1))
    assert inception_score(probabilities) == pytest.approx((1.0, 0.0), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(arrays(float, (24, 3), elements=st.floats(0.01, 1.0)))
def test_score_is_that_of_its_formula_and_in_range(numbers):
    probabilities = numbers / numbers.sum(axis=1, keepdims=True)
    mean, stddev = inception_score(probabilities, num_splits=3)
    parts = []
    for part in (probabilities[:8], probabilities[8:16], probabilities[16:]):
        # Mutual information of image and label, from entropies.
        marginal = part.mean(axis=0)
        within = -np.sum(part * np.log(part), axis=1).mean()
        parts.append(np.exp(-np.sum(marginal * np.log(marginal)) - within))
    assert mean == pytest.approx(np.mean(parts))
    assert stddev == pytest.approx(np.std(parts), abs=1e-9)
    assert 1.0 - 1e-9 <= mean <= 3.0


def test_too_few_images_for_the_splits():
    with pytest.raises(ValueError, match="at least 20 images .* 10 splits, got 19"):
        inception_score(np.ones((19, 1)))


# === Frechet distance ===


def drawn(num, size, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, size)) @ rng.normal(size=(size, size)) + rng.normal()


def by_square_root(a, b):
    """The distance from the matrix square root itself."""
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    difference = a.mean(axis=0) - b.mean(axis=0)
    return difference @ difference + np.trace(
        covariances[0] + covariances[1] - 2 * root
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 6))
def test_distance_is_that_of_the_matrix_square_root(seed, size):
    a, b = drawn(40, size, seed), drawn(30, size, seed + 1)
    expected = by_square_root(a, b) if size > 1 else _of_numbers(a, b)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def _of_numbers(a, b):
    return (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2


def test_distance_of_gaussians_of_known_moments():
    # Rows whose sample moments are exactly 0 and I.
    white = np.linalg.qr(drawn(50, 3, 0) - drawn(50, 3, 0).mean(axis=0))[0] * 7.0
    stddev, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.0, -1.0])
    expected = np.sum(shift**2) + np.sum((1.0 - stddev) ** 2)
    assert frechet_distance(white, white * stddev + shift) == pytest.approx(expected)


def test_singular_covariances_are_no_obstacle():
    few = drawn(5, 30, 1)
    assert frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(few, few + 2.0) == pytest.approx(30 * 4.0)
    wide = np.pad(drawn(40, 4, 2), ((0, 0), (0, 3)))
    other = np.pad(drawn(40, 4, 3), ((0, 0), (0, 3)))
    expected = by_square_root(wide[:, :4], other[:, :4])
    assert frechet_distance(wide, other) == pytest.approx(expected)
    constant = np.ones((10, 2), "float32")
    assert frechet_distance(constant, constant) == 0.0


def test_features_that_do_not_compare():
    with pytest.raises(ValueError, match=r"got \[5, 3\] and \[5, 2\]"):
        frechet_distance(np.zeros((5, 3)), np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"at least 2 images each.*got \[1, 3\]"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


# === Classifiers ===


@pytest.fixture(scope="module")
def digits():
    return mvae_tf.data.load("digits", batch_size=64)


@pytest.fixture(scope="module")
def of_digits(digits):
    return train_classifier(digits.train, digits.test, "digits", seed=3)


def images_and_labels(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def test_a_classifier_learns_and_its_name_says_how_well(digits, of_digits):
    x, labels = images_and_labels(digits.test)
    probabilities, features = of_digits.probabilities_and_features(x)
    assert probabilities.shape == (300, 10)
    assert features.shape == (300, 128)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    right = 100.0 * np.mean(probabilities.argmax(axis=1) == labels)
    assert right > 80.0
    expected = f"convolutional network trained on digits, {right:.1f} % right"
    assert of_digits.name == expected
    assert of_digits.value_range == (0.0, 1.0)


def test_a_classifier_follows_its_seed():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, 5, 5, 2)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, np.arange(40) % 2)).batch(20)
    found, again = (
        train_classifier(data, data, seed=1, epochs=1).probabilities_and_features(x)
        for _ in range(2)
    )
    np.testing.assert_allclose(found[0], again[0], rtol=1e-5)
    first, other = (small_network((5, 5, 2), 2, seed)(x)[0] for seed in (1, 2))
    assert np.abs(first - other).max() > 1e-3


def test_a_classifier_sees_pixels_in_its_range_and_refuses_other_shapes():
    images = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(images)
    classifier = Classifier("the pixels", keras.Model(images, [flat, flat]))
    found, _ = classifier.probabilities_and_features(np.full((3, 2, 2, 1), 1.5))
    np.testing.assert_array_equal(found, np.ones((3, 4)))
    expected = r"images of shape \(2, 2, 1\) for the classifier 'the pixels', got"
    with pytest.raises(ValueError, match=expected + r" \(2, 3, 1\)\."):
        classifier.probabilities_and_features(np.zeros((3, 2, 3, 1)))
    assert "got (784,)" in classifier.misfit((784,))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (np.zeros((4, 3, 3, 1)), "and labels to train a classifier on"),
        ((np.zeros((4, 9)), np.zeros(4)), r"Expected batches of images \[B, H, W, C\]"),
    ],
)
def test_what_a_classifier_cannot_learn_from(arrays, message):
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(2)
    with pytest.raises(ValueError, match=message):
        train_classifier(data, data)


def test_a_classifier_wants_an_end(digits):
    with pytest.raises(ValueError, match="Expected a data set with an end"):
        train_classifier(digits.train_from(0), digits.test)


def small_trunk(weights):
    """In place of InceptionV3: its "features" are the corner of what it is given."""
    assert weights == "imagenet"
    images = keras.Input((299, 299, 3))
    corner = keras.layers.Cropping2D(((0, 298), (0, 298)))(images)
    features = keras.layers.GlobalAveragePooling2D(name="avg_pool")(corner)
    return keras.Model(images, keras.layers.Softmax()(features))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_inception_sees_images_in_its_own_size_and_scale(monkeypatch, value_range):
    monkeypatch.setattr(keras.applications, "InceptionV3", small_trunk)
    classifier = inception(value_range)
    low, high = value_range
    shades = np.array([low, high, 0.75 * low + 0.25 * high])
    images = np.ones((3, 8, 6, 3)) * shades.reshape(3, 1, 1, 1)
    _, features = classifier.probabilities_and_features(images)
    np.testing.assert_allclose(features[:, 0], [-1.0, 1.0, -0.5], atol=1e-6)
    assert classifier.name == "InceptionV3 (ImageNet)"
    assert classifier.misfit((64, 32, 3)) is None
    assert "shape (any, any, 3)" in classifier.misfit((28, 28, 1))


def test_weights_that_cannot_be_had_are_one_line(monkeypatch):
    def fail(weights):
        raise Exception("URL fetch failure on https://...:\nNone -- no route")

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(OSError, match=r"ImageNet weights .* got: URL fetch") as raised:
        inception()
    assert "\n" not in str(raised.value)


# === The group ===


@pytest.fixture(scope="module")
def vae():
    return mvae_tf.create("vae", latent_dim=2, network=NETWORK, input_shape=(8, 8, 1))


def test_scores_of_a_model(vae, digits, of_digits):
    results = evaluate(vae, digits.test, ["scores"], classifier=of_digits, seed=5)
    assert results["classifier"] == of_digits.name
    x, _ = images_and_labels(digits.test)

    def seen(images):
        return of_digits.probabilities_and_features(images)

    data, samples = seen(x), seen(vae.generate(300, seed=5))
    reconstructions = seen(vae.reconstruct(x, seed=5))
    score, stddev = inception_score(reconstructions[0])
    assert results["inception_score"] == pytest.approx(score, rel=1e-4)
    assert results["inception_score_stddev"] == pytest.approx(stddev, rel=1e-2)
    expected = {
        "inception_score_data": inception_score(data[0])[0],
        "inception_score_samples": inception_score(samples[0])[0],
        "frechet_distance": frechet_distance(reconstructions[1], data[1]),
        "frechet_distance_samples": frechet_distance(samples[1], data[1]),
    }
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, rel=1e-4), name
    assert results["inception_score_data"] > results["inception_score"]


def test_scores_are_refused_in_one_line(vae, digits, of_digits):
    with pytest.raises(ValueError, match="Expected a classifier for scores"):
        evaluate(vae, digits.test, ["scores"])
    other = mvae_tf.create("vae", latent_dim=2, network=NETWORK, input_shape=(4, 4, 1))
    with pytest.raises(ValueError, match=r"images of shape \(8, 8, 1\).*got \(4, 4, 1"):
        evaluate(other, digits.test, ["scores"], classifier=of_digits)
    few = digits.test.unbatch().batch(9).take(1)
    with pytest.raises(ValueError, match="at least 20 images .* got 9"):
        evaluate(vae, few, ["scores"], classifier=of_digits)
