"""MoG-VAE, VampVAE and the two-level VAEs: sizes, reductions, exact likelihoods."""

import itertools

import harness
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import mvae_tf
from mvae_tf import divergences
from mvae_tf.noise import BatchNoise, step_seed

X, _ = harness.Case("vae", "vae").data()


def make(name, **arguments):
    model = harness.Case(name, name).make(**arguments)
    harness.perturb(model, 0.2)
    return model


def noise(seed=0):
    return BatchNoise(step_seed(seed, 0))


def average_kl(model, x, draws=2000):
    """Mean of the single-draw KL of each image, and its standard error."""
    posterior = model.infer(tf.repeat(x, draws, axis=0))
    values = model.kl_nats(posterior, model.draw(posterior, noise()))
    values = np.reshape(values, [len(x), draws])
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("vae", {"network": "gated_mlp", "latent_dim": 40}, 1_116_864),
        ("mog_vae", {"num_prior_components": 10}, 1_116_864 + 2 * 10 * 40),
        ("vamp_vae", {"num_pseudo_inputs": 500}, 1_116_864 + 500 * 784),
        ("hvae", {}, 2_431_024),
        ("hvamp_vae", {"num_pseudo_inputs": 500}, 2_431_024 + 500 * 784),
    ],
)
def test_sizes_of_the_authors(name, arguments, count):
    model = mvae_tf.create(name, **arguments)
    assert sum(v.numpy().size for v in model.trainable_variables) == count


# === One latent ===


def test_one_standard_gaussian_is_the_prior_of_the_vae():
    mog = make("mog_vae", num_prior_components=1)
    mog.prior.means.assign([[0.0, 0.0]])
    mog.prior.log_variances.assign([[0.0, 0.0]])
    vae = make("vae")
    for layer in ("encoder", "sub_decoder", "mix_decoder"):
        getattr(vae, layer).set_weights(getattr(mog, layer).get_weights())
    np.testing.assert_allclose(
        mog.log_likelihood(X, 5), vae.log_likelihood(X, 5), rtol=1e-5
    )
    kl, error = average_kl(mog, X[:3])
    closed = vae.elbo_terms(X[:3])["kl"]
    assert np.all(np.abs(kl - closed) < 4 * error)


def test_one_pseudo_input_has_a_closed_kl_on_average():
    model = make("vamp_vae", num_pseudo_inputs=1)
    posterior = model.infer(X[:3])
    prior = model.infer(model.prior.pseudo_inputs())
    closed = divergences.gaussian_kl(
        posterior.mean, posterior.stddev, prior.mean, prior.stddev
    )
    kl, error = average_kl(model, X[:3])
    assert np.all(closed > 0.05)
    assert np.all(np.abs(kl - closed[:, 0]) < 4 * error)


@pytest.mark.parametrize("name", ["vamp_vae", "hvamp_vae"])
def test_an_image_that_is_the_pseudo_input_costs_nothing(name):
    model = make(name, num_pseudo_inputs=1)
    model.prior.pixels.assign(X[:1])
    posterior = model.infer(tf.repeat(X[:1], 20, axis=0))
    latents = model.draw(posterior, noise())
    kl = model.kl_nats(posterior, latents)
    if name == "hvamp_vae":
        z1 = tf.split(latents.z[:, 0], 2, axis=-1)[0]
        moments = [latents.mean[:, 0, :1], latents.stddev[:, 0, :1]]
        of_z1 = stats.norm.logpdf(z1, *moments) - stats.norm.logpdf(
            z1, *model.prior_of_z1(latents.z[:, 0, 1:])
        )
        kl -= of_z1[:, 0]
    np.testing.assert_allclose(kl, np.zeros(20), atol=1e-5)


def test_density_of_a_vamp_prior_is_the_average_of_posteriors():
    model = make("vamp_vae", num_pseudo_inputs=4)
    posterior = model.encode(model.prior.pseudo_inputs())
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    parts = stats.norm.logpdf(
        z[:, None], posterior["mean"][:, 0], posterior["stddev"][:, 0]
    ).sum(-1)
    expected = special.logsumexp(parts, axis=1) - np.log(4)
    np.testing.assert_allclose(model.prior.log_prob(z), expected, rtol=1e-5)


def test_pseudo_inputs_stay_in_the_range_of_the_likelihood():
    likelihood = {"name": "sse", "activation": "tanh", "low": -1.0}
    model = make("vamp_vae", likelihood=likelihood, pseudo_mean=-0.9, pseudo_stddev=1.0)
    pixels = model.prior.pseudo_inputs()
    assert np.min(pixels) == -1.0
    assert np.max(pixels) <= 1.0


