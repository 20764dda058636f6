"""CGM: values of the paper, limits in which it is another model, and its answers."""

import harness
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import mvae_tf
from mvae_tf import divergences
from mvae_tf.models import cgm
from mvae_tf.models.prototypes import mmd_within_categories, prototype_loss
from mvae_tf.noise import BatchNoise, Noise, step_seed

MLP = {"name": "mlp", "hidden": 8}


def create(**arguments):
    defaults = {"latent_dim": 2, "num_components": 3, "network": MLP}
    return mvae_tf.create("cgm", (4, 4, 1), **(defaults | arguments))


@pytest.fixture
def data():
    return harness.Case("cgm", "cgm", labels=True).data(num=12)


def step_noise(step=0):
    return BatchNoise(step_seed(0, step))


def terms_of(model, x, y=None, training=False):
    """Terms of the objective by name, under the noise of one step."""
    x, y = model.unpack((x, y))
    terms = model.loss_terms(x, y, step_noise(), training)
    return terms


def cross_entropy(x, images):
    entropy = -(special.xlogy(x, images) + special.xlogy(1 - x, 1 - images))
    return entropy.reshape(len(images), -1).sum(axis=1)


# === Closed forms ===


@pytest.mark.parametrize(
    ("bits", "latent_dim", "variance"),
    [(15, 10, 0.125), (200, 600, 0.629961), (120, 300, 0.574349), (0, 7, 1.0)],
)
def test_variance_of_an_information_rate(bits, latent_dim, variance):
    assert cgm.rate_variance(bits, latent_dim) == pytest.approx(variance, abs=5e-7)


def test_information_rate_decides_the_deviation_of_posterior_and_prior(data):
    model = create(latent_dim=10, information_rate=15)
    np.testing.assert_allclose(model.encode(data[0])["stddev"], 0.125**0.5)
    np.testing.assert_allclose(model.prior.components()[1], 0.125**0.5)
    assert create().noise_stddev == pytest.approx(0.02**0.5)


def test_prototype_loss_sums_over_the_other_prototypes():
    loss = prototype_loss(
        tf.constant([[0.5, 0.5]]),
        tf.constant([[0.0, 0.0], [1.0, 1.0], [0.5, -0.2]]),
        tf.constant([[1.0, 0.0, 0.0]]),
        margin=1.0,
    )
    np.testing.assert_allclose(loss, [1.51], rtol=1e-6)


