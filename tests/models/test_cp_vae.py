"""CP-VAE and its variants: known values, reductions, exact sums over categories."""

import itertools
import zipfile

import h5py
import harness
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import mvae_tf
from mvae_tf import presets
from mvae_tf.config import RunConfig, Training
from mvae_tf.models import registry
from mvae_tf.models.categorical import CategoricalVAE
from mvae_tf.models.categories import AnnealedTemperature
from mvae_tf.models.category_inspection import CategoryTable
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.noise import BatchNoise, RowNoise, index_seeds, step_seed
from mvae_tf.parts.networks.gated import CategoryLinear
from mvae_tf.presets import cp_vae
from mvae_tf.runs import overrides, training

HIDDEN = 6
LAYERS = ["trunk", "category_head", "gate", "gaussian_head"]
LAYERS += ["sub_decoder", "mix_decoder", "prior"]


def new_noise():
    return BatchNoise(step_seed(5, tf.constant(0, tf.int64)))


def create(name, scale=0.6, **arguments):
    """A tiny model, run eagerly, whose answers depend on all of its weights."""
    defaults = {
        "input_shape": (4, 4, 1),
        "latent_dim": 2,
        "network": {"name": "gated_mlp", "hidden": HIDDEN},
    }
    if issubclass(registry.get(name), CategoricalVAE):
        defaults["num_components"] = 3
    model = harness.uncompiled(mvae_tf.create(name, **(defaults | arguments)))
    harness.perturb(model, scale)
    return model


def images(num=7, seed=0):
    return np.random.default_rng(seed).uniform(size=(num, 4, 4, 1)).astype("float32")


def share(source, target):
    """Gives `target` the layers of `source` that have its shapes."""
    for name in LAYERS:
        layer, twin = getattr(source, name, None), getattr(target, name, None)
        if isinstance(layer, keras.layers.Layer) and isinstance(twin, type(layer)):
            weights = layer.get_weights()
            if [w.shape for w in weights] == [w.shape for w in twin.get_weights()]:
                twin.set_weights(weights)


def standardize_prior(model):
    model.prior.means.assign(tf.zeros_like(model.prior.means))
    model.prior.log_variances.assign(tf.zeros_like(model.prior.log_variances))


def terms_of(model, x, training=True):
    return model.loss_terms(x, None, new_noise(), training)


def assert_equal_terms(first, second, x):
    for mode in (True, False):
        one, other = terms_of(first, x, mode), terms_of(second, x, mode)
        for key in one.keys() & other.keys():
            np.testing.assert_allclose(one[key], other[key], atol=1e-6, rtol=1e-6)
        assert "kl" in one.keys() & other.keys()


# === Known values ===


@pytest.mark.parametrize(
    ("num_components", "count"), [(10, 1_313_274), (150, 1_534_614), (500, 2_087_964)]
)
def test_number_of_parameters(num_components, count):
    model = mvae_tf.create("cp_vae", num_components=num_components)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == count


@pytest.fixture(scope="module")
def two_priors():
    """The posterior q(z | x) = N(0, 1) with p(z | c) = N(0, 1) and N(1, 4)."""
    model = create("indq_vae", 0.0, num_components=2, latent_dim=1)
    model.prior.means.assign([[0.0], [1.0]])
    model.prior.log_variances.assign([[0.0], [np.log(4.0)]])
    for layer in (model.category_head, model.gaussian_head):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    return model


def kl_with(model, probabilities):
    """Both KL terms and the KL of the bound, at given probabilities of categories."""
    bias = np.log(probabilities).reshape(model.category_head.bias.shape)
    model.category_head.bias.assign(bias)
    terms = terms_of(model, images(1))
    total = model.elbo_terms(images(1))["kl"]
    return [float(value[0]) for value in (terms["kl"], terms["category_kl"], total)]


def test_kl_of_two_categories(two_priors):
    weights = tf.constant([[0.0, 1.0]])
    posterior = Posterior(tf.zeros([1, 1, 1]), tf.ones([1, 1, 1]), weights)
    alone = two_priors.gaussian_kl(posterior)
    assert float(alone[0]) == pytest.approx(0.443147, abs=1e-6)
    terms = kl_with(two_priors, [0.25, 0.75])
    assert terms == pytest.approx([0.332360, 0.130812, 0.463172], abs=1e-6)


