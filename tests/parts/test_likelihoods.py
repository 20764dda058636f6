"""Likelihoods: densities that normalise, constants, means, mixtures and gradients."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from mvae_tf.parts import likelihoods

ALL = [
    "bernoulli",
    "continuous_bernoulli",
    "sse",
    "half_sse",
    "discretized_logistic",
    {"name": "discretized_logistic", "open_edges": True},
    {"name": "sse", "activation": "tanh", "low": -1.0},
    "gaussian",
    {"name": "gaussian", "stddev": 0.05},
]
each = pytest.mark.parametrize("specification", ALL, ids=str)


def pixel(value):
    return tf.constant([[[[value]]]], tf.float32)


def outputs_of(likelihood, *features):
    return likelihood.link(tf.constant(features, tf.float32)[None, None, None])


@each
def test_shapes_ranges_and_configuration(specification):
    likelihood = likelihoods.get(specification)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(size=(5, 3, 2, 1)), tf.float32)
    channels = likelihood.channels_per_channel
    outputs = likelihood.link(
        tf.constant(rng.normal(size=(5, 3, 2, channels)), "float32")
    )
    assert likelihood.log_prob(x, outputs).shape == (5,)
    mean = likelihood.mean(outputs)
    assert mean.shape == x.shape
    assert likelihood.low <= np.min(mean) <= np.max(mean) <= likelihood.high
    assert likelihoods.get(likelihood.get_config()).get_config() == (
        likelihood.get_config()
    )


def test_bernoulli_sums_to_one_over_all_binary_images():
    likelihood = likelihoods.get("bernoulli")
    images = np.array(list(itertools.product([0.0, 1.0], repeat=8)), "float32")
    logits = np.random.default_rng(0).normal(0.0, 3.0, size=(1, 8)).astype("float32")
    log_prob = likelihood.log_prob(images, np.repeat(logits, 256, axis=0))
    assert np.exp(tf.reduce_logsumexp(log_prob)) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(
        np.exp(log_prob) @ images, likelihood.mean(logits)[0], atol=1e-5
    )


def test_gradients_of_bernoulli_against_automatic_differentiation():
    x = tf.constant([[0.0, 1.0, 0.3, 0.0], [1.0, 0.0, 0.8, 1.0]])
    logits = tf.constant([[0.0, 30.0, -2.0, 90.0], [-0.5, -40.0, 1.0, -90.0]])
    upstream = tf.constant([0.5, -2.0])

    def entropies(x, logits):
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)

    bernoulli = likelihoods.get("bernoulli")
    found = []
    for log_prob in (
        bernoulli.log_prob,
        lambda x, f: -tf.reduce_sum(entropies(x, f), 1),
    ):
        with tf.GradientTape() as tape:
            tape.watch([x, logits])
            value = log_prob(x, logits)
        found.append(tape.gradient(value, [x, logits], upstream))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("logit", [-80.0, -5.0, -0.01, 0.0, 1e-4, 0.3, 8.0, 80.0])
def test_continuous_bernoulli_integrates_to_one(logit):
    likelihood = likelihoods.get("continuous_bernoulli")
    # Gauss-Legendre nodes gathered at both ends, where steep densities live.
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x = np.sin(0.25 * np.pi * (nodes + 1.0)) ** 2
    measure = weights * 0.25 * np.pi * np.sin(0.5 * np.pi * (nodes + 1.0))
    outputs = tf.fill([len(x), 1], logit)
    log_prob = likelihood.log_prob(tf.constant(x[:, None], tf.float32), outputs)
    density = np.exp(log_prob) * measure
    assert np.sum(density) == pytest.approx(1.0, abs=2e-5)
    mean = float(likelihood.mean(outputs)[0, 0])
    assert np.sum(density * x) == pytest.approx(mean, abs=2e-5)


@pytest.mark.parametrize(("name", "variance"), [("sse", 0.5), ("half_sse", 1.0)])
def test_gaussians_integrate_to_one_and_have_their_constants(name, variance):
    likelihood = likelihoods.get({"name": name, "activation": "linear"})

    def density(x):
        return float(np.exp(likelihood.log_prob(pixel(x), pixel(0.25))[0]))

    total, _ = integrate.quad(density, -6.0, 6.5, epsabs=1e-6, limit=30)
    assert total == pytest.approx(1.0, abs=1e-5)
    constant = 0.5 * np.log(2.0 * np.pi * variance)
    assert likelihood.constant(7) == pytest.approx(7 * constant)
    error = -likelihood.log_prob(pixel(1.0), pixel(0.25))[0] - constant
    assert float(error) == pytest.approx(0.75**2 / (2.0 * variance))


@pytest.mark.parametrize("stddev", [None, 0.05])
def test_gaussian_with_a_known_or_a_predicted_stddev(stddev):
    likelihood = likelihoods.get(
        {"name": "gaussian", "stddev": stddev, "activation": "linear"}
    )
    features = [0.3] if stddev else [0.3, -1.2]
    expected = stats.norm(0.3, stddev or np.exp(-1.2))
    outputs = outputs_of(likelihood, *features)
    for value in (0.0, 0.25, 1.0):
        log_prob = likelihood.log_prob(pixel(value), outputs)
        assert float(log_prob[0]) == pytest.approx(expected.logpdf(value), rel=1e-5)
    assert likelihood.mean(outputs).numpy().item() == pytest.approx(0.3)
    quantile = likelihood.quantile(outputs, pixel(0.6)).numpy().item()
    assert quantile == pytest.approx(expected.ppf(0.6), rel=1e-5)
    # Training minimises the density itself, whose constant depends on the stddev.
    assert likelihood.constant(10) == 0.0


def test_gaussian_clips_its_predicted_stddev():
    likelihood = likelihoods.get("gaussian")
    for raw, stddev in ((-50.0, np.exp(-4.5)), (50.0, 1.0)):
        log_prob = likelihood.log_prob(pixel(0.4), outputs_of(likelihood, 0.0, raw))
        expected = stats.norm.logpdf(0.4, 0.5, stddev)
        assert float(log_prob[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"stddev": 0.0}, {"low": 1.0}, {"activation": "tanh"}], ids=str
)
def test_gaussian_refuses(wrong):
    with pytest.raises(ValueError, match="stddev > 0|low < high|activation 'tanh'"):
        likelihoods.get({"name": "gaussian", **wrong})


@pytest.mark.parametrize(
    ("open_edges", "mass"), [(False, 0.951488), (True, 1.0)], ids=["closed", "open"]
)
def test_discretized_logistic_over_its_256_bins(open_edges, mass):
    likelihood = likelihoods.DiscretizedLogistic(open_edges)
    outputs = outputs_of(likelihood, 0.0, -2.0)
    np.testing.assert_allclose(tf.squeeze(outputs), [0.5, -2.0])
    bins = np.arange(256, dtype="float32").reshape(256, 1, 1, 1) / 256
    log_prob = likelihood.log_prob(bins, tf.repeat(outputs, 256, 0))
    assert np.sum(np.exp(log_prob)) == pytest.approx(mass, abs=1e-6)
    cdf = stats.logistic(0.5, np.exp(-2.0)).cdf
    expected = np.log(cdf(101 / 256) - cdf(100 / 256))
    assert float(log_prob[100]) == pytest.approx(expected, abs=1e-5)
    white = likelihood.log_prob(pixel(1.0), outputs)
    np.testing.assert_array_equal(white, log_prob[-1:])


@pytest.mark.parametrize("feature", [-50.0, 50.0])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("open_edges", [False, True])
def test_discretized_logistic_far_from_its_mean(open_edges, value, feature):
    """Where the distribution function rounds to 0 or to 1 on both sides of a bin."""
    likelihood = likelihoods.DiscretizedLogistic(open_edges)
    outputs = outputs_of(likelihood, feature, -9.0)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        log_prob = likelihood.log_prob(pixel(value), outputs)
    mean, log_scale = np.squeeze(outputs).astype("float64")
    edge = min(np.floor(value * 256.0), 255.0) / 256.0
    lower, upper = (np.array([edge, edge + 1 / 256]) - mean) * np.exp(-log_scale)
    if open_edges:
        lower = -np.inf if value == 0.0 else lower
        upper = np.inf if value == 1.0 else upper
    if lower > 0:
        lower, upper = -upper, -lower
    low, high = -np.logaddexp(0.0, -np.array([lower, upper]))
    expected = high + np.log1p(-np.exp(low - high))
    assert float(log_prob[0]) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert np.isfinite(tape.gradient(log_prob, outputs)).all()


@each
def test_gradients_at_extreme_features_are_finite(specification):
    likelihood = likelihoods.get(specification)
    channels = likelihood.channels_per_channel
    features = tf.constant([[-80.0], [-1e-3], [0.0], [1e-3], [80.0]])[:, None, None]
    features = tf.repeat(features, channels, axis=-1)
    for value in (0.0, 0.3, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(features)
            x = tf.fill([5, 1, 1, 1], value)
            log_prob = likelihood.log_prob(x, likelihood.link(features))
        assert np.isfinite(log_prob).all()
        assert np.isfinite(tape.gradient(log_prob, features)).all()


@each
def test_mixture_of_outputs(specification):
    """One-hot weights pick a component; others average the mean images."""
    likelihood = likelihoods.get(specification)
    channels = likelihood.channels_per_channel
    features = np.random.default_rng(0).normal(size=(3, 2, 4, 4, channels))
    outputs = likelihood.link(tf.constant(features, tf.float32))

    def mix(weights):
        log_weights = tf.math.log(tf.maximum(tf.constant(weights), 1e-30))
        return likelihood.mix(outputs, log_weights)

    picked = mix([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(picked[0], outputs[1, 0], atol=1e-5)
    np.testing.assert_allclose(picked[1], outputs[2, 1], atol=1e-5)
    if likelihood.name == "continuous_bernoulli":
        return
    weights = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], "float32")
    expected = np.einsum("bk,kb...->b...", weights, likelihood.mean(outputs))
    np.testing.assert_allclose(likelihood.mean(mix(weights)), expected, atol=1e-5)
