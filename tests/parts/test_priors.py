"""Priors: densities against SciPy, draws against their moments, gradients of pixels."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from mvae_tf import divergences
from mvae_tf.noise import BatchNoise, step_seed
from mvae_tf.parts import gaussian, priors


def noise(seed=0):
    return BatchNoise(step_seed(seed, 0))


def random_gaussians(num, latent_dim, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.normal(0.0, 2.0, (num, latent_dim)).astype("float32")
    return means, rng.uniform(0.2, 2.0, (num, latent_dim)).astype("float32")


def log_mixture(z, means, stddevs):
    """Log-density of the equal mixture, `[B]`, in float64."""
    parts = stats.norm.logpdf(z[:, None].astype("float64"), means, stddevs).sum(-1)
    return special.logsumexp(parts, axis=1) - np.log(len(means))


def mixture(means, stddevs):
    prior = priors.MixtureOfGaussians(*np.shape(means), seed=0)
    prior.means.assign(means)
    prior.log_variances.assign(2.0 * np.log(stddevs))
    return prior


def vamp(num=4, clusters=1, latent_dim=3, spread=0.5, **options):
    """Pseudo-inputs of two pixels, whose posteriors are spread along their first."""

    def encode(images):
        steps = 100.0 * tf.range(clusters, dtype=tf.float32)[:, tf.newaxis]
        means = 10.0 * images[:, tf.newaxis, :1] + steps + tf.zeros([latent_dim])
        return (
            means,
            tf.fill(tf.shape(means), spread),
            tf.range(1.0, clusters + 1.0) / (clusters * (clusters + 1) / 2),
        )

    settings = {"mean": 0.5, "stddev": 0.2, "seed": 0, "pixel_range": (0.0, 1.0)}
    return priors.VampPrior(num, (2,), encode, **(settings | options))


class TestComponentLogProbs:
    @pytest.mark.parametrize("offset", [0.0, 1000.0])
    def test_equals_scipy(self, offset):
        """Narrow Gaussians and points far from 0, in float32."""
        means, stddevs = random_gaussians(6, 40)
        means, stddevs = means + np.float32(offset), stddevs * 0.1
        z = random_gaussians(5, 40, seed=1)[0] * 0.1 + means[0]
        expected = stats.norm.logpdf(z[:, None].astype("float64"), means, stddevs)
        value = priors.component_log_probs(z, means, stddevs)
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, expected.sum(-1), rtol=1e-6, atol=1e-5)

    def test_gradient_equals_that_of_the_sum_over_dimensions(self):
        means, stddevs = random_gaussians(6, 3)
        z = random_gaussians(10, 3, seed=1)[0].reshape(2, 5, 3)
        variables = [tf.constant(v) for v in (z, means, stddevs)]

        def direct(z, means, stddevs):
            return gaussian.log_prob(means, stddevs, z[..., tf.newaxis, :])

        gradients = []
        for function in (priors.component_log_probs, direct):
            with tf.GradientTape() as tape:
                tape.watch(variables)
                value = tf.reduce_sum(tf.sin(function(*variables)))
            gradients.append(tape.gradient(value, variables))
        for actual, expected in zip(*gradients, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=2e-3)

    def test_holds_nothing_of_points_times_components_times_dimensions(self):
        """Neither forwards nor backwards: 20 x 30 x 50 numbers."""

        @tf.function
        def gradient(z, means, stddevs):
            with tf.GradientTape() as tape:
                tape.watch([z, means, stddevs])
                value = priors.component_log_probs(z, means, stddevs)
            return tape.gradient(value, [z, means, stddevs])

        parameters = [tf.TensorSpec([30, 50])] * 2
        graph = gradient.get_concrete_function(
            tf.TensorSpec([4, 5, 50]), *parameters
        ).graph
        sizes = [
            output.shape.num_elements() or 0
            for operation in graph.get_operations()
            for output in operation.outputs
        ]
        assert 600 < max(sizes) <= 30 * 100


class TestMixtures:
    def test_log_prob_equals_scipy(self):
        means, stddevs = random_gaussians(7, 4)
        z = random_gaussians(20, 4, seed=1)[0]
        expected = log_mixture(z, means, stddevs)
        value = mixture(means, stddevs).log_prob(z)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        batched = mixture(means, stddevs).log_prob(z.reshape(5, 4, 4))
        np.testing.assert_allclose(batched, expected.reshape(5, 4), rtol=1e-5)

    def test_starts_apart_and_with_unit_variance(self):
        prior = priors.MixtureOfGaussians(500, 4, seed=0)
        means, stddevs, weights = prior.components()
        assert abs(np.mean(means)) < 4 / np.sqrt(2000)
        assert np.std(means) == pytest.approx(1.0, abs=4 / np.sqrt(4000))
        np.testing.assert_array_equal(stddevs, np.ones((500, 4)))
        assert np.sum(weights) == pytest.approx(1.0)

    def test_log_variances_are_clipped(self):
        prior = mixture(*random_gaussians(2, 1))
        prior.log_variances.assign([[-9.0], [9.0]])
        expected = np.exp([[-3.0], [1.0]])
        np.testing.assert_allclose(prior.components()[1], expected, rtol=1e-6)

    def test_kl_is_unbiased(self):
        """To one Gaussian, whose KL is known."""
        means, stddevs = random_gaussians(1, 3)
        prior = mixture(means, stddevs)
        mean, stddev = tf.fill([20_000, 3], 0.3), tf.fill([20_000, 3], 0.7)
        z = noise().normal("z", mean, stddev)
        values = prior.kl(mean, stddev, z)
        expected = divergences.gaussian_kl(mean[0], stddev[0], means[0], stddevs[0])
        error = np.std(values) / np.sqrt(20_000)
        assert np.mean(values) == pytest.approx(float(expected), abs=4 * error)

    def test_prototypes_have_one_variance(self):
        prior = priors.Prototypes(3, 4, variance=0.02, seed=0)
        np.testing.assert_allclose(
            prior.components()[1], np.full((3, 4), 0.141421), 1e-5
        )
        z = random_gaussians(6, 4)[0] * 0.1
        expected = log_mixture(z, prior.means.numpy(), np.sqrt(0.02))
        np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-5)

    def test_standard_normal(self):
        prior = priors.StandardNormal(2)
        z = tf.constant([[0.0, 0.0], [1.0, -2.0]])
        expected = -np.log(2 * np.pi) - np.array([0.0, 2.5])
        np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-6)
        kl = prior.kl(tf.constant([[1.0, 0.0]]), tf.constant([[1.0, 2.0]]), z)
        np.testing.assert_allclose(kl, [0.5 + 1.5 - np.log(2.0)], rtol=1e-6)


class TestDraws:
    def test_moments(self):
        prior = mixture([[-3.0, 1.0], [5.0, 1.0]], [[0.5, 1.0], [0.5, 2.0]])
        z = prior.sample(tf.zeros([40_000]), noise()).numpy()
        expected_variance = [0.25 + 16.0, 2.5]
        np.testing.assert_allclose(z.mean(axis=0), [1.0, 1.0], atol=0.1)
        np.testing.assert_allclose(z.var(axis=0), expected_variance, rtol=0.05)

    def test_of_one_component(self):
        prior = mixture([[-3.0, 1.0], [5.0, 1.0]], [[0.5, 1.0], [0.5, 2.0]])
        z = prior.sample(tf.zeros([20_000]), noise()).numpy()
        z = z[z[:, 0] > 1.0]
        assert len(z) == pytest.approx(10_000, abs=300)
        np.testing.assert_allclose(z.mean(axis=0), [5.0, 1.0], atol=0.08)
        np.testing.assert_allclose(z.std(axis=0), [0.5, 2.0], rtol=0.04)

    def test_indices_have_their_probabilities(self):
        weights = np.array([0.2, 0.0, 0.5, 0.3], "float32")
        index = priors.draw_index("name", weights, tf.zeros([20_000]), noise())
        frequencies = np.bincount(index, minlength=4) / 20_000
        assert frequencies[1] == 0.0
        np.testing.assert_allclose(frequencies, weights, atol=4 * 0.5 / np.sqrt(20_000))

    def test_indices_stay_in_range_when_the_sum_rounds_down(self):
        class AlwaysLast:
            def uniform(self, name, like):
                return tf.fill(tf.shape(like), np.float32(1.0 - 2.0**-24))

        weights = tf.constant([0.5, 0.4999])
        assert priors.draw_index("name", weights, tf.zeros([1]), AlwaysLast()) == 1


class TestVampPrior:
    def test_encodes_once_within_its_context(self):
        prior, calls = vamp(), []
        encode = prior.encode
        prior.encode = lambda images: calls.append(1) or encode(images)
        z = tf.random.stateless_normal([5, 3], [0, 0])
        expected = prior.log_prob(z)

        @tf.function(autograph=False)
        def in_a_loop():
            with prior.encoded_once():
                return tf.while_loop(
                    lambda i, _: i < 3,
                    lambda i, total: (i + 1, total + prior.log_prob(z)),
                    (0, tf.zeros([5])),
                )[1]

        calls.clear()
        np.testing.assert_allclose(in_a_loop(), 3.0 * expected, rtol=1e-6)
        assert len(calls) == 1
        assert len(prior.mixtures()) == 3
        assert len(calls) == 2

    def test_starts_from_the_stated_pixels(self):
        prior = vamp(num=4000, mean=0.4, stddev=0.05)
        assert np.mean(prior.pixels) == pytest.approx(0.4, abs=0.003)
        assert np.std(prior.pixels) == pytest.approx(0.05, rel=0.05)

    def test_pixels_out_of_range_are_clipped_and_have_no_gradient(self):
        prior = vamp(num=2)
        prior.pixels.assign([[-0.2, 0.3], [0.6, 1.4]])
        np.testing.assert_allclose(prior.pseudo_inputs(), [[0.0, 0.3], [0.6, 1.0]])
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(prior.pseudo_inputs() ** 2 + prior.pseudo_inputs())
        gradient = tape.gradient(value, prior.pixels.value)
        np.testing.assert_allclose(gradient, [[0.0, 1.6], [2.2, 0.0]], rtol=1e-6)

    def test_is_the_average_of_posteriors(self):
        prior = vamp(num=5, latent_dim=2, spread=0.8)
        z = random_gaussians(9, 2)[0]
        means = np.repeat(10.0 * prior.pseudo_inputs()[:, :1], 2, axis=1)
        np.testing.assert_allclose(
            prior.log_prob(z), log_mixture(z, means, 0.8), rtol=1e-5
        )

    def test_of_mixtures_has_all_their_components(self):
        prior = vamp(num=4, clusters=3)
        means, stddevs, weights = prior.components()
        assert means.shape == stddevs.shape == (12, 3)
        np.testing.assert_allclose(np.sum(weights), 1.0, rtol=1e-6)
        firsts = 10.0 * prior.pseudo_inputs()[:, 0].numpy()
        for cluster, weight in enumerate([1 / 6, 2 / 6, 3 / 6]):
            z = np.full((1, 3), 100.0 * cluster + 5.0, "float32")
            # Components of other clusters are 100 apart.
            own = (firsts + 100.0 * cluster)[:, None] + np.zeros(3)
            expected = log_mixture(z, own, 0.5) + np.log(weight)
            np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-5)

    def test_draws_each_component_of_one_pseudo_input(self):
        prior = vamp(num=3, clusters=2, spread=0.01)
        prior.pixels.assign([[0.1, 0.0], [0.5, 0.0], [0.9, 0.0]])
        z = prior.sample_mixture(tf.zeros([3000]), noise()).numpy()
        assert z.shape == (3000, 2, 3)
        np.testing.assert_allclose(z[:, 1] - z[:, 0], 100.0, atol=0.1)
        values, counts = np.unique(np.round(z[:, 0, 0]), return_counts=True)
        np.testing.assert_array_equal(values, [1.0, 5.0, 9.0])
        assert abs(counts / 3000 - 1 / 3).max() < 4 * 0.5 / np.sqrt(3000)

    def test_compiled_with_an_unknown_number_of_rows(self):
        prior = vamp(num=4, clusters=2)

        def value(z, like):
            return prior.log_prob(z), prior.sample(like, noise())

        signature = [tf.TensorSpec([None, 3]), tf.TensorSpec([None])]
        z, like = random_gaussians(6, 3)[0], tf.zeros([6])
        eager = value(z, like)
        traced = tf.function(value, input_signature=signature)(z, like)
        np.testing.assert_allclose(traced[0], eager[0], rtol=1e-5)
        np.testing.assert_allclose(traced[1], eager[1], rtol=1e-5)
        compiled = tf.function(prior.log_prob, jit_compile=True)(z)
        np.testing.assert_allclose(compiled, eager[0], rtol=1e-5)