def test_kl_of_certain_and_of_uniform_categories(two_priors):
    assert kl_with(two_priors, [0.5, 0.5])[1] == pytest.approx(0.0, abs=1e-7)
    certain = kl_with(two_priors, [1.0 - 1e-7, 1e-7])
    assert certain[1] == pytest.approx(np.log(2.0), abs=1e-5)


def test_least_kl_of_two_categories_and_the_kl_of_the_mixture(two_priors):
    best = np.exp([0.0, -0.443147])
    best /= best.sum()
    assert best[0] == pytest.approx(0.609009, abs=1e-6)
    assert kl_with(two_priors, best)[2] == pytest.approx(0.197224, abs=1e-6)
    z = np.linspace(-12.0, 12.0, 4001).astype("float32")
    q = stats.norm.pdf(z)
    ratio = stats.norm.logpdf(z) - two_priors.prior.log_prob(z[:, None])
    exact = np.trapezoid(q * ratio, z)
    assert exact == pytest.approx(0.158025, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(probability=st.floats(0.001, 0.999))
def test_no_probabilities_have_less_kl(two_priors, probability):
    assert kl_with(two_priors, [probability, 1.0 - probability])[2] > 0.197223


# === Reductions ===


@pytest.mark.parametrize(
    ("dependent", "independent"), [("indq_vae", "indqp_vae"), ("cp_vae", "indp_vae")]
)
def test_equal_conditional_priors_are_the_independent_prior(dependent, independent):
    first, second = create(dependent), create(independent)
    share(first, second)
    x = images()
    assert not np.allclose(terms_of(first, x)["kl"], terms_of(second, x)["kl"])
    standardize_prior(first)
    assert_equal_terms(first, second, x)


def test_probabilities_that_the_gate_ignores_are_an_independent_posterior():
    indq, cp = create("indq_vae"), create("cp_vae", z_condition="pi")
    share(indq, cp)
    kernel = cp.gate.kernel.numpy()
    kernel[:, :HIDDEN] = indq.gate.kernel
    bias = indq.gate.bias.numpy()
    cp.gate.set_weights([kernel, bias])
    x = images()
    assert not np.allclose(terms_of(cp, x)["kl"], terms_of(indq, x)["kl"])
    kernel[:, HIDDEN:] = 0.0
    cp.gate.set_weights([kernel, bias])
    assert_equal_terms(cp, indq, x)


def make_vae_of(model):
    """A VAE that shares the weights of a model whose gated layer it makes pass by.

    It also makes the decoder of the model ignore c.
    """
    kernel = np.zeros(model.gate.kernel.shape, "float32")
    kernel[0, :HIDDEN, :HIDDEN] = np.eye(HIDDEN)
    # In float32 the gate sigmoid(40) is 1.
    bias = np.repeat([0.0, 40.0], HIDDEN).reshape(model.gate.bias.shape)
    model.gate.kernel.assign(kernel)
    model.gate.bias.assign(bias)
    vae = create("vae")
    share(model, vae)
    (decoder,), (twin,) = (m.sub_decoder.layers_in_order for m in (model, vae))
    kernel = decoder.kernel.numpy()
    kernel[:, model.latent_dim :] = 0.0
    decoder.kernel.assign(kernel)
    twin.set_weights([kernel[:, : model.latent_dim], decoder.bias.numpy()])
    layers = [*model.trunk.layers_in_order, model.gaussian_head]
    for layer, twin in zip(layers, vae.encoder.layers_in_order, strict=True):
        twin.set_weights(layer.get_weights())
    return vae


def test_one_category_of_standard_prior_is_the_vae():
    for mode in ("enumerate", "sample", "pi"):
        model = create("cp_vae", num_components=1, z_condition=mode)
        standardize_prior(model)
        vae = make_vae_of(model)
        x = images()
        assert_equal_terms(model, vae, x)
        np.testing.assert_array_equal(terms_of(model, x)["category_kl"], 0.0)
        np.testing.assert_allclose(model.elbo(x), vae.elbo(x), rtol=1e-6)


def test_independent_category_that_nothing_uses_is_the_vae():
    model = create("indqp_vae")
    model.category_head.kernel.assign(tf.zeros_like(model.category_head.kernel))
    model.category_head.bias.assign(tf.zeros_like(model.category_head.bias))
    vae = make_vae_of(model)
    x = images()
    assert_equal_terms(model, vae, x)
    np.testing.assert_allclose(terms_of(model, x)["category_kl"], 0.0, atol=1e-6)
    np.testing.assert_allclose(
        model.reconstruct(x, seed=1), vae.reconstruct(x, seed=1), atol=1e-6
    )


def test_files_name_the_prior_as_those_written_before_do(tmp_path):
    create("cp_vae").save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert file["layers/conditional_gaussian/vars/0"].shape == (3, 2)


# === The draw of the category, and sums over categories ===


def test_gate_is_a_layer_on_the_concatenation():
    gate = CategoryLinear(1, 5 + 4, 3, gated=True, initializer="glorot", seed=0)
    rng = np.random.default_rng(0)
    gate.bias.assign(rng.normal(size=gate.bias.shape))
    h = rng.normal(size=(2, 5)).astype("float32")
    c = rng.dirichlet(np.ones(4), size=2).astype("float32")

    def slow(h, c):
        affine = np.concatenate([h, c]) @ gate.kernel[0].numpy() + gate.bias[0, 0]
        return affine[:3] / (1.0 + np.exp(-affine[3:]))

    every = gate(h)
    assert every.shape == (2, 4, 3)
    for row, k in itertools.product(range(2), range(4)):
        np.testing.assert_allclose(every[row, k], slow(h[row], np.eye(4)[k]), rtol=1e-5)
        np.testing.assert_allclose(gate(h, c)[row, 0], slow(h[row], c[row]), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.67, 5.0])
