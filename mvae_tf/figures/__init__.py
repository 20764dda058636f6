"""Figures of trained models, as the papers show them.

Each function takes models, arrays or numbers and returns a `matplotlib.figure.Figure`,
drawn without `pyplot`. `save` writes a figure to a file, and `draw_run` draws all
figures that apply to a model. A function that compares models takes a dict from the
label of a model to its images or numbers.

Example:
    >>> figures.save(figures.reconstructions(model, x_test[:12]), "figure.png")
"""

from mvae_tf.figures.comparisons import comparison, histories
from mvae_tf.figures.distributions import (
    category_posteriors,
    densities,
    likelihood_histogram,
)
from mvae_tf.figures.galleries import grids, reconstruction_rows
from mvae_tf.figures.images import (
    interpolation,
    mismatch,
    mismatch_errors,
    reconstructions,
    samples,
    samples_by_category,
    samples_by_component,
    traversal,
)
from mvae_tf.figures.plots import curves, dependence, latents, latents_by_component
from mvae_tf.figures.run import CAPTIONS, DESCRIPTIONS, draw_run
from mvae_tf.figures.style import save
from mvae_tf.figures.tiles import save_grid

__all__ = [
    "CAPTIONS",
    "DESCRIPTIONS",
    "category_posteriors",
    "comparison",
    "curves",
    "densities",
    "dependence",
    "draw_run",
    "grids",
    "histories",
    "interpolation",
    "latents",
    "latents_by_component",
    "likelihood_histogram",
    "mismatch",
    "mismatch_errors",
    "reconstruction_rows",
    "reconstructions",
    "samples",
    "samples_by_category",
    "samples_by_component",
    "save",
    "save_grid",
    "traversal",
]
