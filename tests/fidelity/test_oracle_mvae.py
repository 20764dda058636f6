"""MVAE and M-VAE as the authors' scripts compute them, and by the paper's equations.

Ye and Bors, "Deep Mixture Generative Autoencoders" (TNNLS 2022), and "Mixtures of
Variational Autoencoders" (IPTA 2020).
"""

import math

import numpy as np
import oracle
import pytest
from oracle import component, elu, linear, normal_kl, sigmoid
from scipy.special import digamma, loggamma

from mvae_tf import presets

TINY = {"latent_dim": 2, "network": oracle.MLP}


def of_preset(name, **changes):
    preset = presets.get(name)
    arguments = preset.arguments | TINY | changes
    arguments.pop("latent_dim")
    return oracle.create(preset.model, **arguments)


def encoded(w, x, num):
    """Moments of z_i and concentrations of w, from K encoders."""
    heads = [oracle.mlp_encoder(x, w["encoder"], k) for k in range(num)]
    means, stddevs, scores = zip(*map(oracle.softplus_moments, heads), strict=True)
    scores = np.concatenate(scores, axis=1)
    scores = 1e-6 + oracle.softplus(scores)
    alpha = scores / scores.sum(axis=1, keepdims=True)
    return np.stack(means, 1), np.stack(stddevs, 1), oracle.clip(alpha, 1e-3, np.inf)


def root_dhsic(z):
    """Square root of the dHSIC V-statistic of latents `[n, K, d]`."""
    n, num, d = z.shape
    distance = 2.0 * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    gamma = 1.0 / (2.0 * distance**2)
    squares = ((z[:, np.newaxis] - z) ** 2).sum(axis=-1)
    kernels = [np.exp(-gamma * squares[..., i]) for i in range(num)]
    joint = np.mean(math.prod(kernels))
    apart = math.prod(np.mean(kernel) for kernel in kernels)
    crossed = np.mean(math.prod(np.mean(kernel, axis=1) for kernel in kernels))
    return np.sqrt(joint + apart - 2.0 * crossed)


def log_beta(alpha):
    return np.sum(loggamma(alpha), axis=-1) - loggamma(np.sum(alpha, axis=-1))


def clipped_dirichlet_kl(alpha, prior):
    """The scripts' KL: alpha within [0.1, 0.8], and digamma(1) for the sum."""
    alpha = oracle.clip(alpha, 0.1, 0.8)
    prior = np.full(alpha.shape, prior)
    slope = (alpha - prior) * (digamma(alpha) - digamma(1.0))
    return log_beta(prior) - log_beta(alpha) + np.sum(slope, axis=-1)


def dirichlet_kl(alpha, prior):
    prior = np.full(alpha.shape, prior)
    total = np.sum(alpha, axis=-1, keepdims=True)
    slope = (alpha - prior) * (digamma(alpha) - digamma(total))
    return log_beta(prior) - log_beta(alpha) + np.sum(slope, axis=-1)


def entropy(p):
    return -p * np.log(p) - (1.0 - p) * np.log(1.0 - p)


def bernoulli_mask(theta, draws, temperature):
    """Gumbel-softmax of the logits log(1 - p) and log p, at logistic noise."""
    p = sigmoid(theta)
    return sigmoid((np.log(1.0 - p) - np.log(p) + draws["mask"]) / temperature)


def gaussian_mask(v, draws):
    """1 + |v| noise, clipped to [1e-8, 1]."""
    scale = v * np.sign(np.real(v))
    return oracle.clip(1.0 + scale * draws["mask"], 1e-8, 1.0)


def molchanov_kl(log_alpha):
    rise = sigmoid(1.8732 + 1.48695 * log_alpha)
    return 0.63576 - 0.63576 * rise + 0.5 * np.log(1.0 + np.exp(-log_alpha))


def mvae_objective(num, mask, regularizer, kl_of_alpha, prior, sources):
    def objective(w, draws, x, y):
        del y
        mean, stddev, alpha = encoded(w, x, num)
        z = mean + stddev * draws["z"]
        drawn = np.exp(oracle.log_softmax(draws["weights"]))
        theta = w["model"][0]
        b = mask(theta, draws) * drawn
        b = b / b.sum(axis=1, keepdims=True)
        features = 0.0
        for k in range(num):
            ((kernel, bias),) = component(w["sub_decoder"], k)
            decoded = np.tanh(linear(z[:, sources[k]], kernel, bias))
            features = features + b[:, k, np.newaxis] * decoded
        first, last = component(w["mix_decoder"])
        logits = linear(elu(linear(features, *first)), *last)
        terms = {
            "reconstruction": oracle.cross_entropy(x, logits),
            "kl": normal_kl(mean, stddev).mean(axis=1),
            "dirichlet_kl": kl_of_alpha(alpha, prior),
            "dhsic": root_dhsic(z),
            "mask": regularizer(theta),
        }
        return sum(np.mean(term) for term in terms.values()), terms

    return objective


