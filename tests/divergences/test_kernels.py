"""dHSIC, HSIC and MMD."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from mvae_tf import divergences

EXAMPLES = settings(deadline=None, max_examples=50)
Z1 = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
Z2 = np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 1.0]])


def normals(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def kernels(latents, gammas=None):
    gammas = gammas or [divergences.dhsic_bandwidth(z.shape[1]) for z in latents]
    return [
        np.exp(-gamma * distance.cdist(z, z, "sqeuclidean"))
        for z, gamma in zip(latents, gammas, strict=True)
    ]


def dhsic_by_tuples(latents):
    """V-statistic from its definition: averages over all tuples of observations."""
    k = kernels(latents)
    n, num = len(latents[0]), len(latents)
    joint = marginal = crossed = 0.0
    for a, b in itertools.product(range(n), repeat=2):
        joint += np.prod([k[j][a, b] for j in range(num)])
    for q in itertools.product(range(n), repeat=2 * num):
        marginal += np.prod([k[j][q[2 * j], q[2 * j + 1]] for j in range(num)])
    for a, *q in itertools.product(range(n), repeat=num + 1):
        crossed += np.prod([k[j][a, q[j]] for j in range(num)])
    return joint / n**2 + marginal / n ** (2 * num) - 2.0 * crossed / n ** (num + 1)


def dhsic_by_means(latents, gammas=None):
    k = np.stack(kernels(latents, gammas))
    joint = k.prod(0).mean()
    marginal = k.mean((1, 2)).prod()
    return joint + marginal - 2.0 * k.mean(2).prod(0).mean()


def dhsic_by_differences(latents):
    """The same estimator in TensorFlow, from `[K, n, n, d]` differences."""
    gamma = divergences.dhsic_bandwidth(latents.shape[2])
    z = tf.transpose(latents, [1, 0, 2])
    squares = tf.math.squared_difference(z[:, :, None], z[:, None])
    k = tf.exp(-gamma * tf.reduce_sum(squares, axis=-1))
    joint = tf.reduce_mean(tf.reduce_prod(k, axis=0))
    marginal = tf.reduce_prod(tf.reduce_mean(k, axis=(1, 2)))
    return (
        joint
        + marginal
        - 2.0 * tf.reduce_mean(tf.reduce_prod(tf.reduce_mean(k, axis=2), axis=0))
    )


def gradient(function, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


class TestBandwidth:
    @pytest.mark.parametrize(
        ("d", "expected"),
        [
            (1, 0.3926990817),
            (2, 1 / (2 * np.pi)),
            (20, 0.0128163059),
            (50, 0.0050502475),
            (128, 0.0019607692),
            (256, 0.0009784717),
        ],
    )
    def test_known_values(self, d, expected):
        np.testing.assert_allclose(divergences.dhsic_bandwidth(d), expected, atol=6e-11)

    def test_is_about_one_over_4_d_in_many_dimensions(self):
        assert divergences.dhsic_bandwidth(10**6) == pytest.approx(0.25e-6, rel=1e-5)

    def test_comes_from_the_mean_distance_of_normal_points(self):
        x, y = normals(0, 2, 200_000, 5)
        mean_distance = np.linalg.norm(x - y, axis=-1).mean()
        gamma = divergences.dhsic_bandwidth(5)
        assert gamma == pytest.approx(0.5 / mean_distance**2, rel=0.01)

    def test_rejects_no_dimension(self):
        with pytest.raises(ValueError, match="at least 1 dimension, got 0"):
            divergences.dhsic_bandwidth(0)


class TestDHSIC:
    @pytest.mark.parametrize(
        ("latents", "expected"),
        [
            ([Z1, Z2], 0.0329182858),
            ([Z1, Z1], 0.0470591843),
            ([Z1, Z2, Z1], 0.0847852622),
            ([Z1], 0.0),
        ],
    )
    def test_known_values(self, latents, expected):
        value = divergences.dhsic(latents, squared=True)
        root = divergences.dhsic(latents)
        np.testing.assert_allclose(value, expected, atol=6e-11)
        np.testing.assert_allclose(root, np.sqrt(expected), atol=6e-10)

    def test_known_root(self):
        value = divergences.hsic(Z1, Z2)
        np.testing.assert_allclose(value, 0.1814339709, atol=6e-11)

    @pytest.mark.parametrize("dimensions", [(2, 2), (3, 1, 2)])
    def test_equals_the_average_over_all_tuples(self, dimensions):
        latents = [normals(j, 4, d) for j, d in enumerate(dimensions)]
        value = divergences.dhsic(latents, squared=True)
        np.testing.assert_allclose(value, dhsic_by_tuples(latents), rtol=1e-12)

    @pytest.mark.parametrize("shape", [(16, 2, 3), (20, 4, 5), (8, 7, 1), (1, 3, 2)])
    def test_value_and_gradient_equal_those_of_differences(self, shape):
        z = tf.constant(normals(1, *shape))
        value = divergences.dhsic(z, squared=True)
        grad = gradient(lambda z: divergences.dhsic(z, squared=True), z)
        np.testing.assert_allclose(value, dhsic_by_differences(z), atol=1e-14)
        np.testing.assert_allclose(
            grad, gradient(dhsic_by_differences, z), rtol=1e-9, atol=1e-16
        )

    @pytest.mark.parametrize("shape", [(128, 2, 50), (128, 6, 50), (64, 6, 256)])
    def test_float32_equals_float64(self, shape):
        z = normals(2, *shape) + 10.0
        single = divergences.dhsic(tf.constant(z, tf.float32))
        np.testing.assert_allclose(single, divergences.dhsic(z), rtol=1e-3)

    @pytest.mark.parametrize(
        ("n", "d", "num", "independent", "identical"),
        [(128, 2, 4, 0.061, 0.299), (128, 50, 6, 0.077, 0.098)],
    )
    def test_levels_of_independent_and_identical_variables(
        self, n, d, num, independent, identical
    ):
        z = normals(3, 20, n, num, d)
        values = [divergences.dhsic(draw) for draw in z]
        copies = [divergences.dhsic([draw[:, 0]] * num) for draw in z]
        assert np.mean(values) == pytest.approx(independent, abs=0.002)
        assert np.mean(copies) == pytest.approx(identical, abs=0.004)

    @EXAMPLES
    @given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 4), st.randoms())
    def test_invariances(self, seed, n, num, random):
        z = normals(seed, n, num, 3)
        rows, order = list(range(n)), list(range(num))
        random.shuffle(rows)
        random.shuffle(order)
        value = divergences.dhsic(z, squared=True)
        assert value >= 0.0
        for other in (z[rows], z[:, order], z + normals(seed + 1, num, 3) * 100.0):
            np.testing.assert_allclose(
                divergences.dhsic(other, squared=True), value, atol=1e-13
            )

    def test_float32_does_not_see_a_shift(self):
        z = normals(4, 64, 4, 8, dtype=np.float32)
        near, far = divergences.dhsic(z), divergences.dhsic(z + np.float32(64.0))
        np.testing.assert_allclose(far, near, rtol=1e-4)

    def test_a_sequence_equals_a_tensor(self):
        z = normals(5, 12, 3, 4)
        value = divergences.dhsic(list(np.moveaxis(z, 1, 0)))
        np.testing.assert_allclose(value, divergences.dhsic(z), rtol=1e-14)

    @pytest.mark.parametrize(
        "gamma", [0.7, [0.1, 0.5, 2.0], tf.constant([0.1, 0.5, 2.0])]
    )
    def test_gamma(self, gamma):
        latents = [normals(j, 10, d) for j, d in enumerate([2, 5, 3])]
        gammas = np.broadcast_to(gamma, 3).tolist()
        value = divergences.dhsic(latents, squared=True, gamma=gamma)
        np.testing.assert_allclose(
            value, dhsic_by_means(latents, gammas), rtol=1e-6, atol=1e-14
        )

    def test_one_variable_is_exactly_zero_with_zero_gradient(self):
        z = tf.constant(normals(6, 32, 1, 5, dtype=np.float32))
        np.testing.assert_array_equal(divergences.dhsic(z), 0.0)
        np.testing.assert_array_equal(gradient(divergences.dhsic, z), 0.0)

    @pytest.mark.parametrize("z", [np.full((16, 3, 2), 0.1, np.float32), Z1[:1, None]])
    def test_coincident_points_are_zero_with_zero_gradient(self, z):
        np.testing.assert_array_equal(divergences.dhsic(z), 0.0)
        np.testing.assert_array_equal(gradient(divergences.dhsic, z), 0.0)

    @pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
    def test_gradients_are_finite(self, scale):
        z = normals(7, 32, 6, 4, dtype=np.float32) * np.float32(scale)
        assert np.all(np.isfinite(gradient(divergences.dhsic, z)))

    def test_nan_is_not_hidden(self):
        z = normals(8, 8, 3, 2)
        z[0, 0, 0] = np.nan
        assert np.isnan(divergences.dhsic(z))
        assert np.isnan(divergences.dhsic(z[:, :1]))

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_graph_and_xla_equal_eager(self, jit_compile):
        def value_and_gradient(z):
            return divergences.dhsic(z), gradient(divergences.dhsic, z)

        z = tf.constant(normals(9, 24, 4, 6, dtype=np.float32))
        signature = [tf.TensorSpec([None, 4, 6])]
        compiled = tf.function(value_and_gradient, signature, jit_compile=jit_compile)
        for actual, expected in zip(compiled(z), value_and_gradient(z), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)

    def test_precision_follows_the_input(self):
        z = normals(10, 8, 3, 2)
        for dtype in (tf.float16, tf.bfloat16, tf.float32):
            assert divergences.dhsic(tf.cast(z, dtype)).dtype == tf.float32
        assert divergences.dhsic(z).dtype == tf.float64

    @pytest.mark.parametrize(
        ("latents", "message"),
        [
            (np.zeros((3, 2)), r"latents \[n, K, d\] or a sequence .* \(3, 2\)"),
            ([], "1 variable or more, got none"),
            ([Z1, Z2[:2]], r"latents\[1\] with 3 rows, got 2"),
            ([Z1, Z2[0]], r"latents\[1\] of shape \[n, d\], got \(2,\)"),
        ],
    )
    def test_rejects_wrong_shapes(self, latents, message):
        with pytest.raises(ValueError, match=message):
            divergences.dhsic(latents)

    def test_rejects_a_wrong_gamma(self):
        with pytest.raises(ValueError, match="gamma > 0, got -1.0"):
            divergences.dhsic([Z1, Z2], gamma=-1.0)
        with pytest.raises(ValueError, match=r"1 number or 2, got shape \(3,\)"):
            divergences.dhsic([Z1, Z2], gamma=[1.0, 1.0, 1.0])


class TestPairwiseDHSIC:
    # Kernels are computed for 256 rows at a time.
    @pytest.mark.parametrize("num", [20, 256, 300])
    @pytest.mark.parametrize("squared", [False, True])
    def test_equals_pairs(self, num, squared):
        z = normals(11, num, 3, 4)
        matrix = divergences.pairwise_dhsic(z, squared).numpy()
        for i, j in itertools.product(range(3), repeat=2):
            expected = divergences.hsic(z[:, i], z[:, j], squared)
            np.testing.assert_allclose(matrix[i, j], expected, rtol=1e-9)

    def test_float32_keeps_the_digits_of_float64(self):
        z = normals(12, 1000, 4, 50, dtype=np.float32)
        single = divergences.pairwise_dhsic(z)
        double = divergences.pairwise_dhsic(z.astype(np.float64))
        assert single.dtype == tf.float32
        np.testing.assert_allclose(single, double, rtol=1e-6)


def mmd_by_pairs(x, y, bandwidth, unbiased):
    def kernel(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2.0 * bandwidth**2))

    def mean(first, second, same):
        pairs = itertools.product(enumerate(first), enumerate(second))
        return np.mean(
            [kernel(a, b) for (i, a), (j, b) in pairs if not (same and i == j)]
        )

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2.0 * mean(x, y, False)


class TestMMD:
    def test_known_values(self):
        single = divergences.mmd([[0.0]], [[1.0]], 1.0)
        plane = divergences.mmd(
            [[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [2.0, 2.0]], 2**0.5
        )
        np.testing.assert_allclose(single, 0.786939, atol=1e-6)
        np.testing.assert_allclose(plane, 0.629067, atol=1e-6)

    @pytest.mark.parametrize("unbiased", [False, True])
    def test_equals_the_sum_over_pairs(self, unbiased):
        x, y = normals(13, 6, 3), normals(14, 9, 3) + 0.5
        value = divergences.mmd(x, y, 1.3, unbiased)
        np.testing.assert_allclose(value, mmd_by_pairs(x, y, 1.3, unbiased), rtol=1e-10)

    def test_expectation_under_equal_distributions(self):
        """Biased: 2 / n (1 - (1 + 2 / D)^(-D / 2)) for width 2D; unbiased: 0."""
        draws = normals(15, 400, 2, 64, 10)
        mmd = tf.function(divergences.mmd)
        for unbiased, expected in [(False, 0.018691), (True, 0.0)]:
            values = [mmd(*tf.constant(pair), 10**0.5, unbiased) for pair in draws]
            standard_error = np.std(values, ddof=1) / 20.0
            assert abs(np.mean(values) - expected) < 4 * standard_error

    @EXAMPLES
    @given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 8), st.booleans())
    def test_symmetry(self, seed, n, m, unbiased):
        x, y = normals(seed, n, 3), normals(seed + 1, m, 3) + 1.0
        forward = divergences.mmd(x, y, 1.0, unbiased)
        np.testing.assert_allclose(
            divergences.mmd(y, x, 1.0, unbiased), forward, atol=1e-13
        )
        shuffled = divergences.mmd(x[::-1], y, 1.0, unbiased)
        np.testing.assert_allclose(shuffled, forward, atol=1e-13)
        assert unbiased or forward >= 0.0

    def test_equal_sets_are_zero_with_finite_gradient(self):
        x = normals(16, 32, 5, dtype=np.float32)
        assert abs(divergences.mmd(x, x, 2.0)) < 1e-6
        assert np.all(np.isfinite(gradient(lambda z: divergences.mmd(z, x, 2.0), x)))

    @pytest.mark.parametrize("unbiased", [False, True])
    def test_graph_and_xla_equal_eager(self, unbiased):
        x, y = normals(17, 12, 4), normals(18, 12, 4)

        def value_and_gradient(x):
            def function(z):
                return divergences.mmd(z, y, 2.0, unbiased)

            return function(x), gradient(function, x)

        for jit_compile in (False, True):
            compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
            outputs = compiled(tf.constant(x))
            for actual, expected in zip(outputs, value_and_gradient(x), strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)

    def test_rejects_bad_input(self):
        with pytest.raises(ValueError, match=r"got shapes \(3, 2\) and \(3, 1\)"):
            divergences.mmd(Z1, Z2[:, :1], 1.0)
        with pytest.raises(ValueError, match="bandwidth > 0, got 0.0"):
            divergences.mmd(Z1, Z2, 0.0)
        with pytest.raises(ValueError, match="2 points or more"):
            divergences.mmd(Z1[:1], Z2, 1.0, unbiased=True)
