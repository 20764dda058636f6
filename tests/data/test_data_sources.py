"""Images, folders, TensorFlow Datasets, and every kind of bad input."""

import inspect
import logging
import shutil

import numpy as np
import pytest
import requests
import tensorflow as tf
from data_fixtures import (
    collect,
    image,
    label,
    labels_of,
    pixels,
    tfds,
    write_image,
    write_npz,
    write_tfds,
)
from PIL import Image

from mvae_tf import data
from mvae_tf.data.images import fit, fitted_shape
from mvae_tf.data.readers.npz import read_npz
from mvae_tf.data.registry import Request

# Images


def test_resize_agrees_with_pillow():
    smooth = tf.image.resize(pixels(9, 9, 3), (218, 178))
    photo = tf.cast(smooth, tf.uint8)
    cut = photo.numpy()[45 : 45 + 128, 25 : 25 + 128]
    expected = Image.fromarray(cut).resize((64, 64), Image.Resampling.BILINEAR)
    result = fit(photo, image_size=(64, 64), crop_size=128)
    assert result.dtype == tf.uint8
    assert np.abs(result.numpy().astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("shape", "size", "crop", "kept"),
    [
        ((28, 20), (28, 28), None, (slice(4, 24), slice(0, 20))),
        ((20, 28), (10, 10), None, (slice(0, 20), slice(4, 24))),
        ((20, 28), (5, 7), None, (slice(0, 20), slice(0, 28))),
        ((20, 28), (9, 9), 10, (slice(5, 15), slice(9, 19))),
        ((20, 28), None, 10, (slice(5, 15), slice(9, 19))),
    ],
)
def test_what_a_resize_keeps(shape, size, crop, kept):
    images = pixels(3, *shape, 1)
    cut = tf.constant(images[:, *kept])
    expected = cut if size is None else tf.image.resize(cut, size, antialias=True)
    result = fit(tf.constant(images), image_size=size, crop_size=crop)
    np.testing.assert_array_equal(result, np.round(expected))
    assert fitted_shape((*shape, 1), size, crop) == result.shape[1:]


def test_image_size_of_arrays(tmp_path):
    x = pixels(1500, 4, 4)
    splits = data.load(write_npz(tmp_path / "x.npz", x_train=x, x_test=x), image_size=8)
    assert splits.input_shape == (8, 8, 1)
    result = np.concatenate(list(splits.test))
    expected = tf.image.resize(x[..., None], (8, 8), antialias=True)
    np.testing.assert_allclose(result * 255, np.round(expected), atol=1e-4)
    assert data.load("digits", image_size=(12, 10)).input_shape == (12, 10, 1)


# Folders


@pytest.fixture(params=[0, 2**20], ids=["read anew", "kept"])
def memory(request, monkeypatch):
    """Whether decoded images are kept in memory."""
    monkeypatch.setattr("mvae_tf.data.examples.CACHE_BYTES", request.param)


def number_of(x):
    return np.round(x[:, 0, 0, 0] * 255).astype(int)


def test_folder_of_classes(tmp_path, memory):
    # The grey level numbers the image; its parity is the class.
    for i in range(50):
        name = f"{['even', 'odd'][i % 2]}/{i}.{['png', 'PNG'][i % 3 == 0]}"
        write_image((tmp_path / name).with_suffix(".png"), np.full((4, 5, 1), i, "u1"))
    (tmp_path / "odd/notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    splits = data.load(f"folder:{tmp_path}", batch_size=7)
    assert splits.input_shape == (4, 5, 1)
    assert (splits.num_classes, splits.name) == (2, tmp_path.name)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (40, 5, 5)
    seen = []
    for part in (splits.train, splits.validation, splits.test):
        x, y = collect(part)
        np.testing.assert_array_equal(number_of(x) % 2, y)
        seen.extend(number_of(x))
    assert sorted(seen) == list(range(50))
    undisturbed = [number_of(x) for x, _ in splits.train_from(0).take(12)]
    resumed = [number_of(x) for x, _ in splits.train_from(8).take(4)]
    assert [b.tolist() for b in resumed] == [b.tolist() for b in undisturbed[8:]]
    assert labels_of(splits.train) == labels_of(splits.train_from(6).take(6))


def test_flat_folder_of_different_sizes_and_colours(tmp_path, memory):
    for i in range(12):
        channels = 1 if i % 2 else 3
        suffix = ".jpg" if i % 3 else ".png"
        photo = np.full((30 + i, 40, channels), 20 * i, "u1")
        write_image(tmp_path / f"{i}{suffix}", photo)
    splits = data.load(f"folder:{tmp_path}", image_size=16, value_range=(-1, 1))
    assert (splits.input_shape, splits.num_classes) == ((16, 16, 3), None)
    assert splits.train.element_spec == tf.TensorSpec((None, 16, 16, 3), tf.float32)
    x = next(iter(splits.train)).numpy()
    levels = np.sort(np.round((x[:, 8, 8, 0] + 1) / 2 * 255 / 20))
    assert len(set(levels)) == 10
    assert np.ptp(x, axis=(1, 2, 3)).max() < 0.02
    cropped = data.load(f"folder:{tmp_path}", crop_size=30)
    assert cropped.input_shape == (30, 30, 3)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_damaged_image_is_named(tmp_path, suffix, damage):
    for i in range(6):
        write_image(tmp_path / f"{i}{suffix}", pixels(32, 32, 3))
    path = tmp_path / f"3{suffix}"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "text": b"<html>not found</html>",
            "flipped": bytes([content[0] ^ 1]) + content[1:],
        }[damage]
    )
    with pytest.raises(ValueError, match=f"Expected an image, got {path}, which"):
        data.load(f"folder:{tmp_path}")


