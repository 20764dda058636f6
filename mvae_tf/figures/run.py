"""All figures of a run, and their descriptions."""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mvae_tf import storage
from mvae_tf.data import Splits, leading
from mvae_tf.figures import images, plots
from mvae_tf.figures.style import save
from mvae_tf.parts.terms import kl_names

__all__ = ["CAPTIONS", "DESCRIPTIONS", "draw_run"]

# How to read each figure. Figure numbers are those of TNNLS 2022.
CAPTIONS = {
    "reconstructions": "Compare Fig 2. Components whose rows are alike have learned "
    "the same; a component with a small mixing weight may be blurred.",
    "samples": "What the model makes of its prior, without any image to start from.",
    "samples_by_component": "Compare Fig 17. The images of a column are equal where "
    "components have learned the same code.",
    "samples_by_category": "The most frequent categories. Rows that look alike share "
    "their images; blank rows are not used.",
    "interpolation": "Compare Fig 6. Frames should change gradually and look like "
    "images of the data set.",
    "interpolation_mismatched": "Compare Fig 7. Frames look wrong where encoders and "
    "sub-decoders of different components do not share a code.",
    "mismatch": "Compare Fig 3. Errors off the diagonal are greater than on it where "
    "each encoder and its sub-decoder have a code of their own.",
    "traversal": "Compare Fig 8-10. A conditional model moves its first dimension, any "
    "other model the dimension that varies most over test images.",
    "latents": "Compare Fig 11. Points of one colour lie together where a component "
    "tells classes apart.",
    "latents_by_component": "Compare Fig 13. Separate clusters mean that encoders use "
    "different regions of the latent space.",
    "dependence": "Compare Fig 12. The smaller the value, the more independent two "
    "components are.",
    "curves": "Compare Fig 14-16. Validation far above training means overfitting.",
}

# What is seen in each figure, for readers who cannot see it.
DESCRIPTIONS = {
    "reconstructions": "A table of images. The top row has test images, the rows below "
    "their reconstructions, by the whole model and, in a mixture, by each component.",
    "samples": "A table of images that the model drew from its prior.",
    "samples_by_component": "A table of generated images with a row for each component "
    "and a column for each draw of the latents.",
    "samples_by_category": "A table of generated images with a row for each category.",
    "interpolation": "Rows of images that change from a test image at the left, step "
    "by step, to another one at the right.",
    "interpolation_mismatched": "The rows of the interpolation again, decoded with the "
    "latent of each encoder handed to the sub-decoder of another component.",
    "mismatch": "At the left, a table of test images over images that each sub-decoder "
    "makes of another encoder's latents; at the right, a square of numbers, the error "
    "of each pair of encoder and decoder.",
    "traversal": "Rows of images of which each moves one latent dimension in equal "
    "steps from left to right.",
    "latents": "A scatter plot for each component of the posterior means of test "
    "images, coloured by class where there are labels.",
    "latents_by_component": "One scatter plot of the posterior means of all "
    "components, coloured by component.",
    "dependence": "A square of numbers, the dependence of each pair of components.",
    "curves": "Line plots over the epochs: the objective, reconstruction and KL terms "
    "in nats per image and, where there is a mask, dropout rate and number of selected "
    "components.",
}

# Number of images in a table of reconstructions, and of pairs that are interpolated.
_SHOWN = 12
_PAIRS = 6
# Number of pixels of all images together whose errors the figure "mismatch" shows.
_MEASURED_PIXELS = 80_000
# Number of images whose latents are shown: as many as `evaluate` measures them on.
_SCATTERED = 1000


