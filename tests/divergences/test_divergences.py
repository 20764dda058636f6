"""Gaussian, Dirichlet, Bernoulli and dropout divergences."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, special, stats
from tensorflow_probability import distributions as tfd

from mvae_tf import divergences

EXAMPLES = settings(deadline=None, max_examples=50)

MEANS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-5, 5))
STDDEVS = hnp.arrays(np.float64, (3, 4), elements=st.floats(0.05, 5))


def gradients(function, *arguments):
    variables = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    return tape.gradient(value, variables)


def assert_within_4_standard_errors(draws, expected):
    standard_error = np.std(draws, ddof=1) / np.sqrt(np.size(draws))
    assert abs(np.mean(draws) - expected) < 4 * standard_error


class TestGaussianKL:
    def test_known_values(self):
        forward = divergences.gaussian_kl([0.0], [1.0], [1.0], [2.0])
        backward = divergences.gaussian_kl([1.0], [2.0], [0.0], [1.0])
        np.testing.assert_allclose(forward, 0.443147, atol=1e-6)
        np.testing.assert_allclose(backward, 1.306853, atol=1e-6)

    def test_terms_of_a_categorical_prior(self):
        """Lavda et al. (Entropy 2020): priors N(0, 1) and N(1, 4), pi = (.25, .75)."""
        kl = divergences.gaussian_kl(
            [[0.0], [0.0]], [[1.0], [1.0]], [[0.0], [1.0]], [[1.0], [2.0]]
        )
        of_z = tf.reduce_sum(kl * [0.25, 0.75])
        of_c = np.log(2.0) - divergences.bernoulli_entropy(0.25)
        np.testing.assert_allclose(kl, [0.0, 0.443147], atol=1e-6)
        np.testing.assert_allclose(of_z, 0.332360, atol=1e-6)
        np.testing.assert_allclose(of_c, 0.130812, atol=1e-6)
        np.testing.assert_allclose(of_z + of_c, 0.463172, atol=1e-6)

    @EXAMPLES
    @given(MEANS, STDDEVS, MEANS, STDDEVS)
    def test_equals_tfp(self, mean, stddev, prior_mean, prior_stddev):
        kl = divergences.gaussian_kl(mean, stddev, prior_mean, prior_stddev)
        posterior, prior = (
            tfd.Normal(mean, stddev),
            tfd.Normal(prior_mean, prior_stddev),
        )
        expected = tf.reduce_sum(posterior.kl_divergence(prior), axis=-1)
        assert kl.dtype == tf.float64
        assert kl.shape == (3,)
        np.testing.assert_allclose(kl, expected, rtol=1e-12, atol=1e-12)

    @EXAMPLES
    @given(
        hnp.arrays(np.float32, (6,), elements=st.floats(-5, 5, width=32)),
        hnp.arrays(np.float32, (6,), elements=st.floats(0.0625, 5, width=32)),
        st.floats(-0.5, 0.5, width=32),
    )
    def test_is_zero_only_for_equal_distributions(self, mean, stddev, shift):
        kl = divergences.gaussian_kl(mean, stddev, mean + shift, stddev)
        assert kl >= 0.0
        if shift == 0.0:
            assert kl == 0.0
        elif abs(shift) > 1e-3:
            assert kl > 0.0

    def test_keeps_its_digits_near_equality(self):
        stddev = np.float32(1.0) + np.float32([1e-3, -1e-3, 1e-4])
        precise = stddev.astype(np.float64)
        expected = 0.5 * (precise**2 - 1.0) - np.log(precise)
        kl = divergences.gaussian_kl(np.zeros((3, 1), np.float32), stddev[:, None])
        np.testing.assert_allclose(kl, expected, atol=2e-10)

    def test_equals_monte_carlo(self):
        rng = np.random.default_rng(0)
        mean, stddev = [0.5, -1.0], [0.3, 2.0]
        z = rng.normal(mean, stddev, (20000, 2))
        log_ratio = stats.norm.logpdf(z, mean, stddev) - stats.norm.logpdf(z)
        kl = divergences.gaussian_kl(mean, stddev)
        assert_within_4_standard_errors(log_ratio.sum(-1), kl)

    @pytest.mark.parametrize("stddev", [1e-6, 1e-3, 1.0, 1e4])
    def test_gradients_are_finite(self, stddev):
        grads = gradients(divergences.gaussian_kl, [0.0, 3.0], [stddev, stddev])
        assert np.all(np.isfinite(grads))


class TestGaussianW2:
    def test_known_values(self):
        w2 = divergences.gaussian_w2([1.0, -1.0], [0.5, 2.0], [0.0, 0.0], [1.0, 1.0])
        np.testing.assert_allclose(w2, 3.25, rtol=1e-6)
        assert divergences.gaussian_w2([0.0, 0.0], [1.0, 1.0], 0.0, 1.0) == 0.0

    def test_equals_transport_of_quantiles(self):
        rank = (np.arange(200_000) + 0.5) / 200_000
        p, q = stats.norm(0.3, 0.7).ppf(rank), stats.norm(-1.0, 1.9).ppf(rank)
        w2 = divergences.gaussian_w2([0.3], [0.7], [-1.0], [1.9])
        np.testing.assert_allclose(w2, np.mean((p - q) ** 2), rtol=1e-4)

    @EXAMPLES
    @given(MEANS, STDDEVS, MEANS, STDDEVS)
    def test_is_symmetric(self, mean_p, stddev_p, mean_q, stddev_q):
        forward = divergences.gaussian_w2(mean_p, stddev_p, mean_q, stddev_q)
        backward = divergences.gaussian_w2(mean_q, stddev_q, mean_p, stddev_p)
        assert np.all(forward >= 0.0)
        np.testing.assert_array_equal(forward, backward)

    def test_gradient_is_zero_at_equality(self):
        grads = gradients(
            lambda m, s: divergences.gaussian_w2(m, s, 1.0, 0.0), [1.0], [0.0]
        )
        np.testing.assert_array_equal(grads, 0.0)


class TestJensenShannon:
    def test_equals_quadrature(self):
        rng = np.random.default_rng(1)
        p, q = stats.norm(0.0, 1.0), stats.norm(1.5, 0.5)
        z = np.linspace(-12, 12, 200_001)
        density_p, density_q = p.pdf(z), q.pdf(z)
        middle = 0.5 * (density_p + density_q)
        expected = 0.5 * integrate.trapezoid(
            special.rel_entr(density_p, middle) + special.rel_entr(density_q, middle), z
        )
        draws = divergences.jensen_shannon(
            [0.0],
            [1.0],
            [1.5],
            [0.5],
            rng.normal(0.0, 1.0, (20000, 1)),
            rng.normal(1.5, 0.5, (20000, 1)),
        )
        assert draws.shape == (20000,)
        assert_within_4_standard_errors(draws, expected)

    @EXAMPLES
    @given(MEANS, STDDEVS, MEANS, STDDEVS, MEANS, MEANS)
    def test_is_at_most_log_2(self, mean_p, stddev_p, mean_q, stddev_q, z_p, z_q):
        js = divergences.jensen_shannon(mean_p, stddev_p, mean_q, stddev_q, z_p, z_q)
        assert np.all(js <= np.log(2.0))

    def test_limits(self):
        same = divergences.jensen_shannon([0.0], [1.0], [0.0], [1.0], [0.3], [-2.0])
        apart = divergences.jensen_shannon([0.0], [1e-3], [9.0], [1e-3], [0.0], [9.0])
        np.testing.assert_allclose(same, 0.0, atol=1e-7)
        np.testing.assert_allclose(apart, np.log(2.0), rtol=1e-6)

    def test_gradients_are_finite_far_apart(self):
        grads = gradients(
            lambda *g: divergences.jensen_shannon(*g, [0.0], [50.0]),
            [0.0],
            [1e-3],
            [50.0],
            [1e-3],
        )
        assert np.all(np.isfinite(grads))


class TestGaussianDropoutKL:
    @pytest.mark.parametrize(
        ("log_alpha", "expected"),
        [
            (-10.0, 5.635781),
            (-5.0, 3.136684),
            (-2.1972246, 1.660679),
            (-1.0, 0.913872),
            (0.0, 0.431239),
            (1.0, 0.177970),
            (3.0, 0.025420),
        ],
    )
    def test_known_values_of_the_sigmoid(self, log_alpha, expected):
        kl = divergences.gaussian_dropout_kl(log_alpha)
        np.testing.assert_allclose(kl, expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("alpha", "expected"), [(0.1, 1.049582), (0.5, 0.068071), (1.0, -0.245709)]
    )
    def test_known_values_of_the_polynomial(self, alpha, expected):
        kl = divergences.gaussian_dropout_kl(np.log(alpha), form="kingma")
        np.testing.assert_allclose(kl, expected, atol=1e-6)

    @staticmethod
    def exact(log_alpha):
        """KL of N(1, alpha) from the log-uniform prior, with limit 0 at infinity."""
        stddev = np.exp(0.5 * log_alpha)
        peak = -1.0 / stddev
        mean_log, _ = integrate.quad(
            lambda e: stats.norm.pdf(e) * np.log(abs(1.0 + stddev * e)),
            -9.0,
            9.0,
            points=[peak] if -9.0 < peak else None,
            limit=200,
        )
        return mean_log - 0.5 * log_alpha + 0.5 * (np.euler_gamma + np.log(2.0))

    def test_sigmoid_fits_the_exact_kl(self):
        for log_alpha in np.linspace(-8, 6, 15):
            kl = divergences.gaussian_dropout_kl(log_alpha)
            assert abs(kl - self.exact(log_alpha)) < 0.01

    def test_polynomial_fits_the_exact_kl_up_to_its_constant(self):
        for alpha in [0.1, 0.3, 0.5, 0.7, 1.0]:
            kl = divergences.gaussian_dropout_kl(np.log(alpha), form="kingma")
            assert abs(kl + 0.67 - self.exact(np.log(alpha))) < 0.01

    def test_sigmoid_decreases_towards_zero(self):
        kl = divergences.gaussian_dropout_kl(np.linspace(-50.0, 50.0, 400)).numpy()
        assert np.all(np.diff(kl) < 0.0)
        assert 0.0 < kl[-1] < 1e-12

    def test_polynomial_is_constant_above_one(self):
        kl = divergences.gaussian_dropout_kl([0.0, 1.0, 100.0], form="kingma")
        np.testing.assert_array_equal(kl, kl[0])

    @pytest.mark.parametrize("form", ["molchanov", "kingma"])
    def test_gradients_are_finite(self, form):
        (grad,) = gradients(
            lambda a: divergences.gaussian_dropout_kl(a, form), [-100.0, 0.0, 100.0]
        )
        assert np.all(np.isfinite(grad))

    def test_rejects_an_unknown_form(self):
        with pytest.raises(ValueError, match="'poly': expected one of molchanov"):
            divergences.gaussian_dropout_kl(0.0, form="poly")


def dirichlet_kl_oracle(a, c):
    a0, c0 = a.sum(-1), c.sum(-1)
    normalizers = special.gammaln(a0) - special.gammaln(c0)
    terms = special.gammaln(c) - special.gammaln(a)
    terms += (a - c) * (special.digamma(a) - special.digamma(a0)[..., None])
    return normalizers + terms.sum(-1)


CONCENTRATIONS = hnp.arrays(
    np.float64, (5,), elements=st.floats(np.log(1e-3), np.log(1e4))
).map(np.exp)


class TestDirichletKL:
    @pytest.mark.parametrize(
        ("concentration", "prior", "expected"),
        [
            ([0.7, 0.1, 0.1, 0.1], 0.25, 2.274764),
            ([0.97, 0.01, 0.01, 0.01], 0.25, 63.287494),
            ([1 / 6] * 6, 0.17, 0.000902304),
            ([0.3, 0.3, 2.0], [0.3, 0.3, 2.0], 0.0),
            ([1e4, 1e4, 1e4], 1.0, 8.4259024),
        ],
    )
    def test_known_values(self, concentration, prior, expected):
        precise = divergences.dirichlet_kl(np.float64(concentration), prior)
        single = divergences.dirichlet_kl(concentration, prior)
        np.testing.assert_allclose(precise, expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(single, expected, rtol=1e-6, atol=1e-8)

    @EXAMPLES
    @given(CONCENTRATIONS, CONCENTRATIONS)
    def test_float32_equals_float64_oracle(self, a, c):
        a, c = a.astype(np.float32), c.astype(np.float32)
        kl = divergences.dirichlet_kl(a, c)
        expected = dirichlet_kl_oracle(a.astype(np.float64), c.astype(np.float64))
        assert kl.dtype == tf.float32
        assert kl >= -1e-5
        np.testing.assert_allclose(kl, expected, rtol=1e-6, atol=1e-6)

    @EXAMPLES
    @given(CONCENTRATIONS, CONCENTRATIONS)
    def test_gradient_equals_trigamma_form(self, a, c):
        trigamma = special.polygamma(1, a)
        expected = (a - c) * trigamma - (a - c).sum() * special.polygamma(1, a.sum())
        (grad,) = gradients(lambda v: divergences.dirichlet_kl(v, c), a)
        rounding = 1e-13 * (np.abs(special.digamma(a)) + (a + c) * trigamma).max()
        np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=rounding)

    def test_equals_monte_carlo(self):
        rng = np.random.default_rng(2)
        a, c = np.array([0.6, 1.5, 3.0]), np.array([1.0, 2.0, 0.5])
        w = rng.dirichlet(a, 20000)
        log_ratio = stats.dirichlet(a).logpdf(w.T) - stats.dirichlet(c).logpdf(w.T)
        assert_within_4_standard_errors(log_ratio, divergences.dirichlet_kl(a, c))

    @pytest.mark.parametrize("least", [0.0, 1e-20, 1e-6, 1e-3, 1e4])
    def test_value_and_gradient_are_finite(self, least):
        a = tf.constant([least, 1.0, 1.0])
        (grad,) = gradients(lambda v: divergences.dirichlet_kl(v, 1.0), a)
        assert np.isfinite(divergences.dirichlet_kl(a, 1.0))
        assert np.all(np.isfinite(grad))

    def test_single_category_is_zero(self):
        a = tf.constant([[0.3], [5.0]])
        (grad,) = gradients(lambda v: divergences.dirichlet_kl(v, 2.0), a)
        np.testing.assert_allclose(divergences.dirichlet_kl(a, 2.0), 0.0, atol=1e-12)
        np.testing.assert_allclose(grad, 0.0, atol=1e-12)

    def test_batches(self):
        rng = np.random.default_rng(3)
        a, c = rng.gamma(1.0, size=(2, 7, 4)), rng.gamma(1.0, size=4)
        kl = divergences.dirichlet_kl(a, c)
        np.testing.assert_allclose(kl, dirichlet_kl_oracle(a, c), rtol=1e-10)

    @pytest.mark.parametrize("prior", [[0.5, 2.0, 0.3], [[0.5], [1.5]], 0.7])
    def test_both_gradients_against_automatic_differentiation(self, prior):
        a = np.array([[0.2, 1.5, 3.0], [4.0, 0.01, 0.9]])
        upstream = tf.constant([0.3, -1.2], tf.float64)

        def weighted(kl):
            return lambda a, c: tf.reduce_sum(upstream * kl(a, c + tf.zeros_like(a)))

        def expected(a, c):
            return tfd.Dirichlet(a).kl_divergence(tfd.Dirichlet(c))

        arguments = a, np.array(prior)
        for found, slope in zip(
            gradients(weighted(divergences.dirichlet_kl), *arguments),
            gradients(weighted(expected), *arguments),
            strict=True,
        ):
            np.testing.assert_allclose(found, slope, rtol=1e-10)
        np.testing.assert_allclose(
            gradients(lambda c: divergences.dirichlet_kl(a, c), np.array(prior))[0],
            gradients(lambda c: expected(a, c + 0.0 * a), np.array(prior))[0],
            rtol=1e-10,
        )

    def test_rejects_a_scalar(self):
        with pytest.raises(ValueError, match="at least one axis"):
            divergences.dirichlet_kl(1.0, 1.0)


class TestBernoulliEntropy:
    def test_known_values(self):
        h = divergences.bernoulli_entropy([0.1, 0.5])
        np.testing.assert_allclose(h, [0.325083, 0.693147], atol=1e-6)
        np.testing.assert_allclose(-10 * h**2, [-1.056789, -4.804530], atol=1e-5)

    @EXAMPLES
    @given(st.floats(0, 1))
    def test_equals_scipy(self, p):
        h = divergences.bernoulli_entropy(np.array([p, 1.0 - p]))
        np.testing.assert_allclose(h[0], stats.bernoulli(p).entropy(), atol=1e-12)
        np.testing.assert_allclose(h[0], h[1], atol=1e-12)

    def test_limits(self):
        (grad,) = gradients(divergences.bernoulli_entropy, [0.0, 1e-38, 1.0])
        h = divergences.bernoulli_entropy([0.0, 1.0])
        np.testing.assert_array_equal(h, 0.0)
        assert np.all(np.isfinite(grad))


SINGLE_PRECISION_CASES = {
    "gaussian_kl": lambda x: divergences.gaussian_kl(x, tf.exp(x)),
    "gaussian_w2": lambda x: divergences.gaussian_w2(x, tf.exp(x), 0.0, 1.0),
    "jensen_shannon": lambda x: divergences.jensen_shannon(
        x, tf.exp(x), 0.0, 1.0, x + 0.5, x
    ),
    "gaussian_dropout_kl": divergences.gaussian_dropout_kl,
    "dirichlet_kl": lambda x: divergences.dirichlet_kl(tf.exp(x), 1.0),
    "bernoulli_entropy": lambda x: divergences.bernoulli_entropy(tf.sigmoid(x)),
}


@pytest.mark.parametrize("name", SINGLE_PRECISION_CASES)
class TestEveryFunction:
    x = np.random.default_rng(4).normal(size=(5, 3)).astype(np.float32)

    def test_graph_and_xla_equal_eager(self, name):
        function = SINGLE_PRECISION_CASES[name]

        def value_and_gradient(x):
            return function(x), *gradients(function, x)

        x = tf.constant(self.x)
        expected = value_and_gradient(x)
        for jit_compile in (False, True):
            compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
            for actual, wanted in zip(compiled(x), expected, strict=True):
                np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-6)

    def test_precision_follows_the_input(self, name):
        function = SINGLE_PRECISION_CASES[name]
        single = function(tf.constant(self.x))
        double = function(tf.constant(self.x, tf.float64))
        half = function(tf.constant(self.x, tf.bfloat16))
        assert (single.dtype, double.dtype) == (tf.float32, tf.float64)
        assert half.dtype == tf.float32
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)


def test_numbers_and_lists_take_the_precision_of_the_arrays():
    exact = 0.5 * (0.1**2 + 0.3**2 - 1.0) - np.log(0.3)
    for mean in (0.1, [0.1]):
        kl = divergences.gaussian_kl(mean, np.array([0.3]))
        np.testing.assert_allclose(kl, exact, rtol=1e-14)


def test_text_is_rejected():
    with pytest.raises(TypeError, match="Expected mean of real numbers, got string"):
        divergences.gaussian_kl(["a"], [1.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda: divergences.gaussian_kl(0.0, 1.0),
        lambda: divergences.gaussian_w2(0.0, 1.0, 0.0, 1.0),
        lambda: divergences.jensen_shannon(0.0, 1.0, 0.0, 1.0, 0.1, 0.2),
    ],
)
def test_scalars_are_rejected(function):
    with pytest.raises(ValueError, match="at least one axis, got scalars"):
        function()
