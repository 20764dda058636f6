"""The source `folder`, which reads a folder of image files."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvae_tf.data.checks import Labelled, checked_path, fixed_split, held_out, selected
from mvae_tf.data.registry import Parts, Request, source

if TYPE_CHECKING:
    import tensorflow as tf

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# Names of the folders of a data set that comes in parts.
TRAIN, TEST = ("train", "training"), ("test", "testing")
VALIDATION = ("val", "valid", "validation")
ORIENTATION = 0x0112  # Number of the EXIF tag.
JPEG, PNG, OTHER = range(3)


@source(
    "folder",
    "image files, flat or one sub-folder per class, perhaps in train/ val/ test/",
    takes="<dir>",
)
def read_folder(request: Request) -> Parts:
    """Read the images of a folder.

    Images directly in the folder have no labels; images in sub-folders have the rank of
    their sub-folder's name. If the folder has sub-folders `train` (or `training`) and
    `test` (or `testing`), they are the parts, with `val`, `valid` or `validation` where
    there is one and a tenth of the training images where there is none. Otherwise the
    split is 80/10/10 %. The images of each part are stored in the order of a fixed
    permutation.

    Images are grey if all are grey, else RGB. EXIF orientation is applied. Every file
    that will be used is decoded once at the start, so that a damaged one is found
    before the training begins. Small data sets are then kept in memory; of large ones,
    only the paths are kept. Files that are no images, and images in deeper folders, are
    left out and counted.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds no images, or both images and folders of images, or
            a file that is damaged, has more than 8 bits per channel or is partly
            transparent, or images of different sizes although there is no `image_size`.
    """
    root = checked_path(request.path, "folder")
    parts, num_classes, notes = _listed(root, request.validation_size)
    used = [selected(part, slice(request.limit)) for part in parts]
    train, validation, test = _examples(used, request)
    return Parts(train, validation, test, num_classes, notes)


# === Which files belong to which part ===


def _listed(
    root: Path, validation_size: int | None
) -> tuple[list[Labelled], int | None, tuple[str, ...]]:
    """Return `(paths, labels)` of each part, the number of classes, and the notes."""
    folders = {entry.name.lower(): entry.name for entry in _folders_in(root)}

    def among(names: tuple[str, ...]) -> Path | None:
        return next((root / folders[name] for name in names if name in folders), None)

    train, validation, test = among(TRAIN), among(VALIDATION), among(TEST)
    if not train or not (validation or test):
        if validation_size is not None:
            raise ValueError(
                f"Expected no validation_size for {root}, whose split is fixed, got "
                f"{validation_size}."
            )
        (whole,), num_classes = _labelled([root])
        tenth = max(1, len(whole[0]) // 10)
        rows = fixed_split(len(whole[0]), tenth, tenth, str(root))
        return (
            [selected(whole, part) for part in rows],
            num_classes,
            _left_out(root, whole),
        )
    if not test:
        raise ValueError(f"Expected a folder test beside {train}, got none.")
    if validation and validation_size is not None:
        raise ValueError(
            f"Expected no validation_size for {root}, which has the validation part "
            f"{validation.name}, got {validation_size}."
        )
    given = [folder for folder in (train, validation, test) if folder]
    parts, num_classes = _labelled(given)
    notes = _left_out(root, *parts)
    # The files are sorted by class, so the last ones alone would be of one class.
    parts = [selected(part, fixed_split(len(part[0]), 0, 0)[0]) for part in parts]
    if not validation:
        kept = len(parts[0][0]) - held_out(len(parts[0][0]), validation_size)
        split = slice(kept), slice(kept, None)
        parts = [*(selected(parts[0], rows) for rows in split), parts[1]]
    return parts, num_classes, notes


def _labelled(folders: list[Path]) -> tuple[list[Labelled], int | None]:
    """Return `(paths, labels)` of each folder, and the number of classes."""
    found = [_by_class(folder) for folder in folders]
    classes = {name: i for i, name in enumerate(found[0])}
    parts: list[Labelled] = []
    for folder, by_class in zip(folders, found, strict=True):
        for name in by_class:
            if name not in classes:
                raise ValueError(
                    f"Expected in {folder} the classes of {folders[0]} "
                    f"({', '.join(classes)}), got {name or 'images without a class'}."
                )
        paths = [path for images in by_class.values() for path in images]
        labels = [classes[name] for name, images in by_class.items() for _ in images]
        flat = "" in classes
        parts.append((np.array(paths), None if flat else np.array(labels, np.int64)))
    return parts, None if "" in classes else len(classes)


def _by_class(folder: Path) -> dict[str, list[str]]:
    """Return the sorted paths of images by the name of their class.

    The classes are the sub-folders, in the order of their names. A folder without
    sub-folders of images has the single class "".
    """
    flat = _images_in(folder)
    names = sorted(entry.name for entry in _folders_in(folder))
    by_class = {name: _images_in(folder / name) for name in names}
    by_class = {name: images for name, images in by_class.items() if images}
    if flat and by_class:
        other = next(iter(by_class.values()))[0]
        raise ValueError(
            f"Expected images or folders of images in {folder}, got both: {flat[0]} "
            f"and {other}."
        )
    if not flat and not by_class:
        raise ValueError(
            f"Expected images ({' '.join(SUFFIXES)}) in {folder} or its sub-folders, "
            "got none."
        )
    return {"": flat} if flat else by_class


def _folders_in(path: Path) -> list[os.DirEntry]:
    return [e for e in os.scandir(path) if e.is_dir() and not e.name.startswith(".")]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _images_in(path: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(path) if _is_image(entry.name))
    return [os.path.join(path, name) for name in names]


def _left_out(root: Path, *parts: Labelled) -> tuple[str, ...]:
    """Return sentences about the files in `root` that belong to no part."""
    found = 0
    others: Counter[str] = Counter()
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _is_image(name):
                found += 1
            elif not name.startswith("."):
                others[os.path.splitext(name)[1].lower() or "no suffix"] += 1
    notes = []
    deeper = found - sum(len(paths) for paths, _ in parts)
    if deeper:
        images = "1 image" if deeper == 1 else f"{deeper} images"
        notes.append(f"{root}: left out {images} in other or deeper folders.")
    if others:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common(5))
        total = others.total()
        files = "1 other file" if total == 1 else f"{total} other files"
        notes.append(f"{root}: left out {files} ({kinds}).")
    return tuple(notes)


# === What is in the files ===


def _inspected(path: str) -> tuple[int, tuple[int, int], bool]:
    """Find how to decode a file, its height and width, and whether it is grey.

    Raises:
        ValueError: the file is no image, or has transparent pixels or more than 8 bits
            per channel.
    """
    from PIL import Image

    deep = transparent = False
    try:
        with Image.open(path) as image:
            exif = image.getexif() if "exif" in image.info else {}
            orientation = exif.get(ORIENTATION, 1)
            width, height = image.size
            if orientation in (5, 6, 7, 8):
                width, height = height, width
            png = image.format == "PNG"
            kind = JPEG if image.format == "JPEG" else OTHER
            if png and image.mode in ("L", "RGB"):
                kind = PNG
            if orientation != 1 or image.has_transparency_data:
                kind = OTHER
            deep = image.mode[0] in "IF" or (png and _bit_depth(path) > 8)
            if image.has_transparency_data:
                transparent = np.asarray(image.convert("RGBA"))[..., 3].min() < 255
            grey = image.mode in ("1", "L", "LA")
            if image.mode in ("P", "PA"):
                rgb = np.asarray(image.convert("RGB"))
                grey = bool((rgb == rgb[..., :1]).all())
    except Exception as error:
        # Damaged files have been seen to raise errors of many kinds.
        raise _undecodable(path, 0) from error
    if deep:
        raise ValueError(
            f"Expected images of 8 bits per channel, got more in {path}: scale and "
            "convert it first."
        )
    if transparent:
        raise ValueError(
            f"Expected opaque images, got transparent pixels in {path}: put it on a "
            "background first."
        )
    return kind, (height, width), grey


def _bit_depth(path: str) -> int:
    """Read the number of bits per channel of a PNG file, which Pillow does not tell."""
    with open(path, "rb") as file:
        return file.read(25)[-1]


def _undecodable(path: str, num_others: int) -> ValueError:
    more = f" and {num_others} other files" if num_others else ""
    return ValueError(f"Expected an image, got {path}{more}, which cannot be decoded.")


def _opened(path: bytes, channels: int) -> np.ndarray:
    """Read an image with Pillow and turn it upright, `[H, W, channels]`."""
    from PIL import Image, ImageOps

    with Image.open(path.decode()) as image:
        upright = ImageOps.exif_transpose(image).convert(
            "L" if channels == 1 else "RGB"
        )
    return np.asarray(upright).reshape(upright.height, upright.width, channels)


# === Examples ===


def _examples(parts: list[Labelled], request: Request) -> list[Any]:
    """Check the files, and make the examples of each part."""
    import tensorflow as tf

    from mvae_tf.data.examples import CACHE_BYTES, IndexedExamples, examples_of
    from mvae_tf.data.images import windows, with_margin

    paths = np.concatenate([paths for paths, _ in parts])
    kinds, sizes, grey = map(np.array, zip(*map(_inspected, paths), strict=True))
    channels = 1 if grey.all() else 3
    shape = _common_shape(paths, sizes, channels, request)
    window = windows(sizes, **request.fitting)
    how = np.column_stack([kinds, window, with_margin(window, sizes)])
    same = (how == how[0]).all()
    with tf.device("CPU:0"):
        all_paths, all_hows = tf.constant(paths), tf.constant(how, tf.int32)

    def read(index: "tf.Tensor") -> "tf.Tensor":
        row = how[0] if same else all_hows[index]
        image = _decoded(all_paths[index], row, channels, request.image_size)
        return tf.ensure_shape(image, shape)

    fits = len(paths) * np.prod(shape) <= CACHE_BYTES
    images: Any = _decoded_once(read, paths, shape if fits else None)
    examples, start = [], 0
    for part, labels in parts:
        if fits:
            rows = images[start : start + len(part)]
            examples.append(examples_of(rows, labels))
        else:
            one = _reader(read, start, labels)
            examples.append(IndexedExamples(len(part), shape, one, one_by_one=True))
        start += len(part)
    return examples


def _common_shape(
    paths: np.ndarray, sizes: Any, channels: int, request: Request
) -> tuple[int, int, int]:
    """Return the shape that every image has after it is cropped and resized."""
    from mvae_tf.data.images import fitted_shape

    common: Any = None
    for path, size in zip(paths, sizes, strict=True):
        shape = fitted_shape(
            (*size, channels), request.image_size, request.crop_size, path
        )
        if common not in (None, shape):
            raise ValueError(
                f"Expected images of {common[0]}x{common[1]} like {paths[0]}, or "
                f"image_size to resize all, got {size[0]}x{size[1]} in {path}."
            )
        common = shape
    return common


def _decoded(
    path: "tf.Tensor", how: Any, channels: int, image_size: tuple[int, int] | None
) -> "tf.Tensor":
    """Decode, crop and resize the image of a file, uint8 `[H, W, channels]`.

    Args:
        path: scalar string.
        how: `[9]` ints, an array or a tensor: the kind of the file, then the window to
            keep and the window to decode.
        channels: int, 1 or 3.
        image_size: `(height, width)`, or None.
    """
    import tensorflow as tf

    from mvae_tf.data.images import cut, decode_jpeg

    kind, window, outer = how[0], how[1:5], how[5:]

    def jpeg() -> tf.Tensor:
        content = tf.io.read_file(path)
        return decode_jpeg(content, channels, window, outer, image_size)

    def png() -> tf.Tensor:
        image = tf.io.decode_png(tf.io.read_file(path), channels)
        return cut(image, window, image_size)

    def other() -> tf.Tensor:
        image = tf.numpy_function(_opened, [path, channels], tf.uint8)
        return cut(tf.ensure_shape(image, (None, None, channels)), window, image_size)

    branches = {JPEG: jpeg, PNG: png, OTHER: other}
    return tf.switch_case(kind, branches) if tf.is_tensor(kind) else branches[kind]()


def _decoded_once(
    read: Callable, paths: np.ndarray, shape: tuple[int, ...] | None
) -> np.ndarray | None:
    """Decode every file; return the images if their shape is given, else None.

    Raises:
        ValueError: a file cannot be decoded; the error names the first one.
    """
    import tensorflow as tf

    # The errors of the decoding operations do not name the file. They are ignored, and
    # the files that are missing afterwards are named here.
    decoded = tf.data.Dataset.range(len(paths)).map(
        lambda i: (i, read(i)), num_parallel_calls=tf.data.AUTOTUNE
    )
    images = None if shape is None else np.empty((len(paths), *shape), np.uint8)
    missing = np.ones(len(paths), bool)
    for rows, batch in decoded.ignore_errors().batch(256).as_numpy_iterator():
        missing[rows] = False
        if images is not None:
            images[rows] = batch
    if missing.any():
        raise _undecodable(paths[missing][0], missing.sum() - 1)
    return images


def _reader(read: Callable, start: int, labels: np.ndarray | None) -> Callable:
    """Return a function from an index within a part to its example."""
    import tensorflow as tf

    if labels is None:
        return lambda index: read(index + start)
    labels = tf.constant(labels)
    return lambda index: (read(index + start), labels[index])
