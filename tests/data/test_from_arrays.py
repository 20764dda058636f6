"""Arrays in and out, paths as sources, the parts of a folder, and odd images."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from data_fixtures import collect, pixels, write_image, write_npz
from PIL import Image

from mvae_tf import data
from mvae_tf.data import registry
from mvae_tf.data.images import decode_jpeg, fit, windows, with_margin

# Arrays


def test_from_arrays_gives_the_splits_of_load(tmp_path):
    x, y = pixels(60, 4, 4), np.arange(60) % 3
    arrays = {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}
    loaded = data.load(write_npz(tmp_path / "x.npz", **arrays), batch_size=7, seed=3)
    made = data.from_arrays(
        x[:40], y[:40], x_test=x[40:], y_test=y[40:], batch_size=7, seed=3
    )
    assert made.train.element_spec == loaded.train.element_spec
    for part in ("train", "validation", "test"):
        for a, b in zip(
            collect(getattr(made, part)), collect(getattr(loaded, part)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_arrays_come_back_in_their_order():
    x, y = np.random.default_rng(0).uniform(size=(30, 5, 4, 1)), np.arange(30) % 4
    x = x.astype(np.float32)
    splits = data.from_arrays(
        x[:20],
        y[:20],
        x_val=x[20:24],
        y_val=y[20:24],
        x_test=x[24:],
        y_test=y[24:],
        batch_size=8,
        steps_per_epoch=1,
    )
    for part, rows in [
        ("train", slice(20)),
        ("validation", slice(20, 24)),
        ("test", slice(24, None)),
    ]:
        for given, expected in zip(
            splits.arrays(part), (x[rows], y[rows]), strict=True
        ):
            assert given.dtype in (np.float32, np.int64)
            np.testing.assert_array_equal(given, expected)
    with pytest.raises(
        ValueError, match="Unknown part 'val': expected one of train, val"
    ):
        splits.arrays("val")


def test_arrays_of_empty_parts_and_without_labels():
    x = pixels(30, 4, 4)
    splits = data.from_arrays(x[:20], x_test=x[20:], validation_size=0)
    none, labels = splits.arrays("validation")
    assert (none.shape, labels) == ((0, 4, 4, 1), None)
    images, labels = splits.arrays("test")
    assert labels is None
    np.testing.assert_array_equal(images[..., 0], (x[20:] / 255).astype(np.float32))


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ((), (24, 3, 3)),
        (("val",), (27, 5, 3)),
        (("test",), (27, 3, 5)),
        (("val", "test"), (30, 5, 5)),
    ],
)
def test_parts_that_are_not_given_are_held_out(parts, sizes):
    others = {f"x_{part}": pixels(5, 6) for part in parts}
    splits = data.from_arrays(pixels(30, 6), **others)
    assert (splits.num_train, splits.num_validation, splits.num_test) == sizes


def test_wrong_arguments_of_from_arrays():
    with pytest.raises(TypeError, match="Did you mean 'batch_size'"):
        data.from_arrays(pixels(9, 4, 4), batchsize=3)
    with pytest.raises(TypeError, match="Unknown argument of from_arrays 'download'"):
        data.from_arrays(pixels(9, 4, 4), download=True)
    with pytest.raises(ValueError, match="Expected the key y_test in arrays"):
        data.from_arrays(pixels(9, 4), np.arange(9), x_test=pixels(3, 4))


def test_repr_says_what_is_inside():
    splits = data.load("digits", batch_size=100)
    assert repr(splits) == (
        "<Splits 'digits': 1297 training, 200 validation and 300 test examples; images "
        "(8, 8, 1) in [0.0, 1.0]; 10 classes; batches of 100, 13 steps per epoch>"
    )
    table = data.from_arrays(np.arange(40.0).reshape(20, 2), value_range=None)
    assert "vectors (2,) in any range; no labels" in repr(table)


# Tables of real numbers


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_tables_keep_their_values(tmp_path, dtype):
    x = (np.random.default_rng(0).normal(size=(50, 3)) * 10).astype(dtype)
    source = write_npz(tmp_path / "table.npz", x_train=x[:40], x_test=x[40:])
    with pytest.raises(ValueError, match="x_train"):
        data.load(source)
    splits = data.load(source, value_range=None)
    np.testing.assert_array_equal(splits.arrays("test")[0], x[40:].astype(np.float32))


def test_tables_have_finite_values_and_cannot_be_binarised():
    x = np.ones((20, 3))
    with pytest.raises(ValueError, match="Expected value_range .* to binarize"):
        data.from_arrays(x, value_range=None, binarize="static")
    x[7, 1] = 1e300  # More than float32 can hold.
    with pytest.raises(ValueError, match="got NaN or inf in example 7"):
        data.from_arrays(x, value_range=None)


# Images that are not what they seem


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((9, 3, 32, 32), "x.transpose"),
        ((9, 1, 8, 8), "x.transpose"),
        ((9, 4, 4, 5), "as vectors"),
        ((9, 4, 4, 2), "as vectors"),
        ((9, 4, 4, 4), "as vectors"),
    ],
)
def test_other_numbers_of_channels_are_refused(shape, hint):
    with pytest.raises(ValueError, match="Expected images .* 1 or 3 channels") as error:
        data.from_arrays(pixels(*shape))
    assert hint in str(error.value)


@pytest.mark.parametrize(
    "labels", [np.arange(1, 11), [0] * 9 + [10**6], [3] * 10, [0, 2**40] * 5]
)
def test_labels_that_do_not_number_classes_are_refused(labels):
    with pytest.raises(ValueError, match=r"number the classes from 0 .*got \d+..\d+"):
        data.from_arrays(pixels(10, 4, 4), labels)


def test_classes_may_be_missing():
    assert data.from_arrays(pixels(10, 4), [0, 9] * 5).num_classes == 10


# Paths as sources


def test_paths_are_sources(tmp_path, monkeypatch):
    x = pixels(20, 4, 4)
    np.savez(tmp_path / "mnist.npz", x_train=x, x_test=x[:5], x_val=x[5:8])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for source in (
        "mnist.npz",
        "~/mnist.npz",
        "npz:~/mnist.npz",
        tmp_path / "mnist.npz",
    ):
        splits = data.load(source)
        assert (splits.name, splits.num_validation) == ("mnist", 3)
        np.testing.assert_array_equal(
            splits.arrays("validation")[0][..., 0], (x[5:8] / 255).astype(np.float32)
        )
    with pytest.raises(FileNotFoundError, match="Expected a file at no.NPZ, got none"):
        data.load("no.NPZ")
    for i in range(3):
        write_image(tmp_path / f"photos/{i}.png", pixels(4, 4, 1))
    assert data.load("photos").name == "photos"
    with pytest.raises(ValueError, match="Unknown data source 'phots'"):
        data.load("phots")
    np.save("x.npy", x)
    with pytest.raises(ValueError, match=r"Expected an .npz file or .*, got x.npy: np"):
        data.load("x.npy")


# Parts of a folder


def write_classes(folder, first, num=4, classes=("cat", "dog")):
    for c, name in enumerate(classes):
        for i in range(num):
            level = first + num * c + i
            path = folder / name / f"{i}.png"
            write_image(path, np.full((4, 4, 1), level, np.uint8))


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
    ],
)
def test_folders_of_parts(tmp_path, parts):
    for i, part in enumerate(parts):
        write_classes(tmp_path / part, 10 * i)
    splits = data.load(f"folder:{tmp_path}")
    assert (splits.num_classes, splits.input_shape) == (2, (4, 4, 1))
    for i, part in enumerate(["train", "validation", "test"]):
        x, y = splits.arrays(part)
        levels = np.round(x[:, 0, 0, 0] * 255).astype(int)
        np.testing.assert_array_equal(np.sort(levels), 10 * i + np.arange(8))
        np.testing.assert_array_equal(y, (levels - 10 * i) // 4)
    with pytest.raises(ValueError, match="Expected no validation_size"):
        data.load(f"folder:{tmp_path}", validation_size=2)


def test_a_validation_part_is_held_out_of_all_classes(tmp_path):
    write_classes(tmp_path / "train", 0, num=20)
    write_classes(tmp_path / "test", 40, num=3)
    splits = data.load(f"folder:{tmp_path}", validation_size=12)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (28, 12, 6)
    levels = [splits.arrays(part)[0][:, 0, 0, 0] for part in ("train", "validation")]
    levels = np.round(np.concatenate(levels) * 255)
    np.testing.assert_array_equal(np.sort(levels), np.arange(40))
    assert set(splits.arrays("validation")[1]) == {0, 1}
    few = data.load(f"folder:{tmp_path}", validation_size=0, limit=6)
    assert set(few.arrays("train")[1]) == set(few.arrays("test")[1]) == {0, 1}
    assert few.validation is None
    assert len(few.arrays("validation")[0]) == 0
    write_image(tmp_path / "test/bird/0.png", pixels(4, 4, 1))
    with pytest.raises(ValueError, match=r"classes of .*train \(cat, dog\), got bird"):
        data.load(f"folder:{tmp_path}")


def test_a_training_part_needs_a_test_part(tmp_path):
    write_classes(tmp_path / "train", 0)
    write_classes(tmp_path / "val", 0)
    with pytest.raises(ValueError, match="Expected a folder test beside"):
        data.load(f"folder:{tmp_path}")


def test_what_is_left_out_of_a_folder_is_counted(tmp_path, caplog):
    write_classes(tmp_path, 0)
    write_image(tmp_path / "cat/more/0.png", pixels(4, 4, 1))
    for name in ("a.txt", "b.webp", "cat/c.webp"):
        (tmp_path / name).write_text("")
    with caplog.at_level(logging.WARNING):
        splits = data.load(f"folder:{tmp_path}")
    assert splits.notes == (
        f"{tmp_path}: left out 1 image in other or deeper folders.",
        f"{tmp_path}: left out 3 other files (2 .webp, 1 .txt).",
    )
    assert caplog.messages == list(splits.notes)
    assert all(note in repr(splits) for note in splits.notes)


# Unusual image files


def folder_of(tmp_path, image, name, **options):
    """Three copies of a Pillow image in a folder, loaded."""
    for i in range(3):
        image.save(tmp_path / f"{i}{name}", **options)
    return data.load(f"folder:{tmp_path}")


GREY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".png"])
@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_images_of_any_format_are_grey(tmp_path, suffix, mode):
    image = Image.fromarray(GREY)
    if mode == "P":
        # Grey colours in a palette that is out of order.
        image.putpalette(
            np.repeat(np.arange(255, -1, -1), 3).astype(np.uint8).tobytes()
        )
    elif mode == "1":
        image = image.point(lambda level: 255 * (level > 100)).convert("1")
    expected = np.asarray(image.convert("L")) / 255
    x, _ = folder_of(tmp_path, image, suffix).arrays("test")
    assert x.shape == (1, 3, 4, 1)
    np.testing.assert_allclose(x[0, ..., 0], expected, atol=1e-6)


def test_grey_and_coloured_files_together_are_coloured(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.bmp")
    Image.fromarray(GREY).save(tmp_path / "b.png")
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "c.png")
    splits = data.load(f"folder:{tmp_path}")
    assert splits.input_shape == (3, 4, 3)
    x = np.concatenate([splits.arrays(p)[0] for p in ("train", "validation", "test")])
    assert sorted(np.ptp(x, axis=-1).max(axis=(1, 2))) == [0, 0, 1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    corners = np.zeros((16, 32), np.uint8)
    corners[:8, :16] = 250  # Bright at the top left, with a grey top right.
    corners[:8, 16:] = 120
    stored = Image.fromarray(corners)
    exif = Image.Exif()
    exif[0x0112] = orientation
    x, _ = folder_of(tmp_path, stored, suffix, exif=exif).arrays("test")
    quarters = np.rint(x[0, ::8, ::8, 0] * 255).astype(int)
    a, b, c, d = 250, 120, 0, 0  # Stored: a b over c d.
    upright = {
        1: [[a, b], [c, d]],
        2: [[b, a], [d, c]],
        3: [[d, c], [b, a]],
        4: [[c, d], [a, b]],
        5: [[a, c], [b, d]],
        6: [[c, a], [d, b]],
        7: [[d, b], [c, a]],
        8: [[b, d], [a, c]],
    }[orientation]
    steps = [quarters.shape[0] - 1, quarters.shape[1] - 1]
    found = quarters[:: steps[0], :: steps[1]]
    assert x.shape == ((1, 32, 16, 1) if orientation > 4 else (1, 16, 32, 1))
    np.testing.assert_allclose(found, upright, atol=6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(GREY.astype(np.uint16) * 256), "8 bits per channel, got more"),
        (Image.new("RGBA", (4, 3), (9, 9, 9, 128)), "transparent pixels"),
        (Image.new("LA", (4, 3), (9, 0)), "transparent pixels"),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path, image, message):
    with pytest.raises(ValueError, match=rf"{message} in {tmp_path}/\d.png"):
        folder_of(tmp_path, image, ".png")


def test_16_bit_colours_are_refused(tmp_path):
    for i in range(3):
        content = tf.io.encode_png(tf.ones((4, 4, 3), tf.uint16)).numpy()
        (tmp_path / f"{i}.png").write_bytes(content)
    with pytest.raises(ValueError, match="8 bits per channel"):
        data.load(f"folder:{tmp_path}")


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_every_kind_is_read_as_by_tensorflow(tmp_path, mode, progressive):
    photo = Image.fromarray(pixels(9, 9, 3)).resize((40, 30)).convert(mode)
    x, _ = folder_of(tmp_path, photo, ".jpg", progressive=progressive).arrays("test")
    expected = tf.io.decode_image(tf.io.read_file(str(tmp_path / "0.jpg")))
    np.testing.assert_array_equal(np.rint(255 * x[0]), expected)


def test_a_file_that_pillow_cannot_open_is_named(tmp_path):
    for i in range(3):
        Image.fromarray(GREY).save(tmp_path / f"{i}.png")
    content = bytearray((tmp_path / "1.png").read_bytes())
    content[20:24] = b"\xff" * 4  # An absurd height.
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(ValueError, match="Expected an image, got .*1.png, which"):
        data.load(f"folder:{tmp_path}")


def test_opaque_alpha_is_dropped(tmp_path):
    x, _ = folder_of(
        tmp_path, Image.new("RGBA", (4, 3), (51, 0, 255, 255)), ".png"
    ).arrays("test")
    np.testing.assert_allclose(x[0, 0, 0], [0.2, 0, 1], atol=1e-6)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_is_cropped_as_it_is_decoded(tmp_path, subsampling):
    photo = Image.fromarray(pixels(14, 11, 3)).resize((178, 218))
    photo.save(tmp_path / "photo.jpg", subsampling=subsampling)
    content = tf.io.read_file(str(tmp_path / "photo.jpg"))
    whole = tf.io.decode_jpeg(content, 3)
    sizes = np.array([[218, 178]])
    for image_size, crop_size in (
        (None, 128),
        ((64, 64), 128),
        ((64, 64), None),
        ((50, 90), None),
        ((30, 20), 101),
        (None, None),
    ):
        window = windows(sizes, image_size, crop_size)
        outer = with_margin(window, sizes)
        for wrap in (np.int32, lambda row: tf.constant(row, tf.int32)):
            image = decode_jpeg(content, 3, wrap(window[0]), wrap(outer[0]), image_size)
            np.testing.assert_array_equal(image, fit(whole, image_size, crop_size))


# A source of one's own


@pytest.fixture
def no_trace(monkeypatch):
    """Registrations that end with the test."""
    monkeypatch.setattr(registry, "_SOURCES", dict(registry._SOURCES))


def test_names_of_sources_do_not_need_tensorflow():
    # The package's own __init__ would import it.
    root = Path(data.__file__).parents[1]
    code = (
        "import sys, types; package = types.ModuleType('mvae_tf'); "
        f"package.__path__ = [{str(root)!r}]; sys.modules['mvae_tf'] = package; "
        "import mvae_tf.data as data; print('digits' in data.sources(), "
        "'tensorflow' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True", "False"]


def test_a_source_is_one_function(no_trace):
    @data.source("ramp", "40 grey levels, as 2x2 images", takes="<file>")
    def read_ramp(request):
        assert request.path == "levels.txt"
        x = np.arange(40, dtype=np.uint8).repeat(4).reshape(40, 2, 2)
        return {"x": x, "y": x[:, 0, 0] % 2, "num_classes": 5}

    assert data.sources()["ramp:<file>"] == "40 grey levels, as 2x2 images"
    splits = data.load("ramp:levels.txt", image_size=4, limit=6)
    assert (splits.input_shape, splits.num_classes) == ((4, 4, 1), 5)
    assert (splits.num_train, splits.num_validation, splits.num_test) == (6, 4, 4)
    assert read_ramp is registry.find("ramp:levels.txt")[0].read
    with pytest.raises(ValueError, match="that no data source has, got 'ramp'"):
        data.source("ramp", "another")(lambda request: {})
    with pytest.raises(ValueError, match="no data source has, got 'mnist'"):
        data.source("mnist", "another")(lambda request: {})

    @data.source("few", "more labels than classes")
    def read_few(request):
        return {"x": pixels(9, 4), "y": np.arange(9), "num_classes": 3}

    with pytest.raises(ValueError, match="Expected labels in 0..2 in few, got 0..8"):
        data.load("few")


def test_arrays_of_a_file_that_are_not_used_are_named(tmp_path):
    path = tmp_path / "more.npz"
    x = np.zeros((12, 4, 4), np.uint8)
    np.savez(path, x=x, x_train=x, x_test=x, masks=x)
    splits = data.load(path)
    assert splits.notes == (f"{path}: left out the arrays x_train, masks.",)
    np.savez(path, x=x, y=np.arange(12) % 2)
    assert data.load(path).notes == ()
