"""Figures of trained models, as the papers show them.

Each function takes a model and arrays and returns a `matplotlib.figure.Figure`, drawn
without `pyplot`; `save` writes it, and `draw_run` draws all that apply to a model.

Example:
    >>> figures.save(figures.reconstructions(model, x_test[:12]), "figure.png")
"""

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
from mvae_tf.figures.run import CAPTIONS, draw_run
from mvae_tf.figures.style import save
from mvae_tf.figures.tiles import save_grid

__all__ = [
    "CAPTIONS",
    "curves",
    "dependence",
    "draw_run",
    "interpolation",
    "latents",
    "latents_by_component",
    "mismatch",
    "mismatch_errors",
    "reconstructions",
    "samples",
    "samples_by_category",
    "samples_by_component",
    "save",
    "save_grid",
    "traversal",
]
