"""What every network layer shares: heads, seeds, and copies of single components."""

import copy
import zlib

import keras
import tensorflow as tf

from mvae_tf.parts.part import Kinds, Part

__all__ = [
    "ComponentNetwork",
    "Network",
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
    """Seed of one initializer, from the model's seed and the place of the weight."""
    return (zlib.crc32("/".join(map(str, names)).encode()) ^ seed) & 0x7FFFFFFF


def gaussian_head(features, latent_dim, deviations=True):
    """Mean, standard deviation and scores from `[..., 2 Z]` or `[..., 2 Z + 1]`.

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
    """Dropout of `x [K, B, ...]` from the stateless `noise` of the step."""
    if not (training and rate):
        return x

    rows = tf.transpose(tf.cast(x, tf.float32), [1, 0, 2])
    kept = tf.cast(noise.uniform(name, rows) >= rate, tf.float32) / (1.0 - rate)
    return x * tf.cast(tf.transpose(kept, [1, 0, 2]), x.dtype)


class Network(Part):
    """A part that makes the layers of a model.

    Attributes:
        autoregressive: whether the mix-decoder predicts each pixel from those before
            it; it is then called as `layer(features, x=x, ...)`.
        image_shape: shape of the images it was fitted to by `for_images`, or None.
    """

    autoregressive = False
    image_shape = None

    def for_images(self, image_shape):
        """The same network for images of one shape, whose layers it can make.

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
        """Raises ValueError on images that the network is not for."""


class ComponentNetwork(keras.layers.Layer):
    """A layer that holds one set of weights a component."""

    def copy_components(self, source, kept):
        """Copies the weights of the components `kept` of `source` into this layer.

        Args:
            source: layer of the same class with more components.
            kept: list of component indices, one for each component of this layer.
        """
        raise NotImplementedError
