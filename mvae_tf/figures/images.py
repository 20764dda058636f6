"""Figures made of images: what the mixture and each of its components decode.

Figure numbers are those of Ye and Bors, "Deep Mixture Generative Autoencoders", TNNLS
2022. Reconstructions come from posterior means and expected weights, without a mask.
"""

from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mvae_tf.figures.style import DPI, MARGIN, heat_map, name_panel, place
from mvae_tf.figures.tiles import image_table, scaled
from mvae_tf.models.categorical import CategoricalVAE

__all__ = [
    "interpolation",
    "mismatch",
    "mismatch_errors",
    "reconstructions",
    "samples",
    "samples_by_category",
    "samples_by_component",
    "traversal",
]

# Number of images that the figure of mismatched components shows.
_MISMATCHED = 10


def reconstructions(
    model: keras.Model, x: ArrayLike, y: ArrayLike | None = None
) -> Figure:
    """Draw images above reconstructions by the mixture and each component (Fig 2).

    Args:
        model: model of this library, of images.
        x: `[N, H, W, C]` images, one for each column.
        y: labels `[N]` of the images, for a conditional model.
    """
    rows = named_reconstructions(model, x, y)
    subtitle = (
        "Test images, the mixture with its expected weights, and each component alone."
        if "mixture" in rows
        else "Test images and what the model makes of them."
    )
    return _table(model, rows, "Reconstructions", subtitle, row_breaks=(0, 1))


def named_reconstructions(
    model: keras.Model, x: ArrayLike, y: ArrayLike | None = None
) -> dict[str, ArrayLike]:
    """Compute reconstructions by a model and, in a mixture, by each component.

    Args:
        model: model of this library, of images.
        x: `[N, H, W, C]` images in the pixel scale of the likelihood.
        y: labels `[N]` of the images, for a conditional model.

    Returns:
        Dict from the name of a row to `[N, H, W, C]` images; the first row is `x`.
    """
    rows = {"original": x, "reconstruction": model.reconstruct(x, y)}
    if model.num_components > 1 and not model.has_categories:
        mean = model.encode(x, y)["mean"]
        rows = {"original": x, "mixture": rows["reconstruction"]}
        for i in range(model.num_components):
            rows[f"component {i}"] = _decode_alone(model, mean, i, y)
    return rows


def mismatch(model: keras.Model, x: np.ndarray, y: np.ndarray | None = None) -> Figure:
    """Draw what sub-decoders make of the latents of other components (Fig 3).

    Args:
        model: MVAE or mixture of VAEs, of images, K > 1.
        x: `[N, H, W, C]` images. The figure shows the first ten of them.
        y: labels `[N]` of the images, for a conditional model.

    Returns:
        A figure with a table of images, in which each sub-decoder is fed by the encoder
        of the next component, and the matrix of `mismatch_errors` of all images.
    """
    num = model.num_components
    errors = mismatch_errors(model, x, y)
    mean = np.asarray(model.encode(x, y)["mean"])[:_MISMATCHED]
    y = None if y is None else y[:_MISMATCHED]
    rows = {"original": x[:_MISMATCHED]}
    for i in range(num):
        fed = np.roll(mean, -1, axis=1)
        rows[f"encoder {(i + 1) % num} → decoder {i}"] = _decode_alone(model, fed, i, y)

    side = max(260, 74 * num)
    figure = _table(
        model,
        rows,
        "Mismatched encoders and decoders",
        "Left: each sub-decoder alone, fed by the encoder of the next component. "
        "Right: squared error of every pair, summed over an image, mean of "
        f"{len(x)} images; the diagonal has the pairs that were trained together.",
        row_breaks=(0,),
        beside=(side + 90, side + 60),
    )
    width, height = figure.get_size_inches() * DPI
    top = height - figure.heading_pixels - MARGIN
    axes = place(figure, width - side - MARGIN, top - side - 50, side, side)
    pairs = errors[~np.eye(num, dtype=bool)]
    text_format = ".1f" if errors.max() < 100 else ".0f"
    heat_map(axes, errors, text_format, vmin=0.0, vmax=2.0 * np.median(pairs))
    name_panel(axes, None, "encoder", "decoder")
    axes.xaxis.set_label_position("top")
    axes.tick_params(labelbottom=False, labeltop=True)
    return figure