def test_other_bad_folders(tmp_path):
    def error(**arguments):
        with pytest.raises(ValueError, match="Expected") as caught:
            data.load(f"folder:{tmp_path}", **arguments)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "got none" in error()
    write_image(tmp_path / "0.png", pixels(4, 4, 1))
    assert "at least 3 examples in" in error()
    write_image(tmp_path / "1.png", pixels(4, 4, 1))
    write_image(tmp_path / "2.png", pixels(4, 5, 1))
    assert "or image_size to resize all" in error()
    assert "at least 5x5 for the crop" in error(crop_size=5)
    write_image(tmp_path / "a/0.png", pixels(4, 4, 1))
    assert "got both" in error()
    with pytest.raises(FileNotFoundError, match="Expected a folder"):
        data.load(f"folder:{tmp_path / 'none'}")


# TensorFlow Datasets


def write_mnist(data_dir, num_train=40, num_test=12):
    sizes = {"train": num_train, "test": num_test}
    splits = {
        split: {"image": pixels(size, 28, 28, 1), "label": np.arange(size) % 10}
        for split, size in sizes.items()
    }
    write_tfds(
        data_dir, "mnist", "3.0.1", splits, image=image(28, 28, 1), label=label(10)
    )
    return splits


def by_content(x, y):
    return sorted((i.tobytes(), int(k)) for i, k in zip(x, y, strict=True))


def test_mnist(tmp_path):
    written = write_mnist(tmp_path)
    splits = data.load("mnist", data_dir=tmp_path, batch_size=8)
    assert (splits.input_shape, splits.num_classes) == ((28, 28, 1), 10)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (36, 4, 12)
    parts = [collect(p) for p in (splits.train, splits.validation, splits.test)]
    parts = [((x * 255).round().astype(np.uint8), y) for x, y in parts]
    train = [np.concatenate(v) for v in zip(parts[0], parts[1], strict=True)]
    assert by_content(*train) == by_content(*written["train"].values())
    assert by_content(*parts[2]) == by_content(*written["test"].values())
    assert data.load("mnist", data_dir=tmp_path, limit=5).num_train == 5
    assert data.load("mnist", data_dir=tmp_path, validation_size=0).num_train == 40
    binary = data.load("mnist", data_dir=tmp_path, binarize="dynamic")
    assert set(np.unique(collect(binary.train)[0])) == {0.0, 1.0}


def test_the_published_split_of_mnist_leaves_10000_for_validation():
    from mvae_tf.data.readers.tfds_sets import SETS, _parts

    class Builder:
        def __init__(self):
            self.info = type("info", (), {"features": ("image", "label")})

        def as_dataset(self, split, **_):
            size = {"train": 60_000, "test": 10_000}[split]
            return tf.data.Dataset.range(size).map(lambda i: {"image": i, "label": i})

    assert _parts(Builder(), SETS["mnist"], None, None) == [
        "train[0:50000]",
        "train[50000:60000]",
        "test[0:10000]",
    ]
    assert _parts(Builder(), SETS["omniglot"], None, 7) == [
        "train[0:7]",
        "train[54000:54007]",
        "test[0:7]",
    ]


