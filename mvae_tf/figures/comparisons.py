"""Figures that compare numbers: a paper's with ours, and those of several runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mvae_tf.figures.style import (
    COLOURS,
    DPI,
    GREY,
    INK,
    MARGIN,
    PALE,
    SMALL_SIZE,
    TEXT_SIZE,
    TITLE_SIZE,
    level_lines,
    name_panel,
    new_figure,
    new_plot,
    place,
    text_width,
)

__all__ = ["column", "comparison", "histories"]

_LINE, _PANEL, _GAP = 30, 250, 34
# Width of the key of the dots, and of the space around it.
_KEY = 240
_SOURCES = {"paper": 0.0, "ours": 1.0}


def comparison(
    rows: Sequence[Mapping[str, Any]], title: str, subtitle: str = ""
) -> Figure:
    """Draw numbers of a paper and ours, with a panel per metric and a line per row.

    The paper's numbers are hollow dots, ours are filled dots. The numbers are also
    printed in columns beside the panel. A number that is not finite has no dot.

    Args:
        rows: dicts with the texts "row" and "metric", the numbers (or None) "paper" and
            "ours" and, where several rows have one name, the text "run" that tells
            them apart. Panels and lines have the order of the dicts.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.

    Returns:
        A figure with axes for each metric.

    Raises:
        ValueError: there are no rows, or two dicts have the same row, metric and run.
    """
    if not rows:
        raise ValueError("Expected at least one row to compare, got none.")
    lines = _lines(rows)
    names = list(dict.fromkeys(lines))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    keys = [(line, row["metric"]) for line, row in zip(lines, rows, strict=True)]
    if len(set(keys)) < len(keys):
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"Expected each row and metric once, got {twice} twice.")
    cells = dict(zip(keys, rows, strict=True))
    texts = {metric: _texts(cells, names, metric) for metric in metrics}
    columns = {metric: _column_width(texts[metric]) for metric in metrics}
    labels = math.ceil(max(text_width(name, TEXT_SIZE) for name in names)) + 20
    width = MARGIN + labels + MARGIN
    width += sum(_PANEL + 2 * columns[metric] + _GAP for metric in metrics)
    height = _LINE * len(names)
    heading = MARGIN + text_width(title, TITLE_SIZE, "bold") + _KEY
    width = max(width, 760, math.ceil(heading))
    figure = new_figure(width, height + 120, title, subtitle)
    left = MARGIN + labels
    for metric in metrics:
        axes = place(figure, left, 50, _PANEL, height)
        values = [cells.get((name, metric), {}) for name in names]
        _draw_panel(axes, values, metric)
        ticks = min(4, _PANEL // (columns[metric] - 16))
        axes.xaxis.set_major_locator(MaxNLocator(ticks, min_n_ticks=2))
        axes.set_yticks([])
        _print_columns(axes, texts[metric], columns[metric])
        left += _PANEL + 2 * columns[metric] + _GAP
    figure.axes[0].set_yticks(range(len(names)), names)
    _add_key(figure)
    return figure


def _lines(rows):
    """Name the line of each row; rows of the same name also show their runs."""
    runs = {}
    for row in rows:
        runs.setdefault(row["row"], set()).add(row.get("run"))
    return [
        row["row"] if len(runs[row["row"]]) == 1 else f"{row['row']} ({row['run']})"
        for row in rows
    ]


def _texts(cells, names, metric):
    """Return pairs of texts, paper and ours, of a metric; a dash if one is missing."""
    values = [cells.get((name, metric), {}) for name in names]
    numbers = [row.get(source) for row in values for source in _SOURCES]
    finite = [abs(v) for v in numbers if v is not None and math.isfinite(v)]
    greatest = max(finite, default=1.0)
    digits = 3 if greatest < 1 else 2 if greatest < 1000 else 1

    def text(value):
        return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")

    return [tuple(text(row.get(source)) for source in _SOURCES) for row in values]


def _column_width(texts):
    longest = max(
        text_width(text, SMALL_SIZE)
        for pair in [*texts, tuple(_SOURCES)]
        for text in pair
    )
    return math.ceil(longest) + 16


def _draw_panel(axes, values, metric):
    styles = {"paper": {"facecolors": "white", "edgecolors": INK, "zorder": 3}}
    styles["ours"] = {"color": COLOURS[0], "zorder": 4}
    for i, row in enumerate(values):
        found = {s: row.get(s) for s in _SOURCES}
        found = {s: v for s, v in found.items() if v is not None and math.isfinite(v)}
        if len(found) == 2:
            axes.plot(list(found.values()), [i, i], color=GREY, linewidth=1.0, zorder=2)
        for source, value in found.items():
            axes.scatter(value, i, s=26, linewidths=1.0, **styles[source])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.hlines(
        range(len(values)),
        0,
        1,
        PALE,
        linewidth=0.6,
        zorder=1,
        transform=axes.get_yaxis_transform(),
    )
    axes.margins(x=0.08)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", labelsize=TEXT_SIZE, labelcolor=INK)
    # The padding puts the title above the titles of the columns of numbers.
    axes.set_title(metric, loc="left", size=TEXT_SIZE, color=INK, weight="bold", pad=12)


def _print_columns(axes, texts, width):
    """Print the numbers in two columns at the right of axes, under their titles."""
    for column, (source, shade) in enumerate(zip(_SOURCES, (GREY, INK), strict=True)):
        numbers = [(i, pair[column], shade) for i, pair in enumerate(texts)]
        for line, text, colour in [(-0.95, source, GREY), *numbers]:
            axes.text(
                1.0 + (column + 1) * width / _PANEL,
                line,
                text,
                color=colour,
                size=SMALL_SIZE,
                ha="right",
                va="center_baseline",
                transform=axes.get_yaxis_transform(),
            )


def _add_key(figure):
    style = {"marker": "o", "linestyle": "", "markersize": 5}
    handles = [
        Line2D([], [], markerfacecolor="white", markeredgecolor=INK, **style),
        Line2D([], [], color=COLOURS[0], **style),
    ]
    width, height = figure.get_size_inches() * DPI
    figure.legend(
        handles,
        _SOURCES,
        ncols=2,
        loc="upper right",
        bbox_to_anchor=(1.0 - MARGIN / width, 1.0 - MARGIN / 2 / height),
        borderaxespad=0.0,
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
        handletextpad=0.1,
    )


def histories(
    series: Mapping[str, Sequence[Mapping[str, Any]]],
    key: str,
    title: str,
    subtitle: str = "",
    ylabel: str | None = None,
    xlabel: str = "epoch",
) -> Figure:
    """Draw one quantity over the epochs of several runs, a line for each run.

    Args:
        series: dict from a label to the history of a run, a sequence of dicts with
            "epoch" and values, which are numbers or texts of numbers. A missing value
            leaves a gap; a run without any value has no line.
        key: str, name of the quantity, such as "val_loss".
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.
        ylabel: str, name of the vertical axis; None stands for `key`.
        xlabel: str, name of the horizontal axis.

    Raises:
        ValueError: no run has a value.
    """
    lines = {
        label: (column(history, "epoch"), column(history, key))
        for label, history in series.items()
    }
    lines = {k: v for k, v in lines.items() if np.isfinite(v[1]).any()}
    if not lines:
        raise ValueError(f"Expected a history with values of {key!r}, got none.")
    figure, (axes,) = new_plot(900, 480, title, subtitle)
    for i, (label, (epochs, values)) in enumerate(lines.items()):
        axes.plot(
            epochs,
            values,
            label=label,
            color=COLOURS[i % len(COLOURS)],
            linestyle=("-", "--", ":")[i // len(COLOURS) % 3],
            linewidth=1.6,
            marker="o" if len(epochs) < 15 else None,
        )
    name_panel(axes, None, xlabel, key if ylabel is None else ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    level_lines(axes)
    figure.legend(
        loc="outside right center", frameon=False, fontsize=TEXT_SIZE, labelcolor=INK
    )
    return figure


def column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Return the values of one quantity in each row of a history.

    Args:
        history: dicts of numbers or texts of numbers.
        key: str, name of the quantity.

    Returns:
        Float64 array `[rows]`, NaN where a value is missing.
    """
    values = [row.get(key) for row in history]
    return np.array([math.nan if v in (None, "") else float(v) for v in values])
