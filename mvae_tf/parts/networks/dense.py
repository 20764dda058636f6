"""Fully connected layers with a component axis, and the networks made of them.

The layers of K > 1 components are one batched matrix product over stacked weights.
"""

import operator
from collections.abc import Sequence

import tensorflow as tf

from mvae_tf.parts.memory import check_memory
from mvae_tf.parts.networks.network import (
    ComponentNetwork,
    NetworkSpec,
    append_labels,
    flat,
)
from mvae_tf.products import batched_product

__all__ = [
    "ComponentAffine",
    "DenseStack",
    "Encoder",
    "MixDecoder",
    "SubDecoder",
    "Trunk",
]

# Numbers of a small kernel, whose products take less time than oneDNN takes to start.
_SMALL = 2**14


class ComponentAffine(ComponentNetwork):
    """K affine maps as one matrix product; biases start at 0.

    Args:
        num_components: int, K, number of components.
        input_units: int, I, size of the input.
        units: int, O, size of the output.
        initializer: function from the shape `[K, I, O]` and a dtype to the kernels.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(self, num_components, input_units, units, initializer, **kwargs):
        super().__init__(**kwargs)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(num_components, input_units, units),
            initializer=initializer,
        )
        self.bias = self.add_weight(
            name="bias", shape=(num_components, 1, units), initializer="zeros"
        )
        self.built = True

    def affine(self, x, activate):
        """Compute outputs `[K, B, O]` from inputs x.

        Args:
            x: `[B, I]` or `[K, B, I]`.
            activate: function of the maps' outputs `[..., O]`.
        """
        kernel = tf.cast(self.kernel, self.compute_dtype)
        bias = tf.cast(self.bias, self.compute_dtype)
        x = tf.cast(x, self.compute_dtype)
        # On several devices or workers, plain products round otherwise after a restart
        # than in a run that was not interrupted; batched ones do not.
        if kernel.shape[0] > 1 or tf.distribute.has_strategy():
            return activate(_product(x, kernel) + bias)
        # A plain product takes a CPU less time to start than a batched one, and
        # TensorFlow fuses it with bias and activation.
        x = x if x.shape.rank == 2 else tf.squeeze(x, 0)
        product = tf.matmul(x, tf.squeeze(kernel, 0))
        outputs = activate(tf.nn.bias_add(product, tf.squeeze(bias, [0, 1])))
        return tf.expand_dims(outputs, 0)

    def copy_components(self, source, kept):
        self.kernel.assign(tf.gather(source.kernel, kept))
        self.bias.assign(tf.gather(source.bias, kept))


@tf.custom_gradient
def _product(x, kernel):
    """Multiply `[B, I]` or `[K, B, I]` by `[K, I, O]`, to `[K, B, O]`."""
    small = kernel.shape.num_elements() <= _SMALL

    def gradient(upstream):
        of_x = batched_product(upstream, kernel, small, transpose_b=True)
        if x.shape.rank == 2:
            of_x = tf.reduce_sum(of_x, axis=0)
        return of_x, batched_product(x, upstream, small, transpose_a=True)

    return batched_product(x, kernel, small), gradient


class DenseStack(ComponentNetwork):
    """Layers with a component axis, each applied to the output of the last.

    `Trunk`, `Encoder`, `SubDecoder` and `MixDecoder` say what goes into such a stack
    and what comes out of it; a network combines each of them with its own stack.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        units: list of ints, sizes of the input and of the output of each layer.
        maps: int, number of affine maps in a layer, 2 if it has a gate.

    Raises:
        MemoryError: the weights would not fit into the memory of this machine.

    Attributes:
        spec: `NetworkSpec`, sizes of the layer.
        layers_in_order: list of layers, made by the subclass.
    """

    def __init__(self, spec: NetworkSpec, units: Sequence[int], maps: int = 1):
        weights = maps * sum(map(operator.mul, units, units[1:]))
        check_memory(f"training layers of {[*units]} units", spec.sets * weights)
        super().__init__(**spec.layer)
        self.spec = spec

    def run(self, x, noise=None, training=False):
        """Compute outputs `[K, B, O]` from inputs x.

        Args:
            x: `[B, I]` or `[K, B, I]`.
            noise: `mvae_tf.noise.Noise` of the step, for dropout.
            training: bool, whether dropout is applied.
        """
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
    """Layer from images to features, the input of the heads that a model adds."""

    def call(self, x, noise=None, training=False):
        """Compute features `[B, hidden]` of images `x` `[B, ...]`."""
        return tf.squeeze(self.run(flat(x), noise, training), axis=0)


class Encoder:
    """K encoders of flattened images; labels are appended to the pixels."""

    def head(self, features):
        """Split the last layer's `[B, K, O]` into mean, stddev and scores."""
        raise NotImplementedError

    def call(self, x, labels=None, noise=None, training=False):
        """Compute mean and stddev `[B, K, Z]` and scores `[B, K]` of images `x`."""
        x = append_labels(flat(x), labels)
        outputs = self.run(x, noise, training)
        # A CPU does this sooner than a transposition, which is given to oneDNN.
        return self.head(tf.stack(tf.unstack(outputs), axis=1))


class SubDecoder:
    """K sub-decoders; labels are appended to the latent of each component."""

    def call(self, z, labels=None, noise=None, training=False):
        """Compute features `[K, B, ...]` from latents `z` `[B, K, Z]`."""
        codes = append_labels(tf.transpose(z, [1, 0, 2]), labels)
        return self.run(codes, noise, training)


class MixDecoder:
    """Decoder from features to the parameters of the likelihood."""

    def call(self, features, noise=None, training=False):
        """Compute the parameters from features.

        A layer that all components share takes features `[B, ...]` and returns `[B,
        *output_shape]`; otherwise it takes `[K, B, ...]` and returns `[K, B,
        *output_shape]`.
        """
        outputs = self.run(features, noise, training)
        leading = [-1] if self.spec.shared else [outputs.shape[0], -1]
        return tf.reshape(outputs, [*leading, *self.spec.output_shape])
