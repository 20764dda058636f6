"""Gated fully connected networks of the VampPrior, GMMpVAE and CP-VAE experiments.

A gated layer is a product of two affine maps, h(x) * sigmoid(g(x)), without any other
nonlinearity. The encoder has two gated layers of 300 units and linear heads, the
sub-decoder one gated layer, and the mix-decoder one gated layer and a linear one to the
pixels. Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018),
https://arxiv.org/abs/1705.07120.
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
    layer_seed,
    register,
)
from mvae_tf.parts.part import check_count, choice

__all__ = [
    "INITIALIZERS",
    "CategoryLinear",
    "ComponentLinear",
    "GatedMLP",
    "GatedStack",
    "clipped_head",
]

_LOG_VARIANCES = (-6.0, 2.0)

# CP-VAE and CGM draw initial weights from Glorot's uniform distribution, GMMpVAE from
# He's normal one.
INITIALIZERS = {
    "glorot": keras.initializers.GlorotUniform,
    "he": lambda seed: keras.initializers.VarianceScaling(
        2.0, "fan_in", "untruncated_normal", seed=seed
    ),
}


def clipped_head(features, latent_dim, scores=False, deviations=True):
    """Split the outputs of an encoder's last layer into mean, stddev and scores.

    Unlike in `gaussian_head`, what follows the mean are log-variances, which are
    clipped to [-6, 2], as in the code of the VampPrior.

    Args:
        features: `[..., H]` with H = Z for the mean, + Z for the log-variance if
            `deviations`, + 1 for the score if `scores`.
        latent_dim: int, Z, size of the latent.
        scores: bool, whether there is a score.
        deviations: bool, whether there are log-variances.

    Returns:
        Mean `[..., Z]`, stddev `[..., Z]` > 0 (None without `deviations`) and scores
        `[...]` > 0 (None without `scores`), all float32.
    """
    features = tf.cast(features, tf.float32)
    sizes = [latent_dim, latent_dim * deviations, int(scores)]
    mean, log_variance, score = tf.split(features, sizes, axis=-1)
    stddev = None
    if deviations:
        stddev = tf.exp(0.5 * tf.clip_by_value(log_variance, *_LOG_VARIANCES))
    if not scores:
        return mean, stddev, None
    return mean, stddev, 1e-6 + tf.nn.softplus(tf.squeeze(score, -1))


class ComponentLinear(ComponentAffine):
    """K linear layers, gated or not.

    Args:
        num_components: int, K, number of components.
        input_units: int, size of the input.
        units: int, size of the output.
        gated: bool, whether the output is h(x) * sigmoid(g(x)).
        initializer: "glorot" or "he".
        seed: int; component i starts from the same weights whatever K is.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(
        self, num_components, input_units, units, gated, initializer, seed, **kwargs
    ):
        make = INITIALIZERS[choice(initializer, INITIALIZERS, "initializer")]
        maps = ("h", "g") if gated else ("h",)

        def draw(shape, dtype=None):
            def one(component, which):
                drawn = make(seed=layer_seed(seed, component, which))
                return drawn((input_units, units), dtype)

            return tf.stack(
                [
                    tf.concat([one(i, which) for which in maps], axis=1)
                    for i in range(shape[0])
                ]
            )

        super().__init__(num_components, input_units, len(maps) * units, draw, **kwargs)
        self.gated = gated

    def call(self, x):
        """Compute `[K, B, O]` from inputs `[B, I]` or `[K, B, I]`."""
        return self.affine(x, lambda outputs: self.combine(*self.split(outputs)))

    def split(self, outputs):
        """Split `[..., 2 O]` into the outputs of h and g; without a gate h is all."""
        return tf.split(outputs, 2 if self.gated else 1, axis=-1)

    @staticmethod
    def combine(values, gates=None):
        """Compute h(x) * sigmoid(g(x)), or h(x) without a gate, from both maps."""
        return values if gates is None else values * tf.sigmoid(gates)


