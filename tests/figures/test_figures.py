"""Figures: what is in them, pixel for pixel where they are made of images."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.image import imread
from PIL import Image

import mvae_tf
from mvae_tf import figures, storage

SHAPE = (8, 8, 1)
NETWORK = {"name": "mlp", "hidden": 16}


def make(name="mvae", input_shape=SHAPE, **arguments):
    arguments = {"latent_dim": 3, "network": NETWORK} | arguments
    return mvae_tf.create(name, input_shape, **arguments)


@pytest.fixture(scope="module")
def mvae():
    return make(num_components=3)


@pytest.fixture(scope="module")
def conditional():
    return make(num_components=2, latent_dim=2, num_classes=4, mask="gaussian")


@pytest.fixture(scope="module")
def vae():
    return make("vae")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((40, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(40) % 4


def row_labels(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def column_labels(figure):
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def tiles(figure, rows, columns, shape=SHAPE):
    """Images `[rows, columns, H, W]` read back from the drawn pixels of a figure.

    The middles of the cells are where the ticks of the first axes are; cells are an
    integer number of pixels a side for each pixel of an image.
    """
    axes = figure.axes[0]
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(-1) / 255
    box = axes.get_window_extent()
    top = len(pixels) - round(box.y1)
    left = round(box.x0)
    scale = -(-84 // max(shape[:2]))
    height, width = scale * shape[0], scale * shape[1]
    found = np.zeros((rows, columns, *shape[:2]))
    for i, y in enumerate(axes.get_yticks()):
        for j, x in enumerate(axes.get_xticks()):
            y0 = top + round(y - (height - 1) / 2)
            x0 = left + round(x - (width - 1) / 2)
            cell = pixels[y0 : y0 + height, x0 : x0 + width]
            blocks = cell.reshape(shape[0], scale, shape[1], scale)
            assert np.ptp(blocks, axis=(1, 3)).max() == 0  # no smoothing
            found[i, j] = blocks[:, 0, :, 0]
    return found


def assert_shown(figure, expected):
    expected = np.clip(np.stack(expected), 0, 1)
    found = tiles(figure, *expected.shape[:2], expected.shape[2:])
    np.testing.assert_allclose(found, expected.mean(-1), atol=0.51 / 255)


def headings(figure):
    return [text.get_text() for text in figure.texts]


# === Grids ===


@settings(max_examples=25, deadline=None)
@given(
    num=st.integers(1, 9),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    colour=st.booleans(),
    columns=st.none() | st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_save_grid_holds_the_pixels(
    tmp_path_factory, num, height, width, colour, columns, seed
):
    shape = (num, height, width, 3 if colour else 1)
    images = np.random.default_rng(seed).integers(0, 256, shape)
    path = tmp_path_factory.mktemp("grid") / "grid.png"
    assert figures.save_grid(images, path, columns, low=0, high=255) == path
    picture = np.round(imread(path)[..., :3] * 255).astype(int)

    columns = columns or int(np.ceil(np.sqrt(num)))
    scale = int(np.ceil(84 / max(height, width)))
    gap = 3
    for n, image in enumerate(images):
        top = gap + (n // columns) * (scale * height + gap)
        left = gap + (n % columns) * (scale * width + gap)
        cell = picture[top : top + scale * height, left : left + scale * width]
        big = np.broadcast_to(image, (height, width, 3))
        big = big.repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(cell, big)
    rows = -(-num // columns)
    assert picture.shape[:2] == (
        gap + rows * (scale * height + gap),
        gap + columns * (scale * width + gap),
    )


def test_save_grid_keeps_the_range(tmp_path):
    # No stretch to the extremes of the images; values beyond the range are clipped.
    images = np.stack([np.full(SHAPE, v) for v in (-3.0, 0.0, 0.5, 9.0)])
    path = figures.save_grid(images, tmp_path / "a.png", 4, low=-1.0, high=1.0)
    picture = imread(path)[..., 0]
    middles = [picture[40, 3 + 40 + 91 * i] for i in range(4)]
    np.testing.assert_allclose(middles, [0.0, 0.5, 0.75, 1.0], atol=0.51 / 255)


def test_save_grid_writes_a_checksum(tmp_path, images):
    assert storage.verify(figures.save_grid(images[:4], tmp_path / "grid.png"))


def test_save_grid_of_very_many_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20_000, 8, 8, 1), "uint8")
    path = figures.save_grid(images, tmp_path / "many.png", high=255)
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    # 142 columns and 141 rows of images enlarged twice, with gaps of 3 pixels.
    assert pixels.shape == (3 + 141 * 19, 3 + 142 * 19, 3)
    row, column = divmod(19_999, 142)
    last = pixels[3 + 19 * row :, 3 + 19 * column :][:16:2, :16:2, 0]
    np.testing.assert_array_equal(last, images[-1, ..., 0])
    with pytest.raises(ValueError, match=r"suffix of an image file.*'grid\.xyz'"):
        figures.save_grid(images, tmp_path / "grid.xyz")


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 8, 8)), {}, r"Expected images \[N, H, W, 1 or 3\]"),
        (np.zeros((2, 8, 8, 2)), {}, "Expected images"),
        (np.zeros((0, 8, 8, 1)), {}, "N >= 1"),
        (np.full((1, 8, 8, 1), np.nan), {}, "Expected finite pixels"),
        (np.zeros((2, 8, 8, 1)), {"columns": 0}, "columns >= 1, got 0"),
        (np.zeros((200_000, 32, 32, 1), "uint8"), {}, "at most 134 million pixels"),
    ],
)
def test_save_grid_refuses(tmp_path, images, options, message):
    with pytest.raises(ValueError, match=message):
        figures.save_grid(images, tmp_path / "grid.png", **options)
    assert not list(tmp_path.iterdir())


# === Figures of images ===


def test_reconstructions(mvae, images):
    x = images[:5]
    figure = figures.reconstructions(mvae, x)
    names = ["original", "mixture", "component 0", "component 1", "component 2"]
    assert row_labels(figure) == names
    alone = [mvae.reconstruct(x, component=i) for i in range(3)]
    assert_shown(figure, [x, mvae.reconstruct(x), *alone])


def test_reconstructions_of_one_component(vae, images):
    figure = figures.reconstructions(vae, images[:2])
    assert row_labels(figure) == ["original", "reconstruction"]
    assert_shown(figure, [images[:2], vae.reconstruct(images[:2])])


def test_reconstructions_with_labels(conditional, images, labels):
    x, y = images[:3], labels[:3]
    figure = figures.reconstructions(conditional, x, y)
    alone = [conditional.reconstruct(x, y, component=i) for i in range(2)]
    assert_shown(figure, [x, conditional.reconstruct(x, y), *alone])


def test_colour_in_another_range():
    low, high = -1.0, 2.0
    likelihood = {"name": "sse", "activation": "tanh", "low": low, "high": high}
    model = make("m_vae", (6, 4, 3), num_components=2, likelihood=likelihood)
    x = np.random.default_rng(1).uniform(low, high, (2, 6, 4, 3)).astype(np.float32)
    figure = figures.reconstructions(model, x)
    rows = [
        x,
        model.reconstruct(x),
        *(model.reconstruct(x, component=i) for i in (0, 1)),
    ]
    assert_shown(figure, [(np.asarray(row) - low) / (high - low) for row in rows])


def test_mismatch(mvae, images):
    figure = figures.mismatch(mvae, images)
    assert row_labels(figure) == [
        "original",
        "encoder 1 → decoder 0",
        "encoder 2 → decoder 1",
        "encoder 0 → decoder 2",
    ]
    x = images[:10]
    crossed = [mvae.cross_reconstruct(x, [1, 2, 0], component=i) for i in range(3)]
    assert_shown(figure, [x, *crossed])

    errors = figures.mismatch_errors(mvae, images)
    for i in range(3):
        for j in range(3):
            crossed = mvae.cross_reconstruct(images, [j] * 3, component=i)
            expected = np.square(crossed - images).sum(axis=(1, 2, 3)).mean()
            np.testing.assert_allclose(errors[i, j], expected, rtol=1e-5)
    printed = [text.get_text() for text in figure.axes[1].texts]
    assert printed == [f"{value:.1f}" for value in errors.ravel()]
    assert figure.axes[1].get_xlabel() == "encoder"
    assert figure.axes[1].get_ylabel() == "decoder"
    assert "mean of 40 images" in headings(figure)[1].replace("\n", " ")


def test_interpolation(mvae, images):
    x0, x1 = images[:2], images[2:4]
    figure = figures.interpolation(mvae, x0, x1, num_frames=4)
    frames = np.asarray(mvae.interpolate(x0, x1, 4))
    assert_shown(figure, np.concatenate([x0[:, None], frames, x1[:, None]], axis=1))


def test_interpolation_mismatched(mvae, images):
    x0, x1 = images[:2], images[2:4]
    figure = figures.interpolation(mvae, x0, x1, num_frames=3, shift=1)
    found = tiles(figure, 2, 5)
    # Sub-decoder i takes the latent of encoder i + 1; the ends are no interpolation.
    for column, x in ((1, x0), (3, x1)):
        expected = np.asarray(mvae.cross_reconstruct(x, [1, 2, 0]))[..., 0]
        np.testing.assert_allclose(found[:, column], expected, atol=0.51 / 255)
    first, last = mvae.encode(x0), mvae.encode(x1)
    middle = {key: (first[key] + last[key]) / 2 for key in first}
    z = tf.gather(middle["mean"], [1, 2, 0], axis=1)
    expected = mvae.decode(z, middle["weights"])[..., 0]
    np.testing.assert_allclose(found[:, 2], expected, atol=0.51 / 255)


def test_traversal(conditional):
    places = [(0, 1), (1, 0)]
    figure = figures.traversal(conditional, places, 0.0, 3.0, steps=4, y=2)
    assert row_labels(figure) == ["component 0, z[1]", "component 1, z[0]"]
    assert column_labels(figure) == ["0", "1", "2", "3"]
    assert headings(figure)[0] == "Latent traversal of label 2"
    z = np.zeros((2, 4, 2, 2))
    z[0, :, 0, 1] = z[1, :, 1, 0] = [0, 1, 2, 3]
    rows = [
        conditional.decode(z[i], np.tile(np.eye(2)[i], (4, 1)), y=[2] * 4)
        for i in range(2)
    ]
    assert_shown(figure, rows)


def test_traversal_from_a_start(vae):
    start = np.array([[1.0, -1.0, 0.5]])
    figure = figures.traversal(vae, [(0, 2)], -1.0, 1.0, steps=3, start=start)
    assert row_labels(figure) == ["z[2]"]
    z = np.repeat(start[None], 3, axis=0)
    z[:, 0, 2] = [-1, 0, 1]
    assert_shown(figure, [vae.decode(z)])


def test_samples(mvae):
    figure = figures.samples(mvae, rows=2, columns=3, seed=5)
    images = np.asarray(mvae.generate(6, seed=5))
    assert_shown(figure, images.reshape(2, 3, *SHAPE))


def test_samples_of_each_label(conditional):
    figure = figures.samples(conditional, rows=2, seed=5)
    assert column_labels(figure) == ["0", "1", "2", "3"]
    images = np.asarray(conditional.generate(8, y=[0, 1, 2, 3] * 2, seed=5))
    assert_shown(figure, images.reshape(2, 4, *SHAPE))


def test_samples_by_component_share_their_draws():
    # Components that are the same network decode the same images; with other priors,
    # they do not.
    model = make("m_vae", num_components=2)
    for layer in (model.sub_decoder, model.mix_decoder):
        layer.copy_components(layer, [0, 0])
    rows = tiles(figures.samples_by_component(model, columns=4), 2, 4)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.ptp(rows[0], axis=0).max() > 0.02

    moved = make("m_vae", num_components=2, prior_means=[0.0, 4.0])
    moved.set_weights(model.get_weights())
    rows = tiles(figures.samples_by_component(moved, columns=4), 2, 4)
    assert np.abs(rows[0] - rows[1]).max() > 0.02


def test_vectors_have_no_figures_of_images():
    model = make(input_shape=(6,), num_components=2)
    with pytest.raises(ValueError, match=r"Expected a model of grey or colour images"):
        figures.samples(model)


# === Drawing and saving ===


def test_texts_stay_inside(mvae, images):
    mismatch = figures.mismatch(mvae, images)
    for figure in (mismatch, figures.dependence(np.eye(10))):
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        labels = [axes.yaxis.label for axes in figure.axes]
        rows = mismatch.axes[0].get_yticklabels()
        for text in [*figure.texts, *labels, *rows]:
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= width, text
            assert box.y0 >= 0, text
            assert box.y1 <= height, text


def test_saved_figure_has_its_size(tmp_path, mvae):
    figure = figures.samples(mvae, rows=1, columns=2)
    path = figures.save(figure, tmp_path / "new" / "samples.png")
    assert storage.verify(path)
    assert imread(path).shape[:2] == figure.canvas.get_width_height()[::-1]


def test_threads_draw_the_same_picture(tmp_path):
    history = [{"epoch": i, "loss": 1.0 / i, "dropout_rate": 0.1} for i in range(1, 9)]

    def draw(i):
        path = figures.save(figures.curves(history), tmp_path / f"{i}.png")
        return path.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(8)))
    assert len(set(pictures)) == 1


# === All figures of a run ===

OF_IMAGES = ["reconstructions", "samples", "interpolation", "traversal"]
OF_MIXTURES = ["samples_by_component", "interpolation_mismatched", "mismatch"]
OF_LATENTS = ["latents", "latents_by_component", "dependence"]


def draw(model, images, labels, folder, history=({"epoch": 1, "loss": 1.0},)):
    parts = images if labels is None else (images, labels)
    splits = SimpleNamespace(test=tf.data.Dataset.from_tensor_slices(parts).batch(16))
    drawn = figures.draw_run(model, splits, list(history), folder)
    for name, path in drawn.items():
        assert path == folder / f"{name}.png"
        assert storage.verify(path)
    assert set(drawn) <= set(figures.CAPTIONS)
    return set(drawn)


def test_draw_run_of_a_mixture(tmp_path, mvae, images, labels):
    global_state = dict(matplotlib.rcParams)
    drawn = draw(mvae, images, labels, tmp_path / "figures")
    assert drawn == {*OF_IMAGES, *OF_MIXTURES, *OF_LATENTS, "curves"}
    assert drawn == set(figures.CAPTIONS) - {"samples_by_category"}
    assert dict(matplotlib.rcParams) == global_state
    assert pyplot.get_fignums() == []


def test_draw_run_is_repeatable(tmp_path, conditional, images, labels):
    drawn = draw(conditional, images, labels, tmp_path / "a", history=())
    assert drawn == {*OF_IMAGES, *OF_MIXTURES, *OF_LATENTS}
    draw(conditional, images, labels, tmp_path / "b", history=())
    for name in drawn:
        first, second = (tmp_path / folder / f"{name}.png" for folder in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_draw_run_of_a_vae(tmp_path, vae, images):
    drawn = draw(vae, images, None, tmp_path)
    assert drawn == {*OF_IMAGES, "latents", "curves"}


def test_draw_run_of_a_model_with_categories(tmp_path, images):
    model = mvae_tf.create(
        "cp_vae", (8, 8, 1), num_components=12, latent_dim=2, network=NETWORK
    )
    model.aggregate.assign(np.arange(12.0) / 66.0)
    drawn = draw(model, images, None, tmp_path)
    assert drawn == {*OF_IMAGES, "samples_by_category", "latents", "curves"}
    figure = figures.samples_by_category(model, columns=3, rows=2)
    assert row_labels(figure) == ["category 11", "category 10"]
    drawn = [model.generate(3, component=k, seed=0) for k in (11, 10)]
    assert_shown(figure, np.stack(drawn))


def test_draw_run_of_vectors(tmp_path, images):
    model = make(input_shape=(64,), num_components=2)
    drawn = draw(model, images.reshape(-1, 64), None, tmp_path)
    assert drawn == {*OF_LATENTS, "curves"}


def test_draw_run_of_one_image_and_one_dimension(tmp_path, images):
    model = make(num_components=2, latent_dim=1)
    drawn = draw(model, images[:1], None, tmp_path)
    assert drawn == {
        "reconstructions",
        "samples",
        "samples_by_component",
        "mismatch",
        "traversal",
        "curves",
    }


def test_draw_run_without_an_image(tmp_path, vae, images):
    with pytest.raises(ValueError, match="at least one image, got none"):
        draw(vae, images[:0], None, tmp_path)
