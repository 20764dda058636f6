"""Presets of GMMpVAE, and of the VAEs that its paper compares with it.

Guo et al., "Variational autoencoder with optimizing Gaussian mixture model priors"
(IEEE Access 2020). Names are `gmmp-vae-<network>-m<M>-k<K>-<dataset>`.

The rows for M >= 2 are not used as targets, because their numbers cannot be those of
the bound that the paper defines (see `mvae_tf.models.gmmp_vae`). Those for M = 1, which
the paper calls equal to a VAE with the VampPrior, train on that model's KL, "mc". The
paper's own bound, "paper_avg", on which `gmmp-vae-mlp-m1-k500-avg-mnist` trains, cannot
give their numbers. Rows for M >= 2 train on "soft_k". Of the baselines, the numbers of
VampPrior are quoted from its own paper, whose code reports likelihoods by importance
sampling rather than bounds; its preset has the normalised gradients of that code.

The paper does not give the learning rate, the layers of its CNN and Pixel networks, or
what the pseudo-inputs start from. Here, all of these are those of the VampPrior code.
Its "He" initialisation cites Glorot and Bengio. Its Omniglot is the resized file of the
IWAE code, which `mvae_tf.data` does not read; that of TFDS has other pixels.
"""

import dataclasses

from mvae_tf.config import Training
from mvae_tf.presets.preset import Preset, Reported

__all__ = ["presets"]

SOURCE = "IEEE Access 2020"

TRAINING = Training(
    epochs=5000,
    batch_size=100,
    learning_rate=5e-4,
    warmup_epochs=200,
    patience=100,
)

DATA = {
    "mnist": {"source": "mnist", "binarize": "dynamic"},
    "omniglot": {"source": "omniglot", "binarize": "dynamic"},
    # The user must have the file; `--data` can name another one.
    "frey_faces": {"source": "frey_faces:frey_faces.npz"},
}
GREY = {"likelihood": "discretized_logistic"}
GREY_PIXELS = {"pseudo_mean": 0.5, "pseudo_stddev": 0.02}

NETWORKS = {"mlp": "gated_mlp", "cnn": "gated_conv", "pixel": "pixel"}
ROWS = {"mlp": "MLPs", "cnn": "CNN", "pixel": "Pixel"}

# Table 1: bound, reconstruction error and KL for K = 100, 500 and 1000.
MNIST = {
    ("mlp", 1): [
        (-85.90, 61.28, 24.62),
        (-85.32, 60.29, 25.03),
        (-85.53, 60.19, 25.34),
    ],
    ("cnn", 1): [
        (-83.82, 58.27, 25.55),
        (-83.21, 57.23, 25.98),
        (-83.43, 57.44, 25.99),
    ],
    ("pixel", 1): [
        (-79.96, 67.86, 12.1),
        (-79.66, 66.47, 13.19),
        (-79.75, 66.21, 13.54),
    ],
    ("mlp", 2): [
        (-78.63, 53.77, 24.86),
        (-78.24, 53.26, 24.98),
        (-78.57, 53.56, 25.01),
    ],
    ("cnn", 2): [(-76.15, 50.04, 26.1), (-75.84, 49.65, 26.19), (-76.03, 49.82, 26.21)],
    ("pixel", 2): [
        (-73.08, 47.64, 25.44),
        (-72.72, 47.13, 25.59),
        (-72.91, 47.27, 25.64),
    ],
    ("mlp", 3): [
        (-74.69, 51.43, 23.25),
        (-73.83, 50.51, 23.33),
        (-74.00, 50.61, 23.39),
    ],
    ("cnn", 3): [
        (-71.10, 45.74, 25.36),
        (-70.61, 45.15, 25.46),
        (-70.79, 45.28, 25.51),
    ],
    ("pixel", 3): [
        (-67.88, 41.31, 26.57),
        (-67.46, 40.83, 26.63),
        (-67.58, 40.93, 26.65),
    ],
}
PSEUDO_INPUTS = (100, 500, 1000)

# Tables 2 to 4: the bound of the VAE, and those of GMMpVAE with M = 3.
COMPARED = {
    "mnist": ("2", -93.89, {"cnn": -70.61, "pixel": -67.46}),
    "omniglot": ("3", -106.31, {"cnn": -93.56, "pixel": -79.92}),
    "frey_faces": ("4", -1831.11, {"pixel": -1685.62}),
}


def presets():
    """Yield all presets of this paper."""
    for (network, m), rows in MNIST.items():
        for k, row in zip(PSEUDO_INPUTS, rows, strict=True):
            paper = _bound("1", f"{ROWS[network]}, M = {m}, K = {k}", *row)
            if (m, k) == (3, 500):
                paper += _best(network, "mnist")
            yield _mixture(network, m, k, "mnist", paper)
    yield _mixture("mlp", 1, 500, "mnist", (), "-avg", kl_form="paper_avg")
    for dataset in ("omniglot", "frey_faces"):
        # The paper does not repeat K, and has M = 1 and 2 in a figure without numbers.
        for m in (1, 2, 3):
            yield _mixture("mlp", m, 500, dataset, ())
        for network in COMPARED[dataset][-1]:
            yield _mixture(network, 3, 500, dataset, _best(network, dataset))
    quoted = Reported(
        "log_likelihood", -82.38, f"{SOURCE}, Table 1", "VAE + VampPrior (500), quoted"
    )
    pseudo = {"num_pseudo_inputs": 500}
    vamp = _single("vamp-vae-k500", "vamp_vae", "mnist", (quoted,), **pseudo)
    normalized = dataclasses.replace(vamp.training, normalize_gradients=True)
    yield dataclasses.replace(vamp, training=normalized)
    first = {"mnist": _bound("1", "VAE", -93.89, 65.80, 28.10)}
    for dataset, (table, vae, _) in COMPARED.items():
        paper = first.get(dataset, ()) + _bound(table, "VAE", vae)
        yield _single("vae-gated", "vae", dataset, paper)


def _best(network, dataset):
    """Return the bound of M = 3 in the table that compares with other papers."""
    table, _, rows = COMPARED[dataset]
    if network not in rows:
        return ()
    return _bound(table, f"GMMpVAE, {ROWS[network]}, Mix3", rows[network])


def _bound(table, row, elbo, reconstruction=None, kl=None):
    values = {"elbo": elbo, "elbo_reconstruction": reconstruction, "elbo_kl": kl}
    return tuple(
        Reported(metric, value, f"{SOURCE}, Table {table}", row)
        for metric, value in values.items()
        if value is not None
    )


def _mixture(network, m, k, dataset, paper, suffix="", **arguments):
    sizes = {"num_components": m, "num_pseudo_inputs": k}
    start = GREY_PIXELS if dataset == "frey_faces" else {}
    start |= {"kl_form": "mc"} if m == 1 else {}
    return _preset(
        f"gmmp-vae-{network}-m{m}-k{k}{suffix}-{dataset}",
        "gmmp_vae",
        network,
        dataset,
        paper,
        sizes | start | arguments,
    )


def _single(name, model, dataset, paper, **arguments):
    return _preset(f"{name}-{dataset}", model, "mlp", dataset, paper, arguments)


def _preset(name, model, network, dataset, paper, arguments):
    common = {
        "latent_dim": 40,
        "network": {"name": NETWORKS[network], "initializer": "he"},
        "likelihood": "bernoulli",
    }
    likelihood = GREY if dataset == "frey_faces" else {}
    return Preset(
        name=name,
        model=model,
        arguments=common | likelihood | arguments,
        data=DATA[dataset],
        training=TRAINING,
        source=SOURCE,
        paper=paper,
    )
