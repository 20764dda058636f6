"""GMMpVAE: reductions, bounds, exact likelihoods, and the paper's numbers."""

import math
import zipfile

import h5py
import harness
import numpy as np
import pytest
import tensorflow as tf
import test_exact as exact
from scipy import stats

import mvae_tf
from mvae_tf import divergences
from mvae_tf.noise import BatchNoise, step_seed
from mvae_tf.parts import priors
from mvae_tf.presets import gmmp_vae

FORMS = ["paper_avg", "soft_k", "min_k", "lse_component", "variational"]
MATCHED = FORMS[:3]
X, _ = harness.Case("vae", "vae").data()


def make(scale=0.3, **arguments):
    """A model with weights far enough from 0 for components to differ."""
    model = harness.Case("gmmp_vae", "gmmp_vae").make(**arguments)
    harness.perturb(model, scale)
    if isinstance(model.prior, priors.VampPrior):
        pixels = np.random.default_rng(1).uniform(size=(4, 4, 4, 1))
        model.prior.pixels.assign(pixels[: model.num_pseudo_inputs])
    return harness.uncompiled(model)


def noise(seed=0):
    return BatchNoise(step_seed(seed, 0))


def terms_of(model, x, seed=0):
    return model.loss_terms(tf.constant(x), None, noise(seed), False)


def test_files_name_the_prior_as_those_written_before_do(tmp_path):
    model = make()
    assert model.get_config()["prior"] == "vamp"
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert file["latent_prior/vars/0"].shape == (4, 4, 4, 1)
        assert "prior" not in file


def with_equal_components(single, num, **arguments):
    """A model of `num` components that are all that of `single`."""
    model = make(num_components=num, **arguments)
    for name in ("encoder", "sub_decoder", "mix_decoder", "prior"):
        weights = getattr(single, name).get_weights()
        if name == "encoder":
            weights = [np.repeat(weight, num, axis=0) for weight in weights]
        getattr(model, name).set_weights(weights)
    return model


# === Reductions ===


def two_steps(name, **arguments):
    """Losses and weights of two steps."""
    model = harness.Case(name, name, arguments).compiled(learning_rate=1e-2)
    history = model.fit(X, batch_size=len(X), epochs=2, shuffle=False, verbose=0)
    return history.history["loss"], [v.numpy() for v in model.trainable_variables]


@pytest.fixture(scope="module")
def vae():
    return two_steps("vae")