def test_drawn_categories_have_their_probabilities(temperature):
    model = create("indqp_vae", num_components=4, temperature=temperature)
    probabilities = np.array([0.05, 0.6, 0.1, 0.25])
    num = 20_000
    log_weights = tf.fill([num, 1], 1.0) * np.log(probabilities).astype("float32")
    c = model._draw_category(log_weights, new_noise()).numpy()
    assert set(np.unique(c)) == {0.0, 1.0}
    np.testing.assert_array_equal(c.sum(axis=1), 1.0)
    assert stats.chisquare(c.sum(axis=0), num * probabilities).pvalue > 1e-3


def test_draw_has_the_gradient_of_its_relaxation():
    model = create("indqp_vae", temperature=0.5)
    log_weights = tf.nn.log_softmax(tf.random.stateless_normal([4, 3], [0, 1]))
    direction = tf.random.stateless_normal([4, 3], [0, 2])
    gumbels = []

    class Recorded(BatchNoise):
        def sample(self, name, sampler, *parameters):
            gumbels.append(super().sample(name, sampler, *parameters))
            return gumbels[-1]

    recorded = Recorded(new_noise().seed)
    with tf.GradientTape() as tape:
        tape.watch(log_weights)
        value = tf.reduce_sum(direction * model._draw_category(log_weights, recorded))
    straight_through = tape.gradient(value, log_weights)
    with tf.GradientTape() as tape:
        tape.watch(log_weights)
        relaxed = tf.nn.softmax((log_weights + gumbels[0]) / 0.5)
        value = tf.reduce_sum(direction * relaxed)
    expected = tape.gradient(value, log_weights)
    np.testing.assert_allclose(straight_through, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected).max() > 1e-2


@pytest.mark.parametrize("name", ["cp_vae", "indp_vae"])
def test_the_posterior_of_a_draw_is_the_same_however_it_is_made(name):
    enumerated = create(name, z_condition="enumerate")
    sampled = create(name, z_condition="sample")
    share(enumerated, sampled)
    x = images(20)
    drawn = [model.draw(model.infer(x), new_noise()) for model in (enumerated, sampled)]
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    # Every category of these is drawn by some row.
    assert np.all(np.sum(drawn[0].weights, axis=0) > 0)
    first, second = (terms_of(m, x, training=False) for m in (enumerated, sampled))
    np.testing.assert_allclose(first["kl"], second["kl"], rtol=1e-5)