def draw_run(
    model: keras.Model,
    splits: Splits,
    history: Sequence[Mapping[str, Any]],
    folder: str | Path,
) -> dict[str, Path]:
    """Draw every figure that applies to a model.

    Figures of images need grey or colour images, figures of components need K > 1, and
    figures of latents need Z > 1. They show the first images of the test part, and all
    noise has a fixed seed. A figure that cannot be drawn, such as one of a diverged
    model, is left out with a warning, and its old file is removed.

    Args:
        model: trained model of this library.
        splits: `Splits`, data with a `test` part (`mvae_tf.data.load`).
        history: sequence of dicts, one for each epoch, see `curves`.
        folder: path of the folder for the PNG files; it is made if it is missing.

    Returns:
        Dict from the name of a figure, a key of `CAPTIONS`, to its path.

    Raises:
        ValueError: the test part has no image.
        mvae_tf.storage.StorageError: a file cannot be written.
    """
    x, y = leading(splits.test, _SCATTERED)
    folder = Path(folder)
    drawn = {}
    for name, draw in itertools.chain(
        _of_images(model, x, y), _of_numbers(model, x, y), _of_training(model, history)
    ):
        path = folder / f"{name}.png"
        try:
            drawn[name] = save(draw(), path)
        except storage.StorageError:
            raise
        except Exception as error:
            # An error in a figure must not end the run.
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"Figure {name} was not drawn: {reason}", stacklevel=2)
            if path.exists():
                storage.remove(path)
    return drawn


def _of_images(model, x, y):
    """Yield names of figures and functions that draw them."""
    if len(model.input_shape) != 3 or model.input_shape[-1] not in (1, 3):
        return
    few = _leading(x, y, _SHOWN)
    yield "reconstructions", partial(images.reconstructions, model, *few)
    yield "samples", partial(images.samples, model)
    if model.has_components:
        yield "samples_by_component", partial(images.samples_by_component, model)
    elif model.num_components > 1:
        yield "samples_by_category", partial(images.samples_by_category, model)
    first, last = _pairs(x, y if model.num_classes else None)
    if len(first):
        pairs = x[first], x[last], None if y is None else y[first]
        draw = partial(images.interpolation, model, *pairs)
        yield "interpolation", draw
        if model.has_components:
            yield "interpolation_mismatched", partial(draw, shift=1)
    if model.has_components:
        # The errors need K x K decoded images per image, so that large images, which
        # take long, are fewer.
        num = max(_SHOWN, min(100, _MEASURED_PIXELS // math.prod(model.input_shape)))
        yield "mismatch", partial(images.mismatch, model, *_leading(x, y, num))
    yield "traversal", partial(_traversal, model, x)


def _of_numbers(model, x, y):
    """Yield, as `_of_images` does, the figures of latents and of dependence."""
    if model.latent_dim > 1 and len(x) > 2:
        yield "latents", partial(plots.latents, model, x, y)
        if model.has_components:
            label = None if y is None else np.unique(y)[:2][-1]
            draw = partial(plots.latents_by_component, model, x, y, label)
            yield "latents_by_component", draw
    if model.has_components and len(x) > 1:
        yield "dependence", lambda: plots.dependence(model.dependence_matrix(x, y))


def _of_training(model, history):
    """Yield, as `_of_images` does, the figure of the history."""
    if history:
        yield "curves", partial(plots.curves, history, kl_names(model.terms))


def _traversal(model, x):
    """Draw the latent traversal that `CAPTIONS` describes.

    In a conditional model, the label is 5 and the first dimension moves from 0 to 3. In
    any other model, the dimension that varies most moves from -3 to 3, and the others
    are those of the first image.
    """
    count = model.num_components
    if model.conditional:
        label = min(5, model.num_classes - 1)
        places = [(i, 0) for i in range(count)]
        return images.traversal(model, places, 0.0, 3.0, y=label)
    mean = np.asarray(model.encode(x)["mean"])
    activity = mean.var(axis=0)
    if count == 1:
        order = np.argsort(-activity[0], kind="stable")
        places = [(0, int(dimension)) for dimension in sorted(order[:6])]
    else:
        places = [(i, int(np.argmax(activity[i]))) for i in range(count)]
    return images.traversal(model, places, -3.0, 3.0, start=mean[0])


def _pairs(x, y):
    """Return the indices of a few pairs of images; with labels, of one class each."""
    if y is None:
        num = min(_PAIRS, len(x) // 2)
        return np.arange(num), np.arange(num, 2 * num)
    found = [np.flatnonzero(y == label)[:2] for label in np.unique(y)]
    found = [pair for pair in found if len(pair) == 2][:_PAIRS]
    return np.array(found, int).reshape(-1, 2).T


def _leading(x, y, num):
    return x[:num], None if y is None else y[:num]
