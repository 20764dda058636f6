"""Figures of numbers: points, matrices and curves are those that were given."""

import numpy as np
import pytest

import mvae_tf
from mvae_tf import figures


def make(**arguments):
    network = {"name": "mlp", "hidden": 16}
    return mvae_tf.create("mvae", (8, 8, 1), network=network, **arguments)


@pytest.fixture(scope="module")
def mvae():
    return make(num_components=3, latent_dim=3)


@pytest.fixture(scope="module")
def conditional():
    return make(num_components=2, latent_dim=2, num_classes=4)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((40, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(40) % 4


def headings(figure):
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("one_hot", [False, True])
def test_latents(conditional, images, labels, one_hot):
    y = np.eye(4)[labels] if one_hot else labels
    figure = figures.latents(conditional, images, y)
    mean = np.asarray(conditional.encode(images, labels)["mean"])
    assert len(figure.axes) == 2
    for i, axes in enumerate(figure.axes):
        points = axes.collections[0]
        np.testing.assert_allclose(points.get_offsets(), mean[:, i], rtol=1e-6)
        colours = points.get_facecolors()
        assert len(np.unique(colours, axis=0)) == 4
        assert (colours[labels == 1] == colours[1]).all()
        assert axes.get_title(loc="left") == f"component {i}"
        assert not axes.texts
    assert "PCA" not in headings(figure)[1]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["0", "1", "2", "3"]


def test_latents_of_more_dimensions(mvae, images):
    figure = figures.latents(mvae, images, np.arange(40) % 3)
    mean = np.asarray(mvae.encode(images)["mean"], np.float64)
    subtitle = headings(figure)[1].replace("\n", " ")
    assert "classes named at their medians" in subtitle
    assert "two principal axes (PCA) of each component" in subtitle
    for i, axes in enumerate(figure.axes):
        centred = mean[:, i] - mean[:, i].mean(axis=0)
        values, axes_of_z = np.linalg.eigh(centred.T @ centred)
        expected = np.abs(centred @ axes_of_z[:, :0:-1])
        points = np.abs(axes.collections[0].get_offsets())
        np.testing.assert_allclose(points, expected, atol=1e-4)
        share = f"{values[:0:-1].sum() / values.sum():.0%}"
        assert axes.get_title(loc="left") == f"component {i}, {share} of variance"
        points = np.asarray(axes.collections[0].get_offsets())
        for label, name in enumerate(axes.texts):
            assert name.get_text() == str(label)
            np.testing.assert_allclose(name.xy, np.median(points[label::3], axis=0))
        assert len(axes.texts) == 3


def test_latents_of_many_classes(mvae, images):
    for labels in (np.arange(40) % 11, None):
        figure = figures.latents(mvae, images, labels)
        assert not figure.legends
        assert not figure.axes[0].texts


def test_latents_by_component(conditional, images, labels):
    one_hot = np.eye(4)[labels]
    figure = figures.latents_by_component(conditional, images, one_hot, label=1)
    mean = np.asarray(conditional.encode(images[1::4], labels[1::4])["mean"])
    (axes,) = figure.axes
    points = axes.collections[0]
    np.testing.assert_allclose(points.get_offsets(), mean.reshape(-1, 2), rtol=1e-6)
    colours = points.get_facecolors().reshape(10, 2, 4)
    assert (colours == colours[:1]).all()
    assert (colours[0, 0] != colours[0, 1]).any()
    assert "10 test images of class 1" in headings(figure)[1]


def test_latents_of_one_dimension_are_refused(images):
    with pytest.raises(ValueError, match="Expected latent_dim >= 2, got 1"):
        figures.latents(make(num_components=2, latent_dim=1), images)


def test_dependence_prints_its_values():
    matrix = np.array([[0.5, 0.125, 0.25], [0.125, 0.5, 0.0], [0.25, 0.0, 0.5]])
    figure = figures.dependence(matrix)
    (axes,) = figure.axes
    printed = [text.get_text() for text in axes.texts]
    assert printed == [f"{value:.3f}" for value in matrix.ravel()]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)


def test_curves():
    history = [
        {"epoch": "1", "loss": "30.0", "val_loss": "", "dropout_rate": "0.1"},
        {"epoch": "2", "loss": "20.5", "val_loss": "21.0", "dropout_rate": "0.2"},
        {"epoch": "3", "loss": "nan", "val_loss": "20.0", "dropout_rate": "0.3"},
    ]
    figure = figures.curves(history)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["objective", "dropout rate p"]
    training, validation = figure.axes[0].lines
    np.testing.assert_array_equal(training.get_data(), [[1, 2, 3], [30, 20.5, np.nan]])
    np.testing.assert_array_equal(validation.get_data(), [[1, 2, 3], [np.nan, 21, 20]])
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["training", "validation"]
    (rate,) = figure.axes[1].lines
    np.testing.assert_array_equal(rate.get_ydata(), [0.1, 0.2, 0.3])


def test_kl_terms_share_a_panel():
    history = [{"epoch": 1, "loss": 3.0, "kl": 1.0, "val_kl": 2.0, "code": 0.5}]
    figure = figures.curves(history, kl_terms=["code", "kl"])
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.lines]
    assert titles == ["objective", "KL"]
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["kl", "code"]


def test_one_epoch_is_a_visible_point():
    figure = figures.curves([{"epoch": 1, "loss": 3.0, "selected_components": 2.0}])
    assert [axes.lines[0].get_marker() for axes in figure.axes] == ["o", "o"]
    ticks = [t for t in figure.axes[0].get_xticks() if 0.9 < t < 1.1]
    assert ticks == [1.0]


def test_no_epoch_is_refused():
    with pytest.raises(ValueError, match="at least one epoch, got none"):
        figures.curves([])
