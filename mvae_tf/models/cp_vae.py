"""CP-VAE and the three variants that assume z and c independent (Table 1).

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020). The objective (Eq 8-13) is in
`categorical.py`; the classes differ in which distributions depend on c:

    class      q(z, c | x)              p(z, c)
    CPVAE      q(z | x, c) q(c | x)     p(z | c) p(c)
    INDqVAE    q(z | x) q(c | x)        p(z | c) p(c)
    INDpVAE    q(z | x, c) q(c | x)     p(z) p(c)
    INDqpVAE   q(z | x) q(c | x)        p(z) p(c)
"""

from typing import Any

from mvae_tf.models.categorical import CategoricalVAE
from mvae_tf.models.registry import register

__all__ = ["CPVAE", "INDpVAE", "INDqVAE", "INDqpVAE"]


@register("cp_vae")
class CPVAE(CategoricalVAE):
    """VAE with conditional priors: p(z | c) = N(mu_c, sigma_c^2), trained.

    It minimises, for an image x and categories of probability pi(x) (Eq 11-13),

        -log p(x | z, c) + sum_k pi_k KL(q(z | x, k) || p(z | k)) + log K - H(pi).

    The paper writes q(z | x, c), but according to its text the encoder gets pi(x),
    which is a function of x, in place of c. Such a posterior is q(z | x), that of
    `INDqVAE` with other layers. In the authors' code the encoder gets a draw of c.

    Args:
        *args, **kwargs: arguments of `CategoricalVAE` and `BaseVAE`.
        z_condition: str, which c the posterior of z gets. "enumerate" gives it each
            one-hot c in turn, which makes the objective exact; the activations `[B, K,
            hidden]` limit K to about 150. "sample" gives it the drawn c alone, so that
            `kl` is an unbiased but noisy estimate in training; evaluation enumerates.
            "pi" gives it the probabilities pi(x), as in the paper's text, so that z and
            c are independent under q.

    Example:
        >>> import mvae_tf
        >>> cp_vae = mvae_tf.models.CPVAE(input_shape=(8, 8, 1), num_components=3)
        >>> cp_vae.generate(2, component=1, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    posterior_uses_c = True
    prior_uses_c = True

    def __init__(self, *args: Any, z_condition: str = "enumerate", **kwargs: Any):
        super().__init__(*args, z_condition=z_condition, **kwargs)


@register("indq_vae")
class INDqVAE(CategoricalVAE):
    """CP-VAE whose posterior is independent, q(z | x) q(c | x).

    It minimises -log p(x | z, c) + sum_k pi_k KL(q(z | x) || p(z | k)) + log K - H(pi).
    A gated layer without c keeps the encoder as deep as that of `CPVAE`. The paper
    names VaDE as an instance, although VaDE does not learn q(c | x) and is trained in
    another way.

    Args:
        *args, **kwargs: arguments of `CategoricalVAE` and `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> indq = mvae_tf.models.INDqVAE(input_shape=(8, 8, 1), num_components=3)
        >>> indq.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    prior_uses_c = True


@register("indp_vae")
class INDpVAE(CPVAE):
    """CP-VAE whose prior is independent, p(z | c) = N(0, I).

    It minimises -log p(x | z, c) + sum_k pi_k KL(q(z | x, k) || N(0, I)) + log K -
    H(pi). The paper names the unsupervised M2 model as an instance.

    Args:
        *args, **kwargs: arguments of `CPVAE`, `CategoricalVAE` and `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> indp = mvae_tf.models.INDpVAE(input_shape=(8, 8, 1), num_components=3)
        >>> indp.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    prior_uses_c = False


@register("indqp_vae")
class INDqpVAE(INDqVAE):
    """CP-VAE whose posterior and prior are independent.

    It minimises -log p(x | z, c) + KL(q(z | x) || N(0, I)) + log K - H(pi). The paper
    names JointVAE as an instance, which adds capacities to both KL terms.

    Args:
        *args, **kwargs: arguments of `CategoricalVAE` and `BaseVAE`.

    Example:
        >>> import mvae_tf
        >>> indqp = mvae_tf.models.INDqpVAE(input_shape=(8, 8, 1), num_components=3)
        >>> indqp.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    prior_uses_c = False
