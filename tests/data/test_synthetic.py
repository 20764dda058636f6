"""The one-dimensional toy: its density, its ceiling, its modes and its source."""

import numpy as np
import pytest
from scipy import integrate, signal, stats

from mvae_tf import data


def density(x):
    return 0.5 * (stats.norm.pdf(x, 0.3, 0.05) + stats.norm.pdf(x, 0.7, 0.05))


def test_density_is_that_of_two_gaussians():
    x = np.linspace(0.0, 1.0, 101)
    expected = np.log(density(x))
    np.testing.assert_allclose(data.toy.log_density(x), expected, rtol=1e-12)
    # In a range of twice the width the density is half.
    np.testing.assert_allclose(
        data.toy.log_density(2 * x[:, None] - 1, (-1, 1)), expected - np.log(2)
    )


def test_ceiling_is_the_mean_of_the_log_density():
    def integrand(x):
        return density(x) * data.toy.log_density(x)[0]

    value, _ = integrate.quad(integrand, -0.2, 1.2, points=[0.3, 0.5, 0.7], limit=200)
    assert value == pytest.approx(0.883740, abs=5e-7)
    x, _ = data.toy.sample(50_000, seed=3)
    logs = data.toy.log_density(x)
    assert abs(np.mean(logs) - value) < 4 * np.std(logs) / np.sqrt(len(logs))


def test_best_single_gaussian_is_far_below_the_ceiling():
    x, _ = data.toy.sample(200_000, seed=3)
    best = np.mean(stats.norm.logpdf(x, *stats.norm.fit(x)))
    assert best == pytest.approx(0.160187, abs=0.005)


def test_density_has_two_modes():
    x = np.linspace(-1.0, 2.0, 3001)
    peaks, _ = signal.find_peaks(data.toy.log_density(x))
    np.testing.assert_allclose(x[peaks], [0.3, 0.7], atol=1e-3)


def test_source():
    splits = data.load("toy", batch_size=100)
    assert (splits.input_shape, splits.num_classes) == ((1,), 2)
    sizes = (splits.num_train, splits.num_validation, splits.num_test)
    assert sizes == (50_000, 10_000, 10_000)
    x, mode = next(iter(splits.test))
    expected = data.toy.sample(10_000, seed=2)
    np.testing.assert_array_equal(x, expected[0][:100])
    np.testing.assert_array_equal(mode, expected[1][:100])
    np.testing.assert_array_equal(mode, expected[0][:100, 0] > 0.5)
    for seed, size in enumerate(sizes):
        x, _ = data.toy.sample(size, seed)
        assert 0 < x.min() < x.max() < 1
        assert stats.kstest(x[:, 0], _cumulative).pvalue > 1e-3


def _cumulative(x):
    return 0.5 * (stats.norm.cdf(x, 0.3, 0.05) + stats.norm.cdf(x, 0.7, 0.05))
