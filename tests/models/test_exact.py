"""Bounds and likelihoods of linear-Gaussian models, whose log p(x) is known."""

import numpy as np
import pytest
from scipy import special, stats

import mvae_tf
from mvae_tf.parts import networks
from mvae_tf.parts.networks.mlp import MLP, MLPEncoder, MLPMixDecoder, MLPSubDecoder

PIXELS, LATENT = 4, 2
UNBOUNDED = {"name": "half_sse", "activation": "linear", "low": -50.0, "high": 50.0}


@networks.register("linear_of_test_exact")
class Linear(MLP):
    """Networks of one linear layer each; features are pixels."""

    def encoder(self, spec):
        return MLPEncoder(spec, [PIXELS, spec.head_units], [None], dropout=0.0)

    def sub_decoder(self, spec):
        return MLPSubDecoder(spec, [spec.latent_dim, PIXELS], [None], dropout=0.0)

    def mix_decoder(self, spec):
        decoder = MLPMixDecoder(spec, [PIXELS, PIXELS], [None], dropout=0.0)
        kernel = decoder.layers_in_order[0].kernel
        kernel.assign(np.broadcast_to(np.eye(PIXELS), kernel.shape))
        return decoder


def create(name, **arguments):
    return mvae_tf.create(
        name,
        input_shape=(PIXELS,),
        latent_dim=LATENT,
        network=Linear(),
        likelihood=UNBOUNDED,
        **arguments,
    )


def assign(layer, kernel, bias):
    dense = layer.layers_in_order[0]
    dense.kernel.assign(np.reshape(kernel, dense.kernel.shape))
    dense.bias.assign(np.reshape(bias, dense.bias.shape))


def inverse_softplus(value):
    return np.log(np.expm1(value - 1e-6))


@pytest.fixture(scope="module")
def factor_analysis():
    """A VAE with its exact posterior, images, and their log p(x)."""
    rng = np.random.default_rng(0)
    # Orthogonal columns make the exact posterior a diagonal one.
    loadings = np.linalg.qr(rng.normal(size=(PIXELS, LATENT)))[0] * [2.0, 0.7]
    offset = rng.normal(size=PIXELS)
    precision = 1.0 + np.sum(loadings**2, axis=0)
    model = create("vae")
    assign(model.sub_decoder, loadings.T, offset)
    kernel = np.concatenate([loadings / precision, np.zeros((PIXELS, LATENT))], 1)
    raw = inverse_softplus(precision**-0.5)
    assign(model.encoder, kernel, np.concatenate([-offset @ loadings / precision, raw]))
    x = rng.normal(size=(40, LATENT)) @ loadings.T + offset
    x = (x + rng.normal(size=x.shape)).astype("float32")
    marginal = stats.multivariate_normal(offset, loadings @ loadings.T + np.eye(PIXELS))
    return model, x, marginal.logpdf(x)


@pytest.mark.parametrize("num_samples", [1, 3, 60])
def test_any_number_of_samples_is_exact_under_the_exact_posterior(
    factor_analysis, num_samples
):
    model, x, exact = factor_analysis
    np.testing.assert_allclose(model.log_likelihood(x, num_samples), exact, atol=1e-4)


def test_bound_is_exact_on_average_under_the_exact_posterior(factor_analysis):
    model, x, exact = factor_analysis
    gaps = np.mean([model.elbo(x, seed=seed) - exact for seed in range(50)], axis=1)
    assert abs(np.mean(gaps)) < 4 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))


def test_bound_importance_sampling_and_truth_are_in_order(factor_analysis):
    model, x, exact = factor_analysis
    twin = create("vae")
    twin.set_weights(model.get_weights())
    bias = twin.encoder.layers_in_order[0].bias
    bias.assign_add(np.full(bias.shape, 0.4))

    def average(values):
        gaps = np.subtract(values, exact).mean(axis=1)
        return np.mean(gaps), np.std(gaps, ddof=1) / np.sqrt(len(gaps))

    bound, bound_error = average([twin.elbo(x, seed=seed) for seed in range(40)])
    few, few_error = average([twin.log_likelihood(x, 5, seed=s) for s in range(40)])
    many, many_error = average([twin.log_likelihood(x, 50, seed=s) for s in range(10)])
    assert bound + 4 * bound_error < few - 4 * few_error
    assert few < many < 4 * many_error
    posterior = twin.encode(x)
    scale = np.sqrt(1 + np.array([4.0, 0.49]))
    mean, stddev = model.encode(x)["mean"], 1 / scale
    gap = (
        np.log(stddev / posterior["stddev"])
        + (np.square(posterior["stddev"]) + np.square(posterior["mean"] - mean))
        / (2 * stddev**2)
        - 0.5
    )
    assert bound == pytest.approx(
        -np.mean(np.sum(gap, axis=(1, 2))), abs=4 * bound_error
    )


