"""What CP-VAE and its independence variants share: a category and a Gaussian latent.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import Draw
from mvae_tf.noise import RowNoise, content_seeds
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.networks.base import layer_seed
from mvae_tf.parts.networks.gated import ComponentLinear, clipped_head
from mvae_tf.parts.part import Kinds, Part, choice
from mvae_tf.parts.terms import Term

__all__ = ["AnnealedTemperature", "CategoricalVAE", "CategoryTable"]


class CategoryTable(NamedTuple):
    """The most probable categories of each label (Tables 2 and A1).

    Attributes:
        rows: dict from label to a list of pairs (category, probability), the mean of
            q(c | x) over the images of the label, the greatest first.
    """

    rows: dict[int, list[tuple[int, float]]]

    @classmethod
    def of(
        cls, probabilities: np.ndarray, labels: np.ndarray, top: int = 5
    ) -> "CategoryTable":
        """Make the table of images of known q(c | x).

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
    def distinct(self) -> int:
        """Number of categories in the table."""
        return len(self._uses())

    @property
    def reused(self) -> dict[int, int]:
        """Dict from each category of more than one label to its number of labels."""
        return {category: n for category, n in self._uses().items() if n > 1}

    def _uses(self):
        listed = [category for row in self.rows.values() for category, _ in row]
        return {category: listed.count(category) for category in listed}


class CategoryPosterior(NamedTuple):
    """q(z, c | x): category probabilities, and Gaussians of z given each category.

    Attributes:
        mean: `[B, K, Z]`, or `[B, 1, Z]` where all categories share it.
        stddev: like `mean`, positive.
        weights: `[B, K]`, the probabilities q(c | x).
        log_weights: `[B, K]`, their logarithms.
        features: `[B, hidden]` of the image, for q(z | x, c).
    """

    mean: tf.Tensor
    stddev: tf.Tensor
    weights: tf.Tensor
    log_weights: tf.Tensor
    features: tf.Tensor


class CategoryDraw(NamedTuple):
    """A category and a latent drawn from q(z, c | x).

    Attributes:
        z: `[B, 1, Z]`.
        weights: `[B, K]`, the category as a one-hot row, or its relaxation.
        mean: `[B, 1, Z]`, of the Gaussian that z came from.
        stddev: `[B, 1, Z]`.
    """

    z: tf.Tensor
    weights: tf.Tensor
    mean: tf.Tensor
    stddev: tf.Tensor


_TEMPERATURES = Kinds("temperature")


@_TEMPERATURES.register("annealed")
class AnnealedTemperature(Part):
    """A temperature that falls from epoch to epoch, as in the authors' code of CP-VAE.

    Epoch e, counted from 1, multiplies the temperature of the epoch before it by
    exp(-rate e), down to `least`. The defaults reach 0.5 in epoch 215.

    Args:
        start: float, the temperature before the first epoch.
        rate: float.
        least: float, the lowest temperature.

    Raises:
        ValueError: unless `start >= least > 0` and `rate >= 0`.
    """

    def __init__(self, start: float = 1.0, rate: float = 3e-5, least: float = 0.5):
        if not (start >= least > 0 and rate >= 0):
            raise ValueError(
                "Expected an annealed temperature with start >= least > 0 and rate >= "
                f"0, got start {start!r}, rate {rate!r} and least {least!r}."
            )
        self.start = start
        self.rate = rate
        self.least = least

    def at(self, epoch: int) -> float:
        """Compute the temperature of an epoch, counted from 1; 0 is before training."""
        exponent = -self.rate * epoch * (epoch + 1) / 2
        return max(self.start * math.exp(exponent), self.least)


class _Annealing(keras.callbacks.Callback):
    """Sets the temperature of each epoch, a function of the epoch's number alone."""

    def on_epoch_begin(self, epoch, logs=None):
        """Set the temperature for the epoch."""
        model = self.model
        model.current_temperature.assign(model.temperature.at(epoch + 1))


