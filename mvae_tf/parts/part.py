"""Parts: the small named objects that a model is composed from.

A part is named by a string ("bernoulli"), by a dict that adds its arguments
(`{"name": "gaussian", "clip": [1e-8, 1.0]}`), or given as an object. Models keep the
dict form in their configuration, which stays plain JSON.
"""

import difflib
import inspect

__all__ = ["Part", "choice", "resolve"]


class Part:
    """A named object whose constructor arguments are attributes of the same names."""

    name = None

    def get_config(self):
        """Plain dict that `resolve` turns back into an equal part."""
        arguments = inspect.signature(type(self)).parameters
        values = {key: getattr(self, key) for key in arguments}
        return {"name": self.name} | {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }


def choice(value, options, what, listed=None):
    """The value itself, when it is one of the options.

    Args:
        value: what was given.
        options: what is known.
        what: what it is, for the error.
        listed: where the options are listed, where they are too many for a line.

    Raises:
        ValueError: naming the options, and the nearest one.
    """
    if value in options:
        return value
    near = difflib.get_close_matches(str(value), [str(o) for o in options], 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    names = listed or ", ".join(str(option) for option in options)
    raise ValueError(f"Unknown {what} {value!r}: expected one of {names}.{hint}")


def resolve(specification, kinds, what):
    """Part from its name, from a dict with its arguments, or from itself.

    Args:
        specification: string, dict with the key "name", or a part.
        kinds: dict from name to class.
        what: word for messages, such as "likelihood".

    Raises:
        ValueError: on an unknown name or argument.
    """
    if isinstance(specification, tuple(set(kinds.values()))):
        return specification
    if isinstance(specification, str):
        specification = {"name": specification}
    if not isinstance(specification, dict) or "name" not in specification:
        raise ValueError(
            f"Expected a {what} as a name, a dict with the key 'name' or an object, "
            f"got {specification!r}."
        )
    arguments = dict(specification)
    kind = kinds[choice(arguments.pop("name"), kinds, what)]
    known = inspect.signature(kind).parameters
    for key in arguments:
        choice(key, known, f"argument of {what} {kind.name!r},")
    return kind(**arguments)