@pytest.mark.parametrize("name", ["cp_vae", "indp_vae"])
def test_sampled_objective_is_the_enumerated_one_on_average(name):
    num = 10_000
    model = create(name, z_condition="sample")
    x = np.repeat(images(1), num, axis=0)
    sampled = sum(terms_of(model, x).values())
    posterior = model.infer(x)
    probabilities = posterior.weights[0].numpy()
    assert probabilities.min() > 0.02
    errors = []
    for category in range(3):
        latents = model.draw(posterior, new_noise(), category=category)
        errors.append(model.reconstruction_error(x, latents))
    exact_kl = model.kl_nats(model.infer(x[:1]), None)
    enumerated = probabilities @ np.array(errors) + exact_kl.numpy()
    gap = np.mean(sampled) - np.mean(enumerated)
    standard_error = np.hypot(np.std(sampled), np.std(enumerated)) / np.sqrt(num)
    assert np.std(terms_of(model, x)["kl"]) > 1e-3
    assert abs(gap) < 4 * standard_error


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cp_vae", {}),
        ("cp_vae", {"z_condition": "sample"}),
        ("cp_vae", {"z_condition": "pi"}),
        ("indq_vae", {}),
        ("indp_vae", {}),
        ("indqp_vae", {}),
    ],
    ids=str,
)
def test_importance_sampling_is_the_sum_over_categories_and_latents(name, arguments):
    model = create(name, 0.3, latent_dim=1, **arguments)
    x = images(2)
    z = np.linspace(-14.0, 14.0, 561).astype("float32")
    means, stddevs = (np.broadcast_to(m, (3, 1)) for m in model.prior_moments())
    density = 0.0
    for k in range(3):
        latents = Draw(z[:, None, None], tf.one_hot(tf.fill([len(z)], k), 3))
        given = [
            model.log_prob_given(np.stack([x[i]] * len(z)), latents) for i in (0, 1)
        ]
        prior = stats.norm.pdf(z, means[k], stddevs[k])
        density += np.trapezoid(prior * np.exp(given), z) / 3.0
    # Wide proposals, so that no weight is large.
    bias = model.gaussian_head.bias.numpy()
    bias[..., 1:] = 1.5
    model.gaussian_head.bias.assign(bias)
    num = 4000
    posterior = model.infer(np.repeat(x, num, axis=0))
    latents = model.draw(posterior, new_noise())
    log_weights = model.log_importance_weight(
        np.repeat(x, num, axis=0), posterior, latents
    )
    ratios = np.exp(np.reshape(log_weights, (2, num)) - np.log(density)[:, None])
    standard_error = ratios.std(axis=1) / np.sqrt(num)
    assert np.all(np.abs(ratios.mean(axis=1) - 1.0) < 4 * standard_error)
    assert np.all(standard_error < 0.05)


# === Decoding and generation ===


def test_decoding_reads_the_category_of_the_greatest_weight_alone():
    model = create("cp_vae")
    z = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    soft, hard = [[0.2, 0.5, 0.3]] * 2, [[0.0, 1.0, 0.0]] * 2
    decoded = model.decode(z, soft)
    np.testing.assert_array_equal(decoded, model.decode(z, hard))
    other = z.copy()
    other[:, [0, 2]] += 1.0
    np.testing.assert_array_equal(decoded, model.decode(other, soft))
    assert not np.allclose(decoded, model.decode(z, [[0.5, 0.2, 0.3]] * 2))
    # Of equal weights, the first category.
    first = model.decode(z, [[1.0, 0.0, 0.0]] * 2)
    np.testing.assert_array_equal(model.decode(z), first)
    np.testing.assert_array_equal(model.decode(z, [[0.4, 0.2, 0.4]] * 2), first)


def test_drawn_reconstructions_of_a_category_use_its_own_posterior():
    model = create("cp_vae")
    # Categories far apart, of the least stddev.
    model.gaussian_head.bias.assign([[[0.0, 0.0, -50.0, -50.0]]])
    x = images()
    for k in range(3):
        drawn = model.reconstruct(x, component=k, seed=4)
        gaps = [np.abs(drawn - model.reconstruct(x, component=j)) for j in range(3)]
        assert np.argmin([gap.mean() for gap in gaps]) == k


