"""VAE with a trained mixture of Gaussians as the prior, a baseline of CP-VAE ("MG").

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

from typing import Any

from mvae_tf.models.registry import register
from mvae_tf.models.single import SingleVAE
from mvae_tf.parts import gaussian, priors
from mvae_tf.parts.networks.network import Network
from mvae_tf.parts.part import check_count, choice

__all__ = ["MoGVAE"]


@register("mog_vae")
class MoGVAE(SingleVAE):
    """VAE with p(z) = (1/K) sum_k N(z; mean_k, stddev_k^2), all of them trained.

    It minimises E_q[-log p(x | z)] + KL(q(z | x) || p(z)). The KL has no closed form;
    its unbiased estimate is log q(z | x) - log p(z) at the z that is decoded.

    Args:
        *args, **kwargs: shared arguments, see `BaseVAE`; `latent_dim` and `network`
            have other defaults.
        num_prior_components: int, K, the number of Gaussians in the prior.
        kl_form: "exact", or "mean_of_logs", which has (1/K) sum_k log N(z; mean_k,
            stddev_k^2) in place of log p(z), as in the authors' code
            (https://github.com/macio232/cp-vae). By Jensen's inequality that is a lower
            bound of log p(z), so that `elbo`, which then uses it, is still a bound. But
            it is also the log of a single Gaussian minus a constant, so that K has no
            effect. `log_likelihood` uses the mixture in both cases.
        train_prior: bool, whether the Gaussians are trained; in the authors' code they
            never change.
        prior_init: "normal" draws the initial means from N(0, I) and sets the variances
            to 1; "uniform" is as in the authors' code, see
            `mvae_tf.priors.MixtureOfGaussians`.

    Example:
        >>> import mvae_tf
        >>> mog_vae = mvae_tf.models.MoGVAE((8, 8, 1), num_prior_components=3)
        >>> mog_vae.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(
        self,
        *args: Any,
        num_prior_components: int = 10,
        latent_dim: int = 40,
        kl_form: str = "exact",
        train_prior: bool = True,
        prior_init: str = "normal",
        network: str | dict | Network = "gated_mlp",
        **kwargs: Any,
    ):
        super().__init__(*args, latent_dim=latent_dim, network=network, **kwargs)
        self.num_prior_components = num_prior_components
        check_count("num_prior_components", num_prior_components)
        self.kl_form = choice(kl_form, ("exact", "mean_of_logs"), "kl_form")
        self.train_prior = train_prior
        self.prior_init = prior_init
        self.prior = priors.MixtureOfGaussians(
            num_prior_components,
            self.latent_dim,
            self.seed,
            init=prior_init,
            trainable=train_prior,
        )

    def kl_nats(self, posterior, latents):
        if self.kl_form == "exact":
            return super().kl_nats(posterior, latents)
        log_q = gaussian.log_prob(posterior.mean, posterior.stddev, latents.z)
        return (log_q - self.prior.mean_log_prob(latents.z))[:, 0]
