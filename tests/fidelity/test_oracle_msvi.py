"""MSVI as a mixture of complete VAEs, and the VAE itself as one of them."""

import numpy as np
import oracle
import pytest


@pytest.mark.parametrize(("name", "num"), [("msvi", 3), ("vae", 1)])
def test_objective(name, num):
    experts = {"num_components": num} if name == "msvi" else {}
    model = oracle.create(name, network=oracle.MLP, **experts)

    def objective(w, draws, x, y):
        del y
        error, kl = 0.0, 0.0
        for k in range(num):
            outputs = oracle.mlp_encoder(x, w["encoder"], k)
            mean, stddev, _ = oracle.softplus_moments(outputs)
            z = mean + stddev * draws["z"][:, k]
            logits = oracle.mlp_decoder(z, w, k)
            error = error + oracle.cross_entropy(x, logits) / num
            kl = kl + oracle.normal_kl(mean, stddev) / num
        terms = {"reconstruction": error, "kl": kl}
        return np.mean(error) + np.mean(kl), terms

    oracle.compare(model, objective)
