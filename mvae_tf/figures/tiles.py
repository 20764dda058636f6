"""Tables of small images, drawn pixel by pixel."""

import math
from pathlib import Path

import numpy as np

from mvae_tf.figures.style import (
    INK,
    MARGIN,
    TEXT_SIZE,
    new_figure,
    place,
    save,
    text_width,
)

__all__ = ["image_table", "mosaic", "save_grid", "scaled"]

_CELL = 84
_GAP = 3
_BREAK = 10
_MIN_WIDTH = 760


def scaled(images, low, high):
    """Images mapped from [low, high] to [0, 1], values beyond it clipped.

    The range is fixed, never stretched to the extremes of an image, so that pictures
    can be compared.
    """
    return np.clip((np.asarray(images, np.float32) - low) / (high - low), 0.0, 1.0)


def save_grid(images, path, columns=None, low=0.0, high=1.0, row_labels=None):
    """Image file of a grid of images, enlarged without smoothing if they are small.

    Args:
        images: `[N, H, W, 1]` or `[N, H, W, 3]`.
        path: file to make or to replace, such as "samples.png".
        columns: images of a row; None makes the grid about square.
        low: pixel value of black.
        high: pixel value of white.
        row_labels: a text for each row, or None.

    Returns:
        The path, a `Path`.

    Raises:
        ValueError: on another shape, on non-finite pixels, or on a wrong number of
            columns or labels.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"Expected images [N, H, W, 1 or 3] with N >= 1, got {list(images.shape)}."
        )
    if not np.isfinite(images).all():
        raise ValueError("Expected finite pixels, got NaN or inf.")
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"Expected columns >= 1, got {columns}.")
    rows = math.ceil(len(images) / columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"Expected {rows} row labels, got {len(row_labels)}.")
    blank = np.ones((rows * columns - len(images), *images.shape[1:]), np.float32)
    tiles = np.concatenate([scaled(images, low, high), blank])
    tiles = tiles.reshape(rows, columns, *images.shape[1:])
    return Path(save(image_table(tiles, row_labels), path))


def image_table(
    tiles,
    row_labels=None,
    title=None,
    subtitle="",
    column_labels=None,
    row_breaks=(),
    column_breaks=(),
    beside=(0, 0),
):
    """Figure of rows of images with labels, each image pixel a square of pixels.

    Args:
        tiles: `[R, C, H, W, 1 or 3]` in [0, 1].
        row_labels: R texts, or None.
        title: line in bold, or None for the bare table.
        subtitle: what is seen.
        column_labels: C texts, or None.
        row_breaks: indices of rows with a wider gap after them.
        column_breaks: indices of columns with a wider gap after them.
        beside: width and height in pixels of an area left free at the right, its top
            at the top of the table.

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


def mosaic(tiles, row_breaks=(), column_breaks=(), side=_CELL):
    """Picture of a table of images, side by side on white.

    Args:
        tiles: `[R, C, H, W, 1 or 3]` in [0, 1].
        row_breaks: indices of rows with a wider gap after them.
        column_breaks: indices of columns with a wider gap after them.
        side: pixels that the longer side of an image takes, at least.

    Returns:
        uint8 RGB picture, and the middles of its rows and columns in pixels.
    """
    tiles = np.rint(255 * np.asarray(tiles)).astype(np.uint8)
    tiles = np.broadcast_to(tiles, (*tiles.shape[:-1], 3))
    scale = math.ceil(side / max(tiles.shape[2:4]))
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    rows, columns, cell_height, cell_width = tiles.shape[:4]
    tops = _offsets(rows, cell_height, row_breaks)
    lefts = _offsets(columns, cell_width, column_breaks)
    shape = (tops[-1] + cell_height, lefts[-1] + cell_width, 3)
    picture = np.full(shape, 255, np.uint8)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            picture[top : top + cell_height, left : left + cell_width] = tiles[i, j]
    return picture, tops + (cell_height - 1) / 2, lefts + (cell_width - 1) / 2


def _offsets(num, cell, breaks):
    gaps = np.full(num, cell + _GAP)
    gaps[list(breaks)] += _BREAK
    return np.concatenate([[0], np.cumsum(gaps)[:-1]])
