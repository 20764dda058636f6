"""Figures that compare models: what is drawn is what was given."""

import math

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text

import mvae_tf
from mvae_tf import figures
from mvae_tf.data import toy
from mvae_tf.figures.style import DPI


def row(name, metric="elbo", paper=None, ours=None, **more):
    return {"row": name, "metric": metric, "paper": paper, "ours": ours} | more


def headings(figure):
    return [text.get_text() for text in figure.texts]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def positions(axes):
    dots = [c for c in axes.collections if isinstance(c, PathCollection)]
    return [tuple(c.get_offsets()[0]) for c in dots]


def test_comparison_has_a_panel_a_metric_and_a_line_a_row():
    figure = figures.comparison(
        [
            row("A", "elbo", -88.75, -89.5),
            row("A", "sse", 7.0, None),
            row("B", "elbo", None, -91.0),
            row("C", "sse", 8.0, math.nan),
        ],
        "Table 9",
    )
    elbo, sse = figure.axes
    assert [elbo.get_title(loc="left"), sse.get_title(loc="left")] == ["elbo", "sse"]
    assert [t.get_text() for t in elbo.get_yticklabels()] == ["A", "B", "C"]
    assert not list(sse.get_yticks())
    assert positions(elbo) == [(-88.75, 0), (-89.5, 0), (-91.0, 1)]
    assert positions(sse) == [(7.0, 0), (8.0, 2)]
    (joined,) = elbo.lines
    np.testing.assert_array_equal(joined.get_data(), [[-88.75, -89.5], [0, 0]])
    assert not sse.lines
    assert texts(elbo) == ["paper", "−88.75", "–", "–"] + [
        "ours",
        "−89.50",
        "−91.00",
        "–",
    ]
    assert texts(sse) == ["paper", "7.00", "–", "8.00", "ours", "–", "–", "nan"]


@pytest.mark.parametrize(("num_rows", "num_metrics"), [(3, 1), (12, 2), (30, 6)])
def test_no_text_of_a_comparison_lies_on_another(num_rows, num_metrics):
    rows = [
        row(f"model {i} of a table", f"metric_{j}", -1234.5 * (i + 1), 99.9 * i)
        for i in range(num_rows)
        for j in range(num_metrics)
    ]
    figure = figures.comparison(rows, "Table", "What is compared.")
    figure.draw_without_rendering()
    hidden = {
        tick
        for axes in figure.axes
        for tick in axes.get_xticklabels()
        if not axes.get_xlim()[0] <= tick.get_position()[0] <= axes.get_xlim()[1]
    }
    shown = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    shown = [t for t in shown if t not in hidden]
    boxes = np.array([text.get_window_extent().extents for text in shown])
    width, height = figure.get_size_inches() * DPI
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    overlap = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    pairs = (overlap > 0).all(axis=-1) & ~np.eye(len(boxes), dtype=bool)
    assert not pairs.any(), [shown[i].get_text() for i in np.argwhere(pairs)[0]]


def test_a_long_title_stands_beside_the_key():
    figure = figures.comparison([row("A", ours=1.0)], "A title of many words " * 5)
    canvas = figure.canvas.get_renderer()
    title = figure.texts[0].get_window_extent(canvas)
    (key,) = figure.legends
    assert title.x1 < key.get_window_extent(canvas).x0
    assert key.get_window_extent(canvas).x1 <= figure.bbox.x1


def test_rows_of_one_name_are_told_apart_by_their_runs():
    rows = [row("CP", ours=1.0, run="a"), row("CP", ours=2.0, run="b")]
    (axes,) = figures.comparison([*rows, row("VAE", run="c")], "Table").axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["CP (a)", "CP (b)", "VAE"]


def test_bad_comparisons_are_refused():
    with pytest.raises(ValueError, match="at least one row to compare, got none"):
        figures.comparison([], "Table")
    with pytest.raises(ValueError, match=r"got \('A', 'elbo'\) twice"):
        figures.comparison([row("A"), row("A")], "Table")


