"""Ways to draw a figure from trained models, which figures of several papers share.

Each is a function for `mvae_tf.reproduce.Figure.draw`, or makes one.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mvae_tf import figures
from mvae_tf.reproduce.base import Trained

if TYPE_CHECKING:
    # Matplotlib takes a while to import.
    from matplotlib.figure import Figure

# One figure, or a dict of figures by the suffix of their files.
Draw = Callable[[list[Trained]], Any]

__all__ = [
    "components",
    "dependence",
    "each",
    "interpolation",
    "latents",
    "latents_by_component",
    "mismatch",
    "over_epochs",
    "reconstructions",
    "samples_by_component",
    "seen",
    "traversal",
]


def each(draw: "Callable[[Trained], Figure]") -> Draw:
    """Makes a function that draws one run into one that draws each of several.

    The latter returns one figure for one run, and a dict by the runs' names for more.
    """

    @functools.wraps(draw)
    def draw_all(trained):
        if len(trained) == 1:
            return draw(trained[0])
        return {one.run.name: draw(one) for one in trained}

    return draw_all


def seen(one: Trained, num: int) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Model, leading test images, and their labels if the model takes labels."""
    x, y = one.test(num)
    return one.model, x, y if one.model.conditional else None


@each
def components(one: Trained) -> "Figure":
    """Reconstructions of 20 test images by the mixture and by each component."""
    return figures.reconstructions(*seen(one, 20))


@each
def mismatch(one: Trained) -> "Figure":
    """What sub-decoders make of the latents of other components' encoders."""
    return figures.mismatch(*seen(one, 100))


@each
def samples_by_component(one: Trained) -> "Figure":
    """What each component decodes of the same draws from the prior."""
    return figures.samples_by_component(one.model)


@each
def latents(one: Trained) -> "Figure":
    """Latents of test images by component, coloured by class."""
    return figures.latents(one.model, *one.test(2000))


@each
def dependence(one: Trained) -> "Figure":
    """Pairwise dHSIC of the components' latents."""
    return figures.dependence(one.model.dependence_matrix(*one.test(1000)))


def latents_by_component(label: int) -> Draw:
    """Latents of the test images of one class, coloured by component."""

    @each
    def draw(one):
        return figures.latents_by_component(one.model, *one.test(), label)

    return draw


def interpolation(shift: int = 0, pairs: int = 6) -> Draw:
    """Frames between test images; `shift` as in `mvae_tf.figures.interpolation`."""

    @each
    def draw(one):
        model, x, y = seen(one, 2 * pairs)
        y = None if y is None else y[:pairs]
        return figures.interpolation(model, x[:pairs], x[pairs:], y, shift=shift)

    return draw


def traversal(dimension: int, high: float, label: int = 5) -> Draw:
    """One latent dimension of each component from 0 to `high`, for one label."""

    @each
    def draw(one):
        places = [(i, dimension) for i in range(one.model.num_components)]
        return figures.traversal(one.model, places, 0.0, high, y=label)

    return draw


def reconstructions(trained: list[Trained]) -> "Figure":
    """Reconstructions by each model of 12 test images of the first run's data."""
    models = {one.run.label: one.model for one in trained}
    _, x, y = seen(trained[0], 12)
    return figures.reconstruction_rows(models, x, y)


def over_epochs(key: str, title: str, subtitle: str = "") -> Draw:
    """Draws a number of the history over the epochs, one line for each data set."""

    def draw(trained):
        series = {one.run.dataset: one.history for one in trained}
        return figures.histories(series, key, title, subtitle)

    return draw