@pytest.mark.parametrize("form", ["paper_avg", "soft_k", "variational"])
def test_one_component_and_a_normal_prior_are_the_vae(vae, form):
    arguments = {"prior": "standard", "kl_form": form}
    losses, weights = two_steps("gmmp_vae", num_components=1, **arguments)
    np.testing.assert_allclose(losses, vae[0], rtol=1e-6)
    for actual, expected in zip(weights, vae[1], strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_one_component_and_the_estimated_kl_are_the_vamp_vae():
    losses, weights = two_steps("gmmp_vae", num_components=1, kl_form="mc")
    expected_losses, expected_weights = two_steps("vamp_vae")
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    for actual, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_one_component_has_the_likelihood_of_the_vamp_vae():
    model = make(num_components=1)
    vamp = harness.Case("vamp_vae", "vamp_vae").make()
    for ours, theirs in zip(
        ("encoder", "sub_decoder", "mix_decoder", "prior"),
        ("encoder", "sub_decoder", "mix_decoder", "prior"),
        strict=True,
    ):
        getattr(vamp, theirs).set_weights(getattr(model, ours).get_weights())
    np.testing.assert_allclose(model.elbo(X, seed=1), vamp.elbo(X, seed=1), rtol=1e-5)
    np.testing.assert_allclose(
        model.log_likelihood(X, 7), vamp.log_likelihood(X, 7), rtol=1e-5
    )


@pytest.mark.parametrize("form", FORMS)
def test_one_component_and_one_pseudo_input_have_the_closed_kl(form):
    model = make(num_components=1, num_pseudo_inputs=1)
    q = model.encode(X)
    p = model.encode(model.prior.pseudo_inputs())
    expected = divergences.gaussian_kl(q["mean"], q["stddev"], p["mean"], p["stddev"])
    np.testing.assert_allclose(model.kl_bound(X, form), expected[:, 0], rtol=1e-4)


def test_equal_components_count_as_one():
    single = make(num_components=1)
    model = with_equal_components(single, 3)
    for form in FORMS:
        np.testing.assert_allclose(
            model.kl_bound(X, form), single.kl_bound(X, form), rtol=1e-4, err_msg=form
        )
    (kl, error), (single_kl, single_error) = (
        each.kl_monte_carlo(X, 400) for each in (model, single)
    )
    # Three draws an image in place of one.
    assert np.mean(error) == pytest.approx(np.mean(single_error) / 3**0.5, rel=0.1)
    assert np.all(np.abs(kl - single_kl) < 4.5 * np.hypot(error, single_error))


@pytest.mark.parametrize("form", MATCHED)
def test_an_image_that_is_the_pseudo_input_costs_nothing(form):
    model = make(num_pseudo_inputs=1)
    model.prior.pixels.assign(X[:1])
    np.testing.assert_allclose(model.kl_bound(X[:1], form), [0.0], atol=1e-5)
    np.testing.assert_allclose(model.elbo_terms(X[:1])["kl"], [0.0], atol=1e-5)
    assert np.all(model.kl_bound(X[1:], form) > 1e-3)


@pytest.mark.parametrize("form", ["lse_component", "variational"])
def test_order_of_the_encoders_does_not_matter(form):
    model = make()
    expected = model.kl_bound(X, form)
    weights = [weight[[2, 0, 1]] for weight in model.encoder.get_weights()]
    model.encoder.set_weights(weights)
    np.testing.assert_allclose(model.kl_bound(X, form), expected, rtol=1e-4)


# === Bounds ===


@pytest.mark.parametrize("num_components", [1, 3])
def test_no_bound_is_below_the_exact_kl(num_components):
    model = make(num_components=num_components)
    kl, error = model.kl_monte_carlo(X, 1000)
    bounds = {form: np.asarray(model.kl_bound(X, form)) for form in FORMS}
    for form, bound in bounds.items():
        assert np.all(kl < bound + 4 * error), form
    assert np.all(bounds["soft_k"] < bounds["paper_avg"] - 1e-3)
    assert np.all(bounds["soft_k"] <= bounds["min_k"] + 1e-5)
    assert np.all(bounds["variational"] <= bounds["lse_component"] + 1e-4)


def test_default_bound_is_that_of_the_objective():
    for form in FORMS:
        model = make(kl_form=form)
        np.testing.assert_allclose(terms_of(model, X)["kl"], model.kl_bound(X), 1e-5)
    model = make(kl_form="mc")
    np.testing.assert_array_equal(model.kl_bound(X), model.kl_bound(X, "variational"))
    with pytest.raises(ValueError, match="Unknown form 'mc'"):
        model.kl_bound(X, "mc")


def test_average_over_pseudo_inputs_prefers_equal_ones():
    """Why Eq 22 makes K useless: posteriors N(-3, 1) and N(3, 1)."""
    model = exact.create(
        "gmmp_vae",
        num_components=1,
        num_pseudo_inputs=2,
        kl_form="paper_avg",
    )
    kernel = np.zeros((exact.PIXELS, 2 * exact.LATENT))
    kernel[0, 0] = 1.0
    # A second pixel widens the posterior: stddev 10^0.5 where it is 1.
    raw = [exact.inverse_softplus(value) for value in (1.0, 10**0.5)]
    kernel[1, exact.LATENT] = raw[1] - raw[0]
    exact.assign(model.encoder, kernel, [0.0, 0.0, raw[0], raw[0]])
    x = np.float32([[-3, 0, 0, 0], [3, 0, 0, 0]])
    merged = np.float32([[0, 1, 0, 0], [0, 1, 0, 0]])
    values = {}
    for name, pixels in (("apart", x), ("merged", merged)):
        model.prior.pixels.assign(pixels)
        for form in ("paper_avg", "soft_k"):
            values[name, form] = np.mean(model.kl_bound(x, form))
    assert values["apart", "paper_avg"] == pytest.approx(9.0, abs=1e-4)
    assert values["merged", "paper_avg"] == pytest.approx(1.151293, abs=1e-4)
    assert values["apart", "soft_k"] == pytest.approx(math.log(2.0), abs=1e-4)
    assert values["merged", "soft_k"] == pytest.approx(1.151293, abs=1e-4)


# === Exact likelihoods ===


def exact_posterior(num_components, loading, **arguments):
    """p(x | z) = N((3 z_1, 0, 0, 0), I) with the exact posterior, moved by M."""
    model = exact.create(
        "gmmp_vae", num_components=num_components, prior="standard", **arguments
    )
    loadings = np.zeros((exact.PIXELS, exact.LATENT))
    loadings[0, 0] = loading
    precision = 1.0 + np.sum(loadings**2, axis=0)
    exact.assign(model.sub_decoder, loadings.T, np.zeros(exact.PIXELS))
    kernel = np.concatenate([loadings / precision, 0.0 * loadings], axis=1)
    raw = exact.inverse_softplus(precision**-0.5)
    bias = np.concatenate([np.zeros(exact.LATENT), raw])
    exact.assign(
        model.encoder,
        np.stack([kernel] * num_components),
        np.stack([bias] * num_components),
    )
    return model


@pytest.mark.parametrize("num_components", [1, 2, 3])
def test_bound_is_exact_under_the_exact_posterior(num_components):
    model = exact_posterior(num_components, loading=3.0)
    x = np.float32([[1.0, 0.0, 0.0, 0.0]])
    others = 3 * stats.norm.logpdf(0.0)
    values = [model.elbo(x), model.log_likelihood(x, 3)]
    values += [model.component_elbo(x, m) for m in range(num_components)]
    np.testing.assert_allclose(np.array(values) - others, -2.120231, atol=1e-5)


def test_mean_bound_is_the_mean_likelihood():
    model = exact_posterior(2, loading=3.0)
    x = np.random.default_rng(0).normal(size=(4000, exact.PIXELS))
    x[:, 0] *= math.sqrt(10.0)
    others = np.sum(stats.norm.logpdf(x[:, 1:]), axis=1)
    values = model.elbo(x.astype("float32")) - others
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(-2.570231, abs=4 * error)


@pytest.mark.parametrize("weights", [None, [0.2, 0.5, 0.3]])
def test_importance_sampling_is_unbiased_for_any_mixture(weights):
    model = exact_posterior(3, loading=1.0, component_weights=weights)
    bias = model.encoder.layers_in_order[0].bias
    shift = np.zeros(bias.shape)
    shift[:, 0, 0] = [-0.8, 0.1, 0.9]
    shift[:, 0, 2] = [0.1, 0.4, 0.2]
    bias.assign_add(shift)
    x = np.random.default_rng(0).normal(size=(5, exact.PIXELS)).astype("float32")
    marginal = stats.multivariate_normal(np.zeros(4), np.diag([2.0, 1.0, 1.0, 1.0]))
    ratios = [
        np.exp(model.log_likelihood(x, 50, seed=seed) - marginal.logpdf(x))
        for seed in range(30)
    ]
    error = np.std(ratios, axis=0, ddof=1) / np.sqrt(30)
    assert np.all(error < 0.02)
    assert np.all(np.abs(np.mean(ratios, axis=0) - 1.0) < 4 * error)


@pytest.mark.parametrize("weights", [None, [0.1, 0.9]])
def test_apart_components_add_the_entropy_of_their_weights(weights):
    """The most that mixing can gain: log M over the mean of the components."""
    model = exact_posterior(2, loading=0.0, component_weights=weights)
    bias = model.encoder.layers_in_order[0].bias
    shift = np.zeros(bias.shape)
    shift[:, 0, 0] = [-8.0, 8.0]
    bias.assign_add(shift)
    x = np.zeros([6, exact.PIXELS], "float32")
    pi = np.array(weights or [0.5, 0.5])
    components = [model.component_elbo(x, m, seed=3) for m in range(2)]
    gain = model.elbo(x, seed=3) - pi @ np.array(components)
    np.testing.assert_allclose(gain, np.full(6, -np.sum(pi * np.log(pi))), atol=1e-4)


# === Draws ===


@pytest.mark.parametrize("weights", [None, [0.3, 0.7]])
def test_reconstruction_is_the_expectation_over_the_mixture(weights):
    """E[-(z - 1)^2] of N(-1, 1/4) and N(1, 1/4) is -2.25, not -1.125."""
    model = mvae_tf.create(
        "gmmp_vae",
        input_shape=(exact.PIXELS,),
        latent_dim=exact.LATENT,
        network=exact.Linear(),
        likelihood={"name": "sse", "activation": "linear", "low": -9.0, "high": 9.0},
        component_weights=weights,
        prior="standard",
    )
    exact.assign(model.sub_decoder, [[1, 0, 0, 0], [0, 0, 0, 0]], np.zeros(4))
    raw = exact.inverse_softplus(0.5)
    bias = [[-1.0, 0.0, raw, raw], [1.0, 0.0, raw, raw]]
    exact.assign(model.encoder, np.zeros((2, 4, 4)), bias)
    x = np.tile(np.float32([1, 0, 0, 0]), [20_000, 1])
    values = terms_of(model, x)["reconstruction"]
    expected = np.array(weights or [0.5, 0.5]) @ [4.25, 0.25]
    error = np.std(values) / np.sqrt(len(x))
    assert np.mean(values) == pytest.approx(expected, abs=4 * error)
    if weights is None:
        assert expected == 2.25
        # A draw of each component halves the variance of a component's error.
        assert 1.0 < np.std(values) < 2.0


def test_weights_weigh_log_probabilities():
    model = make(component_weights=[0.2, 0.5, 0.3])
    posterior = model.infer(X)
    latents = model.draw(posterior, noise())
    of_each = model.component_log_probs(X, latents.z)
    alone = [
        model.component_log_probs(X, latents.z[:, m : m + 1])[:, 0] for m in range(3)
    ]
    np.testing.assert_allclose(of_each, np.stack(alone, axis=1), rtol=1e-5)
    expected = of_each @ np.float32([[0.2], [0.5], [0.3]])
    value = model.log_prob_given(X, latents)
    np.testing.assert_allclose(value, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(model.encode(X)["weights"], [[0.2, 0.5, 0.3]] * 12)


def test_prior_draws_components_by_their_weights():
    model = make(component_weights=[0.2, 0.5, 0.3])
    latents = model.draw_prior(tf.zeros([5000, 3]), noise())
    frequencies = np.mean(latents.weights, axis=0)
    np.testing.assert_allclose(frequencies, [0.2, 0.5, 0.3], atol=0.03)
    # Component m is one of the K Gaussians of encoder m.
    posterior = model.encode(model.prior.pseudo_inputs())
    mean = np.mean(posterior["mean"], axis=0)
    second = np.mean(np.square(posterior["mean"]) + np.square(posterior["stddev"]), 0)
    deviation = np.sqrt(second - np.square(mean))
    drawn = np.mean(latents.z, axis=0)
    assert np.all(np.abs(drawn - mean) < 4.5 * deviation / np.sqrt(5000))
    np.testing.assert_allclose(np.std(latents.z, axis=0), deviation, rtol=0.05)


def test_dropout_of_a_replica_is_that_of_the_whole_batch():
    model = make(network={"name": "mlp", "hidden": 8, "dropout": 0.5})
    latents = model.draw(model.infer(X), noise())
    part = tf.nest.map_structure(lambda value: value[5:], latents)
    seed = step_seed(0, 0)
    whole = model.log_prob_given(X, latents, None, BatchNoise(seed), True)
    rows = BatchNoise(seed, (tf.constant(5), tf.constant(12)))
    value = model.log_prob_given(X[5:], part, None, rows, True)
    np.testing.assert_allclose(value, whole[5:], rtol=1e-5)


def test_a_decoder_that_reads_pixels_reads_those_of_its_image():
    network = {"name": "pixel", "encoder_layers": [[3, 3, 2]], "filters": 4, "depth": 2}
    model = make(network=network, num_components=2)
    latents = model.draw(model.infer(X), noise())
    whole = model.component_log_probs(X, latents.z)
    rows = [
        model.component_log_probs(X[i : i + 1], latents.z[i : i + 1])[0]
        for i in range(3)
    ]
    np.testing.assert_allclose(whole[:3], rows, rtol=1e-4)
    assert model.generate(2, component=1, seed=0).shape == (2, 4, 4, 1)


# === Sizes and mistakes ===


def test_sizes():
    for num_components, count in enumerate((1_116_864, 1_792_544, 2_468_224), 1):
        model = mvae_tf.create(
            "gmmp_vae", num_components=num_components, num_pseudo_inputs=2
        )
        own = sum(math.prod(v.shape) for v in model.trainable_variables) - 2 * 784
        assert own == count


def test_starts_from_normal_numbers_of_he():
    model = mvae_tf.create("gmmp_vae", num_pseudo_inputs=2)
    kernel = model.encoder.layers_in_order[0].kernel.numpy()
    assert np.std(kernel) == pytest.approx(math.sqrt(2 / 784), rel=0.01)
    # Neither uniform nor truncated.
    assert np.max(np.abs(kernel)) > 4 * np.std(kernel)


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.5, 0.6, -0.1], [0.2, 0.2, 0.2]])
def test_rejects_weights_that_are_no_distribution(weights):
    with pytest.raises(
        ValueError,
        match="Expected (3 component_weights > 0 that sum|component_weights as 3 num)",
    ):
        mvae_tf.create("gmmp_vae", num_components=3, component_weights=weights)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("kl_form", "average"),
        ("prior", "normal"),
    ],
)
def test_rejects_unknown_choices(argument, value):
    with pytest.raises(ValueError, match=f"Unknown {argument} '{value}'"):
        mvae_tf.create("gmmp_vae", **{argument: value})