def test_histories():
    series = {
        "A": [{"epoch": 1, "val_loss": 9.0}, {"epoch": 2, "val_loss": 8.0}],
        "B": [{"epoch": "1", "val_loss": ""}, {"epoch": "2", "val_loss": "7"}],
        "C": [{"epoch": 1, "loss": 5.0}],
    }
    figure = figures.histories(series, "val_loss", "Fig 2", ylabel="nats", xlabel="K")
    (axes,) = figure.axes
    first, second = axes.lines
    np.testing.assert_array_equal(first.get_data(), [[1, 2], [9, 8]])
    np.testing.assert_array_equal(second.get_data(), [[1, 2], [np.nan, 7]])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["A", "B"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("K", "nats")
    with pytest.raises(ValueError, match="history with values of 'sse', got none"):
        figures.histories(series, "sse", "Fig 2")


def test_lines_of_many_runs_differ():
    series = {str(i): [{"epoch": 1, "loss": i}] for i in range(12)}
    (axes,) = figures.histories(series, "loss", "Many").axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 12


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((5, 8, 8, 1), np.float32)


def model(name, **arguments):
    network = {"name": "mlp", "hidden": 8}
    return mvae_tf.create(name, (8, 8, 1), network=network, **arguments)


def test_reconstruction_rows(x):
    models = {"VAE": model("vae", latent_dim=2), "CGM2": model("cgm", supervised=True)}
    figure = figures.reconstruction_rows(models, x, np.arange(5))
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["original", "VAE", "CGM2"]
    side = 88
    picture = axes.images[0].get_array()
    assert picture.shape == (3 * side + 2 * 3 + 10, 5 * side + 4 * 3, 3)
    shown = picture[side + 13 : 2 * side + 13 : 11, :side:11, 0]
    expected = np.asarray(models["VAE"].reconstruct(x))[0, ..., 0]
    np.testing.assert_array_equal(shown, np.rint(255 * expected))


def test_models_of_different_pixels_are_refused(x):
    signed = {"name": "sse", "activation": "tanh", "low": -1.0}
    models = {"a": model("vae"), "b": model("vae", likelihood=signed)}
    with pytest.raises(ValueError, match="one range of pixels, got"):
        figures.reconstruction_rows(models, x)
    with pytest.raises(ValueError, match="at least one model, got none"):
        figures.reconstruction_rows({}, x)


def test_grids(x):
    images = {"many": np.tile(x, (4, 1, 1, 1)), "few": x[:3]}
    figure = figures.grids(images, "Samples", "Two models.", columns=6)
    many, few = figure.axes
    assert many.get_title(loc="left") == "many"
    side = 56
    assert many.images[0].get_array().shape == (4 * side + 9, 6 * side + 15, 3)
    assert few.images[0].get_array().shape == (side, 3 * side + 6, 3)
    shown = few.images[0].get_array()[::7, :side:7, 0]
    np.testing.assert_array_equal(shown, np.rint(255 * x[0, ..., 0]))
    last = many.images[0].get_array()[-side:, -4 * side :]
    assert (last == 255).all()
    boxes = [axes.get_window_extent().extents for axes in figure.axes]
    assert boxes[0][3] == pytest.approx(boxes[1][3])
    np.testing.assert_allclose(boxes[0][2:] - boxes[0][:2], (351, 233), atol=0.01)


def test_grids_stand_in_lines(x):
    figure = figures.grids({str(i): x[:4] for i in range(20)}, "Samples")
    corners = np.array([axes.get_window_extent().extents for axes in figure.axes])
    assert len(np.unique(np.rint(corners[:, 3]))) == 4
    figure = figures.grids({str(i): x[:4] for i in range(4)}, "Samples", across=2)
    corners = np.array([axes.get_window_extent().extents for axes in figure.axes])
    assert len(np.unique(np.rint(corners[:, 3]))) == 2


def test_bad_grids_are_refused(x):
    with pytest.raises(ValueError, match="at least one grid of images, got none"):
        figures.grids({}, "Samples")
    with pytest.raises(ValueError, match=r"for 'a', got \[8, 8, 1\]"):
        figures.grids({"a": x[0]}, "Samples")


def test_densities():
    numbers = toy.sample(20_000, 0)[0][:, 0]
    figure = figures.densities(
        {"data": numbers, "half": np.concatenate([numbers, np.full(20_000, 1.5)])},
        lambda points: np.exp(toy.log_density(points)),
        "Toy",
    )
    whole, half = figure.axes
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["data", "half (50.0% beyond)"]
    points, values = whole.lines[0].get_data()
    np.testing.assert_allclose(values, np.exp(toy.log_density(points)))
    bars, edges, _ = whole.patches[0].get_data()
    assert np.sum(bars * np.diff(edges)) == pytest.approx(1.0)
    middles = np.exp(toy.log_density((edges[1:] + edges[:-1]) / 2))
    assert np.abs(bars - middles).max() < 0.3
    np.testing.assert_allclose(half.patches[0].get_data()[0], bars / 2)


def test_category_posteriors():
    probabilities = {"A": [0.5, 0.3, 0.2, 0.0], "B": np.full(4, 0.25)}
    figure = figures.category_posteriors(probabilities, "q(c)")
    first, second = figure.axes
    heights = [bar.get_height() for bar in first.patches]
    np.testing.assert_allclose(heights, probabilities["A"])
    np.testing.assert_allclose(first.lines[0].get_ydata(), 0.25)
    assert first.get_title(loc="left") == "A: 2 of 4 above 1/K"
    assert second.get_title(loc="left") == "B: 0 of 4 above 1/K"


def test_panels_stand_in_lines_of_equal_length():
    named = {str(i): np.full(3, 1 / 3) for i in range(7)}
    figure = figures.category_posteriors(named, "q(c)")
    assert [axes.axison for axes in figure.axes] == [True] * 7 + [False]


def test_likelihood_histogram():
    values = {
        "VAE": np.linspace(-110.0, -90.0, 1001),
        "GMMpVAE": np.linspace(-105.0, -85.0, 501),
    }
    figure = figures.likelihood_histogram(values, "Log-likelihoods")
    first, second = figure.axes
    assert first.get_title(loc="left") == "VAE: mean −100.00, 1,001 images"
    np.testing.assert_allclose(second.lines[0].get_xdata(), -95.0)
    shares, edges, _ = second.patches[0].get_data()
    assert shares.sum() == pytest.approx(1.0, abs=0.01)
    assert -110.0 < edges[0] < -109.0
    assert first.get_xlim() == second.get_xlim()


@pytest.mark.parametrize(
    "draw",
    [
        lambda named: figures.densities(named, np.exp, "t"),
        lambda named: figures.category_posteriors(named, "t"),
        lambda named: figures.likelihood_histogram(named, "t"),
    ],
)
def test_bad_numbers_are_refused(draw):
    with pytest.raises(ValueError, match="of at least one model, got none"):
        draw({})
    with pytest.raises(ValueError, match=r"'a', got shape \[2\] with 1 not finite"):
        draw({"a": [1.0, np.nan]})
    with pytest.raises(ValueError, match=r"'a', got shape \[1, 2\]"):
        draw({"a": [[0.5, 0.5]]})


def test_probabilities_sum_to_one():
    with pytest.raises(ValueError, match="sum to 1, got 0.9 for 'A'"):
        figures.category_posteriors({"A": [0.5, 0.4]}, "q(c)")


def test_headings_of_all():
    figure = figures.likelihood_histogram({"a": [1.0, 2.0]}, "Title", "What is seen.")
    assert headings(figure)[:2] == ["Title", "What is seen."]
