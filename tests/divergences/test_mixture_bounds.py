"""Upper bounds on the KL divergence between Gaussian mixtures."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats
from scipy.optimize import linear_sum_assignment

from mvae_tf import divergences

MATCHED = ["paper_avg", "soft_k", "min_k"]
FORMS = [*MATCHED, "lse_component", "variational"]
HALVES = [0.5, 0.5]


def bound(q, p, **options):
    return divergences.mixture_kl_bound(*q, *p, **options).numpy()


def random_mixtures(seed, m=None, k=None, d=None, batch=()):
    """q and p as (means, stddevs, weights) in float64."""
    rng = np.random.default_rng(seed)
    m, k, d = m or rng.integers(1, 4), k or rng.integers(1, 5), d or rng.integers(1, 4)
    q = (
        rng.normal(0.0, 2.0, (*batch, m, d)),
        rng.uniform(0.4, 2.0, (*batch, m, d)),
        rng.dirichlet(np.ones(m), batch),
    )
    p = (
        rng.normal(0.0, 2.0, (k, m, d)),
        rng.uniform(0.4, 2.0, (k, m, d)),
        rng.dirichlet(np.ones(m), k),
    )
    return q, p


def pairwise_kl(q, p):
    """`[K, M, M']`, from the closed form of one pair at a time."""
    return divergences.gaussian_kl(
        q[0][None, :, None], q[1][None, :, None], p[0][:, None], p[1][:, None]
    ).numpy()


def log_density(z, means, stddevs, weights):
    """Log-density `[n]` of one mixture, its parameters flattened to `[N, D]`."""
    logs = stats.norm.logpdf(z[:, None], means, stddevs).sum(-1) + np.log(weights)
    return special.logsumexp(logs, axis=1)


def monte_carlo_kl(rng, q, p, num):
    chosen = rng.choice(len(q[2]), num, p=q[2])
    z = rng.normal(q[0][chosen], q[1][chosen])
    dimension = z.shape[1]
    flat_p = [part.reshape(-1, dimension) for part in p[:2]]
    log_ratio = log_density(z, *q) - log_density(z, *flat_p, p[2].ravel() / len(p[2]))
    return log_ratio.mean(), log_ratio.std(ddof=1) / np.sqrt(num)


class TestReferenceCase:
    """Two components in the plane, two mixtures, all weights uniform."""

    q = (
        np.array([[0.0, 0.0], [2.0, 1.0]]),
        np.sqrt([[1.0, 0.25], [0.5, 1.0]]),
        np.array(HALVES),
    )
    p = (
        np.array([[[2.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [3.0, 3.0]]]),
        np.sqrt([[[1.0, 1.0], [0.5, 2.0]], [[1.0, 1.0], [1.0, 4.0]]]),
        np.array([HALVES, HALVES]),
    )

    @pytest.mark.parametrize("matching", ["greedy", "optimal"])
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ("paper_avg", 0.958772),
            ("soft_k", 0.946395),
            ("min_k", 1.494258),
            ("lse_component", 1.536530),
            ("variational", 0.915860),
        ],
    )
    def test_known_values(self, form, expected, matching):
        value = bound(self.q, self.p, form=form, matching=matching)
        single = [
            [np.float32(part) for part in mixture] for mixture in (self.q, self.p)
        ]
        np.testing.assert_allclose(value, expected, atol=1e-6)
        np.testing.assert_allclose(
            bound(*single, form=form, matching=matching), expected, atol=1e-5
        )

    def test_divergences_of_pairs(self):
        """A mixture of one component on each side picks out one pair."""
        expected = [
            [[2.318147, 1.005647], [0.596574, 4.096574]],
            [[0.818147, 6.542544], [5.096574, 1.414721]],
        ]
        for (k, m, n), kl in np.ndenumerate(expected):
            q = [part[m : m + 1] for part in self.q[:2]] + [[1.0]]
            p = [part[k : k + 1, n : n + 1] for part in self.p[:2]] + [[1.0]]
            np.testing.assert_allclose(bound(q, p), kl, atol=1e-6)

    def test_exact_value(self):
        mean, error = monte_carlo_kl(np.random.default_rng(0), self.q, self.p, 100_000)
        assert abs(mean - 0.5565) < 4 * error + 0.0011
        assert bound(self.q, self.p, form="variational") > mean


class TestCollapse:
    """Posteriors N(-3, 1) and N(3, 1): which prior does a bound prefer?"""

    q = (np.array([[[-3.0]], [[3.0]]]), np.ones((2, 1, 1)), np.ones((2, 1)))
    apart = (np.array([[[-3.0]], [[3.0]]]), np.ones((2, 1, 1)), np.ones((2, 1)))
    merged = (np.zeros((2, 1, 1)), np.full((2, 1, 1), 10**0.5), np.ones((2, 1)))

    def test_average_over_mixtures_prefers_equal_ones(self):
        apart = bound(self.q, self.apart, form="paper_avg")
        merged = bound(self.q, self.merged, form="paper_avg")
        np.testing.assert_allclose(apart, 9.0, rtol=1e-10)
        np.testing.assert_allclose(merged, 1.151293, atol=1e-6)

    def test_soft_minimum_prefers_the_right_ones(self):
        apart = bound(self.q, self.apart, form="soft_k")
        merged = bound(self.q, self.merged, form="soft_k")
        np.testing.assert_allclose(apart, np.log(2.0), atol=1e-6)
        np.testing.assert_allclose(merged, 1.151293, atol=1e-6)


def test_optimal_category_weights():
    """Lavda et al. (Entropy 2020): q = N(0, 1), priors N(0, 1) and N(1, 4)."""
    q = ([[0.0]], [[1.0]], [1.0])
    p = ([[[0.0]], [[1.0]]], [[[1.0]], [[2.0]]], [1.0])
    z = np.linspace(-12, 12, 200_001)
    density = stats.norm.pdf(z)
    mixture = 0.5 * (density + stats.norm.pdf(z, 1.0, 2.0))
    exact = integrate.trapezoid(special.rel_entr(density, mixture), z)
    np.testing.assert_allclose(exact, 0.158025, atol=1e-6)
    for form in ("soft_k", "lse_component", "variational"):
        np.testing.assert_allclose(bound(q, p, form=form), 0.197224, atol=1e-6)


class TestBounds:
    @pytest.mark.parametrize("seed", range(60))
    def test_no_bound_is_below_monte_carlo(self, seed):
        q, p = random_mixtures(seed)
        mean, error = monte_carlo_kl(np.random.default_rng(seed), q, p, 5000)
        values = {form: bound(q, p, form=form) for form in FORMS}
        best = {form: bound(q, p, form=form, matching="optimal") for form in MATCHED}
        assert min(*values.values(), *best.values()) > mean - 4 * error
        for matched in (values, best):
            assert matched["soft_k"] <= matched["paper_avg"] + 1e-12
            assert matched["soft_k"] <= matched["min_k"] + 1e-12
            assert values["variational"] <= matched["soft_k"] + 1e-3
        for form in MATCHED:
            assert best[form] <= values[form] + 1e-12
        assert values["variational"] <= values["lse_component"] + 1e-12
        of_pairs = np.einsum("m,kn,kmn->", q[2], p[2] / len(p[2]), pairwise_kl(q, p))
        assert values["lse_component"] <= of_pairs + 1e-12

    @pytest.mark.parametrize("seed", range(20))
    def test_optimal_matching_equals_scipy(self, seed):
        q, p = random_mixtures(seed, m=5)
        kl = pairwise_kl(q, p)
        bounds = []
        for k in range(len(kl)):
            ratio = np.log(q[2])[:, None] - np.log(p[2][k])
            cost = q[2][:, None] * (ratio + kl[k])
            bounds.append(cost[linear_sum_assignment(cost)].sum())
        value = bound(q, p, form="paper_avg", matching="optimal")
        np.testing.assert_allclose(value, np.mean(bounds), rtol=1e-10)

    @pytest.mark.parametrize("seed", range(20))
    def test_greedy_matching_equals_a_loop(self, seed):
        q, p = random_mixtures(seed, m=4)
        if seed % 2:
            q = (*q[:2], np.full(4, 0.25))
        kl, bounds = pairwise_kl(q, p), []
        for k in range(len(kl)):
            free, total = list(range(4)), 0.0
            for m in np.argsort(-q[2], kind="stable"):
                n = min(free, key=lambda n: kl[k, m, n] - np.log(p[2][k, n]))
                total += q[2][m] * (np.log(q[2][m] / p[2][k, n]) + kl[k, m, n])
                free.remove(n)
            bounds.append(total)
        value = bound(q, p, form="paper_avg")
        np.testing.assert_allclose(value, np.mean(bounds), rtol=1e-10)

    def test_greedy_matching_can_be_worse(self):
        q = ([[0.0], [1.0]], [[1.0], [1.0]], HALVES)
        p = ([[[0.6], [-2.0]]], [[[1.0], [1.0]]], HALVES)
        assert bound(q, p, matching="optimal") < bound(q, p) - 0.1


class TestReductions:
    @pytest.mark.parametrize("form", FORMS)
    def test_single_gaussians(self, form):
        q, p = random_mixtures(1, m=1, k=1, d=4)
        expected = divergences.gaussian_kl(q[0][0], q[1][0], p[0][0, 0], p[1][0, 0])
        np.testing.assert_allclose(bound(q, p, form=form), expected, rtol=1e-10)

    @pytest.mark.parametrize("form", FORMS)
    def test_equal_mixtures(self, form):
        q, _ = random_mixtures(2, m=3, k=1, d=2)
        value = bound(q, [part[None] for part in q], form=form)
        if form == "lse_component":
            assert value > 0.0
        elif form == "variational":
            np.testing.assert_allclose(value, 0.0, atol=1e-3)
        else:
            np.testing.assert_allclose(value, 0.0, atol=1e-12)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("matching", ["greedy", "optimal"])
    def test_identical_components_count_as_one(self, form, matching):
        q, p = random_mixtures(3, m=1, k=4, d=3)
        q3 = (*(np.repeat(part, 3, axis=0) for part in q[:2]), np.full(3, 1 / 3))
        p3 = (*(np.repeat(part, 3, axis=1) for part in p[:2]), np.full(3, 1 / 3))
        value = bound(q3, p3, form=form, matching=matching)
        np.testing.assert_allclose(value, bound(q, p, form=form), rtol=1e-10)

    @pytest.mark.parametrize("form", FORMS)
    def test_order_of_components_does_not_matter(self, form):
        q, p = random_mixtures(4, m=3, k=3, d=2)
        q_permuted = [part[[2, 0, 1]] for part in q]
        p_permuted = [part[:, [1, 0, 2]] for part in p]
        value = bound(q_permuted, p_permuted, form=form, matching="optimal")
        expected = bound(q, p, form=form, matching="optimal")
        np.testing.assert_allclose(value, expected, rtol=1e-10)

    def test_standard_normal_prior(self):
        q, _ = random_mixtures(5, m=3, k=1, d=4)
        p = (np.zeros((1, 1, 4)), np.ones((1, 1, 4)), np.ones(1))
        expected = np.sum(q[2] * divergences.gaussian_kl(q[0], q[1]))
        value = bound(q, p, form="lse_component")
        np.testing.assert_allclose(value, expected, rtol=1e-10)


class TestShapes:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("matching", ["greedy", "optimal"])
    def test_rows_of_a_batch_are_independent(self, form, matching):
        q, p = random_mixtures(6, m=3, k=4, d=2, batch=(2, 5))
        value = bound(q, p, form=form, matching=matching)
        every_p = [np.broadcast_to(part, (2, 5, *part.shape)) for part in p]
        batched_p = bound(q, every_p, form=form, matching=matching)
        assert value.shape == (2, 5)
        np.testing.assert_allclose(batched_p, value, rtol=1e-9)
        for row in np.ndindex(2, 5):
            expected = bound([part[row] for part in q], p, form=form, matching=matching)
            np.testing.assert_allclose(value[row], expected, rtol=1e-9)

    @pytest.mark.parametrize("form", FORMS)
    def test_shared_weights(self, form):
        q, p = random_mixtures(7, m=2, k=3, d=2, batch=(4,))
        shared = bound((*q[:2], [0.3, 0.7]), (*p[:2], [0.6, 0.4]), form=form)
        full = bound(
            (*q[:2], np.tile([0.3, 0.7], (4, 1))),
            (*p[:2], np.tile([0.6, 0.4], (3, 1))),
            form=form,
        )
        np.testing.assert_allclose(shared, full, rtol=1e-12)

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize(
        ("form", "matching"),
        [*((form, "greedy") for form in FORMS), ("soft_k", "optimal")],
    )
    def test_graph_and_xla_equal_eager(self, form, matching, jit_compile):
        q, p = random_mixtures(8, m=3, k=4, d=5, batch=(6,))
        q_rest, p = q[1:], [tf.constant(part) for part in p]

        def value_and_gradient(means_q):
            with tf.GradientTape() as tape:
                tape.watch([means_q, *p])
                value = divergences.mixture_kl_bound(
                    means_q, *q_rest, *p, matching=matching, form=form
                )
            return value, *tape.gradient(value, [means_q, *p])

        means_q = tf.constant(q[0])
        compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
        outputs, expected = compiled(means_q), value_and_gradient(means_q)
        for actual, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-8, atol=1e-11)

    def test_unknown_batch_size(self):
        q, p = random_mixtures(9, m=2, k=3, d=2, batch=(4,))
        signature = [tf.TensorSpec([None, 2, 2]), tf.TensorSpec([None, 2, 2])]

        @tf.function(input_signature=signature)
        def function(means, stddevs):
            return divergences.mixture_kl_bound(means, stddevs, HALVES, *p)

        single_q = [tf.constant(part, tf.float32) for part in q[:2]]
        expected = bound((*q[:2], HALVES), p)
        np.testing.assert_allclose(function(*single_q), expected, rtol=1e-5)


class TestGradients:
    @pytest.mark.parametrize("form", FORMS)
    def test_equals_finite_differences(self, form):
        """The variational shares carry no gradient, yet the bound's is right."""
        q, p = random_mixtures(10, m=2, k=3, d=2)
        means_p = tf.constant(p[0])
        with tf.GradientTape() as tape:
            tape.watch(means_p)
            value = divergences.mixture_kl_bound(*q, means_p, *p[1:], form=form)
        gradient = tape.gradient(value, means_p).numpy()
        for index in np.ndindex(p[0].shape):
            step = np.zeros_like(p[0])
            step[index] = 1e-5
            up = bound(q, (p[0] + step, *p[1:]), form=form)
            down = bound(q, (p[0] - step, *p[1:]), form=form)
            expected = (up - down) / 2e-5
            np.testing.assert_allclose(gradient[index], expected, atol=2e-3)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("matching", ["greedy", "optimal"])
    def test_are_finite_at_zero_weights_and_equal_components(self, form, matching):
        q = [tf.zeros([2, 3]), tf.ones([2, 3]), tf.constant([1.0, 0.0])]
        p = [tf.zeros([2, 2, 3]), tf.ones([2, 2, 3]), tf.constant([0.0, 1.0])]
        with tf.GradientTape() as tape:
            tape.watch([*q, *p])
            value = divergences.mixture_kl_bound(*q, *p, matching=matching, form=form)
        assert np.isfinite(value)
        for gradient in tape.gradient(value, [*q, *p]):
            assert np.all(np.isfinite(gradient))

    def test_far_means_keep_their_digits_in_float32(self):
        q, p = random_mixtures(11, m=2, k=5, d=20)
        far = [(part[0] + 500.0, *part[1:]) for part in (q, p)]
        single = [[np.float32(part) for part in mixture] for mixture in far]
        for form in FORMS:
            np.testing.assert_allclose(
                bound(*single, form=form), bound(q, p, form=form), rtol=1e-4
            )


