"""Figures of images of several models, or of several kinds, side by side."""

import math
from collections.abc import Mapping

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mvae_tf.figures.style import (
    DPI,
    INK,
    MARGIN,
    TEXT_SIZE,
    new_figure,
    place,
    text_width,
)
from mvae_tf.figures.tiles import image_table, mosaic, scaled

__all__ = ["grids", "reconstruction_rows"]

_SIDE = 56
_BETWEEN, _LABEL = 26, 34
_MIN_WIDTH, _WIDTH = 760, 1500


def reconstruction_rows(
    models: Mapping[str, keras.Model], x: ArrayLike, y: ArrayLike | None = None
) -> Figure:
    """Draw images over their reconstructions by several models.

    Reconstructions come from posterior means and expected weights.

    Args:
        models: dict from a label to a model, all of images of one shape.
        x: `[N, H, W, C]` images, one for each column.
        y: labels `[N]` of the images, which conditional models are given.

    Raises:
        ValueError: there is no model, or models have different ranges of pixels.
    """
    if not models:
        raise ValueError("Expected at least one model, got none.")
    ranges = {m.likelihood.shown_range for m in models.values()}
    if len(ranges) > 1:
        raise ValueError(
            f"Expected models with one range of pixels, got {sorted(ranges)}."
        )
    rows = {"original": x} | {
        label: model.reconstruct(x, y if model.conditional else None)
        for label, model in models.items()
    }
    tiles = np.stack([np.asarray(row) for row in rows.values()])
    return image_table(
        scaled(tiles, *ranges.pop()),
        list(rows),
        "Reconstructions",
        "Test images and what each model makes of them.",
        row_breaks=(0,),
    )


def grids(
    images: Mapping[str, ArrayLike],
    title: str,
    subtitle: str = "",
    columns: int = 4,
    across: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Figure:
    """Draw small grids of images side by side, each below its label.

    Args:
        images: dict from a label to `[N, H, W, 1 or 3]` images, of one H and W.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.
        columns: int, number of images in each line of a grid.
        across: int, number of grids in each line; None takes as many as fit on a page.
        low: float, pixel value of black.
        high: float, pixel value of white.

    Returns:
        A figure with axes for each grid.

    Raises:
        ValueError: there is no grid, or images have another shape.
    """
    if not images:
        raise ValueError("Expected at least one grid of images, got none.")
    pictures = {
        label: _picture(np.asarray(values), label, columns, low, high)
        for label, values in images.items()
    }
    widest = max(picture.shape[1] for picture in pictures.values())
    highest = max(picture.shape[0] for picture in pictures.values())
    names = max(text_width(label, TEXT_SIZE) for label in pictures)
    width = max(widest, math.ceil(names)) + _BETWEEN
    height = highest + _LABEL + MARGIN
    if across is None:
        lines = -(-len(images) // max(1, _WIDTH // width))
        across = -(-len(images) // lines)
    lines = -(-len(images) // across)
    total = max(across * width - _BETWEEN + 2 * MARGIN, _MIN_WIDTH)
    figure = new_figure(total, lines * height + MARGIN, title, subtitle)
    top = figure.get_size_inches()[1] * DPI - figure.heading_pixels
    for i, (label, picture) in enumerate(pictures.items()):
        line, column = divmod(i, across)
        rows = picture.shape[0]
        left, bottom = MARGIN + column * width, top - line * height - _LABEL - rows
        axes = place(figure, left, bottom, picture.shape[1], rows)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(label, loc="left", size=TEXT_SIZE, color=INK, pad=4)
    return figure


def _picture(images, label, columns, low, high):
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"Expected images [N, H, W, 1 or 3] for {label!r}, got "
            f"{list(images.shape)}."
        )
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    blank = np.ones((lines * columns - len(images), *images.shape[1:]), np.float32)
    tiles = np.concatenate([scaled(images, low, high), blank])
    return mosaic(tiles.reshape(lines, columns, *images.shape[1:]), side=_SIDE)[0]
