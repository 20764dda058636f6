"""Parts: the small named objects that a model is composed from.

A model takes a part as its name ("bernoulli"), as a dict of its name and its arguments
(`{"name": "gumbel", "temperature": 0.2}`), or as an object. The configuration of a
model holds the dict, so that it stays plain JSON.
"""

import difflib
import functools
import inspect
import json
import math
import numbers
from collections.abc import Callable, Collection
from typing import Any

__all__ = [
    "Kinds",
    "Part",
    "check_count",
    "choice",
    "is_integer",
    "like_default",
    "number_list",
]


class Part:
    """A named object whose constructor arguments are attributes of the same names.

    An argument is of the kind of its default (see `like_default`), and stays as the
    part was constructed with it.

    Attributes:
        name: str, the name that the class is registered under.
        unbounded: tuple of str, names of arguments that may be infinite.
    """

    name: str | None = None
    unbounded: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; refuse a wrong argument, and a change of one."""
        defaults = _defaults(type(self))  # type: ignore[arg-type]
        if name in defaults:
            if name not in self.unbounded:
                value = like_default(name, value, defaults[name])
            before = vars(self).get(name)
            if before is not None and before != value:
                raise AttributeError(
                    f"Expected {name} as {type(self).__name__} was constructed with "
                    "it, got another one: create a new part to change it."
                )
        super().__setattr__(name, value)

    def get_config(self) -> Any:
        """Return a plain dict from which `Kinds.get` makes an equal part.

        Raises:
            TypeError: the class does not keep an argument under its own name.
        """
        config: dict[str, Any] = {"name": self.name}
        for key in inspect.signature(type(self)).parameters:
            if not hasattr(self, key):
                raise TypeError(
                    f"Expected {type(self).__name__} to keep its argument {key!r} as "
                    f"self.{key}, got no such attribute."
                )
            value = getattr(self, key)
            config[key] = list(value) if isinstance(value, tuple) else value
        return config


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer, of Python or NumPy, and no bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


@functools.cache
def _defaults(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def choice(value: Any, options: Collection, what: str, listed: str | None = None):
    """Return a value after checking that it is one of some options.

    Args:
        value: any object.
        options: collection of the values that are allowed.
        what: str, what the value is, for the message of the error.
        listed: str, text for the message in place of the options, where these are too
            many for one line: where a user finds them.

    Raises:
        ValueError: the value is none of the options; the message names them, and the
            nearest one.
    """
    try:
        if value in options:
            return value
    except (TypeError, ValueError):
        pass  # A list or an array, which is no key.
    # "MVAE" and "mvae-gs" are near to "mvae" and "mvae_gs".
    spelled = {_plain(option): str(option) for option in options}
    near = difflib.get_close_matches(_plain(value), spelled, 1)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    names = listed or ", ".join(str(option) for option in options)
    raise ValueError(f"Unknown {what} {value!r}: expected one of {names}.{hint}")


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return an argument as an int after checking that it is a whole number.

    Args:
        name: str, name of the argument, for the message of the error.
        value: any object, the argument.
        least: int, the least value that is allowed.

    Raises:
        ValueError: the value is no integer, or less than `least`.
    """
    if not is_integer(value) or value < least:
        raise ValueError(f"Expected {name} as an integer >= {least}, got {value!r}.")
    return int(value)


def like_default(name: str, value: Any, default: Any) -> Any:
    """Return a value that may stand where a default stands.

    Where the default is true or false, an integer or a number, so must be the value;
    numbers of NumPy become plain ones, which files can hold. A part stands for
    anything.

    Args:
        name: str, name of the argument, for the message of the error.
        value: any object, the argument.
        default: any object, the default of the argument.

    Raises:
        ValueError: it is of another kind, or a number that is not finite.
    """
    if isinstance(value, Part):
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    for kind, kinds, what in (
        (bool, (bool,), "true or false"),
        (int, (numbers.Integral,), "an integer"),
        (float, (numbers.Real,), "a number"),
        ((list, tuple), (list, tuple), "a list"),
    ):
        if isinstance(default, kind):
            if not isinstance(value, kinds) or isinstance(value, bool) != (
                kind is bool
            ):
                raise ValueError(f"Expected {name} as {what}, got {value!r}.")
            if kind is float and not math.isfinite(float(value)):  # type: ignore[arg-type]
                raise ValueError(f"Expected {name} as a finite number, got {value!r}.")
            break
    return value


