"""The command `reproduce`."""

import argparse
from collections.abc import Sequence

from mvae_tf import presets
from mvae_tf import reproduce as papers
from mvae_tf.cli.opening import absolute, verbosity
from mvae_tf.parts.part import choice

__all__ = ["reproduce"]


def reproduce(options: argparse.Namespace) -> None:
    """Make tables and figures of the papers, or list their names."""
    if options.names == ["list"]:
        width = max(len(name) for name in papers.names())
        for name in papers.names():
            print(f"{name:{width}}  {papers.get(name)[1].title}")
        return
    # All names and sources are checked first, so that a mistake in the last of them
    # does not cost the work on the others.
    chosen = [papers.get(name) for name in options.names]
    sources = [
        _sources(options.data, e.name, e.datasets(options.scale)) for _, e in chosen
    ]
    failures = []
    for (paper, experiment), found in zip(chosen, sources, strict=True):
        try:
            written = papers.reproduce(
                paper,
                experiment,
                options.scale,
                found,
                options.output,
                verbosity(),
                options.seeds,
                options.runs,
            )
        except papers.Incomplete as error:
            failures.append(str(error))
        else:
            print(f"Written: {', '.join(str(path) for path in written)}")
    if failures:
        raise ValueError("; ".join(failures))


def _sources(
    given: Sequence[str], experiment: str, needed: Sequence[str]
) -> dict[str, str]:
    """Find the sources of the data sets that an experiment needs.

    Args:
        given: list of str, values of `--data`, "NAME=SOURCE" or "SOURCE".
        experiment: str, name of the table or figure, for the error.
        needed: list of str, names of the data sets.

    Returns:
        Dict from the name of a data set to its source, for those that are given.
    """
    sources = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals or ":" in name:
            if len(needed) > 1:
                raise ValueError(
                    f"Expected --data NAME=SOURCE for {experiment}, which needs "
                    f"{', '.join(needed)}, got {text!r}."
                )
            name, source = needed[0], text
        sources[name] = absolute(source)
    for name in sources:
        choice(name, presets.datasets(), "data set")
    return {name: sources[name] for name in needed if name in sources}
