"""Gated fully connected networks of the VampPrior, GMMpVAE and CP-VAE experiments.

A gated layer is a product of two affine maps, h(x) * sigmoid(g(x)), without any other
nonlinearity. Encoder: gated 300, gated 300, linear heads. Sub-decoder: gated 300.
Mix-decoder: gated 300, linear to the pixels. Tomczak and Welling, "VAE with a
VampPrior" (AISTATS 2018), https://arxiv.org/abs/1705.07120.
"""

import math

import keras
import tensorflow as tf

from mvae_tf.parts.networks.base import (
    ComponentNetwork,
    Network,
    NetworkSpec,
    layer_seed,
    register,
)
from mvae_tf.parts.networks.dense import (
    DenseStack,
    Encoder,
    MixDecoder,
    SubDecoder,
    Trunk,
)
from mvae_tf.parts.part import choice

__all__ = [
    "INITIALIZERS",
    "CategoryLinear",
    "ComponentLinear",
    "GatedMLP",
    "GatedStack",
    "clipped_head",
]

_LOG_VARIANCES = (-6.0, 2.0)

# CP-VAE and CGM start from Glorot's uniform numbers, GMMpVAE from He's normal ones.
INITIALIZERS = {
    "glorot": keras.initializers.GlorotUniform,
    "he": lambda seed: keras.initializers.VarianceScaling(
        2.0, "fan_in", "untruncated_normal", seed=seed
    ),
}


def clipped_head(features, latent_dim, scores=False, deviations=True):
    """Mean, standard deviation and scores from `[..., 2 Z]` or `[..., 2 Z + 1]`.

    The second half is the log-variance, which is clipped to [-6, 2]. Without
    `deviations` the features hold none, and stddev is None.

    Returns:
        mean `[..., Z]`, stddev `[..., Z]` and scores `[...]` > 0, all float32; scores
        are None when the features hold none.
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


class ComponentLinear(ComponentNetwork):
    """K linear layers, gated or not, as one batched matrix product.

    Args:
        num_components: int, K.
        input_units, units: sizes of the input and of the output.
        gated: whether the output is h(x) * sigmoid(g(x)).
        initializer: "glorot" or "he".
        seed: int; component i starts from the same weights whatever K is.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(
        self, num_components, input_units, units, gated, initializer, seed, **kwargs
    ):
        super().__init__(**kwargs)
        self.gated = gated
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

        outputs = len(maps) * units
        self.kernel = self.add_weight(
            name="kernel",
            shape=(num_components, input_units, outputs),
            initializer=draw,
        )
        self.bias = self.add_weight(
            name="bias", shape=(num_components, 1, outputs), initializer="zeros"
        )
        self.built = True

    def call(self, x):
        """`[B, I]` or `[K, B, I]` -> `[K, B, O]`."""
        kernel = tf.cast(self.kernel, self.compute_dtype)
        bias = tf.cast(self.bias, self.compute_dtype)
        return self.activate(tf.matmul(tf.cast(x, self.compute_dtype), kernel) + bias)

    def activate(self, outputs):
        """The layer's output from those of its affine maps, side by side."""
        return self.combine(*self.maps_of(outputs))

    def maps_of(self, outputs):
        """The affine maps in outputs that hold them side by side."""
        return tf.split(outputs, 2 if self.gated else 1, axis=-1)

    @staticmethod
    def combine(values, gates=None):
        """The layer's output from those of its affine maps."""
        return values if gates is None else values * tf.sigmoid(gates)

    def copy_components(self, source, kept):
        self.kernel.assign(tf.gather(source.kernel, kept))
        self.bias.assign(tf.gather(source.bias, kept))


class CategoryLinear(ComponentLinear):
    """Linear layer, gated or not, on [h, c] for features h `[B, H]` and categories c.

    The layer is linear before its gate, so c adds one row of the kernel to what h
    gives: no copy of h is made for each of K categories.
    """

    def call(self, features, c=None):
        """Compute `[B, 1, O]` at c `[B, K]`, or `[B, K, O]` at every one-hot c."""
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
        # Split before the sum, for splitting `[B, K, O]` would copy it.
        maps = zip(self.maps_of(shared[:, tf.newaxis]), self.maps_of(own), strict=True)
        return self.combine(*(of_image + of_category for of_image, of_category in maps))


