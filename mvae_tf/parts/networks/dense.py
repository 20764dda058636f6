"""Encoders, sub-decoders and mix-decoders of fully connected networks."""

import math

import tensorflow as tf

from mvae_tf.parts.networks.base import ComponentNetwork

__all__ = ["DenseStack", "Encoder", "MixDecoder", "SubDecoder", "Trunk"]


class DenseStack(ComponentNetwork):
    """Layers in a row, `layers_in_order`, each with a component axis."""

    def run(self, x, noise=None, training=False):
        """`[B, I]` or `[K, B, I]` -> `[K, B, O]`."""
        del noise, training
        for layer in self.layers_in_order:
            x = layer(x)
        return x

    def copy_components(self, source, kept):
        for layer, original in zip(
            self.layers_in_order, source.layers_in_order, strict=True
        ):
            layer.copy_components(original, kept)


class Trunk:
    """Features `[B, hidden]` of images, before any head."""

    def call(self, x, noise=None, training=False):
        """Compute the features `[B, hidden]` of images `x`."""
        return tf.squeeze(self.run(_flat(x), noise, training), axis=0)


class Encoder:
    """K encoders on flattened images; labels are appended to the pixels."""

    def head(self, features):
        """Split the last layer's `[B, K, O]` into mean, stddev and scores."""
        raise NotImplementedError

    def call(self, x, labels=None, noise=None, training=False):
        """Compute mean, stddev `[B, K, Z]` and scores `[B, K]` of images `x`."""
        x = _flat(x)
        if labels is not None:
            x = tf.concat([x, tf.cast(labels, x.dtype)], axis=-1)
        return self.head(tf.transpose(self.run(x, noise, training), [1, 0, 2]))


class SubDecoder:
    """K sub-decoders; labels are appended to each component's latents."""

    def call(self, z, labels=None, noise=None, training=False):
        """Compute features `[K, B, ...]` from latents `z [B, K, Z]`."""
        z = tf.transpose(z, [1, 0, 2])
        if labels is not None:
            labels = tf.cast(labels, z.dtype)[tf.newaxis]
            labels = tf.repeat(labels, tf.shape(z)[0], axis=0)
            z = tf.concat([z, labels], axis=-1)
        return self.run(z, noise, training)


class MixDecoder:
    """Decoder from features to the image, shared (K = 1 inside) or one per component.

    Args:
        output_shape: shape of what it makes of one image.
        shared: whether its input has no component axis.
        **kwargs: arguments of the stack.
    """

    def __init__(self, output_shape, shared, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = tuple(output_shape)
        self.shared = shared

    def call(self, features, noise=None, training=False):
        """Compute outputs of the likelihood from features."""
        if self.shared:
            features = tf.expand_dims(features, 0)
        outputs = self.run(features, noise, training)
        leading = tf.shape(outputs)[1:2] if self.shared else tf.shape(outputs)[:2]
        return tf.reshape(outputs, tf.concat([leading, self.target_shape], 0))


def _flat(x):
    return tf.reshape(x, [tf.shape(x)[0], math.prod(x.shape[1:])])