def test_cifar100_ignores_the_coarse_labels(tmp_path):
    arrays = {
        "image": pixels(20, 32, 32, 3),
        "label": np.arange(20),
        "coarse_label": np.zeros(20, np.int64),
    }
    write_tfds(
        tmp_path,
        "cifar100",
        "3.0.2",
        {"train": arrays, "test": arrays},
        image=image(32, 32, 3),
        label=label(100),
        coarse_label=label(20),
    )
    splits = data.load("cifar100", data_dir=tmp_path)
    assert (splits.input_shape, splits.num_classes) == ((32, 32, 3), 100)
    assert sorted(collect(splits.test)[1]) == list(range(20))


def test_omniglot_has_bright_strokes(tmp_path):
    # Black strokes of 15 pixels on white, as 1-bit PNG files read as RGB.
    drawing = np.full((6, 105, 105, 3), 255, np.uint8)
    drawing[:, 45:60, 15:90] = 0
    arrays = {"image": drawing, "label": np.arange(6) + 1600}
    write_tfds(
        tmp_path,
        "omniglot",
        "3.0.0",
        {"train": arrays, "test": arrays},
        image=image(105, 105, 3),
        label=label(1623),
    )
    splits = data.load("omniglot", data_dir=tmp_path)
    assert (splits.input_shape, splits.num_classes) == ((28, 28, 1), 1623)
    x = collect(splits.test)[0]
    assert x[:, 13:15, 6:22].min() == 1
    assert x[:, :10].max() == 0
    np.testing.assert_allclose(x.mean(), 15 * 75 / 105**2, rtol=0.01)
    large = data.load("omniglot", data_dir=tmp_path, image_size=64)
    assert large.input_shape == (64, 64, 1)


def write_celeb_a(data_dir, sizes=(23, 6, 5)):
    names = ("train", "validation", "test")
    splits = {}
    for split, size in zip(names, sizes, strict=True):
        # A number in the middle, another one in what the crop removes.
        photos = np.full((size, 218, 178, 3), 255, np.uint8)
        photos[:, 45:173, 25:153] = np.arange(size)[:, None, None, None]
        splits[split] = {"image": photos, "landmarks": np.zeros(size, np.int64)}
    write_tfds(
        data_dir,
        "celeb_a",
        "2.1.0",
        splits,
        image=image(218, 178, 3),
        landmarks=tfds.features.Scalar(np.int64),
    )


def numbers_of(dataset):
    return [number_of(x).tolist() for x in dataset.as_numpy_iterator()]


def test_celeb_a(tmp_path, memory):
    write_celeb_a(tmp_path)
    splits = data.load("celeb_a", data_dir=tmp_path)
    assert (splits.input_shape, splits.num_classes) == ((64, 64, 3), None)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (23, 6, 5)
    assert splits.train.element_spec == tf.TensorSpec((None, 64, 64, 3), tf.float32)
    for part, size in [(splits.validation, 6), (splits.test, 5)]:
        x = np.concatenate(list(part))
        assert np.ptp(x, axis=(1, 2, 3)).max() == 0
        assert sorted(number_of(x)) == list(range(size))
    small = data.load("celeb_a", data_dir=tmp_path, image_size=32, limit=4)
    assert small.input_shape == (32, 32, 3)
    assert (small.num_train, small.num_validation, small.num_test) == (4, 4, 4)
    assert [len(batch) for batch in small.train] == [4]


def test_streamed_epochs_can_be_started_from_any_step(tmp_path, monkeypatch, memory):
    monkeypatch.setattr("mvae_tf.data.examples.SHUFFLE_BLOCK", 8)
    write_celeb_a(tmp_path)
    arguments = {"data_dir": tmp_path, "image_size": 2, "crop_size": 4}
    splits = data.load("celeb_a", batch_size=5, **arguments)
    undisturbed = numbers_of(splits.train_from(0).take(15))
    epochs = [undisturbed[5 * epoch : 5 * epoch + 5] for epoch in range(3)]
    for batches in epochs:
        assert [len(b) for b in batches] == [5, 5, 5, 5, 3]
        assert sorted(sum(batches, [])) == list(range(23))
        assert numbers_of(splits.train) == batches
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    for step in (3, 5, 11):
        rest = splits.train_from(step).take(15 - step)
        assert numbers_of(rest) == undisturbed[step:]
    other = data.load("celeb_a", batch_size=5, seed=1, **arguments)
    assert numbers_of(other.train) != epochs[0]


