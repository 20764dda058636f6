"""WWAE: Zhang et al., "Wasserstein-Wasserstein auto-encoders" (2019)."""

import numpy as np
import oracle


def test_objective():
    model = oracle.create("wwae", network=oracle.MLP)

    def objective(w, draws, x, y):
        del y
        mean, stddev, _ = oracle.softplus_moments(oracle.mlp_encoder(x, w["encoder"]))
        z = mean + stddev * draws["z"][:, 0]
        image = oracle.sigmoid(oracle.mlp_decoder(z, w))
        center = np.sum(mean, axis=0) / len(x)
        second = np.sum(stddev**2 + mean**2, axis=0) / len(x)
        variance = second - center**2
        # ||m||^2 + tr S + D - 2 tr S^(1/2) of a diagonal S.
        w2 = np.sum(center**2) + np.sum(variance) + len(variance)
        w2 = w2 - 2.0 * np.sum(np.sqrt(variance))
        terms = {"reconstruction": np.sum((x - image) ** 2, axis=1), "w2": w2}
        return np.mean(terms["reconstruction"]) + 10.0 * w2, terms

    oracle.compare(model, objective)
