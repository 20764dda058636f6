"""Masks: distribution, closed forms, gradients and regularisers."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mvae_tf.noise import BatchNoise
from mvae_tf.parts import masks


def new_noise():
    return BatchNoise(tf.constant([5, 6]))


LIKE = tf.zeros([20_000, 3])
MASKS = {
    "gumbel": masks.GumbelSoftmaxMask(),
    "warm": masks.GumbelSoftmaxMask(temperature=0.7),
    "gaussian": masks.GaussianMask(),
    "raw_std": masks.GaussianMask("raw_std", initial=-0.5),
}
each = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def logit(p):
    return math.log(p) - math.log1p(-p)


@each
@pytest.mark.parametrize("theta", [-2.2, -0.5, 0.0, 1.0])
def test_share_of_kept_draws_is_the_closed_form(mask, theta):
    theta = tf.constant(theta)
    log_mask = mask.log_sample(theta, LIKE, new_noise()).numpy()
    assert log_mask.shape == LIKE.shape
    assert np.isfinite(log_mask).all()
    assert np.all(log_mask <= 0)
    for threshold in (0.05, 0.1, 0.5, 0.8, 0.95):
        expected = float(mask.keep_probability(theta, threshold))
        error = np.sqrt(expected * (1 - expected) / log_mask.size) + 1e-9
        share = np.mean(log_mask >= np.log(threshold))
        assert abs(share - expected) < 4 * error


@pytest.mark.parametrize(
    ("p", "kept"), [(0.1, 0.918111), (0.3, 0.74403), (0.5, 0.554711)]
)
def test_golden_keep_probabilities_of_gumbel(p, kept):
    mask = masks.GumbelSoftmaxMask()
    theta = tf.constant(logit(p), tf.float32)
    assert float(mask.dropout_rate(theta)) == pytest.approx(p, rel=1e-6)
    assert float(mask.keep_probability(theta, 0.1)) == pytest.approx(kept, abs=1e-6)


def test_low_temperature_is_a_bernoulli_variable_that_keeps_with_1_minus_p():
    mask = masks.GumbelSoftmaxMask(temperature=1e-3)
    drawn = np.exp(mask.log_sample(tf.constant(logit(0.3)), LIKE, new_noise()))
    assert np.mean((drawn > 1e-3) & (drawn < 1 - 1e-3)) < 0.02
    assert abs(np.mean(drawn) - 0.7) < 4 * np.sqrt(0.21 / drawn.size) + 1e-3


def test_gaussian_variance_is_the_odds_of_dropping(monkeypatch):
    """tau = p / (1 - p) is the variance of m ~ N(1, tau), Sec III-C."""
    monkeypatch.setattr(masks, "_CLIP", (1e-8, 1e3))
    mask = masks.GaussianMask()
    for p in (0.1, 0.4):
        theta = tf.constant(logit(p), tf.float32)
        assert float(mask.dropout_rate(theta)) == pytest.approx(p, rel=1e-6)
        upper = np.exp(mask.log_sample(theta, LIKE, new_noise()))
        upper = np.square(upper[upper > 1] - 1)
        error = upper.std() / np.sqrt(upper.size)
        assert abs(upper.mean() - p / (1 - p)) < 4 * error


def test_raw_std_is_even_in_theta():
    mask = MASKS["raw_std"]
    positive, negative = tf.constant(0.7), tf.constant(-0.7)
    for method in ("dropout_rate", "keep_probability"):
        arguments = [0.8] if method == "keep_probability" else []
        first = getattr(mask, method)(positive, *arguments)
        assert float(first) == float(getattr(mask, method)(negative, *arguments))
    assert float(mask.dropout_rate(positive)) == pytest.approx(0.49 / 1.49)


@each
def test_gradient_of_theta(mask):
    """Masks shrink as p grows, by as much as finite differences say."""

    def mean(theta):
        return tf.reduce_mean(tf.exp(mask.log_sample(theta, LIKE, new_noise())))

    theta = tf.constant(-0.5)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        value = mean(theta)
    step = 1e-2
    difference = float(mean(theta + step) - mean(theta - step)) / (2 * step)
    gradient = float(tape.gradient(value, theta))
    assert gradient == pytest.approx(difference, rel=0.02)
    rate = mask.dropout_rate(theta + step) - mask.dropout_rate(theta - step)
    assert gradient * float(rate) < 0


@each
@pytest.mark.parametrize("theta", [-30.0, 30.0])
def test_extreme_rates_stay_finite(mask, theta):
    theta = tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        log_mask = mask.log_sample(theta, LIKE[:100], new_noise())
        value = tf.reduce_sum(log_mask) + mask.regularizer(theta)
    assert np.isfinite(log_mask).all()
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, theta))


def test_golden_regularizers():
    at = {p: tf.constant(logit(p), tf.float32) for p in (0.1, 0.5)}
    entropy = masks.GumbelSoftmaxMask()
    squared = masks.GumbelSoftmaxMask(regularizer_form="squared_entropy")
    dropout_kl = masks.GumbelSoftmaxMask(regularizer_form="dropout_kl")
    molchanov = masks.GaussianMask()
    kingma = masks.GaussianMask(kl_form="kingma")
    for mask, theta, value in (
        (entropy, at[0.1], -0.325083),
        (entropy, at[0.5], -0.693147),
        (squared, at[0.1], -1.056789),
        (squared, at[0.5], -4.804530),
        (dropout_kl, at[0.1], 1.660679),
        (molchanov, tf.constant(-10.0), 5.635781),
        (molchanov, tf.constant(0.0), 0.431239),
        (molchanov, tf.constant(3.0), 0.025420),
        (kingma, tf.constant(math.log(0.1)), 1.049582),
        (kingma, tf.constant(math.log(0.5)), 0.068071),
    ):
        assert float(mask.regularizer(theta)) == pytest.approx(value, abs=2e-6)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["gumbel", "gaussian"]),
    st.floats(0.01, 0.99),
    st.sampled_from(["weights", "concentration"]),
    st.booleans(),
    st.floats(-5, 5),
)
def test_configuration_round_trip(name, threshold, placement, renormalize, initial):
    config = {
        "name": name,
        "threshold": threshold,
        "placement": placement,
        "renormalize": renormalize,
        "initial": initial,
    }
    mask = masks.get(config)
    assert config.items() <= mask.get_config().items()
    assert masks.get(mask.get_config()).get_config() == mask.get_config()
    assert masks.get(mask) is mask


def test_no_mask():
    assert masks.get(None).declare() == {}
    assert masks.get(None).get_config() is None
