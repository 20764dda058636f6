"""Ways to draw a figure from trained models, which figures of several papers share.

What stands behind `Figure.draw`: functions of a list of `mvae_tf.reproduce.Trained`.
"""

import functools

from mvae_tf import figures

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


def each(draw):
    """Makes a function that draws one run draw each of several, by their names."""

    @functools.wraps(draw)
    def draw_all(trained):
        if len(trained) == 1:
            return draw(trained[0])
        return {one.run.name: draw(one) for one in trained}

    return draw_all


def seen(one, num):
    """Model, leading test images, and their labels where the model takes them."""
    x, y = one.test(num)
    return one.model, x, y if one.model.conditional else None


@each
def components(one):
    """20 test images, the mixture, and each component alone."""
    return figures.reconstructions(*seen(one, 20))


@each
def mismatch(one):
    """Sub-decoders fed by the encoders of other components."""
    return figures.mismatch(*seen(one, 100))


@each
def samples_by_component(one):
    """What each component decodes of the same draws from the prior."""
    return figures.samples_by_component(one.model)


@each
def latents(one):
    """Latents of test images by component, coloured by class."""
    return figures.latents(one.model, *one.test(2000))


@each
def dependence(one):
    """Pairwise dHSIC of the components' latents."""
    return figures.dependence(one.model.dependence_matrix(*one.test(1000)))


def latents_by_component(label):
    """Latents of the test images of one class, coloured by component."""

    @each
    def draw(one):
        return figures.latents_by_component(one.model, *one.test(), label)

    return draw


def interpolation(shift=0, pairs=6):
    """Frames between test images; `shift` as in `mvae_tf.figures.interpolation`."""

    @each
    def draw(one):
        model, x, y = seen(one, 2 * pairs)
        y = None if y is None else y[:pairs]
        return figures.interpolation(model, x[:pairs], x[pairs:], y, shift=shift)

    return draw


def traversal(dimension, high, label=5):
    """One latent dimension of each component from 0 to `high`, for one label."""

    @each
    def draw(one):
        places = [(i, dimension) for i in range(one.model.num_components)]
        return figures.traversal(one.model, places, 0.0, high, y=label)

    return draw


def reconstructions(trained):
    """12 test images of the first run, and what each model makes of them."""
    models = {one.run.label: one.model for one in trained}
    _, x, y = seen(trained[0], 12)
    return figures.reconstruction_rows(models, x, y)


def over_epochs(key, title, subtitle=""):
    """A number of the history over the epochs, a line for each data set."""

    def draw(trained):
        series = {one.run.dataset: one.history for one in trained}
        return figures.histories(series, key, title, subtitle)

    return draw
