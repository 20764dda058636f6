"""Presets of M-VAE.

Ye and Bors, "Mixtures of Variational Autoencoders" (IPTA 2020), and the scripts at
https://github.com/dtuzi123/Mixture-of-VAE.

K = 4 unless the name says otherwise. The default follows the paper: N(0, I) for every
component and dHSIC with weight 1. `@code` follows the script in `Preset.source`; in the
colour scripts, each component has a prior of its own and there is no dHSIC.

Left out of `@code`: a constant that `hsic_gam` adds to the printed loss without a
gradient, and a mistake that gives image 4 the mixing weight of image 3. SVHN and
3DChairs, which the scripts also use, are not among the sources of `mvae_tf.data`.
"""

import dataclasses

from mvae_tf.presets.preset import Preset
from mvae_tf.presets.reported import REPORTED
from mvae_tf.presets.settings import SETTINGS

__all__ = ["presets"]


def presets():
    """Return all presets of this paper."""
    return [
        _preset("m-vae-digits", "digits"),
        *(
            _preset(f"m-vae{size}-mnist", "mnist", latent_dim=20, num_components=k)
            for k, size in ((4, ""), (8, "-k8"), (10, "-k10"))
        ),
        _preset("m-vae-z2-mnist", "mnist", "IPTA 2020, Fig 3", latent_dim=2),
        _preset("vae-z20-mnist", "mnist", model="vae", latent_dim=20),
        # The paper gives no number of epochs. It is that of MVAE on the same images.
        _preset("m-vae-cifar10", "cifar10", training={"learning_rate": 1e-3}),
        _preset(
            "m-vae-mnist@code",
            "mnist",
            "script: MixtureGaussian_Dirichlet",
            network={"name": "mlp", "dropout": 0.1},
            mixing=SCRIPT_MIXING,
            # TensorFlow's old tutorial reader, which the script uses, holds out 5,000.
            data={"validation_size": 5000},
        ),
        _preset(
            "m-vae-cifar10@code",
            "cifar10",
            "script: MixtureGaussian_CIFAR",
            training={"epochs": 30},
            network={"name": "conv", "batch_statistics": True},
            likelihood={"name": "sse", "activation": "tanh"},
            mixing=SCRIPT_MIXING,
            independence=None,
            kl_weight=0.05,
            dirichlet_weight=0.05,
            prior_means=[0.4, 0.2, -0.2, 0.5],
            prior_stddevs=[2.0, 0.5, 0.5, 1.0],
        ),
    ]


SCRIPT_MIXING = {"name": "dirichlet", "prior": 0.25, "reparameterized": False}


def _preset(
    name,
    dataset,
    source="IPTA 2020",
    model="m_vae",
    training=None,
    data=None,
    **arguments,
):
    setting = SETTINGS[dataset]
    mixture = {"num_components": 4} | setting.mixture
    defaults = mixture if model == "m_vae" else {}
    return Preset(
        name=name,
        model=model,
        arguments=setting.arguments | defaults | arguments,
        data=setting.data | (data or {}),
        training=dataclasses.replace(setting.training, **(training or {})),
        source=source,
        paper=REPORTED.get(name, REPORTED.get(name.removesuffix("@code"), ())),
    )
