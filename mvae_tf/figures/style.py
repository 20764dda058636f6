"""What all figures share: colours, headings, exact placement in pixels, saving.

Every figure has its own Agg canvas. `pyplot` and the global settings of Matplotlib are
not used, so that figures can be drawn in threads and without a display.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from mvae_tf import storage

__all__ = [
    "COLOURS",
    "DPI",
    "GREY",
    "INK",
    "MARGIN",
    "PALE",
    "SMALL_SIZE",
    "TEXT_SIZE",
    "heat_map",
    "level_lines",
    "name_panel",
    "new_figure",
    "new_plot",
    "place",
    "quiet_axes",
    "save",
    "text_width",
]

DPI = 150
MARGIN = 18
INK, GREY, PALE = "#1f2328", "#6a737d", "#d8dde3"
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11, 8.5, 7.5

# Petroff's ten colours, which people with the common colour vision deficiencies can
# tell apart (arXiv:2107.02270).
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)


class HeadedFigure(Figure):
    """Figure that knows the height of its heading.

    Attributes:
        heading_pixels: int, height of the heading in pixels.
    """

    heading_pixels: int = 0


def new_figure(
    width: int, height: int, title: str | None = None, subtitle: str = ""
) -> HeadedFigure:
    """Make a figure with a free area under a heading, with `DPI` dots per inch.

    Args:
        width: int, width of the figure in pixels.
        height: int, height of the area under the heading in pixels.
        title: str, line in bold, or None for no heading.
        subtitle: str, sentence about what the figure shows; it is wrapped to the width.
    """
    lines = _wrap(subtitle, width - 2 * MARGIN)
    heading = 0 if title is None else 2 * MARGIN + 20 + 21 * len(lines)
    total = height + heading
    # Without a thousandth of a pixel more, the renderer may round to one pixel less.
    figure = HeadedFigure(
        figsize=((width + 1e-3) / DPI, (total + 1e-3) / DPI), dpi=DPI, facecolor="white"
    )
    FigureCanvasAgg(figure)
    if title is not None:
        left = MARGIN / width
        style: dict[str, Any] = {"ha": "left", "va": "top"}
        figure.text(
            left,
            1 - MARGIN / total,
            title,
            size=TITLE_SIZE,
            weight="bold",
            color=INK,
            **style,
        )
        figure.text(
            left,
            1 - (MARGIN + 30) / total,
            "\n".join(lines),
            size=TEXT_SIZE,
            color=GREY,
            linespacing=1.3,
            **style,
        )
    figure.heading_pixels = heading
    return figure


def new_plot(
    width: int,
    height: int,
    title: str,
    subtitle: str,
    rows: int = 1,
    columns: int = 1,
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a heading and axes that share the area under it.

    Args:
        width: int, width of the figure in pixels.
        height: int, height of the area in pixels.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.
        rows: int, number of rows of axes.
        columns: int, number of columns of axes.

    Returns:
        The figure and a list of axes, row by row.
    """
    figure = new_figure(width, height, title, subtitle)
    share = height / (height + figure.heading_pixels)
    pad = MARGIN / DPI
    figure.set_layout_engine(
        "constrained", rect=(0, 0, 1, share), w_pad=pad / 2, h_pad=pad / 2
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        quiet_axes(one)
    return figure, axes


def name_panel(
    axes: Axes, title: str | None, x_label: str | None, y_label: str | None = None
) -> None:
    """Write a title at the upper left of axes, and the names of both directions."""
    axes.set_title(title or "", loc="left", size=TEXT_SIZE, color=INK)
    axes.set_xlabel(x_label or "", size=TEXT_SIZE, color=INK)
    axes.set_ylabel(y_label or "", size=TEXT_SIZE, color=INK)


def place(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> Axes:
    """Add axes at a place counted in pixels from the lower left corner."""
    total_width, total_height = figure.get_size_inches() * DPI
    rectangle = (
        left / total_width,
        bottom / total_height,
        width / total_width,
        height / total_height,
    )
    axes = figure.add_axes(rectangle)
    quiet_axes(axes)
    return axes


def quiet_axes(axes: Axes) -> None:
    """Give axes a thin grey frame on two sides and small grey numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labelcolor=GREY, pad=4)


def level_lines(axes: Axes) -> None:
    """Draw pale horizontal lines behind the data."""
    axes.grid(axis="y", color="#eceff2", linewidth=0.8)
    axes.set_axisbelow(True)


def heat_map(
    axes: Axes, values: np.ndarray, text_format: str, vmin: float, vmax: float
) -> None:
    """Draw a matrix as colours, with each value printed in its cell.

    Args:
        axes: `matplotlib.axes.Axes`.
        values: `[R, C]` array.
        text_format: str, format of a printed value, such as ".2f".
        vmin: float, value of the lightest colour.
        vmax: float, value of the darkest colour; beyond it the colour stays the same.
    """
    vmax = max(vmax, vmin + 1e-12)
    image = axes.imshow(values, cmap="Blues", vmin=vmin, vmax=vmax, aspect="equal")
    rows, columns = values.shape
    size = min(TEXT_SIZE, 34 / max(rows, columns) + 2.5)
    for i in range(rows):
        for j in range(columns):
            dark = float(np.asarray(image.norm(values[i, j]))) > 0.62
            axes.text(
                j,
                i,
                format(values[i, j], text_format),
                ha="center",
                va="center",
                size=size,
                color="white" if dark else INK,
            )
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows))
    axes.spines[:].set_visible(False)


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Measure how many pixels a text of `size` points takes."""
    font = FontProperties(size=size, weight=weight)
    return RendererAgg(1, 1, DPI).get_text_width_height_descent(text, font, False)[0]


def _wrap(text, width):
    """Break a text of `TEXT_SIZE` points into lines of a width in pixels."""
    lines = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", TEXT_SIZE) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure to an image file, whole or not at all.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: path of the file to make or to replace; its suffix is the format.

    Returns:
        The path of the file.
    """
    with storage.write(path) as temporary:
        figure.savefig(temporary, dpi="figure")
    return Path(path)