def mismatch_errors(
    model: keras.Model, x: np.ndarray, y: np.ndarray | None = None
) -> np.ndarray:
    """Measure the squared error of each sub-decoder alone, fed by each encoder.

    Args:
        model: MVAE or mixture of VAEs.
        x: `[N, ...]` images in the pixel scale of the likelihood.
        y: labels `[N]` of the images, for a conditional model.

    Returns:
        `[K, K]` float64, with sub-decoder i in row i and encoder j in column j: errors
        summed over an image, mean over images.
    """
    num = model.num_components
    mean = np.asarray(model.encode(x, y)["mean"])
    errors = np.zeros((num, num))
    for shift in range(num):
        fed = np.roll(mean, -shift, axis=1)
        for i in range(num):
            squared = np.square(_decode_alone(model, fed, i, y) - x, dtype=np.float64)
            errors[i, (i + shift) % num] = squared.sum() / len(x)
    return errors


def interpolation(
    model: keras.Model,
    x0: ArrayLike,
    x1: ArrayLike,
    y: ArrayLike | None = None,
    num_frames: int = 12,
    shift: int = 0,
) -> Figure:
    """Draw frames between pairs of images, one pair per row (Eq 33-36, Fig 6 and 7).

    Args:
        model: model of this library, of images.
        x0: `[N, H, W, C]` images at the left.
        x1: `[N, H, W, C]` images at the right.
        y: labels `[N]` of the pairs, for a conditional model.
        num_frames: int, number of frames between the two images; the first and the last
            are their reconstructions.
        shift: int, sub-decoder i takes the interpolated latent of encoder i + shift,
            cyclically: 0 gives the interpolation, 1 mismatched latents.
    """
    if shift:
        frames = _shifted_frames(model, x0, x1, y, num_frames, shift)
        title = "Interpolation, mismatched"
        subtitle = (
            "The same frames with the latent of each encoder handed to the wrong "
            f"sub-decoder: sub-decoder i takes latent i + {shift}, cyclically."
        )
    else:
        frames = np.asarray(model.interpolate(x0, x1, num_frames, y))
        title = "Interpolation"
        subtitle = (
            "From the test image at the left to the one at the right: posterior means "
            "and expected weights move in equal steps."
        )
    x0, x1 = np.asarray(x0)[:, np.newaxis], np.asarray(x1)[:, np.newaxis]
    rows = np.concatenate([x0, frames, x1], axis=1)
    return _table(model, rows, title, subtitle, column_breaks=(0, num_frames))


def _shifted_frames(model, x0, x1, y, num_frames, shift):
    """Decode frames `[N, num_frames, H, W, C]` as `interpolation` describes."""
    first, last = model.encode(x0, y), model.encode(x1, y)
    y = y if model.conditional else None
    frames = []
    for a in np.linspace(0.0, 1.0, num_frames, dtype=np.float32):
        z = (1.0 - a) * first["mean"] + a * last["mean"]
        weights = (1.0 - a) * first["weights"] + a * last["weights"]
        frames.append(model.decode(np.roll(z, -shift, axis=1), weights, y))
    return np.stack(frames, axis=1)


def traversal(
    model: keras.Model,
    places: Sequence[tuple[int, int]],
    low: float,
    high: float,
    steps: int = 11,
    y: int | None = None,
    start: np.ndarray | None = None,
) -> Figure:
    """Draw images decoded along one latent dimension of one component (Fig 8-10).

    Args:
        model: model of this library, of images.
        places: pairs (component, dimension), one for each row.
        low: float, value of the dimension in the first column.
        high: float, value of the dimension in the last column.
        steps: int, number of columns.
        y: int, label of all images, for a conditional model.
        start: values `[K, Z]` of the dimensions that do not move; None stands for
            zeros.
    """
    count, size = model.num_components, model.latent_dim
    start = np.zeros((count, size)) if start is None else np.asarray(start)
    values = np.linspace(low, high, steps)
    rows = {}
    for component, dimension in places:
        z = np.repeat(start[np.newaxis], steps, axis=0)
        z[:, component, dimension] = values
        name = f"component {component}, " if count > 1 else ""
        rows[f"{name}z[{dimension}]"] = _decode_alone(model, z, component, y)
    label = "" if y is None else f" of label {y}"
    return _table(
        model,
        rows,
        f"Latent traversal{label}",
        "Each row decodes one component alone while one dimension of its latent moves; "
        + ("the others are 0." if not start.any() else "the others are fixed."),
        column_labels=[f"{value:.2g}" for value in values],
    )


