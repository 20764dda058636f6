"""Presets of CP-VAE, its independence variants, and what its paper compares with.

Lavda, Gregorova and Kalousis, "Data-Dependent Conditional Priors for Unsupervised
Learning of Multimodal Data" (Entropy 2020), Tables 2, 3 and A1 and Sec 6.1.

The paper gives no batch size, patience, number of epochs, temperature or noise of the
toy; the first three are those of the VampPrior code that it compares with, the
temperature is that of JointVAE, and the noise is the stddev of the toy's modes. K = 500
samples the category that the encoder sees, smaller ones enumerate; `cp-vae-pi` feeds it
the probabilities, as the paper's text has it. Rows other than the paper's own four
carry the suffix `-cp`: the same models by this paper's protocol.

Fashion-MNIST of the mixture of Gaussians, and of the VampPrior with K = 500, are 35
nats and more behind a plain VAE that the former contains: failed runs, no targets.
Omniglot here is the original release, not the 24,345 and 8,070 images of the paper,
which come from a file of their own; its numbers are not on one scale.

Tables 2 and A1 list categories by their indices, which are another run's; what can be
compared is how many of them are distinct, and how many stand under several labels.
"""

from mvae_tf.config import Training
from mvae_tf.presets.base import Preset, Reported

__all__ = ["presets"]

TRAINING = {
    "batch_size": 100,
    "learning_rate": 5e-4,
    "warmup_epochs": 100,
    "patience": 50,
}
SIZES = {"mnist": (10, 150, 500), "fashion_mnist": (10, 150, 500)}
SIZES |= {"omniglot": (50, 500)}

# -ELBO in nats of MNIST, Fashion-MNIST and Omniglot, in the order of SIZES.
TABLE_3 = {
    "CP": "87.15 88.53 89.91 232.52 233.79 234.89 117.51 120.64",
    "INDq": "89.67 92.15 93.38 232.71 234.41 234.93 125.28 124.48",
    "INDp": "88.20 88.77 88.53 229.83 230.41 231.34 120.92 121.83",
    "INDqp": "87.93 88.21 88.98 228.65 230.98 231.18 119.99 120.82",
    "VAE": "88.75 231.49 115.06",
    "MG": "89.43 88.96 88.85 267.07 272.60 274.55 116.31 116.12",
    "VP": "87.94 86.55 86.07 230.87 229.82 270.83 114.01 113.74",
    "HVAE": "86.7 230.10 110.81",
    "HVP": "85.90 85.09 85.01 229.67 229.36 229.62 110.50 110.16",
}

# Of the 5 most probable categories of each label, K = 150: how many are distinct, and
# how many stand under more than one label.
TOP_CATEGORIES = {
    "fashion_mnist": ("2", {"CP": (46, 4), "INDq": (19, 12)}),
    "mnist": ("A1", {"CP": (49, 1), "INDq": (39, 8)}),
}


def presets():
    """All presets of this paper."""
    return [*_images(), *_toy()]


def _images():
    columns = [(source, k) for source, sizes in SIZES.items() for k in sizes]
    for row, values in TABLE_3.items():
        sized = row not in ("VAE", "HVAE")
        places = columns if sized else [(source, None) for source in SIZES]
        for (source, k), value in zip(places, values.split(), strict=True):
            column = f"{source}, K = {k}" if sized else source
            reported = Reported(
                "elbo", -float(value), "Entropy 2020, Table 3", f"{row}, {column}"
            )
            data = {"source": source, "binarize": "dynamic"}
            top = _top_categories(row, source) if k == 150 else ()
            settings = {"data": data, "epochs": 2000}
            yield _preset(row, k, {}, paper=(reported, *top), **settings)
            if row == "CP":
                yield _preset("CP, pi", k, {}, paper=(reported,), **settings)


def _top_categories(row, source):
    table, rows = TOP_CATEGORIES[source]
    names = ("top_categories_distinct", "top_categories_shared")
    return tuple(
        Reported(metric, number, f"Entropy 2020, Table {table}", f"{row}, K = 150")
        for metric, number in zip(names, rows.get(row, ()), strict=row in rows)
    )


def _toy():
    likelihood = {"likelihood": {"name": "gaussian", "stddev": 0.05}}
    for row in ("CP", "INDq", "INDp", "INDqp", "VAE", "MG", "VP"):
        # The toy's own mean and stddev; the defaults are those of dark images.
        pixels = {"pseudo_mean": 0.5, "pseudo_stddev": 0.2} if row == "VP" else {}
        for k in (None,) if row == "VAE" else (2, 150):
            yield _preset(
                row, k, likelihood | pixels, data={"source": "toy"}, epochs=500
            )


def _preset(row, k, arguments, data, epochs, paper=()):
    prefix, model, own = _model(row, k)
    size = "" if k is None else f"-k{k}"
    suffix = "" if model in ("cp_vae", "indq_vae", "indp_vae", "indqp_vae") else "-cp"
    shared = {"latent_dim": 40, "network": "gated_mlp"}
    if model in ("hvae", "hvamp_vae"):
        shared = {"latent_dim": 80}
    return Preset(
        name=f"{prefix}{size}{suffix}-{data['source']}",
        model=model,
        arguments=shared | own | arguments,
        data=data,
        training=Training(epochs=epochs, **TRAINING),
        source="Entropy 2020",
        paper=paper,
    )


def _model(row, k):
    """Prefix of the name, registered name and own arguments of a row of the table."""
    condition = {"z_condition": "enumerate" if (k or 0) <= 150 else "sample"}
    components, pseudo_inputs = {"num_components": k}, {"num_pseudo_inputs": k}
    return {
        "CP": ("cp-vae", "cp_vae", components | condition),
        "CP, pi": ("cp-vae-pi", "cp_vae", components | {"z_condition": "pi"}),
        "INDq": ("indq-vae", "indq_vae", components),
        "INDp": ("indp-vae", "indp_vae", components | condition),
        "INDqp": ("indqp-vae", "indqp_vae", components),
        "VAE": ("vae", "vae", {}),
        "MG": ("mog-vae", "mog_vae", {"num_prior_components": k}),
        "VP": ("vamp-vae", "vamp_vae", pseudo_inputs),
        "HVAE": ("hvae", "hvae", {}),
        "HVP": ("hvamp-vae", "hvamp_vae", pseudo_inputs),
    }[row]
