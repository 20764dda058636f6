"""All figures of a run."""

import itertools
import math
from pathlib import Path

import numpy as np

from mvae_tf.data import leading
from mvae_tf.figures import images, plots
from mvae_tf.figures.style import save

__all__ = ["CAPTIONS", "draw_run"]

# How to read each figure; what it shows stands in its heading.
CAPTIONS = {
    "reconstructions": "As Fig 2. Components whose rows are alike have learned the "
    "same; a component with a small mixing weight may be blurred.",
    "samples": "What the model makes of its prior, without any image to start from.",
    "samples_by_component": "As Fig 17. A column has equal images where components "
    "have learned the same code.",
    "samples_by_category": "The most frequent categories. Rows that look alike share "
    "their images; blank ones are not used.",
    "interpolation": "As Fig 6. Frames should change gradually and look like images of "
    "the data set.",
    "interpolation_mismatched": "As Fig 7. Frames look wrong where encoders and "
    "sub-decoders of different components do not share a code.",
    "mismatch": "As Fig 3. Errors off the diagonal are greater than on it where each "
    "pair has a code of its own.",
    "traversal": "As Fig 8-10. The dimension is the first of a conditional model, and "
    "else the one that varies most over test images.",
    "latents": "As Fig 11. Points of one colour lie together where a component tells "
    "classes apart.",
    "latents_by_component": "As Fig 13. Clusters of their own mean that encoders use "
    "different regions of the latent space.",
    "dependence": "As Fig 12. The smaller, the more independent two components are.",
    "curves": "As Fig 14-16.",
}

_SHOWN = 12
_MEASURED_PIXELS = 80_000
# As many as `evaluate` measures the components on.
_SCATTERED = 1000


def draw_run(model, splits, history, folder):
    """Draws every figure that applies to a model.

    Figures of images need images, figures of components K > 1, latents Z > 1. Images
    are the first of the test part, and all noise has a fixed seed.

    Args:
        model: a trained model of this library.
        splits: data with a `test` part (`mvae_tf.data.load`).
        history: sequence of dicts, one an epoch, see `curves`.
        folder: where the PNG files go; it is made if it is missing.

    Returns:
        dict from the name of a figure, a key of `CAPTIONS`, to its `Path`.

    Raises:
        ValueError: on a test part without an image.
    """
    x, y = leading(splits.test, _SCATTERED)
    drawn = itertools.chain(
        _of_images(model, x, y), _of_numbers(model, x, y), _of_training(history)
    )
    return {
        name: Path(save(figure, Path(folder) / f"{name}.png")) for name, figure in drawn
    }


def _of_images(model, x, y):
    """Names and figures, drawn one after the other as they are asked for."""
    if len(model.input_shape) != 3 or model.input_shape[-1] not in (1, 3):
        return
    mixture = model.num_components > 1 and hasattr(model, "cross_reconstruct")
    few = _leading(x, y, _SHOWN)
    yield "reconstructions", images.reconstructions(model, *few)
    yield "samples", images.samples(model)
    if mixture:
        yield "samples_by_component", images.samples_by_component(model)
    elif model.num_components > 1:
        yield "samples_by_category", images.samples_by_category(model)
    first, last = _pairs(x, y if model.num_classes else None)
    if len(first):
        pairs = x[first], x[last], None if y is None else y[first]
        yield "interpolation", images.interpolation(model, *pairs)
        if mixture:
            figure = images.interpolation(model, *pairs, shift=1)
            yield "interpolation_mismatched", figure
    if mixture:
        # K x K decoders of large images take long: fewer of them will do.
        num = max(_SHOWN, min(100, _MEASURED_PIXELS // math.prod(model.input_shape)))
        yield "mismatch", images.mismatch(model, *_leading(x, y, num))
    yield "traversal", _traversal(model, x)


def _of_numbers(model, x, y):
    mixture = model.num_components > 1 and hasattr(model, "dependence_matrix")
    if model.latent_dim > 1 and len(x) > 2:
        yield "latents", plots.latents(model, x, y)
        if mixture:
            label = None if y is None else np.unique(y)[:2][-1]
            figure = plots.latents_by_component(model, x, y, label)
            yield "latents_by_component", figure
    if mixture and len(x) > 1:
        yield "dependence", plots.dependence(model.dependence_matrix(x, y))


def _of_training(history):
    if history:
        yield "curves", plots.curves(history)


def _traversal(model, x):
    """Of label 5 from 0 to 3 where there are labels, else about the first image."""
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


def _pairs(x, y, num=6):
    """Indices of up to `num` pairs of different images, of one class each."""
    if y is None:
        num = min(num, len(x) // 2)
        return np.arange(num), np.arange(num, 2 * num)
    found = [np.flatnonzero(y == label)[:2] for label in np.unique(y)]
    found = [pair for pair in found if len(pair) == 2][:num]
    return np.array(found, int).reshape(-1, 2).T


def _leading(x, y, num):
    return x[:num], None if y is None else y[:num]
