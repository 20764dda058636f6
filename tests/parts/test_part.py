"""Independence terms, networks, Gaussian draws, and how parts are named."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from mvae_tf import divergences
from mvae_tf.models.hooks import Posterior
from mvae_tf.noise import BatchNoise
from mvae_tf.parts import gaussian, independence, likelihoods, networks
from mvae_tf.parts import part as parts
from mvae_tf.parts.networks.branches import BatchNormalization
from mvae_tf.parts.networks.network import gaussian_head, layer_seed, stateless_dropout


def new_noise():
    return BatchNoise(tf.constant([7, 8]))


def random_posterior(num=6, components=3, latent_dim=2):
    rng = np.random.default_rng(0)
    shape = (num, components, latent_dim)
    mean = tf.constant(rng.normal(size=shape), tf.float32)
    stddev = tf.constant(rng.uniform(0.3, 1.5, size=shape), tf.float32)
    posterior = Posterior(mean, stddev, tf.ones_like(mean[..., 0]))
    return posterior, new_noise().normal("z", mean, stddev)


# === Independence ===


@pytest.mark.parametrize("squared", [False, True])
def test_dhsic_of_the_samples(squared):
    posterior, z = random_posterior()
    term = independence.get({"name": "dhsic", "squared": squared})
    (value,) = term.terms(posterior, z, tf.identity).values()
    np.testing.assert_array_equal(value, divergences.dhsic(z, squared=squared))


@pytest.mark.parametrize("name", ["l2", "kl", "symmetric_kl", "js"])
def test_pairwise_terms_sum_over_ordered_pairs(name, monkeypatch):
    posterior, z = random_posterior()
    mean, stddev, z = (np.float64(t) for t in (posterior.mean, posterior.stddev, z))

    def log_q(i, at):
        return stats.norm(mean[:, i], stddev[:, i]).logpdf(z[:, at]).sum(axis=1)

    def kl(i, j):
        variance = stddev**2
        ratio = variance[:, i] / variance[:, j]
        shift = (mean[:, i] - mean[:, j]) ** 2 / variance[:, j]
        return 0.5 * np.sum(ratio + shift - 1 - np.log(ratio), axis=1)

    def js(i, j):
        halves = []
        for at in (i, j):
            middle = np.logaddexp(log_q(i, at), log_q(j, at)) - np.log(2)
            halves.append(0.5 * (log_q(at, at) - middle))
        return sum(halves)

    distance = {
        "l2": lambda i, j: np.sum((z[:, i] - z[:, j]) ** 2, axis=1),
        "kl": kl,
        "symmetric_kl": lambda i, j: kl(i, j) + kl(j, i),
        "js": js,
    }[name]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    for sign, cap in ((-1, np.inf), (1, 0.7), (-1, 10.0)):
        monkeypatch.setattr(independence, "_CAP", cap)
        term = independence.get({"name": name, "sign": sign})
        expected = sign * sum(np.minimum(distance(i, j), cap) for i, j in pairs)
        samples = tf.constant(z, tf.float32)
        (value,) = term.terms(posterior, samples, tf.identity).values()
        np.testing.assert_allclose(value, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dhsic", "l2", "kl", "symmetric_kl", "js"])
def test_one_component_or_one_example_is_no_trouble(name):
    for num, components in ((6, 1), (1, 3)):
        posterior, z = random_posterior(num, components)
        term = independence.get(name)
        with tf.GradientTape() as tape:
            tape.watch([z, posterior.mean])
            (value,) = term.terms(posterior, z, tf.identity).values()
        gradients = tape.gradient(
            value, [z, posterior.mean], unconnected_gradients="zero"
        )
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        if components == 1 or name == "dhsic":
            np.testing.assert_allclose(value, 0.0, atol=1e-5)


def test_no_independence_term():
    assert independence.get(None).declare(1.0) == {}
    assert independence.get(None).get_config() is None


# === Gaussian draws ===


def test_draws_and_density_ratio():
    posterior, _ = random_posterior()
    many = [tf.repeat(value[:1], 20_000, 0) for value in posterior[:2]]
    z = new_noise().normal("z", *many)
    mean, stddev = (value[0] for value in many)
    error = stddev / math.sqrt(len(z))
    assert np.all(np.abs(np.mean(z, axis=0) - mean) < 4 * error)
    ratio = gaussian.log_density_ratio(*many, z, 0.5, 2.0).numpy()
    assert ratio.shape == (20_000, 3)
    kl = divergences.gaussian_kl(mean, stddev, 0.5, 2.0)
    error = ratio.std(axis=0) / math.sqrt(len(ratio))
    assert np.all(np.abs(-ratio.mean(axis=0) - kl) < 4 * error)


# === Networks ===


def make(network, components, kind, **changes):
    arguments = {"scores": kind == "encoder", "seed": 3, "name": kind} | changes
    spec = networks.NetworkSpec((8, 8, 3), (8, 8, 3), 2, components, **arguments)
    return getattr(networks.get(network), kind)(spec)


MLP = {"name": "mlp", "hidden": 8}
CONV = {
    "name": "conv",
    "filters": [4, 8],
    "units": 8,
    "feature_map": [2, 2, 4],
    "decoder": [[4, 2], [4, 2]],
}
each_network = pytest.mark.parametrize("network", [MLP, CONV], ids=["mlp", "conv"])


@each_network
def test_component_i_starts_alike_whatever_the_number_of_components(network):
    x = tf.random.stateless_uniform([4, 8, 8, 3], [0, 1])
    z = tf.random.stateless_normal([4, 5, 2], [0, 2])
    for small, large in ((2, 5), (1, 3)):
        few, many = (make(network, k, "encoder")(x) for k in (small, large))
        for first, second in zip(few, many, strict=True):
            np.testing.assert_allclose(first, second[:, :small], atol=1e-6)
        few, many = (make(network, k, "sub_decoder")(z[:, :k]) for k in (small, large))
        np.testing.assert_allclose(few, many[:small], atol=1e-6)
    mean, _, scores = make(network, 3, "encoder")(x)
    assert len({tuple(np.ravel(mean[:, i])) for i in range(3)}) == 3
    assert scores.shape == (4, 3)
    assert np.all(scores > 0)


@each_network
def test_components_see_their_own_latents_only(network):
    layer = make(network, 3, "sub_decoder")
    z = tf.random.stateless_normal([4, 3, 2], [0, 2])
    moved = tf.tensor_scatter_nd_add(z, [[0, 1, 0]], [1.0])
    changed = np.any(np.abs(layer(z) - layer(moved)).reshape(3, 4, -1) > 1e-7, axis=-1)
    np.testing.assert_array_equal(np.argwhere(changed), [[1, 0]])


@each_network
def test_copies_of_components(network):
    x = tf.random.stateless_uniform([4, 8, 8, 3], [0, 1])
    source, copy = make(network, 4, "encoder"), make(network, 2, "encoder", seed=9)
    copy.copy_components(source, [3, 1])
    for original, copied in zip(source(x), copy(x), strict=True):
        np.testing.assert_allclose(
            tf.gather(original, [3, 1], axis=1), copied, atol=1e-6
        )


@each_network
def test_parameters_grow_linearly_with_components(network):
    for kind in ("encoder", "sub_decoder"):
        counts = [make(network, k, kind).count_params() for k in (1, 2, 5)]
        assert counts == [counts[0], 2 * counts[0], 5 * counts[0]]


def test_gaussian_head_is_positive_where_softplus_underflows():
    mean, stddev, score = gaussian_head(tf.constant([[3.0, -200.0, -200.0]]), 1)
    np.testing.assert_allclose(mean, [[3.0]])
    np.testing.assert_allclose(stddev, [[1e-6]])
    np.testing.assert_allclose(score, [1e-6])
    assert gaussian_head(tf.zeros([2, 6]), 3)[2] is None
    assert gaussian_head(tf.zeros([2, 6], tf.bfloat16), 3)[1].dtype == tf.float32


def test_seeds_of_layers():
    seeds = {layer_seed(s, "encoder", i) for s in (0, 1) for i in range(3)}
    assert len(seeds) == 6
    assert layer_seed(4, "a") == layer_seed(4, "a") < 2**31


def test_dropout_of_hidden_units():
    x = tf.ones([3, 500, 8])
    dropped = stateless_dropout(x, 0.25, "name", new_noise(), training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert abs(np.mean(dropped == 0) - 0.25) < 4 * np.sqrt(0.1875 / x.numpy().size)
    assert stateless_dropout(x, 0.25, "name", new_noise(), training=False) is x
    assert stateless_dropout(x, 0.0, "name", new_noise(), training=True) is x


def test_batch_normalization_against_keras():
    x = tf.random.stateless_normal([6, 4, 4, 3], [1, 2], 2.0, 3.0)
    ours = BatchNormalization()
    keras_layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for layer in (ours, keras_layer):
        layer.build(x.shape)
        layer.gamma.assign([1.0, 2.0, 3.0])
        layer.beta.assign([0.0, 1.0, -1.0])
    np.testing.assert_allclose(
        ours(x, training=True), keras_layer(x, training=True), atol=1e-5
    )
    np.testing.assert_allclose(ours.moving_mean, keras_layer.moving_mean, rtol=1e-5)
    # The fused kernel keeps the unbiased variance, of 96 values a channel.
    unbiased = 0.9 + (keras_layer.moving_variance - 0.9) * 96 / 95
    np.testing.assert_allclose(ours.moving_variance, unbiased, rtol=1e-4)
    keras_layer.moving_variance.assign(ours.moving_variance)
    np.testing.assert_allclose(ours(x), keras_layer(x), atol=1e-5)
    by_batch = BatchNormalization(batch_statistics=True)
    by_batch.build(x.shape)
    np.testing.assert_allclose(by_batch(x), by_batch(x, training=True), atol=1e-5)


# === Names ===


def test_a_part_by_name_by_configuration_or_as_an_object():
    by_name = likelihoods.get("sse")
    assert likelihoods.get(by_name) is by_name
    tanh = likelihoods.get({"name": "sse", "activation": "tanh", "low": -1})
    assert tanh.get_config() == {
        "name": "sse",
        "activation": "tanh",
        "low": -1,
        "high": 1.0,
    }
    fitted = networks.get("conv").for_images((32, 32, 3))
    assert fitted.get_config()["feature_map"] == [8, 8, 256]


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("see", "^Unknown likelihood 'see': .*Did you mean 'sse'[?]$"),
        (
            {"name": "sse", "activaton": 1},
            "^Unknown argument .*Did you mean 'activation'",
        ),
        ({"activation": "tanh"}, "^Expected a likelihood as a name, .*, got {'act"),
        (3, "^Expected a likelihood as a name, a dict .* got 3[.]$"),
        (None, "^Expected a likelihood as a name, .* got None[.]$"),
    ],
)
def test_unknown_parts(specification, message):
    with pytest.raises(ValueError, match=message) as caught:
        likelihoods.get(specification)
    assert "\n" not in str(caught.value)


def test_choice_suggests_the_nearest_option():
    assert parts.choice("a", ("a", "b"), "letter") == "a"
    with pytest.raises(
        ValueError, match="^Unknown letter 'c': expected one of a, None[.]$"
    ):
        parts.choice("c", ("a", None), "letter")
