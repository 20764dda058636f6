"""CGM: a VAE whose latents are matched to one prototype for each category by MMD.

Abrol, Sharma and Patra, "Improving Generative Modelling in VAEs Using Multimodal
Prior", IEEE Transactions on Multimedia, 2020. Equation numbers are the paper's.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw, Posterior
from mvae_tf.models.prototypes import (
    mmd_within_categories,
    prototype_loss,
    squared_distances,
)
from mvae_tf.models.registry import register
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.part import choice, like_default
from mvae_tf.parts.terms import Term

__all__ = ["CGM", "rate_variance"]


@register("cgm")
class CGM(BaseVAE):
    """VAE with K prototypes g_k in the latent space: CGM1, and CGM2 with labels.

    The encoder makes a code r, to which noise of one fixed variance s^2 is added:
    q(z | x) = N(r(x), s^2 I) and p(z) = (1/K) sum_k N(g_k, s^2 I). Each image belongs
    to one category k(x): its label (CGM2), or the category of the nearest prototype
    (CGM1). The decoder gets only z. The objective to minimise (Eq 6) is the sum of

        reconstruction   -log p(x | z)
        mmd              squared MMD of the latents z of the batch and as many draws of
                         N(g_k(x), s^2 I), with the kernel exp(-||a - b||^2 / (2 Z)) and
                         the weight lambda, `mmd_weight`                     (Eq 5, 7)
        prototype        ||r - g_k(x)||^2 + sum_j max(0, margin - ||r - g_j||^2) over
                         all j other than k(x), with the weight beta,
                         `prototype_weight`                                     (Eq 8)

    `used_prototypes`, the number of categories in the batch, is logged only.

    The objective is not a bound on log p(x). Proposition 1 of the paper claims that it
    is, but an MMD does not bound a KL divergence. The paper uses the variance 0.02 in
    every experiment, while the information rates that it states give 4^(-rate / Z),
    which is 0.125 for 15 bits and Z = 10: `variance` sets the former,
    `information_rate` the latter.

    `log_likelihood` draws half of its samples from N(r, s^2 I) and half from p(z), and
    weighs each of them by the density of this mixture, because N(r, s^2 I) alone is
    narrower than the true posterior, which can make the estimate wrong by hundreds of
    nats. On images only a few draws count even so, because the true posterior lies
    between the code and its prototype. For a CGM2 after 6 epochs on 6,000 digits of
    MNIST, 2 of 100 draws counted, and the estimate was 2.6 nats higher than that from
    N(r, s^2 I) alone. `effective_sample_size` tells how many draws count. If there are
    only a few, the estimate is too low to compare models by.

    Labels are needed to train and evaluate CGM2, and for nothing else; the label passed
    to `generate` is the category to draw from.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`.
        latent_dim: int, Z, size of the latent.
        num_components: int, K, number of prototypes, which is that of classes in CGM2.
        supervised: bool; False is CGM1, True is CGM2.
        variance: float, s^2, variance of the noise in the latent space.
        information_rate: float, information rate in bits per image, from which s^2 is
            computed as 4^(-rate / Z); None takes `variance`.
        mmd_weight, prototype_weight: floats, weights lambda and beta of the terms.
        margin: float, squared distance up to which a code is repelled by the prototypes
            of other categories.
        granularity: "category" compares the z of each category in the batch with as
            many draws around its prototype, and averages over categories in proportion
            to their sizes, without those of one image; "joint" compares all z with all
            draws, which is Eq 5 if its S and T are the whole batch.
        unbiased: bool, whether the MMD leaves out the diagonals of the kernel matrices.
            Eq 5 has the diagonals, but in a category of few images they pull z towards
            the prototype.
        prototype_init: "codes" for a run that calls `initialize_prototypes` before
            training, "normal" for one that starts from draws from N(0, I). None is
            "codes" for CGM1 and "normal" for CGM2, whose labels move every prototype.
        input_noise: float, standard deviation of the normal noise, in the pixel scale,
            that is added in training to the images that the encoder gets, for a
            denoising model (Sec IV-D).

    Raises:
        ValueError: on an argument out of its range.

    Example:
        >>> import mvae_tf
        >>> cgm = mvae_tf.models.CGM(input_shape=(8, 8, 1), latent_dim=2)
        >>> cgm.generate(3, component=7, seed=0).shape
        TensorShape([3, 8, 8, 1])
    """

    no_bound = "an MMD bounds no KL divergence"
    has_categories = True
    prior: priors.Prototypes
    fixed = ("num_classes",)

    def __init__(
        self,
        *args: Any,
        latent_dim: int = 10,
        num_components: int = 10,
        supervised: bool = False,
        variance: float = 0.02,
        information_rate: float | None = None,
        mmd_weight: float = 1000.0,
        prototype_weight: float = 1.0,
        margin: float = 1.0,
        granularity: str = "category",
        unbiased: bool = True,
        prototype_init: str | None = None,
        input_noise: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            latent_dim=latent_dim,
            num_components=num_components,
            num_classes=num_components if supervised else None,
            terms={
                "reconstruction": Term(),
                "mmd": Term(mmd_weight, per="batch"),
                "prototype": Term(prototype_weight),
                "used_prototypes": Term(weight=None, per="batch"),
            }
            | kwargs.pop("terms", {}),
            labels="training" if supervised else None,
            **kwargs,
        )
        self.supervised = supervised
        self.variance = variance
        self.information_rate = information_rate
        self.mmd_weight = mmd_weight
        self.prototype_weight = prototype_weight
        self.margin = margin
        self.granularity = choice(granularity, ("category", "joint"), "granularity")
        self.unbiased = unbiased
        starts = (None, "codes", "normal")
        self.prototype_init = choice(prototype_init, starts, "prototype_init")
        self.input_noise = input_noise
        for key in ("margin", "input_noise"):
            if getattr(self, key) < 0:
                raise ValueError(f"Expected {key} >= 0, got {getattr(self, key)}.")
        if self.variance <= 0:
            raise ValueError(f"Expected variance > 0, got {variance}.")
        if information_rate is not None:
            if like_default("information_rate", information_rate, 0.0) < 0:
                raise ValueError(
                    f"Expected information_rate >= 0, got {information_rate}."
                )
            variance = rate_variance(information_rate, latent_dim)
        self.noise_stddev = math.sqrt(variance)

        # No layer gets the labels, because p(x) does not depend on them.
        self.encoder = self.make_encoder(1, num_classes=0, deviations=False)
        self.sub_decoder = self.make_sub_decoder(1, num_classes=0)
        self.mix_decoder = self.make_mix_decoder()
        self.prior = priors.Prototypes(num_components, latent_dim, variance, self.seed)

    # === Sampling ===

    def infer(self, x, y=None, noise=None, training=False):
        codes, _, _ = self.encoder(x, noise=noise, training=training)
        weights = y
        if y is None:
            distances = squared_distances(codes[:, 0], self._prototypes())
            nearest = tf.argmin(distances, axis=1)
            weights = tf.one_hot(nearest, self.num_components)
        mean = tf.repeat(codes, self.num_components, axis=1)
        stddev = tf.fill(tf.shape(mean), self.noise_stddev)
        return Posterior(mean, stddev, weights)

    def draw(self, posterior, noise):
        z = self._around(posterior.mean[:, 0], "z", noise)
        z = tf.repeat(z[:, tf.newaxis], self.num_components, axis=1)
        return Draw(z, posterior.weights)

    def draw_prior(self, like, noise):
        prototypes, _, equal = self.prior.components()
        drawn = priors.draw_index("category", equal, like[:, 0], noise)
        centers = tf.zeros_like(like)[..., tf.newaxis] + prototypes
        z = self._around(centers, "z", noise)
        return Draw(z, weights=tf.one_hot(drawn, self.num_components))

    def _prototypes(self):
        return tf.convert_to_tensor(self.prior.means)

    def _around(self, centers, name, noise):
        return centers + self.noise_stddev * noise.standard_normal(name, centers)

    def _corrupted(self, x, noise):
        return x + self.input_noise * noise.standard_normal("input_noise", x)

    # === Decoder ===

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        z = tf.gather(z, tf.argmax(weights, axis=1), axis=1, batch_dims=1)
        return self.decode_one(z[:, tf.newaxis], None, noise, training)

    # === Objective (6) ===

    def loss_terms(self, x, y, noise, training):
        self.input_checks.require_labels(y)
        seen = self._corrupted(x, noise) if training and self.input_noise else x
        q = self.infer(seen, y, noise, training)
        draw = self.draw(q, noise)
        codes, categories, g = q.mean[:, 0], q.weights, self._prototypes()
        own = tf.gather(g, tf.argmax(categories, axis=1))  # g_k(x)
        drawn = self._around(own, "prior_z", noise)
        error = self.reconstruction_error(x, draw, noise=noise, training=training)
        return {
            "reconstruction": error,
            "mmd": self.discrepancy(draw.z[:, 0], drawn, categories),  # (5), (7)
            "prototype": prototype_loss(codes, g, categories, self.margin),  # (8)
            "used_prototypes": self.num_used(categories),  # logged only
        }

    def discrepancy(self, z, drawn, categories) -> tf.Tensor:
        """Estimate the squared MMD of the term `mmd`, a scalar (Eq 5, 7).

        Args:
            z: `[B, Z]`, drawn from q(z | x).
            drawn: `[B, Z]`, drawn from N(g_k(x), s^2 I).
            categories: `[B, K]`, the one-hot categories k(x).
        """
        categories = self.gather_rows(categories)
        together = tf.ones_like(categories[:, :1])
        return mmd_within_categories(
            self.gather_rows(z),
            self.gather_rows(drawn),
            categories if self.granularity == "category" else together,
            bandwidth=math.sqrt(self.latent_dim),
            unbiased=self.unbiased,
        )

    def num_used(self, categories) -> tf.Tensor:
        """Count the categories that occur in a batch of one-hot rows, to be logged."""
        used = tf.reduce_max(self.gather_rows(categories), axis=0) > 0.5
        return tf.reduce_sum(tf.cast(used, tf.float32))

    # === Evidence ===

    def draw_proposal(self, posterior, noise):
        """Draw z from q(z | x) / 2 + p(z) / 2, which covers the true posterior."""
        codes = posterior.mean[:, 0]
        prototypes, _, equal = self.prior.components()
        drawn = priors.draw_index("category", equal, codes[:, 0], noise)
        halves = tf.constant([0.5, 0.5])
        own = priors.draw_index("proposal", halves, codes[:, 0], noise)
        centers = tf.where(own[:, tf.newaxis] > 0, codes, tf.gather(prototypes, drawn))
        z = self._around(centers, "z", noise)
        z = tf.repeat(z[:, tf.newaxis], self.num_components, axis=1)
        return Draw(z, posterior.weights)

    def log_importance_weight(self, x, posterior, latents, y=None):
        """Compute log p(x, z) - log (q(z | x) / 2 + p(z) / 2) in nats, `[B]`."""
        # With r = p(z) / q(z | x), p / (q / 2 + p / 2) is 2 r / (1 + r).
        ratio = self.log_density_ratio(posterior, latents)
        weight = math.log(2.0) + tf.math.log_sigmoid(ratio)
        return self.log_prob_given(x, latents, y) + weight

    def log_density_ratio(self, posterior, latents):
        z, mean = latents.z[:, 0], posterior.mean[:, 0]
        log_q = gaussian.log_prob(mean, self.noise_stddev, z)
        return self.prior.log_prob(z) - log_q

    # === Generation ===

    def generate_batch(self, seeds, y, component=None, sampler=None):
        """Compute what `generate` returns; `y` is the one-hot category to draw from."""
        like = tf.zeros([tf.shape(seeds)[0], self.num_components])
        latents = self._draw_unseen(like, RowNoise(seeds), sampler)
        weights = self._select(latents.weights if y is None else y, component)
        return self.decode_batch(latents.z, weights, None)

    # === Prototypes ===

    def initialize_prototypes(self, x: Any, y: Any = None) -> None:
        """Move the prototypes to the codes of images.

        For CGM1 they become the centres of k-means, started by k-means++ with the seed
        of the model, and for CGM2 the mean code of each class. The method is called
        before `fit`, as `mvae_tf.training.train` does. Otherwise prototypes are draws
        from N(0, I), most of which are not the nearest one to any code, and no term of
        CGM1 moves such a prototype. On the digits of scikit-learn (15 epochs, Z = 10, K
        = 10) CGM1 used 2 of 10 prototypes without this call and all 10 with it.

        Args:
            x: `[B, ...]` images, at least one per category.
            y: `[B]` labels, for CGM2.

        Raises:
            ValueError: there is a category without an image.
        """
        from sklearn.cluster import KMeans

        self.input_checks.require_labels(y)
        codes = self.codes(x).numpy()
        if self.supervised:
            members = self.input_checks.one_hot(y, len(codes)).numpy()
            counts = members.sum(axis=0)
            if not counts.all():
                empty = int(np.argmin(counts))
                raise ValueError(f"Expected images of each class, got none of {empty}.")
            centers = members.T @ codes / counts[:, np.newaxis]
        else:
            if len(codes) < self.num_components:
                raise ValueError(
                    f"Expected at least {self.num_components} images for as many "
                    f"prototypes, got {len(codes)}."
                )
            kmeans = KMeans(self.num_components, n_init=1, random_state=self.seed)
            centers = kmeans.fit(codes).cluster_centers_
        self.prior.means.assign(centers)

    def before_training(self, dataset):
        """Put the prototypes where `prototype_init` says."""
        init = self.prototype_init or ("normal" if self.supervised else "codes")
        if init == "codes":
            batches = [keras.utils.unpack_x_y_sample_weight(b)[:2] for b in dataset]
            x, y = zip(*batches, strict=True)
            y = tf.concat(y, 0) if self.supervised else None
            self.initialize_prototypes(tf.concat(x, 0), y)

    def codes(self, x: Any) -> tf.Tensor:
        """Compute the codes r of images, `[B, Z]`."""
        return self.encode(x)["mean"][:, 0]

    # === Measurements ===

    def classification_error(
        self, train_x: Any, train_y: Any, test_x: Any, test_y: Any
    ) -> float:
        """Measure the error of a classifier of codes in percent of images (Table I).

        The classifier has one layer of 128 ReLU and a softmax, and is trained with Adam
        on the codes of the trained model; the paper does not describe its own.

        Args:
            train_x: `[B, ...]` images to train the classifier on.
            train_y: `[B]` integers, their labels.
            test_x: `[N, ...]` images to test it on.
            test_y: `[N]` integers, their labels.
        """
        from sklearn.neural_network import MLPClassifier

        # It is trained until the loss stops falling, whatever the number of images.
        classifier = MLPClassifier(128, max_iter=1000, random_state=self.seed)
        classifier.fit(self.codes(train_x).numpy(), np.asarray(train_y))
        right = classifier.score(self.codes(test_x).numpy(), np.asarray(test_y))
        return 100.0 * (1.0 - right)

    def denoise(self, x: Any, seed: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Add noise to images and reconstruct them (Fig 6).

        Args:
            x: `[B, ...]` clean images.
            seed: int that decides the noise; None for the seed of the model.

        Returns:
            The images with the noise of `input_noise`, some of whose pixels are out of
            range, and their deterministic reconstructions, both `[B, ...]`.
        """
        x, _ = self.input_checks.pair(x)
        return self._in_chunks(self._denoise_batch, x, self._row_seeds(len(x), seed))

    def _denoise_batch(self, x, seed):
        noisy = self._corrupted(x, RowNoise(content_seeds(x, seed)))
        return noisy, self.reconstruct_batch(noisy, None)


def rate_variance(bits: float, latent_dim: int) -> float:
    """Compute the variance 4^(-bits / latent_dim) of the noise from a rate (Sec IV-B).

    Each dimension of z has variance 1, which is the sum of the variances of the code
    and of the noise.

    Args:
        bits: float, information rate in bits per image.
        latent_dim: int, Z, size of the latent.
    """
    return 4.0 ** (-bits / latent_dim)