def samples(
    model: keras.Model, rows: int = 6, columns: int = 12, seed: int = 0
) -> Figure:
    """Draw images by ancestral sampling from the prior of the model.

    Args:
        model: model of this library, of images.
        rows: int, number of rows.
        columns: int, number of columns for an unconditional model. A conditional model
            has a column for each of its labels, 12 at most.
        seed: integer that decides the samples.
    """
    labels = None
    if model.num_classes is not None:
        columns = min(model.num_classes, 12)
        labels = np.arange(columns)
    y = None if labels is None else np.tile(labels, rows)
    images = np.asarray(model.generate(rows * columns, y=y, seed=seed))
    return _table(
        model,
        images.reshape(rows, columns, *images.shape[1:]),
        "Samples",
        "Images drawn from the model's prior."
        + ("" if labels is None else " One label a column."),
        column_labels=None if labels is None else [str(label) for label in labels],
    )


def samples_by_component(
    model: keras.Model, columns: int = 12, y: ArrayLike | None = None, seed: int = 0
) -> Figure:
    """Draw what each component decodes from the same draws of the prior (Fig 17).

    Args:
        model: MVAE or mixture of VAEs, of images, K > 1.
        columns: int, number of draws.
        y: integer labels `[columns]`, for a conditional model; None counts through
            them.
        seed: integer that decides the draws.
    """
    count, size = model.num_components, model.latent_dim
    noise = np.random.default_rng(seed).standard_normal((columns, 1, size))
    mean, stddev = (np.asarray(value) for value in model.prior_moments())
    z = np.broadcast_to(mean + stddev * noise, (columns, count, size))
    if y is None and model.num_classes is not None:
        y = np.arange(columns) % model.num_classes
    rows = {f"component {i}": _decode_alone(model, z, i, y) for i in range(count)}
    return _table(
        model,
        rows,
        "Samples by component",
        "Each column is one draw from the prior, decoded by every component alone.",
        column_labels=None if y is None else [str(label) for label in np.asarray(y)],
    )


def samples_by_category(
    model: keras.Model, columns: int = 12, rows: int = 10, seed: int = 0
) -> Figure:
    """Draw images from the prior of each category, the most frequent first.

    Args:
        model: model of images, K > 1, whose categories or components have a prior each.
        columns: int, number of draws from each category.
        rows: int, number of categories; those with the greatest q(c) are shown.
        seed: integer that decides the draws.
    """
    word = "category" if model.has_categories else "component"
    chosen = np.arange(model.num_components)
    if isinstance(model, CategoricalVAE):
        chosen = np.argsort(-model.aggregate.numpy(), kind="stable")
    return _table(
        model,
        {
            f"{word} {k}": model.generate(columns, component=int(k), seed=seed)
            for k in chosen[:rows]
        },
        f"Samples by {word}",
        f"Each row is drawn from the prior of one {word}.",
    )


def _decode_alone(model, z, component, y):
    """Decode `z [B, K, Z]` by one component alone to images `[B, H, W, C]`."""
    weights = np.zeros((len(z), model.num_components), np.float32)
    weights[:, component] = 1.0
    return np.asarray(model.decode(z, weights, y if model.conditional else None))


def _table(model, rows, title, subtitle, **options):
    """Draw a table of rows, an array or a dict from labels to rows of images."""
    if len(model.input_shape) != 3 or model.input_shape[-1] not in (1, 3):
        raise ValueError(
            f"Expected a model of grey or colour images, got input shape "
            f"{model.input_shape}."
        )
    labels = None
    if isinstance(rows, dict):
        labels, rows = list(rows), np.stack([np.asarray(v) for v in rows.values()])
    tiles = scaled(rows, *model.likelihood.shown_range)
    return image_table(tiles, labels, title, subtitle, **options)
