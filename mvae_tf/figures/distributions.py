"""Figures of distributions, with a panel per model."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from mvae_tf.figures.style import COLOURS, INK, level_lines, name_panel, new_plot

__all__ = ["category_posteriors", "densities", "likelihood_histogram"]

_BINS = 60
# Largest number of panels in a line.
_ACROSS = 5


def densities(
    samples: Mapping[str, ArrayLike],
    density: Callable[[np.ndarray], np.ndarray],
    title: str,
    subtitle: str = "",
) -> Figure:
    """Draw histograms of numbers with the density that they should have.

    They are Figures 3 and 4 of Lavda, Gregorova and Kalousis (Entropy 2020). The axis
    goes from 0 to 1; the title of a panel names the share of numbers outside, if any.

    Args:
        samples: dict from a label to numbers `[N]`.
        density: function from points `[n]` to the true density there, `[n]`.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.

    Raises:
        ValueError: there are no samples, or numbers that are not finite.
    """
    checked = _checked(samples, "samples")
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    points = np.linspace(0.0, 1.0, 400)
    figure, panels = _panels(checked, title, subtitle, width=330, height=230)
    for axes, (label, numbers) in zip(panels, checked.items(), strict=True):
        # The bars are densities among all numbers, those outside the axis included.
        per_bin = 1.0 / (len(numbers) * (edges[1] - edges[0]))
        counts, _ = np.histogram(numbers, edges)
        axes.stairs(counts * per_bin, edges, fill=True, color=COLOURS[0], alpha=0.75)
        axes.plot(points, density(points), color=INK, linewidth=1.2)
        beyond = 1.0 - counts.sum() / len(numbers)
        note = f" ({beyond:.1%} beyond)" if beyond > 0.0005 else ""
        name_panel(axes, f"{label}{note}", None)
        axes.set_xlim(0.0, 1.0)
        axes.locator_params(nbins=4)
    return figure


def category_posteriors(
    probabilities: Mapping[str, ArrayLike], title: str, subtitle: str = ""
) -> Figure:
    """Draw the probabilities of the K categories as bars, with a line at 1/K.

    They are Figures 9 to 12 of Lavda, Gregorova and Kalousis (Entropy 2020).

    Args:
        probabilities: dict from a label to probabilities `[K]`, which sum to 1, such as
            the mean of `category_probabilities` over images.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.

    Returns:
        A figure whose panels name the number of categories above 1/K in their titles.

    Raises:
        ValueError: there are no probabilities, or some that do not sum to 1.
    """
    checked = _checked(probabilities, "probabilities")
    for label, values in checked.items():
        if abs(values.sum() - 1.0) > 1e-3 or values.min() < 0:
            raise ValueError(
                f"Expected probabilities that sum to 1, got {values.sum():.4g} for "
                f"{label!r}."
            )
    figure, panels = _panels(checked, title, subtitle, width=380, height=210)
    for axes, (label, values) in zip(panels, checked.items(), strict=True):
        num = len(values)
        axes.bar(np.arange(num), values, width=0.8, color=COLOURS[0])
        axes.axhline(1.0 / num, color=COLOURS[2], linewidth=1.0)
        above = int(np.sum(values > 1.0 / num))
        name_panel(axes, f"{label}: {above} of {num} above 1/K", None)
        axes.set_xlim(-0.6, num - 0.4)
        axes.locator_params(nbins=6, axis="x", integer=True)
        axes.locator_params(nbins=4, axis="y")
        level_lines(axes)
    return figure


def likelihood_histogram(
    values: Mapping[str, ArrayLike], title: str, subtitle: str = ""
) -> Figure:
    """Draw histograms of the log-likelihoods of images, with a panel per model.

    It is Figure 10 of Guo et al. (IEEE Access 2020). The panels share their axes, which
    leave out the lowest and the highest 0.1% of all images.

    Args:
        values: dict from a label to log-likelihoods `[N]`, in nats per image.
        title: str, line in bold.
        subtitle: str, sentence about what the figure shows.

    Returns:
        A figure with a line at the mean of each histogram.

    Raises:
        ValueError: there are no values, or values that are not finite.
    """
    checked = _checked(values, "values")
    low, high = np.quantile(np.concatenate(list(checked.values())), (0.001, 0.999))
    edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
    figure, panels = new_plot(
        760, 150 * len(checked) + 50, title, subtitle, len(checked)
    )
    for i, (axes, (label, nats)) in enumerate(
        zip(panels, checked.items(), strict=True)
    ):
        share = np.histogram(nats, edges)[0] / len(nats)
        axes.stairs(share, edges, fill=True, color=COLOURS[i % len(COLOURS)])
        axes.axvline(nats.mean(), color=INK, linewidth=1.2)
        last = i == len(checked) - 1
        name_panel(
            axes,
            f"{label}: mean {nats.mean():.2f}, {len(nats):,} images".replace("-", "−"),
            "log-likelihood, nats" if last else None,
        )
        axes.sharex(panels[0])
        axes.sharey(panels[0])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.tick_params(labelbottom=last)
        axes.locator_params(nbins=3, axis="y")
    panels[0].set_xlim(edges[0], edges[-1])
    return figure


def _checked(named: Mapping[str, ArrayLike], what: str) -> dict[str, np.ndarray]:
    """Return the values of a dict as float64 vectors, after checking them."""
    if not named:
        raise ValueError(f"Expected {what} of at least one model, got none.")
    arrays = {label: np.asarray(v, np.float64) for label, v in named.items()}
    for label, array in arrays.items():
        if array.ndim != 1 or not array.size or not np.isfinite(array).all():
            raise ValueError(
                f"Expected finite {what} [N] for {label!r}, got shape "
                f"{list(array.shape)} with {np.sum(~np.isfinite(array))} not finite."
            )
    return arrays


def _panels(named, title, subtitle, width, height):
    """Make a figure with axes for each name, in lines of about equal length."""
    num = len(named)
    lines = -(-num // _ACROSS)
    columns = -(-num // lines)
    figure, axes = new_plot(
        max(600, columns * width), lines * height, title, subtitle, lines, columns
    )
    for unused in axes[num:]:
        unused.set_axis_off()
    return figure, axes[:num]