def gumbel(theta, size, rng):
    return special.expit((-theta + rng.logistic(size=size)) / 0.1)


def normal(theta, size, rng):
    return np.clip(rng.normal(1.0, np.exp(theta / 2), size=size), 1e-8, 1.0)


@pytest.mark.parametrize(
    ("name", "arguments", "sample_mask"),
    [
        ("mvae", {"mask": None}, None),
        ("mvae", {"mask": "gumbel"}, gumbel),
        ("mvae", {"mask": "gaussian"}, normal),
        ("mvae", {"mask": {"name": "gumbel", "renormalize": False}}, gumbel),
        ("mvae", {"mask": {"name": "gumbel", "placement": "concentration"}}, None),
        ("m_vae", {"prior_means": [0.5, -1.0], "prior_stddevs": [0.8, 1.2]}, None),
    ],
    ids=["fixed", "gumbel", "gaussian", "unrenormalized", "concentration", "m_vae"],
)
def test_importance_sampling_of_a_mixture_is_unbiased(name, arguments, sample_mask):
    """p(x) = E_b N(x; sum_i b_i c_i, I + sum_i b_i^2 W_i W_i^T), by draws of b."""
    rng = np.random.default_rng(1)
    mixing = {"name": "dirichlet", "concentration": "raw", "prior": 0.8}
    model = create(
        name, num_components=2, mixing=mixing, independence=None, **arguments
    )
    loadings = 0.6 * rng.normal(size=(2, PIXELS, LATENT))
    offsets = 1.5 * rng.normal(size=(2, PIXELS))
    assign(model.sub_decoder, np.swapaxes(loadings, 1, 2), offsets)
    kernel = 0.1 * rng.normal(size=(2, PIXELS, 2 * LATENT + 1))
    bias = np.concatenate(
        [np.zeros(LATENT), np.full(LATENT + 1, inverse_softplus(1.2))]
    )
    assign(model.encoder, kernel, np.tile(bias, (2, 1)))

    num = 40_000
    b = rng.dirichlet([0.8, 0.8], size=num)
    if sample_mask:
        theta = -0.5
        model.mask_strength.assign(theta)
        b = b * sample_mask(theta, b.shape, rng)
        if model.mask.renormalize:
            b /= b.sum(axis=1, keepdims=True)
    means, stddevs = np.zeros(2), np.ones(2)
    if name == "m_vae":
        means, stddevs = np.array(model.prior_means), np.array(model.prior_stddevs)
    centre = b @ (offsets + means[:, None] * loadings.sum(axis=2))
    spread = np.einsum("kpz,kqz->kpq", loadings, loadings) * stddevs[:, None, None] ** 2
    covariance = np.eye(PIXELS) + np.einsum("nk,kpq->npq", b**2, spread)
    root = np.linalg.cholesky(covariance)

    x = centre[:6] + np.einsum("npq,nq->np", root[:6], rng.normal(size=(6, PIXELS)))
    x = x.astype("float32")
    whitened = np.linalg.solve(root, (x[:, None] - centre)[..., None])[..., 0]
    log_density = -0.5 * np.sum(whitened**2, axis=-1) - np.sum(
        np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1
    )
    density = np.exp(log_density) / (2 * np.pi) ** (PIXELS / 2)
    truth = density.mean(axis=1)
    truth_error = density.std(axis=1) / np.sqrt(num)

    batches = [np.exp(model.log_likelihood(x, 50, seed=seed)) for seed in range(100)]
    estimate = np.mean(batches, axis=0)
    error = np.hypot(np.std(batches, axis=0) / 10, truth_error)
    assert np.all(np.abs(estimate - truth) < 4 * error)
    assert np.all(error < 0.1 * truth)
