"""The MVAE as its authors' TensorFlow 1 graph computes it, for the benchmark only.

It has a Python list with one Keras sub-model per component, dHSIC from `n x n x d`
differences, TFP's Dirichlet and Keras' Adam. Its networks and its objective are those
of the library's MVAE-GS with the authors' settings. `PlainVAE` is the single VAE in the
same manner. Neither is meant for use.
"""

import math

import keras
import tensorflow as tf
from keras import layers
from tensorflow_probability import distributions as tfd

__all__ = ["NaiveMVAE", "PlainVAE", "adam", "conv_networks", "mlp_networks"]


def adam():
    """Make Keras' Adam with the settings of the authors."""
    return keras.optimizers.Adam(1e-3, epsilon=1e-8)


def mlp_networks(num_components, latent_dim, pixels=784, hidden=500):
    """Make encoders, sub-decoders and the mix-decoder, those of MNIST unless told."""
    encoders = [
        keras.Sequential(
            [
                keras.Input((pixels,)),
                layers.Dense(hidden, "elu"),
                layers.Dense(hidden, "tanh"),
                layers.Dense(2 * latent_dim + 1),
            ]
        )
        for _ in range(num_components)
    ]
    sub_decoders = [
        keras.Sequential([keras.Input((latent_dim,)), layers.Dense(hidden, "tanh")])
        for _ in range(num_components)
    ]
    mix_decoder = keras.Sequential(
        [
            keras.Input((hidden,)),
            layers.Dense(hidden, "elu"),
            layers.Dense(pixels, "sigmoid"),
        ]
    )
    return encoders, sub_decoders, mix_decoder


def conv_networks(num_components, latent_dim):
    """Make encoders, sub-decoders and the mix-decoder of the CIFAR experiments."""

    def norm():
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)

    def encoder():
        steps = [keras.Input((32, 32, 3))]
        for channels in (64, 128, 256, 512):
            steps.append(layers.Conv2D(channels, 3, strides=2, padding="same"))
            steps += [norm()] if channels > 64 else []
            steps.append(layers.LeakyReLU(0.2))
        steps += [layers.Flatten(), layers.Dense(1024), layers.LeakyReLU(0.2)]
        return keras.Sequential([*steps, layers.Dense(2 * latent_dim + 1)])

    def sub_decoder():
        return keras.Sequential(
            [
                keras.Input((latent_dim,)),
                layers.Dense(8 * 8 * 256),
                layers.Reshape((8, 8, 256)),
                norm(),
                layers.ReLU(),
            ]
        )

    mix_decoder = keras.Sequential([keras.Input((8, 8, 256))])
    for strides in (2, 1, 2, 1):
        mix_decoder.add(layers.Conv2DTranspose(256, 3, strides, padding="same"))
        mix_decoder.add(norm())
        mix_decoder.add(layers.ReLU())
    mix_decoder.add(layers.Conv2DTranspose(3, 3, padding="same", activation="tanh"))
    return (
        [encoder() for _ in range(num_components)],
        [sub_decoder() for _ in range(num_components)],
        mix_decoder,
    )


def dhsic(latents):
    """Estimate the square root of dHSIC of a list of `[n, d]` tensors."""
    d = latents[0].shape[-1]
    log_distance = math.log(2.0) + math.lgamma((d + 1) / 2) - math.lgamma(d / 2)
    gamma = 0.5 * math.exp(-2.0 * log_distance)
    joint = product_of_means = product_of_rows = 1.0
    for z in latents:
        squared = tf.reduce_sum(tf.square(z[:, None, :] - z[None, :, :]), axis=-1)
        kernel = tf.exp(-gamma * squared)
        joint *= kernel
        product_of_means *= tf.reduce_mean(kernel)
        product_of_rows *= tf.reduce_mean(kernel, axis=1)
    value = tf.reduce_mean(joint) + product_of_means
    return tf.sqrt(tf.maximum(value - 2.0 * tf.reduce_mean(product_of_rows), 1e-12))