def test_generation_draws_categories_in_the_proportions_of_the_aggregate():
    model = create("cp_vae")
    like = tf.zeros([4000, 3])
    uniform = model.draw_prior(like, new_noise())
    counts = np.sum(uniform.weights, axis=0)
    assert stats.chisquare(counts).pvalue > 1e-3
    means, stddevs = model.prior_moments()
    scaled = (uniform.z - means) / stddevs
    assert stats.kstest(np.ravel(scaled), "norm").pvalue > 1e-3

    x = images(40)
    q = model.fit_aggregate(x)
    np.testing.assert_allclose(q, np.mean(model.encode(x)["weights"], 0), rtol=1e-5)
    counts = np.sum(model.draw_prior(like, new_noise()).weights, axis=0)
    assert stats.chisquare(counts, 4000 * q / q.sum()).pvalue > 1e-3
    # The bound is still that of p(c) = 1/K.
    np.testing.assert_allclose(
        model.category_kl(model.infer(x)),
        np.log(3.0) - stats.entropy(model.encode(x)["weights"], axis=1),
        atol=1e-6,
    )

    model.aggregate.assign([0.0, 1.0, 0.0])
    generated = model.generate(6, seed=2)
    np.testing.assert_allclose(
        generated, model.generate(6, seed=2, component=1), atol=1e-6
    )
    assert not np.allclose(generated, model.generate(6, seed=2, component=0))
    latents = model.draw_prior(tf.zeros([6, 3]), RowNoise(index_seeds(6, 2)))
    np.testing.assert_allclose(
        generated, model.decode(latents.z, latents.weights), atol=1e-6
    )


def test_aggregate_of_a_data_set_is_that_of_its_images_and_is_saved(tmp_path):
    x = images(23)
    labels = np.arange(23)
    model = create("indq_vae")
    from_array = model.fit_aggregate(x)
    model.aggregate.assign(np.full(3, 1 / 3))
    from_batches = model.fit_aggregate(harness.dataset(x, labels, 5))
    np.testing.assert_allclose(from_batches, from_array, rtol=1e-6)
    assert from_batches.sum() == pytest.approx(1.0)
    assert not np.allclose(from_batches, 1 / 3, atol=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.aggregate, from_batches)
    with pytest.raises(ValueError, match="a data set with an end"):
        model.fit_aggregate(harness.dataset(x).repeat())


# === Tables of categories ===

FASHION_CP = """9,80,127,24,62 143,1,144,64,135 146,25,145,41,29 135,91,17,138,64
83,138,109,37,147 34,88,77,3,85 79,122,81,26,127 53,16,43,46,19 47,95,137,97,63
94,130,101,119,132"""
MNIST_INDQ = """67,145,56,18,32 94,97,85,124,67 31,5,48,140,65 122,135,125,149,99
107,87,120,132,80 43,141,56,102,149 109,103,111,141,98 135,67,125,2,99 1,23,15,63,40
67,99,18,34,79"""


@pytest.mark.parametrize(
    ("text", "distinct", "reused"),
    [
        (FASHION_CP, 46, {127: 2, 64: 2, 135: 2, 138: 2}),
        (
            MNIST_INDQ,
            39,
            {67: 4, 99: 3, 18: 2, 56: 2, 125: 2, 135: 2, 141: 2, 149: 2},
        ),
    ],
    ids=["Table 2, CP", "Table A1, INDq"],
)
def test_reuse_of_categories_in_the_tables_of_the_paper(text, distinct, reused):
    rows = {
        label: [(int(k), 0.1) for k in row.split(",")]
        for label, row in enumerate(text.split())
    }
    table = CategoryTable(rows)
    assert len(rows) == 10
    assert table.distinct == distinct
    assert table.reused == reused