def number_list(name: str, values: Any, num: int) -> list[float] | None:
    """Return `num` finite numbers as a list; None stays None.

    Args:
        name: str, name of the argument, for the message of the error.
        values: list of numbers, the argument.
        num: int, number of values that are expected.

    Raises:
        ValueError: there are more or fewer, or others.
    """
    if values is None:
        return None
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        found = []
    if len(found) != num or not all(map(math.isfinite, found)):
        raise ValueError(f"Expected {name} as {num} numbers, got {values!r}.")
    return found


def _plain(name: Any) -> str:
    return str(name).lower().replace("-", "_")


class Kinds:
    """The classes of one kind of part, each under its registered name.

    Args:
        what: str, the kind in one word, for messages, such as "likelihood".
        absent: class of the part that None stands for, if a model can do without.
    """

    def __init__(self, what: str, absent: type[Part] | None = None):
        self.what = what
        self.absent = absent
        self.classes: dict[str, type[Part]] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Return a decorator that registers a class of parts.

        Args:
            name: str, the name of the class in configurations.

        Raises:
            ValueError: another class has the name.
        """

        def decorate(cls: Any) -> Any:
            known = self.classes.get(name, cls)
            same = ("__module__", "__qualname__")
            if any(getattr(known, key) != getattr(cls, key) for key in same):
                raise ValueError(
                    f"Expected a name that no {self.what} has, got {name!r} of "
                    f"{known.__name__}."
                )
            cls.name = name
            self.classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """List the registered names."""
        return list(self.classes)

    def get(self, specification: str | dict | Part | None) -> Any:
        """Make a part from its name or its configuration, or check an object.

        Args:
            specification: str, the name of the part, dict with the key "name" and its
                arguments, or the part itself; None where a model can do without.

        Raises:
            ValueError: on an unknown name or argument, and on an object that its own
                configuration would not make again.
        """
        if specification is None and self.absent:
            return self.absent()
        if isinstance(specification, Part):
            return self._checked(specification)
        if isinstance(specification, str):
            specification = {"name": specification}
        if not isinstance(specification, dict) or "name" not in specification:
            raise ValueError(
                f"Expected a {self.what} as a name, a dict with the key 'name' or an "
                f"object, got {specification!r}."
            )
        arguments = dict(specification)
        kind = self.classes[choice(arguments.pop("name"), self.classes, self.what)]
        known = inspect.signature(kind).parameters
        what = f"{self.what} {kind.name!r}"
        for key in arguments:
            choice(key, known, f"argument of {what},")
        for key, parameter in known.items():
            if parameter.default is parameter.empty and key not in arguments:
                raise ValueError(f"Expected {key} for {what}, got none.")
        try:
            return kind(**arguments)
        except (TypeError, IndexError) as error:
            # A text or a list in the place of a number, for example.
            raise ValueError(
                f"Expected {what} with arguments of the right types, got {arguments}: "
                f"{error}."
            ) from error

    def _checked(self, part):
        """Return the part after checking that its configuration makes an equal one."""
        kind = type(part)
        if kind is self.absent:
            return part
        if self.classes.get(part.name) is not kind:
            raise ValueError(
                f"Expected a registered {self.what}, got an object of "
                f"{kind.__name__}: decorate its class with register(name), so that "
                "files of the model can be loaded."
            )
        config = part.get_config()
        try:
            same = self.get(json.loads(json.dumps(config))).get_config() == config
        except TypeError:
            same = False
        if not same:
            raise ValueError(
                f"Expected a {self.what} that can be made again from its "
                f"configuration, got {kind.__name__} with {config!r}."
            )
        return part
