"""Networks made of a user's own Keras models."""

import contextlib
import functools
import math
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from mvae_tf.parts.networks.network import (
    ComponentNetwork,
    Network,
    NetworkSpec,
    append_labels,
    copy_each,
    flat,
    gaussian_head,
    layer_seed,
    register,
)

__all__ = ["FromKeras"]

# The models that are part of a network, each of which belongs to one layer.
_USED: weakref.WeakSet = weakref.WeakSet()

ModelFunction = Callable[[NetworkSpec], keras.Model]


@register("from_keras")
class FromKeras(Network):
    """Networks from functions that return a functional or Sequential `keras.Model`.

    Each function takes a `NetworkSpec` (`image_shape`, `latent_dim`, `num_classes`,
    `output_shape`, ...) and returns the model of one component. It is registered with
    `keras.saving.register_keras_serializable`, so that a file of the model can name it;
    a process that loads the file has to import the module that registers it. Labels,
    where there are any, are appended to the features of the encoder and to the latents.

    Initializers without a seed follow the seed of the model. Layers that keep the state
    of a random generator, such as `Dropout`, are refused: all noise of a model is a
    function of its seed and of the step.

    Args:
        encoder: function whose model maps images `[B, *image_shape]` to features of any
            shape. Linear layers make mean, standard deviation and mixing weight from
            the flattened features.
        mix_decoder: function whose model maps the features of the sub-decoder to
            parameters of the likelihood, `[B, *output_shape]`.
        sub_decoder: function whose model maps latents and labels `[B, code_size]` to
            features; None hands latents and labels to the mix-decoder as they are.
        shared: bool, whether one encoder and one sub-decoder serve all components,
            which then differ only by their linear layers; otherwise each has a copy of
            its own.

    Raises:
        ValueError: a function is not registered.

    Example:
        >>> import keras, mvae_tf
        >>> from mvae_tf.networks import FromKeras
        >>> @keras.saving.register_keras_serializable("docs")
        ... def encoder(spec):
        ...     return keras.Sequential(
        ...         [keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
        ...     )
        >>> @keras.saving.register_keras_serializable("docs")
        ... def decoder(spec):
        ...     return keras.Sequential(
        ...         [
        ...             keras.layers.Dense(16, "relu"),
        ...             keras.layers.Dense(math.prod(spec.output_shape)),
        ...             keras.layers.Reshape(spec.output_shape),
        ...         ]
        ...     )
        >>> network = FromKeras(encoder, mix_decoder=decoder)
        >>> mvae = mvae_tf.create("mvae", (8, 8, 1), network=network)
    """

    def __init__(
        self,
        encoder: ModelFunction | str,
        mix_decoder: ModelFunction | str,
        sub_decoder: ModelFunction | str | None = None,
        shared: bool = False,
    ):
        given = {"encoder": encoder, "mix_decoder": mix_decoder}
        if sub_decoder is not None:
            given["sub_decoder"] = sub_decoder
        self.functions = {k: _registered(k, value) for k, value in given.items()}
        self.shared = shared

    def get_config(self) -> dict[str, Any]:
        """Return the registered names of the functions, and `shared`."""
        names = {
            key: keras.saving.get_registered_name(function)
            for key, function in self.functions.items()
        }
        return {"name": self.name, **names, "shared": self.shared}

    def encoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        return _Encoder(spec, self._models("encoder", spec, spec.image_shape))

    def sub_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        if "sub_decoder" not in self.functions:
            return _Decoder(spec, [])
        return _Decoder(spec, self._models("sub_decoder", spec, (spec.code_size,)))

    def mix_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        features = (spec.code_size,)
        if "sub_decoder" in self.functions:
            # Its model is made once more, for the shape of its output.
            (model,) = self._models("sub_decoder", spec, features, copies=1)
            features = model.output_shape[1:]
        models = self._models("mix_decoder", spec, features)
        made = models[0].output_shape[1:]
        if made != spec.output_shape:
            raise ValueError(
                f"Expected a mix_decoder whose output for an image has the shape "
                f"{list(spec.output_shape)}, got {list(made)}."
            )
        return _MixDecoder(spec, models)

    def _models(self, key, spec, input_shape, copies=None):
        """Make and build the models of the components, or the one that serves all.

        Args:
            key: str, which of the functions makes them.
            spec: `NetworkSpec`, sizes of the layer.
            input_shape: tuple of ints, shape of one row of the input.
            copies: int, number of models; None is one for each component, or one if
                `shared`.
        """
        copies = copies or (1 if self.shared else spec.sets)
        models = []
        for component in range(copies):
            seed = layer_seed(spec.seed, key, component)
            with _construction(seed, spec.dtype):
                model = self.functions[key](spec)
                _check(key, model, input_shape)
            models.append(model)
            if model.output_shape != models[0].output_shape:
                raise ValueError(
                    f"Expected {key} to return models with outputs of one shape, got "
                    f"{models[0].output_shape} and {model.output_shape}."
                )
        return models


def _registered(key, function):
    """Return a function, or the one of a registered name, if files can name it."""
    if isinstance(function, str):
        found = keras.saving.get_registered_object(function)
        if found is None:
            raise ValueError(
                f"Expected a registered function as {key}, got {function!r}: import "
                "the module that registers it."
            )
        return found
    if isinstance(function, keras.Model) or not callable(function):
        raise ValueError(
            f"Expected a function that returns a keras.Model as {key}, got an object "
            f"of {type(function).__name__}."
        )
    name = keras.saving.get_registered_name(function)
    if keras.saving.get_registered_object(name) is not function:
        raise ValueError(
            f"Expected a function that is registered as {key}, got {function!r}: "
            "decorate it with keras.saving.register_keras_serializable."
        )
    return function