def test_table_of_a_model_averages_over_each_label():
    model = create("indqp_vae", num_components=4)
    x, labels = images(30), np.arange(30) % 3 * 2
    weights = model.category_probabilities(x).numpy()
    np.testing.assert_allclose(weights, model.encode(x)["weights"], atol=1e-6)
    table = model.category_table(x, labels, top=2)
    assert list(table.rows) == [0, 2, 4]
    for label, row in table.rows.items():
        mean = sum(weights[labels == label]) / 10
        assert [k for k, _ in row] == sorted(range(4), key=lambda k: -mean[k])[:2]
        for k, probability in row:
            assert probability == pytest.approx(mean[k], rel=1e-5)


# === Presets ===


def test_presets_follow_table_3():
    found = {preset.name: preset for preset in cp_vae.presets()}
    assert len(found) == len(cp_vae.presets())
    # Table 3 has 62 numbers, of which CP's stand twice; the toy has 13 models.
    of_the_paper = [name for name in found if not name.endswith("@code")]
    assert len(of_the_paper) == 62 + 8 + 13
    for name, value in {
        "cp-vae-k10-mnist": 87.15,
        "cp-vae-pi-k500-omniglot": 120.64,
        "indq-vae-k150-fashion_mnist": 234.41,
        "vae-cp-fashion_mnist": 231.49,
        "hvamp-vae-k50-cp-omniglot": 110.50,
    }.items():
        numbers = [n for n in found[name].paper if n.source == "Entropy 2020, Table 3"]
        assert [(n.metric, n.value) for n in numbers] == [("elbo", -value)]
    condition = {
        k: found[f"indp-vae-k{k}-mnist"].arguments["z_condition"]
        for k in (10, 150, 500)
    }
    assert condition == {10: "enumerate", 150: "enumerate", 500: "sample"}


# === After the authors' code ===

CODE = {
    "relaxation": "relaxed",
    "temperature": "annealed",
    "logits": "elu",
    "extra_layer": False,
}


def test_networks_of_the_code_have_their_number_of_parameters():
    preset = presets.get("cp-vae-k10-fashion_mnist@code")
    model = mvae_tf.create(preset.model, **preset.arguments)
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == 1_126_674
    fixed = sum(np.prod(v.shape) for v in model.prior.variables)
    assert fixed == 2 * 10 * 40


def test_annealed_temperature_is_the_recursion_of_the_code():
    annealed, temperature = AnnealedTemperature(), 1.0
    assert annealed.at(0) == 1.0
    for epoch in range(1, 300):
        temperature = max(temperature * np.exp(-3e-5 * epoch), 0.5)
        assert annealed.at(epoch) == pytest.approx(temperature, rel=1e-12)
    assert annealed.at(214) > 0.5 == annealed.at(215)


def test_fit_applies_the_temperature_of_each_epoch_and_resumes_it():
    annealing = {"name": "annealed", "start": 2.0, "rate": 0.5, "least": 0.2}
    model = create("indqp_vae", **(CODE | {"temperature": annealing}))
    model.compile("adam", run_eagerly=True)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            float(model.current_temperature.numpy())
        )
    )
    model.fit(images(), epochs=2, verbose=0, callbacks=[record])
    model.fit(images(), initial_epoch=2, epochs=3, verbose=0, callbacks=[record])
    expected = [2 * np.exp(-0.5), 2 * np.exp(-1.5), 0.2]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_a_resumed_run_has_the_temperatures_of_an_undisturbed_one(tmp_path):
    annealing = {"name": "annealed", "rate": 0.1}
    arguments = {"num_components": 3, "latent_dim": 2, "temperature": annealing}
    arguments |= {
        "network": {"name": "gated_mlp", "hidden": 4},
        "relaxation": "relaxed",
    }
    data = {"source": "digits", "limit": 64}
    states = []
    for lengths in ((3,), (1, 3)):
        folder = tmp_path / str(len(lengths))
        for epochs in lengths:
            config = RunConfig("indqp_vae", arguments, data, Training(epochs=epochs))
            model = training.train(
                config, folder, resume=epochs > lengths[0], verbose=0, metrics=[]
            )
        states.append(harness.arrays_of(model))
    np.testing.assert_allclose(model.current_temperature, np.exp(-0.1 * 6), rtol=1e-6)
    assert not harness.differ(*states)