def test_imagenet64_with_labels(tmp_path):
    x = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(64, 2)
    arrays = {"image": x.repeat(3, 3), "label": np.arange(20) * 50}
    write_tfds(
        tmp_path,
        "imagenet_resized",
        "0.1.0",
        {"train": arrays, "validation": arrays},
        config="64x64",
        image=image(64, 64, 3),
        label=label(1000),
    )
    splits = data.load("imagenet64", data_dir=tmp_path, batch_size=6)
    assert (splits.input_shape, splits.num_classes) == ((64, 64, 3), 1000)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (18, 2, 20)
    for part in (splits.train, splits.test):
        x, y = collect(part)
        np.testing.assert_array_equal(number_of(x) * 50, y)


def test_imagenet64_without_labels(tmp_path):
    arrays = {"image": pixels(10, 64, 64, 3)}
    write_tfds(
        tmp_path,
        "downsampled_imagenet",
        "2.0.0",
        {"train": arrays, "validation": arrays},
        config="64x64",
        image=image(None, None, 3),
    )
    splits = data.load("imagenet64", data_dir=tmp_path)
    assert (splits.input_shape, splits.num_classes) == ((64, 64, 3), None)
    assert splits.train.element_spec == tf.TensorSpec((None, 64, 64, 3), tf.float32)
    x = np.concatenate(list(splits.test))
    assert {(255 * i).round().astype("u1").tobytes() for i in x} == {
        i.tobytes() for i in arrays["image"]
    }


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (28, 28, 1), 10),
        ("fashion_mnist", (28, 28, 1), 10),
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
        ("omniglot", (28, 28, 1), 1623),
        ("celeb_a", (64, 64, 3), None),
        ("imagenet64", (64, 64, 3), 1000),
    ],
)
def test_what_tfds_says_of_its_own_sets(tmp_path, name, shape, classes):
    # The mock follows the features that TensorFlow Datasets declares for the set.
    with tfds.testing.mock_data(num_examples=5):
        splits = data.load(name, data_dir=tmp_path, download=True, limit=5)
        batch = next(iter(splits.train))
    assert (splits.input_shape, splits.num_classes) == (shape, classes)
    x = batch if classes is None else batch[0]
    assert x.shape == (5, *shape)


@pytest.mark.parametrize("damage", ["cut", "cut between records", "flipped"])
@pytest.mark.parametrize("name", ["mnist", "celeb_a"])
def test_a_damaged_record_file_is_named(tmp_path, name, damage):
    write_mnist(tmp_path) if name == "mnist" else write_celeb_a(tmp_path, (3, 3, 3))
    (path,) = tmp_path.glob(f"{name}/*/{name}-train.tfrecord*")
    content = path.read_bytes()
    first = 16 + int.from_bytes(content[:8], "little")
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "cut between records": content[:first],
            "flipped": bytes(flipped),
        }[damage]
    )
    with pytest.raises(ValueError, match=f"Expected .* {path}"):
        data.load(name, data_dir=tmp_path)