@contextlib.contextmanager
def _construction(seed, dtype) -> Iterator[None]:
    """Give a seed and a dtype policy to layers that are made without them.

    Keras takes the seeds of initializers without a seed from Python's `random`.
    """
    state, policy = random.getstate(), keras.config.dtype_policy()
    random.seed(seed)
    keras.config.set_dtype_policy(dtype or policy)
    try:
        yield
    finally:
        random.setstate(state)
        keras.config.set_dtype_policy(policy)


def _check(key, model, input_shape):
    """Build a model after checking that it can be part of a VAE."""
    if not isinstance(model, keras.Sequential | keras.Model):
        raise ValueError(f"Expected {key} to return a keras.Model, got {model!r}.")
    if not model.built:
        model.build((None, *input_shape))
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or tuple(inputs[0].shape[1:]) != tuple(input_shape):
        raise ValueError(
            f"Expected {key} to return a functional or Sequential model of one input "
            f"{list(input_shape)}, got inputs {[list(i.shape[1:]) for i in inputs]}."
        )
    output = model(tf.zeros([2, *input_shape]))
    if not tf.is_tensor(output) or output.shape[:1] != 2:
        raise ValueError(
            f"Expected {key} to return a model with one output, which has a row for "
            f"each row of the input, got {model.output_shape}."
        )
    if model in _USED:
        raise ValueError(
            f"Expected {key} to return a new model each time, got the same one again: "
            "use shared=True for one model that serves all components."
        )
    _USED.add(model)
    if any(variable.dtype != "float32" for variable in model.trainable_variables):
        raise ValueError(
            f"Expected {key} to return a model with float32 weights, got others."
        )
    if model.losses:
        raise ValueError(
            f"Expected {key} without regularizers and add_loss, got some: the terms of "
            "a model are its whole objective."
        )
    if len(model.variables) != len(model.weights):
        raise ValueError(
            f"Expected {key} without layers that keep the state of a random generator, "
            "such as Dropout, got one: all noise of a model is a function of its seed."
        )


class _OfModels(ComponentNetwork):
    """A layer that calls one Keras model per component, or one for all of them."""

    def __init__(self, spec, models):
        super().__init__(**spec.layer)
        self.spec = spec
        self.models = models
        self.built = True

    def run(self, inputs, training):
        """Apply the model of each component to its inputs, `[K, B, ...]`."""
        if len(self.models) == 1:
            joined = tf.concat(tf.unstack(inputs, self.spec.sets), 0)
            outputs = _on_rows(self.models[0], joined, training)
            return tf.stack(tf.split(outputs, self.spec.sets))
        rows = tf.unstack(inputs, self.spec.sets)
        pairs = zip(self.models, rows, strict=True)
        return tf.stack([_on_rows(model, x, training) for model, x in pairs])

    def copy_components(self, source, kept):
        if len(source.models) == 1:
            kept = [0]
        copy_each(self.models, source.models, kept[: len(self.models)])


class _Encoder(_OfModels):
    """Models from images to features, and one linear head for each component."""

    def __init__(self, spec, models):
        super().__init__(spec, models)
        units = math.prod(models[0].output_shape[1:]) + spec.num_classes
        self.heads = []
        for i in range(spec.sets):
            head = keras.layers.Dense(
                spec.head_units,
                kernel_initializer=keras.initializers.GlorotUniform(
                    layer_seed(spec.seed, "head", i)
                ),
                dtype=spec.dtype,
            )
            head.build((None, units))
            self.heads.append(head)

    def call(self, x, labels=None, noise=None, training=False):
        """Compute mean and stddev `[B, K, Z]` and scores `[B, K]` of images `x`."""
        features = [
            append_labels(flat(_on_rows(model, x, training)), labels)
            for model in self.models
        ]
        if len(features) == 1:
            features *= len(self.heads)
        pairs = zip(self.heads, features, strict=True)
        outputs = tf.stack([head(f) for head, f in pairs], axis=1)
        return gaussian_head(outputs, self.spec.latent_dim, self.spec.deviations)

    def copy_components(self, source, kept):
        super().copy_components(source, kept)
        copy_each(self.heads, source.heads, kept)


class _Decoder(_OfModels):
    """Sub-decoders; without models the features are the latents and labels."""

    def call(self, z, labels=None, noise=None, training=False):
        """Compute features `[K, B, ...]` from latents `z` `[B, K, Z]`."""
        codes = append_labels(tf.transpose(z, [1, 0, 2]), labels)
        return self.run(codes, training) if self.models else codes


class _MixDecoder(_OfModels):
    """The mix-decoder, one for all components or one for each."""

    def call(self, features, noise=None, training=False):
        """Compute `[B, H, W, C]` if shared, otherwise `[K, B, H, W, C]`."""
        if self.spec.shared:
            return _on_rows(self.models[0], features, training)
        return self.run(features, training)


def _on_rows(model, x, training):
    """Apply a model to any number of rows, also to none, which some layers refuse."""
    run = functools.partial(model, training=training)
    if training and tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return run(x)
    rows = tf.shape(x)[0]
    paddings = [[0, tf.maximum(1 - rows, 0)]] + [[0, 0]] * (x.shape.rank - 1)
    return run(tf.pad(x, paddings))[:rows]
