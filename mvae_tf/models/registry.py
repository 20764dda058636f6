"""Names of the models: with `@register("vae")`, `create("vae")` finds a class."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from mvae_tf.parts.part import choice

__all__ = ["arguments", "create", "get", "names", "register"]

_CLASSES: dict[str, type] = {}
_OF_KERAS = ("name", "dtype", "trainable")


def register(name: str) -> Callable[[type], type]:
    """Return a decorator that registers a model class here and with Keras.

    Args:
        name: str, name of the model for `create` and the command line.

    Raises:
        ValueError: another class has the name.
    """

    def decorate(cls: Any) -> Any:
        known = _CLASSES.get(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"Expected a name that no model has, got {name!r} of {known.__name__}."
            )
        cls = keras.saving.register_keras_serializable(package="mvae_tf")(cls)
        cls.registry_name = name
        cls.__signature__ = _signature(cls)
        _CLASSES[name] = cls
        return cls

    return decorate


def names() -> list[str]:
    """List the names that `create` accepts, in order of registration."""
    return list(_CLASSES)


def get(name: str) -> type:
    """Return the class of a registered name.

    Raises:
        ValueError: on an unknown name.
    """
    return _CLASSES[choice(name, _CLASSES, "model")]


@functools.cache
def arguments(cls: type) -> dict[str, Any]:
    """Return the arguments that a model can be configured by, and their defaults.

    They are all named parameters, also keyword-only ones, of the constructors of the
    class and of its parents, except those that a class lists in its attribute `fixed`,
    because it passes them to its parent itself.
    """
    found, fixed = {}, set()
    for parent in cls.__mro__:
        if not hasattr(parent, "registry_name"):
            break
        fixed |= set(vars(parent).get("fixed", ()))
        if "__init__" not in vars(parent):
            continue
        _, *parameters = inspect.signature(parent.__init__).parameters.values()
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = [p for p in parameters if p.kind not in kinds and p.name not in fixed]
        found = {p.name: p.default for p in named} | found
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


def _signature(cls):
    """Make a signature with the arguments of all parents, for `help` and editors."""
    first, later = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    known = arguments(cls) | {"name": None, "dtype": None}
    known = {"input_shape": known.pop("input_shape")} | known
    return inspect.Signature(
        [
            inspect.Parameter(
                key, first if key == "input_shape" else later, default=default
            )
            for key, default in known.items()
        ]
    )


def create(
    model: str | None = None, /, input_shape=(28, 28, 1), **settings: Any
) -> keras.Model:
    """Create a model by name.

    Args:
        model: str, one of `names()`; it may also be passed as `name=`.
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        **settings: keyword arguments of the model's class; none is required. If `model`
            is there, `name` is the name of the `keras.Model`.

    Returns:
        A `keras.Model`, built and ready to compile.

    Raises:
        ValueError: on an unknown name or argument.
    """
    if model is None:
        model = settings.pop("name", None)
    cls = get(model)
    for key in settings:
        choice(key, [*arguments(cls), *_OF_KERAS], f"argument of model {model!r},")
    return cls(input_shape=input_shape, **settings)
