"""What every model is: its parts, its weights, and the hooks that it writes.

A model writes `infer`, `decode_outputs`, `draw`, `draw_prior`, `log_density_ratio`,
`kl_nats` and `loss_terms`; training is in `step.py`, and what can be asked of a trained
model in `inference.py` and `evidence.py`. Models of one Gaussian latent find all of
these in `single.py`.
"""

import math
import numbers
from typing import NamedTuple

import keras

from mvae_tf.models.inference import Inference
from mvae_tf.models.registry import arguments
from mvae_tf.models.training_step import TrainingStep
from mvae_tf.noise import check_seed
from mvae_tf.parts import likelihoods, networks
from mvae_tf.parts.part import Part

__all__ = ["BaseVAE", "LossTerms"]


class LossTerms(NamedTuple):
    """The parts of an objective, unweighted, each under its name.

    Attributes:
        per_example: dict of `[B]` tensors, in nats unless the term says otherwise.
        per_batch: dict of scalars that belong to the global batch as a whole. A
            scalar that depends on latents is computed from the latents of all
            replicas (`gather_rows`), so that it is the same on each.
        diagnostics: dict of `[B]` tensors or scalars that are logged, not minimised.
    """

    per_example: dict
    per_batch: dict
    diagnostics: dict


class BaseVAE(TrainingStep, Inference, keras.Model):
    """A variational autoencoder with a custom training step.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        latent_dim: Z, size of one component's latent.
        num_components: K; 1 for a single VAE.
        num_classes: number of labels that condition the model, or None.
        network: name or configuration of the networks (`mvae_tf.networks`).
        likelihood: name or configuration of p(x given z) (`mvae_tf.likelihoods`).
        term_weights: dict from the name of each term of the objective to its weight.
        diagnostics: names of the diagnostics that `loss_terms` returns.
        seed: int that decides initial weights and all noise.
        **kwargs: `name` and `dtype` of `keras.Model`.

    Attributes:
        step: int64 variable, training steps done, skipped ones included.
        skipped_steps: int64 variable, steps skipped because of bad batches.
        term_weights: dict of scalar variables; a warm-up moves them. Evaluation uses
            the weights given at construction.
        no_bound: why the model has no evidence lower bound; None where it has one.
        reads_pixels: whether `decode_outputs` takes the image, `x=`, for decoders that
            predict each pixel from those before it.
        has_categories: whether the K axis counts categories that share one encoder
            and decoder, rather than components with networks of their own.
        relaxed: whether the objective feeds relaxed categories to the networks, which
            makes it no bound; `elbo` takes one-hot ones all the same.
    """

    registry_name = None
    no_bound = None
    reads_pixels = False
    has_categories = False
    relaxed = False

    def __init__(
        self,
        *,
        input_shape,
        latent_dim,
        num_components,
        num_classes,
        network,
        likelihood,
        term_weights,
        diagnostics,
        seed,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sequence = isinstance(input_shape, (tuple, list))
        if not sequence or len(input_shape) not in (1, 3) or min(input_shape) < 1:
            raise ValueError(
                "Expected input_shape (height, width, channels) or (size,), "
                f"got {input_shape}."
            )
        sizes = {"latent_dim": latent_dim, "num_components": num_components}
        sizes |= {} if num_classes is None else {"num_classes": num_classes}
        for key, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Expected {key} an integer >= 1, got {value!r}.")
        self.input_shape = tuple(int(side) for side in input_shape)
        self.latent_dim = latent_dim
        self.num_components = num_components
        self.num_classes = num_classes
        self.network = networks.get(network).for_images(self.input_shape)
        if self.network.autoregressive and not self.reads_pixels:
            raise ValueError(
                f"Expected a network for {type(self).__name__} whose decoder does not "
                f"read pixels, got {self.network.name!r}."
            )
        self.likelihood = likelihoods.get(likelihood)
        self.seed = check_seed(seed)

        for key, value in term_weights.items():
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise ValueError(f"Expected a finite weight of {key}, got {value!r}.")
        self.final_weights = {k: float(v) for k, v in term_weights.items()}
        self.term_weights = {
            key: self._scalar(f"{key}_weight", value)
            for key, value in self.final_weights.items()
        }
        self.step = self._scalar("step", 0, "int64")
        self.skipped_steps = self._scalar("skipped_steps", 0, "int64")
        self.skipped_in_a_row = self._scalar("skipped_in_a_row", 0, "int64")
        self.found_range = self.add_weight(
            name="found_range",
            shape=(2,),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            aggregation="only_first_replica",
        )
        self.found_at = self._scalar("found_at", -1, "int64")
        self._loss_metric = keras.metrics.Mean(name="loss")
        self._term_metrics = {
            key: keras.metrics.Mean(name=key)
            for key in (*self.final_weights, *diagnostics)
        }
        self.built = True

    @property
    def conditional(self):
        """Whether p(x) depends on labels, which are then needed for every answer."""
        return self.num_classes is not None

    def _scalar(self, name, value, dtype="float32"):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype=dtype,
            aggregation="only_first_replica",
        )

    # === Networks ===

    def make_encoder(self, num_components, latent_dim=None, **options):
        """Encoder of K components; `options` are those of `network.encoder`."""
        return self.network.encoder(
            self.input_shape,
            latent_dim or self.latent_dim,
            num_components=num_components,
            **{"num_classes": self.num_classes or 0, "scores": False} | options,
            **self._named("encoder"),
        )

    def make_sub_decoder(self, num_components, num_classes=None):
        """Sub-decoder of K components; by default it sees the labels that q sees."""
        if num_classes is None:
            num_classes = self.num_classes or 0
        return self.network.sub_decoder(
            self.latent_dim,
            num_components=num_components,
            num_classes=num_classes,
            **self._named("sub_decoder"),
        )

    def make_mix_decoder(self, num_components=None):
        """Mix-decoder to outputs of the likelihood; shared by all by default."""
        *sides, channels = self.input_shape
        channels *= self.likelihood.channels_per_channel
        return self.network.mix_decoder(
            (*sides, channels),
            num_components=num_components,
            **self._named("mix_decoder"),
        )

    def _named(self, name):
        return {"name": name, "seed": self.seed, "dtype": self.dtype_policy}

    # === Keras ===

    def build(self, input_shape=None):
        """Nothing to do: every variable is made by the constructor."""

    def get_config(self):
        config = super().get_config()
        for key in arguments(type(self)):
            value = getattr(self, key)
            value = value.get_config() if isinstance(value, Part) else value
            config[key] = list(value) if isinstance(value, tuple) else value
        return config

    # === What a model writes ===

    def infer(self, x, y=None, noise=None, training=False):
        """Parameters of q(latents given x).

        Args:
            x: `[B, ...]` images.
            y: `[B, num_classes]` one-hot labels or None.
            noise: noise of the step (for layer dropout).
            training: bool.

        Returns:
            dict with `mean` and `stddev` `[B, K, Z]`, `weights` `[B, K]` (rows sum to
            1), and whatever else of leading axis B the model needs.
        """
        raise NotImplementedError

    def draw(self, posterior, noise):
        """Latents drawn from q: dict with `z` `[B, K, Z]` and `weights` `[B, K]`."""
        raise NotImplementedError

    def draw_proposal(self, posterior, noise):
        """Latents, as `draw`, that importance sampling of log p(x) starts from."""
        return self.draw(posterior, noise)

    def draw_prior(self, like, noise):
        """Latents drawn from the prior, as `draw`; `like` is any `[B, K]` tensor."""
        raise NotImplementedError

    def log_density_ratio(self, posterior, latents):
        """Log p(latents) - log q(latents given x) in nats, `[B]`."""
        raise NotImplementedError

    def kl_nats(self, posterior, latents):
        """KL(q(latents given x) || p(latents)) of the evidence bound in nats, `[B]`.

        Closed forms where they exist; `latents` is the draw that the bound is
        evaluated at, for those that have none.
        """
        raise NotImplementedError

    def decode_outputs(self, z, weights, y=None, noise=None, training=False):
        """Outputs of the likelihood from z `[B, K, Z]` and weights `[B, K]`.

        Where `reads_pixels` it takes the image too, `x [B, H, W, 1]`, which is given
        if, and only if, the network is autoregressive.
        """
        raise NotImplementedError

    def log_prob_given(self, x, latents, y=None, noise=None, training=False):
        """Log p(x given latents) in nats, `[B]`.

        A model that draws from each component of q at once returns the mean over q.
        """
        z, weights = latents["z"], latents["weights"]
        pixels = {"x": x} if self.network.autoregressive else {}
        outputs = self.decode_outputs(z, weights, y, noise, training, **pixels)
        return self.likelihood.log_prob(x, outputs)

    def log_importance_weight(self, x, posterior, latents, y=None):
        """Log of p(x, latents) / q(latents given x) in nats, `[B]`."""
        ratio = self.log_density_ratio(posterior, latents)
        return self.log_prob_given(x, latents, y) + ratio

    def reconstruction_error(self, x, latents, y=None, noise=None, training=False):
        """-log p(x given latents), less the constant of the likelihood, `[B]`."""
        log_prob = self.log_prob_given(x, latents, y, noise, training)
        return -log_prob - self.likelihood.constant(math.prod(self.input_shape))

    def loss_terms(self, x, y, noise, training):
        """`LossTerms` of a batch."""
        raise NotImplementedError

    def training_callbacks(self):
        """Keras callbacks that every `fit` of this model runs: none."""
        return []

    def before_training(self, dataset):
        """What a run does with some training batches before its first step: nothing."""

    def after_training(self, dataset):
        """What a run does with its training images after its last step: nothing."""
