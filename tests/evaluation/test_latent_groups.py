"""Latents, categories and their classifiers, on models whose answers are known."""

import itertools
from unittest.mock import NonCallableMock

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import mvae_tf
from mvae_tf.evaluation import UNITS, evaluate
from mvae_tf.evaluation.classification import accuracies
from mvae_tf.evaluation.clustering import agreement, usage
from mvae_tf.evaluation.task import integer_labels, latent_means
from mvae_tf.models.base import BaseVAE

NETWORK = {"name": "mlp", "hidden": 8}


def model_of(means, has_categories=False, weights=None, **more):
    """A model whose "image" i, a number, has the posterior i of those given."""

    def encode(x, y=None):
        rows = np.asarray(x)[:, 0].astype(int)
        found = {"mean": means} | ({} if weights is None else {"weights": weights})
        return {key: tf.constant(value[rows]) for key, value in found.items()}

    return NonCallableMock(
        spec=BaseVAE,
        has_categories=has_categories,
        conditional=False,
        encode=encode,
        num_components=means.shape[1],
        **more,
    )


def numbered(num, labels=None, start=0):
    x = np.arange(start, start + num, dtype="float32")[:, np.newaxis]
    arrays = x if labels is None else (x, labels)
    return tf.data.Dataset.from_tensor_slices(arrays).batch(64)


# === Active units ===


def test_active_units_are_those_whose_mean_varies():
    signs = np.where(np.arange(200) % 2, 1.0, -1.0)
    # Variances 0.04, 0.0081 and 0; then 0.0121, 1 and 0, far from zero.
    first = np.outer(signs, [0.2, 0.09, 0.0])
    second = np.outer(signs, [0.11, 1.0, 0.0]) + 50.0
    model = model_of(np.stack([first, second], axis=1))
    results = evaluate(model, numbered(200), ["latents"])
    assert results == {"active_units": 3, "active_units_components": [1, 2]}


def test_categories_share_one_latent_whose_mean_is_that_over_categories():
    means = np.random.default_rng(0).normal(size=(5, 2, 3))
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    model = model_of(means, has_categories=True, weights=weights)
    found = latent_means(model, np.arange(5.0)[:, np.newaxis])
    assert found.shape == (5, 1, 3)
    np.testing.assert_allclose(found[1, 0], means[1, 1])
    np.testing.assert_allclose(found[3, 0], 0.25 * means[3, 0] + 0.75 * means[3, 1])


# === Clustering ===


@pytest.mark.parametrize("v", [-10.0, -0.25, 0.25])
def test_a_gaussian_mask_is_told_by_its_standard_deviation(v):
    mask = {"name": "gaussian", "parameterization": "raw_std", "initial": v}
    arguments = {"num_components": 6, "latent_dim": 2, "network": NETWORK}
    model = mvae_tf.create("mvae", (4,), mask=mask, **arguments)
    x = np.random.default_rng(0).uniform(size=(500, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(x).batch(100)
    results = evaluate(model, data, ["components"])
    assert results["mask_stddev"] == pytest.approx(abs(v), rel=1e-4)
    # The mask keeps m ~ N(1, v^2) at 0.8 and above; a standard error is 0.006.
    kept = scipy.special.ndtr(0.2 / abs(v))
    assert results["selected_components_of_four"] == pytest.approx(4 * kept, abs=0.03)
    assert results["selected_components"] == pytest.approx(6 * kept, abs=0.045)


def one_hot(categories, num):
    return np.eye(num)[np.asarray(categories)]


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(5)), st.integers(0, 2**16))
def test_labels_by_other_names_agree_in_full(names, seed):
    labels = np.random.default_rng(seed).permutation(np.arange(40) % 5)
    found = agreement(one_hot(np.array(names)[labels], 5), labels)
    assert found["cluster_accuracy"] == 100.0
    assert found["cluster_purity"] == 100.0
    assert found["cluster_nmi"] == pytest.approx(1.0)
    assert found["cluster_ari"] == pytest.approx(1.0)
    used = usage(one_hot(labels, 5))
    assert used["categories_used"] == 0.0, "no category exceeds its even share"
    assert used["category_entropy"] == pytest.approx(np.log(5))
    assert used["category_information"] == pytest.approx(np.log(5))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2))
def test_matching_and_purity_are_the_best_of_all(pairs):
    labels, categories = np.array(pairs).T
    found = agreement(one_hot(categories, 4), labels)
    best = max(
        np.mean(np.array(matched)[labels] == categories)
        for matched in itertools.permutations(range(4), 3)
    )
    assert found["cluster_accuracy"] == pytest.approx(100.0 * best)
    best = max(
        np.mean(np.array(named)[categories] == labels)
        for named in itertools.product(range(3), repeat=4)
    )
    assert found["cluster_purity"] == pytest.approx(100.0 * best)


