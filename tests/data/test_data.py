"""Order, batches, scaling, binarisation, and the sources held in memory."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from data_fixtures import (
    collect,
    digests,
    labels_of,
    pixels,
    write_image,
    write_npz,
    write_numbered,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mvae_tf import data
from mvae_tf.data.examples import IndexedExamples
from mvae_tf.data.pipeline import Splits


def numbered(size, batch_size, seed=0, binarize=None, grey=0.5):
    """Splits whose labels are the row numbers."""
    examples = IndexedExamples(
        size, (6,), lambda rows: (tf.fill([tf.size(rows), 6], grey), rows)
    )
    return Splits(
        "numbered", examples, None, examples, size, batch_size, seed, (0, 1), binarize
    )


# Order


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**31 - 1), st.data())
def test_every_epoch_is_a_permutation_and_any_step_can_be_started_from(
    size, batch_size, seed, draw
):
    splits = numbered(size, batch_size, seed)
    steps = splits.steps_per_epoch
    undisturbed = labels_of(splits.train_from(0).take(3 * steps))
    for epoch in range(3):
        batches = undisturbed[epoch * steps : (epoch + 1) * steps]
        assert sorted(sum(batches, [])) == list(range(size))
        assert [len(b) for b in batches[:-1]] == [batch_size] * (steps - 1)
        assert len(batches[-1]) == size - (steps - 1) * batch_size
        assert labels_of(splits.train) == batches
    start = draw.draw(st.integers(0, 3 * steps - 1))
    rest = labels_of(splits.train_from(start).take(3 * steps - start))
    assert rest == undisturbed[start:]


def test_order_depends_on_seed_and_epoch_and_nothing_else():
    def order(seed, epoch, batch_size=100):
        splits = numbered(1000, batch_size, seed)
        steps = splits.steps_per_epoch
        return sum(labels_of(splits.train_from(epoch * steps).take(steps)), [])

    orders = [order(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len({tuple(o) for o in orders}) == 9
    # Independent permutations have a rank correlation of standard deviation 1/sqrt(n).
    correlations = np.corrcoef([*orders, range(1000)])
    assert np.abs(correlations - np.eye(10)).max() < 5 / np.sqrt(1000)
    tf.random.set_seed(5)
    assert order(2, 2) == orders[-1]
    assert order(2, 2, batch_size=7) == orders[-1]


def test_the_start_of_a_late_step_needs_no_reading():
    reads = tf.Variable(0)

    def read(rows):
        reads.assign_add(1)
        return tf.zeros([tf.size(rows), 2]), rows

    examples = IndexedExamples(10**6, (2,), read)
    splits = Splits("x", examples, None, examples, 10**6, 100, 0, (0, 1), None)
    next(iter(splits.train_from(5 * 10**9 + 9999)))
    assert reads.numpy() < 100


def test_epochs_of_fit_are_the_epochs_of_the_order():
    seen = []

    class Recorder(keras.Model):
        def train_step(self, batch):
            seen.append(batch[1].numpy().tolist())
            return {"loss": 0.0}

        def test_step(self, batch):
            return {"loss": 0.0}

    splits = numbered(50, 16)
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(
        splits.train,
        validation_data=splits.test,
        epochs=3,
        shuffle=False,
        verbose=0,
    )
    assert seen == labels_of(splits.train_from(0).take(3 * 4))


def test_the_epoch_counter_lives_as_long_as_its_dataset():
    train = numbered(8, 4).train.take(1)
    gc.collect()
    assert labels_of(train) != labels_of(train)


def test_replicas_share_every_batch(tmp_path):
    # One logical device is enough to see that the pipeline can be distributed.
    splits = data.load(write_numbered(tmp_path / "x.npz", 40), batch_size=16)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    expected = labels_of(splits.train_from(0).take(splits.steps_per_epoch))
    distributed = strategy.experimental_distribute_dataset(splits.train)
    assert [y.numpy().tolist() for _, y in distributed] == expected


@pytest.mark.extra
def test_op_determinism_changes_nothing(tmp_path):
    for i in range(20):
        write_image(tmp_path / f"images/{i % 2}/{i}.png", pixels(8, 8, 1))
    sources = ["digits", f"folder:{tmp_path / 'images'}"]
    # Only another process can have it, because nothing public turns it off again.
    code = (
        "import sys, tensorflow as tf; tf.config.experimental.enable_op_determinism();"
        "from data_fixtures import digests; print(*digests(sys.argv[1:]))"
    )
    tests = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code, *sources],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
    )
    assert run.stdout.split() == [str(digest) for digest in digests(sources)]


# Batches


def test_elements_and_sizes_are_known(tmp_path):
    splits = data.load(write_numbered(tmp_path / "x.npz", 40), batch_size=16)
    x = tf.TensorSpec((None, 4, 4, 1), tf.float32)
    y = tf.TensorSpec((None,), tf.int64)
    for dataset, steps in [
        (splits.train, 3),
        (splits.validation, 1),
        (splits.test, 1),
        (splits.train_from(2), tf.data.INFINITE_CARDINALITY),
    ]:
        assert dataset.element_spec == (x, y)
        assert dataset.cardinality() == steps
    assert (splits.num_train, splits.num_validation, splits.num_test) == (36, 4, 3)
    assert splits.steps_per_epoch == 3
    assert splits.input_shape == (4, 4, 1)
    assert (splits.num_classes, splits.name, splits.batch_size) == (40, "x", 16)


def test_without_labels_a_batch_is_x_alone(tmp_path):
    splits = data.load(write_npz(tmp_path / "x.npz", x=pixels(20, 4, 4)))
    assert splits.train.element_spec == tf.TensorSpec((None, 4, 4, 1), tf.float32)
    assert splits.num_classes is None


def test_limit_keeps_the_first_examples_of_each_part(tmp_path):
    source = write_numbered(tmp_path / "x.npz", 40)
    splits = data.load(source, limit=3)
    assert sorted(collect(splits.train)[1]) == [0, 1, 2]
    assert collect(splits.validation)[1].tolist() == [36, 37, 38]
    assert collect(splits.test)[1].tolist() == [0, 1, 2]
    assert data.load(source, limit=1000).num_train == 36


def test_validation_size(tmp_path):
    source = write_numbered(tmp_path / "x.npz", 40)
    splits = data.load(source, validation_size=10)
    assert collect(splits.validation)[1].tolist() == list(range(30, 40))
    splits = data.load(source, validation_size=0)
    assert splits.validation is None
    assert (splits.num_train, splits.num_validation) == (40, 0)


def test_steps_per_epoch_ends_a_shuffled_epoch_early(tmp_path):
    source = write_numbered(tmp_path / "x.npz", 40)
    whole = data.load(source, validation_size=0, batch_size=6)
    short = data.load(source, validation_size=0, batch_size=6, steps_per_epoch=3)
    assert (whole.steps_per_epoch, short.steps_per_epoch) == (7, 3)
    for _ in range(2):
        labels = collect(short.train)[1]
        np.testing.assert_array_equal(labels, collect(whole.train)[1][:18])
    resumed = [y.numpy() for _, y in short.train_from(4).take(3)]
    first = [y.numpy() for _, y in whole.train_from(8).take(2)]
    second = next(iter(whole.train_from(14)))[1].numpy()
    np.testing.assert_array_equal(resumed, [*first, second])
    assert len(collect(short.test)[1]) == len(collect(whole.test)[1])
    most = data.load(source, validation_size=0, batch_size=6, steps_per_epoch=100)
    assert most.steps_per_epoch == 7


# Scale


def test_bytes_become_exactly_their_255ths(tmp_path):
    source = write_numbered(tmp_path / "x.npz", 256)
    splits = data.load(source, validation_size=0)
    x, y = collect(splits.train)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[:, 0, 0, 0], (y / 255).astype(np.float32))


@pytest.mark.parametrize("low_high", [(-1, 1), (0.1, 0.9), (-0.3, 0.7)])
def test_value_range_is_met_at_both_ends(tmp_path, low_high):
    source = write_numbered(tmp_path / "x.npz", 256)
    x, y = collect(data.load(source, validation_size=0, value_range=low_high).train)
    low, high = np.float32(low_high)
    assert (x.min(), x.max()) == (low, high)
    np.testing.assert_allclose(x[:, 0, 0, 0], low + (high - low) * y / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.bool_])
def test_floats_and_booleans_are_taken_as_they_are(tmp_path, dtype):
    x = np.round(pixels(30, 7) / 255).astype(dtype)
    source = write_npz(tmp_path / "x.npz", x_train=x, x_test=x)
    splits = data.load(source)
    assert splits.input_shape == (7,)
    np.testing.assert_array_equal(next(iter(splits.test)), x.astype(np.float32))


# Binarisation


def test_dynamic_binarisation(tmp_path):
    grey = pixels(60, 8, 8)
    y = np.arange(60)
    source = write_npz(
        tmp_path / "x.npz", x_train=grey, y_train=y, x_test=grey, y_test=y
    )
    splits = data.load(source, binarize="dynamic", validation_size=10, seed=3)

    def drawn(dataset):
        x, y = collect(dataset)
        return x[np.argsort(y), ..., 0]

    epochs = np.stack([drawn(splits.train) for _ in range(40)])
    assert set(np.unique(epochs)) == {0.0, 1.0}
    assert all((epochs[0] != other).mean() > 0.2 for other in epochs[1:])
    p = grey[:50] / 255
    for axis in (None, (0, 1), (0, 2, 3)):
        count = epochs.size / np.mean(epochs, axis).size
        expected = np.broadcast_to(p, epochs.shape).mean(axis)
        error = np.sqrt(np.broadcast_to(p * (1 - p), epochs.shape).mean(axis) / count)
        assert np.all(np.abs(epochs.mean(axis) - expected) < 4.5 * error)
    # Black and white are certain.
    assert epochs[:, grey[:50] == 0].max() == 0
    assert epochs[:, grey[:50] == 255].min() == 1
    # Successive epochs, and successive examples, are independent.
    z = (epochs - p)[:, (p > 0) & (p < 1)]
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 4 / np.sqrt(z.size)
    assert abs(np.corrcoef(z[:, :-64].ravel(), z[:, 64:].ravel())[0, 1]) < 4 / np.sqrt(
        z.size
    )
    for part in (splits.validation, splits.test):
        np.testing.assert_array_equal(drawn(part), drawn(part))
    # A pixel depends on seed, epoch and example: not on the batch, nor on the limit.
    other = data.load(
        source, binarize="dynamic", validation_size=10, seed=3, batch_size=7
    )
    np.testing.assert_array_equal(drawn(other.train), epochs[0])
    np.testing.assert_array_equal(drawn(other.train), epochs[1])
    other = data.load(source, binarize="dynamic", validation_size=10, seed=4, limit=30)
    assert (drawn(other.train) != epochs[0, :30]).mean() > 0.2
    # The held-out parts are the same for every seed, and differ from each other.
    np.testing.assert_array_equal(drawn(other.test), drawn(splits.test)[:30])
    assert (drawn(splits.test)[50:] != drawn(splits.validation)).mean() > 0.2


def test_binarised_epochs_resume(tmp_path):
    splits = numbered(23, 5, binarize="dynamic")
    undisturbed = collect(splits.train_from(0).take(15))[0]
    np.testing.assert_array_equal(
        collect(splits.train_from(7).take(8))[0], undisturbed[23 + 10 :]
    )


def test_static_binarisation_is_drawn_once():
    splits = numbered(50, 50, binarize="static")
    (x0, y0), (x1, y1) = collect(splits.train), collect(splits.train)
    assert y0.tolist() != y1.tolist()
    np.testing.assert_array_equal(x0[np.argsort(y0)], x1[np.argsort(y1)])
    assert 0.3 < x0.mean() < 0.7


def test_binarised_values_are_the_ends_of_the_range():
    splits = data.load("digits", binarize="static", value_range=(-1, 1), limit=20)
    assert set(np.unique(collect(splits.train)[0])) == {-1.0, 1.0}


# Sources


def test_digits():
    from sklearn.datasets import load_digits

    splits = data.load()
    parts = [collect(p) for p in (splits.train, splits.validation, splits.test)]
    assert [len(x) for x, _ in parts] == [1297, 200, 300]
    assert splits.input_shape == (8, 8, 1)
    assert (splits.num_classes, splits.name) == (10, "digits")
    # Every digit is in one part, with its label; every class is in every part.
    expected = load_digits()
    rows = {
        (16 * x).tobytes() + bytes([y])
        for part in parts
        for x, y in zip(*part, strict=True)
    }
    images = expected.images.astype(np.float32)
    assert rows == {
        x.tobytes() + bytes([y]) for x, y in zip(images, expected.target, strict=True)
    }
    assert all(set(y) == set(range(10)) for _, y in parts)
    other = collect(data.load(seed=9).test)
    np.testing.assert_array_equal(other[0], parts[2][0])


def test_synthetic_density():
    x, y = data.synthetic.sample(3000, seed=5)
    assert 0 < x.min() < x.max() < 1
    flat = x.reshape(len(x), -1).astype(np.float64)
    rest = np.random.default_rng(0).uniform(size=(5, 64))
    points = np.concatenate([flat[:50], rest])
    means, loadings = data.synthetic._parameters()
    logs = [
        stats.multivariate_normal(m, a @ a.T + 0.02**2 * np.eye(64)).logpdf(points)
        for m, a in zip(means, loadings, strict=True)
    ]
    expected = np.log(np.mean(np.exp(np.array(logs) - np.max(logs, 0)), axis=0))
    density = data.synthetic.log_density(points)
    np.testing.assert_allclose(density, expected + np.max(logs, 0), rtol=1e-9)
    # In a range of twice the width the density is lower by log 2 a pixel.
    np.testing.assert_allclose(
        data.synthetic.log_density(2 * points - 1, (-1, 1)), density - 64 * np.log(2)
    )
    # What is drawn follows the density: moments of each component.
    for k in range(data.synthetic.NUM_COMPONENTS):
        rows = flat[y == k]
        spread = np.sqrt((loadings[k] ** 2).sum(1) + 0.02**2)
        error = np.abs(rows.mean(0) - means[k]) / spread * np.sqrt(len(rows))
        assert error.max() < 4.5
        z = (rows - means[k]) / spread
        assert np.abs((z**2).mean(0) - 1).max() < 4.5 * np.sqrt(2 / len(rows))


def test_synthetic_source():
    splits = data.load("synthetic", limit=500)
    assert (splits.input_shape, splits.num_classes) == ((8, 8, 1), 4)
    x, y = collect(splits.test)
    expected = data.synthetic.sample(1000, seed=2)
    np.testing.assert_array_equal(x, expected[0][:500])
    np.testing.assert_array_equal(y, expected[1][:500])
    full = data.load("synthetic")
    assert (full.num_train, full.num_validation, full.num_test) == (8000, 1000, 1000)


def test_npz_in_one_piece(tmp_path):
    y = np.arange(101)
    x = y.astype(np.uint8)[:, None, None] + np.zeros((1, 2, 3), np.uint8)
    splits = data.load(write_npz(tmp_path / "x.npz", x=x, y=y[:, None]))
    parts = [collect(p) for p in (splits.train, splits.validation, splits.test)]
    assert [len(x) for x, _ in parts] == [81, 10, 10]
    assert sorted(np.concatenate([y for _, y in parts])) == list(range(101))
    assert parts[1][1].tolist() != sorted(parts[1][1])
    for x, y in parts:
        np.testing.assert_allclose(x[:, 1, 2, 0] * 255, y, rtol=1e-6)


def test_frey_faces(tmp_path):
    from scipy.io import savemat

    frames = pixels(1965, 28, 20)
    np.savez(tmp_path / "frey.npz", x=frames)
    savemat(tmp_path / "frey.mat", {"ff": frames.reshape(1965, 560).T})
    npz, mat = (
        data.load(f"frey_faces:{tmp_path / name}") for name in ("frey.npz", "frey.mat")
    )
    assert (npz.num_train, npz.num_validation, npz.num_test) == (1565, 200, 200)
    assert (npz.input_shape, npz.num_classes) == ((28, 20, 1), None)
    assert npz.name == "frey_faces"
    for one, other in [(npz.test, mat.test), (npz.validation, mat.validation)]:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    everything = np.concatenate(
        [b for p in (npz.train, npz.validation, npz.test) for b in p]
    )
    assert {(255 * x).round().astype(np.uint8).tobytes() for x in everything} == {
        x.tobytes() for x in frames
    }


@pytest.mark.parametrize(
    ("name", "shape", "classes", "sizes"),
    [
        ("mnist.npz", (28, 28, 1), 10, (54000, 6000, 10000)),
        ("cifar10_small.npz", (32, 32, 3), 10, (4577, 508, 1017)),
        ("omniglot_small.npz", (28, 28, 1), None, (2448, 272, 3120)),
    ],
)
def test_real_files(real_data, name, shape, classes, sizes):
    splits = data.load(f"npz:{real_data / name}")
    assert splits.input_shape == shape
    assert (splits.num_train, splits.num_validation, splits.num_test) == sizes
    with np.load(real_data / name) as file:
        x, y = collect(splits.test)
        np.testing.assert_array_equal(
            (x * 255).round().reshape(-1), file["x_test"].flat
        )
        np.testing.assert_array_equal(y, file["y_test"])
        assert splits.num_classes == (
            classes or 1 + max(file["y_train"].max(), file["y_test"].max())
        )


def test_real_frey_faces(real_data):
    splits = data.load(f"frey_faces:{real_data / 'frey_faces.npz'}")
    assert (splits.num_train, splits.num_validation, splits.num_test) == (
        1565,
        200,
        200,
    )
