"""Names of the models: `@register("vae")` makes a class known to `create`."""

import inspect

import keras

from mvae_tf.parts.part import choice

__all__ = ["arguments", "create", "get", "names", "register"]

_CLASSES = {}


def register(name):
    """Decorator that registers a model class under `name`, with Keras as well."""

    def decorate(cls):
        cls = keras.saving.register_keras_serializable(package="mvae_tf")(cls)
        cls.registry_name = name
        _CLASSES[name] = cls
        return cls

    return decorate


def names():
    """Names that `create` accepts, in order of registration."""
    return list(_CLASSES)


def get(name):
    """Class of a registered name.

    Raises:
        ValueError: on an unknown name.
    """
    return _CLASSES[choice(name, _CLASSES, "model")]


def arguments(cls):
    """A model's arguments and their defaults, with those that go to its parent.

    Arguments by keyword alone are what a class fixes for its parent.
    """
    found = {}
    for parent in cls.__mro__:
        if not hasattr(parent, "registry_name"):
            break
        parameters = inspect.signature(parent).parameters.values()
        named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        found = {p.name: p.default for p in named} | found
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


def create(name, input_shape=(28, 28, 1), **settings):
    """A new model by name.

    Args:
        name: one of `names()`.
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        **settings: arguments of the model's class; none is required.

    Returns:
        A `keras.Model`, built and ready to compile.

    Raises:
        ValueError: on an unknown name or argument.
    """
    cls = get(name)
    for key in settings:
        choice(key, [*arguments(cls), "dtype"], f"argument of model {name!r},")
    return cls(input_shape=input_shape, **settings)