class NaiveMVAE(keras.Model):
    """MVAE-GS with one sub-model per component.

    Args:
        networks: encoders, sub-decoders and the mix-decoder (`mlp_networks`).
        latent_dim: number Z of dimensions of a latent.
        reconstruction: "bernoulli" or "sse".
    """

    def __init__(self, networks, latent_dim, reconstruction="bernoulli"):
        super().__init__()
        self.encoders, self.sub_decoders, self.mix_decoder = networks
        self.latent_dim = latent_dim
        self.reconstruction = reconstruction
        self.theta = self.add_weight(
            shape=(1,), initializer=keras.initializers.Constant(math.log(0.1 / 0.9))
        )
        names = ("loss", "reconstruction", "kl", "dirichlet_kl", "dhsic", "mask")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @property
    def metrics(self):
        """The means that `fit` shows and resets."""
        return list(self.trackers.values())

    def train_step(self, x):
        """Train one step of the optimiser."""
        with tf.GradientTape() as tape:
            terms = self.loss_terms(x)
            loss = tf.add_n(list(terms.values()))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        for name, value in {"loss": loss, **terms}.items():
            self.trackers[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def loss_terms(self, x):
        """Compute the terms of the objective, scalars."""
        means, stddevs, scores, latents, features = [], [], [], [], []
        for encoder, sub_decoder in zip(self.encoders, self.sub_decoders, strict=True):
            head = encoder(x, training=True)
            mean = head[:, : self.latent_dim]
            stddev = 1e-6 + tf.nn.softplus(head[:, self.latent_dim : -1])
            z = mean + stddev * tf.random.normal(tf.shape(mean))
            means.append(mean)
            stddevs.append(stddev)
            scores.append(1e-6 + tf.nn.softplus(head[:, -1:]))
            latents.append(z)
            features.append(sub_decoder(z, training=True))

        scores = tf.concat(scores, axis=1)
        alpha = scores / tf.reduce_sum(scores, axis=1, keepdims=True)
        p = tf.sigmoid(self.theta)
        weights = self.draw_weights(alpha) * self.draw_mask(p, tf.shape(alpha))
        weights /= tf.reduce_sum(weights, axis=1, keepdims=True) + 1e-8
        mixed = 0.0
        for i, feature in enumerate(features):
            weight = weights[:, i]
            mixed += tf.reshape(weight, [-1] + [1] * (len(feature.shape) - 1)) * feature
        outputs = self.mix_decoder(mixed, training=True)

        kls = [
            0.5 * tf.reduce_sum(m**2 + s**2 - 1.0 - tf.math.log(s**2), axis=1)
            for m, s in zip(means, stddevs, strict=True)
        ]
        entropy = -p * tf.math.log(p) - (1.0 - p) * tf.math.log(1.0 - p)
        return {
            "reconstruction": tf.reduce_mean(self.error(x, outputs)),
            "kl": tf.reduce_mean(tf.add_n(kls)) / len(kls),
            "dirichlet_kl": tf.reduce_mean(self.dirichlet_kl(alpha)),
            "dhsic": dhsic(latents),
            "mask": -10.0 * tf.reduce_sum(entropy**2),
        }

    def draw_weights(self, alpha):
        """Draw mixing weights `[B, K]`, without a gradient as in TensorFlow 1.6."""
        if alpha.shape[1] == 1:
            return tf.ones_like(alpha)
        return tf.stop_gradient(tfd.Dirichlet(alpha).sample())

    def dirichlet_kl(self, alpha):
        """Compute the KL of the mixing weights, `[B]` in nats."""
        if alpha.shape[1] == 1:
            return tf.zeros_like(alpha[:, 0])
        prior = tf.ones_like(alpha) / alpha.shape[1]
        clipped = tf.clip_by_value(alpha, 0.1, 0.8)
        return tfd.Dirichlet(clipped).kl_divergence(tfd.Dirichlet(prior))

    def draw_mask(self, p, shape):
        """Draw the Gumbel-softmax mask `[B, K]` at temperature 0.1."""

        def gumbel():
            return -tf.math.log(-tf.math.log(tf.random.uniform(shape) + 1e-20) + 1e-20)

        logits = [tf.math.log(1.0 - p) + gumbel(), tf.math.log(p) + gumbel()]
        return tf.nn.softmax(tf.stack(logits, axis=-1) / 0.1)[..., 0]

    def error(self, x, outputs):
        """Compute the reconstruction error of each example, `[B]`."""
        if self.reconstruction == "sse":
            return tf.reduce_sum(tf.square(x - outputs), axis=(1, 2, 3))
        outputs = tf.clip_by_value(outputs, 1e-7, 1.0 - 1e-7)
        log_prob = x * tf.math.log(outputs) + (1.0 - x) * tf.math.log(1.0 - outputs)
        return -tf.reduce_sum(log_prob, axis=1)


class PlainVAE(keras.Model):
    """The single VAE of plain Keras layers, to be compiled with `binary_error`.

    Args:
        latent_dim: number Z of dimensions of a latent.
    """

    def __init__(self, latent_dim):
        super().__init__()
        self.encoder = keras.Sequential(
            [
                keras.Input((784,)),
                layers.Dense(500, "elu"),
                layers.Dense(500, "tanh"),
                layers.Dense(2 * latent_dim),
            ]
        )
        self.decoder = keras.Sequential(
            [
                keras.Input((latent_dim,)),
                layers.Dense(500, "tanh"),
                layers.Dense(500, "elu"),
                layers.Dense(784, "sigmoid"),
            ]
        )
        self.built = True

    def call(self, x):
        """Reconstruct images from a draw of the latents, and add the KL to the loss."""
        mean, raw = tf.split(self.encoder(x), 2, axis=1)
        stddev = 1e-6 + tf.nn.softplus(raw)
        kl = mean**2 + stddev**2 - 1.0 - tf.math.log(stddev**2)
        self.add_loss(0.5 * tf.reduce_mean(tf.reduce_sum(kl, axis=1)))
        return self.decoder(mean + stddev * tf.random.normal(tf.shape(mean)))

    @staticmethod
    def binary_error(x, outputs):
        """Compute the binary cross-entropy summed over pixels, `[B]` in nats."""
        return 784.0 * keras.losses.binary_crossentropy(x, outputs)