def test_table_of_categories_counts_what_labels_share():
    # Label 0 lists categories 0 to 4, label 1 lists 4 to 8; category 9 is in neither.
    rows = np.zeros((2, 10))
    rows[0, :5] = [0.4, 0.3, 0.15, 0.1, 0.05]
    rows[1, 4:9] = [0.05, 0.1, 0.15, 0.3, 0.4]
    found = agreement(np.repeat(rows, [3, 3], axis=0), np.repeat([0, 1], 3))
    assert found["top_categories_distinct"] == 9
    assert found["top_categories_shared"] == 1
    # 0.2, 0.15 on either side exceed 1/10.
    assert usage(rows)["categories_used"] == pytest.approx(0.4)


def test_information_is_the_kl_of_the_posteriors_from_their_mean():
    rows = np.random.default_rng(0).dirichlet([0.3] * 4, size=50)
    rows[0] = [0.0, 1.0, 0.0, 0.0]
    found, mean = usage(rows), rows.mean(axis=0)
    expected = scipy.special.kl_div(rows, mean).sum(axis=1).mean()
    assert found["category_information"] == pytest.approx(expected)
    entropy = scipy.special.entr(mean).sum()
    assert found["category_entropy"] == pytest.approx(entropy)
    assert usage(np.tile(mean, [50, 1]))["category_information"] == pytest.approx(0.0)


def test_every_model_with_categories_has_their_numbers():
    x = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype("float32")
    for name in ("cgm", "indqp_vae"):
        model = mvae_tf.create(name, input_shape=(4, 4, 1), num_components=3)
        found = evaluate(model, tf.data.Dataset.from_tensor_slices(x).batch(4))
        assert 0 <= found["category_information"] <= found["category_entropy"] + 1e-6
        assert set(found) <= set(UNITS)


def test_a_supervised_model_is_not_told_the_labels():
    cgm = mvae_tf.create(
        "cgm",
        input_shape=(4, 4, 1),
        latent_dim=2,
        num_components=3,
        supervised=True,
        network=NETWORK,
    )
    x = np.random.default_rng(0).uniform(size=(30, 4, 4, 1)).astype("float32")
    labels = np.arange(30) % 3
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
    found = evaluate(cgm, dataset, ["clustering"])
    expected = agreement(cgm.encode(x)["weights"].numpy(), labels)
    assert found == pytest.approx(expected)
    assert found["cluster_accuracy"] < 100.0


# === Classification ===


def separable(num, seed=0):
    """Means of two components: one holds the label, the other only noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 3
    corners = np.array([[0.0, 6.0], [6.0, 0.0], [-6.0, -6.0]])
    means = rng.normal(size=(num, 2, 2))
    means[:, 0] = corners[labels] + 0.3 * rng.normal(size=(num, 2))
    return means, labels


def test_labels_are_read_from_the_component_that_holds_them():
    means, labels = separable(240)
    results = evaluate(
        model_of(means),
        numbered(60, labels[180:], start=180),
        ["classification", "component_classification"],
        train=numbered(180, labels[:180]),
        num_train=150,
    )
    for name in ("accuracy_mlp", "accuracy_svm", "accuracy_knn"):
        assert results[name] > 99.0
        assert results[f"{name}_component_0"] == 100.0
        assert results[f"{name}_component_1"] < 60.0
    assert results["classification_images"] == 150


def test_one_latent_has_no_components_and_a_seed_decides_all():
    means, labels = separable(120)
    results = [
        evaluate(
            model_of(means[:, 1:]),
            numbered(30, labels[90:], start=90),
            ["classification", "component_classification"],
            train=numbered(90, labels[:90]),
        )
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert set(results[0]) == {
        "accuracy_mlp",
        "accuracy_svm",
        "accuracy_knn",
        "classification_images",
    }


def test_neighbours_are_counted_in_percent():
    features = np.arange(40.0)[:, np.newaxis]
    labels = (np.arange(40) >= 20).astype(int)
    found = accuracies(features, labels, np.array([[1.0], [38.0]]), np.array([0, 0]))
    assert found["accuracy_knn"] == 50.0


@pytest.mark.parametrize(
    "y", [[2, 0, 1], [[2], [0], [1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]]
)
def test_labels_of_any_usual_form(y):
    np.testing.assert_array_equal(integer_labels(y), [2, 0, 1])


# === Bad requests ===


def test_a_group_without_what_it_needs_is_refused_in_one_line():
    means, labels = separable(60)
    model, dataset = model_of(means), numbered(60, labels)

    def refused(match, dataset=dataset, model=model, name="classification", **options):
        with pytest.raises(ValueError, match=match) as raised:
            evaluate(model, dataset, [name], **options)
        assert "\n" not in str(raised.value)

    refused("Expected train, images with labels, for classification, got none")
    refused("data set with labels for classification", numbered(60), train=dataset)
    refused("Expected train with labels", train=numbered(60))
    refused(r"at least 5 training images.*, got 4 of 3\.", train=dataset, num_train=4)
    alike = numbered(60, np.zeros(60, int))
    refused(r"2 classes or more.*, got 60 of 1\.", train=alike)
    conditional = model_of(means)
    conditional.conditional = True
    refused("encoder gets no labels", model=conditional, train=dataset)
    refused("Expected a model with categories, got NonCallableMock", name="clustering")
    categorical = model_of(means, has_categories=True)
    refused(
        "data set with labels for clustering, got none",
        numbered(60),
        categorical,
        "clustering",
    )
