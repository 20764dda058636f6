"""Tables of small images, put together pixel by pixel in one array."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from mvae_tf import storage
from mvae_tf.figures.style import (
    INK,
    MARGIN,
    TEXT_SIZE,
    new_figure,
    place,
    text_width,
)

__all__ = ["image_table", "mosaic", "save_grid", "scaled"]

_CELL = 84
_GAP = 3
_BREAK = 10
_MIN_WIDTH = 760
# The longer side of a picture up to which images are enlarged, in pixels.
_ENLARGED = 3072
# Most image viewers, Pillow among them, refuse to open much more.
_MAX_PIXELS = 2**27
_ROWS = 1024


def scaled(images: ArrayLike, low: float, high: float) -> np.ndarray:
    """Map pixel values from [low, high] to [0, 1] and clip what lies beyond.

    The range is fixed, never stretched to the extremes of an image, so that pictures
    can be compared.

    Args:
        images: array of any shape.
        low: float, pixel value of black.
        high: float, pixel value of white.

    Returns:
        Float32 array of the same shape.
    """
    return np.clip((np.asarray(images, np.float32) - low) / (high - low), 0.0, 1.0)


def save_grid(
    images: ArrayLike,
    path: str | Path,
    columns: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Path:
    """Write a grid of images to one image file.

    Small images are enlarged without smoothing, as long as the whole picture stays
    within about 3,000 pixels a side. The file is written by Pillow from one array of
    pixels, so 20,000 images take seconds and little more memory than they need.

    Args:
        images: `[N, H, W, 1]` or `[N, H, W, 3]`, with N >= 1.
        path: path of the file to make or to replace; its suffix, such as ".png", is the
            format.
        columns: int, number of images in each row; None makes the grid about square.
        low: float, pixel value of black.
        high: float, pixel value of white.

    Returns:
        The path of the file.

    Raises:
        ValueError: the images have another shape or pixels that are not finite, the
            number of columns is wrong, Pillow does not know the suffix, or the picture
            would have more than 134 million pixels.
    """
    path = Path(path)
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"Expected images [N, H, W, 1 or 3] with N >= 1, got {list(images.shape)}."
        )
    if not np.isfinite(images).all():
        raise ValueError("Expected finite pixels, got NaN or inf.")
    num, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(num)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"Expected columns >= 1, got {columns}.")
    rows = math.ceil(num / columns)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(
            f"Expected the suffix of an image file, such as .png, got {path.name!r}."
        )
    fits = min(_ENLARGED // (columns * width), _ENLARGED // (rows * height))
    scale = max(1, min(math.ceil(_CELL / max(height, width)), fits))
    pixels = (rows * (height * scale + _GAP)) * (columns * (width * scale + _GAP))
    if pixels > _MAX_PIXELS:
        raise ValueError(
            f"Expected a grid of at most {_MAX_PIXELS // 10**6} million pixels, got "
            f"{num:,} images of {height} x {width} in {columns:,} columns, which make "
            f"{pixels // 10**6:,} million: save fewer images, or arrays as .npz."
        )
    tiles = np.full((rows * columns, height, width, channels), 255, np.uint8)
    for start in range(0, num, _ROWS):
        part = images[start : start + _ROWS]
        tiles[start : start + len(part)] = _to_bytes(scaled(part, low, high))
    tiles = tiles.reshape(rows, columns, height, width, channels)
    picture, _, _ = _mosaic(tiles, scale)
    picture = np.broadcast_to(picture, (*picture.shape[:2], 3))
    picture = np.pad(picture, [(_GAP, _GAP)] * 2 + [(0, 0)], constant_values=255)
    with storage.write(path) as temporary:
        # Higher levels take several times as long, for files a tenth smaller.
        Image.fromarray(picture).save(temporary, compress_level=3)
    return path


def image_table(
    tiles: ArrayLike,
    row_labels: Sequence[str] | None = None,
    title: str | None = None,
    subtitle: str = "",
    column_labels: Sequence[str] | None = None,
    row_breaks: Sequence[int] = (),
    column_breaks: Sequence[int] = (),
    beside: tuple[int, int] = (0, 0),
) -> Figure:
    """Draw a figure of rows of images with labels.

    Each pixel of an image is a square of whole pixels of the figure.

    Args:
        tiles: `[R, C, H, W, 1 or 3]` in [0, 1].
        row_labels: R texts, or None.
        title: str, line in bold, or None for the table without a heading.
        subtitle: str, sentence about what the figure shows.
        column_labels: C texts, or None.
        row_breaks: list of ints, indices of rows with a wider gap after them.
        column_breaks: list of ints, indices of columns with a wider gap after them.
        beside: pair of ints, width and height, in pixels, of an area left free at the
            right, whose top is the top of the table.

    Returns:
        `matplotlib.figure.Figure`, whose first axes hold the table.
    """
    picture, row_middles, column_middles = mosaic(tiles, row_breaks, column_breaks)
    height, width = picture.shape[:2]
    margin = _GAP if title is None else MARGIN
    labels = [text_width(label, TEXT_SIZE) for label in row_labels or []]
    left = margin + (math.ceil(max(labels)) + 16 if labels else 0)
    above = 24 if column_labels is not None else 0

    total = left + width + beside[0] + margin
    total = total if title is None else max(total, _MIN_WIDTH)
    below = margin + max(0, beside[1] - height)
    figure = new_figure(total, below + height + above + margin, title, subtitle)
    axes = place(figure, left, below, width, height)
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.set_yticks(row_middles, row_labels or [""] * len(row_middles))
    axes.tick_params(axis="y", labelsize=TEXT_SIZE, labelcolor=INK)
    axes.set_xticks(column_middles, column_labels or [""] * len(column_middles))
    axes.tick_params(axis="x", labelbottom=False, labeltop=True)
    return figure


def mosaic(
    tiles: ArrayLike,
    row_breaks: Sequence[int] = (),
    column_breaks: Sequence[int] = (),
    side: int = _CELL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put a table of images side by side on white.

    Args:
        tiles: `[R, C, H, W, 1 or 3]` in [0, 1]; NaN becomes black.
        row_breaks: list of ints, indices of rows with a wider gap after them.
        column_breaks: list of ints, indices of columns with a wider gap after them.
        side: int, pixels that the longer side of an image takes at least.

    Returns:
        uint8 RGB picture `[rows, columns, 3]`, and the middles of its rows and of its
        columns of images, in pixels.
    """
    pixels = _to_bytes(tiles)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    scale = math.ceil(side / max(pixels.shape[2:4]))
    return _mosaic(pixels, scale, row_breaks, column_breaks)


