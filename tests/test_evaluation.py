"""Evaluation against sums written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf.evaluation import GROUPS, UNITS, evaluate

NETWORK = {"name": "mlp", "hidden": 8}


@pytest.fixture(scope="module")
def mvae():
    return mvae_tf.create(
        "mvae", input_shape=(4, 4, 1), latent_dim=2, num_components=3, network=NETWORK
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(37, 4, 4, 1)).astype("float32")


def batches(x, size):
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


def test_every_number_is_documented_and_equals_its_definition(mvae, images):
    results = evaluate(mvae, batches(images, 10), num_samples=20, num_images=15)
    assert set(results) == set(UNITS)

    def sse(reconstructed):
        return np.mean(np.sum(np.square(reconstructed - images), axis=(1, 2, 3)))

    assert results["sse"] == pytest.approx(sse(mvae.reconstruct(images)), rel=1e-5)
    sampled = sse(mvae.reconstruct(images, seed=0))
    unmasked = sse(mvae.reconstruct(images, seed=0, masked=False))
    assert results["sse_sampled"] == pytest.approx(sampled, rel=1e-5)
    assert results["sse_unmasked"] == pytest.approx(unmasked, rel=1e-5)
    assert results["rmse_per_pixel"] == pytest.approx(np.sqrt(results["sse"] / 16))
    assert results["elbo"] == pytest.approx(
        np.mean(mvae.elbo(images, seed=0)), rel=1e-5
    )
    assert results["elbo"] == pytest.approx(
        -results["elbo_reconstruction"] - results["elbo_kl"]
    )
    likelihood = np.mean(mvae.log_likelihood(images[:15], 20, seed=0))
    assert results["log_likelihood"] == pytest.approx(likelihood, rel=1e-5)
    assert results["log_likelihood_images"] == 15
    assert np.sum(results["component_usage"]) == pytest.approx(1.0, abs=1e-5)
    assert np.shape(results["dhsic"]) == (3, 3)


def test_results_do_not_depend_on_the_batches(mvae, images):
    first = evaluate(mvae, batches(images, 10), num_samples=5, num_images=15)
    second = evaluate(mvae, batches(images, 37), num_samples=5, num_images=15)
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
    assert set(results) == {"sse", "sse_sampled", "sse_unmasked", "rmse_per_pixel"}


def test_bad_requests_are_refused_in_one_line(mvae, images):
    with pytest.raises(ValueError, match=r"Unknown group of metrics 'elb'.*'elbo'"):
        evaluate(mvae, batches(images, 10), metrics=["elb"])
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate(mvae, batches(images, 10).take(0))
    assert "elbo" in GROUPS
