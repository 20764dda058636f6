"""MAE: Ma, Zhou and Hovy (ICLR 2019), by all pairs of the batch."""

import numpy as np
import oracle
import pytest


@pytest.mark.parametrize("free_bits", [0.0, 50.0])
def test_objective(free_bits):
    eta, gamma = 1.3, 0.7
    model = oracle.create(
        "mae", eta=eta, gamma=gamma, free_bits=free_bits, network=oracle.MLP
    )

    def objective(w, draws, x, y):
        del y
        mean, stddev, _ = oracle.softplus_moments(oracle.mlp_encoder(x, w["encoder"]))
        z = mean + stddev * draws["z"][:, 0]
        pairs = []
        for i in range(len(x)):
            for j in range(len(x)):
                if i != j:
                    ratio = (stddev[i] / stddev[j]) ** 2
                    square = ((mean[i] - mean[j]) / stddev[j]) ** 2
                    pairs.append(0.5 * (ratio + square - 1.0 - np.log(ratio)))
        pairs = np.stack(pairs)
        totals = pairs.sum(axis=1)
        variance = np.sum((totals - totals.mean()) ** 2) / (len(totals) - 1)
        kl = np.mean(oracle.normal_kl(mean, stddev))
        terms = {
            "reconstruction": oracle.cross_entropy(x, oracle.mlp_decoder(z, w)),
            "kl": oracle.clip(kl, free_bits, np.inf),
            "diversity": -np.sum(np.log(oracle.sigmoid(pairs.mean(axis=0)))),
            "smoothness": np.sqrt(variance),
        }
        loss = np.mean(terms["reconstruction"]) + terms["kl"]
        return loss + eta * terms["diversity"] + gamma * terms["smoothness"], terms

    oracle.compare(model, objective)
