"""Fully connected networks of the MVAE paper's code for MNIST and Fashion-MNIST.

The encoder is a dense layer of 500 ELU, one of 500 tanh, and linear heads; the
sub-decoder is a dense layer of 500 tanh; the mix-decoder is a dense layer of 500 ELU
and a linear one to the pixels.
"""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.dense import (
    ComponentAffine,
    DenseStack,
    Encoder,
    MixDecoder,
    SubDecoder,
    Trunk,
)
from mvae_tf.parts.networks.network import (
    Network,
    NetworkSpec,
    gaussian_head,
    layer_seed,
    register,
    stateless_dropout,
)
from mvae_tf.parts.part import check_count

__all__ = ["MLP", "ComponentDense"]


class ComponentDense(ComponentAffine):
    """K dense layers, whose weights start from He's normal distribution.

    Args:
        num_components: int, K, number of components.
        input_units: int, size of the input.
        units: int, size of the output.
        activation: str, name of a Keras activation, or None.
        seed: int; component i starts from the same weights whatever K is.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(self, num_components, input_units, units, activation, seed, **kwargs):
        def he_normal(shape, dtype=None):
            slices = [
                keras.initializers.HeNormal(layer_seed(seed, i))(shape[1:], dtype)
                for i in range(shape[0])
            ]
            return tf.stack(slices)

        super().__init__(num_components, input_units, units, he_normal, **kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, x):
        """Compute `[K, B, O]` from inputs `[B, I]` or `[K, B, I]`."""
        return self.affine(x, self.activation)


class _Stack(DenseStack):
    """Dense layers with dropout.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        units: list of ints, sizes of the input and of the output of each layer.
        activations: list of str, name of the activation of each layer, None for a
            linear one, which no dropout follows.
        dropout: float, rate of dropout.
    """

    def __init__(self, spec, units, activations, dropout):
        super().__init__(spec, units)
        self.dropout = dropout
        self.num_dropped = sum(activation is not None for activation in activations)
        self.layers_in_order = [
            ComponentDense(
                spec.sets,
                units[i],
                units[i + 1],
                activation,
                layer_seed(spec.seed, spec.name, i),
                dtype=spec.dtype,
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
    """Layer from images to features, the input of the heads that a model adds."""


class MLPEncoder(Encoder, _Stack):
    """K encoders of flattened images; labels are appended to the pixels."""

    def head(self, features):
        return gaussian_head(features, self.spec.latent_dim, self.spec.deviations)


class MLPSubDecoder(SubDecoder, _Stack):
    """K sub-decoders; labels are appended to the latent of each component."""


class MLPMixDecoder(MixDecoder, _Stack):
    """Decoder from features to the parameters of the likelihood."""


@register("mlp")
class MLP(Network):
    """Fully connected networks of the MVAE paper's MNIST experiments.

    Args:
        hidden: int, number of units of every hidden layer.
        dropout: float, rate of dropout on hidden units in training, in [0, 1). The code
            of M-VAE has 0.1, that of MVAE none.

    Raises:
        ValueError: on an argument out of its range.
    """

    dense = True

    def __init__(self, hidden: int = 500, dropout: float = 0.0):
        if not 0 <= dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {dropout}.")
        self.hidden = check_count("hidden", hidden)
        self.dropout = dropout

    def trunk(self, spec: NetworkSpec):
        units = [math.prod(spec.image_shape), self.hidden, self.hidden]
        return MLPTrunk(spec, units, ["elu", "tanh"], self.dropout)

    def encoder(self, spec: NetworkSpec):
        # The authors' conditional encoder widens its first layer by the labels.
        pixels, labels = math.prod(spec.image_shape), spec.num_classes
        units = [pixels + labels, self.hidden + labels, self.hidden, spec.head_units]
        return MLPEncoder(spec, units, ["elu", "tanh", None], self.dropout)

    def sub_decoder(self, spec: NetworkSpec):
        units = [spec.code_size, self.hidden]
        return MLPSubDecoder(spec, units, ["tanh"], self.dropout)

    def mix_decoder(self, spec: NetworkSpec):
        units = [self.hidden, self.hidden, math.prod(spec.output_shape)]
        return MLPMixDecoder(spec, units, ["elu", None], self.dropout)
