"""What every network layer shares: heads, seeds, and copies of single components."""

import zlib

import keras
import tensorflow as tf

__all__ = ["ComponentNetwork", "gaussian_head", "layer_seed", "stateless_dropout"]

_LEAST = 1e-6


def layer_seed(seed, *names):
    """Seed of one initializer, from the model's seed and the place of the weight."""
    return (zlib.crc32("/".join(map(str, names)).encode()) ^ seed) & 0x7FFFFFFF


def gaussian_head(features, latent_dim):
    """Mean, standard deviation and scores from `[..., 2 Z]` or `[..., 2 Z + 1]`.

    Returns:
        mean `[..., Z]`, stddev `[..., Z]` > 0 and scores `[...]` > 0, all float32;
        scores are None when the features hold none.
    """
    features = tf.cast(features, tf.float32)
    num_scores = features.shape[-1] - 2 * latent_dim
    # A split has one gradient kernel, slices have one each and a sum.
    mean, stddev, scores = tf.split(features, [latent_dim, latent_dim, num_scores], -1)
    stddev = _LEAST + tf.nn.softplus(stddev)
    if not num_scores:
        return mean, stddev, None
    return mean, stddev, _LEAST + tf.nn.softplus(tf.squeeze(scores, -1))


def stateless_dropout(x, rate, name, noise, training):
    """Dropout of `x [K, B, ...]` from the stateless `noise` of the step."""
    if not (training and rate):
        return x

    def keep(seed, rows):
        uniform = tf.random.stateless_uniform(tf.shape(rows), seed)
        return tf.cast(uniform >= rate, tf.float32) / (1.0 - rate)

    rows = tf.transpose(tf.cast(x, tf.float32), [1, 0, 2])
    return x * tf.cast(tf.transpose(noise(name, keep, rows), [1, 0, 2]), x.dtype)


class ComponentNetwork(keras.layers.Layer):
    """A layer that holds one set of weights a component."""

    def copy_components(self, source, kept):
        """Copies the weights of the components `kept` of `source` into this layer.

        Args:
            source: layer of the same class with more components.
            kept: list of component indices, one for each component of this layer.
        """
        raise NotImplementedError
