"""Presets of the baselines that the MVAE paper compares with.

Ye and Bors, "Deep Mixture Generative Autoencoders" (IEEE TNNLS 2022), Tables I-IV; the
single VAE is in `presets/mvae.py`.

Of the baselines the paper says that MSVI has its networks, with a deep decoder for each
expert, that InfoVAE and the VAE have a "large" network, and that CIFAR10 is trained for
at most 100 epochs (Sec V-E). It does not state beta, the weights of InfoVAE, WWAE and
MAE, how MSVI combines its experts, latent sizes, learning rates, seeds, or the size of
the ImageNet images; and the authors' scripts hold none of these models (those named
after InfoVAE train a hybrid with a GAN). Here, each has the data, the networks and the
training of MVAE on the same images, and the default weights of its class. At most the
order of the rows can be expected.

The inception score of CB-VAE cannot be compared with the others: it is quoted, and its
authors measure it with a CIFAR classifier of their own. MAE has the same RMSE, 4.11, on
CIFAR10 and CIFAR100, which may be a misprint.
"""

from mvae_tf.presets.preset import Preset, Reported
from mvae_tf.presets.reported import accuracy, colour
from mvae_tf.presets.settings import SETTINGS

__all__ = ["presets"]

SOURCE = "TNNLS 2022"

# RMSE and inception score, by table and row.
TABLES = {
    "I": (
        "cifar10",
        {
            "MSVI": (3.46, 5.84),
            "InfoVAE": (3.24, 6.17),
            "beta-VAE": (9.12, 4.92),
            "WWAE": (3.49, 6.05),
            "CB-VAE": (None, 4.55),
            "MAE": (4.11, 5.49),
        },
    ),
    "II": (
        "cifar100",
        {
            "MSVI": (5.30, 4.72),
            "InfoVAE": (4.29, 5.06),
            "beta-VAE": (9.17, 3.31),
            "WWAE": (5.83, 4.97),
            "MAE": (4.11, 5.20),
        },
    ),
    "III": (
        "imagenet64",
        {
            "MSVI": (22.29, 6.12),
            "InfoVAE": (22.73, 6.14),
            "beta-VAE": (31.47, 5.05),
            "WWAE": (25.63, 5.79),
            "MAE": (23.25, 5.87),
        },
    ),
}
# Accuracy of Table IV in percent, by data set and row.
ACCURACIES = {
    "mnist": {"InfoVAE": 96.73, "MSVI": 97.15},
    "cifar10": {"InfoVAE": 42.92, "MSVI": 49.48},
}

# Names of models and presets, and arguments that differ from those of the data set.
MODELS = {
    "MSVI": ("msvi", "msvi", {"num_components": 6}),
    "InfoVAE": ("info_vae", "info-vae", {}),
    "beta-VAE": ("beta_vae", "beta-vae", {}),
    "WWAE": ("wwae", "wwae", {}),
    "CB-VAE": ("cb_vae", "cb-vae", {"likelihood": "continuous_bernoulli"}),
    "MAE": ("mae", "mae", {}),
}


def presets():
    """Yield all presets of the baselines."""
    for table, (dataset, rows) in TABLES.items():
        for row, (rmse, inception) in rows.items():
            yield _preset(
                row,
                dataset,
                _colour(table, row, rmse, inception) + _accuracy(row, dataset),
            )
    for row in ACCURACIES["mnist"]:
        yield _preset(row, "mnist", _accuracy(row, "mnist"))


def _preset(row, dataset, paper):
    setting = SETTINGS[dataset]
    model, name, arguments = MODELS[row]
    return Preset(
        name=f"{name}-{dataset}",
        model=model,
        arguments=setting.arguments | arguments,
        data=setting.data,
        training=setting.training,
        source=SOURCE,
        paper=paper,
    )


def _colour(table, row, rmse, inception):
    """Return error and inception score; without an error, the score is quoted."""
    if rmse is None:
        source, row = f"{SOURCE}, Table {table}", f"{row}, IS, quoted"
        return (Reported("inception_score", inception, source, row),)
    return colour(table, row, rmse, inception)


def _accuracy(row, dataset):
    """Return the accuracy of Table IV, if it is there."""
    if row not in ACCURACIES.get(dataset, {}):
        return ()
    return accuracy(f"{dataset.upper()}, {row}", ACCURACIES[dataset][row])