def test_absent_tfds_data_says_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="download=True, or .* data_dir=DIR"
    ) as caught:
        data.load("celeb_a", data_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_without_a_network_is_one_line(tmp_path, monkeypatch):
    def no_network(builder, **_):
        logging.getLogger("urllib3.connectionpool").warning("Retrying")
        raise requests.ConnectionError("no route to storage.example\nafter 10 tries")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(ConnectionError, match="no route to .* mnist.npz") as caught:
        data.load("mnist", data_dir=tmp_path, download=True)
    assert "\n" not in str(caught.value)


def test_a_set_with_its_own_validation_part_takes_no_other(tmp_path):
    write_celeb_a(tmp_path, (3, 3, 3))
    with pytest.raises(ValueError, match="Expected no validation_size for celeb_a"):
        data.load("celeb_a", data_dir=tmp_path, validation_size=2)


# Bad input


def test_sources_describes_all_that_load_accepts():
    sources = data.sources()
    assert set(sources) == {
        *("digits", "synthetic", "toy", "mnist", "fashion_mnist"),
        *("cifar10", "cifar100", "celeb_a", "imagenet64", "omniglot"),
        *("frey_faces:<file>", "npz:<file>", "folder:<dir>"),
    }
    assert all(text and "\n" not in text for text in sources.values())
    sources.clear()
    assert data.sources()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "mnits"}, "Did you mean 'mnist'?"),
        ({"source": "imagenet"}, "Did you mean 'imagenet64'?"),
        ({"source": "xyz"}, "Unknown data source 'xyz': expected one of digits, "),
        ({"source": "npz"}, "Expected the data source as npz:<file>, got 'npz'"),
        ({"source": "npz:"}, "Expected the data source as npz:<file>, got 'npz:'"),
        ({"source": "digits:x"}, "Expected the data source as digits, got 'digits:x'"),
        ({"batch_size": 0}, "Expected batch_size >= 1, got 0"),
        ({"limit": 0}, "Expected limit >= 1, got 0"),
        ({"seed": -1}, "Expected seed in"),
        ({"seed": 2**31}, "Expected seed in"),
        ({"binarize": "yes"}, "Unknown binarize 'yes': expected one of None, dynamic"),
        ({"value_range": (1, 0)}, "with low < high, or None, got (1, 0)"),
        ({"value_range": (0, np.nan)}, "with low < high"),
        ({"value_range": 1}, "with low < high, or None, got 1"),
        ({"image_size": 0}, "Expected image_size as a positive int"),
        ({"image_size": (8, 8, 1)}, "Expected image_size as a positive int"),
        (
            {"crop_size": 9},
            "Expected images of at least 9x9 for the crop in digits, got 8x8",
        ),
        ({"validation_size": 5}, "Expected no validation_size for digits"),
        ({"download": "x"}, "Expected download as true or false, got 'x'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match="[Ee]xpected") as caught:
        data.load(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [{"batch_size": 1.5}, {"seed": True}, {"source": None}, {"data_dir": 5}],
)
def test_arguments_of_a_wrong_type(arguments):
    with pytest.raises(TypeError, match="Expected"):
        data.load(**arguments)


def test_numpy_integers_are_integers():
    assert data.load(batch_size=np.int64(50), limit=np.int32(7)).num_train == 7


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="Expected step >= 0, got -1"):
        data.load("digits").train_from(-1)


