"""Classifiers of images, for inception scores and Frechet distances."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf.data import leading

__all__ = ["Classifier", "inception", "train_classifier"]

_ROWS = 64


class Classifier:
    """A network that computes class probabilities and features of images.

    Args:
        name: str, name that is reported together with a score.
        network: `keras.Model` from images `[B, H, W, C]` to a pair, probabilities
            `[B, L]` and features `[B, F]`.
        value_range: `(low, high)` of its pixels; other pixels are clipped.
    """

    def __init__(
        self,
        name: str,
        network: keras.Model,
        value_range: tuple[float, float] = (0.0, 1.0),
    ):
        self.name = name
        self.network = network
        self.value_range = value_range

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape `(H, W, C)` of its images, with None for a side of any size."""
        return tuple(self.network.input_shape[1:])

    def misfit(self, input_shape: Sequence[int]) -> str | None:
        """Return why the classifier cannot take images of a shape, or None."""
        sides = tuple(input_shape)
        if len(sides) == len(self.input_shape) and all(
            known in (None, side)
            for known, side in zip(self.input_shape, sides, strict=True)
        ):
            return None
        expected = ["any" if side is None else side for side in self.input_shape]
        return (
            f"Expected images of shape {tuple(expected)} for the classifier "
            f"{self.name!r}, got {sides}.".replace("'any'", "any")
        )

    def probabilities_and_features(
        self, images: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute class probabilities and features of images.

        Args:
            images: `[B, H, W, C]` in the pixel scale of `value_range`.

        Returns:
            Float32 arrays: probabilities `[B, L]`, whose rows sum to 1, and features
            `[B, F]`.

        Raises:
            ValueError: the images have another shape.
        """
        images = np.asarray(images)
        misfit = self.misfit(images.shape[1:])
        if misfit:
            raise ValueError(misfit)
        clipped = np.clip(images, *self.value_range)
        probabilities, features = self.network.predict(
            clipped, batch_size=_ROWS, verbose=0
        )
        return probabilities, features


def inception(value_range: tuple[float, float] | None = (0.0, 1.0)) -> Classifier:
    """Load Keras' InceptionV3, trained on ImageNet, for colour images of any size.

    Images are resized to 299 x 299 (bilinear) and scaled to [-1, 1]. Published scores
    are those of the Inception graph of 2015, which has 1,008 classes and a last bias
    that many programs leave out, and so are near but not equal. Features are the 2,048
    averages of the last convolution.

    Args:
        value_range: pair of floats, pixel values `(low, high)` of black and white.

    Raises:
        OSError: the weights are not on this machine and cannot be downloaded.
        ValueError: the pixel values have no bounds.
    """
    if value_range is None:
        raise ValueError(
            "Expected images with a value_range for InceptionV3, got unbounded values."
        )
    try:
        trunk = keras.applications.InceptionV3(weights="imagenet")
    except Exception as error:
        # Keras raises a plain Exception if a download fails.
        raise OSError(
            "Expected the ImageNet weights of InceptionV3, to be downloaded or in "
            f"~/.keras/models, got: {' '.join(str(error).split())}"
        ) from error
    low, high = value_range
    images = keras.Input((None, None, 3))
    resized = keras.layers.Resizing(299, 299)(images)
    scale = 2.0 / (high - low)
    scaled = keras.layers.Rescaling(scale, offset=-1.0 - scale * low)(resized)
    outputs = [trunk.output, trunk.get_layer("avg_pool").output]
    both = keras.Model(trunk.input, outputs)(scaled)
    network = keras.Model(images, both)
    return Classifier("InceptionV3 (ImageNet)", network, value_range)


def train_classifier(
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    data: str = "the data at hand",
    seed: int = 0,
    epochs: int = 5,
) -> Classifier:
    """Train a small convolutional network on labelled images.

    It replaces `inception` where the weights cannot be downloaded, and for images that
    are not like those of ImageNet. The network has two 3 x 3 convolutions (32 and 64
    maps, each followed by max-pooling), a layer of 128 ReLU, which are the features,
    with a dropout of one half, and a softmax, and is trained by Adam. Its scores cannot
    be compared with published ones.

    Args:
        train: `tf.data.Dataset` of batches `(x, y)`, images `[B, H, W, C]` and
            integer labels `[B]`, with an end; read `epochs` + 1 times.
        test: such batches of other images; the name of the classifier has the accuracy
            on them.
        data: str, name of the data, for the name of the classifier.
        seed: int that decides initial weights and dropout.
        epochs: int, number of passes over `train`.

    Raises:
        ValueError: the data have no labels or no end, or are vectors.
    """
    shape, value_range, num_classes = _described(train)
    network = small_network(shape, num_classes, seed)
    probabilities = keras.Model(network.input, network.output[0])
    probabilities.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    probabilities.fit(train, epochs=epochs, shuffle=False, verbose=0)
    classifier = Classifier("", network, value_range)
    x, labels = leading(test)
    found = classifier.probabilities_and_features(x)[0].argmax(axis=1)
    right = 100.0 * np.mean(found == labels)
    classifier.name = f"convolutional network trained on {data}, {right:.1f} % right"
    return classifier


def _described(dataset):
    """Return shape of images, range of pixels and number of classes of a data set."""
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or spec[0].shape.rank != 4:
        raise ValueError(
            "Expected batches of images [B, H, W, C] and labels to train a classifier "
            f"on, got {spec}."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("Expected a data set with an end, got an endless one.")
    low, high, last = np.inf, -np.inf, 0
    for x, y in dataset.as_numpy_iterator():
        low, high = min(low, x.min()), max(high, x.max())
        last = max(last, y.max())
    return spec[0].shape[1:], (float(low), float(high)), int(last) + 1


def small_network(shape: Sequence[int], num_classes: int, seed: int) -> keras.Model:
    """Make the network of `train_classifier`, which is not trained yet."""

    def weights(layer):
        return keras.initializers.GlorotUniform(seed + layer)

    layers = keras.layers
    images = hidden = keras.Input(shape)
    for layer, maps in enumerate((32, 64)):
        convolution = layers.Conv2D(
            maps, 3, 1, "same", activation="relu", kernel_initializer=weights(layer)
        )
        hidden = layers.MaxPooling2D(padding="same")(convolution(hidden))
    hidden = layers.Flatten()(hidden)
    features = layers.Dense(128, "relu", kernel_initializer=weights(2))(hidden)
    dropped = layers.Dropout(0.5, seed=seed)(features)
    probabilities = layers.Dense(num_classes, "softmax", kernel_initializer=weights(3))(
        dropped
    )
    return keras.Model(images, [probabilities, features])
