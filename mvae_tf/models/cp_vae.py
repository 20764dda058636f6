"""CP-VAE and the three variants that assume z and c independent (Table 1).

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020):

| class      | q(z, c given x)                | p(z, c)           |
|------------|--------------------------------|-------------------|
| `CPVAE`    | q(z given x, c) q(c given x)   | p(z given c) p(c) |
| `INDqVAE`  | q(z given x) q(c given x)      | p(z given c) p(c) |
| `INDpVAE`  | q(z given x, c) q(c given x)   | p(z) p(c)         |
| `INDqpVAE` | q(z given x) q(c given x)      | p(z) p(c)         |
"""

from mvae_tf.models.categorical import CategoricalVAE
from mvae_tf.models.registry import register

__all__ = ["CPVAE", "INDpVAE", "INDqVAE", "INDqpVAE"]


@register("cp_vae")
class CPVAE(CategoricalVAE):
    """VAE with conditional priors: p(z given c) = N(mu_c, sigma_c^2), trained.

    Minimises, for an image x and categories of probability pi(x) (Eq 11-13),

        -log p(x given z, c) + sum_k pi_k KL(q(z given x, k) || p(z given k))
                             + log K - H(pi).

    The paper writes q(z given x, c) but feeds the encoder pi(x), a function of x, in
    place of c; its posterior is then one of `INDqVAE`, wired otherwise. `z_condition`
    chooses:

    - "enumerate": the encoder sees each one-hot c in turn and the objective is exact.
      For K up to about 150: an activation of [B, K, hidden] is trained through.
    - "sample": it sees the drawn c alone, and `kl` is that of the draw, unbiased but
      noisy. For K = 500. Evaluation enumerates.
    - "pi": the paper to the letter, which leaves z and c independent given x.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        z_condition: "enumerate", "sample" or "pi".
        **kwargs: `num_components`, `latent_dim`, `network`, `likelihood`,
            `temperature`, `decoder_uses_c` and `seed` of `CategoricalVAE`; `name` and
            `dtype` of `keras.Model`.

    Example:
        >>> import mvae_tf
        >>> cp_vae = mvae_tf.models.CPVAE(input_shape=(8, 8, 1), num_components=3)
        >>> cp_vae.generate(2, component=1, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    posterior_uses_c = True
    prior_uses_c = True

    def __init__(self, input_shape=(28, 28, 1), z_condition="enumerate", **kwargs):
        super().__init__(input_shape, z_condition=z_condition, **kwargs)


@register("indq_vae")
class INDqVAE(CategoricalVAE):
    """CP-VAE whose posterior is independent, q(z given x) q(c given x).

    Minimises -log p(x given z, c) + sum_k pi_k KL(q(z given x) || p(z given k))
    + log K - H(pi). A gated layer without c keeps the depth of `CPVAE`. The paper names
    VaDE as an instance, which does not learn q(c given x) and trains otherwise.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        **kwargs: arguments of `CategoricalVAE`.

    Example:
        >>> import mvae_tf
        >>> indq = mvae_tf.models.INDqVAE(input_shape=(8, 8, 1), num_components=3)
        >>> indq.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    prior_uses_c = True

    def __init__(self, input_shape=(28, 28, 1), **kwargs):
        super().__init__(input_shape, **kwargs)


@register("indp_vae")
class INDpVAE(CPVAE):
    """CP-VAE whose prior is independent, p(z given c) = N(0, I).

    Minimises -log p(x given z, c) + sum_k pi_k KL(q(z given x, k) || N(0, I))
    + log K - H(pi). The paper names the unsupervised M2 model as an instance.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        z_condition: see `CPVAE`.
        **kwargs: arguments of `CategoricalVAE`.

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

    Minimises -log p(x given z, c) + KL(q(z given x) || N(0, I)) + log K - H(pi). The
    paper names JointVAE as an instance, which adds capacities to both KL terms.

    Args:
        input_shape: `(H, W, C)` of images, or `(P,)` of vectors.
        **kwargs: arguments of `CategoricalVAE`.

    Example:
        >>> import mvae_tf
        >>> indqp = mvae_tf.models.INDqpVAE(input_shape=(8, 8, 1), num_components=3)
        >>> indqp.generate(2, seed=0).shape
        TensorShape([2, 8, 8, 1])
    """

    prior_uses_c = False
