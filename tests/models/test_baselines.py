"""The baselines of the MVAE paper: golden values, reductions and exact likelihoods."""

import math

import harness
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from test_exact import LATENT, PIXELS, assign, create, inverse_softplus

from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.models.mae import mutual_divergence, pair_stddev, pairwise_kl
from mvae_tf.models.wwae import aggregated_moments
from mvae_tf.noise import BatchNoise, step_seed
from mvae_tf.presets import baselines

X, _ = harness.Case("vae", "vae").data()


def make(name, **arguments):
    return harness.Case(name, name).make(**arguments)


def terms_of(model, mean, stddev):
    """Terms of a model for posteriors `[B, Z]` whose KLs are 1, 2, 3..."""
    mean, stddev = (tf.constant(v, tf.float32)[:, None] for v in (mean, stddev))
    posterior = Posterior(mean, stddev, mean[..., 0])
    model.infer = lambda *unused: posterior
    model.draw = lambda *unused: Draw(mean, mean[..., 0])
    model.kl_nats = lambda *unused: tf.range(1.0, len(mean) + 1.0)
    return model.loss_terms(tf.zeros([len(mean), 4, 4, 1]), None, None, False)


# === Reductions ===


def two_steps(name, **arguments):
    """Losses and weights of two steps."""
    model = harness.Case(name, name, arguments).compiled(learning_rate=1e-2)
    history = model.fit(X, batch_size=len(X), epochs=2, shuffle=False, verbose=0)
    return history.history["loss"], [v.numpy() for v in model.trainable_variables]


@pytest.fixture(scope="module")
def vae():
    return two_steps("vae")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("beta_vae", {"beta": 1.0}),
        ("info_vae", {"alpha": 0.0, "mmd_weight": 1.0}),
        ("cb_vae", {"likelihood": "bernoulli"}),
        ("msvi", {"num_components": 1}),
    ],
)
def test_is_the_vae_to_the_bit(vae, name, arguments):
    losses, weights = two_steps(name, **arguments)
    assert losses == vae[0]
    for ours, theirs in zip(weights, vae[1], strict=True):
        np.testing.assert_array_equal(np.ravel(ours), np.ravel(theirs))


def test_mae_without_its_terms_is_the_vae(vae):
    losses, weights = two_steps("mae", eta=0.0, gamma=0.0)
    np.testing.assert_allclose(losses, vae[0], rtol=1e-6)
    for ours, theirs in zip(weights, vae[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["beta_vae", "info_vae", "cb_vae", "mae", "wwae"])
def test_is_not_the_vae_by_default(vae, name):
    losses, _ = two_steps(name)
    assert abs(losses[0] - vae[0][0]) > 0.1


@pytest.mark.parametrize("name", ["beta_vae", "info_vae", "mae"])
def test_bound_is_that_of_the_vae_whatever_the_objective(name):
    np.testing.assert_array_equal(make(name).elbo(X), make("vae").elbo(X))


@pytest.mark.extra
@pytest.mark.parametrize("name", ["info_vae", "mae", "wwae"])
def test_terms_of_a_batch_differentiate_under_xla(name):
    """In a loop over batches, where XLA does not know their sizes, the last being 1."""
    model = make(name)

    def gradients(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            posterior = Posterior(z[:, None], tf.exp(z[:, None]), z[:, :1])
            noise = BatchNoise(step_seed(0, tf.constant(0, tf.int64)))
            model.infer = lambda *unused: posterior
            x = tf.zeros([tf.shape(z)[0], 4, 4, 1])
            terms = model.loss_terms(x, None, noise, True)
            by_batch = [k for k, term in model.terms.items() if term.per == "batch"]
            total = tf.add_n([terms[k] for k in by_batch if k != "kl"])
        return tape.gradient(total, z)

    compiled = tf.function(gradients, jit_compile=True)
    z = np.random.default_rng(0).normal(size=(9, 2)).astype("float32")

    @tf.function
    def total_of_epoch():
        total = tf.zeros([2])
        for batch in tf.data.Dataset.from_tensor_slices(z).batch(8):
            total += tf.reduce_sum(tf.abs(compiled(batch)), axis=0)
        return total

    assert np.all(np.isfinite(total_of_epoch()))


# === Continuous Bernoulli ===


@pytest.mark.parametrize(
    ("value", "log_constant", "mean"),
    [
        (0.1, 1.010338559, 0.330120),
        (0.25, 0.787195008, 0.410239),
        (0.5, 0.693147181, 0.5),
    ],
)
def test_cb_vae_has_the_normalising_constant(value, log_constant, mean):
    constant, cross_entropy = make("cb_vae"), make("vae")
    for model in (constant, cross_entropy):
        last = model.mix_decoder.layers_in_order[-1]
        last.kernel.assign(tf.zeros_like(last.kernel))
        last.bias.assign(np.full(last.bias.shape, special.logit(value)))
    gain = (constant.elbo(X) - cross_entropy.elbo(X)) / X[0].size
    np.testing.assert_allclose(gain, log_constant, atol=1e-5)
    np.testing.assert_allclose(constant.generate(1, seed=0), mean, atol=1e-5)


# === InfoVAE ===


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([[0.0]], [[1.0]], 0.786939),
        ([[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [2.0, 2.0]], 0.629067),
    ],
)
def test_info_vae_kernel(first, second, expected):
    model = make("info_vae", latent_dim=len(first[0]))
    value = model.discrepancy(tf.constant(first), tf.constant(second))
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_info_vae_draws_the_prior_apart_from_the_posterior():
    """Posteriors N(0, I) leave the discrepancy of two samples of one distribution."""
    model = make("info_vae", latent_dim=10)
    z = tf.zeros([64, 1, 10])
    posterior = Posterior(z, z + 1.0, z[..., 0] + 1.0)

    @tf.function
    def discrepancy(step):
        noise = BatchNoise(step_seed(0, step))
        return model.regularizers(posterior, model.draw(posterior, noise), noise)["mmd"]

    values = [discrepancy(tf.constant(step, tf.int64)) for step in range(300)]
    standard_error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - 0.018691) < 4 * standard_error


