"""The base class of every model: shared arguments, networks and configuration.

A model declares its terms and writes the methods of `hooks.py`; training is in
`training_step.py`, and the methods of a trained model are in `inference.py` and
`evidence.py`. Models with one Gaussian latent inherit nearly all of it from
`single.py`.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from mvae_tf.config import without_retired
from mvae_tf.models.evidence import Evidence
from mvae_tf.models.inference import Inference
from mvae_tf.models.inputs import Inputs
from mvae_tf.models.registry import arguments
from mvae_tf.models.training_step import TrainingStep
from mvae_tf.noise import check_seed
from mvae_tf.parts import likelihoods, networks
from mvae_tf.parts.networks.network import NetworkSpec
from mvae_tf.parts.part import Part, check_count, like_default
from mvae_tf.parts.terms import Term

__all__ = ["BaseVAE"]

_MOST_COMPONENTS = 1_000
_DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")


class _Constructed(type(keras.Model)):  # type: ignore[misc]
    """Tells a model when its constructor, and that of its subclass, has ended."""

    def __call__(cls, *args, **kwargs):
        model = super().__call__(*args, **kwargs)
        model._constructed = True
        return model


class BaseVAE(TrainingStep, Inference, Evidence, metaclass=_Constructed):
    """A variational autoencoder with a custom training step.

    Every named argument of a model's constructor, and of the constructors of its
    parents, is kept as an attribute of the same name and saved with the model. The
    exceptions are listed in the class attribute `fixed`: a user cannot choose them,
    because the class itself passes them to its parent.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: int, Z, size of the latent of one component.
        num_components: int, K; 1 for a single VAE.
        num_classes: int, number of classes of the labels that condition the model, or
            None for a model without labels.
        network: name or configuration of the networks (`mvae_tf.networks`).
        likelihood: name or configuration of p(x | z) (`mvae_tf.likelihoods`).
        seed: int in 0..2^31 - 1, from which initial weights and all noise are drawn.
        terms: dict from the name of each term that `loss_terms` returns to its `Term`.
            Models declare their own; a subclass of one passes those that it adds.
        labels: str, the use of labels, see `Inputs`; None stands for "condition" if
            `num_classes` is set.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Raises:
        ValueError: on an argument out of its range.

    Attributes:
        registry_name: str, the name that the class is registered under.
        fixed: tuple of str, names of arguments that the class passes to its parent
            itself.
        input_checks: `Inputs`, which checks images and labels.
    """

    registry_name: str | None = None
    fixed: tuple[str, ...] = ("terms", "labels")

    def __init__(
        self,
        input_shape: tuple[int, ...] = (28, 28, 1),
        latent_dim: int = 50,
        num_components: int = 1,
        num_classes: int | None = None,
        network: str | dict | Part = "mlp",
        likelihood: str | dict | Part = "bernoulli",
        seed: int = 0,
        *,
        terms: Mapping[str, Term],
        labels: Literal["condition", "training"] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if self.dtype_policy.name not in _DTYPES:
            raise ValueError(
                f"Expected dtype {', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}, got "
                f"{self.dtype_policy.name}."
            )
        self.input_shape = _shape(input_shape)
        self.latent_dim = check_count("latent_dim", latent_dim)
        self.num_components = check_count("num_components", num_components)
        self.num_classes = num_classes
        if num_classes is not None:
            self.num_classes = check_count("num_classes", num_classes)
            labels = labels or "condition"
        self.network = networks.get(network).for_images(self.input_shape)
        if self.network.autoregressive and not self.reads_pixels:
            raise ValueError(
                f"Expected a network for {type(self).__name__} whose decoder does not "
                f"read pixels, got {self.network.name!r}."
            )
        self.likelihood = likelihoods.get(likelihood)
        self.seed = check_seed(seed)
        self.input_checks = Inputs(
            self.input_shape, self.likelihood, self.num_classes, labels
        )
        self.make_training_state(terms)
        self.built = True
        self._was_checked = False

    @property
    def conditional(self) -> bool:
        """Whether p(x) depends on labels, which are then needed for every answer."""
        return self.input_checks.labels_for == "condition"

    # === Networks ===

    def network_spec(self, name: str, num_components, **changes) -> NetworkSpec:
        """Return the sizes that a network needs to make one layer of the model.

        Args:
            name: str, name of the layer.
            num_components: int, number of sets of weights; None for a layer that all
                components share.
            **changes: values of fields of `NetworkSpec` that differ from the model's
                own sizes.

        Raises:
            ValueError: there are more than 1,000 components. Making their weights would
                take hours before memory ends.
        """
        if num_components is not None and num_components > _MOST_COMPONENTS:
            raise ValueError(
                f"Expected at most {_MOST_COMPONENTS:,} components, each of which has "
                f"networks of its own, got {num_components:,}."
            )
        *sides, channels = self.input_shape
        spec = NetworkSpec(
            image_shape=self.input_shape,
            output_shape=(*sides, channels * self.likelihood.channels_per_channel),
            latent_dim=self.latent_dim,
            num_components=num_components,
            num_classes=self.num_classes or 0,
            seed=self.seed,
            name=name,
            dtype=self.dtype_policy,
        )
        return dataclasses.replace(spec, **changes)

    def make_encoder(self, num_components: int, **changes) -> keras.layers.Layer:
        """Make the encoders of K components; `changes` are those of `network_spec`."""
        spec = self.network_spec("encoder", num_components, **changes)
        return self.network.encoder(spec)

    def make_sub_decoder(self, num_components: int, **changes) -> keras.layers.Layer:
        """Make the sub-decoders of K components; `changes` as in `network_spec`."""
        spec = self.network_spec("sub_decoder", num_components, **changes)
        return self.network.sub_decoder(spec)

    def make_mix_decoder(self, num_components=None) -> keras.layers.Layer:
        """Make the mix-decoder, one for all components or for each of K components."""
        return self.network.mix_decoder(
            self.network_spec("mix_decoder", num_components)
        )

    def decode_one(self, z, labels=None, noise=None, training=False, x=None):
        """Compute outputs of the likelihood in a model of one decoder.

        Args:
            z: `[B, 1, Z]`.
            labels: `[B, L]`, appended to z, or None.
            noise: noise of the step, for the dropout of layers.
            training: bool, whether the step trains.
            x: `[B, H, W, 1]` images, for an autoregressive network.

        Returns:
            `[B, ...]`.
        """
        features = self.sub_decoder(z, labels, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        pixels = {"x": x} if self.network.autoregressive else {}
        features = self.mix_decoder(features, noise=noise, training=training, **pixels)
        return self.likelihood.link(features)

    # === Keras ===

    def build(self, input_shape=None):
        """Do nothing, because the constructor makes every variable."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain JSON.

        Raises:
            TypeError: the class does not keep an argument as the attribute of its name.
        """
        config = super().get_config()
        for key in arguments(type(self)):  # type: ignore[arg-type]
            if not hasattr(self, key):
                raise TypeError(
                    f"Expected {type(self).__name__} to keep its argument {key!r} as "
                    f"self.{key}, or to list it in `fixed`, got no such attribute."
                )
            value = getattr(self, key)
            value = value.get_config() if isinstance(value, Part) else value
            config[key] = list(value) if isinstance(value, tuple) else value
        frozen = [layer.name for layer in self.layers if not layer.trainable]
        return config | ({"frozen": frozen} if frozen else {})

    def check_config(self) -> None:
        """Check that the configuration makes this model again, as a loaded file does.

        Tests show this for the models of the library. For another class a second model
        is made here, because only its constructor knows what it does with arguments.

        Raises:
            TypeError: the class does not keep an argument as the attribute of its name.
            ValueError: an argument is no plain JSON, or the second model differs.
        """
        config, name = self.get_config(), type(self).__name__
        # A model that has trained may count in attributes, and must be saved.
        if type(self).__module__.startswith("mvae_tf.") or self._was_checked:
            return
        for key, value in config.items():
            if _json(value) is None:
                raise ValueError(
                    f"Expected the argument {key} of {name} as plain JSON (numbers, "
                    f"text, lists and dicts), got {type(value).__name__}."
                )
        try:
            twin = self.from_config(json.loads(json.dumps(config)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Expected a configuration that makes {name} again, got the error "
                f"{str(error).splitlines()[0]!r}: arguments that a class passes to its "
                "parent itself belong in `fixed`."
            ) from error
        names = {*vars(twin), *arguments(type(self))}  # type: ignore[arg-type]
        for key in sorted(names - set(vars(keras.Model(name="model")))):
            found = _json(getattr(twin, key))
            if key.startswith("_") or found is None:
                continue
            value = getattr(self, key, None)
            if _json(value) != found:
                raise ValueError(
                    f"Expected a configuration that makes {name} again with {key} = "
                    f"{value!r}, got {found}: named arguments are saved, as the "
                    "attributes of the same names."
                )
        self._was_checked = True

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "BaseVAE":
        """Create a model from what `get_config` returned, also in an older version."""
        config = without_retired(cls.registry_name or "", config)
        frozen = config.pop("frozen", ())
        model = cls(**config)
        for layer in model.layers:
            if layer.name in frozen:
                layer.trainable = False
        return model

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute that is no argument of the constructor, layer or prior.

        Files keep the arguments of the constructor, so that another value would be lost
        or would be saved without having had an effect. The constructor of a subclass
        may replace the prior of its parent.

        Raises:
            AttributeError: a value differs from that of the constructor.
        """
        defaults = arguments(type(self))  # type: ignore[arg-type]
        if name in defaults:
            value = like_default(name, value, defaults[name])
        before = self.__dict__.get(name)
        stays = isinstance(before, keras.layers.Layer)
        stays |= name == "prior" and "_constructed" in self.__dict__
        if before is not None and before is not value:
            if stays or (name in defaults and before != value):
                raise AttributeError(
                    f"Expected {name} as {type(self).__name__} was constructed with "
                    "it, got another one: create a new model to change it."
                )
        super().__setattr__(name, value)

    def save(self, filepath, *args, **kwargs) -> None:
        """Save as `keras.Model.save` does, to a `.keras` file.

        Raises:
            ValueError: the path has another suffix, or the file could not be loaded.
        """
        if not str(filepath).endswith(".keras"):
            raise ValueError(f"Expected a path that ends in .keras, got {filepath}.")
        self.check_config()
        super().save(filepath, *args, **kwargs)

    def export(self, filepath, *args, **kwargs) -> None:
        """Refuse, because `mvae_tf.export(model, base)` writes SavedModels.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"Expected mvae_tf.export(model, {str(filepath)!r}), which writes and "
            "checks all signatures, got model.export."
        )


def _json(value):
    """Return a value as JSON text, or None if it is not plain."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return None


def _shape(shape):
    """Return the shape of images or vectors as a tuple of ints, after checking it."""
    try:
        sides = tuple(check_count("a side", side) for side in shape)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) not in (1, 3):
        raise ValueError(
            f"Expected input_shape (height, width, channels) or (size,), got {shape}."
        )
    return sides