class CategoryLinear(ComponentLinear):
    """Linear layer, gated or not, of features `[B, H]` and a category c `[B, K]`.

    The category is appended to the features. Because the maps are linear, a one-hot c
    adds one row of the kernel to what the features give, so that no copy of the
    features is made for each of the K categories.
    """

    def call(self, features, c=None):
        """Compute the output for one category, or for every category.

        Args:
            features: `[B, H]`.
            c: `[B, K]`, a one-hot or relaxed category; None for each one-hot c in turn.

        Returns:
            `[B, 1, O]`, or `[B, K, O]` for every category.
        """
        kernel = tf.cast(self.kernel, self.compute_dtype)[0]
        bias = tf.cast(self.bias, self.compute_dtype)[0]
        of_features, of_categories = tf.split(
            kernel, [features.shape[-1], kernel.shape[0] - features.shape[-1]]
        )
        shared = tf.matmul(tf.cast(features, self.compute_dtype), of_features) + bias
        own = of_categories[tf.newaxis]
        if c is not None:
            own = tf.matmul(tf.cast(c, self.compute_dtype), of_categories)
            own = own[:, tf.newaxis]
        # The split comes before the sum, because splitting `[B, K, O]` would copy it.
        maps = zip(self.split(shared[:, tf.newaxis]), self.split(own), strict=True)
        return self.combine(*(of_image + of_category for of_image, of_category in maps))


class GatedStack(DenseStack):
    """Gated layers, each applied to the output of the last.

    Args:
        spec: `NetworkSpec`, sizes of the layer.
        units: list of ints, sizes of the input and of the output of each layer.
        initializer: "glorot" or "he".
        linear: bool, whether the last layer has no gate.
    """

    def __init__(self, spec, units, initializer, linear=False):
        super().__init__(spec, units, maps=2)
        last = len(units) - 2
        self.layers_in_order = [
            ComponentLinear(
                spec.sets,
                units[i],
                units[i + 1],
                gated=not (linear and i == last),
                initializer=initializer,
                seed=layer_seed(spec.seed, spec.name, i),
                dtype=spec.dtype,
                name=f"gated_{i}",
            )
            for i in range(last + 1)
        ]
        self.built = True


class GatedTrunk(Trunk, GatedStack):
    """Layer from images to features, the input of the heads that a model adds."""


class GatedEncoder(Encoder, GatedStack):
    """K encoders of flattened images; labels are appended to the pixels."""

    def head(self, features):
        spec = self.spec
        return clipped_head(features, spec.latent_dim, spec.scores, spec.deviations)


class GatedSubDecoder(SubDecoder, GatedStack):
    """K sub-decoders; labels are appended to the latent of each component."""


class GatedMixDecoder(MixDecoder, GatedStack):
    """Decoder from features to the parameters of the likelihood."""


@register("gated_mlp")
class GatedMLP(Network):
    """Gated fully connected networks.

    Args:
        hidden: int, number of units of every hidden layer.
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.

    Raises:
        ValueError: on an argument out of its range.
    """

    dense = True

    def __init__(self, hidden: int = 300, initializer: str = "glorot"):
        self.hidden = check_count("hidden", hidden)
        self.initializer = choice(initializer, INITIALIZERS, "initializer")

    def trunk(self, spec: NetworkSpec):
        units = [math.prod(spec.image_shape), self.hidden, self.hidden]
        return GatedTrunk(spec, units, self.initializer)

    def encoder(self, spec: NetworkSpec):
        pixels = math.prod(spec.image_shape) + spec.num_classes
        units = [pixels, self.hidden, self.hidden, spec.head_units]
        return GatedEncoder(spec, units, self.initializer, linear=True)

    def sub_decoder(self, spec: NetworkSpec):
        return GatedSubDecoder(spec, [spec.code_size, self.hidden], self.initializer)

    def mix_decoder(self, spec: NetworkSpec):
        units = [self.hidden, self.hidden, math.prod(spec.output_shape)]
        return GatedMixDecoder(spec, units, self.initializer, linear=True)
