"""Dirichlet weights: draws, gradients and KL at the small concentrations of MVAE."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from mvae_tf.noise import BatchNoise
from mvae_tf.parts import mixing


def new_noise():
    return BatchNoise(tf.constant([3, 4]))


def weights(alpha, num=1, **arguments):
    part = mixing.DirichletWeights(**arguments)
    alpha = tf.repeat(tf.constant([alpha], tf.float32), num, axis=0)
    return np.exp(part.log_sample(alpha, new_noise()))


@pytest.mark.parametrize("scale", [0.01, 0.17, 1.0, 10.0])
def test_moments_and_marginals_of_draws(scale):
    alpha = scale * np.array([1.0, 2.0, 0.5])
    drawn = weights(alpha, 20_000).astype("float64")
    exact = stats.dirichlet(alpha)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, atol=1e-5)
    error = np.sqrt(exact.var() / len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - exact.mean()) < 4 * error)
    squares = drawn**2
    error = squares.std(axis=0) / np.sqrt(len(drawn))
    expected = exact.var() + exact.mean() ** 2
    assert np.all(np.abs(squares.mean(axis=0) - expected) < 4 * error)
    marginal = stats.beta(alpha[0], alpha.sum() - alpha[0])
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9):
        # A float32 draw has no digits to compare under 1e-38 or next to 1.
        level = np.clip(marginal.ppf(quantile), 1e-30, 0.999)
        share = marginal.cdf(level)
        error = np.sqrt(share * (1 - share) / len(drawn))
        assert abs(np.mean(drawn[:, 0] <= level) - share) < 4 * error


@pytest.mark.parametrize("scale", [1e-3, 0.01, 0.17, 1.0, 100.0])
def test_gradients_are_finite_and_alive(scale):
    part = mixing.DirichletWeights()
    alpha = tf.fill([500, 4], scale)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(alpha)
        log_weights = part.log_sample(alpha, new_noise())
        first = tf.exp(log_weights)[:, 0]
        density = part.log_density_ratio(alpha, log_weights)
    assert np.isfinite(log_weights).all()
    for value in (first, density):
        gradient = tape.gradient(value, alpha).numpy()
        assert np.isfinite(gradient).all()
        assert np.any(gradient != 0)


@pytest.mark.parametrize("alpha", [[0.17, 0.5, 0.33], [0.9, 1.1, 2.0], [8.0, 4.0, 9.0]])
def test_gradient_of_an_expectation(alpha):
    """d E[f(w)] / d alpha for f = w_0 and f = w_0 w_1, from their closed forms."""
    part = mixing.DirichletWeights()
    num = 100_000
    rows = tf.repeat(tf.constant([alpha], tf.float32), num, axis=0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(rows)
        drawn = tf.exp(part.log_sample(rows, new_noise()))
        first = drawn[:, 0]
        product = drawn[:, 0] * drawn[:, 1]

    def expected(function):
        step = 1e-5 * np.eye(3)
        return [(function(alpha + h) - function(alpha - h)) / 2e-5 for h in step]

    def mean(a):
        return a[0] / a.sum()

    def moment(a):
        return a[0] * a[1] / (a.sum() * (a.sum() + 1))

    for value, function in ((first, mean), (product, moment)):
        gradient = tape.gradient(value, rows).numpy().astype("float64")
        error = gradient.std(axis=0) / np.sqrt(num)
        assert np.all(np.abs(gradient.mean(axis=0) - expected(function)) < 4 * error)


def test_without_reparameterization_no_gradient_flows():
    part = mixing.DirichletWeights(reparameterized=False)
    alpha = tf.fill([5, 3], 0.3)
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        first = tf.exp(part.log_sample(alpha, new_noise()))[:, 0]
    assert tape.gradient(first, alpha) is None
    assert not np.array_equal(
        weights([0.3] * 3, reparameterized=False), weights([5] * 3)
    )


def test_density_ratio_against_scipy_and_tfp():
    part = mixing.DirichletWeights(prior=0.7)
    alpha = tf.constant([[0.4, 1.3, 2.0], [3.0, 0.9, 0.8]])
    drawn = tf.constant([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    ratio = part.log_density_ratio(alpha, tf.math.log(drawn))
    expected = [
        stats.dirichlet([0.7] * 3).logpdf(w) - stats.dirichlet(a).logpdf(w)
        for a, w in zip(alpha.numpy().astype("f8"), drawn.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ratio, expected, rtol=1e-4, atol=1e-5)
    tfp = tfd.Dirichlet([0.7] * 3).log_prob(drawn) - tfd.Dirichlet(alpha).log_prob(
        drawn
    )
    np.testing.assert_allclose(ratio, tfp, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [[0.17, 0.5, 0.33], [2.0, 0.1, 1.0]])
def test_kl_is_the_expected_density_ratio(alpha):
    part = mixing.DirichletWeights()
    rows = tf.repeat(tf.constant([alpha], tf.float32), 40_000, axis=0)
    ratio = -part.log_density_ratio(rows, part.log_sample(rows, new_noise()))
    error = np.std(ratio) / np.sqrt(len(ratio))
    assert abs(np.mean(ratio) - part.kl(rows[:1])[0]) < 4 * error


def test_golden_values_of_both_kl_forms():
    exact = mixing.DirichletWeights(prior=0.25)
    clipped = mixing.DirichletWeights(prior=0.25, kl_form="clipped")
    even, peaked = [[0.7, 0.1, 0.1, 0.1]], [[0.97, 0.01, 0.01, 0.01]]
    for part, alpha, value in (
        (exact, even, 2.274764),
        (clipped, even, 2.274764),
        (exact, peaked, 63.287494),
        (clipped, peaked, 2.409677),
        (exact, [[0.25] * 4], 0.0),
        (mixing.DirichletWeights(prior=0.17), [[1 / 6] * 6], 0.000902304),
    ):
        np.testing.assert_allclose(
            part.kl(tf.constant(alpha)), [value], atol=2e-6, rtol=1e-5
        )


def test_concentrations():
    scores = tf.constant([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    normalized = mixing.DirichletWeights().parameters(scores)
    np.testing.assert_allclose(normalized, [[0.25, 0.75, 0.001], [0.001] * 3])
    raw = mixing.DirichletWeights("raw").parameters(scores)
    np.testing.assert_allclose(raw, [[1.0, 3.0, 0.001], [0.001] * 3])
    masked = mixing.DirichletWeights().parameters(
        scores[:1] + 1.0, tf.math.log([[1.0, 0.5, 1.0]])
    )
    np.testing.assert_allclose(masked, [[0.4, 0.4, 0.2]], rtol=1e-6)
    like = tf.zeros([2, 5])
    np.testing.assert_allclose(mixing.DirichletWeights().prior_parameters(like), 0.2)


def test_a_single_component_has_weight_one_and_no_kl():
    part = mixing.DirichletWeights()
    alpha = tf.constant([[0.3], [1e-3], [5.0]])
    np.testing.assert_array_equal(part.log_sample(alpha, new_noise()), tf.zeros([3, 1]))
    np.testing.assert_allclose(part.kl(part.parameters(alpha)), 0.0, atol=1e-6)
    ratio = part.log_density_ratio(alpha, tf.zeros([3, 1]))
    np.testing.assert_allclose(ratio, 0.0, atol=1e-6)