def _mosaic(tiles, scale, row_breaks=(), column_breaks=()):
    """Do what `mosaic` does, for uint8 tiles that it enlarges `scale` times.

    The picture has the channels of the tiles.
    """
    rows, columns, height, width, channels = tiles.shape
    height, width = height * scale, width * scale
    cells = (rows, height + _GAP, columns, width + _GAP, channels)
    picture = np.full(cells, 255, np.uint8)
    tiles = tiles.transpose(0, 2, 1, 3, 4)
    # Every image pixel is a square of scale x scale pixels of the picture.
    for top in range(scale):
        for left in range(scale):
            picture[:, top:height:scale, :, left:width:scale] = tiles
    picture = picture.reshape(rows * cells[1], columns * cells[3], channels)
    picture = picture[:-_GAP, :-_GAP]
    tops = _offsets(rows, cells[1], row_breaks)
    lefts = _offsets(columns, cells[3], column_breaks)
    for axis, breaks, cell in ((0, row_breaks, cells[1]), (1, column_breaks, cells[3])):
        if len(breaks):
            places = [(index + 1) * cell for index in breaks for _ in range(_BREAK)]
            places = np.minimum(places, picture.shape[axis])
            picture = np.insert(picture, places, 255, axis=axis)
    return picture, tops + (height - 1) / 2, lefts + (width - 1) / 2


def _offsets(num, cell, breaks):
    """Return where each of `num` rows or columns begins, in pixels."""
    gaps = np.full(num, cell)
    gaps[list(breaks)] += _BREAK
    return np.concatenate([[0], np.cumsum(gaps)[:-1]])


def _to_bytes(values):
    return np.rint(255.0 * np.nan_to_num(values)).astype(np.uint8)
