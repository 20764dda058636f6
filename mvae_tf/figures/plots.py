"""Figures of numbers: latents, dependence between components, and curves."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from mvae_tf.figures.comparisons import column
from mvae_tf.figures.style import (
    COLOURS,
    GREY,
    INK,
    SMALL_SIZE,
    TEXT_SIZE,
    heat_map,
    level_lines,
    name_panel,
    new_plot,
)

__all__ = ["curves", "dependence", "latents", "latents_by_component"]

_NATS = "nats per image"
_PANEL = 340
_NAMED = 10


def latents(model: keras.Model, x: ArrayLike, y: ArrayLike | None = None) -> Figure:
    """Draw the posterior means of each component, coloured by class (Fig 11).

    Latents of more than two dimensions are projected onto their two principal axes,
    found for each component on its own. A model with categories has one panel, with
    the latents of the most probable category of each image.

    Args:
        model: model of this library, Z >= 2.
        x: `[N, ...]` images, N >= 3.
        y: labels `[N]` of the images (or one-hot rows), or None for points of one
            colour.

    Returns:
        A figure with a panel for each component.
    """
    mean = _means(model, x, y)
    count = mean.shape[1]
    lines = -(-count // 5)
    columns = -(-count // lines)
    flat = mean.shape[-1] == 2
    y = _class_indices(y)
    # The latents of a conditional model hold no label, so that the medians coincide.
    named = y is not None and not model.conditional and len(np.unique(y)) <= _NAMED
    figure, panels = new_plot(
        max(600, columns * _PANEL + 90),
        lines * (_PANEL + 30),
        "Latents by component" if count > 1 else "Latents",
        "Posterior means of test images"
        + ("" if y is None else ", coloured by class")
        + (", classes named at their medians" if named else "")
        + ("." if flat else "; two principal axes (PCA) of each component."),
        lines,
        columns,
    )
    for i, axes in enumerate(panels):
        if i >= count:
            axes.set_axis_off()
            continue
        points, share = _project(mean[:, i])
        handles = _scatter(axes, points, y)
        if named:
            _name_groups(axes, points, y)
        title = [f"component {i}"] if count > 1 else []
        title += [] if flat else [f"{share:.0%} of variance"]
        _name_axes(axes, flat, ", ".join(title))
    if y is not None:
        _legend(figure, handles, "class")
    return figure


def latents_by_component(
    model: keras.Model,
    x: ArrayLike,
    y: ArrayLike | None = None,
    label: int | None = None,
) -> Figure:
    """Draw the posterior means of all components in one plot (Fig 13).

    Args:
        model: model of this library, Z >= 2, K > 1.
        x: `[N, ...]` images.
        y: labels `[N]` of the images (or one-hot rows), or None.
        label: int, the class that is shown, or None for all images.
    """
    if label is not None:
        chosen = _class_indices(y) == label
        x, y = np.asarray(x)[chosen], np.asarray(y)[chosen]
    mean = np.asarray(model.encode(x, y)["mean"])
    num, count, size = mean.shape
    points, share = _project(mean.reshape(num * count, size))
    flat = size == 2
    figure, (axes,) = new_plot(
        700,
        520,
        "Latents of one class" if label is not None else "Latents of all components",
        f"Posterior means of {num} test images"
        + ("" if label is None else f" of class {label}")
        + ", coloured by component"
        + (
            "."
            if flat
            else f"; two principal axes (PCA) of all components together, {share:.0%} "
            "of variance."
        ),
    )
    handles = _scatter(axes, points, np.tile(np.arange(count), num))
    _name_axes(axes, flat, None)
    _legend(figure, handles, "component")
    return figure


def dependence(matrix: ArrayLike) -> Figure:
    """Draw a heat map of the pairwise dHSIC between components (Fig 12).

    Args:
        matrix: `[K, K]`, from `dependence_matrix` of a model.
    """
    matrix = np.asarray(matrix)
    side = max(420, 70 * len(matrix) + 90)
    figure, (axes,) = new_plot(
        max(side, 600),
        side,
        "Dependence between components",
        "Square root of dHSIC between drawn latents of two components; 0 if they are "
        "independent. The diagonal has each component with itself.",
    )
    pairs = matrix[~np.eye(len(matrix), dtype=bool)]
    heat_map(axes, matrix, ".3f", vmin=0.0, vmax=2.0 * pairs.max(initial=0.0))
    name_panel(axes, None, "component", "component")
    return figure


def curves(
    history: Sequence[Mapping[str, Any]],
    kl_terms: Collection[str] = ("kl", "dirichlet_kl", "category_kl"),
) -> Figure:
    """Draw objective, KL terms, dropout rate and more over epochs (Fig 14-16).

    Args:
        history: sequence of dicts, one for each epoch, with "epoch", "loss" and, where
            there are any, "reconstruction", names of KL terms, "dropout_rate" and
            "selected_components". Names with the prefix "val_" have the values of the
            validation part. Values are numbers or texts of numbers; a missing one
            leaves a gap.
        kl_terms: list of str, names of the model's KL terms, which share a panel.

    Returns:
        `matplotlib.figure.Figure` with a panel for each quantity in the history.

    Raises:
        ValueError: the history has no epoch.
    """
    if not history:
        raise ValueError("Expected a history of at least one epoch, got none.")
    epochs = column(history, "epoch")
    panels_of = {
        "objective": (["loss"], _NATS),
        "reconstruction": (["reconstruction"], _NATS),
        "KL": ([name for name in history[0] if name in kl_terms], _NATS),
        "dropout rate p": (["dropout_rate"], None),
        "selected components": (["selected_components"], "components"),
    }
    found = {}
    for title, (names, unit) in panels_of.items():
        names = [n for n in names if np.isfinite(column(history, n)).any()]
        if names:
            found[title] = names, unit
    columns = min(3, max(1, len(found)))
    rows = max(1, math.ceil(len(found) / columns))
    figure, panels = new_plot(
        max(600, 420 * columns),
        330 * rows,
        "Training",
        "Mean over each epoch; dashed lines are of the validation part.",
        rows,
        columns,
    )
    style: dict[str, Any] = {"linewidth": 1.6}
    style["marker"] = "o" if len(epochs) < 3 else None
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    for axes, (title, (names, unit)) in zip(panels, found.items(), strict=False):
        for name, colour in zip(names, itertools.cycle(COLOURS)):
            alone = len(names) == 1
            label = "training" if alone else name.replace("_", " ")
            axes.plot(epochs, column(history, name), color=colour, label=label, **style)
            values = column(history, f"val_{name}")
            if np.isfinite(values).any():
                # The validation values of a single quantity also have another colour.
                dashed = style | ({"label": "validation"} if alone else {})
                colour = COLOURS[6] if alone else colour
                axes.plot(epochs, values, "--", color=colour, **dashed)
        if len(axes.lines) > 1:
            axes.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
        name_panel(axes, title, "epoch", unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        level_lines(axes)
    return figure


def _means(model, x, y):
    """Return posterior means `[N, K, Z]`, with K = 1 where there are categories."""
    posterior = model.encode(x, y)
    mean = np.asarray(posterior["mean"])
    if not model.has_categories:
        return mean
    best = np.argmax(posterior["weights"], axis=1)
    return np.take_along_axis(mean, best[:, np.newaxis, np.newaxis], axis=1)


def _class_indices(y):
    y = None if y is None else np.asarray(y)
    return y if y is None or y.ndim == 1 else y.argmax(axis=-1)


def _project(z):
    """Return points `[N, 2]` of latents `[N, Z]`, and the share of variance shown."""
    if z.shape[-1] < 2:
        raise ValueError(f"Expected latent_dim >= 2, got {z.shape[-1]}.")
    if z.shape[-1] == 2:
        return z, 1.0
    pca = PCA(2, svd_solver="full").fit(z)
    return pca.transform(z), pca.explained_variance_ratio_.sum()


def _scatter(axes, points, groups):
    """Draw points; return a handle for each group, or none if there are many."""
    style = {"s": 7, "alpha": 0.75, "linewidths": 0}
    axes.set_aspect("equal", adjustable="datalim")
    if groups is None:
        axes.scatter(*points.T, color=COLOURS[0], **style)
        return {}
    groups = np.asarray(groups)
    names = np.unique(groups)
    if len(names) > _NAMED:
        axes.scatter(*points.T, c=groups, cmap="viridis", **style)
        return {}
    colours = np.array(COLOURS)[np.searchsorted(names, groups)]
    axes.scatter(*points.T, c=colours, **style)
    return {
        str(name): axes.scatter([], [], s=28, color=colour, linewidths=0)
        for name, colour in zip(names, COLOURS, strict=False)
    }


def _name_groups(axes, points, groups):
    """Print the name of each group at its median, for readers who see no colours."""
    for name in np.unique(groups):
        axes.annotate(
            str(name),
            np.median(points[groups == name], axis=0),
            ha="center",
            va="center",
            size=TEXT_SIZE,
            weight="bold",
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _name_axes(axes, flat, title):
    names = ("z[0]", "z[1]") if flat else ("axis 1", "axis 2")
    name_panel(axes, title, *names)
    axes.locator_params(nbins=5)


def _legend(figure, handles, title):
    if handles:
        legend = figure.legend(
            handles.values(),
            handles.keys(),
            title=title,
            loc="outside right center",
            frameon=False,
            fontsize=TEXT_SIZE,
            labelcolor=INK,
            handletextpad=0.2,
        )
        legend.get_title().set(size=TEXT_SIZE, color=GREY)
