"""What CP-VAE and its independence variants share: a category and a Gaussian latent.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE, LossTerms
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.networks.base import layer_seed
from mvae_tf.parts.networks.gated import ComponentLinear, clipped_head
from mvae_tf.parts.part import choice

__all__ = ["CategoricalVAE", "CategoryTable"]


class CategoryTable(NamedTuple):
    """The most probable categories of each label (Tables 2 and A1).

    Attributes:
        rows: dict from label to a list of pairs (category, probability), the mean of
            q(c given x) over the images of the label, the greatest first.
    """

    rows: dict

    @classmethod
    def of(cls, probabilities, labels, top=5):
        """Table of images of known q(c given x).

        Args:
            probabilities: `[B, K]`.
            labels: `[B]` integers.
            top: categories listed for each label, at most K.
        """
        rows = {}
        for label in np.unique(labels):
            mean = probabilities[labels == label].mean(axis=0)
            best = np.argsort(-mean, kind="stable")[:top]
            rows[int(label)] = [(int(k), float(mean[k])) for k in best]
        return cls(rows)

    @property
    def distinct(self):
        """Number of categories in the table."""
        return len(self._uses())

    @property
    def reused(self):
        """Dict from each category of more than one label to its number of labels."""
        return {category: n for category, n in self._uses().items() if n > 1}

    def _uses(self):
        listed = [category for row in self.rows.values() for category, _ in row]
        return {category: listed.count(category) for category in listed}


class CategoricalVAE(BaseVAE):
    """A category c and a Gaussian latent z: p(c) p(z given c) p(x given z, c).

    q(z, c given x) = Cat(c; pi(x)) N(z; mean_c(x), stddev_c(x)^2), p(c) = 1/K, and the
    objective (Eq 11-13) is the sum of

        reconstruction   -log p(x given z, c) at one draw of c and z,
        kl               sum_k pi_k(x) KL(q(z given x, k) || p(z given k)),
        category_kl      KL(q(c given x) || p(c)) = log K - H(pi(x)).

    The draw of c is one-hot, so that the bound is one of the discrete model; its
    gradient is that of the relaxed draw softmax((log pi + Gumbel) / temperature)
    (Eq 15, straight-through).

    A component, as in `weights` and `component=`, is a category. `decode` and what
    builds on it give c the value of the greatest weight (of equal ones, the lowest
    category) and z that of the category. Images are generated from the categories in
    the proportions of `aggregate`: 1/K, the p(c) that the bound is about, until
    `fit_aggregate` makes it the q(c) of the training images (Eq 18).

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        num_components: K, number of categories.
        latent_dim: Z.
        network: "gated_mlp" or another network with a trunk (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z, c) (`mvae_tf.likelihoods`).
        temperature: of the relaxed draw of c (0.67; the paper gives none).
        decoder_uses_c: whether the decoder takes c beside z.
        seed: int that decides initial weights and all noise.
        z_condition: what the posterior of z takes beside the image, see `CPVAE`; None
            where it takes nothing.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Attributes:
        posterior_uses_c: whether q(z given x, c) depends on c.
        prior_uses_c: whether p(z given c) does; otherwise it is N(0, I).
        aggregate: variable `[K]`, the proportions of the categories in `generate`.
    """

    has_categories = True
    posterior_uses_c = False
    prior_uses_c = False

    def __init__(
        self,
        input_shape=(28, 28, 1),
        num_components=10,
        latent_dim=40,
        network="gated_mlp",
        likelihood="bernoulli",
        temperature=0.67,
        decoder_uses_c=True,
        seed=0,
        *,
        z_condition=None,
        **kwargs,
    ):
        super().__init__(
            input_shape=input_shape,
            latent_dim=latent_dim,
            num_components=num_components,
            num_classes=None,
            network=network,
            likelihood=likelihood,
            term_weights={"reconstruction": 1.0, "kl": 1.0, "category_kl": 1.0},
            diagnostics=(),
            seed=seed,
            **kwargs,
        )
        if not hasattr(self.network, "trunk"):
            raise ValueError(
                "Expected a network with a trunk, such as 'gated_mlp', got "
                f"{self.network.name!r}."
            )
        if not temperature > 0:
            raise ValueError(f"Expected temperature > 0, got {temperature!r}.")
        self.temperature = temperature
        self.decoder_uses_c = decoder_uses_c
        self.z_condition = z_condition
        if self.posterior_uses_c:
            modes = ("enumerate", "sample", "pi")
            self.z_condition = choice(z_condition, modes, "z_condition")
        self._make_encoder()
        classes = num_components if decoder_uses_c else 0
        self.sub_decoder = self.make_sub_decoder(1, num_classes=classes)
        self.mix_decoder = self.make_mix_decoder()
        if self.prior_uses_c:
            # Means as far apart as N(0, I) makes them give all images to one category
            # within an epoch, and none comes back.
            self.prior = priors.ConditionalGaussian(
                num_components, latent_dim, seed, spread=0.1
            )
        self.aggregate = self.add_weight(
            name="aggregate",
            shape=(num_components,),
            initializer=keras.initializers.Constant(1.0 / num_components),
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )

    def _make_encoder(self):
        hidden, categories = self.network.hidden, self.num_components
        self.trunk = self.network.trunk(self.input_shape, **self._named("trunk"))
        self.category_head = self._layer("category_head", hidden, categories)
        if self.posterior_uses_c:
            self.gate = self._layer(
                "gate", hidden + categories, hidden, gated=True, kind=CategoryGate
            )
        else:
            self.gate = self._layer("gate", hidden, hidden, gated=True)
        self.gaussian_head = self._layer("gaussian_head", hidden, 2 * self.latent_dim)

    def _layer(self, name, input_units, units, gated=False, kind=ComponentLinear):
        return kind(
            num_components=1,
            input_units=input_units,
            units=units,
            gated=gated,
            # "mlp" has no choice: its layers are He's.
            initializer=getattr(self.network, "initializer", "he"),
            seed=layer_seed(self.seed, name),
            name=name,
            dtype=self.dtype_policy,
        )

    # === Hooks of BaseVAE ===

    def infer(self, x, y=None, noise=None, training=False):
        """As in `BaseVAE`, with `mean` and `stddev` `[B, 1, Z]` where all c share them.

        A graph leaves out the K posteriors where nothing reads them.
        """
        features = self.trunk(x, noise=noise, training=training)
        logits = tf.squeeze(self.category_head(features), axis=0)
        log_weights = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        weights = tf.exp(log_weights)
        condition = weights if self.z_condition == "pi" else None
        mean, stddev = self._gaussians(features, condition)
        return {
            "mean": mean,
            "stddev": stddev,
            "weights": weights,
            "log_weights": log_weights,
            "features": features,
        }

    def _gaussians(self, features, c=None):
        """Means and stddevs of z, `[B, 1, Z]` given c `[B, K]`, `[B, K, Z]` of all."""
        if self.posterior_uses_c:
            hidden = self.gate(features, c)
        else:
            hidden = tf.transpose(self.gate(features), [1, 0, 2])
        num, units = hidden.shape[1:]
        outputs = self.gaussian_head(tf.reshape(hidden, [1, -1, units]))
        outputs = tf.reshape(outputs, [-1, num, outputs.shape[-1]])
        return clipped_head(outputs, self.latent_dim)[:2]

    def _gaussian_given(self, posterior, c):
        """Mean and stddev of q(z given x, c) at a one-hot c `[B, K]`, `[B, 1, Z]`."""
        if self.z_condition == "sample":
            return self._gaussians(posterior["features"], c)
        if self.z_condition == "enumerate":
            return _pick(posterior["mean"], c), _pick(posterior["stddev"], c)
        return posterior["mean"], posterior["stddev"]

    def draw(self, posterior, noise, category=None):
        """As in `BaseVAE`, with one z `[B, 1, Z]`, from the drawn or given category."""
        if category is None:
            c = self._draw_category(posterior["log_weights"], noise)
        else:
            c = self._select(posterior["weights"], category)
        mean, stddev = self._gaussian_given(posterior, c)
        z = gaussian.draw({"mean": mean, "stddev": stddev}, noise)
        return {"z": z, "weights": c, "mean": mean, "stddev": stddev}

    def _draw_category(self, log_weights, noise):
        gumbels = noise("category", _gumbel, log_weights)
        return _harden(tf.nn.softmax((log_weights + gumbels) / self.temperature))

    def draw_prior(self, like, noise):
        log_weights = tf.zeros_like(like) + tf.math.log(self.aggregate)
        mean, stddev = self.prior_moments()
        z = mean + stddev * gaussian.draw_standard(like, self.latent_dim, noise)
        return {"z": z, "weights": self._draw_category(log_weights, noise)}

    def prior_moments(self):
        """Mean and stddev of p(z given c), each broadcasting to `[K, Z]`."""
        return self.prior.components()[:2] if self.prior_uses_c else (0.0, 1.0)

    def gaussian_kl(self, distribution):
        """Sum over k of weights_k KL(N(mean_k, stddev_k^2) || p(z given k)), `[B]`."""
        kl = divergences.gaussian_kl(
            distribution["mean"], distribution["stddev"], *self.prior_moments()
        )
        return tf.reduce_sum(distribution["weights"] * kl, axis=-1)

    def category_kl(self, posterior):
        """KL(q(c given x) || p(c)) in nats, `[B]` (Eq 13)."""
        negative_entropy = posterior["weights"] * posterior["log_weights"]
        return math.log(self.num_components) + tf.reduce_sum(negative_entropy, axis=-1)

    def kl_nats(self, posterior, latents):
        return self.gaussian_kl(posterior) + self.category_kl(posterior)

    def log_density_ratio(self, posterior, latents):
        c, z = latents["weights"], latents["z"]
        mean, stddev = self.prior_moments()
        if self.prior_uses_c:
            category = tf.argmax(c, axis=-1)[:, tf.newaxis]
            mean, stddev = tf.gather(mean, category), tf.gather(stddev, category)
        ratio = gaussian.log_density_ratio(latents, z, mean, stddev)[:, 0]
        log_q = tf.reduce_sum(c * posterior["log_weights"], axis=-1)
        return ratio - math.log(self.num_components) - log_q

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        c = _harden(weights)
        z = z if z.shape[1] == 1 else _pick(z, c)
        labels = c if self.decoder_uses_c else None
        features = self.sub_decoder(z, labels, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        features = self.mix_decoder(features, noise=noise, training=training)
        return self.likelihood.link(features)

    def loss_terms(self, x, y, noise, training):
        posterior = self.infer(x, y, noise, training)
        latents = self.draw(posterior, noise)
        sampled = training and self.z_condition == "sample"
        return LossTerms(
            per_example={
                "reconstruction": self.reconstruction_error(
                    x, latents, y, noise, training
                ),
                "kl": self.gaussian_kl(latents if sampled else posterior),
                "category_kl": self.category_kl(posterior),
            },
            per_batch={},
            diagnostics={},
        )

    def encode_batch(self, x, y):
        posterior = super().encode_batch(x, y)
        shape = tf.shape(posterior["weights"])
        shape = tf.concat([shape, [self.latent_dim]], 0)
        for key in ("mean", "stddev"):
            posterior[key] = tf.broadcast_to(posterior[key], shape)
        return posterior

    def reconstruct_batch(self, x, y, seed=None, component=None, **draw_options):
        if seed is not None:
            draw_options["category"] = component
        return super().reconstruct_batch(x, y, seed, component, **draw_options)

    # === Inspection ===

    def category_probabilities(self, x):
        """q(c given x), `[B, K]`, the `weights` of `encode` without the rest.

        Args:
            x: `[B, ...]` images.
        """
        return self._in_chunks(self._probabilities_batch, *self._images(x))

    def _probabilities_batch(self, x, y):
        return self.infer(x, y)["weights"]

    def fit_aggregate(self, x):
        """Sets `aggregate` to q(c), the mean of q(c given x) (Eq 18).

        From then on `generate` draws categories in these proportions; the variable is
        saved with the model. `aggregate.assign` sets others, such as 1/K again.

        Args:
            x: training images `[N, ...]`, or a data set of batches of x or (x, y),
                of which one epoch is read.

        Returns:
            q(c), a float32 array `[K]`.

        Raises:
            ValueError: on images that do not fit the model, and an endless data set.
        """
        self.check_arrays(x)
        batches = [x]
        if isinstance(x, tf.data.Dataset):
            if x.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise ValueError("Expected a data set with an end, got an endless one.")
            batches = (b[0] if isinstance(b, tuple) else b for b in x)
        total, num = np.zeros(self.num_components), 0
        for batch in batches:
            total += np.sum(self.category_probabilities(batch), 0, dtype=np.float64)
            num += len(batch)
        self.aggregate.assign(total / num)
        return self.aggregate.numpy()

    def after_training(self, dataset):
        """Aggregate of the training images of a run."""
        self.fit_aggregate(dataset)

    def category_table(self, x, labels, top=5):
        """The most probable categories of each label (Tables 2 and A1).

        Args:
            x: `[B, ...]` images.
            labels: `[B]` integers, which the model itself never sees.
            top: categories listed for each label, at most K.

        Returns:
            `CategoryTable`.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(x),):
            raise ValueError(
                f"Expected {len(x)} labels, got shape {list(labels.shape)}."
            )
        if not 1 <= top <= self.num_components:
            raise ValueError(f"Expected top in 1..{self.num_components}, got {top}.")
        probabilities = self.category_probabilities(x).numpy()
        return CategoryTable.of(probabilities, labels, top)


