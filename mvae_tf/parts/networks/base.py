"""What every network layer shares: heads, seeds, and copies of single components."""

import copy
import zlib
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mvae_tf.parts.part import Kinds, Part

__all__ = [
    "ComponentNetwork",
    "Network",
    "NetworkSpec",
    "gaussian_head",
    "get",
    "layer_seed",
    "names",
    "register",
    "stateless_dropout",
]

_LEAST = 1e-6

_KINDS = Kinds("network")
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names


def layer_seed(seed, *names):
    """Make the seed of one initializer, from the model's and from its place."""
    return (zlib.crc32("/".join(map(str, names)).encode()) ^ seed) & 0x7FFFFFFF


def gaussian_head(features, latent_dim, deviations=True):
    """Split `[..., 2 Z]` or `[..., 2 Z + 1]` into mean, stddev and scores.

    Without `deviations` the features hold Z fewer, and stddev is None.

    Returns:
        mean `[..., Z]`, stddev `[..., Z]` > 0 and scores `[...]` > 0, all float32;
        scores are None when the features hold none.
    """
    features = tf.cast(features, tf.float32)
    sizes = [latent_dim, latent_dim * deviations]
    num_scores = features.shape[-1] - sum(sizes)
    # A split has one gradient kernel, slices have one each and a sum.
    mean, stddev, scores = tf.split(features, [*sizes, num_scores], -1)
    stddev = _LEAST + tf.nn.softplus(stddev) if deviations else None
    if not num_scores:
        return mean, stddev, None
    return mean, stddev, _LEAST + tf.nn.softplus(tf.squeeze(scores, -1))


def stateless_dropout(x, rate, name, noise, training):
    """Apply dropout to `x [K, B, ...]` by the stateless `noise` of the step."""
    if not (training and rate):
        return x

    rows = tf.transpose(tf.cast(x, tf.float32), [1, 0, 2])
    kept = tf.cast(noise.uniform(name, rows) >= rate, tf.float32) / (1.0 - rate)
    return x * tf.cast(tf.transpose(kept, [1, 0, 2]), x.dtype)


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is asked to make a layer for.

    Attributes:
        image_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        output_shape: shape of what the mix-decoder makes of one image: `image_shape`
            with as many channels as the likelihood needs.
        latent_dim: Z, size of one component's latent.
        num_components: K, sets of weights in the layer; None for a mix-decoder that all
            components share.
        num_classes: length of the one-hot labels that the layer takes, 0 for none.
        scores: whether an encoder makes a positive score per component, too.
        deviations: whether an encoder makes standard deviations.
        seed: int that decides the initial weights.
        name: of the layer; it is part of what seeds the weights.
        dtype: Keras dtype policy of the layer.
    """

    image_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    latent_dim: int
    num_components: int | None
    num_classes: int = 0
    scores: bool = False
    deviations: bool = True
    seed: int = 0
    name: str | None = None
    dtype: Any = None

    @property
    def head_units(self) -> int:
        """Outputs per component of an encoder's last layer."""
        return self.latent_dim * (1 + self.deviations) + int(self.scores)

    @property
    def code_size(self) -> int:
        """Size of the latent and the labels that a component decodes."""
        return self.latent_dim + self.num_classes

    @property
    def sets(self) -> int:
        """Sets of weights in the layer, 1 for a shared one."""
        return self.num_components or 1

    @property
    def shared(self) -> bool:
        """Whether the components share the layer."""
        return self.num_components is None

    @property
    def layer(self) -> dict[str, Any]:
        """Arguments of `keras.layers.Layer`."""
        return {"name": self.name, "dtype": self.dtype}


class Network(Part):
    """A part that makes the layers of a model.

    Layers are called as `layer(inputs, labels=None, noise=None, training=False)`;
    labels are one-hot rows, which the mix-decoder does without. Dropout draws from the
    `noise` of the step, never from a state.

    Attributes:
        autoregressive: whether the mix-decoder predicts each pixel from those before
            it; it is then called as `layer(features, x=x, ...)`.
        initializer: how its layers start, a name in `gated.INITIALIZERS`.
        image_shape: shape of the images it was fitted to by `for_images`, or None.
    """

    autoregressive = False
    initializer = "he"
    image_shape: Any = None

    def for_images(self, image_shape):
        """Return the same network, fitted to images of one shape.

        Args:
            image_shape: `(H, W, C)` of images, or `(P,)` of vectors.

        Raises:
            ValueError: the network has no such form.
        """
        self.check_images(image_shape)
        fitted = copy.copy(self)
        fitted.image_shape = tuple(image_shape)
        return fitted

    def check_images(self, image_shape):
        """Raise ValueError on images that the network is not for."""

    def encoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the encoders of K components.

        Returns:
            Layer from x `[B, ...]` to mean `[B, K, Z]`, stddev `[B, K, Z]` > 0 (None
            without `spec.deviations`) and scores `[B, K]` > 0 (None without
            `spec.scores`), float32.
        """
        raise NotImplementedError

    def sub_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the sub-decoders of K components.

        Returns:
            Layer from z `[B, K, Z]` to features `[K, B, ...]`.
        """
        raise NotImplementedError

    def mix_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the mix-decoder, from the features to parameters of the likelihood.

        Returns:
            Layer from features `[B, ...]` to `[B, *output_shape]` where `spec.shared`,
            else from `[K, B, ...]` to `[K, B, *output_shape]`.
        """
        raise NotImplementedError

    def trunk(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make an encoder without heads, for models that put their own on it.

        Returns:
            Layer from x `[B, ...]` to features `[B, hidden]`.

        Raises:
            ValueError: the network has no trunk.
        """
        raise ValueError(
            f"Expected a network with a trunk, such as 'gated_mlp', got {self.name!r}."
        )


class ComponentNetwork(keras.layers.Layer):
    """A layer that holds one set of weights per component."""

    def copy_components(self, source, kept):
        """Copy the weights of the components `kept` of `source` into this layer.

        Args:
            source: layer of the same class with more components.
            kept: list of component indices, one for each component of this layer.
        """
        raise NotImplementedError