@pytest.mark.parametrize(
    ("setting", "rate"),
    [("annealed", 3e-5), ('{"name": "annealed", "rate": 0.1}', 0.1)],
)
def test_a_setting_of_a_run_can_anneal_the_temperature(setting, rate):
    config = RunConfig("indqp_vae", {"temperature": 0.67})
    config = overrides.apply(config, [f"temperature={setting}"])
    model = mvae_tf.create("indqp_vae", (4, 4, 1), **config.arguments)
    assert model.temperature.rate == rate
    with pytest.raises(ValueError, match="temperature as a number, got True"):
        overrides.apply(RunConfig("indqp_vae"), ["temperature=true"])


@pytest.mark.parametrize("name", ["cp_vae", "indp_vae", "indq_vae", "indqp_vae"])
def test_reported_number_of_the_code_is_its_objective(name):
    condition = {"z_condition": "sample"} if name in ("cp_vae", "indp_vae") else {}
    model = create(name, **CODE, **condition)
    model.compile(run_eagerly=True)
    x = images()
    found = model.evaluate(x, verbose=0, return_dict=True)
    relaxed = model.elbo_relaxed(x)
    np.testing.assert_allclose(np.mean(relaxed), -found["loss"], rtol=1e-5)
    assert not np.allclose(relaxed, model.elbo(x), atol=1e-2)
    assert model.relaxed
    measured = mvae_tf.evaluation.evaluate(model, harness.dataset(x), ["elbo"])
    assert measured["elbo_relaxed"] == pytest.approx(np.mean(relaxed), rel=1e-5)
    assert measured["elbo"] == pytest.approx(np.mean(model.elbo(x)), rel=1e-5)


def test_bound_of_a_relaxed_model_is_that_of_its_one_hot_categories():
    """`elbo` is what the same weights give without any relaxation."""
    arguments = {"z_condition": "sample", "logits": "elu", "extra_layer": False}
    hard = create("cp_vae", **arguments)
    soft = create("cp_vae", **arguments, relaxation="relaxed", temperature=0.9)
    share(hard, soft)
    x = images()
    np.testing.assert_array_equal(hard.elbo(x), soft.elbo(x))
    np.testing.assert_array_equal(hard.log_likelihood(x, 5), soft.log_likelihood(x, 5))
    with pytest.raises(ValueError, match="relaxation='relaxed' for elbo_relaxed, got"):
        hard.elbo_relaxed(x)


def test_posterior_and_decoder_see_separate_draws():
    model = create("cp_vae", **CODE, z_condition="sample")
    x = images(200)
    posterior = model.infer(x)
    latents = model.draw_relaxed(posterior, new_noise())
    of_decoder = model._gaussians(posterior.features, latents.weights)[0]
    assert not np.allclose(latents.mean, of_decoder, atol=1e-3)
    c = latents.weights.numpy()
    np.testing.assert_allclose(c.sum(axis=1), 1.0, rtol=1e-5)
    assert 0.4 < c.max(axis=1).mean() < 0.99, "relaxed, not one-hot"


def test_logits_after_an_elu_stay_above_minus_one():
    model = create("indqp_vae", scale=5.0, logits="elu")
    logits = model._category_logits(model.trunk(images(50))).numpy()
    assert logits.min() == pytest.approx(-1.0, abs=1e-3)
    assert logits.max() > 1.0