@pytest.mark.parametrize(("alpha", "weight"), [(1.5, 10.0), (0.0, 0.5)])
def test_info_vae_refuses_negative_weights(alpha, weight):
    message = f"Expected alpha <= 1 .*, got {alpha} and {weight}."
    with pytest.raises(ValueError, match=message):
        make("info_vae", alpha=alpha, mmd_weight=weight)


# === WWAE ===


def test_wwae_known_distance():
    """Moments m = (1, -1) and S = diag(.25, 4), part of each in the means."""
    mean, stddev = [[1.3, -1.0], [0.7, -1.0]], [[0.4, 2.0], [0.4, 2.0]]
    terms = terms_of(make("wwae"), mean, stddev)
    np.testing.assert_allclose(terms["w2"], 3.25, rtol=1e-6)
    standard = terms_of(make("wwae"), np.zeros((3, 2)), np.ones((3, 2)))
    np.testing.assert_allclose(standard["w2"], 0.0, atol=1e-12)
    assert make("wwae").terms["kl"].weight is None


def test_wwae_moments_are_those_of_the_aggregated_posterior():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(7, 3)).astype("float32")
    stddev = rng.uniform(0.1, 2.0, size=(7, 3)).astype("float32")
    rows = rng.integers(0, 7, size=400_000)
    z = mean[rows] + stddev[rows] * rng.normal(size=(len(rows), 3))
    center, spread = aggregated_moments(mean, stddev)
    np.testing.assert_allclose(center, z.mean(axis=0), atol=0.015)
    np.testing.assert_allclose(spread, z.std(axis=0), atol=0.015)


# === MAE ===


def random_posteriors(num=9, latent_dim=5, shift=0.0):
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(num, latent_dim)) + shift
    stddev = np.exp(rng.normal(0.0, 0.7, size=(num, latent_dim)))
    return mean.astype("float32"), stddev.astype("float32")


def kl_by_pairs(mean, stddev):
    """KL of every pair in every dimension, `[B, B, Z]` in float64."""
    mean, stddev = mean.astype("float64"), stddev.astype("float64")
    ratio = stddev[:, None] / stddev
    distance = (mean[:, None] - mean) / stddev
    return 0.5 * (ratio**2 + distance**2 - 1.0) - np.log(ratio)


