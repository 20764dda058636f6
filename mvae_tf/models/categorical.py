"""The parent of CP-VAE and its variants: VAEs of a category and a Gaussian latent.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020). `categories.py` has the draws of a
category, `category_inspection.py` the methods about the categories of a trained model.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.categories import (
    AnnealedTemperature,
    Annealing,
    CategoryDraw,
    CategoryPosterior,
    harden,
    pick,
    relaxed_category,
    temperatures,
)
from mvae_tf.models.category_inspection import CategoryInspection
from mvae_tf.models.hooks import Draw
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.networks.gated import (
    CategoryLinear,
    ComponentLinear,
    clipped_head,
)
from mvae_tf.parts.networks.network import layer_seed
from mvae_tf.parts.part import Part, choice
from mvae_tf.parts.terms import Term

__all__ = ["CategoricalVAE"]


class CategoricalVAE(BaseVAE, CategoryInspection):
    """VAE of a category c and a Gaussian latent z: p(c) p(z | c) p(x | z, c).

    The posterior is q(z, c | x) = Cat(c; pi(x)) N(z; mean_c(x), stddev_c(x)^2), the
    prior of the categories p(c) = 1/K, and the objective (Eq 11-13) the sum of

        reconstruction   -log p(x | z, c) at one draw of c and z     (A of Eq 11)
        kl               sum_k pi_k(x) KL(q(z | x, k) || p(z | k))      (Eq 12)
        category_kl      KL(q(c | x) || p(c)) = log K - H(pi(x))        (Eq 13)

    `relaxation` chooses how c is drawn in training. With "straight_through" the draw is
    one-hot, so that the objective is a bound of the model with discrete categories, and
    its gradient is that of the relaxed draw softmax((log pi + Gumbel) / temperature)
    (Eq 15). With "relaxed" the networks get the relaxed draw itself, in training and
    in validation; if q(z | x, c) depends on c, it and the decoder get independent
    draws. This is what the authors' code does (https://github.com/macio232/cp-vae).
    Such an objective is no bound, because a relaxed c gives the decoder more
    information than `category_kl` accounts for: about K^2 / (K + 1) times as much where
    q(c | x) is nearly uniform. Models trained with it report two numbers: `elbo`, the
    valid bound with a one-hot c that encoder and decoder share, and `elbo_relaxed`, the
    objective itself.

    The components of `weights` and `component=` are the categories. Each method that
    decodes takes as c the category of the greatest weight (the first of equal ones),
    and as z the latent of this category. `generate` draws categories in the proportions
    of `aggregate`. These are 1/K, the p(c) of the bound, until `fit_aggregate` sets
    them to the q(c) of the training images (Eq 18).

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`; the network must have a trunk.
        num_components: int, K, number of categories.
        latent_dim: int, Z, size of the latent.
        network: name or configuration of the networks.
        temperature: temperature of the relaxed draw of c, a float (the paper gives
            none); or "annealed" or the configuration of an `AnnealedTemperature`, which
            changes it in each epoch.
        relaxation: "straight_through" for one-hot draws of c in training, or "relaxed"
            for relaxed ones, as in the authors' code.
        logits: "linear" for the logits of q(c | x) as in the paper; "elu" applies an
            ELU to them, as in the authors' code, which keeps them above -1; "zero"
            holds them at 0, a control in which c is independent of the image.
        extra_layer: bool, whether there is a gated layer before the mean and the
            variance of q(z | x, c), as in the paper; the authors' code has none.
        train_prior: bool, whether p(z | c) is trained. In the authors' code the
            optimiser does not get its parameters, which therefore never change.
        prior_init: "normal" draws the initial means of p(z | c) from N(0, 0.1^2) and
            sets the variances to 1; "uniform" is as in the authors' code, see
            `mvae_tf.priors.MixtureOfGaussians`.
        z_condition: str, see `CPVAE`; None in the models whose posterior depends only
            on the image.

    Raises:
        ValueError: on an argument out of its range.

    Attributes:
        posterior_uses_c: bool, whether q(z | x, c) depends on c.
        prior_uses_c: bool, whether p(z | c) depends on c; otherwise it is N(0, I).
        current_temperature: the temperature of the moment, a float; if it is annealed,
            a variable that is saved with the model.
        aggregate: variable `[K]`, the proportions of the categories in `generate`.
    """

    has_categories = True
    prior: priors.ConditionalGaussian
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
            }
            | kwargs.pop("terms", {}),
            **kwargs,
        )
        self._set_temperature(temperature)
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
                "Expected z_condition 'sample' or 'pi' with relaxation='relaxed', "
                "because a relaxed c cannot be enumerated, got 'enumerate'."
            )
        self._make_encoder()
        self.sub_decoder = self.make_sub_decoder(1, num_classes=num_components)
        self.mix_decoder = self.make_mix_decoder()
        if self.prior_uses_c:
            # With means drawn from N(0, I), one category would get all images within an
            # epoch, and the others would never get any again.
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

    # === Posterior q(z, c | x) = q(c | x) q(z | x, c) (10) ===

    def infer(self, x, y=None, noise=None, training=False):
        """Compute the parameters of q(z, c | x), a `CategoryPosterior`.

        `mean` and `stddev` are `[B, 1, Z]` if they do not depend on c. If they do, a
        compiled function computes those of all K categories only where they are needed.
        """
        features = self.trunk(x, noise=noise, training=training)
        log_pi = tf.nn.log_softmax(self._category_logits(features))
        pi = tf.exp(log_pi)
        condition = pi if self.z_condition == "pi" else None
        mean, stddev = self._gaussians(features, condition)
        return CategoryPosterior(mean, stddev, pi, log_pi, features)

    def draw(self, posterior, noise, category=None):
        """Draw c and one z, `[B, 1, Z]`; with `category`, an int, c is this one."""
        if category is None:
            c = self._draw_category(posterior.log_weights, noise)  # (15)
        else:
            c = self._select(posterior.weights, category)
        mean, stddev = self._gaussian_at(posterior, c)
        z = noise.normal("z", mean, stddev)
        return CategoryDraw(z, c, mean, stddev)

    def draw_relaxed(self, posterior, noise):
        """Draw latents as `draw` does, but with relaxed categories.

        If the posterior of z depends on c, it gets a relaxed draw of its own.
        """
        log_pi, temperature = posterior.log_weights, self.current_temperature
        mean, stddev = posterior.mean, posterior.stddev
        if self.z_condition == "sample":
            c = relaxed_category(log_pi, temperature, noise, "condition")
            mean, stddev = self._gaussians(posterior.features, c)
        z = noise.normal("z", mean, stddev)
        c = relaxed_category(log_pi, temperature, noise, "category")
        return CategoryDraw(z, c, mean, stddev)

    def _draw_category(self, log_pi, noise):
        temperature = self.current_temperature
        return harden(relaxed_category(log_pi, temperature, noise, "category"))

    # === Prior p(c) p(z | c) (8, 9) ===

    def draw_prior(self, like, noise):
        log_weights = tf.zeros_like(like) + tf.math.log(self.aggregate)
        mean, stddev = self.prior_moments()
        z = mean + stddev * gaussian.draw_standard(like, self.latent_dim, noise)
        return Draw(z, weights=self._draw_category(log_weights, noise))

    def prior_moments(self) -> tuple[Any, Any]:
        """Return mean and stddev of p(z | c), `[K, Z]`, or the numbers 0 and 1."""
        return self.prior.components()[:2] if self.prior_uses_c else (0.0, 1.0)

    # === Decoder p(x | z, c) (8) ===

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        c = harden(weights)
        z = z if z.shape[1] == 1 else pick(z, c)
        return self.decode_one(z, c, noise, training)

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        # A relaxed c is decoded as it is.
        outputs = self.decode_one(latents.z, latents.weights, noise, training)
        return self.likelihood.log_prob(x, outputs)

    # === Objective (11-13) ===

    def loss_terms(self, x, y, noise, training):
        q = self.infer(x, y, noise, training)
        if self.relaxed:
            draw = self.draw_relaxed(q, noise)
            charged = draw._replace(weights=q.weights)
        else:
            draw = self.draw(q, noise)
            # The posterior of z at the drawn c alone estimates the sum of Eq 12.
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
            distribution: named tuple with `weights` `[B, K]`, and with `mean` and
                `stddev` `[B, K, Z]`, or `[B, 1, Z]` if all categories share them.
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

    # === Layers of the posterior, and the temperature ===

    def _set_temperature(self, temperature):
        if isinstance(temperature, (str, dict, Part)):
            self.temperature = temperatures.get(temperature)
            self.current_temperature = self._scalar(
                "temperature", self.temperature.start
            )
            return
        self.temperature = temperature
        if not self.temperature > 0:
            raise ValueError(f"Expected temperature > 0, got {temperature!r}.")
        self.current_temperature = self.temperature

    def training_callbacks(self):
        annealed = isinstance(self.temperature, AnnealedTemperature)
        return [Annealing()] if annealed else []

    def _make_encoder(self):
        self.trunk = self.network.trunk(self.network_spec("trunk", 1))
        hidden, categories = self.network.hidden, self.num_components
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
            initializer=self.network.initializer,
            seed=layer_seed(self.seed, name),
            name=name,
            dtype=self.dtype_policy,
        )

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
            Two tensors `[B, 1, Z]`, or `[B, K, Z]` for every category.
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

    def _gaussian_at(self, posterior, c):
        """Return mean and stddev `[B, 1, Z]` of q(z | x, c) at a one-hot c `[B, K]`."""
        if self.z_condition == "sample":
            return self._gaussians(posterior.features, c)
        if self.z_condition == "enumerate":
            return pick(posterior.mean, c), pick(posterior.stddev, c)
        return posterior.mean, posterior.stddev
