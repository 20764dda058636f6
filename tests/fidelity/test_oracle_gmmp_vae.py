"""GMMpVAE: Eq 13 and 21-23, other bounds, and the sampled KL.

Guo et al., "Variational autoencoder with optimizing Gaussian mixture model priors"
(IEEE Access 2020).
"""

import numpy as np
import oracle
import pytest
from oracle import log_normal, log_sum_exp, normal_kl

K, M = 3, 3
WEIGHTS = [0.2, 0.5, 0.3]


def matched(pi, costs):
    """Cost of the matching of the M components of q with those of one pseudo-input."""
    num = len(pi)
    total, free = 0.0, set(range(num))
    for m in sorted(range(num), key=lambda m: -pi[m]):
        chosen = min(sorted(free), key=lambda n: np.real(costs[m][n]))
        free.remove(chosen)
        total = total + pi[m] * costs[m][chosen]
    return total


def gmmp_objective(num, weights, form):
    pi = np.array(weights or [1.0 / num] * num)

    def objective(w, draws, x, y):
        del y

        def posterior(images):
            heads = [oracle.gated_encoder(images, w, m) for m in range(num)]
            means, stddevs = zip(*heads, strict=True)
            return np.stack(means, 1), np.stack(stddevs, 1)

        mean, stddev = posterior(x)
        z = mean + stddev * draws["z"]
        pseudo = posterior(oracle.clip(w["prior"][0], 0.0, 1.0))
        if form == "mc":
            kl = sampled_kl(z, mean, stddev, *pseudo)
        else:
            kl = bound(mean, stddev, *pseudo)
        error = sum(
            pi[m] * oracle.cross_entropy(x, oracle.gated_decoder(z[:, m], w))
            for m in range(num)
        )
        terms = {"reconstruction": error, "kl": kl}
        return sum(np.mean(term) for term in terms.values()), terms

    def sampled_kl(z, mean, stddev, prior_mean, prior_stddev):
        total = 0.0
        for m in range(num):
            row = z[:, m, np.newaxis]
            log_q = log_sum_exp(np.log(pi) + log_normal(row, mean, stddev))
            every = row[:, np.newaxis]
            logs = np.log(pi / K) + log_normal(every, prior_mean, prior_stddev)
            log_p = log_sum_exp(logs.reshape(len(z), -1))
            total = total + pi[m] * (log_q - log_p)
        return total

    def bound(mean, stddev, prior_mean, prior_stddev):
        rows = []
        for i in range(len(mean)):
            of_pseudo = []
            for k in range(K):
                costs = [
                    [
                        np.log(pi[m] / pi[n])
                        + normal_kl(
                            mean[i, m],
                            stddev[i, m],
                            prior_mean[k, n],
                            prior_stddev[k, n],
                        )
                        for n in range(num)
                    ]
                    for m in range(num)
                ]
                of_pseudo.append(matched(pi, costs))
            rows.append(np.array(of_pseudo))
        of_pseudo = np.stack(rows)
        if form == "paper_avg":
            return of_pseudo.mean(axis=1)
        return np.log(K) - log_sum_exp(-of_pseudo)

    return objective


@pytest.mark.parametrize(
    ("num", "weights", "form"),
    [
        (M, None, "paper_avg"),
        (M, WEIGHTS, "paper_avg"),
        (M, WEIGHTS, "soft_k"),
        (M, WEIGHTS, "mc"),
        (1, None, "mc"),
    ],
)
def test_objective(num, weights, form):
    model = oracle.create(
        "gmmp_vae",
        num_components=num,
        num_pseudo_inputs=K,
        component_weights=weights,
        kl_form=form,
        network=oracle.GATED,
    )
    pixels = model.prior.pixels
    pixels.assign(np.random.default_rng(3).uniform(-0.2, 1.2, pixels.shape))
    oracle.compare(model, gmmp_objective(num, weights, form))