def test_pseudo_inputs_have_no_labels():
    with pytest.raises(ValueError, match="Expected no num_classes.*got 3"):
        mvae_tf.create("vamp_vae", num_classes=3)


# === Two levels ===

SMALL = {"input_shape": (4,), "latent_dim": 2, "hidden": 6}


@pytest.fixture(scope="module", params=["hvae", "hvamp_vae"])
def small(request):
    """A model of four binary pixels, and log p(x) of all 16 images by quadrature."""
    model = make(request.param, **SMALL)
    harness.perturb(model, 0.3, seed=1)
    for posterior in (model.q1, model.q2):
        # Wide posteriors near the prior, whose importance weights have light tails.
        head = posterior.layers_in_order[-1]
        head.kernel.assign(0.3 * head.kernel)
        head.bias.assign([[[0.0, 1.0]]])
    images = np.array(list(itertools.product([0.0, 1.0], repeat=4)), "float32")
    side = np.linspace(-9.0, 9.0, 301, dtype="float32")
    z1, z2 = (axis.ravel()[:, None] for axis in np.meshgrid(side, side))
    log_z2 = model.prior.log_prob(z2)
    log_z1 = stats.norm.logpdf(z1, *model.prior_of_z1(z2))[:, 0]
    z = np.concatenate([z1, z2], axis=1)[:, None]
    logits = model.decode_outputs(tf.constant(z), tf.ones([len(z), 1]))
    log_x = -np.logaddexp(0.0, np.where(images[:, None] == 1, -logits, logits))
    log_joint = log_x.sum(-1) + log_z1 + log_z2 + 2 * np.log(side[1] - side[0])
    return model, images, special.logsumexp(log_joint, axis=1)


def test_importance_sampling_finds_the_exact_likelihood(small):
    model, images, exact = small
    np.testing.assert_allclose(special.logsumexp(exact), 0.0, atol=1e-4)
    ratios = [
        np.exp(model.log_likelihood(images, 50, seed=seed) - exact)
        for seed in range(20)
    ]
    error = np.std(ratios, axis=0, ddof=1) / np.sqrt(20)
    assert np.all(error < 0.1)
    assert np.all(np.abs(np.mean(ratios, axis=0) - 1.0) < 4.5 * error)


def test_bound_is_below_the_exact_likelihood(small):
    model, images, exact = small
    bounds = np.array([model.elbo(images, seed=seed) for seed in range(40)])
    error = np.std(bounds, axis=0, ddof=1) / np.sqrt(40)
    assert np.all(bounds.mean(axis=0) < exact + 4 * error)


def test_posterior_of_the_first_level_follows_the_drawn_second(small):
    model, images, _ = small
    posterior = model.infer(images)
    latents = model.draw(posterior, noise())
    z2 = latents.z[:, 0, 1:]
    mean, stddev = model.posterior_of_z1(posterior.features, z2)
    np.testing.assert_allclose(latents.mean[:, 0, :1], mean, rtol=1e-6)
    np.testing.assert_allclose(latents.stddev[:, 0, :1], stddev, rtol=1e-6)
    assert np.max(np.abs(mean - posterior.mean[:, 0, :1])) > 0.01
    same = model.posterior_of_z1(posterior.features, posterior.mean[:, 0, 1:])
    np.testing.assert_allclose(posterior.mean[:, 0, :1], same[0], rtol=1e-6)


def test_levels_have_noise_of_their_own():
    model = make("hvae", **SMALL)
    like = tf.zeros([4000, 1])
    for draw in ("prior", "posterior"):
        if draw == "prior":
            z = model.draw_prior(like, noise()).z[:, 0]
            mean, stddev = model.prior_of_z1(z[:, 1:])
            second = z[:, 1]
        else:
            posterior = model.infer(tf.ones([4000, 4]))
            latents = model.draw(posterior, noise())
            drawn = (latents.z, latents.mean, latents.stddev)
            z, mean, stddev = (values[:, 0] for values in drawn)
            second = (z[:, 1] - mean[:, 1]) / stddev[:, 1]
        first = (z[:, 0] - mean[:, 0]) / stddev[:, 0]
        assert np.std(first) == pytest.approx(1.0, abs=0.05)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(4000)


def test_rejects_levels_of_unequal_size():
    with pytest.raises(ValueError, match="Expected an even latent_dim, got 3"):
        mvae_tf.create("hvae", latent_dim=3)
