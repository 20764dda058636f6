"""Evaluation against sums written out in NumPy."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import mvae_tf
from mvae_tf.evaluation import GROUPS, UNITS, Classifier, evaluate
from mvae_tf.models import VAE
from mvae_tf.parts import likelihoods

NETWORK = {"name": "mlp", "hidden": 8}


@pytest.fixture(scope="module")
def mvae():
    return mvae_tf.create(
        "mvae", input_shape=(4, 4, 1), latent_dim=2, num_components=3, network=NETWORK
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(37, 4, 4, 1)).astype("float32")


@pytest.fixture(scope="module")
def of_mvae(mvae, images):
    return evaluate(mvae, batches(images, 10), num_samples=20, num_images=15)


def batches(x, size):
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


def test_every_number_equals_its_definition(mvae, of_mvae, images):
    results = of_mvae

    def sse(reconstructed):
        return np.mean(np.sum(np.square(reconstructed - images), axis=(1, 2, 3)))

    assert results["sse"] == pytest.approx(sse(mvae.reconstruct(images)), rel=1e-5)
    sampled = sse(mvae.reconstruct(images, seed=0))
    unmasked = sse(mvae.reconstruct(images, seed=0, masked=False))
    assert results["sse_sampled"] == pytest.approx(sampled, rel=1e-5)
    assert results["sse_unmasked"] == pytest.approx(unmasked, rel=1e-5)
    assert results["rmse"] == pytest.approx(np.sqrt(sampled), rel=1e-5)
    assert results["rmse_per_pixel"] == pytest.approx(np.sqrt(results["sse"] / 16))
    assert results["elbo"] == pytest.approx(
        np.mean(mvae.elbo(images, seed=0)), rel=1e-5
    )
    assert results["elbo"] == pytest.approx(
        -results["elbo_reconstruction"] - results["elbo_kl"]
    )
    likelihood = np.mean(mvae.log_likelihood(images[:15], 20, seed=0))
    assert results["log_likelihood"] == pytest.approx(likelihood, rel=1e-5)
    size = np.mean(mvae.effective_sample_size(images[:15], 20, seed=0))
    assert results["log_likelihood_ess"] == pytest.approx(size, rel=1e-4)
    assert results["log_likelihood_images"] == 15
    assert results["log_likelihood_samples"] == 20
    assert np.sum(results["component_usage"]) == pytest.approx(1.0, abs=1e-5)
    assert np.shape(results["dhsic"]) == (3, 3)


def test_results_do_not_depend_on_the_batches(mvae, of_mvae, images):
    first = dict(of_mvae)
    second = evaluate(mvae, batches(images, 37), num_samples=20, num_images=15)
    assert set(first["audit"]) == {"elbo", "kl_monte_carlo"}
    for name, check in first.pop("audit").items():
        for key, value in check.items():
            other = second["audit"][name][key]
            assert other == pytest.approx(value, rel=1e-3), (name, key)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=2e-5, err_msg=name)


def test_a_single_vae_has_no_numbers_of_components(images):
    vae = mvae_tf.create("vae", input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    results = evaluate(vae, batches(images, 10), num_samples=5)
    assert not {"dhsic", "selected_components", "sse_unmasked"} & set(results)
    assert results["log_likelihood"] >= results["elbo"]


def test_a_mixture_without_a_mask_has_no_numbers_of_one(images):
    arguments = {"latent_dim": 2, "num_components": 2, "network": NETWORK}
    model = mvae_tf.create("mvae", (4, 4, 1), mask=None, **arguments)
    results = evaluate(model, batches(images, 10), ["reconstruction", "components"])
    assert not {"sse_unmasked", "dropout_rate", "mask_stddev"} & set(results)
    assert results["selected_components"] == 2


def test_groups_can_be_chosen_and_labels_reach_a_conditional_model(images):
    model = mvae_tf.create(
        "mvae",
        input_shape=(4, 4, 1),
        latent_dim=2,
        num_components=2,
        num_classes=3,
        network=NETWORK,
    )
    labels = np.arange(37) % 3
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
    results = evaluate(model, dataset, metrics=["reconstruction"])
    assert set(results) == {
        "sse",
        "sse_sampled",
        "sse_unmasked",
        "rmse",
        "rmse_per_pixel",
    }


def test_bad_requests_are_refused_in_one_line(mvae, images):
    with pytest.raises(ValueError, match=r"Unknown group of metrics 'elb'.*'elbo'"):
        evaluate(mvae, batches(images, 10), metrics=["elb"])
    with pytest.raises(ValueError, match="at least one image, got none"):
        evaluate(mvae, batches(images, 10).take(0))
    with pytest.raises(ValueError, match="at least one image, got none"):
        evaluate(mvae, batches(images, 10).take(0), metrics=["elbo"])
    vae = mvae_tf.create("vae", input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    with pytest.raises(ValueError, match="^Expected an MVAE .*, got VAE with 1[.]"):
        evaluate(vae, batches(images, 10), metrics=["components"])
    cgm = mvae_tf.create("cgm", input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    for name in ("elbo", "audit"):
        assert name in GROUPS
        with pytest.raises(ValueError, match="lower bound, got CGM: an MMD bounds"):
            evaluate(cgm, batches(images, 10), metrics=[name])


# === Groups ===


def labelled(images):
    """Binary images with labels, in batches, once as data and once to train on."""
    x = np.tile(images > 0.5, (2, 1, 1, 1)).astype("float32")
    return batches((x, np.arange(len(x)) % 3), 20)


class Halves(Classifier):
    """A classifier of how bright the two halves of an image are."""

    def __init__(self):
        super().__init__("halves", network=None)

    def misfit(self, input_shape):
        return None if input_shape == (4, 4, 1) else "Expected images of (4, 4, 1)."

    def probabilities_and_features(self, images):
        features = np.asarray(images).reshape(len(images), 2, 8).mean(axis=2)
        return features / features.sum(axis=1, keepdims=True), features


def test_every_documented_number_is_measured_of_some_model(mvae, of_mvae, images):
    dataset = labelled(images)
    cgm = mvae_tf.create("cgm", input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    of_cgm = evaluate(
        cgm,
        dataset,
        metrics=["likelihood", "clustering", "classification", "scores"],
        num_samples=2,
        num_images=20,
        train=dataset,
        classifier=Halves(),
    )
    of_components = evaluate(
        mvae,
        dataset,
        ["classification", "component_classification"],
        train=dataset,
    )
    assert of_components["classification_images"] == 74
    assert of_cgm["classifier"] == "halves"
    relaxed = mvae_tf.create(
        "cp_vae",
        (4, 4, 1),
        latent_dim=2,
        network=NETWORK,
        relaxation="relaxed",
        z_condition="sample",
    )
    of_relaxed = evaluate(relaxed, dataset, ["elbo", "categories"])
    gaussian = mvae_tf.create(
        "mvae", (4, 4, 1), latent_dim=2, network=NETWORK, mask="gaussian"
    )
    of_gaussian = evaluate(gaussian, dataset, ["components"])
    measured = {*of_mvae, *of_cgm, *of_components, *of_relaxed, *of_gaussian}
    assert {re.sub(r"_component_\d$", "_component_0", n) for n in measured} == set(
        UNITS
    )


def test_groups_that_take_long_wait_to_be_asked(of_mvae):
    assert {"sse", "elbo", "active_units", "log_likelihood", "dhsic"} <= set(of_mvae)
    asked_for = {"accuracy_mlp", "inception_score", "cluster_nmi"}
    assert not asked_for & set(of_mvae)


# === Importance sampling ===

NUM_DRAWS = 7


@pytest.fixture(scope="module")
def given_weights():
    """A model and the variable that holds the log-weights of its draws."""
    log_weights = tf.Variable(tf.zeros([NUM_DRAWS]), trainable=False)

    class GivenWeights(VAE):
        """A VAE with the same known weights for the draws of every image."""

        def log_importance_weight(self, x, posterior, latents, y=None):
            return tf.tile(log_weights, [tf.shape(x)[0] // NUM_DRAWS])

    return GivenWeights((4, 4, 1), latent_dim=2, network=NETWORK), log_weights


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-300.0, 300.0, width=32), min_size=NUM_DRAWS, max_size=NUM_DRAWS)
)
def test_likelihood_and_sample_size_are_those_of_the_weights(given_weights, images, w):
    model, log_weights = given_weights
    log_weights.assign(w)
    found = model.importance_sampling(images[:3], NUM_DRAWS)
    expected = special.logsumexp(w) - math.log(NUM_DRAWS)
    np.testing.assert_allclose(
        found.log_likelihood, [expected] * 3, rtol=1e-5, atol=1e-5
    )
    size = math.exp(2.0 * special.logsumexp(w) - special.logsumexp(2.0 * np.array(w)))
    np.testing.assert_allclose(found.effective_sample_size, [size] * 3, rtol=1e-3)


def test_equal_weights_all_count_and_one_great_weight_counts_alone(
    given_weights, images
):
    model, log_weights = given_weights
    log_weights.assign(np.full(NUM_DRAWS, -500.0))
    size = model.effective_sample_size(images, NUM_DRAWS)
    np.testing.assert_allclose(size, np.full(37, 7.0), rtol=1e-3)
    log_weights.assign(np.eye(NUM_DRAWS)[3] * 80.0)
    size = model.effective_sample_size(images, NUM_DRAWS)
    np.testing.assert_allclose(size, np.ones(37), rtol=1e-4)


def test_draws_of_several_chunks_are_those_of_one_likelihood(mvae, images):
    few = mvae.importance_sampling(images[:5], 120, seed=3)
    np.testing.assert_array_equal(
        few.log_likelihood, mvae.log_likelihood(images[:5], 120, seed=3)
    )
    assert np.all(few.effective_sample_size >= 1.0)
    assert np.all(few.effective_sample_size < 120.0)


@pytest.mark.parametrize(
    ("likelihood", "of_binary", "of_grey"),
    [
        ("bernoulli", True, False),
        ("continuous_bernoulli", False, False),
        ("discretized_logistic", True, True),
        ("gaussian", False, False),
        ("sse", False, False),
    ],
)
def test_only_probabilities_of_discrete_pixels_are_bits(
    images, likelihood, of_binary, of_grey
):
    is_mass = likelihoods.get(likelihood).is_mass
    assert is_mass(np.round(images)) == of_binary
    assert is_mass(images) == of_grey


def test_bits_of_a_model_that_knows_nothing_are_one_a_pixel(images):
    vae = VAE((4, 4, 1), latent_dim=2, network=NETWORK)
    # Zero weights: the posterior is one for all, and every pixel even odds.
    for layer in (vae.encoder, vae.sub_decoder, vae.mix_decoder):
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    x = np.round(images)
    results = evaluate(vae, batches(x, 37), ["likelihood"], num_samples=2000)
    assert results["bits_per_dim"] == pytest.approx(1.0, abs=0.01)
    nats = results["bits_per_dim"] * 16 * math.log(2.0)
    assert results["log_likelihood"] == pytest.approx(-nats)
    grey = evaluate(vae, batches(images, 37), ["likelihood"], num_samples=2)
    assert "bits_per_dim" not in grey
