"""The audit passes what is valid and finds what is not."""

import math
import warnings

import numpy as np
import pytest
import test_exact as exact
from scipy import stats

import mvae_tf
from mvae_tf.evaluation.audit import Check, audit, averaged_sample_bound, suspects
from mvae_tf.models import VAE

NETWORK = {"name": "mlp", "hidden": 8}
IMAGES = np.random.default_rng(0).uniform(size=(20, 4, 4, 1)).astype("float32")


class HalfKL(VAE):
    """A VAE that forgets half of its KL."""

    def kl_nats(self, posterior, latents):
        return 0.5 * super().kl_nats(posterior, latents)


class Boastful(VAE):
    """A VAE that takes 10 nats off its KL."""

    def kl_nats(self, posterior, latents):
        return super().kl_nats(posterior, latents) - 10.0


def names(checks):
    return [check.name for check in checks]


@pytest.mark.parametrize("name", ["vae", "mvae", "m_vae", "cp_vae"])
def test_untrained_models_are_valid(name):
    model = mvae_tf.create(name, input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    checks = audit(model, IMAGES, num_samples=100)
    assert names(checks) == ["elbo", "kl_monte_carlo"]
    for check in checks:
        assert check.holds, check
        assert check.num_images == 20
    kl = checks[1]
    # Closed forms: the two are equal, not only in order.
    assert kl.value == pytest.approx(kl.limit, abs=kl.slack)


def test_a_kl_that_is_too_small_is_found():
    model = HalfKL(input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    # Posteriors far from the prior, so that half of the KL is a lot.
    bias = model.encoder.layers_in_order[-1].bias
    bias.assign_add(np.full(bias.shape, 2.0))
    _, kl = audit(model, IMAGES, num_samples=200)
    assert not kl.holds
    assert kl.failures == 20
    assert kl.value == pytest.approx(2.0 * kl.limit, rel=0.1)


def test_a_bound_above_the_likelihood_is_found():
    model = Boastful(input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    # A decoder that ignores z makes the bound log p(x) less the KL.
    kernel = model.sub_decoder.layers_in_order[0].kernel
    kernel.assign(np.zeros(kernel.shape))
    bound, _ = audit(model, IMAGES, num_samples=50)
    kl = np.mean(model.kl_monte_carlo(IMAGES, 500)[0])
    assert not bound.holds
    assert bound.value - bound.limit == pytest.approx(10.0 - kl, abs=0.1)


def gmmp(num_components, share=1.0):
    """A GMMpVAE of equal posteriors, images, and its squared loadings.

    The posterior is the true one, N(mean, 1 / (1 + w^2)), whose bound is log p(x); but
    its stddev is that of loadings whose square is only `share` of w^2.
    """
    model = exact.create("gmmp_vae", num_components=num_components, prior="standard")
    loadings = np.zeros((exact.PIXELS, exact.LATENT))
    loadings[0, 0], loadings[1, 1] = 3.0, 0.7
    squares = np.sum(loadings**2, axis=0)
    exact.assign(model.sub_decoder, loadings.T, np.zeros(exact.PIXELS))
    kernel = np.concatenate([loadings / (1.0 + squares), 0.0 * loadings], axis=1)
    raw = exact.inverse_softplus((1.0 + share * squares) ** -0.5)
    bias = np.concatenate([np.zeros(exact.LATENT), raw])
    stacked = num_components
    exact.assign(
        model.encoder, np.stack([kernel] * stacked), np.stack([bias] * stacked)
    )
    x = np.random.default_rng(0).normal(size=(8, exact.PIXELS)).astype("float32")
    covariance = loadings @ loadings.T + np.eye(exact.PIXELS)
    likelihood = stats.multivariate_normal(np.zeros(exact.PIXELS), covariance)
    return model, x, squares, likelihood.logpdf(x)


@pytest.mark.parametrize(("num_components", "excess"), [(2, 0.298919), (3, 0.458145)])
def test_averaged_samples_exceed_the_likelihood_by_a_known_amount(
    num_components, excess
):
    # The posterior that this invalid objective trains.
    model, x, squares, likelihood = gmmp(num_components, share=1 / num_components)
    claimed = [averaged_sample_bound(model, x, seed) for seed in range(60)]
    gaps = np.mean(np.subtract(claimed, likelihood), axis=1)
    by_dimension = 0.5 * np.log((1 + squares) / (1 + squares / num_components))
    assert by_dimension[0] == pytest.approx(excess, abs=1e-6)
    error = float(np.std(gaps, ddof=1)) / math.sqrt(len(gaps))
    assert np.mean(gaps) == pytest.approx(np.sum(by_dimension), abs=4 * error)


def test_mixtures_of_equal_posteriors_gain_nothing():
    model, x, _, likelihood = gmmp(3)
    np.testing.assert_allclose(model.log_likelihood(x, 2), likelihood, atol=1e-4)
    checks = {check.name: check for check in audit(model, x, num_samples=100)}
    gain = checks["mixture_gain"]
    assert gain.limit == pytest.approx(math.log(3))
    assert gain.value == pytest.approx(0.0, abs=gain.slack)
    assert all(check.holds for check in checks.values())


def test_a_failed_check_casts_doubt_on_its_numbers():
    def results(failures):
        check = Check("kl_monte_carlo", 2.0, 1.0, 0.1, failures, 10)
        return {"elbo": -3.0, "audit": {check.name: check.to_dict()}}

    assert suspects(results(3)) == {"elbo", "elbo_kl"}
    assert suspects(results(0)) == set()
    assert suspects({"elbo": -3.0}) == set()


def test_a_model_without_a_bound_has_nothing_to_audit():
    model = mvae_tf.create("cgm", input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    assert audit(model, IMAGES) == []


def test_one_draw_has_no_error():
    with pytest.raises(ValueError, match="num_samples as an integer >= 2, got 1"):
        audit(mvae_tf.create("vae", input_shape=(4, 4, 1)), IMAGES, num_samples=1)


class Diverged(VAE):
    """A VAE whose numbers have left the range of float32, or are no numbers."""

    size = np.inf

    def elbo_terms(self, *arguments, **options):
        terms = super().elbo_terms(*arguments, **options)
        return {key: value * self.size for key, value in terms.items()}

    def elbo(self, *arguments, **options):
        return super().elbo(*arguments, **options) * self.size

    def kl_monte_carlo(self, *arguments, **options):
        mean, error = super().kl_monte_carlo(*arguments, **options)
        return mean * self.size, error * self.size


@pytest.mark.parametrize("size", [np.inf, np.nan, 1e37])
def test_numbers_that_are_not_finite_fail(size):
    model = Diverged(input_shape=(4, 4, 1), latent_dim=2, network=NETWORK)
    model.size = size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks = audit(model, IMAGES, num_samples=20)
    assert [check.holds for check in checks] == [False, False]
    assert suspects({"audit": {c.name: c.to_dict() for c in checks}}) == {
        "elbo",
        "elbo_kl",
        "log_likelihood",
    }
