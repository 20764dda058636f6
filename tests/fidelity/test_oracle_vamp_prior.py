"""VampPrior, and the two-level VAE with either prior.

Tomczak and Welling, "VAE with a VampPrior" (AISTATS 2018).
"""

import numpy as np
import oracle
import pytest
from oracle import gated_network, log_normal


def scatter(model):
    """Pseudo-inputs on both sides of the bounds of valid pixels."""
    generator = np.random.default_rng(5)
    pixels = model.prior.pixels
    pixels.assign(generator.uniform(-0.3, 1.3, pixels.shape))


def test_vamp_prior():
    model = oracle.create("vamp_vae", num_pseudo_inputs=4, network=oracle.GATED)
    scatter(model)

    def objective(w, draws, x, y):
        del y

        def posterior(images):
            return oracle.gated_encoder(images, w)

        mean, stddev = posterior(x)
        z = mean + stddev * draws["z"][:, 0]
        log_p = oracle.vamp_log_prob(z, posterior, w["prior"][0])
        terms = {
            "reconstruction": oracle.cross_entropy(x, oracle.gated_decoder(z, w)),
            "kl": log_normal(z, mean, stddev) - log_p,
        }
        return sum(np.mean(term) for term in terms.values()), terms

    oracle.compare(model, objective)


@pytest.mark.parametrize("name", ["hvae", "hvamp_vae"])
def test_two_levels(name):
    pseudo = {"num_pseudo_inputs": 4} if name == "hvamp_vae" else {}
    model = oracle.create(name, latent_dim=4, hidden=oracle.HIDDEN, **pseudo)
    if pseudo:
        scatter(model)

    def objective(w, draws, x, y):
        del y

        def moments(layer, inputs):
            outputs = gated_network(inputs, w[layer], last_is_linear=True)
            return oracle.clipped_moments(outputs)

        def joined(first, second):
            return np.concatenate([gated_network(*first), gated_network(*second)], 1)

        mean2, stddev2 = moments("q2", x)
        z2 = mean2 + stddev2 * draws["z2"]
        mean1, stddev1 = moments("q1", joined((x, w["q1_image"]), (z2, w["q1_z2"])))
        z1 = mean1 + stddev1 * draws["z1"]
        log_q = log_normal(z1, mean1, stddev1) + log_normal(z2, mean2, stddev2)
        log_p = log_normal(z1, *moments("p1", z2))
        if name == "hvae":
            log_p = log_p + log_normal(z2)
        else:
            log_p = log_p + oracle.vamp_log_prob(
                z2, lambda images: moments("q2", images), w["prior"][0]
            )
        features = joined((z1, w["decoder_z1"]), (z2, w["decoder_z2"]))
        logits = gated_network(features, w["decoder"], last_is_linear=True)
        terms = {
            "reconstruction": oracle.cross_entropy(x, logits),
            "kl": log_q - log_p,
        }
        return sum(np.mean(term) for term in terms.values()), terms

    oracle.compare(model, objective)
