"""Registry of data sources; each has a name, a line about it, and a function.

Nothing here imports TensorFlow, so that the command line can list the names at once.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mvae_tf.parts.part import choice

__all__ = ["Parts", "Request", "Source", "find", "source", "sources"]


@dataclasses.dataclass(frozen=True)
class Request:
    """A request of `mvae_tf.data.load` to a source.

    Attributes:
        path: path of the file or folder, for sources that take one; else empty.
        image_size: `(height, width)` of the images, or None for their own size.
        crop_size: int, side in pixels of the centred square that is cut out before the
            resize, or None.
        bounded: bool, whether float values must lie in [0, 1]; False with
            `value_range=None`.
        validation_size: int, number of training examples to hold out where there is no
            validation part, or None for the default.
        limit: int, largest number of examples of a part that will be used, or None.
        data_dir: path of the folder of TensorFlow Datasets, or None for its default.
        download: bool, whether TensorFlow Datasets may download.
    """

    path: str = ""
    image_size: tuple[int, int] | None = None
    crop_size: int | None = None
    bounded: bool = True
    validation_size: int | None = None
    limit: int | None = None
    data_dir: str | os.PathLike | None = None
    download: bool = False

    @property
    def fitting(self) -> dict[str, Any]:
        """Arguments of `mvae_tf.data.images.fit`."""
        return {"image_size": self.image_size, "crop_size": self.crop_size}


class Parts(NamedTuple):
    """Examples of the parts of a data set, ready for a pipeline.

    Attributes:
        train: `IndexedExamples` or `StreamedExamples` of `mvae_tf.data.examples`.
        validation: `Examples`, the examples of the validation part, or None if it is
            empty.
        test: `Examples`, the examples of the test part.
        num_classes: int, number of classes, or None where there are no labels.
        notes: tuple of str, sentences for the user about files that were left out.
    """

    train: Any
    validation: Any
    test: Any
    num_classes: int | None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """A registered source.

    Attributes:
        name: str, name by which `load` finds it.
        about: str, one line that describes it.
        read: function from a `Request` to a dict of NumPy arrays or to `Parts`; see
            `source`.
        takes: "<file>" or "<dir>" for a source given as `name:path`, else "".
        suffix: str, suffix of the files that are read by this source when a path is
            given without a name, such as ".npz", or "".
    """

    name: str
    about: str
    read: Callable[[Request], dict[str, Any] | Parts]
    takes: str = ""
    suffix: str = ""

    @property
    def usage(self) -> str:
        """Text by which a user names the source, such as "digits" or "npz:<file>"."""
        return f"{self.name}:{self.takes}" if self.takes else self.name

    def label(self, path: str) -> str:
        """Return the name of the data set: that of the file or folder, if any."""
        if self.takes == "<dir>":
            return Path(path).expanduser().resolve().name
        return Path(path).stem if self.suffix else self.name


_SOURCES: dict[str, Source] = {}


def source(name: str, about: str, takes: str = "", suffix: str = "") -> Callable:
    """Register a function that reads a data set as a source of `mvae_tf.data.load`.

    The function takes a `Request` and returns a dict of NumPy arrays: all images in
    `x` with labels in `y`, which are split 80/10/10 % by a fixed permutation, or the
    parts in `x_train`, `x_val` and `x_test` with labels in `y_train`, `y_val` and
    `y_test`. Labels may be missing, and so may the validation part, which is then held
    out from the end of the training part. An int `num_classes` states the number of
    classes where labels do not show it. Images are uint8, bool, or float in [0, 1],
    `(n, H, W)` or `(n, H, W, C)`; vectors are `(n, P)`. Everything is checked, resized
    and limited after the function returns.

    Args:
        name: str, name for `load` and the command line.
        about: str, one line for `list datasets`.
        takes: "<file>" or "<dir>" if the source is given as `name:path`.
        suffix: str, suffix of files that this source reads when no name is given.

    Returns:
        A decorator, which returns the function unchanged and raises ValueError if
        another function has the name.

    Example:
        >>> @mvae_tf.data.source("noise", "1,000 4x4 images of uniform noise")
        ... def read_noise(request):
        ...     return {"x": np.random.RandomState(0).uniform(size=(1000, 4, 4))}
        >>> mvae_tf.data.load("noise").input_shape
        (4, 4, 1)
    """

    def register(read: Callable) -> Callable:
        known = _SOURCES[name].read if name in _SOURCES else read
        if _origin(known) != _origin(read):
            raise ValueError(f"Expected a name that no data source has, got {name!r}.")
        _SOURCES[name] = Source(name, about, read, takes, suffix)
        return read

    return register


def _origin(read: Callable) -> str:
    """Return a name of the place where a function is defined.

    A function that is defined again, such as by a notebook's cell, has the same name.
    """
    return f"{read.__module__}.{getattr(read, '__qualname__', read)}"


def sources() -> dict[str, str]:
    """Return the names of the sources of `load`, with one line about each.

    Returns:
        Dict from the usage of a source to its description. In a usage such as
        "npz:<file>", the part in angle brackets is to be replaced.
    """
    return {entry.usage: entry.about for entry in _SOURCES.values()}


def find(text: str | os.PathLike) -> tuple[Source, str]:
    """Find the source that a user names.

    Args:
        text: A registered name, `name:path`, or the path of a file or folder that one
            of the sources reads, such as "mnist.npz".

    Returns:
        The `Source`, and the path for it, empty where it takes none.

    Raises:
        TypeError: `text` is neither a string nor a path.
        ValueError: no source has this name; the error says which is nearest.
    """
    if not isinstance(text, str | os.PathLike):
        raise TypeError(f"Expected the name of a data source, got {text!r}.")
    text = os.fspath(text)
    name, colon, path = text.partition(":")
    if name not in _SOURCES:
        for entry in _SOURCES.values():
            if entry.suffix and text.lower().endswith(entry.suffix):
                return entry, text
            if entry.takes == "<dir>" and Path(text).expanduser().is_dir():
                return entry, text
    if name not in _SOURCES and Path(text).expanduser().exists():
        raise ValueError(
            f"Expected an .npz file or a folder of images, got {text}: "
            'np.savez("data.npz", x=x) makes such a file of an array x.'
        )
    entry = _SOURCES[choice(name, _SOURCES, "data source")]
    if bool(path) != bool(entry.takes) or bool(colon) != bool(path):
        raise ValueError(f"Expected the data source as {entry.usage}, got {text!r}.")
    return entry, path