GOOD = {
    "x_train": pixels(12, 4, 4),
    "y_train": np.arange(12),
    "x_test": pixels(5, 4, 4),
    "y_test": np.arange(5),
}
FLOATS = GOOD["x_train"] / 255
WITH_NAN = np.where(np.arange(12)[:, None, None] == 7, np.nan, FLOATS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, "Expected the key x_test in"),
        ({"x_train": None}, "Expected the key x_train in"),
        ({"y_test": None}, "got x_train, y_train, x_test."),
        ({"x_train": WITH_NAN}, "key x_train, got NaN or inf in example 7."),
        ({"x_train": FLOATS - 2}, "key x_train, got -2 to"),
        ({"x_train": FLOATS * 255}, "scale them (x / 255), or keep"),
        ({"x_train": (FLOATS > 0.5).astype(np.uint8)}, "got only 0 and 1: x.astype(b"),
        ({"x_train": (FLOATS > 0.5).astype(int)}, "got only 0 and 1: x.astype(bool)"),
        ({"x_train": GOOD["x_train"].astype(int)}, "Expected uint8, bool or float"),
        ({"x_train": np.arange(12)}, "Expected images (n, H, W) or (n, H, W, C) or"),
        ({"x_train": pixels(12, 4, 4, 1, 1)}, "got shape (12, 4, 4, 1, 1)"),
        ({"x_train": pixels(0, 4, 4)}, "Expected at least one example"),
        ({"x_test": pixels(5, 4, 5)}, "Expected examples like those of x_train"),
        ({"y_train": np.arange(11)}, "Expected one label for each of 12 examples"),
        ({"y_train": np.eye(12)}, "y.argmax(axis=1) makes labels of one-hot rows"),
        ({"y_train": np.array([*"abcdefghijkl"])}, "Expected integer labels in"),
        ({"y_train": np.linspace(0, 1, 12)}, "Expected integer labels in"),
        ({"y_train": np.arange(12) - 1}, "Expected labels from 0 on in"),
        ({"x_train": np.array([None] * 12)}, "key x_train: "),
        ({"x_train": pixels(1, 4, 4), "y_train": np.zeros(1, int)}, "validation_size"),
    ],
)  # fmt: skip
def test_bad_npz_arrays(tmp_path, changes, message):
    arrays = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    source = write_npz(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match="Expected") as caught:
        data.load(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    if "validation_size" not in message:
        assert str(tmp_path / "bad.npz") in str(caught.value)


def test_vectors_cannot_be_resized_nor_colours_binarised(tmp_path):
    vectors = write_npz(tmp_path / "v.npz", x=pixels(9, 7))
    with pytest.raises(
        ValueError, match="Expected images to resize in .*, got vectors"
    ):
        data.load(vectors, image_size=8)
    colours = write_npz(tmp_path / "c.npz", x=pixels(9, 4, 4, 3))
    with pytest.raises(ValueError, match="Expected images with one channel"):
        data.load(colours, binarize="dynamic")
    with pytest.raises(ValueError, match="Expected no validation_size for .*c.npz"):
        data.load(colours, validation_size=2)


def test_any_damage_to_an_npz_file_is_found_and_named(tmp_path):
    good = tmp_path / "good.npz"
    np.savez_compressed(good, **GOOD)
    content = good.read_bytes()
    path = tmp_path / "damaged.npz"
    damaged = [content[:size] for size in range(0, len(content), len(content) // 12)]
    for position in range(0, len(content), len(content) // 40):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        damaged.append(bytes(flipped))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        try:
            request = Request(path=path, validation_size=0)
            train, *_ = read_npz(request)
        except ValueError as error:
            messages.append(str(error))
        else:
            # Zip files hold bytes that mean nothing, such as dates.
            x, y = train.read(tf.range(12))
            np.testing.assert_array_equal(x[..., 0], GOOD["x_train"])
            np.testing.assert_array_equal(y, GOOD["y_train"])
    assert len(messages) > 0.7 * len(damaged)
    assert all(str(path) in m and "\n" not in m for m in messages)


@pytest.mark.parametrize("source", ["npz", "frey_faces"])
@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_missing_and_foreign_files(tmp_path, source, suffix):
    path = tmp_path / f"file{suffix}"
    with pytest.raises(FileNotFoundError, match=f"Expected a file at {path}, got none"):
        data.load(f"{source}:{path}")
    for content in (b"", b"not an archive" * 20):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"Expected a whole .* {path}"):
            data.load(f"{source}:{path}")


def test_a_single_array_is_not_an_npz_file(tmp_path):
    np.save(tmp_path / "x.npy", pixels(9, 4, 4))
    with pytest.raises(
        ValueError, match="Expected a whole .npz file, .*: it is a single"
    ):
        data.load(f"npz:{tmp_path / 'x.npy'}")


def test_other_bad_frey_faces(tmp_path):
    from scipy.io import savemat

    with pytest.raises(ValueError, match="convert it with numpy.savez"):
        data.load(f"frey_faces:{tmp_path / 'freyfaces.pkl'}")
    np.savez(tmp_path / "x.npz", x=pixels(10, 28, 20))
    with pytest.raises(ValueError, match="Expected 1965 frames of 28x20 pixels"):
        data.load(f"frey_faces:{tmp_path / 'x.npz'}")
    np.savez(tmp_path / "x.npz", frames=pixels(10, 28, 20))
    with pytest.raises(ValueError, match="Expected the key x in .*, got frames"):
        data.load(f"frey_faces:{tmp_path / 'x.npz'}")
    savemat(tmp_path / "x.mat", {"faces": pixels(560, 1965)})
    with pytest.raises(ValueError, match="Expected the variable ff in .*, got none"):
        data.load(f"frey_faces:{tmp_path / 'x.mat'}")


def test_nothing_is_ever_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    source = write_npz(tmp_path / "x.npz", x=np.array([Bomb()] * 9))
    with pytest.raises(ValueError, match="it is not an archive of plain arrays"):
        data.load(source)
    assert not (tmp_path / "exploded").exists()


def test_documented_defaults_are_the_contract():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(data.load).parameters.items()
    }
    assert defaults["source"] == "digits"
    assert defaults["batch_size"] == 128
    assert defaults["value_range"] == (0.0, 1.0)
    assert defaults["download"] is False


def test_a_file_that_vanishes_is_named_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mvae_tf.data.examples.CACHE_BYTES", 0)
    for i in range(5):
        write_image(tmp_path / f"images/{i}.png", pixels(4, 4, 1))
    splits = data.load(f"folder:{tmp_path / 'images'}")
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(tf.errors.NotFoundError, match=r"images/\d.png"):
        next(iter(splits.train))
