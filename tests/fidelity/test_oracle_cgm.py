"""CGM1 and CGM2: Eq 5-8, with the estimates of the text and of the default.

Abrol, Sharma and Patra, "Improving Generative Modelling in VAEs Using Multimodal
Prior", IEEE Transactions on Multimedia, 2020.
"""

import numpy as np
import oracle
import pytest

K = 3
# The default, 1000, makes a loss of about 1 of an MMD of 1e-3 and its rounding.
MMD_WEIGHT = 30.0
LABELS = np.array([0, 1, 2, 1, 0, 1, 1])


def cgm_objective(granularity, unbiased):
    def objective(w, draws, x, y):
        r = oracle.gated_network(x, w["encoder"], last_is_linear=True)
        g = w["prior"][0]
        squares = np.sum((r[:, np.newaxis] - g) ** 2, axis=-1)
        own = np.argmin(np.real(squares), axis=1) if y is None else y.argmax(axis=1)
        stddev = np.sqrt(0.02)
        z = r + stddev * draws["z"]
        prior_z = g[own] + stddev * draws["prior_z"]
        if granularity == "joint":
            mmd = oracle.kernel_mmd(z, prior_z, unbiased)
        else:
            members = [np.flatnonzero(own == k) for k in range(K)]
            mmd = sum(
                len(rows) / len(x) * oracle.kernel_mmd(z[rows], prior_z[rows], unbiased)
                for rows in members
                if len(rows) > 1
            )
        margin = 1.0
        prototype = 0.0
        for k in range(K):
            hinge = oracle.clip(margin - squares[:, k], 0.0, np.inf)
            prototype = prototype + np.where(own == k, squares[:, k], hinge)
        terms = {
            "reconstruction": oracle.cross_entropy(x, oracle.gated_decoder(z, w)),
            "mmd": mmd,
            "prototype": prototype,
        }
        weights = {"reconstruction": 1.0, "mmd": MMD_WEIGHT, "prototype": 0.8}
        return sum(weights[key] * np.mean(terms[key]) for key in terms), terms

    return objective


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("granularity", ["category", "joint"])
@pytest.mark.parametrize("supervised", [False, True])
def test_objective(supervised, granularity, unbiased):
    model = oracle.create(
        "cgm",
        num_components=K,
        supervised=supervised,
        granularity=granularity,
        unbiased=unbiased,
        mmd_weight=MMD_WEIGHT,
        prototype_weight=0.8,
        network=oracle.GATED,
    )
    # Prototypes near the codes, so that each has an image or two.
    codes = model.codes(oracle.images()).numpy()
    model.prior.means.assign(codes[[0, 1, 2]] + [[0.1, 0.2], [-0.2, 0.1], [0.1, -0.1]])
    labels = LABELS if supervised else None
    oracle.compare(model, cgm_objective(granularity, unbiased), labels)