def test_mae_known_pair():
    mean, stddev = tf.constant([[0.0], [1.0]]), tf.constant([[1.0], [2.0]])
    pairs = pairwise_kl(mean, stddev)
    np.testing.assert_allclose(pairs, [[0, 0.443147], [1.306853, 0]], atol=1e-6)
    np.testing.assert_allclose(mutual_divergence(mean, stddev), [0.875], atol=1e-6)
    np.testing.assert_allclose(pair_stddev(pairs), 0.610733, atol=1e-6)
    terms = terms_of(make("mae", latent_dim=1), mean, stddev)
    diversity = -np.log(special.expit(0.875))
    np.testing.assert_allclose(terms["diversity"], diversity, rtol=1e-6)
    np.testing.assert_allclose(terms["smoothness"], 0.610733, atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_mae_pair_statistics_equal_those_of_differences(shift):
    mean, stddev = random_posteriors(shift=shift)
    by_pairs = kl_by_pairs(mean, stddev)
    apart = ~np.eye(len(mean), dtype=bool)
    pairs = pairwise_kl(mean, stddev)
    total = by_pairs.sum(axis=-1)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(pairs, total, **close)
    np.testing.assert_allclose(
        mutual_divergence(mean, stddev), by_pairs[apart].mean(axis=0), **close
    )
    np.testing.assert_allclose(pair_stddev(pairs), total[apart].std(ddof=1), **close)


def test_mae_holds_nothing_of_pairs_and_dimensions():
    num, latent_dim = 32, 5

    @tf.function
    def statistics(mean, stddev):
        return mutual_divergence(mean, stddev), pair_stddev(pairwise_kl(mean, stddev))

    spec = tf.TensorSpec([num, latent_dim])
    graph = statistics.get_concrete_function(spec, spec).graph
    sizes = [
        t.shape.num_elements() for op in graph.get_operations() for t in op.outputs
    ]
    assert max(sizes) == num * num


@pytest.mark.parametrize("num", [1, 2, 6])
def test_mae_of_equal_posteriors(num):
    mean, stddev = tf.ones([num, 3]), tf.fill([num, 3], 0.5)
    with tf.GradientTape() as tape:
        tape.watch([mean, stddev])
        divergence = mutual_divergence(mean, stddev)
        smoothness = pair_stddev(pairwise_kl(mean, stddev))
        total = tf.reduce_sum(divergence) + smoothness
    np.testing.assert_allclose(divergence, 0.0, atol=1e-6)
    np.testing.assert_allclose(smoothness, 0.0, atol=2e-6)
    np.testing.assert_allclose(tape.gradient(total, [mean, stddev]), 0.0, atol=1e-5)
    terms = terms_of(make("mae", latent_dim=3), np.ones((num, 3)), np.ones((num, 3)))
    diversity = 3 * math.log(2.0)
    np.testing.assert_allclose(terms["diversity"], diversity, rtol=1e-6)


@pytest.mark.parametrize(("free_bits", "expected"), [(0.0, 2.0), (2.5, 2.5)])
def test_mae_free_bits_are_of_the_average_image(free_bits, expected):
    model = make("mae", free_bits=free_bits)
    terms = terms_of(model, np.zeros((3, 2)), np.ones((3, 2)))
    assert terms["kl"] == expected


# === MSVI ===


def test_identical_experts_are_one_vae():
    single, experts = make("vae"), make("msvi")
    harness.perturb(single)
    for network in ("encoder", "sub_decoder", "mix_decoder"):
        source, target = getattr(single, network), getattr(experts, network)
        target.copy_components(source, [0, 0, 0])
    posterior = single.infer(X)
    latents = single.draw(posterior, BatchNoise(step_seed(0, 0)))
    copies = Draw(tf.repeat(latents.z, 3, axis=1), tf.fill([12, 3], 1 / 3))
    same = {"rtol": 1e-5, "atol": 1e-5}
    shared = experts.infer(X)
    for actual, expected in [
        (experts.kl_nats(shared, copies), single.kl_nats(posterior, latents)),
        (
            experts.reconstruction_error(X, copies),
            single.reconstruction_error(X, latents),
        ),
        (
            experts.log_importance_weight(X, shared, copies),
            single.log_importance_weight(X, posterior, latents),
        ),
        (experts.reconstruct(X), single.reconstruct(X)),
    ]:
        np.testing.assert_allclose(actual, expected, **same)


def test_msvi_generates_from_one_expert_chosen_evenly():
    model = harness.uncompiled(make("msvi"))
    harness.perturb(model)
    draws = model.draw_prior(tf.zeros([3000, 3]), BatchNoise(step_seed(0, 0)))
    weights = draws.weights.numpy()
    assert set(np.unique(weights)) == {0.0, 1.0}
    np.testing.assert_array_equal(weights.sum(axis=1), 1.0)
    standard_error = math.sqrt(1 / 3 * 2 / 3 / 3000)
    assert np.all(np.abs(weights.mean(axis=0) - 1 / 3) < 4 * standard_error)
    images = model.generate(20, seed=0)
    by_expert = [model.generate(20, component=e, seed=0) for e in range(3)]
    from_expert = [np.all(images == one, axis=(1, 2, 3)) for one in by_expert]
    np.testing.assert_array_equal(np.sum(from_expert, axis=0), 1)


@pytest.fixture(scope="module")
def linear_experts():
    """Three linear-Gaussian experts with exact posteriors, and their log p_e(x)."""
    rng = np.random.default_rng(0)
    model = create("msvi", num_components=3)
    kernels, biases, loadings, offsets = [], [], [], []
    for _ in range(3):
        # Orthogonal columns make the exact posterior a diagonal one.
        loading = np.linalg.qr(rng.normal(size=(PIXELS, LATENT)))[0] * [1.5, 0.7]
        offset = rng.normal(size=PIXELS)
        precision = 1.0 + np.sum(loading**2, axis=0)
        kernels.append(np.concatenate([loading / precision, 0 * loading], axis=1))
        raw = inverse_softplus(precision**-0.5)
        biases.append(np.concatenate([-offset @ loading / precision, raw]))
        loadings.append(loading)
        offsets.append(offset)
    assign(model.encoder, kernels, biases)
    assign(model.sub_decoder, np.swapaxes(loadings, 1, 2), offsets)
    x = rng.normal(scale=1.5, size=(20, PIXELS)).astype("float32")
    log_probs = [
        stats.multivariate_normal(c, w @ w.T + np.eye(PIXELS)).logpdf(x)
        for w, c in zip(loadings, offsets, strict=True)
    ]
    return model, x, np.array(log_probs)


@pytest.mark.parametrize("num_samples", [1, 60])
def test_msvi_likelihood_is_exact_under_exact_posteriors(linear_experts, num_samples):
    model, x, log_probs = linear_experts
    exact = special.logsumexp(log_probs, axis=0) - math.log(3)
    estimate = model.log_likelihood(x, num_samples)
    np.testing.assert_allclose(estimate, exact, atol=1e-4)


def test_msvi_bound_is_the_average_of_the_experts(linear_experts):
    model, x, log_probs = linear_experts
    bounds = [model.elbo(x, seed=seed) for seed in range(60)]
    gaps = np.mean(bounds - log_probs.mean(axis=0), axis=1)
    assert abs(np.mean(gaps)) < 4 * np.std(gaps, ddof=1) / math.sqrt(len(gaps))


def test_msvi_likelihood_is_unbiased_under_any_posteriors(linear_experts):
    model, x, log_probs = linear_experts
    twin = create("msvi", num_components=3)
    twin.set_weights(model.get_weights())
    bias = twin.encoder.layers_in_order[0].bias
    bias.assign_add(np.full(bias.shape, 0.3))
    exact = np.mean(np.exp(log_probs), axis=0)
    draws = [np.exp(twin.log_likelihood(x, 10, seed=seed)) for seed in range(200)]
    error = np.std(draws, axis=0, ddof=1) / math.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - exact) < 4 * error)
    assert np.all(error < 0.05 * exact)


# === Presets ===


PRESETS = {preset.name: preset for preset in baselines.presets()}


def test_presets_are_those_of_the_tables():
    rows = {"msvi", "info-vae", "beta-vae", "wwae", "mae"}
    names = {
        f"{row}-{d}" for row in rows for d in ("cifar10", "cifar100", "imagenet64")
    }
    assert set(PRESETS) == names | {"cb-vae-cifar10", "msvi-mnist", "info-vae-mnist"}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("cb-vae-cifar10", {"inception_score": 4.55}),
        ("beta-vae-cifar100", {"rmse": 9.17, "inception_score": 3.31}),
        ("wwae-imagenet64", {"rmse": 25.63, "inception_score": 5.79}),
        ("msvi-mnist", {"accuracy_mlp": 97.15}),
        (
            "info-vae-cifar10",
            {"rmse": 3.24, "inception_score": 6.17, "accuracy_mlp": 42.92},
        ),
    ],
)
def test_numbers_of_the_tables(name, numbers):
    assert {r.metric: r.value for r in PRESETS[name].paper} == numbers