# === Presets ===

PRESETS = {preset.name: preset for preset in gmmp_vae.presets()}
MNIST = [name for name in PRESETS if name.endswith("mnist") and PRESETS[name].paper]


def test_presets_cover_the_tables():
    # Table 1 and the paper's own bound; the baselines; Tables 3 and 4, and the MLPs
    # that stand for their networks.
    assert len(PRESETS) == 27 + 1 + 2 + 3 + 2 + 6
    for name in (
        "gmmp-vae-mlp-m2-k500-mnist",
        "gmmp-vae-cnn-m3-k500-omniglot",
        "gmmp-vae-pixel-m3-k500-frey_faces",
        "vae-gated-mnist",
        "vamp-vae-k500-mnist",
    ):
        assert name in PRESETS
    average = PRESETS["gmmp-vae-mlp-m1-k500-avg-mnist"]
    assert average.arguments["kl_form"] == "paper_avg"
    forms = {
        m: PRESETS[f"gmmp-vae-cnn-m{m}-k500-mnist"].arguments.get("kl_form")
        for m in (1, 2)
    }
    assert forms == {1: "mc", 2: None}


@pytest.mark.parametrize("name", [n for n in MNIST if not n.startswith("vamp")])
def test_numbers_of_the_paper_add_up(name):
    values = {reported.metric: reported.value for reported in PRESETS[name].paper}
    total = values["elbo_reconstruction"] + values["elbo_kl"]
    assert -values["elbo"] == pytest.approx(total, abs=0.0101)


