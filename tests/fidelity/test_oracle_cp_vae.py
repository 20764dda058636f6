"""CP-VAE, INDq, INDp, INDqp and MG, by the paper and after the authors' code.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020).
"""

import numpy as np
import oracle
import pytest
from oracle import gated, linear, log_normal, normal_kl

from mvae_tf import presets

K, TAU = 3, 0.67
TINY = {"num_components": K, "network": oracle.GATED}


def cp_objective(prior_uses_c, condition=None, relaxed=False, code=False, tau=TAU):
    """Eq 11-13 at one draw.

    Args:
        prior_uses_c: whether p(z | c) depends on c.
        condition: what q(z | x, c) sees of c: "enumerate", "sample", "pi", or None.
        relaxed: whether the networks get relaxed categories.
        code: whether logits pass an ELU, and heads stand directly on [h, c].
        tau: temperature.
    """

    def objective(w, draws, x, y):
        del y
        h = oracle.gated_network(x, w["trunk"])
        if "category_head" in w:
            logits = linear(h, *oracle.component(w["category_head"])[0])
            logits = oracle.elu(logits) if code else logits
        else:
            logits = np.zeros((len(x), K))
        log_pi = oracle.log_softmax(logits)
        pi = np.exp(log_pi)

        def moments(c=None):
            inputs = h if c is None else np.concatenate([h, c], axis=1)
            if not code:
                inputs = gated(inputs, *oracle.component(w["gate"])[0])
            head = linear(inputs, *oracle.component(w["gaussian_head"])[0])
            return oracle.clipped_moments(head)

        def drawn(name):
            return np.exp(oracle.log_softmax((log_pi + draws[name]) / tau))

        def divergence(mean, stddev, k):
            if not prior_uses_c:
                return normal_kl(mean, stddev)
            prior_mean, log_variance = (array[k] for array in w["prior"])
            prior_stddev = np.exp(0.5 * oracle.clip(log_variance, -6.0, 2.0))
            return normal_kl(mean, stddev, prior_mean, prior_stddev)

        c = drawn("category") if relaxed else oracle.straight_through(drawn("category"))
        weights = pi
        if condition == "enumerate":
            all_of_c = [moments(np.tile(row, (len(x), 1))) for row in np.eye(K)]
            mean = sum(c[:, k, np.newaxis] * all_of_c[k][0] for k in range(K))
            stddev = sum(c[:, k, np.newaxis] * all_of_c[k][1] for k in range(K))
        else:
            given = {None: None, "pi": pi, "sample": c}[condition]
            if relaxed and condition == "sample":
                given = drawn("condition")
            mean, stddev = moments(given)
            all_of_c = [(mean, stddev)] * K
            if condition == "sample" and not relaxed:
                weights = c
        kl = sum(weights[:, k] * divergence(*all_of_c[k], k) for k in range(K))
        z = mean + stddev * draws["z"][:, 0]
        logits = oracle.gated_decoder(np.concatenate([z, c], axis=1), w)
        terms = {
            "reconstruction": oracle.cross_entropy(x, logits),
            "kl": kl,
            "category_kl": np.log(K) + np.sum(pi * log_pi, axis=1),
        }
        return sum(np.mean(term) for term in terms.values()), terms

    return objective


def spread(model):
    """Moves the prior away from where all its Gaussians are nearly equal."""
    generator = np.random.default_rng(7)
    for variable in model.prior.variables:
        variable.assign(generator.normal(0.0, 0.7, variable.shape))


@pytest.mark.parametrize(
    ("name", "prior_uses_c", "condition"),
    [
        ("cp_vae", True, "enumerate"),
        ("cp_vae", True, "sample"),
        ("cp_vae", True, "pi"),
        ("indq_vae", True, None),
        ("indp_vae", False, "enumerate"),
        ("indp_vae", False, "sample"),
        ("indqp_vae", False, None),
    ],
)
def test_bound_of_one_hot_categories(name, prior_uses_c, condition):
    more = {} if condition is None else {"z_condition": condition}
    model = oracle.create(name, **TINY, **more)
    if prior_uses_c:
        spread(model)
    oracle.compare(model, cp_objective(prior_uses_c, condition))


@pytest.mark.parametrize(
    ("row", "prior_uses_c", "condition"),
    [
        ("cp-vae", True, "sample"),
        ("indq-vae", True, None),
        ("indp-vae", False, "sample"),
        ("indqp-vae", False, None),
        ("indqp-vae-uniform", False, None),
    ],
)
def test_objective_of_the_code(row, prior_uses_c, condition):
    """With priors as they start, and the temperature of some epoch."""
    preset = presets.get(f"{row}-k10-fashion_mnist@code")
    arguments = preset.arguments | TINY | {"latent_dim": 2}
    model = oracle.create(preset.model, **arguments)
    model.current_temperature.assign(0.75)
    objective = cp_objective(prior_uses_c, condition, relaxed=True, code=True, tau=0.75)
    oracle.compare(model, objective)


def test_another_temperature_would_be_noticed():
    model = oracle.create("indqp_vae", **TINY)
    with pytest.raises(AssertionError, match="category_head"):
        oracle.compare(model, cp_objective(False, tau=TAU + 1e-4))


@pytest.mark.parametrize("kl_form", ["exact", "mean_of_logs"])
def test_mixture_of_gaussians(kl_form):
    """The log of the mean of K Gaussians, and the code's mean of their logs."""
    arguments = {"num_prior_components": 4, "network": oracle.GATED}
    model = oracle.create("mog_vae", kl_form=kl_form, **arguments)
    spread(model)

    def objective(w, draws, x, y):
        del y
        mean, stddev = oracle.gated_encoder(x, w)
        z = mean + stddev * draws["z"][:, 0]
        means, log_variances = w["prior"]
        stddevs = np.exp(0.5 * oracle.clip(log_variances, -6.0, 2.0))
        logs = log_normal(z[:, np.newaxis], means, stddevs)
        log_p = np.mean(logs, axis=1)
        if kl_form == "exact":
            log_p = oracle.log_sum_exp(logs) - np.log(4)
        terms = {
            "reconstruction": oracle.cross_entropy(x, oracle.gated_decoder(z, w)),
            "kl": log_normal(z, mean, stddev) - log_p,
        }
        return sum(np.mean(term) for term in terms.values()), terms

    oracle.compare(model, objective)
