"""Fully connected networks: K of them are one batched product over stacked weights.

Architecture of the authors' MNIST and Fashion-MNIST code. Encoder: Dense 500 ELU,
Dense 500 tanh, linear heads. Sub-decoder: Dense 500 tanh. Mix-decoder: Dense 500 ELU,
Dense to the pixels.
"""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import (
    ComponentNetwork,
    Network,
    NetworkSpec,
    gaussian_head,
    layer_seed,
    register,
    stateless_dropout,
)
from mvae_tf.parts.networks.dense import (
    DenseStack,
    Encoder,
    MixDecoder,
    SubDecoder,
    Trunk,
)

__all__ = ["MLP", "ComponentDense"]


class ComponentDense(ComponentNetwork):
    """K dense layers as one batched matrix product.

    Args:
        num_components: int, K.
        input_units, units: sizes of the input and of the output.
        activation: name of a Keras activation, or None.
        seed: int; component i starts from the same weights whatever K is.
        dtype: Keras dtype policy.
    """

    def __init__(self, num_components, input_units, units, activation, seed, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

        def he_normal(shape, dtype=None):
            slices = [
                keras.initializers.HeNormal(layer_seed(seed, i))(shape[1:], dtype)
                for i in range(shape[0])
            ]
            return tf.stack(slices)

        self.kernel = self.add_weight(
            name="kernel",
            shape=(num_components, input_units, units),
            initializer=he_normal,
        )
        self.bias = self.add_weight(
            name="bias", shape=(num_components, 1, units), initializer="zeros"
        )
        self.built = True

    def call(self, x):
        """`[B, I]` or `[K, B, I]` -> `[K, B, O]`."""
        kernel = tf.cast(self.kernel, self.compute_dtype)
        bias = tf.cast(self.bias, self.compute_dtype)
        return self.activation(tf.matmul(x, kernel) + bias)

    def copy_components(self, source, kept):
        self.kernel.assign(tf.gather(source.kernel, kept))
        self.bias.assign(tf.gather(source.bias, kept))


class _Stack(DenseStack):
    """Dense layers in a row, with dropout after each but the last `plain` ones."""

    def __init__(
        self, num_components, units, activations, dropout, plain, seed, **kwargs
    ):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.num_dropped = len(activations) - plain
        self.layers_in_order = [
            ComponentDense(
                num_components,
                units[i],
                units[i + 1],
                activation,
                layer_seed(seed, self.name, i),
                dtype=self.dtype_policy,
                name=f"dense_{i}",
            )
            for i, activation in enumerate(activations)
        ]
        self.built = True

    def run(self, x, noise=None, training=False):
        for i, layer in enumerate(self.layers_in_order):
            x = layer(x)
            if i < self.num_dropped:
                name = f"{self.name}/dropout_{i}"
                x = stateless_dropout(x, self.dropout, name, noise, training)
        return x


class MLPTrunk(Trunk, _Stack):
    """Features `[B, hidden]` of images, before any head."""


class MLPEncoder(Encoder, _Stack):
    """K encoders on flattened images; labels are appended to the pixels."""

    def __init__(self, latent_dim, deviations=True, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.deviations = deviations

    def head(self, features):
        return gaussian_head(features, self.latent_dim, self.deviations)


class MLPSubDecoder(SubDecoder, _Stack):
    """K sub-decoders; labels are appended to each component's latents."""


class MLPMixDecoder(MixDecoder, _Stack):
    """Decoder from features to the image, shared or one per component."""


@register("mlp")
class MLP(Network):
    """Fully connected networks of the MVAE paper's MNIST experiments.

    Args:
        hidden: units of every hidden layer (500).
        dropout: rate of dropout on hidden units during training (0; the M-VAE code
            trains with 0.1).
    """

    def __init__(self, hidden=500, dropout=0.0):
        if not isinstance(hidden, int) or hidden < 1:
            raise ValueError(f"Expected hidden an integer >= 1, got {hidden!r}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"Expected 0 <= dropout < 1, got {dropout}.")
        self.hidden = hidden
        self.dropout = dropout

    def trunk(self, spec: NetworkSpec):
        """Make the layer from images to features `[B, hidden]`."""
        return MLPTrunk(
            num_components=1,
            units=[math.prod(spec.image_shape), self.hidden, self.hidden],
            activations=["elu", "tanh"],
            dropout=self.dropout,
            plain=0,
            seed=spec.seed,
            **spec.layer,
        )

    def encoder(self, spec: NetworkSpec):
        pixels = math.prod(spec.image_shape) + spec.num_classes
        head = spec.head_units
        return MLPEncoder(
            spec.latent_dim,
            spec.deviations,
            num_components=spec.sets,
            # The authors' conditional encoder widens its first layer by the labels.
            units=[pixels, self.hidden + spec.num_classes, self.hidden, head],
            activations=["elu", "tanh", None],
            dropout=self.dropout,
            plain=1,
            seed=spec.seed,
            **spec.layer,
        )

    def sub_decoder(self, spec: NetworkSpec):
        return MLPSubDecoder(
            num_components=spec.sets,
            units=[spec.latent_dim + spec.num_classes, self.hidden],
            activations=["tanh"],
            dropout=self.dropout,
            plain=0,
            seed=spec.seed,
            **spec.layer,
        )

    def mix_decoder(self, spec: NetworkSpec):
        return MLPMixDecoder(
            spec.output_shape,
            shared=spec.shared,
            num_components=spec.sets,
            units=[self.hidden, self.hidden, math.prod(spec.output_shape)],
            activations=["elu", None],
            dropout=self.dropout,
            plain=1,
            seed=spec.seed,
            **spec.layer,
        )