def test_gains_of_the_paper_exceed_what_mixtures_can_gain():
    def bound(network, m, k):
        return PRESETS[f"gmmp-vae-{network}-m{m}-k{k}-mnist"].paper[0].value

    for m in (2, 3):
        gains = [
            bound(network, m, k) - bound(network, 1, k)
            for network in ("mlp", "cnn", "pixel")
            for k in (100, 500, 1000)
        ]
        assert min(gains) > 6.8 > math.log(m)
        assert max(gains) < 12.73


@pytest.mark.parametrize("name", PRESETS)
def test_presets_share_the_training_of_the_paper(name):
    preset = PRESETS[name]
    training = preset.training
    assert (training.batch_size, training.learning_rate) == (100, 5e-4)
    assert (training.epochs, training.warmup_epochs) == (5000, 200)
    assert training.patience == 100
    assert training.normalize_gradients == name.startswith("vamp")
    assert preset.arguments["network"]["initializer"] == "he"
    grey = name.endswith("frey_faces")
    assert preset.data.get("binarize") == (None if grey else "dynamic")


@pytest.mark.parametrize(
    "name", ["gmmp-vae-pixel-m3-k500-frey_faces", "gmmp-vae-cnn-m3-k500-omniglot"]
)
def test_presets_make_models(name):
    arguments = PRESETS[name].arguments | {"num_pseudo_inputs": 20}
    grey = name.endswith("frey_faces")
    shape = (28, 20, 1) if grey else (28, 28, 1)
    model = mvae_tf.create("gmmp_vae", input_shape=shape, **arguments)
    assert (model.num_components, model.latent_dim) == (3, 40)
    pixels = model.prior.pixels
    assert np.mean(pixels) == pytest.approx(0.5 if grey else 0.05, abs=2e-3)
    assert np.std(pixels) == pytest.approx(0.02 if grey else 0.01, rel=0.05)
