"""InfoVAE: Zhao, Song and Ermon (AAAI 2019), with the squared MMD."""

import numpy as np
import oracle
import pytest


@pytest.mark.parametrize(("alpha", "mmd_weight"), [(1.0, 1000.0), (0.3, 20.0)])
def test_objective(alpha, mmd_weight):
    model = oracle.create(
        "info_vae", alpha=alpha, mmd_weight=mmd_weight, network=oracle.MLP
    )

    def objective(w, draws, x, y):
        del y
        mean, stddev, _ = oracle.softplus_moments(oracle.mlp_encoder(x, w["encoder"]))
        z = mean + stddev * draws["z"][:, 0]
        terms = {
            "reconstruction": oracle.cross_entropy(x, oracle.mlp_decoder(z, w)),
            "kl": oracle.normal_kl(mean, stddev),
            "mmd": oracle.kernel_mmd(z, draws["mmd/z"]),
        }
        weights = {"kl": 1.0 - alpha, "mmd": alpha + mmd_weight - 1.0}
        loss = np.mean(terms["reconstruction"])
        loss += sum(weight * np.mean(terms[key]) for key, weight in weights.items())
        return loss, terms

    oracle.compare(model, objective)
