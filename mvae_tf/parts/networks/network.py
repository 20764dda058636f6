"""The interface of a network, and what its layers share: heads, seeds and dropout."""

import copy
import math
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
    "append_labels",
    "copy_each",
    "flat",
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


def layer_seed(seed: int, *names: Any) -> int:
    """Compute the seed of one initializer.

    Args:
        seed: int, seed of the model.
        *names: str, what tells the initializer from all others, such as the name of the
            layer and the index of the component.
    """
    return (zlib.crc32("/".join(map(str, names)).encode()) ^ seed) & 0x7FFFFFFF


def flat(x):
    """Return the rows `[B, ...]` of a tensor as vectors `[B, P]`."""
    return tf.reshape(x, [-1, math.prod(x.shape[1:])])


def append_labels(x, labels):
    """Append one-hot labels to the last axis of a tensor.

    Args:
        x: `[B, D]`, or `[K, B, D]` with the same labels for all K components.
        labels: `[B, L]`, or None for a model without labels.

    Returns:
        `[..., D + L]`, or `x` itself without labels.
    """
    if labels is None:
        return x
    labels = tf.cast(labels, x.dtype)
    shape = tf.concat([tf.shape(x)[:-1], tf.shape(labels)[-1:]], 0)
    return tf.concat([x, tf.broadcast_to(labels, shape)], axis=-1)


def gaussian_head(features, latent_dim, deviations=True):
    """Split the outputs of an encoder's last layer into mean, stddev and scores.

    Args:
        features: `[..., H]` with H = Z for the mean, + Z for the standard deviation if
            `deviations`, + 1 for the score if the encoder makes one.
        latent_dim: int, Z, size of the latent.
        deviations: bool, whether there are standard deviations.

    Returns:
        Mean `[..., Z]`, stddev `[..., Z]` > 0 (None without `deviations`) and scores
        `[...]` > 0 (None if `features` has none), all float32.
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
    """Apply dropout whose draws come from the stateless noise of the step.

    Args:
        x: `[K, B, D]` features.
        rate: float, probability that a feature becomes 0; the others are scaled up.
        name: str, name of the draw.
        noise: `mvae_tf.noise.Noise` of the step.
        training: bool; without it `x` is returned as it is.
    """
    if not (training and rate):
        return x

    rows = tf.transpose(tf.cast(x, tf.float32), [1, 0, 2])
    kept = tf.cast(noise.uniform(name, rows) >= rate, tf.float32) / (1.0 - rate)
    return x * tf.cast(tf.transpose(kept, [1, 0, 2]), x.dtype)


@dataclass(frozen=True)
class NetworkSpec:
    """The sizes of a model that a network needs to make one layer of it.

    Attributes:
        image_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        output_shape: tuple of ints, shape of the mix-decoder's output for one image:
            `image_shape` with as many channels as the likelihood needs.
        latent_dim: int, Z, size of the latent of one component.
        num_components: int, K, number of sets of weights in the layer; None for a
            mix-decoder that all components share.
        num_classes: int, length of the one-hot labels that the layer takes, 0 for none.
        scores: bool, whether an encoder also makes a positive score for each component,
            from which mixing weights are computed.
        deviations: bool, whether an encoder makes standard deviations.
        seed: int, the seed of the model, from which the initial weights are drawn.
        name: str, name of the layer, which the initial weights depend on, too.
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
        """Number of outputs of an encoder's last layer for one component."""
        return self.latent_dim * (1 + self.deviations) + int(self.scores)

    @property
    def code_size(self) -> int:
        """Size of the latent and the one-hot labels that a sub-decoder takes."""
        return self.latent_dim + self.num_classes

    @property
    def sets(self) -> int:
        """Number of sets of weights in the layer, 1 for a shared layer."""
        return self.num_components or 1

    @property
    def shared(self) -> bool:
        """Whether the components share the layer."""
        return self.num_components is None

    @property
    def layer(self) -> dict[str, Any]:
        """Arguments of the constructor of `keras.layers.Layer`."""
        return {"name": self.name, "dtype": self.dtype}


class Network(Part):
    """A part that makes the layers of a model.

    Layers are called as `layer(inputs, labels=None, noise=None, training=False)`;
    labels are one-hot rows, and the mix-decoder takes none. Dropout draws from the
    `noise` of the step, never from a random state.

    Attributes:
        autoregressive: bool, whether the mix-decoder predicts each pixel from those
            before it; it is then called as `layer(features, x=x, ...)`.
        dense: bool, whether all layers are fully connected, so that steps are short and
            features of an image take little memory.
        initializer: str, how the layers that a model adds to a `trunk` start, a name in
            `gated.INITIALIZERS`.
        image_shape: tuple of ints, shape of the images that `for_images` fitted the
            network to, or None.
    """

    autoregressive = False
    dense = False
    initializer = "he"
    image_shape: Any = None

    def for_images(self, image_shape):
        """Return a copy of the network that is fitted to images of one shape.

        Args:
            image_shape: `(H, W, C)` of images, or `(P,)` of vectors.

        Raises:
            ValueError: the network cannot take images of this shape.
        """
        self.check_images(image_shape)
        fitted = copy.copy(self)
        fitted.image_shape = tuple(image_shape)
        return fitted

    def check_images(self, image_shape):
        """Check that the network can take images of a shape.

        Args:
            image_shape: `(H, W, C)` of images, or `(P,)` of vectors.

        Raises:
            ValueError: it cannot.
        """

    def encoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the encoders of K components.

        Args:
            spec: `NetworkSpec`, sizes of the layer.

        Returns:
            Layer from x `[B, ...]` to mean `[B, K, Z]`, stddev `[B, K, Z]` > 0 (None
            without `spec.deviations`) and scores `[B, K]` > 0 (None without
            `spec.scores`), float32.
        """
        raise NotImplementedError

    def sub_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the sub-decoders of K components.

        Args:
            spec: `NetworkSpec`, sizes of the layer.

        Returns:
            Layer from z `[B, K, Z]` to features `[K, B, ...]`.
        """
        raise NotImplementedError

    def mix_decoder(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make the mix-decoder, from features to the parameters of the likelihood.

        Args:
            spec: `NetworkSpec`, sizes of the layer.

        Returns:
            Layer from features `[B, ...]` to `[B, *output_shape]` where `spec.shared`,
            else from `[K, B, ...]` to `[K, B, *output_shape]`.
        """
        raise NotImplementedError

    def trunk(self, spec: NetworkSpec) -> keras.layers.Layer:
        """Make an encoder without heads, for models that add heads of their own.

        Args:
            spec: `NetworkSpec`, sizes of the layer.

        Returns:
            Layer from x `[B, ...]` to features `[B, hidden]`.

        Raises:
            ValueError: the network has no trunk.
        """
        raise ValueError(
            f"Expected a network with a trunk, such as 'gated_mlp', got {self.name!r}."
        )


class ComponentNetwork(keras.layers.Layer):
    """A layer with one set of weights for each component."""

    def copy_components(self, source, kept):
        """Copy the weights of some components of another layer into this layer.

        Args:
            source: layer of the same class with more components.
            kept: list of K indices; component i of this layer becomes a copy of
                component `kept[i]` of `source`.
        """
        raise NotImplementedError


def copy_each(layers, sources, kept):
    """Copy the weights of the layer `kept[i]` of `sources` into layer i of `layers`."""
    for layer, index in zip(layers, kept, strict=True):
        layer.set_weights(sources[index].get_weights())