class CategoricalVAE(BaseVAE):
    """A category c and a Gaussian latent z: p(c) p(z | c) p(x | z, c).

    q(z, c | x) = Cat(c; pi(x)) N(z; mean_c(x), stddev_c(x)^2), p(c) = 1/K, and the
    objective (Eq 11-13) is the sum of

        reconstruction   -log p(x | z, c) at one draw of c and z,
        kl               sum_k pi_k(x) KL(q(z | x, k) || p(z | k)),
        category_kl      KL(q(c | x) || p(c)) = log K - H(pi(x)).

    `relaxation` chooses how c is drawn in training. With "straight_through" the
    draw is one-hot, so that the objective is a bound of the discrete model, and its
    gradient is that of the relaxed draw softmax((log pi + Gumbel) / temperature)
    (Eq 15). With "relaxed" the networks get the relaxed draw itself, in training and
    in validation, and where q(z | x, c) depends on c, its draw and that of the decoder
    are independent. This is what the authors' code does
    (https://github.com/macio232/cp-vae). Such an objective is no bound: a relaxed c
    tells the decoder more than `category_kl` charges for it, about K^2 / (K + 1) times
    as much where q(c | x) is nearly uniform. Models trained with it report two numbers:
    `elbo`, the valid bound with a one-hot c that encoder and decoder share, and
    `elbo_relaxed`, the objective itself.

    A component, as in `weights` and `component=`, is a category. `decode`, and each
    method that decodes, takes as c the category of the greatest weight (the first of
    equal ones), and as z the latent of this category. `generate` draws categories in
    the proportions of `aggregate`. These are 1/K, the p(c) of the bound, until
    `fit_aggregate` sets them to the q(c) of the training images (Eq 18).

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`; the network must have a trunk.
            The likelihood is that of p(x | z, c).
        num_components: int, K, number of categories.
        temperature: of the relaxed draw of c: a float (0.67; the paper gives none), or
            "annealed", or the configuration of an `AnnealedTemperature`, which `fit`
            then applies in each epoch.
        decoder_uses_c: bool, whether the decoder takes c beside z.
        relaxation: "straight_through" or "relaxed".
        logits: "linear" for the logits of q(c | x) as the paper has them; "elu" applies
            an ELU to them, as the authors' code does, which keeps them above -1;
            "zero" holds them at 0, a control in which c is independent of the image.
        extra_layer: bool, whether a gated layer stands before the mean and the variance
            of q(z | x, c), as in the paper; the authors' code has none.
        train_prior: bool, whether p(z | c) is trained. The authors' code does not give
            its parameters to the optimiser, so that they stay where they started.
        prior_init: "normal" starts the means of p(z | c) at N(0, 0.1^2) and the
            variances at 1; "uniform" is the start of the authors' code, see
            `mvae_tf.priors.MixtureOfGaussians`.
        z_condition: what the posterior of z takes beside the image, see `CPVAE`; None
            where it takes nothing.

    Raises:
        ValueError: on an argument out of its range.

    Attributes:
        posterior_uses_c: whether q(z | x, c) depends on c.
        prior_uses_c: whether p(z | c) does; otherwise it is N(0, I).
        aggregate: variable `[K]`, the proportions of the categories in `generate`.
        current_temperature: the temperature in use, a float, or a variable that is
            saved with the model where it is annealed.
    """

    has_categories = True
    fixed = ("num_classes", "z_condition")
    posterior_uses_c = False
    prior_uses_c = False

    def __init__(
        self,
        *args: Any,
        num_components: int = 10,
        latent_dim: int = 40,
        network: str | dict | Part = "gated_mlp",
        temperature: float | str | dict | Part = 0.67,
        decoder_uses_c: bool = True,
        relaxation: str = "straight_through",
        logits: str = "linear",
        extra_layer: bool = True,
        train_prior: bool = True,
        prior_init: str = "normal",
        z_condition: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            *args,
            num_components=num_components,
            latent_dim=latent_dim,
            num_classes=None,
            network=network,
            terms={
                "reconstruction": Term(),
                "kl": Term(warmup=True),
                "category_kl": Term(warmup=True),
            },
            **kwargs,
        )
        if not hasattr(self.network, "trunk"):
            raise ValueError(
                "Expected a network with a trunk, such as 'gated_mlp', got "
                f"{self.network.name!r}."
            )
        self._set_temperature(temperature)
        self.decoder_uses_c = decoder_uses_c
        relaxations = ("straight_through", "relaxed")
        self.relaxation = choice(relaxation, relaxations, "relaxation")
        self.relaxed = relaxation == "relaxed"
        self.logits = choice(logits, ("linear", "elu", "zero"), "logits")
        self.extra_layer = extra_layer
        self.train_prior = train_prior
        self.prior_init = prior_init
        if self.posterior_uses_c:
            choice(z_condition, ("enumerate", "sample", "pi"), "z_condition")
        self.z_condition = z_condition
        if self.relaxed and self.z_condition == "enumerate":
            raise ValueError(
                "Expected z_condition 'sample' or 'pi' with relaxation='relaxed', for "
                "a relaxed c is none of the enumerated ones, got 'enumerate'."
            )
        self._make_encoder()
        classes = num_components if decoder_uses_c else 0
        self.sub_decoder = self.make_sub_decoder(1, num_classes=classes)
        self.mix_decoder = self.make_mix_decoder()
        if self.prior_uses_c:
            # With means drawn from N(0, I), one category takes all images within an
            # epoch, and the others never get any back.
            self.prior = priors.ConditionalGaussian(
                num_components,
                latent_dim,
                self.seed,
                spread=0.1,
                init=prior_init,
                trainable=train_prior,
            )
        self.aggregate = self.add_weight(
            name="aggregate",
            shape=(num_components,),
            initializer=keras.initializers.Constant(1.0 / num_components),
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )

    def _set_temperature(self, temperature):
        if isinstance(temperature, (str, dict, Part)):
            self.temperature = _TEMPERATURES.get(temperature)
            self.current_temperature = self._scalar(
                "temperature", self.temperature.start
            )
            return
        if not temperature > 0:
            raise ValueError(f"Expected temperature > 0, got {temperature!r}.")
        self.temperature = self.current_temperature = temperature

    def training_callbacks(self):
        annealed = isinstance(self.temperature, AnnealedTemperature)
        return [_Annealing()] if annealed else []

    def _make_encoder(self):
        hidden, categories = self.network.hidden, self.num_components
        self.trunk = self.network.trunk(self.network_spec("trunk", 1))
        if self.logits != "zero":
            self.category_head = self._layer("category_head", hidden, categories)
        # The first layer of q(z | x, c) takes c where the posterior depends on it.
        first, inputs = ComponentLinear, hidden
        if self.posterior_uses_c:
            first, inputs = CategoryLinear, hidden + categories
        if self.extra_layer:
            self.gate = self._layer("gate", inputs, hidden, gated=True, kind=first)
            first, inputs = ComponentLinear, hidden
        moments = 2 * self.latent_dim
        self.gaussian_head = self._layer("gaussian_head", inputs, moments, kind=first)

    def _layer(self, name, input_units, units, gated=False, kind=ComponentLinear):
        return kind(
            num_components=1,
            input_units=input_units,
            units=units,
            gated=gated,
            # The network "mlp" has no such argument and always starts as He et al. do.
            initializer=getattr(self.network, "initializer", "he"),
            seed=layer_seed(self.seed, name),
            name=name,
            dtype=self.dtype_policy,
        )

    # === Posterior q(z, c | x) ===

    def infer(self, x, y=None, noise=None, training=False):
        """As in `BaseVAE`, with `mean` and `stddev` `[B, 1, Z]` where all c share them.

        A compiled function does not compute the K posteriors where nothing reads them.
        """
        features = self.trunk(x, noise=noise, training=training)
        log_weights = tf.nn.log_softmax(self._category_logits(features))
        weights = tf.exp(log_weights)
        condition = weights if self.z_condition == "pi" else None
        mean, stddev = self._gaussians(features, condition)
        return CategoryPosterior(mean, stddev, weights, log_weights, features)

    def _category_logits(self, features):
        """Compute the logits of q(c | x), float32 `[B, K]`."""
        if self.logits == "zero":
            return tf.zeros([tf.shape(features)[0], self.num_components])
        logits = tf.squeeze(self.category_head(features), axis=0)
        logits = tf.cast(logits, tf.float32)
        return tf.nn.elu(logits) if self.logits == "elu" else logits

    def _gaussians(self, features, c=None):
        """Compute mean and stddev of q(z | x, c).

        Args:
            features: `[B, H]` of the image.
            c: `[B, K]`, one-hot, relaxed or probabilities; None for every category.

        Returns:
            two tensors `[B, 1, Z]`, or `[B, K, Z]` for every category.
        """
        first = self.gate if self.extra_layer else self.gaussian_head
        if self.posterior_uses_c:
            outputs = first(features, c)
        else:
            outputs = tf.transpose(first(features), [1, 0, 2])
        if self.extra_layer:
            num, units = outputs.shape[1:]
            outputs = self.gaussian_head(tf.reshape(outputs, [1, -1, units]))
            outputs = tf.reshape(outputs, [-1, num, outputs.shape[-1]])
        return clipped_head(outputs, self.latent_dim)[:2]

    def _gaussian_given(self, posterior, c):
        """Return mean and stddev `[B, 1, Z]` of q(z | x, c) at a one-hot c `[B, K]`."""
        if self.z_condition == "sample":
            return self._gaussians(posterior.features, c)
        if self.z_condition == "enumerate":
            return _pick(posterior.mean, c), _pick(posterior.stddev, c)
        return posterior.mean, posterior.stddev

    # === Draws (15) ===

    def draw(self, posterior, noise, category=None):
        """As in `BaseVAE`, with one z `[B, 1, Z]`, of `category` where it is given."""
        if category is None:
            c = self._draw_category(posterior.log_weights, noise)
        else:
            c = self._select(posterior.weights, category)
        mean, stddev = self._gaussian_given(posterior, c)
        z = noise.normal("z", mean, stddev)
        return CategoryDraw(z, c, mean, stddev)

    def _draw_category(self, log_weights, noise):
        return _harden(self._relaxed_category(log_weights, noise))

    def _relaxed_category(self, log_weights, noise, name="category"):
        gumbels = noise.gumbel(name, log_weights)
        return tf.nn.softmax((log_weights + gumbels) / self.current_temperature)

    def draw_relaxed(self, posterior, noise):
        """Draw latents, as `draw`, with relaxed categories in place of one-hot ones.

        The posterior of z, where it depends on c, gets a relaxed draw of its own.
        """
        mean, stddev = posterior.mean, posterior.stddev
        if self.z_condition == "sample":
            c = self._relaxed_category(posterior.log_weights, noise, "condition")
            mean, stddev = self._gaussians(posterior.features, c)
        z = noise.normal("z", mean, stddev)
        c = self._relaxed_category(posterior.log_weights, noise)
        return CategoryDraw(z, c, mean, stddev)

    def draw_prior(self, like, noise):
        log_weights = tf.zeros_like(like) + tf.math.log(self.aggregate)
        mean, stddev = self.prior_moments()
        z = mean + stddev * gaussian.draw_standard(like, self.latent_dim, noise)
        return Draw(z, weights=self._draw_category(log_weights, noise))

    def prior_moments(self) -> tuple[Any, Any]:
        """Return mean and stddev of p(z | c), each broadcasting to `[K, Z]`."""
        return self.prior.components()[:2] if self.prior_uses_c else (0.0, 1.0)

    # === Decoder ===

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        c = _harden(weights)
        z = z if z.shape[1] == 1 else _pick(z, c)
        return self.outputs_of(z, c, noise, training)

    def outputs_of(self, z, c, noise=None, training=False):
        """Compute outputs of the likelihood from z `[B, 1, Z]` and c `[B, K]` as is."""
        labels = c if self.decoder_uses_c else None
        features = self.sub_decoder(z, labels, noise=noise, training=training)
        features = tf.squeeze(features, axis=0)
        features = self.mix_decoder(features, noise=noise, training=training)
        return self.likelihood.link(features)

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        outputs = self.outputs_of(latents.z, latents.weights, noise, training)
        return self.likelihood.log_prob(x, outputs)

    # === Objective (11-13) ===

    def loss_terms(self, x, y, noise, training):
        q = self.infer(x, y, noise, training)
        if self.relaxed:
            draw = self.draw_relaxed(q, noise)
            charged = draw._replace(weights=q.weights)
        else:
            draw = self.draw(q, noise)
            # One posterior of z, that of the drawn c, estimates the sum over all.
            sampled = training and self.z_condition == "sample"
            charged = draw if sampled else q
        return {
            "reconstruction": self.reconstruction_error(x, draw, y, noise, training),
            "kl": self.gaussian_kl(charged),  # (12)
            "category_kl": self.category_kl(q),  # (13)
        }

    def gaussian_kl(self, distribution) -> tf.Tensor:
        """Compute sum_k weights_k KL(N(mean_k, stddev_k^2) || p(z | k)) in nats, `[B]`.

        Args:
            distribution: has `weights` `[B, K]`, and `mean` and `stddev`
                `[B, K, Z]`, or `[B, 1, Z]` where all categories share them.
        """
        kl = divergences.gaussian_kl(
            distribution.mean, distribution.stddev, *self.prior_moments()
        )
        return tf.reduce_sum(distribution.weights * kl, axis=-1)

    def category_kl(self, posterior) -> tf.Tensor:
        """Compute KL(q(c | x) || p(c)) in nats, `[B]` (Eq 13)."""
        negative_entropy = posterior.weights * posterior.log_weights
        return math.log(self.num_components) + tf.reduce_sum(negative_entropy, axis=-1)

    # === Evidence ===

    def kl_nats(self, posterior, latents):
        return self.gaussian_kl(posterior) + self.category_kl(posterior)

    def log_density_ratio(self, posterior, latents):
        c, z = latents.weights, latents.z
        mean, stddev = self.prior_moments()
        if self.prior_uses_c:
            category = tf.argmax(c, axis=-1)[:, tf.newaxis]
            mean, stddev = tf.gather(mean, category), tf.gather(stddev, category)
        ratio = gaussian.log_density_ratio(
            latents.mean, latents.stddev, z, mean, stddev
        )[:, 0]
        log_q = tf.reduce_sum(c * posterior.log_weights, axis=-1)
        return ratio - math.log(self.num_components) - log_q

    def elbo_relaxed(self, x: Any, seed: int | None = None) -> tf.Tensor:
        """Compute -1 times the objective with a relaxed c, which is not a bound.

        It is the number that the authors' code of CP-VAE reports: log p(x | z, c) at
        relaxed draws of c, minus all KL terms in full. A relaxed c tells the decoder
        more than `category_kl` accounts for, so compare this number only with numbers
        of that code.

        Args:
            x: `[B, ...]` images.
            seed: int; None is the model's own seed.

        Returns:
            `[B]` nats.

        Raises:
            ValueError: unless the model was made with `relaxation="relaxed"`.
        """
        if not self.relaxed:
            raise ValueError(
                "Expected relaxation='relaxed' for elbo_relaxed, got "
                f"{self.relaxation!r}."
            )
        x = self.input_checks.images(x)
        return self._in_chunks(
            self._elbo_relaxed_batch, x, self._row_seeds(len(x), seed)
        )

    def _elbo_relaxed_batch(self, x, seed):
        noise = RowNoise(content_seeds(x, seed))
        terms = self.loss_terms(x, None, noise, training=False)
        constant = self.likelihood.constant(math.prod(self.input_shape))
        return -sum(terms.values()) - constant

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

    def category_probabilities(self, x: Any) -> tf.Tensor:
        """Compute q(c | x), `[B, K]`, the `weights` of `encode` without the rest.

        Args:
            x: `[B, ...]` images.
        """
        return self._in_chunks(self._probabilities_batch, *self.input_checks.pair(x))

    def _probabilities_batch(self, x, y):
        return self.infer(x, y).weights

    def fit_aggregate(self, x: Any) -> np.ndarray:
        """Set `aggregate` to q(c), the mean of q(c | x) over images (Eq 18).

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
        self.input_checks.check(x)
        batches: Iterable = [x]
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
        """Fit the aggregate to the training images of a run."""
        self.fit_aggregate(dataset)

    def category_table(self, x: Any, labels: Any, top: int = 5) -> CategoryTable:
        """List the most probable categories of each label (Tables 2 and A1).

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
        return self.activate(shared[:, tf.newaxis] + own)


def _harden(weights):
    """Return one-hot rows of the greatest weights, with the gradient of the weights."""

    def one_hot(weights):
        # Of equal weights, top_k is documented to find the first.
        index = tf.math.top_k(weights, k=1).indices
        return tf.one_hot(tf.squeeze(index, axis=-1), weights.shape[-1])

    return tf.grad_pass_through(one_hot)(weights)


def _pick(values, c):
    """Pick rows `[B, 1, Z]` of `[B, K, Z]` at a one-hot c `[B, K]`, exactly."""
    return tf.reduce_sum(values * c[..., tf.newaxis], axis=1, keepdims=True)