def test_prototypes_beyond_the_margin_do_not_repel():
    codes = tf.constant([[0.5, 0.5]])
    prototypes = tf.constant([[0.5, 0.5], [2.0, 0.5], [0.5, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(prototypes)
        loss = prototype_loss(codes, prototypes, tf.eye(3)[:1], margin=1.0)
    gradient = tape.gradient(loss, prototypes)
    np.testing.assert_allclose(gradient, [[0, 0], [0, 0], [0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("unbiased", [False, True])
def test_masked_mmd_is_that_of_each_category(unbiased):
    rng = np.random.default_rng(0)
    categories = rng.permutation(np.repeat([0, 1, 2, 4, 5], [6, 3, 1, 2, 8]))
    x = rng.normal(size=(20, 3))
    y = x + rng.normal(0.5, 1.0, size=x.shape)
    expected = 0.0
    for category in (0, 1, 4, 5):
        members = categories == category
        part = divergences.mmd(x[members], y[members], 3**0.5, unbiased)
        expected += members.sum() / len(x) * part
    membership = tf.one_hot(categories, 6, dtype=tf.float64)
    value = mmd_within_categories(
        tf.constant(x), tf.constant(y), membership, 3**0.5, unbiased
    )
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.parametrize("unbiased", [False, True])
def test_joint_mmd_is_that_of_the_whole_batch(data, unbiased):
    model = create(granularity="joint", unbiased=unbiased, supervised=True)
    harness.perturb(model)
    x, y = model.unpack(data)
    noise = step_noise()
    z = model.draw(model.infer(x, y), noise).z[:, 0]
    own = tf.gather(model.prior.means, data[1])
    prior_z = model._around(own, "prior_z", noise)
    expected = divergences.mmd(z, prior_z, 2**0.5, unbiased)
    np.testing.assert_allclose(terms_of(model, *data)["mmd"], expected, rtol=1e-4)


def test_draws_spread_by_the_variance_around_the_code():
    model = create(latent_dim=10, num_components=3)
    x = np.repeat(np.random.default_rng(0).uniform(size=(1, 4, 4, 1)), 20_000, axis=0)
    posterior = model.infer(x.astype("float32"))
    z = model.draw(posterior, step_noise()).z
    np.testing.assert_array_equal(z[:, 0], z[:, 2])
    code, prototype = posterior.mean[0, 0].numpy(), model.prior.means[1].numpy()
    squares = np.sum((z[:, 0] - prototype) ** 2, axis=1)
    expected = np.sum((code - prototype) ** 2) + 10 * 0.02
    error = np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - expected) < 4 * error
    assert 4 * error < 0.1


# === Limits and symmetries ===


@pytest.mark.parametrize("supervised", [False, True])
def test_names_of_the_prototypes_do_not_matter(data, supervised):
    x, y = data
    model, renamed = create(supervised=supervised), create(supervised=supervised)
    order = np.array([2, 0, 1])
    renamed.prior.means.assign(model.prior.means.numpy()[order])
    first, second = terms_of(model, x, y), terms_of(renamed, x, np.argsort(order)[y])
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, rtol=1e-5, atol=1e-6)
    if supervised:
        assert not np.allclose(terms_of(renamed, x, y)["mmd"], first["mmd"])


def test_without_noise_and_penalties_it_is_an_autoencoder(data):
    x, _ = data
    model = create(variance=1e-14, mmd_weight=0.0, prototype_weight=0.0)
    harness.perturb(model)
    model.compile(run_eagerly=True)
    loss = model.evaluate(x, verbose=0, return_dict=True)["loss"]
    expected = cross_entropy(x, model.decode(model.encode(x)["mean"]).numpy())
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


def test_without_prototype_term_it_is_info_vae(data):
    """One prototype at 0 and a variance of 1 make the prior of InfoVAE."""
    x, _ = data
    model = create(
        num_components=1, information_rate=0, prototype_weight=0.0, unbiased=False
    )
    info_vae = mvae_tf.create("info_vae", (4, 4, 1), latent_dim=2, network=MLP)
    harness.perturb(model)
    model.prior.means.assign(np.zeros((1, 2)))
    unit = np.log(np.e - 1.0)  # softplus(unit) = 1
    head = model.encoder.layers_in_order[-1]
    weights = [w.numpy() for w in model.encoder.weights]
    assert weights[-2].shape == head.kernel.shape
    weights[-2] = np.pad(weights[-2], [(0, 0), (0, 0), (0, 2)])
    weights[-1] = np.pad(weights[-1], [(0, 0), (0, 0), (0, 2)], constant_values=unit)
    info_vae.encoder.set_weights(weights)
    info_vae.sub_decoder.set_weights(model.sub_decoder.get_weights())
    info_vae.mix_decoder.set_weights(model.mix_decoder.get_weights())
    rng = np.random.default_rng(0)
    draws = {"z": rng.normal(size=(len(x), 2)), "prior": rng.normal(size=(len(x), 2))}

    class SameDraws(Noise):
        """The same draws for both models, which name and scale them differently."""

        def sample(self, name, sampler, *parameters):
            prior = self._prefix or name == "prior_z"
            drawn = draws["prior" if prior else "z"].astype("float32")
            if len(parameters) < 2:
                return drawn
            mean, stddev = parameters
            return mean + stddev * drawn[:, np.newaxis]

    def objective(some):
        terms = some.loss_terms(tf.constant(x), None, SameDraws(), training=True)
        return some.objective(terms, some.final_weights, x)

    np.testing.assert_allclose(objective(model), objective(info_vae), rtol=1e-5)


def test_likelihood_is_the_integral_over_the_prior(data):
    x, _ = data
    model = create(latent_dim=1, num_components=3, information_rate=0)
    harness.perturb(model)
    model.initialize_prototypes(x)
    grid = np.linspace(-12.0, 12.0, 4001)
    z = np.repeat(grid[:, np.newaxis, np.newaxis], 3, axis=1)
    images = model.decode(z.astype("float32")).numpy().astype("float64")
    prior = np.mean(
        [stats.norm(m, 1.0).pdf(grid) for m in model.prior.means.numpy()[:, 0]],
        axis=0,
    )
    log_p = np.array([-cross_entropy(row[np.newaxis], images) for row in x])
    exact = special.logsumexp(log_p + np.log(prior * (grid[1] - grid[0])), axis=1)
    estimates = [model.log_likelihood(x, 50, seed=seed) for seed in range(40)]
    ratios = np.exp(np.subtract(estimates, exact))
    error = np.std(ratios.mean(axis=1), ddof=1) / len(ratios) ** 0.5
    assert abs(np.mean(ratios) - 1.0) < 4 * error
    assert 4 * error < 0.1
    size = model.effective_sample_size(x, 20)
    assert np.all(size > 1.0)
    assert np.all(size < 20.0)


def test_likelihood_is_found_far_from_the_code(data):
    """Where the posterior is wider than N(r, s^2), the prior's half finds it."""
    x, _ = data
    model = create(latent_dim=1, num_components=2)
    harness.perturb(model)
    codes = model.codes(x).numpy()[:, 0]
    model.prior.means.assign([[codes.mean() - 1.5], [codes.mean() + 1.5]])
    grid = np.linspace(codes.mean() - 4.0, codes.mean() + 4.0, 8001)
    z = np.repeat(grid[:, np.newaxis, np.newaxis], 2, axis=1)
    images = model.decode(z.astype("float32")).numpy().astype("float64")
    means = model.prior.means.numpy()
    log_prior = np.log(stats.norm(means, 0.02**0.5).pdf(grid).mean(axis=0) + 1e-300)
    log_p = np.array([-cross_entropy(row[np.newaxis], images) for row in x])
    step = np.log(grid[1] - grid[0])
    exact = special.logsumexp(log_p + log_prior + step, axis=1)
    found = model.importance_sampling(x, 1000)
    size = found.effective_sample_size.numpy()
    # The log of a mean of weights has a variance of about 1 / size.
    error = np.sqrt(np.mean(1.0 / size) / len(x))
    assert abs(np.mean(found.log_likelihood - exact)) < 4 * error < 0.1
    assert np.min(size) > 100


def test_sample_size_wants_draws(data):
    with pytest.raises(ValueError, match="num_samples as an integer >= 1, got 0"):
        create().effective_sample_size(data[0], 0)


def test_every_draw_counts_where_proposal_and_posterior_agree(data):
    model = create(num_components=1)
    model.prior.means.assign(np.zeros((1, 2)))
    for layer in (model.encoder, model.sub_decoder):
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    size = model.effective_sample_size(data[0], 7)
    np.testing.assert_allclose(size, np.full(len(data[0]), 7.0), rtol=1e-4)


# === Denoising ===


def test_the_clean_image_is_the_target_of_a_noisy_one(data):
    x, _ = data
    model = create(input_noise=0.7)
    harness.perturb(model)
    noise = step_noise()
    noisy = model._corrupted(x, noise)
    z = model.draw(model.infer(noisy), noise).z
    expected = cross_entropy(x, model.decode(z).numpy())
    trained, evaluated = (terms_of(model, x, training=t) for t in (True, False))
    np.testing.assert_allclose(trained["reconstruction"], expected, rtol=1e-4)
    z = model.draw(model.infer(x), step_noise()).z
    expected = cross_entropy(x, model.decode(z).numpy())
    np.testing.assert_allclose(evaluated["reconstruction"], expected, rtol=1e-4)


def test_denoise_returns_what_it_saw_and_what_it_made():
    x, _ = harness.Case("cgm", "cgm").data(num=400)
    model = create(input_noise=0.7)
    noisy, restored = model.denoise(x, seed=1)
    assert np.std(noisy - x) == pytest.approx(0.7, rel=0.02)
    again = model.reconstruct_batch(noisy, None)
    np.testing.assert_allclose(restored, again, rtol=1e-4)
    np.testing.assert_allclose(noisy[:3], model.denoise(x[:3], seed=1)[0], atol=1e-6)


# === Prototypes ===


def test_images_of_a_category_are_drawn_around_its_prototype():
    model = create(variance=1e-10, supervised=True)
    harness.perturb(model, scale=1.0)
    centers = np.repeat(model.prior.means.numpy()[:, np.newaxis], 3, axis=1)
    decoded = model.decode(centers).numpy()
    same = {"atol": 1e-3}
    np.testing.assert_allclose(model.generate(3, y=[0, 1, 2]), decoded, **same)
    alone = model.generate(3, component=1)
    np.testing.assert_allclose(alone, decoded[[1, 1, 1]], **same)
    drawn = model.generate(600, seed=0).numpy().reshape(600, -1)
    distances = np.abs(drawn[:, np.newaxis] - decoded.reshape(3, -1)).max(axis=2)
    counts = np.bincount(distances.argmin(axis=1), minlength=3)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_nearest_prototype_is_the_category_unless_a_label_is_given(data):
    x, y = data
    model = create(supervised=True)
    model.prior.means.assign(model.codes(x).numpy()[[3, 5, 9]] + 1e-3)
    np.testing.assert_array_equal(
        model.encode(x[[9, 3, 5]])["weights"], np.eye(3)[[2, 0, 1]]
    )
    labelled = model.encode(x, y)["weights"]
    np.testing.assert_array_equal(labelled, np.eye(3)[y])
    assert terms_of(model, x, np.ones(len(x)))["used_prototypes"] == 1


def test_class_means_minimise_the_attraction(data):
    x, y = data
    model = create(supervised=True, margin=0.0)
    model.initialize_prototypes(x, y)
    best = np.sum(terms_of(model, x, y)["prototype"])
    means = model.prior.means.numpy()
    rng = np.random.default_rng(0)
    for _ in range(10):
        model.prior.means.assign(means + rng.normal(0.0, 0.05, means.shape))
        assert np.sum(terms_of(model, x, y)["prototype"]) > best


def test_a_run_may_start_from_class_means(data):
    x, y = data
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    started = create(supervised=True)
    started.before_training(batches)
    model = create(supervised=True, prototype_init="codes")
    model.before_training(batches)
    codes = model.codes(x).numpy()
    means = [codes[y == k].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(model.prior.means, means, rtol=1e-5, atol=1e-6)
    assert not np.allclose(started.prior.means, means, atol=0.1)


def test_literal_presets_follow_the_text():
    preset = mvae_tf.presets.get("cgm2-literal-mnist")
    model = mvae_tf.create(preset.model, **preset.arguments)
    assert not model.unbiased
    assert model.network.units == 0
    assert model.prototype_init == "codes"
    assert preset.paper == mvae_tf.presets.get("cgm2-mnist").paper


def test_k_means_finds_the_codes_of_separated_images(data):
    x, y = data
    model = create()
    harness.perturb(model)
    model.initialize_prototypes(x)
    categories = np.argmax(model.encode(x)["weights"], axis=1)
    codes = model.codes(x).numpy()
    for k in range(3):
        members = codes[categories == k]
        np.testing.assert_allclose(model.prior.means[k], members.mean(0), atol=1e-5)


def test_initialisation_wants_images_of_every_category(data):
    x, y = data
    with pytest.raises(ValueError, match="at least 3 images .* got 2"):
        create().initialize_prototypes(x[:2])
    model = create(supervised=True)
    with pytest.raises(ValueError, match="each class, got none of 1"):
        model.initialize_prototypes(x, np.where(y == 1, 0, y))
    with pytest.raises(ValueError, match="Expected labels in 0..2 .* got none"):
        model.initialize_prototypes(x)


# === Labels ===


def test_inference_of_a_supervised_model_needs_no_labels(data):
    x, y = data
    model = create(supervised=True)
    np.testing.assert_allclose(
        model.log_likelihood(x, 3), model.log_likelihood(x, 3, y=y), rtol=1e-6
    )
    np.testing.assert_array_equal(model.reconstruct(x), model.reconstruct(x, y))
    # Compiled code fuses products with their biases, which rounds in another way.
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-6)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_training_of_a_supervised_model_needs_labels(data, method):
    x, y = data
    model = create(supervised=True)
    model.compile()
    for images in (x, harness.dataset(x)):
        with pytest.raises(ValueError, match=r"^Expected labels in 0..2 .*got none\.$"):
            getattr(model, method)(images, verbose=0)
    with pytest.raises(ValueError, match=r"^Expected labels in 0..2, got 0..3\.$"):
        getattr(model, method)(x, y + (y == 2), verbose=0)


# === Classification, networks, mistakes ===


def test_classifier_of_codes():
    x, y = harness.Case("cgm", "cgm", labels=True).data(num=600)
    model = create(latent_dim=4)
    harness.perturb(model)
    train, test = slice(500), slice(500, None)
    assert model.classification_error(x[train], y[train], x[test], y[test]) < 5.0
    wrong = (y[test] + (np.arange(100) < 20)) % 3
    error = model.classification_error(x[train], y[train], x[test], wrong)
    assert error == pytest.approx(20.0, abs=5.0)


@pytest.mark.parametrize(
    "network",
    [
        "mlp",
        {"name": "gated_mlp", "hidden": 8},
        harness.CONV,
        {"name": "gated_conv", "hidden": 8, "encoder_layers": [[4, 3, 2]]},
        {"name": "dcgan", "filters": [4, 8], "units": 0, "batch_norm": True},
    ],
    ids=lambda network: network if isinstance(network, str) else network["name"],
)
def test_the_encoder_has_no_head_of_deviations(network):
    arguments = {"input_shape": (8, 8, 1), "network": network}
    case = harness.Case("cgm", "cgm", arguments)
    harness.check_gradients(case)
    model = case.make()
    mean, stddev, scores = model.encoder(case.data()[0])
    assert mean.shape == (12, 1, 2)
    assert stddev is None
    assert scores is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variance": 0.0}, "Expected variance > 0, got 0.0."),
        ({"information_rate": -1}, "Expected information_rate >= 0, got -1."),
        ({"input_noise": -0.5}, "Expected input_noise >= 0, got -0.5."),
        ({"granularity": "joined"}, "Unknown granularity 'joined': .*'joint'"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        create(**arguments)