def test_logits_held_at_zero_say_nothing_about_the_image():
    model = create("indqp_vae", **(CODE | {"logits": "zero"}))
    np.testing.assert_allclose(model.category_probabilities(images()), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(terms_of(model, images())["category_kl"], 0, atol=1e-6)
    found = mvae_tf.evaluation.evaluate(
        model, harness.dataset(images()), ["categories"]
    )
    assert found["category_information"] == pytest.approx(0.0, abs=1e-6)
    assert found["category_entropy"] == pytest.approx(np.log(3))


@pytest.mark.parametrize("name", ["cp_vae", "indq_vae", "mog_vae"])
def test_priors_of_the_code_stay_where_they_start(name):
    model = create(name, scale=0.0, train_prior=False, prior_init="uniform")
    means, stddevs, _ = model.prior.components()
    assert 0.0 <= np.min(means) <= np.max(means) <= 1.0
    bounds = np.log1p(np.exp([0.0, 0.5]))
    assert bounds[0] <= np.min(np.log(stddevs)) <= np.max(np.log(stddevs)) <= bounds[1]
    model.compile("adam", run_eagerly=True)
    model.fit(images(), verbose=0)
    for before, now in zip((means, stddevs), model.prior.components()[:2], strict=True):
        np.testing.assert_array_equal(before, now)


def test_mean_of_logs_is_below_the_log_of_the_mean():
    exact = create("mog_vae", num_prior_components=4)
    jensen = create("mog_vae", num_prior_components=4, kl_form="mean_of_logs")
    x = images()
    gap = np.subtract(exact.elbo(x), jensen.elbo(x))
    assert np.all(gap > 0)
    np.testing.assert_array_equal(
        exact.log_likelihood(x, 5), jensen.log_likelihood(x, 5)
    )
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    means, stddevs, _ = exact.prior.components()
    logs = stats.norm.logpdf(z[:, np.newaxis], means, stddevs).sum(axis=-1)
    found = exact.prior.mean_log_prob(z)
    np.testing.assert_allclose(found, logs.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_less(found, exact.prior.log_prob(z))


def test_presets_of_the_code():
    found = {p.name: p for p in cp_vae.presets() if p.name.endswith("@code")}
    # Four discrete rows and MG in eight columns, the VAE in three, and two controls.
    assert len(found) == 5 * 8 + 3 + 2
    assert all(p.training.normalize_gradients for p in found.values())
    indqp = found["indqp-vae-k10-fashion_mnist@code"]
    assert [(n.metric, n.value) for n in indqp.paper] == [("elbo_relaxed", -228.65)]
    control = found["indqp-vae-uniform-k10-fashion_mnist@code"]
    assert control.arguments == indqp.arguments | {"logits": "zero"}
    assert control.paper == ()
    mixture = found["mog-vae-k10-cp-fashion_mnist@code"]
    assert mixture.arguments["kl_form"] == "mean_of_logs"
    assert [n.metric for n in mixture.paper] == ["elbo"]


def test_published_baselines_have_the_start_and_the_optimiser_of_their_code():
    found = {preset.name: preset for preset in cp_vae.presets()}
    for name in ("vamp-vae-k10-cp-mnist", "hvae-cp-mnist", "hvamp-vae-k10-cp-mnist"):
        preset = found[name]
        assert preset.training.normalize_gradients
        model = mvae_tf.create(preset.model, **preset.arguments)
        assert model.network.initializer == "he"
    assert not found["vae-cp-mnist"].training.normalize_gradients


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"network": "conv"},
            "a network with a trunk, such as 'gated_mlp', got 'conv'",
        ),
        ({"z_condition": "hybrid"}, "Unknown z_condition 'hybrid': expected one of"),
        ({"z_condition": None}, "Unknown z_condition None"),
        ({"temperature": 0.0}, "temperature > 0, got 0.0"),
        ({"temperature": "annealled"}, "Unknown temperature 'annealled'.*'annealed'"),
        (
            {"temperature": {"name": "annealed", "least": 2.0}},
            "start >= least > 0 and rate >= 0, got start 1.0, rate 3e-05 and least 2.0",
        ),
        ({"relaxation": "soft"}, "Unknown relaxation 'soft'"),
        ({"relaxation": "relaxed"}, "'sample' or 'pi' with relaxation='relaxed'"),
        ({"logits": "relu"}, "Unknown logits 'relu'"),
        ({"prior_init": "zero"}, "Unknown prior_init 'zero'"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        create("cp_vae", **arguments)
    assert "\n" not in str(error.value)


def test_independent_posteriors_have_no_condition():
    for name in ("indq_vae", "indqp_vae"):
        with pytest.raises(ValueError, match="'z_condition'"):
            create(name, z_condition="pi")


def test_tables_that_cannot_be():
    model = create("indqp_vae")
    with pytest.raises(ValueError, match=r"Expected 7 labels, got shape \[6\]"):
        model.category_table(images(), np.zeros(6, int))
    with pytest.raises(ValueError, match=r"top in 1\.\.3, got 5"):
        model.category_table(images(), np.zeros(7, int))
