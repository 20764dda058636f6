"""Functions that draw figures from trained models, for figures of several papers.

Each is a function for `mvae_tf.reproduce.Figure.draw`, or returns one.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mvae_tf import figures
from mvae_tf.reproduce.experiment import Trained

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
    """Turn a function that draws one run into a function that draws several runs.

    The latter returns one figure for one run, and for more runs a dict of figures by
    the names of the runs.
    """

    @functools.wraps(draw)
    def draw_all(trained):
        if len(trained) == 1:
            return draw(trained[0])
        return {one.run.name: draw(one) for one in trained}

    return draw_all


def seen(one: Trained, num: int) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return model, first test images, and their labels for a conditional model."""
    x, y = one.test(num)
    return one.model, x, y if one.model.conditional else None


@each
def components(one: Trained) -> "Figure":
    """Draw reconstructions of 20 test images by the mixture and by each component."""
    return figures.reconstructions(*seen(one, 20))


@each
def mismatch(one: Trained) -> "Figure":
    """Draw what sub-decoders make of the latents of other components' encoders."""
    return figures.mismatch(*seen(one, 100))


@each
def samples_by_component(one: Trained) -> "Figure":
    """Draw the images that each component decodes from the same draws of the prior."""
    return figures.samples_by_component(one.model)


@each
def latents(one: Trained) -> "Figure":
    """Draw the latents of test images for each component, coloured by class."""
    return figures.latents(one.model, *one.test(2000))


@each
def dependence(one: Trained) -> "Figure":
    """Draw the pairwise dHSIC of the latents of components."""
    return figures.dependence(one.model.dependence_matrix(*one.test(1000)))


def latents_by_component(label: int) -> Draw:
    """Make a function that draws the latents of one class, coloured by component."""

    @each
    def draw(one):
        return figures.latents_by_component(one.model, *one.test(), label)

    return draw


def interpolation(shift: int = 0, pairs: int = 6) -> Draw:
    """Make a function that draws frames between test images.

    Args:
        shift: see `mvae_tf.figures.interpolation`.
        pairs: int, number of pairs of images.
    """

    @each
    def draw(one):
        model, x, y = seen(one, 2 * pairs)
        y = None if y is None else y[:pairs]
        return figures.interpolation(model, x[:pairs], x[pairs:], y, shift=shift)

    return draw


def traversal(dimension: int, high: float, label: int = 5) -> Draw:
    """Make a function that draws images along one latent dimension.

    The dimension of each component runs from 0 to `high`, for images of one label.
    """

    @each
    def draw(one):
        places = [(i, dimension) for i in range(one.model.num_components)]
        return figures.traversal(one.model, places, 0.0, high, y=label)

    return draw


def reconstructions(
    trained: list[Trained], name: Callable[[Trained], str] = lambda one: one.run.label
) -> "Figure":
    """Draw reconstructions of 12 test images by each model.

    Args:
        trained: list of `Trained`; the images are those of the first.
        name: function from a run to the name of its row.
    """
    models = {name(one): one.model for one in trained}
    _, x, y = seen(trained[0], 12)
    return figures.reconstruction_rows(models, x, y)


def over_epochs(key: str, title: str, subtitle: str = "") -> Draw:
    """Make a function that draws a number of the history over the epochs.

    It has one line for each data set.

    Args:
        key: str, name of the number.
        title: str, title of the figure.
        subtitle: str, line below the title.
    """

    def draw(trained):
        series = {one.run.dataset: one.history for one in trained}
        return figures.histories(series, key, title, subtitle)

    return draw