class CategoryGate(ComponentLinear):
    """Gated layer on [h, c] for features h `[B, H]` and categories c.

    The layer is linear before its gate, so c adds one row of the kernel to what h
    gives: no copy of h is made for each of K categories.
    """

    def call(self, features, c=None):
        """`[B, 1, O]` given c `[B, K]`; `[B, K, O]` of every one-hot c without it."""
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
        values, gates = tf.split(shared[:, tf.newaxis], 2, axis=-1)
        own_values, own_gates = tf.split(own, 2, axis=-1)
        return (values + own_values) * tf.sigmoid(gates + own_gates)


def _gumbel(seed, like):
    return tfd.Gumbel(0.0, 1.0).sample(tf.shape(like), seed=seed)


def _harden(weights):
    """One-hot rows of the greatest weights, with the gradient of the weights."""

    def one_hot(weights):
        # Of equal weights, top_k is documented to find the first.
        index = tf.math.top_k(weights, k=1).indices
        return tf.one_hot(tf.squeeze(index, axis=-1), weights.shape[-1])

    return tf.grad_pass_through(one_hot)(weights)


def _pick(values, c):
    """Rows `[B, 1, Z]` of `[B, K, Z]` at a one-hot c `[B, K]`, exact in any mode."""
    return tf.reduce_sum(values * c[..., tf.newaxis], axis=1, keepdims=True)