class GatedStack(DenseStack):
    """Gated layers in a row, and a linear one at the end if `linear`.

    Args:
        num_components: int, K.
        units: sizes of the input and of each layer's output.
        linear: whether the last layer has no gate.
        initializer: "glorot" or "he".
        seed: int.
        **kwargs: `name` and `dtype` of the layer.
    """

    def __init__(self, num_components, units, linear, initializer, seed, **kwargs):
        super().__init__(**kwargs)
        last = len(units) - 2
        self.layers_in_order = [
            ComponentLinear(
                num_components,
                units[i],
                units[i + 1],
                gated=not (linear and i == last),
                initializer=initializer,
                seed=layer_seed(seed, self.name, i),
                dtype=self.dtype_policy,
                name=f"gated_{i}",
            )
            for i in range(last + 1)
        ]
        self.built = True


class GatedTrunk(Trunk, GatedStack):
    """Features `[B, hidden]` of images, before any head."""


class GatedEncoder(Encoder, GatedStack):
    """K encoders on flattened images; labels are appended to the pixels."""

    def __init__(self, latent_dim, scores, deviations=True, **kwargs):
        super().__init__(linear=True, **kwargs)
        self.latent_dim = latent_dim
        self.scores = scores
        self.deviations = deviations

    def head(self, features):
        return clipped_head(features, self.latent_dim, self.scores, self.deviations)


class GatedSubDecoder(SubDecoder, GatedStack):
    """K sub-decoders; labels are appended to each component's latents."""

    @classmethod
    def of(cls, spec: NetworkSpec, units: int, initializer: str) -> "GatedSubDecoder":
        """Make sub-decoders of one gated layer with `units` outputs."""
        return cls(
            num_components=spec.sets,
            units=[spec.code_size, units],
            linear=False,
            initializer=initializer,
            seed=spec.seed,
            **spec.layer,
        )


class GatedMixDecoder(MixDecoder, GatedStack):
    """Decoder from features to the image, shared or one per component."""


@register("gated_mlp")
class GatedMLP(Network):
    """Gated fully connected networks.

    Args:
        hidden: units of every hidden layer (300).
        initializer: "glorot" (CP-VAE) or "he" (GMMpVAE); biases start at 0.
    """

    def __init__(self, hidden=300, initializer="glorot"):
        if not isinstance(hidden, int) or hidden < 1:
            raise ValueError(f"Expected hidden an integer >= 1, got {hidden!r}.")
        self.hidden = hidden
        self.initializer = choice(initializer, INITIALIZERS, "initializer")

    def trunk(self, spec: NetworkSpec):
        """Make the layer from images to features `[B, hidden]`."""
        return GatedTrunk(
            num_components=1,
            units=[math.prod(spec.image_shape), self.hidden, self.hidden],
            linear=False,
            initializer=self.initializer,
            seed=spec.seed,
            **spec.layer,
        )

    def encoder(self, spec: NetworkSpec):
        pixels = math.prod(spec.image_shape) + spec.num_classes
        head = spec.head_units
        return GatedEncoder(
            spec.latent_dim,
            spec.scores,
            spec.deviations,
            num_components=spec.sets,
            units=[pixels, self.hidden, self.hidden, head],
            initializer=self.initializer,
            seed=spec.seed,
            **spec.layer,
        )

    def sub_decoder(self, spec: NetworkSpec):
        return GatedSubDecoder.of(spec, self.hidden, self.initializer)

    def mix_decoder(self, spec: NetworkSpec):
        return GatedMixDecoder(
            spec.output_shape,
            shared=spec.shared,
            num_components=spec.sets,
            units=[self.hidden, self.hidden, math.prod(spec.output_shape)],
            linear=True,
            initializer=self.initializer,
            seed=spec.seed,
            **spec.layer,
        )