class TestBadInput:
    q, p = random_mixtures(12, m=3, k=2, d=2)

    def test_rejects_unknown_names(self):
        with pytest.raises(ValueError, match="Unknown form 'mean': expected one of"):
            bound(self.q, self.p, form="mean")
        with pytest.raises(ValueError, match="Unknown matching 'best': expected one"):
            bound(self.q, self.p, matching="best")

    def test_rejects_wrong_shapes(self):
        means, stddevs, weights = self.q
        with pytest.raises(ValueError, match="means_q and stddevs_q of one shape"):
            bound((means, stddevs[:2], weights), self.p)
        with pytest.raises(ValueError, match="means_p and stddevs_p of one shape"):
            bound(self.q, self.q)
        with pytest.raises(ValueError, match="equal dimension, got 1 and 2"):
            bound((means[:, :1], stddevs[:, :1], weights), self.p)
        with pytest.raises(ValueError, match="weights of 3 components of q"):
            bound((means, stddevs, HALVES), self.p)

    def test_rejects_impossible_matchings(self):
        fewer = [part[:2] for part in self.q]
        with pytest.raises(ValueError, match="one-to-one matching, got 2 and 3"):
            bound(fewer, self.p)
        assert bound(fewer, self.p, form="variational") > 0.0
        many = random_mixtures(13, m=9, k=1, d=1)
        with pytest.raises(ValueError, match="at most 8 components .* got 9"):
            bound(*many, matching="optimal")
