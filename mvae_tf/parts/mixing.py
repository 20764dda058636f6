"""Mixing weights of the components: w ~ Dirichlet(alpha(x)).

Weights are drawn and kept as log w. A Gamma(alpha) variable is drawn as
Gamma(alpha + 1) U^(1 / alpha). Its logarithm neither underflows nor loses its implicit
reparameterisation gradient where alpha is far below 1, as it is in these models.

Source: Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), Sec IV-A.
"""

import tensorflow as tf

from mvae_tf import divergences
from mvae_tf.noise import Noise, standard_exponentials, standard_normals
from mvae_tf.parts.part import Kinds, Part, choice

__all__ = ["DirichletWeights", "get", "names", "register", "safe_log"]

_PROPOSALS = 8
# The least concentration, because the KL grows like 1 / alpha.
_FLOOR = 1e-3


def _gamma_sample(seed, alpha):
    """Draw from Gamma(alpha, 1) for alpha >= 1, shaped like `alpha`.

    It is the rejection method of Marsaglia and Tsang (2000) with a fixed number of
    proposals, each of which is accepted with probability 0.95 or more. A draw is the
    same eagerly and in any graph, unlike that of TFP, which has two samplers and
    chooses one while TensorFlow optimises the graph. The gradient is that of implicit
    reparameterisation (Figurnov et al., 2018).
    """
    normal_seed, uniform_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 2)
    )
    shape = tf.concat([tf.shape(alpha), [_PROPOSALS]], 0)
    normal = standard_normals(normal_seed, shape)
    exponential = standard_exponentials(uniform_seed, shape)

    fixed = tf.stop_gradient(alpha)
    scale = tf.expand_dims(fixed, -1) - 1.0 / 3.0
    cube = tf.maximum((1.0 + normal / tf.sqrt(9.0 * scale)) ** 3, 1e-30)
    log_ratio = 0.5 * normal**2 + scale * (1.0 - cube + tf.math.log(cube))
    first = tf.argmax(tf.cast(-exponential < log_ratio, tf.int32), axis=-1)
    gamma = tf.gather(scale * cube, first, axis=-1, batch_dims=alpha.shape.rank)

    slope = tf.raw_ops.RandomGammaGrad(alpha=fixed, sample=gamma)
    return gamma + slope * (alpha - fixed)


def _log_gamma_sample(seed, concentration):
    gamma_seed, uniform_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 2)
    )
    gamma = _gamma_sample(gamma_seed, concentration + 1.0)
    exponential = standard_exponentials(uniform_seed, tf.shape(concentration))
    return tf.math.log(gamma) - exponential / concentration


_KINDS = Kinds("mixing")
register, get, names = _KINDS.register, _KINDS.get, _KINDS.names


def safe_log(weights: tf.Tensor) -> tf.Tensor:
    """Compute log w, which is finite also where a weight is 0."""
    return tf.math.log(tf.maximum(weights, 1e-30))


@register("dirichlet")
class DirichletWeights(Part):
    """Dirichlet mixing weights whose concentration is made by the encoder.

    Args:
        concentration: "normalized" divides the K positive outputs of the encoder by
            their sum, as in the authors' code, which makes the weights sparse; "raw"
            takes the outputs as they are (Eq 3).
        prior: float, concentration of the symmetric Dirichlet prior; None for 1/K.
        kl_form: "exact" (Eq 28), or "clipped" as in the authors' code, which clips
            alpha to [0.1, 0.8] and has digamma(1) in place of digamma(sum alpha).
        reparameterized: bool, whether gradients flow through w. In the authors' TF 1.6
            graphs they do not, so that only the KL trains alpha.

    Raises:
        ValueError: on an argument out of its range.
    """

    def __init__(
        self,
        concentration: str = "normalized",
        prior: float | None = None,
        kl_form: str = "exact",
        reparameterized: bool = True,
    ):
        self.concentration = choice(
            concentration, ("normalized", "raw"), "concentration"
        )
        self.kl_form = choice(kl_form, ("exact", "clipped"), "kl_form")
        if prior is not None and not prior > 0:
            raise ValueError(f"Expected prior > 0, got {prior}.")
        self.prior = prior
        self.reparameterized = reparameterized

    def parameters(
        self, scores: tf.Tensor, log_mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute the concentration alpha, `[B, K]`.

        Args:
            scores: `[B, K]`, positive outputs of the encoder.
            log_mask: `[B, K]`, log of a mask that multiplies the scores, or None.
        """
        if log_mask is not None:
            scores = scores * tf.exp(log_mask)
        if self.concentration == "normalized":
            total = tf.reduce_sum(scores, axis=-1, keepdims=True)
            scores = tf.math.divide_no_nan(scores, total)
        return tf.maximum(scores, _FLOOR)

    def prior_parameters(self, like: tf.Tensor) -> tf.Tensor:
        """Return the concentration of the prior, shaped like `like` `[B, K]`."""
        prior = 1.0 / like.shape[-1] if self.prior is None else self.prior
        return tf.fill(tf.shape(like), tf.cast(prior, tf.float32))

    def log_sample(self, alpha: tf.Tensor, noise: Noise) -> tf.Tensor:
        """Draw log w, `[B, K]`, where w ~ Dirichlet(alpha) (Eq 26)."""
        log_gamma = noise.sample("weights", _log_gamma_sample, alpha)
        log_weights = tf.nn.log_softmax(log_gamma)
        return log_weights if self.reparameterized else tf.stop_gradient(log_weights)

    def kl(self, alpha: tf.Tensor, drawn_from: tf.Tensor | None = None) -> tf.Tensor:
        """Compute KL(Dirichlet(alpha) || prior) of each example in nats, `[B]`.

        Args:
            alpha: `[B, K]`, the concentration of q(w | x) (Eq 28).
            drawn_from: `[B, K]`, the concentration that w was drawn with, which a mask
                may have changed and which the "clipped" form takes in place of `alpha`.
                None is `alpha`.
        """
        prior = self.prior_parameters(alpha)
        if self.kl_form == "exact":
            return divergences.dirichlet_kl(alpha, prior)
        alpha = tf.clip_by_value(alpha if drawn_from is None else drawn_from, 0.1, 0.8)
        digamma = tf.math.digamma
        return (
            _log_normalizer(prior)
            - _log_normalizer(alpha)
            + tf.reduce_sum((alpha - prior) * (digamma(alpha) - digamma(1.0)), -1)
        )

    def log_density_ratio(self, alpha: tf.Tensor, log_weights: tf.Tensor) -> tf.Tensor:
        """Compute log p(w) - log q(w | x) in nats, `[B]`."""
        prior = self.prior_parameters(alpha)
        return (
            tf.reduce_sum((prior - alpha) * log_weights, axis=-1)
            - _log_normalizer(prior)
            + _log_normalizer(alpha)
        )


def _log_normalizer(alpha):
    return tf.reduce_sum(tf.math.lgamma(alpha), -1) - tf.math.lgamma(
        tf.reduce_sum(alpha, -1)
    )