@pytest.mark.parametrize("seed", [0, 1])
def test_gumbel_script_with_six_components(seed):
    """The script Dropout_Simple_6_Bernoulli."""
    model = of_preset("mvae-gs-mnist@code", seed=seed)
    model.mask_strength.assign(-1.3)
    objective = mvae_objective(
        6,
        lambda theta, draws: bernoulli_mask(theta, draws, 0.1),
        lambda theta: -10.0 * entropy(sigmoid(theta)) ** 2,
        clipped_dirichlet_kl,
        0.17,
        range(6),
    )
    oracle.compare(model, objective, seed=seed)


@pytest.mark.parametrize("v", [-0.4, 0.3])
def test_gaussian_script_with_six_components(v):
    """The script Dropout_Sinple_6_Gaussian, in which z_4 feeds sub-decoders 4 to 6."""
    model = of_preset("mvae-gau-mnist@code")
    model.mask_strength.assign(v)
    objective = mvae_objective(
        6,
        gaussian_mask,
        molchanov_kl,
        clipped_dirichlet_kl,
        0.17,
        [0, 1, 2, 3, 3, 3],
    )
    # Encoders 5 and 6 train by their KL and dHSIC alone.
    oracle.compare(model, objective, seed=2)


def test_the_equations_of_the_paper():
    """Eq 16-18, 22 and 24, without a gradient through w."""
    mixing = {"name": "dirichlet", "reparameterized": False}
    model = oracle.create("mvae", num_components=3, mixing=mixing, network=oracle.MLP)
    model.mask_strength.assign(-0.7)
    objective = mvae_objective(
        3,
        lambda theta, draws: bernoulli_mask(theta, draws, 0.1),
        lambda theta: -entropy(sigmoid(theta)),
        dirichlet_kl,
        1.0 / 3.0,
        range(3),
    )
    oracle.compare(model, objective, seed=3)


def test_script_of_m_vae():
    """The script MixtureGaussian_Dirichlet, with its dropout of hidden units."""
    network = oracle.MLP | {"dropout": 0.1}
    model = of_preset("m-vae-mnist@code", network=network)

    def dropped(values, draws, name, k):
        kept = draws[name][:, k] >= np.float32(0.1)
        return values * kept / 0.9

    def objective(w, draws, x, y):
        del y
        means, stddevs, scores, images = [], [], [], []
        for k in range(4):
            first, second, head = component(w["encoder"], k)
            hidden = dropped(elu(linear(x, *first)), draws, "encoder/dropout_0", k)
            hidden = np.tanh(linear(hidden, *second))
            hidden = dropped(hidden, draws, "encoder/dropout_1", k)
            moments = oracle.softplus_moments(linear(hidden, *head))
            for found, value in zip((means, stddevs, scores), moments, strict=True):
                found.append(value)
        mean, stddev = np.stack(means, 1), np.stack(stddevs, 1)
        scores = 1e-6 + oracle.softplus(np.concatenate(scores, axis=1))
        alpha = scores / scores.sum(axis=1, keepdims=True)
        z = mean + stddev * draws["z"]
        for k in range(4):
            ((kernel, bias),) = component(w["sub_decoder"], k)
            hidden = np.tanh(linear(z[:, k], kernel, bias))
            hidden = dropped(hidden, draws, "sub_decoder/dropout_0", k)
            first, last = component(w["mix_decoder"], k)
            hidden = elu(linear(hidden, *first))
            hidden = dropped(hidden, draws, "mix_decoder/dropout_0", k)
            images.append(sigmoid(linear(hidden, *last)))
        weights = np.exp(oracle.log_softmax(draws["weights"]))
        p = sum(weights[:, k, np.newaxis] * image for k, image in enumerate(images))
        error = -np.sum(x * np.log(p) + (1.0 - x) * np.log(1.0 - p), axis=1)
        terms = {
            "reconstruction": error,
            "kl": normal_kl(mean, stddev).mean(axis=1),
            "dirichlet_kl": dirichlet_kl(alpha, 0.25),
            "dhsic": root_dhsic(z),
        }
        return sum(np.mean(term) for term in terms.values()), terms

    oracle.compare(model, objective, seed=4)
